# SPDX-License-Identifier: GPL-3.0-only
"""The driver behind scripts/lab.

    cli       verbs and their help
    images    which images exist, what they are made from, when they are made again
    machine   the QEMU process: start, snapshot, stop; its state file
    qmp       QEMU's monitor protocol
    channel   commands and files to and from Dom0 (ssh over one kept connection)
    selftest  scripts/lab selftest
    examine   scripts/lab examine: why Dom0 does not answer
    common    paths and the one error type
"""
