# SPDX-License-Identifier: GPL-3.0-only
# A person at a guest's console: Enter, a command, the escape character. Run in Dom0 with the guest's name.
import os
import pty
import select
import sys

pid, fd = pty.fork()
if pid == 0:
    os.execvp("rxl", ["rxl", "console", sys.argv[1]])
seen = b""


def expect(text):
    global seen
    while text not in seen:
        if not select.select([fd], [], [], 60)[0]:
            sys.exit(f"no {text!r} within 60 s; the end of what came: {seen[-400:]!r}")
        seen += os.read(fd, 4096)
    seen = seen[seen.index(text) + len(text):]


os.write(fd, b"\r")
expect(b"# ")
os.write(fd, b"echo $((6*7))-yes\r")
expect(b"42-yes")
os.write(fd, b"\x1d")
_, status = os.waitpid(pid, 0)
print("left with", os.waitstatus_to_exitcode(status))
