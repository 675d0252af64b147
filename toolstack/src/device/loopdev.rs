// SPDX-License-Identifier: GPL-3.0-only
//! Block devices for blkback: a file behind a loop device, or a block device as it is.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, major, minor};
use rustix::io::Errno;
use xen_sys::loop_ioctl;

use crate::error::{Code, Error, Result};

/// Times that another process may take the free loop device first.
const RACES_MAX: u32 = 64;

/// A number of a block device, as blkback's `physical-device` node has it: both parts in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// The driver.
    pub major: u32,
    /// The device.
    pub minor: u32,
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}:{:x}", self.major, self.minor)
    }
}

/// The number of the block device at `path`.
pub fn block_number(path: &Path) -> Result<Number> {
    let meta = path
        .metadata()
        .map_err(|e| failed("use the block device", path, &e))?;
    if !meta.file_type().is_block_device() {
        let why = io::Error::other("it is not a block device");
        return Err(failed("use the block device", path, &why));
    }
    Ok(Number {
        major: major(meta.rdev()),
        minor: minor(meta.rdev()),
    })
}

/// What serves a disk.
#[derive(Debug)]
pub enum Backing {
    /// A block device of the host.
    Device(PathBuf, Number),
    /// A regular file behind a loop device.
    Loop(LoopDevice),
}

/// Opens what a disk's `target` names: a block device is used as it is, a regular file goes behind a loop device.
pub fn open(target: &Path, writable: bool) -> Result<Backing> {
    let meta = target
        .metadata()
        .map_err(|e| failed("open the disk", target, &e))?;
    if meta.file_type().is_block_device() {
        return Ok(Backing::Device(target.to_owned(), block_number(target)?));
    }
    if !meta.is_file() {
        let why = io::Error::other("it is neither a file nor a block device");
        return Err(failed("open the disk", target, &why));
    }
    LoopDevice::attach(target, writable).map(Backing::Loop)
}

/// A loop device that goes when it is dropped, unless it is [kept](LoopDevice::keep).
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    file: File,
    number: Number,
}

impl LoopDevice {
    /// Puts `target` behind a free loop device.
    pub fn attach(target: &Path, writable: bool) -> Result<Self> {
        let op = "put the disk behind a loop device";
        let backing = OpenOptions::new()
            .read(true)
            .write(writable)
            .custom_flags(flags())
            .open(target)
            .map_err(|e| failed(op, target, &e))?;
        let control_path = Path::new("/dev/loop-control");
        let control = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags())
            .open(control_path)
            .map_err(|e| failed(op, control_path, &e).hint("load the module: modprobe loop"))?;
        for _ in 0..RACES_MAX {
            let index =
                loop_ioctl::get_free(control.as_fd()).map_err(|e| failed(op, control_path, &e))?;
            let path = PathBuf::from(format!("/dev/loop{index}"));
            let file = OpenOptions::new()
                .read(true)
                .write(writable)
                .custom_flags(flags())
                .open(&path)
                .map_err(|e| failed(op, &path, &e))?;
            // Autoclear: if this process dies now, the kernel takes the device down.
            match loop_ioctl::configure(file.as_fd(), backing.as_fd(), !writable, target) {
                Ok(()) => {
                    let number = block_number(&path)?;
                    return Ok(Self { path, file, number });
                }
                // Another process took it; the kernel has others.
                Err(e) if e.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {}
                Err(e) => return Err(failed(op, target, &e)),
            }
        }
        let why = io::Error::other("other processes took every free loop device first");
        Err(failed(op, target, &why))
    }

    /// Its node, `/dev/loop7`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> Number {
        self.number
    }

    /// Lets the device stay after this process: until [`detach`], or for ever. Call it when the node that [`detach`] will
    /// read is written.
    pub fn keep(self) -> Result<()> {
        loop_ioctl::set_autoclear(self.file.as_fd(), false)
            .map_err(|e| failed("keep the loop device", &self.path, &e))
    }
}

/// Takes down the loop device `device` if it still serves `target`; while somebody has it open, the kernel waits for
/// the last one to close it. False if it serves something else or nothing by now.
pub fn detach(device: &Path, target: &Path) -> Result<bool> {
    if backing_file(device).as_deref() != Some(target) {
        return Ok(false);
    }
    let file = match OpenOptions::new()
        .read(true)
        .custom_flags(flags())
        .open(device)
    {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(failed("detach the loop device", device, &e)),
    };
    match loop_ioctl::clear(file.as_fd()) {
        Ok(()) => Ok(true),
        Err(e) if e.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => Ok(false),
        Err(e) => Err(failed("detach the loop device", device, &e)),
    }
}

/// The file that a loop device serves.
#[must_use]
pub fn backing_file(device: &Path) -> Option<PathBuf> {
    let name = device.file_name()?.to_str()?;
    let text = std::fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()?;
    let text = text.trim_end_matches('\n');
    Some(PathBuf::from(
        text.strip_suffix(" (deleted)").unwrap_or(text),
    ))
}

fn flags() -> i32 {
    // Linux's flag bits fit a C int.
    OFlags::CLOEXEC.bits().cast_signed()
}

fn failed(op: &str, path: &Path, error: &io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::NotFound => Code::NotFound,
        io::ErrorKind::PermissionDenied => Code::Denied,
        _ => Code::System,
    };
    Error::new(code, op, path.display().to_string(), error)
}
