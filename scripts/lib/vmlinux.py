#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-only
"""Takes the raw ELF kernel (vmlinux) out of a Linux bzImage.

    scripts/lib/vmlinux.py VMLINUZ VMLINUX

A guest started from the raw ELF file saves the seconds that decompression costs in software emulation.
The place of the payload comes from the boot header (Documentation/x86/boot.rst): `setup_sects` at 0x1f1,
`HdrS` at 0x202, the protocol version at 0x206, `payload_offset` and `payload_length` at 0x248 (protocol 2.08 and later).
The last four payload bytes are the uncompressed size, little endian, which serves as a check.
"""

import bz2
import gzip
import lzma
import struct
import sys

DECODERS = {
    b"\xfd7zXZ\x00": lambda data: lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(data),
    b"\x1f\x8b\x08": lambda data: gzip.decompress(data),
    b"BZh": lambda data: bz2.BZ2Decompressor().decompress(data),
    b"\x5d\x00\x00": lambda data: lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(data),
    b"\x7fELF": lambda data: data,
}


class BadImage(Exception):
    """The file is not a bzImage that this program can open; the text says what is wrong."""


def extract(image: bytes) -> bytes:
    """Returns the ELF kernel inside `image`."""
    if len(image) < 0x250 or image[0x202:0x206] != b"HdrS":
        raise BadImage("no boot header (HdrS at 0x202): not a bzImage")
    (protocol,) = struct.unpack_from("<H", image, 0x206)
    if protocol < 0x208:
        raise BadImage(f"boot protocol {protocol >> 8}.{protocol & 255:02d} is older than 2.08: it does not say where the payload is")
    setup_sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    payload = image[start : start + length]
    if len(payload) != length or length < 8:
        raise BadImage(f"the payload ({length} bytes at {start}) reaches past the end of the file ({len(image)} bytes)")
    for magic, decode in DECODERS.items():
        if payload.startswith(magic):
            kernel = decode(payload)
            break
    else:
        raise BadImage(f"unknown compression, the payload starts with {payload[:6].hex()}")
    if not kernel.startswith(b"\x7fELF"):
        raise BadImage("the payload is not an ELF file")
    (size,) = struct.unpack("<I", payload[-4:])
    if payload[:4] != b"\x7fELF" and size != len(kernel):
        raise BadImage(f"{len(kernel)} bytes came out, the image promises {size}")
    return kernel


def main(arguments: list[str]) -> int:
    if len(arguments) != 2 or arguments[0] == "--help":
        print(__doc__.strip())
        return 0 if arguments == ["--help"] else 2
    source, target = arguments
    try:
        with open(source, "rb") as file:
            kernel = extract(file.read())
        with open(target, "wb") as file:
            file.write(kernel)
    except (OSError, BadImage, lzma.LZMAError) as error:
        print(f"error: cannot take the kernel out of {source}: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
