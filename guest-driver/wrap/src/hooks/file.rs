// SPDX-License-Identifier: GPL-3.0-only
//! The record's file: mapped, so that recording costs no system call until it has to grow.

use super::*;

/// Kept free for the record that says why the recording ends.
const LAST: usize = 128;

/// The record's file, mapped.
pub(super) struct Map {
    base: *mut u8,
    size: usize,
    /// The file may not become longer.
    max: usize,
    at: usize,
    fd: c_int,
    /// What cannot be kept any more goes here.
    waste: Vec<u8>,
    full: bool,
}

impl Map {
    pub(super) fn word(&self, index: usize) -> &AtomicU64 {
        // SAFETY: the header has 16 aligned words at the start of the mapping, which lives as long as `self`; who reads along
        // in another process uses them as words too.
        unsafe { &*self.base.cast::<AtomicU64>().add(index) }
    }

    pub(super) fn count(&self, index: usize, more: u64) {
        let word = self.word(index);
        word.store(word.load(Ordering::Relaxed) + more, Ordering::Relaxed);
    }

    /// Nothing more can be kept: the recording has to end.
    pub(super) const fn is_full(&self) -> bool {
        self.full
    }

    /// Makes way for the last record.
    pub(super) const fn last(&mut self) {
        self.full = false;
        self.max = 0;
    }

    /// Makes room for so many bytes and the last record; false if that cannot be.
    #[cold]
    fn grow(&mut self, bytes: usize) -> bool {
        if self.max == 0 && self.at + bytes <= self.size {
            return true;
        }
        let needed = self.at + bytes + LAST;
        let size = (self.size * 2)
            .max(needed.next_power_of_two())
            .min(self.max);
        // SAFETY: the mapping is this one's alone; its old place is not used again.
        let base = unsafe {
            if size < needed || !reserve(self.fd, size) {
                return false;
            }
            libc::mremap(self.base.cast(), self.size, size, libc::MREMAP_MAYMOVE)
        };
        if base == libc::MAP_FAILED {
            return false;
        }
        (self.base, self.size) = (base.cast(), size);
        self.count(word::CALLS, 2);
        true
    }
}

/// Makes the file so long and has memory for it: a mapping without would end the program at the first write.
unsafe fn reserve(fd: c_int, size: usize) -> bool {
    let size = size.cast_signed() as i64;
    // SAFETY: two calls with numbers.
    unsafe {
        libc::fallocate(fd, 0, 0, size) == 0
            || (errno() == libc::EOPNOTSUPP && libc::ftruncate(fd, size) == 0)
    }
}

impl Log for Map {
    #[inline]
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        if self.at + bytes + LAST > self.size && (self.full || !self.grow(bytes)) {
            self.full = true;
            self.waste.resize(bytes, 0);
            return &mut self.waste;
        }
        // SAFETY: there is room for it, as was just seen, and nobody else writes there; who reads along keeps below what is
        // committed.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(self.at), bytes) }
    }

    #[inline]
    fn commit(&mut self, bytes: usize) {
        if self.full {
            return;
        }
        self.at += bytes;
        self.count(word::RECORDS, 1);
        // Whoever reads this word sees the record whole.
        self.word(word::BYTES)
            .store((self.at - HEADER) as u64, Ordering::Release);
    }
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

/// A number that no other program that begins this file has.
fn generation() -> u64 {
    // SAFETY: the time lives over the call; the other has no argument.
    unsafe {
        let mut now: timespec = std::mem::zeroed();
        libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_REALTIME, &raw mut now);
        let ns = (now.tv_sec as u64) << 30 | now.tv_nsec as u64;
        ns ^ (libc::syscall(libc::SYS_getpid) as u64) << 40
    }
}

pub(super) unsafe fn create(path: &str, max: usize, state: u64) -> Map {
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;
    // SAFETY: see `map`.
    let (fd, base, size) = unsafe {
        map(
            path,
            flags,
            libc::PROT_READ | libc::PROT_WRITE,
            Some(FIRST_SIZE.min(max)),
        )
    };
    let map = Map {
        base,
        size,
        max,
        at: HEADER,
        fd,
        waste: Vec::new(),
        full: false,
    };
    map.word(word::STATE).store(state, Ordering::Relaxed);
    map.word(word::GENERATION)
        .store(generation(), Ordering::Relaxed);
    map.word(word::MAGIC).store(MAGIC, Ordering::Release);
    map
}

impl Map {
    /// Another process has written records: what is there now. Records go behind them.
    pub(super) unsafe fn take_in(&mut self) -> Option<&'static [u8]> {
        let length = usize::try_from(self.word(word::BYTES).load(Ordering::Acquire)).ok()?;
        // SAFETY: the buffer is as large as the kernel's.
        let mut about: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        let found = unsafe { libc::fstat(self.fd, &raw mut about) } == 0;
        let size = usize::try_from(about.st_size).ok()?;
        let end = HEADER.checked_add(length)?;
        if !found || end > size {
            return None;
        }
        // SAFETY: as in `grow`; the file is that long. The mapping lives on, and what is below the end is not written again.
        unsafe {
            let base = libc::mremap(
                self.base.cast(),
                self.size,
                size.max(self.size),
                libc::MREMAP_MAYMOVE,
            );
            if base == libc::MAP_FAILED {
                return None;
            }
            (self.base, self.size, self.at) = (base.cast(), size.max(self.size), end);
            self.max = self.max.max(self.size);
            Some(std::slice::from_raw_parts(self.base.add(HEADER), length))
        }
    }
}

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
