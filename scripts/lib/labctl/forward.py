# SPDX-License-Identifier: GPL-3.0-only
"""A way for TCP from this machine to an address behind Dom0's bridge.

QEMU's user network takes connections on a loopback port and makes them anew towards Dom0, with a TCP of its own: the
client's end is outside of Xen. Dom0 only translates addresses and routes, so that what a guest meets is that TCP.
"""

import ipaddress
import socket

from . import channel, qmp
from .common import USAGE, LabError

TABLE = "rxl-lab-forward"
# One table for all ways. Made twice it is the same: "add" does not mind what is there.
BASE = f"""add table ip {TABLE}
add chain ip {TABLE} in {{ type nat hook prerouting priority dstnat; }}
add chain ip {TABLE} out {{ type nat hook postrouting priority srcnat; }}
"""


def target(text):
    """ADDRESS:PORT as a pair."""
    address, _, port = text.rpartition(":")
    try:
        address = str(ipaddress.IPv4Address(address))
        number = int(port)
    except ValueError:
        number = 0
    if not 0 < number < 65536:
        raise LabError(f"forward: {text} is no ADDRESS:PORT", hint="scripts/lab forward 10.77.0.10:80", code=USAGE)
    return address, number


def open_way(address, port):
    """Opens it and returns the local port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        local = probe.getsockname()[1]
    # Packets of the user network would find no way back from a guest: they take Dom0's address on the bridge.
    rules = BASE + (f"add rule ip {TABLE} in iifname eth0 tcp dport {local} dnat to {address}:{port}\n"
                    f"add rule ip {TABLE} out ip saddr 10.0.2.0/24 ip daddr {address} tcp dport {port} masquerade\n")
    channel.run([f"echo 1 >/proc/sys/net/ipv4/ip_forward; nft -f - <<'END'\n{rules}END"])
    with qmp.Monitor(timeout=10) as monitor:
        monitor.human(f"hostfwd_add net tcp:127.0.0.1:{local}-10.0.2.15:{local}")
    return local


def close_way(local):
    """Closes the way of this local port. Its rules stay in Dom0: nothing reaches them any more."""
    with qmp.Monitor(timeout=10) as monitor:
        text = monitor.execute("human-monitor-command", **{"command-line": f"hostfwd_remove net tcp:127.0.0.1:{local}"})
    if "removed" not in text or "not found" in text:
        raise LabError(f"forward: there is no way at port {local}: {text.strip()}")
