// SPDX-License-Identifier: GPL-3.0-only
//! Descriptors that the program closes. Many close all that there may be when they start, by numbers: the wrap's own are not
//! there for them.

use super::*;

impl State {
    /// The wrap's own descriptors, in their order.
    fn own(&self) -> Vec<c_int> {
        let recorded = match &self.mode {
            Mode::Record(recorder) => recorder.log().own(),
            Mode::Replay(_) => [-1; 2],
        };
        let waiting = self.ring.iter().flat_map(Ring::own);
        let early = self.early.iter().map(|(_, high, _)| *high);
        let all = recorded.into_iter().chain(waiting).chain(early);
        let mut own: Vec<_> = all.filter(|&fd| fd >= HIGH).collect();
        own.sort_unstable();
        own
    }

    /// `fd` is closed, or becomes something else.
    fn closed(&mut self, fd: c_int) {
        self.known.note(fd, None);
        if let Some(ring) = &mut self.ring {
            ring.again.closed(fd);
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn close(fd: c_int) -> c_int {
    if let Some(Inside(state)) = &mut enter() {
        if fd >= HIGH && state.own().contains(&fd) {
            set_errno(libc::EBADF);
            return -1;
        }
        state.closed(fd);
    }
    // SAFETY: as libc's.
    unsafe { libc::syscall(libc::SYS_close, fd) as c_int }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dup2(old: c_int, new: c_int) -> c_int {
    if let Some(Inside(state)) = &mut enter() {
        state.closed(new);
    }
    // SAFETY: as libc's.
    unsafe { libc::syscall(libc::SYS_dup2, old, new) as c_int }
}

/// What was known of the descriptors stays known: a child that shares this memory closes its own in this way.
#[unsafe(no_mangle)]
unsafe extern "C" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    // SAFETY: as libc's.
    let live = |first: c_uint, last: c_uint| unsafe {
        libc::syscall(libc::SYS_close_range, first, last, flags) as c_int
    };
    let own = match &mut enter() {
        Some(Inside(state)) => state.own(),
        None => Vec::new(),
    };
    let mut from = first;
    for fd in own.into_iter().map(c_int::unsigned_abs) {
        if fd < from || fd > last {
            continue;
        }
        if fd > from && live(from, fd - 1) != 0 {
            return -1;
        }
        from = fd + 1;
    }
    if from > last && from > first {
        return 0;
    }
    live(from, last)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn closefrom(first: c_int) {
    // SAFETY: as libc's.
    unsafe { close_range(first.max(0).unsigned_abs(), c_uint::MAX, 0) };
}
