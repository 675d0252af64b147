// SPDX-License-Identifier: GPL-3.0-only
//! Connections in the order of the record, each at the descriptor that it had; those that are over in name only.

use super::*;

/// The next connection of `listener`: the kernel's, or that of the record. Its descriptor and its peer's address.
pub(super) unsafe fn accepted(
    state: &mut State,
    listener: c_int,
    flags: c_int,
) -> (c_int, Vec<u8>) {
    state.attend();
    if let Mode::Replay(player) = &mut state.mode {
        let answer = player.next(
            &format!("a connection of descriptor {listener}"),
            |record| match record {
                Record::Accept {
                    listener: of,
                    result,
                    peer,
                } if of == i64::from(listener) => Some((result, peer)),
                _ => None,
            },
        );
        let number = player.number();
        match agreed(answer) {
            Some((result, _)) if result < 0 => {
                return (given(result as isize) as c_int, Vec::new());
            }
            Some((result, peer)) => {
                let wanted = c_int::try_from(result).unwrap_or(-1);
                if let Some(ring) = &mut state.ring
                    && !ring.listeners.contains(&listener)
                {
                    ring.listeners.push(listener);
                }
                // SAFETY: see the functions.
                let fd = unsafe {
                    place(state, listener, (wanted, number), peer, flags)
                        .unwrap_or_else(|| put_over(state, wanted, peer, flags))
                };
                return (fd, peer.to_vec());
            }
            None => {}
        }
    }
    let at = state.early.iter().position(|(of, ..)| *of == listener);
    let (result, peer) = match at.map(|at| state.early.remove(at)) {
        Some((_, high, peer)) => {
            let how = if flags & libc::SOCK_CLOEXEC == 0 {
                libc::F_DUPFD
            } else {
                libc::F_DUPFD_CLOEXEC
            };
            // SAFETY: both descriptors are ours.
            unsafe {
                let low = libc::fcntl(high, how, 0);
                libc::syscall(libc::SYS_close, high);
                mark(low, flags);
                (low, peer)
            }
        }
        // SAFETY: see the function.
        None => unsafe { kernel_accept(listener, flags) },
    };
    if let Mode::Record(recorder) = &mut state.mode {
        let told = told(result as isize);
        recorder.add(&Record::Accept {
            listener: listener.into(),
            result: told,
            peer: &peer,
        });
        if result < 0 {
            set_errno(c_int::try_from(-told).unwrap_or(0));
        }
    }
    (result, peer)
}

/// After a replay: a listener with connections that came before their turn is ready, which the kernel does not know.
pub(super) fn first_early(early: &[(c_int, c_int, Vec<u8>)]) -> Option<c_int> {
    early.first().map(|(listener, ..)| *listener)
}

/// A connection that was accepted before its turn is to block, or not, as the call says that gets it.
unsafe fn mark(fd: c_int, flags: c_int) {
    let mut on = c_int::from(flags & libc::SOCK_NONBLOCK != 0);
    // SAFETY: the number lives over the call.
    unsafe { libc::ioctl(fd, libc::FIONBIO, &raw mut on) };
}

/// A connection that is over gets its descriptor: a socket on which nothing will ever happen.
unsafe fn put_over(state: &mut State, wanted: c_int, peer: &[u8], flags: c_int) -> c_int {
    let family = peer
        .first_chunk()
        .map_or(libc::AF_INET, |bytes| u16::from_ne_bytes(*bytes).into());
    // SAFETY: numbers only; the descriptor is new.
    unsafe {
        let low = libc::syscall(libc::SYS_socket, family, libc::SOCK_STREAM | flags, 0) as c_int;
        if low != wanted {
            libc::syscall(libc::SYS_dup3, low, wanted, flags & libc::SOCK_CLOEXEC);
            libc::syscall(libc::SYS_close, low);
        }
    }
    if let Some(ring) = &mut state.ring {
        ring.again.note_over(wanted, peer);
    }
    wanted
}

pub(super) unsafe fn kernel_accept(listener: c_int, flags: c_int) -> (c_int, Vec<u8>) {
    // SAFETY: the address has the room that its length says.
    unsafe {
        let mut address: libc::sockaddr_storage = std::mem::zeroed();
        let mut length = size_of::<libc::sockaddr_storage>() as socklen_t;
        let result = libc::syscall(
            libc::SYS_accept4,
            listener,
            &raw mut address,
            &raw mut length,
            flags,
        ) as c_int;
        let length = if result < 0 {
            0
        } else {
            (length as usize).min(size_of::<libc::sockaddr_storage>())
        };
        let bytes = std::slice::from_raw_parts((&raw const address).cast::<u8>(), length);
        (result, bytes.to_vec())
    }
}

/// Waits for the connection from `peer`, which record `number` accepted, and gives it the descriptor that it had. Others that
/// come first wait. `None`: it does not come again.
unsafe fn place(
    state: &mut State,
    listener: c_int,
    (wanted, number): (c_int, u64),
    peer: &[u8],
    flags: c_int,
) -> Option<c_int> {
    loop {
        if let Some(ring) = &state.ring
            && !ring.again.comes(number, peer)
        {
            return None;
        }
        // SAFETY: see the function.
        while unsafe { take_early(state, listener, flags) } {}
        if !matches!(errno(), libc::EAGAIN | libc::EINTR | libc::ECONNABORTED) {
            die(
                DIVERGED,
                &format!(
                    "the replay diverges: no connection at descriptor {listener}: errno {}",
                    errno()
                ),
            );
        }
        let of = |one: &(c_int, c_int, Vec<u8>)| one.0 == listener && one.2 == peer;
        if let Some(at) = state.early.iter().position(of) {
            let (_, high, _) = state.early.remove(at);
            // SAFETY: the descriptors are those of a new connection, which nobody else knows.
            let placed = unsafe {
                let placed = libc::syscall(libc::SYS_dup3, high, wanted, flags & libc::SOCK_CLOEXEC)
                    as c_int;
                libc::syscall(libc::SYS_close, high);
                mark(placed, flags);
                placed
            };
            if let Some(ring) = &mut state.ring {
                ring.again.came(placed, peer);
            }
            return Some(placed);
        }
        // SAFETY: see the function.
        unsafe { moves::await_news(state.ring.as_mut(), listener, libc::POLLIN) };
    }
}

/// Accepts a connection before its turn. False: there is none, and errno says why.
unsafe fn take_early(state: &mut State, listener: c_int, flags: c_int) -> bool {
    // SAFETY: the descriptors are those of a new connection, which nobody else knows.
    unsafe {
        // A listener that blocks is not waited at: there may be other news.
        let mut ask = libc::pollfd {
            fd: listener,
            events: libc::POLLIN,
            revents: 0,
        };
        if libc::syscall(libc::SYS_poll, &raw mut ask, 1, 0) == 0 {
            set_errno(libc::EAGAIN);
            return false;
        }
        let (low, from) = kernel_accept(listener, flags);
        if low < 0 {
            return false;
        }
        let high = libc::fcntl(low, libc::F_DUPFD_CLOEXEC, HIGH);
        libc::syscall(libc::SYS_close, low);
        if high < 0 {
            die(
                UNUSABLE,
                "no descriptor is left for a connection that came early",
            );
        }
        state.early.push((listener, high, from));
    }
    true
}

impl State {
    /// The replay is over: of the connections that came early, those that it has had are closed.
    pub(super) unsafe fn sort_early(&mut self) {
        let listeners = self
            .ring
            .as_mut()
            .map(|ring| std::mem::take(&mut ring.listeners));
        for listener in listeners.unwrap_or_default() {
            // SAFETY: see the function.
            while unsafe { take_early(self, listener, libc::SOCK_NONBLOCK) } {}
        }
        let Some(ring) = &self.ring else {
            return;
        };
        self.early.retain(|(_, high, peer)| {
            let known = ring.again.knows(peer);
            if known {
                // SAFETY: it is ours.
                unsafe { libc::syscall(libc::SYS_close, *high) };
            }
            !known
        });
    }
}

/// Of a connection that is over nobody but the wrap knows the peer.
#[unsafe(no_mangle)]
unsafe extern "C" fn getpeername(fd: c_int, peer: *mut sockaddr, room: *mut socklen_t) -> c_int {
    if let Some(Inside(state)) = &mut enter()
        && let Some(address) = state.over(fd).filter(|address| !address.is_empty())
    {
        // SAFETY: as libc's.
        unsafe { put_address(address, peer, room) };
        return 0;
    }
    // SAFETY: as libc's.
    unsafe { libc::syscall(libc::SYS_getpeername, fd, peer, room) as c_int }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shutdown(fd: c_int, how: c_int) -> c_int {
    if let Some(Inside(state)) = &mut enter()
        && state.over(fd).is_some()
    {
        return 0;
    }
    // SAFETY: as libc's.
    unsafe { libc::syscall(libc::SYS_shutdown, fd, how) as c_int }
}

/// Gives an address as the kernel does: as much as there is room for, and how long it is.
unsafe fn put_address(address: &[u8], peer: *mut sockaddr, room: *mut socklen_t) {
    if peer.is_null() || room.is_null() {
        return;
    }
    // SAFETY: as libc's: there is so much room.
    unsafe {
        let length = address.len().min(*room as usize);
        std::ptr::copy_nonoverlapping(address.as_ptr(), peer.cast(), length);
        *room = socklen_t::try_from(address.len()).unwrap_or(0);
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn accept(fd: c_int, peer: *mut sockaddr, room: *mut socklen_t) -> c_int {
    // SAFETY: as libc's.
    unsafe { accept4(fd, peer, room, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn accept4(
    fd: c_int,
    peer: *mut sockaddr,
    room: *mut socklen_t,
    flags: c_int,
) -> c_int {
    let Some(Inside(state)) = &mut enter() else {
        // SAFETY: as libc's.
        return unsafe { libc::syscall(libc::SYS_accept4, fd, peer, room, flags) as c_int };
    };
    // SAFETY: as libc's; see the functions called.
    unsafe {
        let (result, address) = accepted(state, fd, flags);
        if result >= 0 {
            state.known.note(result, Some(Class::Connection));
            put_address(&address, peer, room);
        }
        result
    }
}
