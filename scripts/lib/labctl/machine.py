# SPDX-License-Identifier: GPL-3.0-only
"""The emulated machine: start (cold or from the snapshot), stop, and who it is.

The state file names the QEMU process by pid and start time, so that a pid that was given to another
process in the meantime is never taken for ours.
"""

import hashlib
import json
import os
import pathlib
import secrets
import select
import shutil
import signal
import socket
import subprocess
import time

from . import channel, qmp
from .common import (BOOT_LOG, DISK, IMAGES, PAYLOAD_IMAGE, QEMU_LOG, RUN, SERIAL, SNAPSHOT, STATE, LabError,
                     read_text, write_text)

MEMORY = 6144
DOM0_MEMORY = 1536
COLD_LIMIT = 300  # seconds for a cold boot on a busy machine; about 10 on an idle one
# eager-fpu: Xen's lazy switching of SSE registers goes wrong in emulation, and processes get each other's (docs/lab.md).
XEN_OPTIONS = f"spec-ctrl=eager-fpu console=com1 com1=115200 dom0_mem={DOM0_MEMORY}M,max:{DOM0_MEMORY}M loglvl=all guest_loglvl=all bootscrub=0"
DOM0_OPTIONS = "console=hvc0 random.trust_cpu=on"


def arguments(port):
    """QEMU's command line; all but the host's port decides whether a snapshot still fits."""
    kernel, dom0 = os.path.join(IMAGES, "kernel"), os.path.join(IMAGES, "dom0")
    return [
        "qemu-system-x86_64", "-name", "rxl-lab", "-nodefaults", "-display", "none", "-no-reboot",
        # Without -smap Dom0 dies early, without -rdtscp PVH guests do: faults of QEMU 7.2 (docs/lab.md).
        "-accel", "tcg,thread=multi", "-cpu", "max,-smap,-rdtscp", "-smp", "2", "-m", str(MEMORY),
        # One NUMA node gives the machine an SRAT, which memory hot-add after a warm reboot asks for.
        "-object", f"memory-backend-ram,id=ram,size={MEMORY}M", "-numa", "node,nodeid=0,memdev=ram",
        "-kernel", f"{kernel}/xen", "-append", XEN_OPTIONS,
        "-initrd", f"{kernel}/vmlinux {DOM0_OPTIONS},{dom0}/initrd.img",
        "-drive", f"file={DISK},if=none,id=root,format=qcow2,cache=unsafe", "-device", "virtio-blk-pci,drive=root",
        "-drive", f"file={PAYLOAD_IMAGE},if=none,id=payload,format=raw,readonly=on",
        "-device", "virtio-blk-pci,drive=payload",
        "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22",
        "-device", "virtio-net-pci,netdev=net,romfile=",
        "-chardev", "socket,id=console,path=console.sock,server=on,wait=off,logfile=serial.log",
        "-serial", "chardev:console", "-qmp", "unix:qmp.sock,server=on,wait=off",
    ]


def start_time(pid):
    """When the process began, in clock ticks since boot; None when there is no such process (or only its zombie)."""
    text = read_text(f"/proc/{pid}/stat")
    if text is None:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def state():
    """The state of the running machine, or None when it does not run."""
    text = read_text(STATE)
    if not text:
        return None
    known = json.loads(text)
    return known if start_time(known["pid"]) == known["start_time"] else None


def payload_is_old(known):
    """Whether the payload disk was made again since the machine started: it still has the one it opened."""
    return not os.path.exists(PAYLOAD_IMAGE) or os.stat(PAYLOAD_IMAGE).st_ino != known.get("payload")


def require():
    """The state of the running machine; an error when there is none."""
    known = state()
    if known is None:
        raise LabError("the lab does not run", hint="scripts/lab up", log=SERIAL if os.path.exists(SERIAL) else "")
    return known


def stop():
    """Ends the QEMU of the state file and waits until it is gone; returns whether one ran."""
    known = state()
    channel.close()
    if known is not None:
        pid = known["pid"]
        try:
            with qmp.Monitor(timeout=5) as monitor:
                monitor.execute("quit")
        except (OSError, ValueError, LabError):
            pass  # a hung QEMU does not answer: the signals below end it
        for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 10.0)):
            if wait_gone(known, patience):
                break
            os.kill(pid, number)
        if not wait_gone(known, 10.0):
            raise LabError(f"QEMU (pid {pid}) does not end, not even by SIGKILL", hint=f"look at /proc/{pid}/status")
    for name in ("state.json", "qmp.sock", "console.sock", "ctl", "ssh_config"):
        pathlib.Path(RUN, name).unlink(missing_ok=True)
    return known is not None


def wait_gone(known, patience):
    """Waits for the end of the process; the pid's file descriptor becomes readable then."""
    try:
        descriptor = os.pidfd_open(known["pid"])
    except ProcessLookupError:
        return True
    try:
        if start_time(known["pid"]) != known["start_time"]:
            return True
        return bool(select.select([descriptor], [], [], patience)[0])
    finally:
        os.close(descriptor)


def spawn(extra):
    """Starts QEMU in a session of its own (Ctrl-C is for us to handle) and writes the state file at once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if os.path.exists(SERIAL):
        os.unlink(SERIAL)
    with open(QEMU_LOG, "wb") as log:
        process = subprocess.Popen([*arguments(port), *extra], cwd=RUN, stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=subprocess.STDOUT, start_new_session=True)
    write_text(STATE, json.dumps({"pid": process.pid, "start_time": start_time(process.pid), "port": port,
                                  "since": int(time.time()), "memory_mib": MEMORY, "payload": os.stat(PAYLOAD_IMAGE).st_ino}))
    channel.write_config(port)
    return process


def fit(images_key):
    """What a snapshot must have been made with to be of use: images, QEMU's version and command line."""
    version = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True).stdout
    text = "\n".join([images_key, version, *arguments("PORT")])
    return hashlib.sha256(text.encode()).hexdigest()


def has_snapshot(key):
    """Whether the kept machine was made from these images with this command line."""
    kept = read_text(SNAPSHOT)
    return bool(kept) and json.loads(kept)["key"] == key and os.path.exists(DISK)


def load(key, say):
    """Starts from the snapshot; returns whether that worked (otherwise nothing runs and the snapshot is gone)."""
    say("starting from the snapshot")
    process = spawn(["-loadvm", "ready"])
    if answers(process):
        return True
    say(f"the snapshot does not start ({(read_text(QEMU_LOG) or 'no answer').strip()}); booting anew")
    stop()
    os.unlink(SNAPSHOT)
    return False


def answers(process, patience=180):
    """Waits until Dom0's ssh server answers; returns whether it did."""
    deadline = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < deadline:
        if channel.connect():
            return True
        time.sleep(0.05)  # QEMU accepts for Dom0 and hangs up while nobody listens there
    return False


def boot(key, say):
    """Cold boot of Xen and Dom0, then the snapshot for the next time."""
    say("booting Xen and Dom0 (10 s on an idle machine)")
    if os.path.exists(SNAPSHOT):
        os.unlink(SNAPSHOT)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b",
                    os.path.join(IMAGES, "dom0", "dom0.qcow2"), DISK], check=True)
    process = spawn([])
    wait_ready(process)
    if not answers(process):
        raise LabError("Dom0 has booted, but its command channel does not answer", log=SERIAL)
    # The kept machine has no open connection, and nothing unwritten in its page cache.
    channel.run(["sync"])
    channel.close()
    with qmp.Monitor() as monitor:
        monitor.human("savevm ready")
    shutil.copyfile(SERIAL, BOOT_LOG)
    write_text(SNAPSHOT, json.dumps({"key": key, "made": int(time.time())}))
    if not answers(process):
        raise LabError("Dom0 does not answer after its snapshot was taken", log=SERIAL)


def wait_ready(process):
    """Waits for labinit's line on the serial console; a panic or an early end is told at once."""
    deadline = time.monotonic() + COLD_LIMIT
    follow = ["tail", "-n", "+1", "-F", SERIAL]  # it tells when the file grows
    ended = os.pidfd_open(process.pid)
    with subprocess.Popen(follow, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tail:
        try:
            log = ""
            while "rxl-lab: dom0 ready" not in log:
                for sign in ("rxl-lab: failed", "Panic on CPU", "Kernel panic", "Dom0 crashed", "Domain 0 crashed"):
                    if sign in log:
                        line = next(line for line in log.splitlines() if sign in line)
                        raise LabError(f"Dom0 did not come up: {line.strip()}", log=SERIAL)
                told = select.select([tail.stdout, ended], [], [], max(0.0, deadline - time.monotonic()))[0]
                if not told:
                    raise LabError(f"Dom0 was not ready after {COLD_LIMIT} s", log=SERIAL,
                                   hint="is another emulator or a build using all cores?")
                said = os.read(tail.stdout.fileno(), 65536) if tail.stdout in told else b""
                if not said:
                    process.wait()
                    raise LabError(f"QEMU ended with code {process.returncode} during boot: "
                                   f"{(read_text(QEMU_LOG) or '').strip()}", log=SERIAL if log else QEMU_LOG)
                log += said.decode(errors="replace")
        finally:
            os.close(ended)
            tail.kill()


def finish():
    """What a started machine needs whatever way it started: the time, randomness, the payload disk."""
    now = f"{time.time():.3f}"
    seed = secrets.token_hex(64)
    channel.run([f"date -s @{now} >/dev/null; echo {seed} >/dev/urandom; "
                 # Not mounted in the snapshot: the disk may have new content since.
                 "blockdev --flushbufs /dev/vdb && mount -t ext4 -o ro,noload /dev/vdb /lab"])
