// SPDX-License-Identifier: GPL-3.0-only
//! The reader of the ring in which the kernel's program puts what it has copied out (`BPF_MAP_TYPE_RINGBUF`, Linux'
//! `Documentation/bpf/ringbuf.rst`).
//!
//! Reading and giving back are two steps here: a record stays in the ring until it is in the journal, so that a logger
//! that is killed in between finds it again. A ring that is full meanwhile hands segments over instead of forwarding them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;

use rustix::mm::ProtFlags;
use rustix::param::page_size;

use crate::datapath::packet_socket::Mapping;

/// `BPF_RINGBUF_HDR_SZ`: length and flags, and the kernel's own.
const HEADER: usize = 8;
/// `BPF_RINGBUF_BUSY_BIT`: the record is still being written.
const BUSY: u32 = 1 << 31;
/// `BPF_RINGBUF_DISCARD_BIT`: it was given up.
const DISCARD: u32 = 1 << 30;

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
        let consumer = Mapping::new(map.as_fd(), 0..page, ProtFlags::READ | ProtFlags::WRITE)?;
        let producer = Mapping::new(map.as_fd(), page..2 * page + 2 * bytes, ProtFlags::READ)?;
        let mut ring = Self {
            map,
            consumer,
            producer,
            data: page,
            bytes,
            read: 0,
        };
        ring.read = ring.consumer.long(0).load(Ordering::Acquire);
        Ok(ring)
    }

    /// The next record, if it is complete. It stays in the ring.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        while self.read < self.producer.long(0).load(Ordering::Acquire) {
            let at = self.data + (self.read as usize & (self.bytes - 1));
            let length = self.producer.int(at).load(Ordering::Acquire);
            if length & BUSY != 0 {
                return None;
            }
            let size = (length & !DISCARD) as usize;
            self.read += (HEADER + size).next_multiple_of(8) as u64;
            if length & DISCARD == 0 {
                return Some(self.producer.bytes(at + HEADER, size));
            }
        }
        None
    }

    /// What was read is not needed any more: the kernel may write over it.
    pub(super) fn release(&mut self) {
        self.consumer.long(0).store(self.read, Ordering::Release);
    }
}

impl<M: AsFd> AsFd for Ring<M> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}
