// SPDX-License-Identifier: GPL-3.0-only
//! Tests of the look at kernel and ramdisk, on small files made here.

use std::path::PathBuf;
use std::{env, fs, process};

use super::*;
use crate::ids::{DomId, Port};

/// A directory of this test's own, gone when the test ends, also by a failure.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("rxl-images-{name}-{}", process::id()));
        fs::create_dir_all(&path).expect("make a directory");
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).expect("write a file");
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // A directory that stays behind under the temporary one is no reason to hide the test's own failure.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// An ELF64 with one loadable segment.
fn elf(addr: u64, memsz: u64) -> Vec<u8> {
    let mut image = vec![0; 64 + 56];
    put(&mut image, 0, b"\x7fELF\x02");
    put(&mut image, 32, &64_u64.to_le_bytes());
    put(&mut image, 54, &56_u16.to_le_bytes());
    put(&mut image, 56, &1_u16.to_le_bytes());
    put(&mut image, 64, &PT_LOAD.to_le_bytes());
    put(&mut image, 64 + 24, &addr.to_le_bytes());
    put(&mut image, 64 + 40, &memsz.to_le_bytes());
    image
}

fn spec(kind: GuestKind, kernel: PathBuf, ramdisk: Option<PathBuf>, mib: u64) -> BuildSpec {
    BuildSpec {
        kind,
        kernel,
        ramdisk,
        cmdline: String::new(),
        memory: KiB::from_mib(mib),
        max_memory: KiB::from_mib(mib),
        vcpus: 1,
        store_port: Port(1),
        store_domain: DomId::DOM0,
        console_port: Port(2),
        console_domain: DomId::DOM0,
    }
}

#[test]
fn kernel_that_does_not_fit_gives_one_error_with_the_size_needed() {
    let dir = Dir::new("fit");
    let kernel = dir.file("vmlinux", &elf(16 << 20, 42 << 20));
    let error =
        check_images(&spec(GuestKind::Pvh, kernel.clone(), None, 32)).expect_err("too small");
    assert_eq!(error.code, Code::Resources);
    assert!(
        error
            .hint
            .expect("a hint")
            .starts_with("set memory to at least 59,")
    );
    check_images(&spec(GuestKind::Pvh, kernel, None, 59)).expect("it fits");
}

#[test]
fn packed_ramdisk_counts_unpacked() {
    let dir = Dir::new("ramdisk");
    let kernel = dir.file("vmlinux", &elf(16 << 20, 4 << 20));
    let mut packed = vec![0x1f, 0x8b, 8, 0];
    packed.extend_from_slice(&(20_u32 << 20).to_le_bytes());
    let ramdisk = dir.file("initrd.gz", &packed);
    let refused = check_images(&spec(
        GuestKind::Pvh,
        kernel.clone(),
        Some(ramdisk.clone()),
        40,
    ));
    assert_eq!(refused.expect_err("too small").code, Code::Resources);
    check_images(&spec(GuestKind::Pvh, kernel, Some(ramdisk), 41)).expect("it fits");
}

#[test]
fn virtual_load_addresses_are_counted_from_the_lowest() {
    let dir = Dir::new("virtual");
    let kernel = dir.file("minios", &elf(0xffff_ffff_8000_0000, 1 << 20));
    check_images(&spec(GuestKind::Pv, kernel, None, 4)).expect("it fits");
}

#[test]
fn bzimage_tells_its_size_in_its_header() {
    let dir = Dir::new("bzimage");
    let mut image = vec![0; 0x300];
    put(&mut image, 0x202, b"HdrS");
    put(&mut image, 0x206, &0x20f_u16.to_le_bytes());
    put(&mut image, 0x258, &(16_u64 << 20).to_le_bytes());
    put(&mut image, 0x260, &(40_u32 << 20).to_le_bytes());
    let kernel = dir.file("vmlinuz", &image);
    let refused = check_images(&spec(GuestKind::Pv, kernel.clone(), None, 56));
    assert_eq!(refused.expect_err("too small").code, Code::Resources);
    check_images(&spec(GuestKind::Pv, kernel, None, 58)).expect("it fits");
}

#[test]
fn missing_kernel_and_ramdisk_are_named_with_their_keys() {
    let dir = Dir::new("missing");
    let gone = dir.0.join("gone");
    let error = check_images(&spec(GuestKind::Pv, gone.clone(), None, 64)).expect_err("missing");
    assert_eq!(
        (error.code, error.object),
        (Code::NotFound, gone.display().to_string())
    );
    assert!(error.cause.contains("kernel"), "{}", error.cause);
    let kernel = dir.file("vmlinux", &elf(16 << 20, 1 << 20));
    let error = check_images(&spec(GuestKind::Pv, kernel, Some(gone), 64)).expect_err("missing");
    assert!(error.cause.contains("ramdisk"), "{}", error.cause);
}

#[test]
fn file_that_is_no_kernel_is_refused() {
    let dir = Dir::new("text");
    for bytes in [&b"#!/bin/sh\n"[..], b"", b"\x7fELF"] {
        let kernel = dir.file("kernel", bytes);
        let error = check_images(&spec(GuestKind::Pvh, kernel, None, 64)).expect_err("no kernel");
        assert_eq!(error.code, Code::State, "{error}");
    }
}

#[test]
fn pvh_without_or_with_too_many_vcpus_is_refused() {
    let dir = Dir::new("vcpus");
    let kernel = dir.file("vmlinux", &elf(16 << 20, 1 << 20));
    for vcpus in [0, 129] {
        let mut spec = spec(GuestKind::Pvh, kernel.clone(), None, 64);
        spec.vcpus = vcpus;
        assert_eq!(check_images(&spec).expect_err("vcpus").code, Code::Usage);
    }
}
