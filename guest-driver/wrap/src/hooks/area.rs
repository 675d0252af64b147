// SPDX-License-Identifier: GPL-3.0-only
//! The agent of a service domain, which gives the record's memory: pages that the logger's domain may read and write.
//!
//! It listens at a unix socket. Who connects gets one message with a descriptor, the area, and from then on messages of
//! two words: the area grows when the program asks, or when the logger wants it, and the logger's ring is passed on.

use super::*;
use moves::Gone;

/// What an area is made of.
pub(super) const PAGE: usize = 4096;
/// Addresses without memory.
const NOTHING: c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
/// Longest text of an agent that refuses.
const TEXT: usize = 200;

/// What messages are.
mod kind {
    /// The program wants an area of at least so many bytes.
    pub(super) const GROW: u64 = 2;
    /// The answer to that: how many bytes it has.
    pub(super) const SIZE: u64 = 3;
    /// In place of the first message: there will be no area.
    pub(super) const REFUSED: u64 = 4;
}

/// The area, as far as it exists at a place of its own, and the agent's socket.
pub(super) struct Area {
    socket: c_int,
    fd: c_int,
    /// Addresses for as much as the area may ever be: what is mapped stays where it is.
    base: *mut c_void,
    reserved: usize,
}

/// The agent's fault, or nobody there: the program is ended.
pub(super) fn fail(path: &str, why: &str) -> ! {
    die(UNUSABLE, &format!("{path}: {why}"))
}

impl Area {
    /// Asks the agent at `path` for an area, of which at most `reserved` bytes are used; and its size.
    pub(super) unsafe fn connect(path: &str, reserved: usize) -> (Self, usize) {
        let socket = connected(path);
        let (first, fd) = begin(socket);
        let Ok([magic, size]) = first else {
            fail(path, "the agent has gone before it gave an area")
        };
        if magic == kind::REFUSED {
            let mut text = [0; TEXT];
            let text = receive(socket, &mut text, 0).unwrap_or_default();
            let text = String::from_utf8_lossy(text);
            fail(path, &format!("the agent refuses: {}", text.trim_end()))
        }
        let size = usize::try_from(size).unwrap_or(0);
        let Some(fd) = fd.filter(|_| magic == MAGIC && size >= PAGE && size.is_multiple_of(PAGE))
        else {
            fail(path, "this is no agent of rxl")
        };
        // SAFETY: addresses that nobody has, without memory behind them.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                reserved,
                libc::PROT_NONE,
                NOTHING,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            fail(path, "there are no addresses for its area");
        }
        let area = Self {
            socket,
            fd: high(fd),
            base,
            reserved,
        };
        (area, size.min(reserved))
    }

    /// Maps the bytes up to `to`, of which those below `from` are mapped. Where all are, or `MAP_FAILED`.
    pub(super) unsafe fn show(&self, from: usize, to: usize) -> *mut c_void {
        if to > self.reserved {
            return libc::MAP_FAILED;
        }
        if from >= to {
            return self.base;
        }
        let (at, length) = (self.base.wrapping_byte_add(from), to - from);
        let (both, shared) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_FIXED,
        );
        let from = from.cast_signed() as i64;
        // SAFETY: the addresses are reserved for this, and nothing is mapped there. Where the device refuses, they may have
        // been given back: they are reserved again before anybody else runs.
        unsafe {
            if libc::mmap(at, length, both, shared, self.fd, from) != libc::MAP_FAILED {
                return self.base;
            }
            libc::mmap(
                at,
                length,
                libc::PROT_NONE,
                NOTHING | libc::MAP_FIXED,
                -1,
                0,
            );
        }
        libc::MAP_FAILED
    }

    /// Asks for an area of at least so many bytes; how many it has then.
    ///
    /// # Errors
    /// Why the recording has to end.
    pub(super) fn ask(&self, wanted: usize) -> Result<usize, &'static str> {
        let gone = |Gone| "the agent has gone";
        send(self.socket, [kind::GROW, wanted as u64]).map_err(gone)?;
        loop {
            // Other messages are news: of those, words in the area tell all that matters.
            if let Some([kind::SIZE, size]) = hear(self.socket, 0).map_err(gone)? {
                return Ok(usize::try_from(size).unwrap_or(0));
            }
        }
    }

    /// The descriptor at which news comes.
    pub(super) const fn socket(&self) -> c_int {
        self.socket
    }

    /// The area's own descriptors.
    pub(super) const fn own(&self) -> [c_int; 2] {
        [self.socket, self.fd]
    }
}

impl Drop for Area {
    /// The program is not wrapped any more, or is the child of one that is: the agent must not wait for its end.
    fn drop(&mut self) {
        // SAFETY: all are the area's own; of the mapping nothing is kept longer than the map that has this area.
        unsafe {
            libc::munmap(self.base, self.reserved);
            libc::syscall(libc::SYS_close, self.fd);
            libc::syscall(libc::SYS_close, self.socket);
        }
    }
}

/// Takes the news that there is: what it says stands in the area's words.
///
/// # Errors
/// The agent has gone.
pub(super) fn take_news(socket: c_int) -> Result<(), Gone> {
    while hear(socket, libc::MSG_DONTWAIT)?.is_some() {}
    Ok(())
}

/// Moves a descriptor out of the program's way.
fn high(low: c_int) -> c_int {
    // SAFETY: the descriptor is ours.
    let fd = unsafe {
        let fd = libc::fcntl(low, libc::F_DUPFD_CLOEXEC, HIGH);
        libc::syscall(libc::SYS_close, low);
        fd
    };
    if fd < 0 {
        die(UNUSABLE, "no descriptor is left for the record");
    }
    fd
}

/// A socket that is connected to the agent.
fn connected(path: &str) -> c_int {
    // SAFETY: zeros are an address without a name.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    // The last byte stays NUL.
    if path.len() >= address.sun_path.len() {
        fail(path, "this is too long for a socket's name");
    }
    for (to, from) in address.sun_path.iter_mut().zip(path.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: the address lives over the call, and is as long as that; the descriptor is new.
    unsafe {
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        let socket = high(libc::syscall(libc::SYS_socket, libc::AF_UNIX, kind, 0) as c_int);
        let length = size_of_val(&address);
        while libc::syscall(libc::SYS_connect, socket, &raw const address, length) != 0 {
            if errno() != libc::EINTR {
                let why = format!("the agent cannot be reached: errno {}", errno());
                fail(path, &why);
            }
        }
        socket
    }
}

/// Receives the first message, and the descriptor that comes with it.
fn begin(socket: c_int) -> (Result<[u64; 2], Gone>, Option<c_int>) {
    let mut bytes = [0; 16];
    let mut part = iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // As words, which are aligned as the kernel wants it: a header and a descriptor.
    let mut with = [0_u64; 8];
    // SAFETY: the kernel writes into the buffers no more than there is room for; what it says is there is read.
    let (length, fd) = unsafe {
        let mut message: msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        (message.msg_control, message.msg_controllen) =
            (with.as_mut_ptr().cast(), size_of_val(&with));
        let length = again(|| {
            libc::syscall(
                libc::SYS_recvmsg,
                socket,
                &raw mut message,
                libc::MSG_CMSG_CLOEXEC,
            )
        });
        let first = libc::CMSG_FIRSTHDR(&raw const message);
        let is_fd = !first.is_null()
            && (*first).cmsg_level == libc::SOL_SOCKET
            && (*first).cmsg_type == libc::SCM_RIGHTS
            && (*first).cmsg_len >= libc::CMSG_LEN(4) as usize;
        let fd = is_fd.then(|| libc::CMSG_DATA(first).cast::<c_int>().read_unaligned());
        (length, fd)
    };
    // What a shorter one leaves out is 0, which no area is.
    ((length > 0).then(|| words(bytes)).ok_or(Gone), fd)
}

fn words(bytes: [u8; 16]) -> [u64; 2] {
    let both = u128::from_le_bytes(bytes);
    [both as u64, (both >> 64) as u64]
}

fn again(mut call: impl FnMut() -> i64) -> i64 {
    loop {
        let result = call();
        if result >= 0 || errno() != libc::EINTR {
            return result;
        }
    }
}

/// One message's bytes; none: there is no message now.
///
/// # Errors
/// The agent has gone.
fn receive(socket: c_int, into: &mut [u8], flags: c_int) -> Result<&[u8], Gone> {
    // SAFETY: the buffer lives over the call, and is as long as that.
    let length = again(|| unsafe {
        let (at, room) = (into.as_mut_ptr(), into.len());
        let nobody = std::ptr::null::<c_void>();
        libc::syscall(libc::SYS_recvfrom, socket, at, room, flags, nobody, nobody)
    });
    match usize::try_from(length) {
        Ok(length) if length > 0 => Ok(&into[..length]),
        Err(_) if errno() == libc::EAGAIN => Ok(&[]),
        _ => Err(Gone),
    }
}

/// One message: its kind and value; `None`: there is none now.
///
/// # Errors
/// The agent has gone, or says what is no message.
fn hear(socket: c_int, flags: c_int) -> Result<Option<[u64; 2]>, Gone> {
    let mut bytes = [0; 16];
    match receive(socket, &mut bytes, flags)?.len() {
        0 => Ok(None),
        16 => Ok(Some(words(bytes))),
        _ => Err(Gone),
    }
}

/// Sends a message.
///
/// # Errors
/// The agent has gone.
fn send(socket: c_int, [kind, value]: [u64; 2]) -> Result<(), Gone> {
    let bytes = (u128::from(kind) | u128::from(value) << 64).to_le_bytes();
    // SAFETY: the buffer lives over the call, and is as long as that.
    let sent = again(|| unsafe {
        let nobody = std::ptr::null::<c_void>();
        let (at, length) = (bytes.as_ptr(), bytes.len());
        libc::syscall(
            libc::SYS_sendto,
            socket,
            at,
            length,
            libc::MSG_NOSIGNAL,
            nobody,
            0,
        )
    });
    (sent == bytes.len() as i64).then_some(()).ok_or(Gone)
}
