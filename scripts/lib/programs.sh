# SPDX-License-Identifier: GPL-3.0-only
# shellcheck shell=bash
# How this project's programs get into the images of guests: as a second archive, so that a rebuild takes a second.
# Sourced by scripts/images/guest and logger, after images.sh.

# take_bin NAME ARGUMENT...: reads [--bin DIR] [OUT] into bin and out. DIR is remembered for this image; '' forgets it.
take_bin() {
    local memory=$images/$1.bin
    shift
    bin=$(cat "$memory" 2>/dev/null || true) out=
    [ -d "$bin" ] || bin=
    while [ $# -gt 0 ]; do
        case $1 in
        --help) usage; exit 0 ;;
        --bin) [ $# -ge 2 ] || { usage >&2; exit 2; }; bin=$2; shift 2 ;;
        -*) usage >&2; exit 2 ;;
        *) out=$1; break ;;
        esac
    done
    [ -z "$bin" ] || [ -d "$bin" ] || die "--bin $bin: no such folder; build the programs first (cargo build)"
    mkdir -p "$images"
    [ -z "$bin" ] || bin=$(realpath "$bin")
    printf '%s' "$bin" >"$memory"
}

# add_programs OUT: OUT/initrd.img = OUT/base.img + the files of $bin in /usr/bin (*.so in /usr/lib), with the libraries they
# need; a file rc.logger becomes /etc/rc.logger. The kernel unpacks concatenated archives one after the other; each starts at a
# multiple of four bytes.
add_programs() {
    local out=$1 stage=$1/stage program place library
    cp "$out/base.img" "$out/initrd.new"
    if [ -n "$bin" ]; then
        rm -rf "$stage"
        mkdir -p "$stage"
        for program in "$bin"/*; do
            [ -f "$program" ] || continue
            if [ "${program##*/}" = rc.logger ]; then
                install -D -m 755 "$program" "$stage/etc/rc.logger"
                continue
            fi
            case $program in *.so) place=lib ;; *) place=bin ;; esac
            install -D -m 755 "$program" "$stage/usr/$place/${program##*/}"
            # Libraries beyond glibc and libgcc_s (libxenstore, say) come from this machine, a Debian 12 too.
            for library in $(ldd "$program" 2>/dev/null | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p'); do
                case ${library##*/} in libc.so.6 | libm.so.6 | libgcc_s.so.1 | ld-linux*) continue ;; esac
                [ -e "$stage/usr/lib/${library##*/}" ] || install -D -m 755 "$library" "$stage/usr/lib/${library##*/}"
            done
        done
        pack_initramfs "$stage" "$out/extra.img"
        cat "$out/extra.img" >>"$out/initrd.new"
        rm -rf "$stage" "$out/extra.img"
    fi
    mv "$out/initrd.new" "$out/initrd.img"
}
