# SPDX-License-Identifier: GPL-3.0-only
# shellcheck shell=bash
# Kernel modules of a service VM, whichever kernel it has. Sourced by scripts/images/guest and older.

service_modules=(xen-netfront xen-blkfront xen-gntalloc xen-evtchn ext4 crc32c_generic)
