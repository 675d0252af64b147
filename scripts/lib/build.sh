# SPDX-License-Identifier: GPL-3.0-only
# shellcheck shell=bash
# What scripts/demo, scripts/test and scripts/bench need built. Sourced after packages.sh, in the project's root.

# What the build needs, what tests in namespaces run, and what the lab's own scripts do not install themselves.
build_packages=(build-essential libxen-dev clang libclang-dev libbpf-dev)
netns_packages=(iproute2 nftables nginx-light curl iperf3 bridge-utils tinyproxy vsftpd python3-pyftpdlib lftp wget redis-server redis-tools openssl
    apache2 squid haproxy aria2 python3-requests apache2-utils)
# Servers of FTP, of which Debian lets nobody install more than one: tests run them from below target/.
ftp_servers=(proftpd-core pure-ftpd pure-ftpd-common)
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

# For the tests in namespaces, with the packages that are named.
need_netns_packages() {
    need_packages "${netns_packages[@]}" "$@" && unpack_packages target/ftp-servers "${ftp_servers[@]}"
}

build_release() {
    cargo build --release --workspace --bins --locked ||
        { echo "error: the build failed (cargo's messages are above)" >&2; return 3; }
}

# The agent is static, so that any guest can run it: with musl where Rust has that target, else with glibc.
guest_target() {
    if rustup target list --installed 2>/dev/null | grep -qx x86_64-unknown-linux-musl ||
        rustup target add x86_64-unknown-linux-musl >/dev/null 2>&1; then
        echo x86_64-unknown-linux-musl
    else
        echo x86_64-unknown-linux-gnu
    fi
}

build_guest() {
    local target
    target=$(guest_target)
    [ "$target" = x86_64-unknown-linux-musl ] || export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static"
    cargo build --release --locked --target "$target" -p rxl-guest ||
        { echo "error: the build of rxl-guest failed (cargo's messages are above)" >&2; return 3; }
    mkdir -p target/lab/guest-bin
    strip -o target/lab/guest-bin/rxl-guest "${CARGO_TARGET_DIR:-target}/$target/release/rxl-guest"
    ! readelf -lW target/lab/guest-bin/rxl-guest | grep INTERP >/dev/null ||
        { echo "error: rxl-guest asks for a dynamic loader, which not every guest has" >&2; return 3; }
}

# The wrap's library, and a server whose answers show whether its replacement remembers them. Both are dynamic: the loader
# brings the one into the other.
build_wrap() {
    local to=target/lab/guest-bin
    cargo build --release --locked -p rxl-wrap ||
        { echo "error: the build of rxl-wrap failed (cargo's messages are above)" >&2; return 3; }
    mkdir -p "$to"
    strip -o "$to/librxl_wrap.so" "${CARGO_TARGET_DIR:-target}/release/librxl_wrap.so"
    cc -O2 -w -s -o "$to/chain" guest-driver/wrap/tests/servers/chain.c ||
        { echo "error: the build of the server chain failed (cc's messages are above)" >&2; return 3; }
}

# Puts our programs where the lab finds them: rxl and rxld on the payload disk, the logger's daemons in its image, the agent and
# the wrap in the service VM's.
# Without debugging information: every byte goes through emulated disks.
build_payload() {
    local bin=target/lab/payload/bin logger=target/lab/logger-bin
    mkdir -p "$bin" "$logger"
    strip_into "$bin" rxl rxld demo-client
    strip_into "$logger" ftlogger rxl-devd
    (build_guest) && build_wrap || return
    scripts/lab images && scripts/images/logger --bin "$logger" && scripts/images/guest --bin target/lab/guest-bin &&
        scripts/lab payload
}

# strip_into DIR PROGRAM...: copies what is newer than its copy.
strip_into() {
    local dir=$1 program
    shift
    for program in "$@"; do
        [ "$dir/$program" -nt "target/release/$program" ] || strip -o "$dir/$program" "target/release/$program"
    done
}
