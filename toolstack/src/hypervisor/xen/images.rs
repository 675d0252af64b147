// SPDX-License-Identifier: GPL-3.0-only
//! A cheap look at kernel and ramdisk before anything is built: are they there, is the kernel of a kind that Xen
//! starts, and does the memory hold them? The builder would find out too, but late and in riddles.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Code, Error, Result};
use crate::hypervisor::{BuildSpec, GuestKind};
use crate::ids::KiB;

const OP: &str = "load the guest";

/// Xen 4.17 gives an HVM container at most this many vCPUs (`HVM_MAX_VCPUS`).
pub(super) const MAX_PVH_VCPUS: u32 = 128;

/// Kernels that say they want to be loaded above this address give virtual addresses, not physical ones.
const HIGHEST_LOAD_ADDRESS: u64 = 64 << 20;

/// Start information, rings, boot stack and the first page tables.
const BUILDER_NEEDS: u64 = 1 << 20;

/// Checks the files and the memory of a domain to be built, without touching Xen.
///
/// # Errors
/// `Code::NotFound`: a file is missing. `Code::State`: the kernel is no kernel. `Code::Resources`: the
/// memory cannot hold kernel and ramdisk; the hint says how much can.
pub fn check_images(spec: &BuildSpec) -> Result<()> {
    if spec.kind == GuestKind::Pvh && !(1..=MAX_PVH_VCPUS).contains(&spec.vcpus) {
        let why = format!(
            "a PVH guest has 1 to {MAX_PVH_VCPUS} vCPUs, not {}",
            spec.vcpus
        );
        return Err(Error::new(Code::Usage, OP, "vcpus", why));
    }
    let kernel = kernel_end(&spec.kernel)?;
    let ramdisk = spec.ramdisk.as_deref().map_or(Ok(0), ramdisk_size)?;
    // A PV guest's table of its own frames (p2m) has eight bytes for each page.
    let p2m = if spec.kind == GuestKind::Pv {
        spec.memory.pages() * 8
    } else {
        0
    };
    let Some(kernel) = kernel else { return Ok(()) };
    let needed = kernel + ramdisk + p2m + BUILDER_NEEDS;
    if needed <= spec.memory.0.saturating_mul(1024) {
        return Ok(());
    }
    let why = format!(
        "the kernel ends at {} MiB and the ramdisk has {} MiB, but the domain has {} MiB of memory",
        mib(kernel),
        mib(ramdisk),
        spec.memory.mib()
    );
    Err(
        Error::new(Code::Resources, OP, spec.kernel.display().to_string(), why).hint(format!(
            "set memory to at least {}, and more for the guest to run in",
            mib(needed)
        )),
    )
}

/// Bytes as MiB, rounded up.
const fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// End of the loaded kernel in guest memory; `None` when the file does not tell (compressed as a whole).
fn kernel_end(path: &Path) -> Result<Option<u64>> {
    let file = open(path, "kernel")?;
    let end = if is_elf(&file) {
        elf_end(&file)
    } else if is_bzimage(&file) {
        bzimage_end(&file)
    } else if is_gzip(&file) {
        return Ok(None);
    } else {
        let why = "the file named by kernel is neither an ELF image nor a Linux bzImage";
        return Err(Error::new(Code::State, OP, path.display().to_string(), why)
            .hint("kernel takes a Linux vmlinuz or vmlinux with Xen support (CONFIG_XEN_PV, CONFIG_PVH)"));
    };
    end.map(Some).map_err(|cause| {
        Error::new(
            Code::State,
            OP,
            path.display().to_string(),
            format!("the kernel is cut short: {cause}"),
        )
    })
}

/// Memory that the ramdisk takes: libxenguest unpacks gzip.
fn ramdisk_size(path: &Path) -> Result<u64> {
    let file = open(path, "ramdisk")?;
    let failed = |cause: io::Error| {
        Error::new(
            Code::System,
            OP,
            path.display().to_string(),
            format!("cannot read the ramdisk: {cause}"),
        )
    };
    let size = file.metadata().map_err(failed)?.len();
    let unpacked = if is_gzip(&file) && size >= 4 {
        u64::from(u32_at(&file, size - 4).map_err(failed)?)
    } else {
        0
    };
    Ok(size.max(unpacked).next_multiple_of(4096))
}

fn open(path: &Path, key: &str) -> Result<File> {
    File::open(path).map_err(|cause| {
        let (code, hint) = match cause.kind() {
            io::ErrorKind::NotFound => (Code::NotFound, "name a file that exists in Dom0"),
            io::ErrorKind::PermissionDenied => (Code::Denied, "run this as root"),
            _ => (Code::System, "name a readable file"),
        };
        let why = format!("cannot open the file named by {key}: {cause}");
        Error::new(code, OP, path.display().to_string(), why).hint(hint)
    })
}

fn is_elf(file: &File) -> bool {
    bytes_at::<4>(file, 0).is_ok_and(|magic| magic == *b"\x7fELF")
}

fn is_bzimage(file: &File) -> bool {
    bytes_at::<4>(file, 0x202).is_ok_and(|magic| magic == *b"HdrS")
}

fn is_gzip(file: &File) -> bool {
    bytes_at::<2>(file, 0).is_ok_and(|magic| magic == [0x1f, 0x8b])
}

/// The highest address that a loadable segment reaches, counted from the lowest if the addresses are virtual.
fn elf_end(file: &File) -> io::Result<u64> {
    let wide = bytes_at::<1>(file, 4)? == [2];
    let (table, entry, count) = if wide {
        (u64_at(file, 32)?, u16_at(file, 54)?, u16_at(file, 56)?)
    } else {
        (
            u32_at(file, 28)?.into(),
            u16_at(file, 42)?,
            u16_at(file, 44)?,
        )
    };
    let (mut lowest, mut highest) = (u64::MAX, 0_u64);
    for i in 0..u64::from(count) {
        let header = table.saturating_add(i * u64::from(entry));
        if u32_at(file, header)? != PT_LOAD {
            continue;
        }
        let (addr, size) = if wide {
            (u64_at(file, header + 24)?, u64_at(file, header + 40)?)
        } else {
            (
                u32_at(file, header + 12)?.into(),
                u32_at(file, header + 20)?.into(),
            )
        };
        lowest = lowest.min(addr);
        highest = highest.max(addr.saturating_add(size));
    }
    Ok(if lowest > HIGHEST_LOAD_ADDRESS {
        highest.saturating_sub(lowest)
    } else {
        highest
    })
}

/// Type of a program header that is loaded.
const PT_LOAD: u32 = 1;

/// Preferred address and initial size of a Linux kernel (boot protocol 2.10 and later).
fn bzimage_end(file: &File) -> io::Result<u64> {
    if u16_at(file, 0x206)? < 0x20a {
        return Ok(file.metadata()?.len());
    }
    Ok(u64_at(file, 0x258)?.saturating_add(u32_at(file, 0x260)?.into()))
}

fn bytes_at<const N: usize>(file: &File, offset: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

fn u16_at(file: &File, offset: u64) -> io::Result<u16> {
    Ok(u16::from_le_bytes(bytes_at(file, offset)?))
}

fn u32_at(file: &File, offset: u64) -> io::Result<u32> {
    Ok(u32::from_le_bytes(bytes_at(file, offset)?))
}

fn u64_at(file: &File, offset: u64) -> io::Result<u64> {
    Ok(u64::from_le_bytes(bytes_at(file, offset)?))
}

/// The memory of a domain whose kernel libxenguest found too large after all.
pub(super) fn too_small_hint(memory: KiB) -> String {
    format!("set memory to more than {}", memory.mib())
}

#[cfg(test)]
mod tests;
