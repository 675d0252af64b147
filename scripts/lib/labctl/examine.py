# SPDX-License-Identifier: GPL-3.0-only
"""scripts/lab examine: what QEMU and Xen say of the machine, without Dom0's help.

Xen's debug keys come over the serial console, which switches from Dom0 to Xen after three Ctrl-A. A Xen that does
not answer them has interrupts off, or a CPU of it is stuck: QEMU's registers say where.
"""

from . import channel, qmp
from .common import SERIAL, LabError, connected, read_text

# What to ask, and why: registers of the CPUs, Dom0's registers, run queues, timers, the interrupts of guests.
KEYS = "d0rai"
SWITCH = b"\x01\x01\x01"
# What Xen prints when the console is Dom0's again: it has seen the key, and said all that it says at once.
BACK = b"*** Serial input to DOM0"
PATIENCE = 30.0  # seconds for that: a busy machine gives the emulator no time for seconds on end
QUIET = 2.0  # seconds without a word after which Xen has said all


def main(say):
    """Prints what can be found out; returns 0 when Dom0 answers, 1 when not."""
    done = None
    try:
        done = channel.run(["true"], check=False, timeout=30)
    except LabError as error:
        say(str(error))
    lives = done is not None and done.returncode == 0
    print(f"Dom0 {'answers' if lives else 'does not answer'}")
    print("\n-- end of the serial console before the questions")
    lines = [line for line in (read_text(SERIAL) or "").splitlines() if line.strip()]
    print("\n".join(lines[-30:]))
    with qmp.Monitor(timeout=30) as monitor:
        for line in ("info status", "info cpus", "info registers -a"):
            print(f"\n-- QEMU: {line}")
            # Vector registers fill pages and tell nothing here.
            text = monitor.text(line).splitlines()
            print("\n".join(part for part in text if not part.startswith(("XMM", "YMM", "FPR", "Opmask", "ZMM"))))
    patience = PATIENCE
    for key in KEYS:
        print(f"\n-- Xen: debug key {key}")
        said = _ask(SWITCH + key.encode() + SWITCH, patience)
        print(said.decode(errors="replace").replace("\r", "").strip() or "(no answer)")
        if BACK not in said:
            patience = QUIET  # waited for once
    return 0 if lives else 1


def _ask(keys, patience):
    """Types at the serial console; what comes until it is Dom0's again and quiet."""
    said = b""
    with connected("console.sock", patience) as console:
        console.sendall(keys)
        try:
            while part := console.recv(65536):
                said += part
                if BACK in said:
                    console.settimeout(QUIET)
        except TimeoutError:
            pass
    return said
