// SPDX-License-Identifier: GPL-3.0-only
//! The reader of the ring in which the kernel's program puts what it has copied out (`BPF_MAP_TYPE_RINGBUF`, Linux'
//! `Documentation/bpf/ringbuf.rst`).
//!
//! Reading and giving back are two steps here: a record stays in the ring until it is in the journal, so that a logger
//! that is killed in between finds it again. A ring that is full meanwhile hands segments over instead of forwarding them.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::param::page_size;

/// `BPF_RINGBUF_HDR_SZ`: length and flags, and the kernel's own.
const HEADER: usize = 8;
/// `BPF_RINGBUF_BUSY_BIT`: the record is still being written.
const BUSY: u32 = 1 << 31;
/// `BPF_RINGBUF_DISCARD_BIT`: it was given up.
const DISCARD: u32 = 1 << 30;

/// A part of the map in our memory.
#[derive(Debug)]
struct Mapping {
    start: NonNull<c_void>,
    length: usize,
}

// SAFETY: the mapping belongs to the value alone, and all that others write to it is read by atomics.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(map: BorrowedFd<'_>, from: usize, length: usize, access: ProtFlags) -> io::Result<Self> {
        // SAFETY: the kernel chooses the place, so nothing that exists is replaced.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                length,
                access,
                MapFlags::SHARED,
                map,
                from as u64,
            )
        }?;
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, length })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and borrows of it have ended.
        let _ = unsafe { munmap(self.start.as_ptr(), self.length) };
    }
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Ring<M> {
    /// Keeps the map open, and is what an event loop waits on.
    map: M,
    /// One page: the position up to which records were given back.
    consumer: Mapping,
    /// One page with the position up to which the kernel has written, then the data, twice, so that no record is cut.
    producer: Mapping,
    data: usize,
    bytes: usize,
    /// Everything below was read.
    read: u64,
}

impl<M: AsFd> Ring<M> {
    /// `bytes`: the size of the map's data.
    ///
    /// # Errors
    /// The map cannot be mapped.
    pub(super) fn new(map: M, bytes: u32) -> io::Result<Self> {
        let (page, bytes) = (page_size(), bytes as usize);
        let consumer = Mapping::new(map.as_fd(), 0, page, ProtFlags::READ | ProtFlags::WRITE)?;
        let producer = Mapping::new(map.as_fd(), page, page + 2 * bytes, ProtFlags::READ)?;
        let mut ring = Self {
            map,
            consumer,
            producer,
            data: page,
            bytes,
            read: 0,
        };
        ring.read = ring.given_back().load(Ordering::Acquire);
        Ok(ring)
    }

    fn given_back(&self) -> &AtomicU64 {
        // SAFETY: the page begins with the consumer's position, an aligned `unsigned long` that lives as long as the mapping.
        unsafe { self.consumer.start.cast().as_ref() }
    }

    fn written(&self) -> u64 {
        // SAFETY: likewise the producer's.
        let position: &AtomicU64 = unsafe { self.producer.start.cast().as_ref() };
        position.load(Ordering::Acquire)
    }

    /// The next record, if it is complete. It stays in the ring.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        while self.read < self.written() {
            let at = self.data + (self.read as usize & (self.bytes - 1));
            // SAFETY: `at` lies in the first copy of the data, and is a multiple of 8, as all positions are.
            let header = unsafe { self.producer.start.byte_add(at) };
            // SAFETY: a record begins there, because it is below what was written; its first field is its length.
            let length: &AtomicU32 = unsafe { header.cast().as_ref() };
            let length = length.load(Ordering::Acquire);
            if length & BUSY != 0 {
                return None;
            }
            let size = (length & !DISCARD) as usize;
            self.read += (HEADER + size).next_multiple_of(8) as u64;
            if length & DISCARD == 0 {
                // SAFETY: a record is shorter than the data, which lie there twice; the kernel does not write to it
                // before it is given back, for which the borrow must have ended.
                return Some(unsafe {
                    let bytes = header.byte_add(HEADER).cast::<u8>();
                    slice::from_raw_parts(bytes.as_ptr(), size)
                });
            }
        }
        None
    }

    /// What was read is not needed any more: the kernel may write over it.
    pub(super) fn release(&mut self) {
        self.given_back().store(self.read, Ordering::Release);
    }
}

impl<M: AsFd> AsFd for Ring<M> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}
