// SPDX-License-Identifier: GPL-3.0-only
//! Reads and writes of all forms: what is recorded of them, and how a replay makes them as long as they were.

use super::*;

/// The connection is over.
pub(super) struct Gone;

/// Waits until `fd` is ready, or the logger has something to say, which is heard.
pub(super) unsafe fn await_news(ring: Option<&mut Ring>, fd: c_int, events: i16) {
    let (news, patience) = ring.as_ref().map_or((-1, -1), |ring| ring.news());
    let mut ask = [(fd, events), (news, libc::POLLIN)].map(|(fd, events)| libc::pollfd {
        fd,
        events,
        revents: 0,
    });
    // SAFETY: two entries, which live over the call; a negative descriptor is passed over.
    let found = unsafe { libc::syscall(libc::SYS_poll, &raw mut ask, ask.len(), patience) };
    if (ask[1].revents != 0 || found == 0)
        && let Some(ring) = ring
    {
        ring.hear();
    }
}

/// The parts of `parts` from byte `from` to byte `to`.
pub(super) fn part(parts: &[iovec], mut from: usize, to: usize) -> Vec<iovec> {
    let mut left = to - from;
    let mut out = Vec::new();
    for one in parts {
        let skip = from.min(one.iov_len);
        from -= skip;
        let length = left.min(one.iov_len - skip);
        left -= length;
        if length > 0 {
            let start = one.iov_base.cast::<u8>().wrapping_add(skip);
            out.push(iovec {
                iov_base: start.cast(),
                iov_len: length,
            });
        }
    }
    out
}

/// Moves exactly `count` bytes between `parts` and the stream `fd`, however long that takes.
///
/// # Errors
/// It is one that the logger opened again, and it has ended.
pub(super) unsafe fn move_all(
    mut ring: Option<&mut Ring>,
    fd: c_int,
    parts: &[iovec],
    (count, flags): (usize, c_int),
    reading: bool,
) -> Result<(), Gone> {
    let real = |ring: &Option<&mut Ring>| ring.as_ref().is_some_and(|ring| ring.again.real(fd));
    let mut done = 0;
    while done < count {
        if real(&ring) && ring.as_ref().is_some_and(|ring| !ring.again.lives(fd)) {
            return Err(Gone);
        }
        let mut rest = part(parts, done, count);
        // SAFETY: the parts are the program's buffers, of which no more is used than it has given.
        let moved = unsafe {
            let mut message: msghdr = std::mem::zeroed();
            (message.msg_iov, message.msg_iovlen) = (rest.as_mut_ptr(), rest.len());
            let (socket, file) = if reading {
                (libc::SYS_recvmsg, libc::SYS_readv)
            } else {
                (libc::SYS_sendmsg, libc::SYS_writev)
            };
            let flags = flags | libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
            let moved = libc::syscall(socket, fd, &raw mut message, flags);
            if moved < 0 && errno() == libc::ENOTSOCK {
                libc::syscall(file, fd, rest.as_ptr(), rest.len())
            } else {
                moved
            }
        };
        match usize::try_from(moved) {
            Ok(0) if real(&ring) => return Err(Gone),
            Ok(0) => die(
                DIVERGED,
                &format!(
                    "the replay diverges: descriptor {fd} ends {} bytes early",
                    count - done
                ),
            ),
            // A look ahead must show all of it at once.
            Ok(seen) if flags & libc::MSG_PEEK != 0 && seen < count => done = 0,
            Ok(moved) => done += moved,
            Err(_) if matches!(errno(), libc::EAGAIN | libc::EINTR) => {
                let events = if reading { libc::POLLIN } else { libc::POLLOUT };
                // SAFETY: see the function.
                unsafe { await_news(ring.as_deref_mut(), fd, events) };
            }
            Err(_) if real(&ring) => return Err(Gone),
            Err(_) => die(
                DIVERGED,
                &format!("the replay diverges: descriptor {fd}: errno {}", errno()),
            ),
        }
    }
    Ok(())
}

/// Copies recorded bytes into the program's buffers.
pub(super) unsafe fn hand_out(parts: &[iovec], bytes: &[u8]) {
    let mut rest = bytes;
    for one in parts {
        let (now, later) = rest.split_at(rest.len().min(one.iov_len));
        // SAFETY: as libc's: the program has given this buffer to be written, and it is that long.
        unsafe { std::ptr::copy_nonoverlapping(now.as_ptr(), one.iov_base.cast(), now.len()) };
        rest = later;
    }
}

/// The first `count` bytes of the program's buffers.
pub(super) unsafe fn collect(parts: &[iovec], count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count);
    for one in part(parts, 0, count) {
        // SAFETY: the kernel has just written them.
        bytes.extend_from_slice(unsafe { many(one.iov_base.cast::<u8>(), one.iov_len) });
    }
    bytes
}

/// A read of any form into `parts`.
pub(super) unsafe fn input(
    fd: c_int,
    parts: &[iovec],
    flags: c_int,
    live: impl FnOnce() -> isize,
) -> ssize_t {
    let Some(Inside(state)) = &mut enter() else {
        return given(live());
    };
    let class = state.class(fd);
    if class == Class::Plain {
        return given(live());
    }
    state.attend();
    if !state.calm && !state.due.is_empty() {
        state.read_due(fd);
    }
    let over = state.over(fd).is_some();
    let whole = class == Class::Connection && state.ring.is_some();
    match &mut state.mode {
        Mode::Record(recorder) => {
            let got = if over { RESET } else { live() };
            let (fd, result) = (i64::from(fd), got as i64);
            if class == Class::Device || whole {
                let count = usize::try_from(got).unwrap_or(0);
                let collected;
                let bytes = if let [one] = parts {
                    // SAFETY: the kernel has just written so many bytes.
                    unsafe { many(one.iov_base.cast::<u8>(), count.min(one.iov_len)) }
                } else {
                    // SAFETY: see `collect`.
                    collected = unsafe { collect(parts, count) };
                    &collected
                };
                recorder.add(&if whole {
                    Record::Heard { fd, result, bytes }
                } else {
                    Record::Data { fd, result, bytes }
                });
            } else {
                recorder.add(&Record::Read { fd, result });
            }
            given(got)
        }
        Mode::Replay(_) => {
            // SAFETY: as libc's; see the function.
            let replayed = unsafe { replay_input(state, fd, parts, flags) };
            given(replayed.unwrap_or_else(live))
        }
    }
}

impl State {
    /// `fd` is about to be read. If the record ended between the wait that said that it could be and this, it is waited for what
    /// was there: the logger says it again, and a program may take it for the end of a connection that there is nothing.
    #[cold]
    fn read_due(&mut self, fd: c_int) {
        let Some(at) = self.due.iter().position(|&due| due == fd) else {
            return;
        };
        self.due.swap_remove(at);
        let again = |ring: &Ring| ring.again.real(fd);
        if matches!(self.mode, Mode::Record(_)) && self.ring.as_ref().is_some_and(again) {
            // SAFETY: see the function.
            unsafe { await_news(None, fd, libc::POLLIN) };
        }
    }
}

/// What is said and heard on a connection that is over.
const RESET: isize = -(libc::ECONNRESET as isize);

/// A read as it was recorded, or its negative errno; `None` when the record is used up.
#[cold]
unsafe fn replay_input(
    state: &mut State,
    fd: c_int,
    parts: &[iovec],
    flags: c_int,
) -> Option<isize> {
    let Mode::Replay(player) = &mut state.mode else {
        return None;
    };
    let answer = player.next(
        &format!("a read of descriptor {fd}"),
        |record| match record {
            Record::Read { fd: of, .. }
            | Record::Data { fd: of, .. }
            | Record::Heard { fd: of, .. }
                if of == i64::from(fd) =>
            {
                Some(record)
            }
            _ => None,
        },
    );
    let length = |result: i64| usize::try_from(result).unwrap_or(0);
    // SAFETY: as libc's; see the functions.
    let result = unsafe {
        match agreed(answer)? {
            Record::Data { result, bytes, .. } => {
                hand_out(parts, bytes);
                result
            }
            Record::Heard { result, bytes, .. } => {
                hear_again(state, fd, parts, bytes, flags & libc::MSG_PEEK);
                result
            }
            Record::Read { result, .. } => {
                let count = (length(result), flags & libc::MSG_PEEK);
                let _ = move_all(None, fd, parts, count, true);
                result
            }
            _ => return None,
        }
    };
    Some(result as isize)
}

/// What was heard on a connection is heard again, from its client if it is there.
unsafe fn hear_again(state: &mut State, fd: c_int, parts: &[iovec], bytes: &[u8], flags: c_int) {
    if state.over(fd).is_none() {
        let count = (bytes.len(), flags);
        // SAFETY: as libc's; see the functions.
        unsafe {
            match move_all(state.ring.as_mut(), fd, parts, count, true) {
                Ok(()) if collect(parts, bytes.len()) == bytes => return,
                Ok(()) => die(
                    DIVERGED,
                    &format!("the replay diverges: other bytes came at descriptor {fd}"),
                ),
                Err(Gone) => {}
            }
        }
        if let Some(ring) = &mut state.ring {
            ring.again.ends(fd);
        }
    }
    // SAFETY: as libc's; see the function.
    unsafe { hand_out(parts, bytes) };
}

/// A write of any form from `parts`. The records before it are in memory that the logger's side reads: nothing is to be
/// sent ahead.
pub(super) unsafe fn output(fd: c_int, parts: &[iovec], live: impl FnOnce() -> isize) -> ssize_t {
    // SAFETY: as libc's; see `move_all`.
    let replay =
        |ring: Option<&mut Ring>, count| unsafe { move_all(ring, fd, parts, (count, 0), false) };
    written(fd, live, replay)
}

/// What is written to `fd`, by `live`, or by `replay`, which must write exactly so many bytes.
pub(super) fn written(
    fd: c_int,
    live: impl FnOnce() -> isize,
    replay: impl FnOnce(Option<&mut Ring>, usize) -> Result<(), Gone>,
) -> ssize_t {
    let Some(Inside(state)) = &mut enter() else {
        return given(live());
    };
    // What a program prints is not the service's output, and its result seldom matters.
    if fd <= 2 || !matches!(state.class(fd), Class::Stream | Class::Connection) {
        return given(live());
    }
    state.attend();
    let over = state.over(fd).is_some();
    match &mut state.mode {
        Mode::Record(recorder) => {
            let put = if over { RESET } else { live() };
            recorder.add(&Record::Write {
                fd: i64::from(fd),
                result: put as i64,
            });
            given(put)
        }
        Mode::Replay(player) => match replay_written(player, fd) {
            Some(result) => {
                let count = usize::try_from(result).unwrap_or(0);
                // On a connection that is over it goes nowhere.
                if !over
                    && let Err(Gone) = replay(state.ring.as_mut(), count)
                    && let Some(ring) = &mut state.ring
                {
                    ring.again.ends(fd);
                }
                given(result as isize)
            }
            None => given(live()),
        },
    }
}

/// The result of a write as it was recorded; `None` when the record is used up.
#[cold]
fn replay_written(player: &mut Player<'static>, fd: c_int) -> Option<i64> {
    agreed(player.next(
        &format!("a write to descriptor {fd}"),
        |record| match record {
            Record::Write { fd: of, result } if of == i64::from(fd) => Some(result),
            _ => None,
        },
    ))
}
