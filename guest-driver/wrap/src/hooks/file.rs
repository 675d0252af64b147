// SPDX-License-Identifier: GPL-3.0-only
//! Files of records: one that is made and grows, and one that is read.

use super::*;

/// Makes the file so long and has memory for it: a mapping without would end the program at the first write.
pub(super) unsafe fn reserve(fd: c_int, size: usize) -> bool {
    let size = size.cast_signed() as i64;
    // SAFETY: two calls with numbers.
    unsafe {
        libc::fallocate(fd, 0, 0, size) == 0
            || (errno() == libc::EOPNOTSUPP && libc::ftruncate(fd, size) == 0)
    }
}

/// How long the file is.
pub(super) fn length(fd: c_int) -> Option<u64> {
    // SAFETY: the buffer is as large as the kernel's.
    let mut about: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let found = unsafe { libc::fstat(fd, &raw mut about) } == 0;
    found.then(|| u64::try_from(about.st_size).ok())?
}

/// Opens a file at a high descriptor and maps `size` bytes of it, or all.
pub(super) unsafe fn map(
    path: &str,
    flags: c_int,
    protection: c_int,
    size: Option<usize>,
) -> (c_int, *mut u8, usize) {
    let fail = |what: &str| {
        die(
            UNUSABLE,
            &format!("{path}: cannot {what}: errno {}", errno()),
        )
    };
    let Ok(name) = std::ffi::CString::new(path) else {
        fail("be a name")
    };
    // SAFETY: the name ends with NUL; the descriptor is ours; what is mapped is a whole file of that size.
    unsafe {
        let low = libc::syscall(
            libc::SYS_openat,
            libc::AT_FDCWD,
            name.as_ptr(),
            flags | libc::O_CLOEXEC,
            0o600,
        ) as c_int;
        let fd = libc::fcntl(low, libc::F_DUPFD_CLOEXEC, HIGH);
        libc::syscall(libc::SYS_close, low);
        let mut about: libc::stat = std::mem::zeroed();
        if low < 0 || fd < 0 || libc::fstat(fd, &raw mut about) != 0 {
            fail("be opened");
        }
        let size = size.unwrap_or(about.st_size as usize);
        if flags & libc::O_CREAT != 0 && !reserve(fd, size) {
            fail("be made");
        }
        let base = libc::mmap(
            std::ptr::null_mut(),
            size.max(1),
            protection,
            libc::MAP_SHARED,
            fd,
            0,
        );
        if base == libc::MAP_FAILED {
            fail("be mapped");
        }
        (fd, base.cast(), size)
    }
}

/// The records of a recording that is over.
pub(super) unsafe fn load(path: &str) -> &'static [u8] {
    // SAFETY: the mapping is never taken back, and nobody writes to the file of a recording that is over.
    let file: &'static [u8] = unsafe {
        let (_, base, size) = map(path, libc::O_RDONLY, libc::PROT_READ, None);
        std::slice::from_raw_parts(base, size)
    };
    let read = |index: usize| {
        file.get(index * 8..)
            .and_then(|rest| rest.first_chunk().map(|b| u64::from_le_bytes(*b)))
    };
    let records = read(word::BYTES)
        .and_then(|length| file.get(HEADER..)?.get(..usize::try_from(length).ok()?));
    match records {
        Some(records) if read(word::MAGIC) == Some(MAGIC) => records,
        _ => die(UNUSABLE, &format!("{path}: this is no record of rxl-wrap")),
    }
}
