# SPDX-License-Identifier: GPL-3.0-only
"""Commands and files to and from Dom0.

ssh to Dom0's dropbear over QEMU's user network, on a loopback port of the host. One connection is kept
(ControlMaster), so that a command costs one channel: about 60 ms instead of the key exchange in emulation.
"""

import os
import pathlib
import shlex
import subprocess

from .common import BOOT_LOG, IMAGES, RUN, SERIAL, LabError, write_text

PATH = "/usr/local/sbin:/usr/local/bin:/lab/bin:/usr/lib/xen-4.17/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SSH = ["ssh", "-F", "ssh_config"]


def write_config(port):
    """Writes run/ssh_config, which any ssh can use from within the run folder: `ssh -F ssh_config lab`."""
    dom0 = os.path.join(IMAGES, "dom0")
    write_text(os.path.join(RUN, "ssh_config"), f"""Host lab
  HostName 127.0.0.1
  Port {port}
  User root
  HostKeyAlias lab
  IdentityFile "{dom0}/id_ed25519"
  IdentitiesOnly yes
  UserKnownHostsFile "{dom0}/known_hosts"
  StrictHostKeyChecking yes
  BatchMode yes
  LogLevel ERROR
  ConnectTimeout 60
  ServerAliveInterval 10
  ServerAliveCountMax 18
  ControlPath ctl
""")


def connect():
    """Opens the kept connection; returns whether Dom0 answered."""
    close()
    try:
        master = subprocess.run([*SSH, "-M", "-N", "-f", "-o", "ControlPersist=yes", "lab"], cwd=RUN, check=False,
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
    except subprocess.TimeoutExpired:
        return False
    return master.returncode == 0


def close():
    """Ends the kept connection and its background ssh, if there is one."""
    control = os.path.join(RUN, "ctl")
    if os.path.exists(control):
        subprocess.run([*SSH, "-O", "exit", "lab"], cwd=RUN, check=False, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20)
        # ssh removes it when it ends, at any moment.
        pathlib.Path(control).unlink(missing_ok=True)


def shell_line(words, timeout=None):
    """The command line for Dom0's shell: one word is a shell line as it stands, several are one program and its arguments."""
    if len(words) == 1:
        command = f"exec timeout {timeout} sh -c {shlex.quote(words[0])}" if timeout else words[0]
    else:
        command = f"exec timeout {timeout} " if timeout else "exec "
        command += shlex.join(words)
    return f"export PATH={PATH}; {command}"


def replace_with(words, timeout=None, terminal=False):
    """Becomes ssh running `words` in Dom0: streams and exit code are those of the command. Does not return."""
    os.chdir(RUN)
    flags = ["-t"] if terminal else ["-T"]
    os.execvp("ssh", [*SSH, *flags, "lab", shell_line(words, timeout)])


def run(words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=120):
    """Runs a command in Dom0 and returns the finished process, its output as bytes."""
    try:
        done = subprocess.run([*SSH, "-T", "lab", shell_line(words)], cwd=RUN, check=False, stdin=stdin,
                              stdout=stdout, stderr=subprocess.PIPE, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise LabError(f"Dom0 did not finish '{' '.join(words)}' within {timeout} s", log=SERIAL,
                       hint="scripts/lab console dom0 shows whether it still lives; scripts/lab down && scripts/lab up") from error
    if check and done.returncode != 0:
        message = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise LabError(f"'{' '.join(words)}' in Dom0: {message}", log=SERIAL if os.path.exists(SERIAL) else BOOT_LOG)
    return done


def put(source, target):
    """Copies a file of the host to Dom0, mode included; whoever looks sees the old file or the whole new one."""
    mode = f"{os.stat(source).st_mode & 0o777:o}"
    name = os.path.basename(source)
    with open(source, "rb") as file:
        # A target that is a folder gets the file under its own name.
        run([f't={shlex.quote(target)}; case $t in */) mkdir -p "$t" ;; esac; [ -d "$t" ] && t=${{t%/}}/{shlex.quote(name)}; '
             f'mkdir -p "$(dirname "$t")" && cat >"$t.new" && chmod {mode} "$t.new" && mv "$t.new" "$t"'],
            stdin=file, timeout=1200)


def get(source, target):
    """Copies a file of Dom0 to the host; a failed copy leaves nothing."""
    if os.path.isdir(target):
        target = os.path.join(target, os.path.basename(source))
    try:
        with open(target + ".part", "wb") as file:
            run(["cat", "--", source], stdout=file, timeout=1200)
        os.replace(target + ".part", target)
    finally:
        if os.path.exists(target + ".part"):
            os.unlink(target + ".part")
    return target
