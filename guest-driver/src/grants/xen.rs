// SPDX-License-Identifier: GPL-3.0-only
//! The hypervisor is Xen: its devices in Linux.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use xen_sys::grants::{EventChannels, Granting};

use super::hypervisor::{Bell, Hypervisor, Pages};
use crate::say;
use crate::wrap::PAGES_MAX;

/// Most pages that all programs of this machine may grant; the module's default is 1024.
const LIMIT: &str = "/sys/module/xen_gntalloc/parameters/limit";
/// For one area at its largest, its directory, the next one's directory, the page of `commit`, and a few for others.
const LIMIT_WANTED: u32 = PAGES_MAX + 100;

/// Xen, through `/dev/xen`.
#[derive(Debug)]
pub(crate) struct Xen;

impl Hypervisor for Xen {
    type Pages = Granting;
    type Bell = Channel;

    fn pages(&self) -> Result<Granting, String> {
        let pages = Granting::open().map_err(|e| cannot_open("gntalloc", &e))?;
        // Not before: the device has brought its module.
        if let Err(why) = raise(Path::new(LIMIT), LIMIT_WANTED) {
            say(&why);
        }
        Ok(pages)
    }

    fn bell(&self, logger: u16) -> Result<Channel, String> {
        let channels = EventChannels::open().map_err(|e| cannot_open("evtchn", &e))?;
        let port = channels.bind_unbound(logger);
        let port = port.map_err(|e| format!("no event channel for domain {logger}: {e}"))?;
        Ok(Channel { channels, port })
    }
}

impl Pages for Granting {
    fn add(&mut self, logger: u16, count: u32) -> Result<Vec<u32>, String> {
        Self::add(self, logger, count).map_err(|error| match error.raw_os_error() {
            Some(libc::ENOSPC) => {
                let limit = std::fs::read_to_string(LIMIT).unwrap_or_default();
                full(count, limit.trim())
            }
            _ => format!("{count} pages cannot be granted to domain {logger}: {error}"),
        })
    }
}

/// The one event channel of a file of its own, so that all go when it is dropped.
#[derive(Debug)]
pub(crate) struct Channel {
    channels: EventChannels,
    port: u32,
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channels.as_fd()
    }
}

impl Bell for Channel {
    fn port(&self) -> u32 {
        self.port
    }

    fn ring(&self) -> io::Result<()> {
        self.channels.notify(self.port)
    }

    fn heard(&self) -> io::Result<bool> {
        let mut heard = false;
        while self.channels.next()?.is_some() {
            heard = true;
        }
        Ok(heard)
    }
}

fn cannot_open(device: &str, error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => {
            format!("/dev/xen/{device} is missing: modprobe xen-{device}")
        }
        _ => format!("/dev/xen/{device}: {error}"),
    }
}

/// No page could be had: which of the two limits it may be.
fn full(count: u32, limit: &str) -> String {
    format!(
        "no room for {count} more granted pages: raise {LIMIT} (it is {limit}) or Xen's gnttab_max_frames"
    )
}

/// Raises the number in the file to `wanted`.
fn raise(file: &Path, wanted: u32) -> Result<(), String> {
    let cannot = |error: io::Error| {
        let path = file.display();
        format!("{path} cannot be raised to {wanted}: {error}; records of programs stay small")
    };
    let text = std::fs::read_to_string(file).map_err(cannot)?;
    if text.trim().parse::<u32>().is_ok_and(|now| now >= wanted) {
        return Ok(());
    }
    std::fs::write(file, wanted.to_string()).map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_raised_and_never_lowered() {
        let file = std::env::temp_dir().join(format!("rxl-limit-{}", std::process::id()));
        for (before, after) in [
            ("1024\n", "16500"),
            ("16500\n", "16500\n"),
            ("99999\n", "99999\n"),
        ] {
            std::fs::write(&file, before).unwrap();
            raise(&file, 16500).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), after);
        }
        std::fs::remove_file(&file).unwrap();
        let told = raise(&file, 16500).unwrap_err();
        assert!(
            told.contains("cannot be raised to 16500: No such file"),
            "{told}"
        );
    }

    #[test]
    fn what_is_missing_is_told_with_its_cure() {
        let missing = io::Error::from_raw_os_error(libc::ENOENT);
        assert_eq!(
            cannot_open("gntalloc", &missing),
            "/dev/xen/gntalloc is missing: modprobe xen-gntalloc"
        );
        let told = full(256, "1024");
        assert!(told.len() <= 200, "{told}");
        assert!(told.contains("/sys/module/xen_gntalloc/parameters/limit (it is 1024)"));
    }
}
