// SPDX-License-Identifier: GPL-3.0-only
//! Which mounts can be frozen: writable file systems on block devices, out of `/proc/self/mountinfo` (proc(5)).

use std::collections::HashSet;

/// The mount points to freeze, innermost first, so that nothing that lies upon another file system (a loop device's file,
/// say) waits for one that is frozen already. One for each file system, as the kernel writes it: blanks in octal.
#[must_use]
pub fn freezable(mountinfo: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut mounts: Vec<String> = mountinfo
        .lines()
        .filter_map(Mount::parse)
        .filter(|mount| mount.writable && mount.on_disk())
        .filter(|mount| seen.insert(mount.device))
        .map(|mount| mount.point.to_owned())
        .collect();
    mounts.reverse();
    mounts
}

/// The path that a word of mountinfo stands for.
#[must_use]
pub fn path_of(word: &str) -> String {
    let mut path = Vec::new();
    let mut rest = word.as_bytes();
    while let [first, more @ ..] = rest {
        let octal = (*first == b'\\')
            .then(|| more.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                path.push(byte);
                rest = &more[3..];
            }
            None => {
                path.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&path).into_owned()
}

struct Mount<'a> {
    device: &'a str,
    point: &'a str,
    writable: bool,
    source: &'a str,
}

impl<'a> Mount<'a> {
    /// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG]... - TYPE SOURCE SUPEROPTIONS`
    fn parse(line: &'a str) -> Option<Self> {
        let (front, back) = line.split_once(" - ")?;
        let front: Vec<&str> = front.split(' ').collect();
        let back: Vec<&str> = back.split(' ').collect();
        let writable = |options: &str| options.split(',').any(|option| option == "rw");
        Some(Self {
            device: front.get(2)?,
            point: front.get(4)?,
            writable: writable(front.get(5)?) && back.get(2).is_some_and(|o| writable(o)),
            source: back.get(1)?,
        })
    }

    /// btrfs gives its subvolumes devices without a major number, but a source in /dev.
    fn on_disk(&self) -> bool {
        !self.device.starts_with("0:") || self.source.starts_with("/dev/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writable_disks_innermost_first_each_once() {
        let mountinfo = "\
20 1 202:1 / / rw,relatime shared:1 - ext4 /dev/xvda1 rw,errors=remount-ro
21 20 0:5 / /proc rw,nosuid - proc proc rw
22 20 0:22 / /run rw - tmpfs tmpfs rw,size=1k
23 20 202:2 / /srv/www ro,relatime - ext4 /dev/xvda2 ro
24 20 202:16 / /my\\040data rw - xfs /dev/xvdb rw
25 20 202:1 /var /bind rw shared:1 - ext4 /dev/xvda1 rw
26 20 0:40 /@home /home rw - btrfs /dev/xvdc rw
27 24 7:0 / /my\\040data/loop rw - ext4 /dev/loop0 rw
28 24 202:32 / /half rw - ext4 /dev/xvdd ro
broken line
";
        assert_eq!(
            freezable(mountinfo),
            ["/my\\040data/loop", "/home", "/my\\040data", "/"]
        );
    }

    #[test]
    fn words_stand_for_paths() {
        assert_eq!(path_of("/my\\040data\\134x"), "/my data\\x");
        assert_eq!(path_of("/ä\\9"), "/ä\\9");
        let path = "/a b\tc\\d";
        assert_eq!(path_of(&toolstack::guest::mount_word(path)), path);
    }
}
