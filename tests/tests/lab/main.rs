// SPDX-License-Identifier: GPL-3.0-only
//! What touches Xen, shown on real Xen: `rxl`'s verbs on PV and PVH guests, bad input that leaves no trace, the failover of a
//! download, servers that remember what those before them said, stock servers under stock clients, and the agent under systemd. All names begin with
//! `lab_`, so that a run without the lab can leave them out; the lab is one machine, so they run one at a time
//! (`--test-threads 1`).

mod agent;
mod bad_input;
mod declared;
mod dom0;
mod download;
mod emulator;
mod failover;
mod groups;
mod keys;
mod prebuilt;
mod servers;
mod systemd;
mod verbs;
mod wrap;
