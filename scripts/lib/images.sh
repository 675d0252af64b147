# SPDX-License-Identifier: GPL-3.0-only
# shellcheck shell=bash
# What the image scripts share: options, Debian packages unpacked for an image, and initramfs building.
# Sourced by scripts/images/*; every function ends the script with one clear line when something fails.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scripts=$(dirname "$here")
root=$(dirname "$scripts")
files=$scripts/images/files
images=${LAB_IMAGES:-$root/target/lab/images}
# shellcheck source=packages.sh
. "$here/packages.sh"

die() {
    echo "error: ${0##*/}: $*" >&2
    exit 3
}

usage() {
    # The help text of an image script is the comment block at its top.
    sed -n '3,/^$/s/^# \{0,1\}//p' "$0"
}

# fetch_unpack DIR PACKAGE...: downloads Debian packages (kept in images/debs) and unpacks them into DIR.
fetch_unpack() {
    local dir=$1 debs=$images/debs package deb
    shift
    mkdir -p "$debs" "$dir"
    for package in "$@"; do
        (cd "$debs" && download_package "$package") || die "$package is needed"
        # The newest file of that name: an older version may lie beside it from an earlier build.
        deb=$(ls -t "$debs/${package}"_*.deb | head -n 1)
        dpkg-deb -x "$deb" "$dir" || die "cannot unpack $deb"
    done
}

# copy_program ROOT STAGE PATH...: copies programs and the shared libraries they need from ROOT to STAGE.
# The loader of ROOT itself resolves them, so what is copied is what will be loaded.
copy_program() {
    local from=$1 stage=$2 program library
    shift 2
    for program in "$@"; do
        [ -e "$from$program" ] || die "$program is not in $from"
        install -D -m 755 "$from$program" "$stage$program"
        for library in $(chroot "$from" /lib64/ld-linux-x86-64.so.2 --list "$program" |
            sed -n -e 's/.*=> \(\/[^ ]*\) .*/\1/p' -e 's/^\t\(\/[^ ]*\) .*/\1/p'); do
            [ -e "$stage$library" ] || install -D -m 755 "$from$library" "$stage$library"
        done
    done
}

# copy_libraries ROOT STAGE: glibc and libgcc_s for Rust programs, which link to nothing else.
copy_libraries() {
    local library
    for library in libc.so.6 libm.so.6 libgcc_s.so.1; do
        copy_program "$1" "$2" "/lib/x86_64-linux-gnu/$library"
    done
}

# copy_modules KERNEL STAGE MODULE...: copies kernel modules with everything they depend on, and makes modules.dep.
copy_modules() {
    local kernel=$1 stage=$2 version module
    shift 2
    version=$(cat "$kernel/version")
    for module in $(modprobe -d "$kernel" -S "$version" --show-depends -a "$@" | sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u); do
        install -D -m 644 "$module" "$stage${module#"$kernel"}"
    done
    cp "$kernel/lib/modules/$version"/modules.{builtin,builtin.modinfo,order} "$stage/lib/modules/$version/"
    depmod -b "$stage" "$version" || die "depmod failed for $stage"
    # Needed to make modules.dep, not to use it.
    rm "$stage/lib/modules/$version"/modules.{builtin.modinfo,order}
}

# pack_initramfs STAGE FILE: writes STAGE as a compressed cpio archive, owner root, dates fixed, so that equal input gives
# equal bytes. zstd with a window of 512 KiB: the guest needs little memory to unpack it (104 MiB suffice, not 112).
pack_initramfs() {
    local stage=$1 file=$2
    find "$stage" -exec touch -h -d @0 {} +
    (cd "$stage" && find . -print0 | LC_ALL=C sort -z |
        cpio --quiet --null -o -H newc -R 0:0 --reproducible |
        zstd -q -12 --zstd=wlog=19 --no-check) >"$file.new" || die "cpio or zstd failed for $file"
    mv "$file.new" "$file"
}

# guest_base DEBIAN STAGE: the part that all guests share: busybox, its init, our rc script.
guest_base() {
    local debian=$1 stage=$2
    mkdir -p "$stage"/{bin,sbin,dev,proc,sys,run,tmp,root,etc,usr/bin,usr/sbin}
    install -m 755 "$debian/bin/busybox" "$stage/bin/busybox"
    chroot "$stage" /bin/busybox --install -s
    install -m 755 "$files/guest-init" "$stage/init"
    install -m 644 "$files/guest-inittab" "$stage/etc/inittab"
    install -m 755 "$files/guest-rc" "$stage/etc/rc"
    printf 'root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$stage/etc/passwd"
    printf 'root:x:0:\nwww-data:x:33:\nadm:x:4:\nnogroup:x:65534:\n' >"$stage/etc/group"
}
