// SPDX-License-Identifier: GPL-3.0-only
//! Names of virtual disks and their numbers (Xen's `docs/man/xen-vbd-interface.7`).

use crate::error::{Code, Error, Result};

/// Most disks under the name `xvd`.
const XVD_DISKS: u32 = 1 << 20;

/// The number (`virtual-device`, devid) of the disk called `name`: `xvda`, `xvdb3`, `sda1`, `hdc`, `d0p1`, or the
/// number itself.
pub fn number(name: &str) -> Result<u32> {
    parse(name).ok_or_else(|| {
        Error::new(
            Code::Usage,
            "find the disk's number",
            format!("disk {name}"),
            "this is not the name of a virtual disk",
        )
        .hint("use xvda to xvdzz, sda to sdp, or hda to hdd, with a partition number if wanted")
    })
}

fn parse(name: &str) -> Option<u32> {
    if let Some((disk, partition)) = letters(name, "xvd", XVD_DISKS, 256).or_else(|| dp(name)) {
        return Some(xen_number(disk, partition));
    }
    if let Some((disk, partition)) = letters(name, "hd", 4, 64) {
        let major = if disk < 2 { 3 } else { 22 };
        return Some((major << 8) | ((disk & 1) << 6) | partition);
    }
    if let Some((disk, partition)) = letters(name, "sd", 16, 16) {
        return Some((8 << 8) | (disk << 4) | partition);
    }
    let number = match name.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None if name.bytes().all(|b| b.is_ascii_digit()) => name.parse().ok()?,
        None => return None,
    };
    (number <= i32::MAX as u32).then_some(number)
}

/// Xen's own encodings: the old one as far as it reaches, then the extended one.
const fn xen_number(disk: u32, partition: u32) -> u32 {
    if disk <= 15 && partition <= 15 {
        (202 << 8) | (disk << 4) | partition
    } else {
        (1 << 28) | (disk << 8) | partition
    }
}

/// `dNpM`.
fn dp(name: &str) -> Option<(u32, u32)> {
    let (disk, partition) = name.strip_prefix('d')?.split_once('p')?;
    let decimal = |text: &str| -> Option<u32> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    let (disk, partition) = (decimal(disk)?, decimal(partition)?);
    (disk < XVD_DISKS && partition < 256).then_some((disk, partition))
}

/// `PREFIX` + letters (a = 0, z = 25, aa = 26 ...) + partition without leading zero.
fn letters(name: &str, prefix: &str, disks: u32, partitions: u32) -> Option<(u32, u32)> {
    let rest = name.strip_prefix(prefix)?;
    let end = rest
        .find(|c: char| !c.is_ascii_lowercase())
        .unwrap_or(rest.len());
    let (drive, partition) = rest.split_at(end);
    let mut disk: Option<u32> = None;
    for letter in drive.bytes() {
        let value = u32::from(letter - b'a');
        let next = disk.map_or(value, |high| (high + 1) * 26 + value);
        if next >= disks {
            return None;
        }
        disk = Some(next);
    }
    let number = match partition {
        "" => 0,
        text if text.starts_with('0') || !text.bytes().all(|b| b.is_ascii_digit()) => return None,
        text => text.parse().ok()?,
    };
    (number < partitions).then_some((disk?, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_numbers_of_the_interface_document() {
        let table = [
            ("xvda", 51712),
            ("xvda1", 51713),
            ("xvdp15", 51967),
            ("xvdq", (1 << 28) | (16 << 8)),
            ("xvda16", (1 << 28) | 16),
            ("xvdaa", (1 << 28) | (26 << 8)),
            ("d0p1", 51713),
            ("d20p3", (1 << 28) | (20 << 8) | 3),
            ("hda", 768),
            ("hdb2", 834),
            ("hdc", 5632),
            ("sda", 2048),
            ("sdb3", 2067),
            ("51712", 51712),
            ("0xca00", 51712),
        ];
        for (name, expected) in table {
            assert_eq!(parse(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn other_names_are_refused() {
        let bad = [
            "",
            "xvd",
            "xvda01",
            "xvda256",
            "hde",
            "sdq",
            "sda16",
            "xvdA",
            "vda",
            "xvda1x",
            "-1",
            "d0p",
            "d+1p1",
            "xvdzzzzz",
            "4294967296",
            "0x",
        ];
        for name in bad {
            assert_eq!(parse(name), None, "{name}");
        }
        let error = number("vda").unwrap_err();
        assert!(error.to_string().contains("disk vda"), "{error}");
    }
}
