# SPDX-License-Identifier: GPL-3.0-only
# What scripts/demo, scripts/test and scripts/bench need built. Sourced after packages.sh, in the project's root.

# What the build needs, what tests in namespaces run, and what the lab's own scripts do not install themselves.
build_packages=(build-essential libxen-dev clang libclang-dev)
netns_packages=(iproute2 nftables nginx-light curl iperf3 bridge-utils)
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

# Puts our programs where the lab and the logger VM's image find them.
build_payload() {
    local bin=target/lab/payload/bin logger=target/lab/logger-bin
    mkdir -p "$bin" "$logger"
    install -C target/release/{rxl,rxld,demo-client} "$bin/"
    install -C target/release/{ftlogger,rxl-devd} "$logger/"
}
