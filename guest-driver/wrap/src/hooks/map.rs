// SPDX-License-Identifier: GPL-3.0-only
//! The record's memory: mapped, so that recording costs no system call until it has to grow. It is a file's, or an area that
//! the agent gives.

use super::*;
use area::{Area, PAGE};

/// Kept free for the record that says why the recording ends.
const LAST: usize = 128;
/// Why a recording ends that has all the memory that it gets.
const FULL: &str = "the record is full";

/// Where the memory comes from.
pub(super) enum Source {
    /// A file, by its descriptor.
    File(c_int),
    /// The agent.
    Area(Area),
}

/// The record's memory, mapped.
pub(super) struct Map {
    base: *mut u8,
    size: usize,
    /// The record may not become longer.
    max: usize,
    at: usize,
    source: Source,
    /// What cannot be kept any more goes here.
    waste: Vec<u8>,
    /// Nothing more can be kept, and why.
    full: Option<&'static str>,
}

impl Map {
    /// A new record in `size` bytes at `base` of this source, which nobody else in this process uses.
    pub(super) unsafe fn begin(
        source: Source,
        (base, size, max): (*mut u8, usize, usize),
        state: u64,
    ) -> Self {
        let map = Self {
            base,
            size,
            max,
            at: HEADER,
            source,
            waste: Vec::new(),
            full: None,
        };
        map.word(word::STATE).store(state, Ordering::Relaxed);
        map.word(word::GENERATION)
            .store(generation(), Ordering::Relaxed);
        map.word(word::MAGIC).store(MAGIC, Ordering::Release);
        map
    }

    pub(super) fn word(&self, index: usize) -> &AtomicU64 {
        // SAFETY: the header has 16 aligned words at the start of the mapping, which lives as long as `self`; who reads along
        // in another process uses them as words too.
        unsafe { &*self.base.cast::<AtomicU64>().add(index) }
    }

    pub(super) fn count(&self, index: usize, more: u64) {
        let word = self.word(index);
        word.store(word.load(Ordering::Relaxed) + more, Ordering::Relaxed);
    }

    /// Nothing more can be kept, and the recording has to end: why.
    pub(super) const fn full(&self) -> Option<&'static str> {
        self.full
    }

    /// Makes way for the last record.
    pub(super) const fn last(&mut self) {
        self.full = None;
        self.max = 0;
    }

    /// The map's own descriptors.
    pub(super) fn own(&self) -> [c_int; 2] {
        match &self.source {
            Source::File(fd) => [*fd, -1],
            Source::Area(area) => area.own(),
        }
    }

    /// How long the memory is that exists.
    fn exists(&self) -> Option<usize> {
        match &self.source {
            Source::File(fd) => usize::try_from(file::length(*fd)?).ok(),
            Source::Area(_) => {
                let size = self.word(word::SIZE).load(Ordering::Acquire);
                // The agent may not have told yet; what is mapped does not go away.
                Some(usize::try_from(size).ok()?.max(self.size))
            }
        }
    }

    /// Maps what exists up to `size`; false if that cannot be.
    unsafe fn reach(&mut self, size: usize) -> bool {
        // SAFETY: the caller knows that there is so much. The mapping is this one's alone; its old place is not used again.
        let base = unsafe {
            match &self.source {
                Source::File(_) => {
                    libc::mremap(self.base.cast(), self.size, size, libc::MREMAP_MAYMOVE)
                }
                Source::Area(area) => area.show(self.size, size),
            }
        };
        if base == libc::MAP_FAILED {
            return false;
        }
        (self.base, self.size) = (base.cast(), size);
        true
    }

    /// Makes room for so many bytes and the last record, or says why that cannot be.
    #[cold]
    fn grow(&mut self, bytes: usize) -> Result<(), &'static str> {
        if self.max == 0 && self.at + bytes <= self.size {
            return Ok(());
        }
        let needed = self.at + bytes + LAST;
        let wanted = (self.size * 2)
            .max(needed.next_power_of_two())
            .min(self.max);
        if wanted < needed {
            return Err(FULL);
        }
        let (size, calls) = match &self.source {
            Source::File(fd) => {
                // SAFETY: the descriptor is the file's.
                let made = unsafe { file::reserve(*fd, wanted) };
                (if made { wanted } else { 0 }, 2)
            }
            Source::Area(area) => match self.exists() {
                // The logger has had it made longer.
                Some(size) if size >= needed => (size.min(wanted), 1),
                _ => (area.ask(wanted)?.min(wanted), 3),
            },
        };
        // SAFETY: it was just made so long, or is so by the agent's word.
        if size < needed || !unsafe { self.reach(size) } {
            return Err(FULL);
        }
        self.count(word::CALLS, calls);
        Ok(())
    }

    /// Another process has written records: what is there now. Records go behind them.
    pub(super) unsafe fn take_in(&mut self) -> Option<&'static [u8]> {
        let length = usize::try_from(self.word(word::BYTES).load(Ordering::Acquire)).ok()?;
        let end = HEADER.checked_add(length)?;
        let size = self.exists()?;
        // SAFETY: it is that long. The mapping lives as long as the program is wrapped, its place is changed at the earliest
        // when the replay is over, and what is below the end is not written again.
        unsafe {
            if end > size || !self.reach(size.max(self.size)) {
                return None;
            }
            self.at = end;
            self.max = self.max.max(self.size);
            Some(std::slice::from_raw_parts(self.base.add(HEADER), length))
        }
    }

    /// The text of clients that the logger has told in an area, behind the records; `None` while it is written anew.
    pub(super) unsafe fn clients(&mut self, told: u64) -> Option<String> {
        let bytes = usize::try_from(self.word(word::BYTES).load(Ordering::Acquire)).ok()?;
        let at = HEADER.checked_add(bytes)?.checked_next_multiple_of(8)?;
        let size = self.exists()?;
        // SAFETY: by the agent's word it is that long.
        if size > self.size && !unsafe { self.reach(size) } {
            return None;
        }
        if self.word(word::TELLING).load(Ordering::Acquire) != told {
            return None;
        }
        let words = self.size.checked_sub(at)? / 8;
        // SAFETY: aligned words within the mapping, of which the logger's writes are the only ones until records are added.
        let words =
            unsafe { std::slice::from_raw_parts(self.base.add(at).cast::<AtomicU64>(), words) };
        let (length, text) = words.split_first()?;
        let length = usize::try_from(length.load(Ordering::Relaxed)).ok()?;
        let text = text.get(..length.div_ceil(8))?.iter();
        let mut text: Vec<u8> = text
            .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
            .collect();
        text.truncate(length);
        fence(Ordering::Acquire);
        let whole = self.word(word::TELLING).load(Ordering::Relaxed) == told;
        whole.then(|| String::from_utf8_lossy(&text).into_owned())
    }
}

impl Log for Map {
    #[inline]
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        if self.at + bytes + LAST > self.size {
            if self.full.is_none() {
                self.full = self.grow(bytes).err();
            }
            if self.full.is_some() {
                self.waste.resize(bytes, 0);
                return &mut self.waste;
            }
        }
        // SAFETY: there is room for it, as was just seen, and nobody else writes there; who reads along keeps below what is
        // committed.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(self.at), bytes) }
    }

    #[inline]
    fn commit(&mut self, bytes: usize) {
        if self.full.is_some() {
            return;
        }
        self.at += bytes;
        self.count(word::RECORDS, 1);
        // Whoever reads this word sees the record whole.
        self.word(word::BYTES)
            .store((self.at - HEADER) as u64, Ordering::Release);
    }
}

/// A number that no other program that begins this record has.
fn generation() -> u64 {
    // SAFETY: the time lives over the call; the other has no argument.
    unsafe {
        let mut now: timespec = std::mem::zeroed();
        libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_REALTIME, &raw mut now);
        let ns = (now.tv_sec as u64) << 30 | now.tv_nsec as u64;
        ns ^ (libc::syscall(libc::SYS_getpid) as u64) << 40
    }
}

/// A record in a new file.
pub(super) unsafe fn in_file(path: &str, max: usize, state: u64) -> Map {
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the file is new, and its mapping nobody else's.
    unsafe {
        let (fd, base, size) = file::map(path, flags, protection, Some(FIRST_SIZE.min(max)));
        Map::begin(Source::File(fd), (base, size, max), state)
    }
}

/// A record in the area of the agent at this socket, of a program that waits, and the descriptor at which news comes.
pub(super) unsafe fn in_area(path: &str, max: usize) -> (Map, c_int) {
    let max = max.min(MAX_SIZE).next_multiple_of(PAGE);
    // SAFETY: the area is new, and its mapping nobody else's.
    unsafe {
        let (area, size) = Area::connect(path, MAX_SIZE);
        let size = size.min(max);
        let base = area.show(0, size);
        if base == libc::MAP_FAILED {
            area::fail(path, "its area cannot be mapped");
        }
        let socket = area.socket();
        let whole = (base.cast(), size, max);
        (Map::begin(Source::Area(area), whole, state::WAITS), socket)
    }
}
