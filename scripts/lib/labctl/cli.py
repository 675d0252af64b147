# SPDX-License-Identifier: GPL-3.0-only
"""The verbs of scripts/lab. `exec` comes first and imports little: tests call it hundreds of times."""

import os
import sys

from .common import FAILURE, LAB, RUN, SCRIPTS, USAGE, LabError

HELP = """scripts/lab: real Xen 4.17 with a Debian 12 Dom0 in QEMU's software emulation (no hardware virtualisation needed)

  up [--cold] [--rebuild]   make or reuse the images, start, return when Dom0 answers (2 s from the snapshot, 10 s cold)
  exec [--timeout S] [--] CMD...   run a command in Dom0: its stdin, stdout, stderr and exit code are yours
  put FILE [DEST]           copy a file into Dom0 (default DEST: /root/)
  get FILE [DEST]           copy a file out of Dom0 (default DEST: .)
  forward ADDRESS:PORT      open a way for TCP to a guest; prints this machine's end, 127.0.0.1:N
  forward --close N         close it again (down closes all)
  programs                  build rxl and its daemons, and put them into the payload and the guests' images
  console NAME              print what guest NAME wrote to its console; dom0 or xen: the serial console
  examine                   what QEMU and Xen know (registers, run queues, timers), also when Dom0 does not answer: exit code 1
  shell                     a shell in Dom0
  status [--json]           does it run, since when, is there a snapshot
  images [NAME]...          make the images that are missing or out of date (up does it by itself, but not for servers, systemd, older)
  payload                   make the disk /lab of Dom0 again from target/lab/payload/
  down                      end QEMU and clean up; always safe
  selftest                  try all of this

A first session:

  scripts/lab up
  scripts/lab exec xl list
  scripts/lab exec 'xl dmesg | tail -3'          # one word: a line for Dom0's shell
  scripts/lab exec -- ls -l '/lab/guest'         # several words: a program and its arguments, untouched
  scripts/lab put target/release/rxl /usr/local/bin/
  scripts/lab down

In Dom0: guests' kernel and ramdisks are under /lab, programs from target/lab/payload/bin in /lab/bin,
/usr/local/bin comes first in PATH, the bridge xenbr0 has 10.77.0.1/24. More: docs/lab.md.

Exit codes: 2 usage, 3 failure; `exec` gives the command's own (255: the connection broke, 124: --timeout struck)."""


def say(text):
    """Progress, on the error stream: stdout is for results."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


def usage(text):
    return LabError(text, hint="scripts/lab --help", code=USAGE)


def verb_exec(words):
    from . import channel, machine
    timeout = None
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option == "--":
            break
        if option == "--timeout" and words and words[0].replace(".", "", 1).isdigit():
            timeout = words.pop(0)
        else:
            raise usage(f"exec: unknown option or missing number: {option}")
    if not words:
        raise usage("exec needs a command")
    machine.require()
    channel.replace_with(words, timeout)


def verb_up(words):
    for word in words:
        if word not in ("--cold", "--rebuild"):
            raise usage(f"up: unknown option {word}")
    import fcntl
    import signal
    import time
    from . import images, machine
    # However this program is told to end, it ends what it has started first; also when a shell had it ignore SIGINT.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    begin = time.monotonic()
    os.makedirs(RUN, exist_ok=True)
    with open(os.path.join(LAB, "up.lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second `up` waits, then finds the lab running
        known = machine.state()
        if known is not None and not words:
            say("it runs already")
            images.payload(say)
            if machine.payload_is_old(known):
                say("its /lab is older than target/lab/payload: scripts/lab down and up, or put single files")
            return 0
        machine.stop()
        images.need_programs()
        key = machine.fit(images.ensure(say, force="--rebuild" in words))
        images.payload(say)
        try:
            if "--cold" in words or not machine.has_snapshot(key) or not machine.load(key, say):
                machine.boot(key, say)
            machine.finish()
        except BaseException:
            # Also after Ctrl-C: nothing stays behind but the logs.
            machine.stop()
            raise
    say(f"Dom0 answers ({time.monotonic() - begin:.1f} s)")
    return 0


def verb_down(words):
    if words:
        raise usage("down takes no arguments")
    from . import machine
    say("stopped" if machine.stop() else "it did not run")
    return 0


def verb_put(words):
    from . import channel, machine
    if len(words) not in (1, 2):
        raise usage("put FILE [DEST]")
    if not os.path.isfile(words[0]):
        raise LabError(f"put: {words[0]} is not a file")
    machine.require()
    channel.put(words[0], words[1] if len(words) == 2 else "/root/")
    return 0


def verb_get(words):
    from . import channel, machine
    if len(words) not in (1, 2):
        raise usage("get FILE [DEST]")
    machine.require()
    channel.get(words[0], words[1] if len(words) == 2 else os.path.basename(words[0]))
    return 0


def verb_forward(words):
    from . import forward, machine
    if len(words) == 2 and words[0] == "--close" and words[1].isdigit():
        machine.require()
        forward.close_way(int(words[1]))
        return 0
    if len(words) != 1 or words[0].startswith("-"):
        raise usage("forward ADDRESS:PORT, or forward --close N")
    address, port = forward.target(words[0])
    machine.require()
    print(f"127.0.0.1:{forward.open_way(address, port)}")
    return 0


def verb_programs(words):
    if words:
        raise usage("programs takes no arguments")
    import shlex
    import subprocess
    script = f"cd {shlex.quote(os.path.dirname(SCRIPTS))} && . scripts/lib/packages.sh && . scripts/lib/build.sh && " \
             "need_build_packages && build_release && build_payload"
    return FAILURE if subprocess.run(["bash", "-c", script], stdin=subprocess.DEVNULL, check=False).returncode else 0


def verb_console(words):
    from . import channel, machine
    from .common import BOOT_LOG, SERIAL
    if len(words) != 1 or "/" in words[0]:
        raise usage("console NAME (a guest's name, dom0 or xen)")
    if words[0] in ("dom0", "xen"):
        # From a snapshot the serial log begins at the snapshot; what was before is in the log of the cold boot.
        for path in (BOOT_LOG, SERIAL) if _from_snapshot() else (SERIAL,):
            if os.path.exists(path):
                with open(path, "rb") as file:
                    sys.stdout.buffer.write(file.read())
        return 0
    machine.require()
    done = channel.run(["cat", "--", f"/var/log/xen/console/guest-{words[0]}.log"], check=False)
    if done.returncode != 0:
        known = channel.run(["ls /var/log/xen/console | sed -n 's/^guest-\\(.*\\)\\.log$/\\1/p'"]).stdout.decode().split()
        raise LabError(f"no console log of a guest called {words[0]}",
                       hint=f"there are: {', '.join(known) or 'none yet'}, dom0, xen")
    sys.stdout.buffer.write(done.stdout)
    return 0


def verb_examine(words):
    if words:
        raise usage("examine takes no arguments")
    from . import examine, machine
    machine.require()
    return examine.main(say)


def _from_snapshot():
    from .common import SERIAL, read_text
    return "Xen version" not in (read_text(SERIAL) or "")[:20000]


def verb_status(words):
    if words not in ([], ["--json"]):
        raise usage("status [--json]")
    import json
    import time
    from . import machine
    from .common import SNAPSHOT, read_text
    known = machine.state()
    kept = json.loads(read_text(SNAPSHOT) or "null")
    report = {"running": known is not None, "pid": known and known["pid"], "since": known and known["since"],
              "ssh_port": known and known["port"], "memory_mib": machine.MEMORY, "resident_mib": None,
              "snapshot": kept is not None, "snapshot_made": kept and kept["made"]}
    if known:
        lines = (read_text(f"/proc/{known['pid']}/status") or "").splitlines()
        report["resident_mib"] = next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS")), None)
    if words:
        print(json.dumps(report))
        return 0

    def when(seconds):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    print(f"state     running, pid {known['pid']}, since {when(known['since'])}" if known else "state     stopped")
    print(f"memory    {machine.MEMORY} MiB" + (f", {report['resident_mib']} resident" if known else ""))
    print(f"snapshot  {'made ' + when(kept['made']) if kept else 'none: the next up is a cold boot'}")
    return 0


def verb_shell(words):
    if words:
        raise usage("shell takes no arguments")
    from . import channel, machine
    machine.require()
    channel.replace_with(["exec bash -l"], terminal=sys.stdin.isatty())


def verb_images(words):
    from . import images
    for word in words:
        if word not in images.RECIPES:
            raise usage(f"images: there is no {word}; there are: {', '.join(images.RECIPES)}")
    images.need_programs()
    images.ensure(say, names=words)
    return 0


def verb_payload(words):
    if words:
        raise usage("payload takes no arguments")
    from . import images, machine
    images.need_programs()
    images.ensure(say)
    images.payload(say)
    known = machine.state()
    if known is not None and machine.payload_is_old(known):
        say("the running lab keeps the old disk until down and up; use put for single files")
    return 0


def verb_selftest(words):
    if words:
        raise usage("selftest takes no arguments")
    from . import selftest
    return selftest.main([os.path.join(SCRIPTS, "lab")])


VERBS = {"exec": verb_exec, "up": verb_up, "down": verb_down, "put": verb_put, "get": verb_get,
         "console": verb_console, "examine": verb_examine, "forward": verb_forward, "programs": verb_programs, "status": verb_status, "shell": verb_shell, "images": verb_images, "payload": verb_payload,
         "selftest": verb_selftest}


def main(words):
    """Runs one verb and returns the exit code."""
    if not words or words[0] in ("--help", "-h", "help"):
        print(HELP)
        return 0 if words else USAGE
    verb = VERBS.get(words[0])
    try:
        if verb is None:
            raise usage(f"unknown verb {words[0]}; there are: {', '.join(VERBS)}")
        if words[1:2] == ["--help"]:
            print(HELP)
            return 0
        return verb(words[1:])
    except LabError as error:
        print(error, file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        say("interrupted; nothing is left running by this command")
        return 130
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILURE
