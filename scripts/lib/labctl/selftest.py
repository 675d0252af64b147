# SPDX-License-Identifier: GPL-3.0-only
"""scripts/lab selftest: every verb once, against the real machine."""

import hashlib
import json
import os
import subprocess
import tempfile
import urllib.request

from . import machine


def main(lab):
    """Runs the checks in order and returns 0 when all hold."""
    results = []

    def call(*words, data=None):
        return subprocess.run([*lab, *words], input=data, capture_output=True, check=False, timeout=900)

    def check(name, holds, seen=""):
        line = f"{'ok  ' if holds else 'FAIL'} {name}" + ("" if holds else f": {seen}")
        results.append((bool(holds), line))
        print(line, flush=True)

    if machine.state() is not None:
        # Its end is part of the test, and somebody may be using it.
        print("FAIL the lab runs already; scripts/lab down first", flush=True)
        return 3
    try:
        done = call("up")
        check("up returns 0", done.returncode == 0, done.stderr.decode())
        check("exec true gives 0", call("exec", "true").returncode == 0)
        check("exec false gives 1", call("exec", "false").returncode == 1)
        check("exec gives the command's own code", call("exec", "exit 42").returncode == 42)
        check("exec --timeout ends a command with 124", call("exec", "--timeout", "1", "sleep", "30").returncode == 124)
        done = call("exec", "echo out; echo err >&2")
        check("stdout and stderr stay apart", (done.stdout, done.stderr) == (b"out\n", b"err\n"), done)
        done = call("exec", "--", "printf", "%s|", "a b", "$HOME", "'")
        check("several words pass untouched", done.stdout == b"a b|$HOME|'|", done)
        data = os.urandom(200_000)
        check("stdin is passed through", call("exec", "cat", data=data).stdout == data)
        check("it is Xen", b"4.17" in call("exec", "xl info xen_version").stdout)
        with tempfile.TemporaryDirectory() as folder:
            source, back = os.path.join(folder, "source"), os.path.join(folder, "back")
            data = os.urandom(3_000_001)
            with open(source, "wb") as file:
                file.write(data)
            check("put returns 0", call("put", source, "/root/selftest.bin").returncode == 0)
            summed = call("exec", "sha256sum </root/selftest.bin").stdout.split()[0].decode()
            check("put copies every byte", summed == hashlib.sha256(data).hexdigest(), summed)
            check("get returns 0", call("get", "/root/selftest.bin", back).returncode == 0)
            with open(back, "rb") as file:
                check("get copies every byte", file.read() == data)
            # It prints a line when it listens.
            call("exec", "--", "bash", "-c", "cd /root; exec 3< <(exec python3 -u -m http.server 8000 2>/dev/null </dev/null); read -r <&3")
            way = call("forward", "10.77.0.1:8000").stdout.decode().strip()
            with urllib.request.urlopen(f"http://{way}/selftest.bin", timeout=60) as answer:
                check("forward carries every byte", answer.read() == data)
            check("forward --close returns 0", call("forward", "--close", way.rpartition(":")[2]).returncode == 0)
            check("a closed way cannot be closed", call("forward", "--close", way.rpartition(":")[2]).returncode == 3)
            check("forward of no address is a usage error", call("forward", "nowhere").returncode == 2)
            absent = os.path.join(folder, "absent")
            check("get of no file fails with 3", call("get", "/no/such/file", absent).returncode == 3)
            check("a failed get leaves nothing", not os.path.exists(absent) and not os.path.exists(absent + ".part"))
        check("console of no guest fails with 3", call("console", "nobody").returncode == 3)
        check("console dom0 shows the boot", b"rxl-lab: dom0 ready" in call("console", "dom0").stdout)
        done = call("examine")
        check("examine shows what Xen and QEMU know", done.returncode == 0 and b"RIP=" in done.stdout
              and b"*** Dumping CPU1 host state" in done.stdout, done)
        status = json.loads(call("status", "--json").stdout)
        check("status says running", status["running"] and status["snapshot"], status)
        check("unknown verb is a usage error", call("frobnicate").returncode == 2)
    finally:
        pid = (machine.state() or {}).get("pid")
        done = call("down")
        check("down returns 0", done.returncode == 0, done.stderr.decode())
        check("down leaves no process", pid is not None and machine.start_time(pid) is None, pid)
        check("exec without a lab fails with 3", call("exec", "true").returncode == 3)
    failed = [line for holds, line in results if not holds]
    # Said again where it is looked for: the end of a log is what one sees first, and sometimes all that is kept of it.
    print("\n".join([f"{len(results) - len(failed)} passed, {len(failed)} failed", *failed]), flush=True)
    return 3 if failed else 0
