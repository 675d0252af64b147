# SPDX-License-Identifier: GPL-3.0-only
"""QEMU's monitor protocol, as much as the lab needs: JSON lines over a Unix socket in the run folder."""

import json

from .common import QEMU_LOG, LabError, connected


class Monitor:
    """One connection to the monitor; use it in a `with` block."""

    def __init__(self, timeout=120.0):
        self.socket = connected("qmp.sock", timeout)
        self.lines = self.socket.makefile("rw", encoding="utf-8")
        self.lines.readline()  # the greeting
        self.execute("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.lines.close()
        self.socket.close()

    def execute(self, command, **arguments):
        """Runs one command and returns its `return` value; events in between are passed over."""
        request = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        self.lines.write(json.dumps(request) + "\n")
        self.lines.flush()
        while True:
            line = self.lines.readline()
            if not line:
                raise LabError(f"QEMU closed its monitor while running {command}", log=QEMU_LOG)
            answer = json.loads(line)
            if "error" in answer:
                raise LabError(f"QEMU refused {command}: {answer['error'].get('desc')}", log=QEMU_LOG)
            if "return" in answer:
                return answer["return"]

    def human(self, line):
        """Runs one command of the human monitor; its text output means an error for the commands used here."""
        text = self.text(line)
        if text:
            raise LabError(f"QEMU's monitor on '{line}': {text}", log=QEMU_LOG)

    def text(self, line):
        """Runs one command of the human monitor and returns what it prints."""
        return self.execute("human-monitor-command", **{"command-line": line}).strip()
