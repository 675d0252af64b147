# SPDX-License-Identifier: GPL-3.0-only
# shellcheck shell=bash
# What scripts/demo, scripts/test and scripts/bench need built. Sourced after packages.sh, in the project's root.

# What the build needs, what tests in namespaces run, and what the lab's own scripts do not install themselves.
build_packages=(build-essential libxen-dev clang libclang-dev libbpf-dev)
netns_packages=(iproute2 nftables nginx-light curl iperf3 bridge-utils tinyproxy vsftpd python3-pyftpdlib lftp wget redis-server redis-tools openssl)
# The peers of scripts/bench fttcp, and its load.
bench_packages=(haproxy wrk)
lab_packages=(qemu-system-x86 qemu-utils openssh-client)

need_build_packages() {
    need_packages "${build_packages[@]}" || return
    command -v cargo >/dev/null || {
        echo "error: cargo is missing; install Rust 1.95 or later (https://rustup.rs)" >&2
        return 3
    }
}

build_release() {
    cargo build --release --workspace --bins --locked ||
        { echo "error: the build failed (cargo's messages are above)" >&2; return 3; }
}

# Puts our programs where the lab finds them: rxl and rxld on the payload disk, the logger's daemons in its image.
# Without debugging information: every byte goes through emulated disks.
build_payload() {
    local bin=target/lab/payload/bin logger=target/lab/logger-bin
    mkdir -p "$bin" "$logger"
    strip_into "$bin" rxl rxld demo-client
    strip_into "$logger" ftlogger rxl-devd
    scripts/lab images && scripts/images/logger --bin "$logger" && scripts/lab payload
}

# strip_into DIR PROGRAM...: copies what is newer than its copy.
strip_into() {
    local dir=$1 program
    shift
    for program in "$@"; do
        [ "$dir/$program" -nt "target/release/$program" ] || strip -o "$dir/$program" "target/release/$program"
    done
}
