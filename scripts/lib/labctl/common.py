# SPDX-License-Identifier: GPL-3.0-only
"""Paths of the lab and the error that every verb reports in one form."""

import os
import socket

SCRIPTS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
LAB = os.path.join(os.path.dirname(SCRIPTS), "target", "lab")
IMAGES = os.path.join(LAB, "images")
PAYLOAD = os.path.join(LAB, "payload")
PAYLOAD_IMAGE = os.path.join(LAB, "payload.img")
# All that belongs to the running machine. Its sockets have short relative names, because a Unix socket's path
# may have 107 bytes at most: QEMU and ssh run with this folder as their current one.
RUN = os.path.join(LAB, "run")
STATE = os.path.join(RUN, "state.json")
SERIAL = os.path.join(RUN, "serial.log")
BOOT_LOG = os.path.join(RUN, "boot.log")
QEMU_LOG = os.path.join(RUN, "qemu.log")
DISK = os.path.join(RUN, "dom0.qcow2")
SNAPSHOT = os.path.join(RUN, "snapshot.json")

USAGE = 2
FAILURE = 3


class LabError(Exception):
    """Something that the person at the shell must know: what failed, why, where the log is, what to do."""

    def __init__(self, what, hint="", log="", code=FAILURE):
        super().__init__(what)
        self.what, self.hint, self.log, self.code = what, hint, log, code

    def __str__(self):
        lines = [f"error: {self.what}"]
        if self.log:
            lines.append(f"  log:  {os.path.relpath(self.log)}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


def read_text(path):
    """The text of a file, or None when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return None


def write_text(path, text):
    """Writes a file so that a reader sees the old text or the new, never half of it."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".new", path)


def connected(name, timeout):
    """A connection to a Unix socket of the run folder, by its short name."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(RUN)
        connection.connect(name)
    except OSError:
        connection.close()
        raise
    finally:
        os.fchdir(here)
        os.close(here)
    return connection
