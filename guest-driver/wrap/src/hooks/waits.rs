// SPDX-License-Identifier: GPL-3.0-only
//! Waiting for events: `epoll_wait`, `poll` and `select` and their kin. Events are recorded by descriptor (`epoll`), index
//! (`poll`) or number (`select`), and come back in their order. A replay does not wait: the read that follows does.

use super::*;

/// Bits of a descriptor in a record of `select`: it was in the first, second, third set.
const SETS: [u64; 3] = [1, 2, 4];

impl State {
    /// Before a wait: a listener with connections that came before their turn.
    #[inline]
    fn begin_wait(&mut self) -> Option<c_int> {
        if self.calm {
            return None;
        }
        self.attend();
        self.settle();
        first_early(&self.early)
    }
}

/// What a record of a wait holds.
fn ready(record: Record<'static>) -> Option<(i64, &'static [u8])> {
    match record {
        Record::Ready { result, list } => Some((result, list)),
        _ => None,
    }
}

/// After a replay: a listener with connections that came before their turn is ready, which the kernel does not know.
fn early(
    listener: Option<c_int>,
    known: &Known,
    epoll: c_int,
    all: &mut [libc::epoll_event],
) -> Option<isize> {
    let data = known.data(epoll, listener?)?;
    let first = all.first_mut()?;
    *first = libc::epoll_event {
        events: libc::EPOLLIN as u32,
        u64: data,
    };
    Some(1)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn epoll_ctl(
    epoll: c_int,
    op: c_int,
    fd: c_int,
    event: *mut libc::epoll_event,
) -> c_int {
    // SAFETY: as libc's.
    unsafe {
        let result = libc::syscall(libc::SYS_epoll_ctl, epoll, op, fd, event) as c_int;
        if result == 0
            && !event.is_null()
            && op != libc::EPOLL_CTL_DEL
            && let Some(Inside(state)) = &mut enter()
        {
            state.known.register(epoll, fd, (*event).u64);
        }
        result
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn epoll_wait(
    epoll: c_int,
    events: *mut libc::epoll_event,
    room: c_int,
    timeout: c_int,
) -> c_int {
    // SAFETY: as libc's.
    let live = || unsafe { kernel!(epoll_wait, epoll, events, room, timeout) };
    // SAFETY: as libc's.
    unsafe { epoll_waited(epoll, events, room, live) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn epoll_pwait(
    epoll: c_int,
    events: *mut libc::epoll_event,
    room: c_int,
    timeout: c_int,
    mask: *const libc::sigset_t,
) -> c_int {
    // SAFETY: as libc's; the kernel's signal set has 8 bytes.
    let live = || unsafe { kernel!(epoll_pwait, epoll, events, room, timeout, mask, 8) };
    // SAFETY: as libc's.
    unsafe { epoll_waited(epoll, events, room, live) }
}

#[inline]
unsafe fn epoll_waited(
    epoll: c_int,
    events: *mut libc::epoll_event,
    room: c_int,
    live: impl Fn() -> isize,
) -> c_int {
    let Some(Inside(state)) = &mut enter() else {
        return given(live()) as c_int;
    };
    let room = usize::try_from(room).unwrap_or(0);
    let waiting = state.begin_wait();
    let (known, due) = (&state.known, &mut state.due);
    match &mut state.mode {
        Mode::Record(recorder) => {
            // SAFETY: as libc's: there is room for so many events.
            let all = unsafe { many_mut(events, room) };
            let count = early(waiting, known, epoll, all).unwrap_or_else(live);
            // SAFETY: the kernel has just written so many.
            let ready = unsafe { many(events, usize::try_from(count).unwrap_or(0)) };
            recorder.ready(
                count as i64,
                ready.len(),
                ready.iter().map(|event| {
                    // One that was registered in a way that is not seen here has no descriptor that a replay could find.
                    let (data, events) = (event.u64, event.events);
                    let fd = known
                        .descriptor(epoll, data)
                        .and_then(|fd| u64::try_from(fd).ok());
                    (fd.unwrap_or(u64::MAX), events.into())
                }),
            );
            given(count) as c_int
        }
        Mode::Replay(player) => {
            // SAFETY: as libc's: there is room for so many events.
            let all = unsafe { many_mut(events, room) };
            let replayed = replay_epoll(player, (known, due), epoll, all);
            let count = replayed.or_else(|| early(waiting, known, epoll, all));
            given(count.unwrap_or_else(live)) as c_int
        }
    }
}

/// The events of a wait as they were recorded; `None` when the record is used up.
#[cold]
fn replay_epoll(
    player: &mut Player<'static>,
    (known, due): (&Known, &mut Vec<c_int>),
    epoll: c_int,
    all: &mut [libc::epoll_event],
) -> Option<isize> {
    let (result, list) = agreed(player.next("events", ready))?;
    for (slot, (fd, events)) in all.iter_mut().zip(pairs(list)) {
        let fd = c_int::try_from(fd).unwrap_or(-1);
        let Some(data) = known.data(epoll, fd) else {
            let what = format!("descriptor {fd} is not registered with epoll");
            die(DIVERGED, &format!("the replay diverges: {what}"))
        };
        *slot = libc::epoll_event {
            events: events as u32,
            u64: data,
        };
        if events & libc::EPOLLIN as u64 != 0 {
            due.push(fd);
        }
    }
    Some(result as isize)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn poll(fds: *mut libc::pollfd, count: libc::nfds_t, timeout: c_int) -> c_int {
    // SAFETY: as libc's.
    let live = || unsafe { kernel!(poll, fds, count, timeout) };
    // SAFETY: as libc's: there are so many entries.
    unsafe { polled(fds, count, live) }
}

/// A copy of a time-out for the kernel to change; libc does not change its callers'.
///
/// # Safety
/// `timeout` is null or points to one.
unsafe fn left<T: Copy>(timeout: *const T) -> Option<T> {
    // SAFETY: as above.
    (!timeout.is_null()).then(|| unsafe { *timeout })
}

/// As the kernel takes it.
fn pointer<T>(left: &mut Option<T>) -> *mut T {
    left.as_mut()
        .map_or(std::ptr::null_mut(), std::ptr::from_mut)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ppoll(
    fds: *mut libc::pollfd,
    count: libc::nfds_t,
    timeout: *const timespec,
    mask: *const libc::sigset_t,
) -> c_int {
    // SAFETY: as libc's. The kernel changes its time-out, libc does not.
    let live = || unsafe {
        let mut left = left(timeout);
        let left = pointer(&mut left);
        kernel!(ppoll, fds, count, left, mask, 8)
    };
    // SAFETY: as libc's: there are so many entries.
    unsafe { polled(fds, count, live) }
}

unsafe fn polled(
    fds: *mut libc::pollfd,
    count: libc::nfds_t,
    live: impl FnOnce() -> isize,
) -> c_int {
    let Some(Inside(state)) = &mut enter() else {
        return given(live()) as c_int;
    };
    let count = usize::try_from(count).unwrap_or(0);
    let waiting = state.begin_wait();
    let due = &mut state.due;
    match &mut state.mode {
        Mode::Record(recorder) => {
            // SAFETY: as libc's: there are so many.
            let ahead = early_polled(waiting, unsafe { many_mut(fds, count) });
            let found = ahead.unwrap_or_else(live);
            // SAFETY: as libc's; the slice is made after the kernel has written.
            let all = unsafe { many(fds, count) };
            let ready = all.iter().enumerate().filter(|(_, one)| one.revents != 0);
            recorder.ready(
                found as i64,
                // After a failure the entries may have what they had before.
                usize::try_from(found).unwrap_or(count),
                ready.map(|(index, one)| (index as u64, u64::from(one.revents.cast_unsigned()))),
            );
            given(found) as c_int
        }
        Mode::Replay(player) => {
            let Some((result, list)) = agreed(player.next("events", ready)) else {
                return given(live()) as c_int;
            };
            // SAFETY: as libc's.
            let all = unsafe { many_mut(fds, count) };
            all.iter_mut().for_each(|one| one.revents = 0);
            for (index, events) in pairs(list) {
                let Some(one) = usize::try_from(index)
                    .ok()
                    .and_then(|index| all.get_mut(index))
                else {
                    die(
                        DIVERGED,
                        "the replay diverges: poll has fewer descriptors than the record",
                    )
                };
                one.revents = events as i16;
                if one.revents & libc::POLLIN != 0 {
                    due.push(one.fd);
                }
            }
            given(result as isize) as c_int
        }
    }
}

/// As [`early`], for `poll`.
fn early_polled(listener: Option<c_int>, all: &mut [libc::pollfd]) -> Option<isize> {
    let listener = listener?;
    let asks = |one: &libc::pollfd| one.fd == listener && one.events & libc::POLLIN != 0;
    let found = all.iter().position(asks)?;
    for (at, one) in all.iter_mut().enumerate() {
        one.revents = if at == found { libc::POLLIN } else { 0 };
    }
    Some(1)
}

/// As [`early`], for `select`.
unsafe fn early_selected(
    listener: Option<c_int>,
    count: c_int,
    sets: [*mut libc::fd_set; 3],
) -> Option<isize> {
    let listener = listener.filter(|&fd| fd < count)?;
    // SAFETY: as libc's: each set that is there has room for `count` descriptors.
    unsafe {
        if sets[0].is_null() || !libc::FD_ISSET(listener, sets[0]) {
            return None;
        }
        for set in sets.iter().filter(|set| !set.is_null()) {
            for fd in 0..count {
                libc::FD_CLR(fd, *set);
            }
        }
        libc::FD_SET(listener, sets[0]);
    }
    Some(1)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn select(
    count: c_int,
    reading: *mut libc::fd_set,
    writing: *mut libc::fd_set,
    other: *mut libc::fd_set,
    timeout: *mut timeval,
) -> c_int {
    // SAFETY: as libc's. The time that is left is not told: it would have to be recorded.
    let live = || unsafe {
        let mut left = left(timeout);
        let left = pointer(&mut left);
        kernel!(select, count, reading, writing, other, left)
    };
    // SAFETY: as libc's.
    unsafe { selected(count, [reading, writing, other], live) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pselect(
    count: c_int,
    reading: *mut libc::fd_set,
    writing: *mut libc::fd_set,
    other: *mut libc::fd_set,
    timeout: *const timespec,
    mask: *const libc::sigset_t,
) -> c_int {
    // SAFETY: as libc's. The kernel takes the mask as a pointer and a length, and changes its time-out; libc does not.
    let live = || unsafe {
        let mut left = left(timeout);
        let left = pointer(&mut left);
        let signals = [mask as usize, 8];
        let signals = if mask.is_null() {
            std::ptr::null()
        } else {
            signals.as_ptr()
        };
        kernel!(pselect6, count, reading, writing, other, left, signals,)
    };
    // SAFETY: as libc's.
    unsafe { selected(count, [reading, writing, other], live) }
}

unsafe fn selected(
    count: c_int,
    sets: [*mut libc::fd_set; 3],
    live: impl FnOnce() -> isize,
) -> c_int {
    let Some(Inside(state)) = &mut enter() else {
        return given(live()) as c_int;
    };
    let waiting = state.begin_wait();
    let due = &mut state.due;
    match &mut state.mode {
        Mode::Record(recorder) => {
            // SAFETY: as libc's.
            let ahead = unsafe { early_selected(waiting, count, sets) };
            let found = ahead.unwrap_or_else(live);
            let bits = |fd: c_int| -> u64 {
                // SAFETY: as libc's: each set that is there has room for `count` descriptors.
                let is_set =
                    |set: &*mut libc::fd_set| unsafe { !set.is_null() && libc::FD_ISSET(fd, *set) };
                sets.iter()
                    .zip(SETS)
                    .filter(|(set, _)| is_set(set))
                    .map(|(_, bit)| bit)
                    .sum()
            };
            let last = if found > 0 { count } else { 0 };
            recorder.ready(
                found as i64,
                usize::try_from(found).unwrap_or(0),
                (0..last)
                    .map(|fd| (u64::from(fd.unsigned_abs()), bits(fd)))
                    .filter(|(_, bits)| *bits != 0),
            );
            given(found) as c_int
        }
        Mode::Replay(player) => {
            let Some((result, list)) = agreed(player.next("events", ready)) else {
                return given(live()) as c_int;
            };
            // SAFETY: as libc's; a descriptor of the record was in the program's sets then, and so below `count`.
            unsafe {
                for set in sets.iter().filter(|set| !set.is_null()) {
                    for fd in 0..count {
                        libc::FD_CLR(fd, *set);
                    }
                }
                for (fd, bits) in pairs(list) {
                    let fd = c_int::try_from(fd).unwrap_or(c_int::MAX);
                    if fd >= count {
                        die(
                            DIVERGED,
                            "the replay diverges: select has fewer descriptors than the record",
                        );
                    }
                    if bits & SETS[0] != 0 {
                        due.push(fd);
                    }
                    for (set, bit) in sets.iter().zip(SETS) {
                        if bits & bit != 0 && !set.is_null() {
                            libc::FD_SET(fd, *set);
                        }
                    }
                }
            }
            given(result as isize) as c_int
        }
    }
}
