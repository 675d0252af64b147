#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-only
# Installs the Debian packages that are missing, and nothing else. The servers among them are not started.
#
#   . scripts/lib/packages.sh; need_packages qemu-system-x86 cpio     (from a script)
#   scripts/lib/packages.sh qemu-system-x86 cpio                      (from a shell)
#
# A package that is there costs one dpkg-query for all of them together; apt runs only when one is missing.

# Prints those of the named packages that are not installed, one a line.
missing_packages() {
    local installed package
    # dpkg-query fails when it does not know a name; what it prints for the others counts.
    installed=$({ dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true; } | sed -n 's/^installed //p')
    for package in "$@"; do
        grep -qxF -- "$package" <<<"$installed" || printf '%s\n' "$package"
    done
    return 0
}

# Brings apt's lists here when this machine has none (a fresh container or an image without lists).
need_package_lists() {
    if [ -n "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -print -quit 2>/dev/null)" ]; then
        return 0
    fi
    apt-get -q update >&2 || {
        echo "error: apt-get update failed; check /etc/apt/sources.list and the network" >&2
        return 3
    }
}

# Lets no package start its server (invoke-rc.d(8)), unless this machine has a rule about that already.
install_packages() (
    rule=/usr/sbin/policy-rc.d
    if [ ! -e "$rule" ]; then
        trap 'rm -f "$rule"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$rule"
        chmod 755 "$rule"
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" >&2
)

# Installs what is missing of the named packages. Exit code 3 and one clear line when that is impossible.
need_packages() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [ "${#missing[@]}" -eq 0 ] && return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "error: these Debian packages are missing: ${missing[*]}; run this as root, or: apt-get install ${missing[*]}" >&2
        return 3
    fi
    echo "installing: ${missing[*]}" >&2
    need_package_lists || return
    # Lists that are too old name files that the mirror no longer has: one update and one more try cures that.
    if ! install_packages "${missing[@]}"; then
        apt-get -q update >&2
        install_packages "${missing[@]}" || {
            echo "error: apt-get install ${missing[*]} failed (its messages are above)" >&2
            return 3
        }
    fi
}

# download_package PACKAGE: brings the newest version of a Debian package that the lists know into the current folder. That is
# not always apt's candidate: of an installed version that has left the archive apt says only that it has no source.
download_package() {
    local package=$1 version
    need_package_lists || return
    for _ in 1 2; do
        version=$(apt-cache madison "$package" | sed -n 's/^[^|]*| *\([^ |]*\) *|.* Packages$/\1/p' | head -n 1)
        if [ -n "$version" ] &&
            apt-get -q -o APT::Sandbox::User=root download "$package=$version" >/dev/null; then
            return 0
        fi
        # As when packages are installed: old lists name files that the mirror no longer has.
        apt-get -q update >&2
    done
    echo "error: cannot download the Debian package $package (apt's messages are above)" >&2
    return 3
}

# unpack_packages DIR PACKAGE...: unpacks Debian packages into DIR that conflict with installed ones, and installs the libraries
# that they depend on.
unpack_packages() {
    local dir=$1 package deb libraries
    shift
    mkdir -p "$dir" || return 3
    for package in "$@"; do
        deb=$dir/$package.deb
        if [ ! -e "$deb" ]; then
            (cd "$dir" && download_package "$package") || return
            dpkg-deb -x "$dir/${package}"_*.deb "$dir" && mv "$dir/${package}"_*.deb "$deb" ||
                { echo "error: cannot unpack $package below $dir" >&2; return 3; }
        fi
        mapfile -t libraries < <(dpkg-deb -f "$deb" Depends | tr ',' '\n' | sed -n 's/^ *\(lib[^ ]*\).*/\1/p')
        need_packages "${libraries[@]}" || return
    done
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    set -u
    if [ $# -eq 0 ] || [ "$1" = --help ]; then
        sed -n '3,8s/^# \{0,1\}//p' "$0"
        [ $# -gt 0 ]
        exit $(($? * 2))
    fi
    need_packages "$@"
fi
