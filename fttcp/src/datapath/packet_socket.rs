// SPDX-License-Identifier: GPL-3.0-only
//! A packet socket bound to one interface: whole frames in and out, super-segments kept whole (packet(7)); and memory
//! that is shared with the kernel ([`Mapping`]), given back to it ([`trim_memory`]), or wanted in large pieces
//! ([`prefer_huge_pages`]).
//!
//! The one file of this crate with `unsafe`: `recvmmsg`, `sendmsg`, socket options and interface flags have no safe
//! wrapper that knows `virtio_net_hdr` and `tpacket_auxdata`, and a mapping, `malloc_trim` and `madvise` have none at all.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicU64};

use libc::{c_int, c_void, iovec, mmsghdr, msghdr};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with, sockopt};
use rustix::param::page_size;

use super::vnet;
use crate::frame::{Frames, Offload};

/// Frames fetched with one system call. More would spread super-segments over more memory than a cache holds.
const BATCH: usize = 8;

/// Room for one frame: the largest super-segment (64 KiB of IP), its Ethernet header, and a VLAN tag to put back.
const ROOM: usize = 66 * 1024;

/// Queue of the socket in either direction, in bytes; the kernel doubles it.
const QUEUE: usize = 16 << 20;

/// Room for the one control message asked for.
const CONTROL: usize = 64;

/// Gives the kernel back every whole page that is free in the heap (malloc_trim(3)): of itself glibc gives back only what
/// lies at the heap's end.
pub(crate) fn trim_memory() {
    // SAFETY: it takes a number, and touches only what is free.
    unsafe { libc::malloc_trim(0) };
}

/// Wishes for huge pages below a long vector (madvise(2)): 512 page faults less for each. Whether the kernel has any
/// changes nothing else. All of its pages must get the same advice, the one with malloc's header included: realloc(3) moves
/// pages rather than bytes only where one mapping has all of them (mremap(2)).
pub(crate) fn prefer_huge_pages(long: &mut Vec<u8>) {
    let page = page_size();
    let before = long.as_ptr().addr() % page;
    let pages = long.as_mut_ptr().wrapping_sub(before).cast();
    let length = (before + long.capacity()).next_multiple_of(page);
    // SAFETY: of these pages all are mapped, since a byte of each is the vector's or malloc's; the advice changes
    // nothing that they hold.
    let _ = unsafe { madvise(pages, length, Advice::LinuxHugepage) };
}

/// A packet socket that sees frames that arrive at its interface, and none that leaves it.
#[derive(Debug)]
pub(super) struct PacketSocket {
    fd: OwnedFd,
    index: u32,
}

/// Frames that one call has received, and the memory that they stand in.
pub(super) struct Batch {
    rooms: Vec<u8>,
    headers: [[u8; vnet::LEN]; BATCH],
    controls: [Control; BATCH],
    /// Where each frame stands in its room; `None`: it was too long for that.
    frames: [Option<(Range<usize>, Offload)>; BATCH],
    count: usize,
}

/// Memory for control messages, aligned as `cmsghdr` must be.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl Batch {
    pub(super) fn new() -> Self {
        Self {
            // Zeroed memory is not resident before a frame is put into it.
            rooms: vec![0; ROOM * BATCH],
            headers: [[0; vnet::LEN]; BATCH],
            controls: [Control([0; CONTROL]); BATCH],
            frames: [const { None }; BATCH],
            count: 0,
        }
    }

    /// How many of them were too long.
    pub(super) fn cut(&self) -> u64 {
        let frames = self.frames[..self.count].iter();
        frames.filter(|frame| frame.is_none()).count() as u64
    }

    /// Whether there may be more where these came from.
    pub(super) const fn is_full(&self) -> bool {
        self.count == BATCH
    }

    /// Finds frame `index` of the last call, which was of `length` bytes with its header, and puts its tag back.
    fn find(
        &mut self,
        index: usize,
        length: usize,
        flags: c_int,
    ) -> Option<(Range<usize>, Offload)> {
        if flags & libc::MSG_TRUNC != 0 || length < vnet::LEN {
            return None;
        }
        let end = vnet::TAG + length - vnet::LEN;
        let room = &mut self.rooms[index * ROOM..(index + 1) * ROOM];
        let mut offload = vnet::parse(&self.headers[index]);
        let tag = self.controls[index].stripped_tag();
        if let Some((protocol, control)) = tag.filter(|_| end >= vnet::TAG + 12) {
            vnet::insert_tag(room, protocol, control, &mut offload);
            return Some((0..end, offload));
        }
        Some((vnet::TAG..end, offload))
    }
}

/// Those that the last call has brought.
impl Frames for Batch {
    fn count(&self) -> usize {
        self.count
    }

    fn frame(&mut self, index: usize) -> Option<(&mut [u8], Offload)> {
        let (place, offload) = self.frames[index].clone()?;
        let room = &mut self.rooms[index * ROOM..(index + 1) * ROOM];
        Some((&mut room[place], offload))
    }
}

impl Control {
    /// The VLAN tag that the kernel took out of the frame: TPID and TCI.
    fn stripped_tag(&self) -> Option<(u16, u16)> {
        let header_length = size_of::<libc::cmsghdr>();
        let data = &self.0[header_length..header_length + size_of::<libc::tpacket_auxdata>()];
        // SAFETY: both structs are plain integers for which any bytes are valid, `self.0` holds both, and
        // `read_unaligned` needs no alignment.
        let (header, aux) = unsafe {
            (
                ptr::read_unaligned(self.0.as_ptr().cast::<libc::cmsghdr>()),
                ptr::read_unaligned(data.as_ptr().cast::<libc::tpacket_auxdata>()),
            )
        };
        let present = header.cmsg_level == libc::SOL_PACKET
            && header.cmsg_type == libc::PACKET_AUXDATA
            && aux.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
        let protocol = if aux.tp_status & libc::TP_STATUS_VLAN_TPID_VALID == 0 {
            libc::ETH_P_8021Q as u16
        } else {
            aux.tp_vlan_tpid
        };
        present.then_some((protocol, aux.tp_vlan_tci))
    }
}

impl PacketSocket {
    /// A socket with everything set but its interface: it receives nothing yet.
    pub(super) fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
        for option in [
            libc::PACKET_VNET_HDR,
            libc::PACKET_AUXDATA,
            libc::PACKET_IGNORE_OUTGOING,
        ] {
            set_option(&fd, option, &1_i32)?;
        }
        sockopt::set_socket_recv_buffer_size_force(&fd, QUEUE)?;
        sockopt::set_socket_send_buffer_size_force(&fd, QUEUE)?;
        Ok(Self { fd, index: 0 })
    }

    /// Finds the interface that [`Self::bind`] is to bind to: its index.
    pub(super) fn find(&mut self, name: &str) -> io::Result<u32> {
        self.index = netdevice::name_to_index(&self.fd, name)?;
        Ok(self.index)
    }

    /// Binds to the interface found, whose name is `name`, for the frames of an Ethernet protocol, makes it promiscuous for as long as the socket lives, and
    /// sets it up.
    pub(super) fn bind(&self, name: &str, protocol: u16) -> io::Result<()> {
        let address = self.address(protocol);
        set_up(&self.fd, name)?;
        let promiscuous = libc::packet_mreq {
            mr_ifindex: address.sll_ifindex,
            mr_type: libc::PACKET_MR_PROMISC as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        set_option(&self.fd, libc::PACKET_ADD_MEMBERSHIP, &promiscuous)?;
        // SAFETY: the address points to a `sockaddr_ll` of the length given, which lives during the call.
        let done = unsafe {
            libc::bind(
                self.fd.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        check(done).map(drop)
    }

    /// The interface found, for the frames of an Ethernet protocol.
    const fn address(&self, protocol: u16) -> libc::sockaddr_ll {
        libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: protocol.to_be(),
            sll_ifindex: self.index as c_int,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        }
    }

    /// Whether the interface is an Ethernet one.
    pub(super) fn is_ethernet(&self) -> io::Result<bool> {
        // SAFETY: all-zero bytes are a valid `sockaddr_ll`, a struct of integers.
        let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
        let mut length = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: both pointers are to live locals, and `length` is the room behind the first.
        let done = unsafe {
            libc::getsockname(
                self.fd.as_raw_fd(),
                (&raw mut address).cast(),
                &raw mut length,
            )
        };
        check(done).map(|_| address.sll_hatype == libc::ARPHRD_ETHER)
    }

    /// Whether the interface that was bound to still exists.
    pub(super) fn is_present(&self) -> bool {
        netdevice::index_to_name(&self.fd, self.index).is_ok()
    }

    /// Fetches the frames that are waiting, at most a batch of them; `WouldBlock` if there is none.
    pub(super) fn receive(&self, batch: &mut Batch) -> io::Result<()> {
        batch.count = 0;
        let mut vectors = [[iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        }; 2]; BATCH];
        let mut messages = [EMPTY; BATCH];
        let rooms = batch.rooms.chunks_exact_mut(ROOM);
        let parts = rooms.zip(&mut batch.headers).zip(&mut batch.controls);
        for (((room, header), control), (message, vector)) in
            parts.zip(messages.iter_mut().zip(&mut vectors))
        {
            // An old control message must not be taken for one of this call.
            control.0.fill(0);
            let room = &mut room[vnet::TAG..];
            *vector = [
                iovec {
                    iov_base: header.as_mut_ptr().cast(),
                    iov_len: header.len(),
                },
                iovec {
                    iov_base: room.as_mut_ptr().cast(),
                    iov_len: room.len(),
                },
            ];
            message.msg_hdr.msg_iov = vector.as_mut_ptr();
            message.msg_hdr.msg_iovlen = vector.len();
            message.msg_hdr.msg_control = control.0.as_mut_ptr().cast::<c_void>();
            message.msg_hdr.msg_controllen = CONTROL;
        }
        // SAFETY: `messages` are BATCH headers whose vectors and control memory point into `batch`, which is borrowed
        // mutably until the call returns, with their true lengths; the kernel writes nothing else.
        let count = unsafe {
            libc::recvmmsg(
                self.fd.as_raw_fd(),
                messages.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        batch.count = check(count)? as usize;
        for (index, message) in messages[..batch.count].iter().enumerate() {
            let found = batch.find(index, message.msg_len as usize, message.msg_hdr.msg_flags);
            batch.frames[index] = found;
        }
        Ok(())
    }

    /// Sends one frame with its `virtio_net_hdr`.
    pub(super) fn send(&self, header: &[u8; vnet::LEN], frame: &[u8]) -> io::Result<()> {
        let mut vector = [
            iovec {
                iov_base: header.as_ptr().cast_mut().cast(),
                iov_len: header.len(),
            },
            iovec {
                iov_base: frame.as_ptr().cast_mut().cast(),
                iov_len: frame.len(),
            },
        ];
        // The kernel is to look for the protocol in the frame: it would else take the one that this socket is bound to, and
        // drop super-segments of another.
        let mut address = self.address(0);
        let mut message = EMPTY.msg_hdr;
        message.msg_name = (&raw mut address).cast();
        message.msg_namelen = size_of_val(&address) as u32;
        message.msg_iov = vector.as_mut_ptr();
        message.msg_iovlen = vector.len();
        // SAFETY: the message's two vectors describe live slices, its name a live address, and `sendmsg` only reads.
        let sent =
            unsafe { libc::sendmsg(self.fd.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT) };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Frames that the kernel dropped since the last call because the receive queue was full.
    pub(super) fn take_receive_drops(&self) -> u64 {
        // SAFETY: all-zero bytes are a valid `tpacket_stats`, a struct of integers.
        let mut stats: libc::tpacket_stats = unsafe { MaybeUninit::zeroed().assume_init() };
        let mut length = size_of::<libc::tpacket_stats>() as u32;
        // SAFETY: both pointers are to live locals, and `length` is the room behind the first.
        let done = unsafe {
            libc::getsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut stats).cast(),
                &raw mut length,
            )
        };
        if done == 0 {
            u64::from(stats.tp_drops)
        } else {
            0
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const EMPTY: mmsghdr = mmsghdr {
    msg_hdr: msghdr {
        msg_name: ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: ptr::null_mut(),
        msg_iovlen: 0,
        msg_control: ptr::null_mut(),
        msg_controllen: 0,
        msg_flags: 0,
    },
    msg_len: 0,
};

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Sets an option of level `SOL_PACKET` whose value is a plain C struct or integer.
fn set_option<T: Copy>(fd: &OwnedFd, option: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the value is live during the call and its length is its own.
    let done = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            ptr::from_ref(value).cast(),
            size_of::<T>() as u32,
        )
    };
    check(done).map(drop)
}

/// `ip link set NAME up`, which leaves an interface that is up alone.
fn set_up(fd: &OwnedFd, name: &str) -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid `ifreq`: integers, byte arrays and a null pointer.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    // The last byte stays zero. A name that is too long was refused when it was looked up.
    for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1]
        .iter_mut()
        .zip(name.bytes())
    {
        *to = from.cast_signed();
    }
    // SAFETY: `request` is a live `ifreq` with a terminated name, which both requests read and the first fills in;
    // reading `ifru_flags` after it succeeded reads what it wrote.
    unsafe {
        check(libc::ioctl(
            fd.as_raw_fd(),
            libc::SIOCGIFFLAGS,
            &raw mut request,
        ))?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as i16;
        check(libc::ioctl(
            fd.as_raw_fd(),
            libc::SIOCSIFFLAGS,
            &raw mut request,
        ))
        .map(drop)
    }
}

/// A part of a BPF map in our memory.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<c_void>,
    length: usize,
}

// SAFETY: the mapping belongs to the value alone, and what others write to it meanwhile is read by atomics.
unsafe impl Send for Mapping {}

impl Mapping {
    /// The bytes `range` of the map's memory.
    pub(super) fn new(
        map: BorrowedFd<'_>,
        range: Range<usize>,
        access: ProtFlags,
    ) -> io::Result<Self> {
        let (at, length) = (range.start as u64, range.len());
        // SAFETY: the kernel chooses the place, so nothing that exists is replaced.
        let start = unsafe { mmap(ptr::null_mut(), length, access, MapFlags::SHARED, map, at) }?;
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, length })
    }

    /// Where `length` bytes stand, which must lie within.
    fn place(&self, at: usize, length: usize) -> NonNull<c_void> {
        let end = at.checked_add(length);
        assert!(end.is_some_and(|end| end <= self.length), "within");
        // SAFETY: it lies in the mapping, as was just seen.
        unsafe { self.start.byte_add(at) }
    }

    /// The number of 8 bytes at `at`, which must be a multiple of 8. To be stored to only where that is allowed.
    pub(super) fn long(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8));
        // SAFETY: aligned, as mappings are; any bits are a number; it lives as long as the mapping.
        unsafe { self.place(at, 8).cast().as_ref() }
    }

    /// The number of 4 bytes at `at`, which must be a multiple of 4.
    pub(super) fn int(&self, at: usize) -> &AtomicU32 {
        assert!(at.is_multiple_of(4));
        // SAFETY: likewise.
        unsafe { self.place(at, 4).cast().as_ref() }
    }

    /// The bytes at `at`, of which the caller knows that nobody writes there as long as it has them.
    pub(super) fn bytes(&self, at: usize, length: usize) -> &[u8] {
        // SAFETY: within the mapping; the one caller, the ring's reader, asks for whole records that it has not given back,
        // to which the kernel does not write (Linux, `Documentation/bpf/ringbuf.rst`).
        unsafe { slice::from_raw_parts(self.place(at, length).cast().as_ptr(), length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and borrows of it have ended.
        let _ = unsafe { munmap(self.start.as_ptr(), self.length) };
    }
}
