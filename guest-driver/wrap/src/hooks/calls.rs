// SPDX-License-Identifier: GPL-3.0-only
//! The functions that stand before libc's: each takes its arguments apart and leaves the rest to [`super`].

use super::*;

type Start = extern "C" fn(*mut c_void) -> *mut c_void;
type Create = unsafe extern "C" fn(
    *mut libc::pthread_t,
    *const libc::pthread_attr_t,
    Start,
    *mut c_void,
) -> c_int;
type Clone = unsafe extern "C" fn(
    extern "C" fn(*mut c_void) -> c_int,
    *mut c_void,
    c_int,
    *mut c_void,
    *mut c_void,
    *mut c_void,
    *mut c_void,
) -> c_int;
type Fork = unsafe extern "C" fn() -> libc::pid_t;

/// What the kernel says to who is to ask again.
const RETRY: isize = -(libc::EAGAIN as isize);
const INTERRUPTED: isize = -(libc::EINTR as isize);

fn one(buffer: *mut c_void, length: size_t) -> [iovec; 1] {
    [iovec {
        iov_base: buffer,
        iov_len: length,
    }]
}

/// libc's own function of this name and of type `F`.
unsafe fn next<F: Copy>(name: &CStr) -> Option<F> {
    // SAFETY: the name ends with NUL; the caller names the type that libc declares. A function pointer is as large as a
    // data pointer here.
    unsafe {
        let found = libc::dlsym(libc::RTLD_NEXT, name.as_ptr());
        (!found.is_null()).then(|| std::mem::transmute_copy::<*mut c_void, F>(&found))
    }
}

// ---- reading and writing

#[unsafe(no_mangle)]
unsafe extern "C" fn read(fd: c_int, buffer: *mut c_void, length: size_t) -> ssize_t {
    // SAFETY: as libc's.
    unsafe {
        input(fd, &one(buffer, length), 0, || {
            kernel!(read, fd, buffer, length)
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __read_chk(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    _room: size_t,
) -> ssize_t {
    // SAFETY: as libc's.
    unsafe { read(fd, buffer, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn readv(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: as libc's.
    unsafe {
        let all = many(parts, usize::try_from(count).unwrap_or(0));
        input(fd, all, 0, || kernel!(readv, fd, parts, count))
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn recv(fd: c_int, buffer: *mut c_void, length: size_t, flags: c_int) -> ssize_t {
    // SAFETY: as libc's.
    unsafe {
        recvfrom(
            fd,
            buffer,
            length,
            flags,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __recv_chk(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    _room: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: as libc's.
    unsafe { recv(fd, buffer, length, flags) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn recvfrom(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    flags: c_int,
    peer: *mut sockaddr,
    room: *mut socklen_t,
) -> ssize_t {
    // SAFETY: as libc's. A stream has no address for each read: the replay leaves it alone.
    unsafe {
        input(fd, &one(buffer, length), flags, || {
            kernel!(recvfrom, fd, buffer, length, flags, peer, room)
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    // SAFETY: as libc's.
    unsafe {
        let all = many((*message).msg_iov, (*message).msg_iovlen);
        input(fd, all, flags, || kernel!(recvmsg, fd, message, flags))
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: c_int, buffer: *const c_void, length: size_t) -> ssize_t {
    // SAFETY: as libc's; a part to be written is only read.
    unsafe {
        output(fd, &one(buffer.cast_mut(), length), || {
            kernel!(write, fd, buffer, length)
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: as libc's.
    unsafe {
        let all = many(parts, usize::try_from(count).unwrap_or(0));
        output(fd, all, || kernel!(writev, fd, parts, count))
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn send(
    fd: c_int,
    buffer: *const c_void,
    length: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: as libc's.
    unsafe { sendto(fd, buffer, length, flags, std::ptr::null(), 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sendto(
    fd: c_int,
    buffer: *const c_void,
    length: size_t,
    flags: c_int,
    peer: *const sockaddr,
    room: socklen_t,
) -> ssize_t {
    // SAFETY: as libc's.
    unsafe {
        output(fd, &one(buffer.cast_mut(), length), || {
            kernel!(sendto, fd, buffer, length, flags, peer, room)
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    // SAFETY: as libc's.
    unsafe {
        let all = many((*message).msg_iov, (*message).msg_iovlen);
        output(fd, all, || kernel!(sendmsg, fd, message, flags))
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sendfile(
    to: c_int,
    from: c_int,
    at: *mut libc::off_t,
    length: size_t,
) -> ssize_t {
    // SAFETY: as libc's.
    let move_some = |length: size_t| unsafe { kernel!(sendfile, to, from, at, length) };
    written(
        to,
        || move_some(length),
        |mut ring, count| {
            let real = ring.as_ref().is_some_and(|ring| ring.again.real(to));
            let mut left = count;
            while left > 0 {
                let moved = move_some(left);
                match usize::try_from(moved) {
                    Ok(0) => die(
                        DIVERGED,
                        &format!(
                            "the replay diverges: the file sent to descriptor {to} is shorter"
                        ),
                    ),
                    Ok(moved) => left -= moved,
                    Err(_) if [RETRY, INTERRUPTED].contains(&moved) => {
                        // SAFETY: see the function.
                        unsafe { moves::await_news(ring.as_deref_mut(), to, libc::POLLOUT) };
                        if real && ring.as_ref().is_some_and(|ring| !ring.again.lives(to)) {
                            return Err(Gone);
                        }
                    }
                    Err(_) if real => return Err(Gone),
                    Err(_) => die(
                        DIVERGED,
                        &format!("the replay diverges: descriptor {to}: errno {}", -moved),
                    ),
                }
            }
            Ok(())
        },
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sendfile64(
    to: c_int,
    from: c_int,
    at: *mut libc::off_t,
    length: size_t,
) -> ssize_t {
    // SAFETY: as libc's; the two are one where offsets have 64 bits.
    unsafe { sendfile(to, from, at, length) }
}

// ---- time, randomness, numbers

#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut timespec) -> c_int {
    let Some(Inside(state)) = &mut enter() else {
        // SAFETY: as libc's.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as c_int };
    };
    // SAFETY: as libc's.
    unsafe {
        // CPU clocks of processes and other dynamic clocks have negative numbers: they are not recorded.
        match usize::try_from(clock).ok().filter(|&clock| clock < 16) {
            Some(known) if !time.is_null() => {
                let Some(now) = look(state, known, clock, 1) else {
                    return -1;
                };
                let seconds = now.div_euclid(1_000_000_000);
                (*time).tv_sec = seconds;
                (*time).tv_nsec = now - seconds * 1_000_000_000;
                0
            }
            _ => libc::syscall(libc::SYS_clock_gettime, clock, time) as c_int,
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn gettimeofday(time: *mut timeval, zone: *mut c_void) -> c_int {
    let Some(Inside(state)) = &mut enter() else {
        // SAFETY: as libc's.
        return unsafe { libc::syscall(libc::SYS_gettimeofday, time, zone) as c_int };
    };
    // SAFETY: as libc's.
    unsafe {
        let Some(now) = look(state, 16, libc::CLOCK_REALTIME, 1000) else {
            return -1;
        };
        if !time.is_null() {
            (*time).tv_sec = now.div_euclid(1_000_000_000);
            (*time).tv_usec = now.rem_euclid(1_000_000_000) / 1000;
        }
        0
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn time(time: *mut libc::time_t) -> libc::time_t {
    let Some(Inside(state)) = &mut enter() else {
        // SAFETY: as libc's.
        return unsafe { libc::syscall(libc::SYS_time, time) };
    };
    // SAFETY: as libc's.
    unsafe {
        let Some(now) = look(state, 17, libc::CLOCK_REALTIME_COARSE, 1_000_000_000) else {
            return -1;
        };
        let seconds = now / 1_000_000_000;
        if !time.is_null() {
            *time = seconds;
        }
        seconds
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: size_t, flags: u32) -> ssize_t {
    // SAFETY: as libc's.
    let live = || unsafe { kernel!(getrandom, buffer, length, flags) };
    let Some(Inside(state)) = &mut enter() else {
        return given(live());
    };
    state.attend();
    given(match &mut state.mode {
        Mode::Record(recorder) => {
            let got = live();
            if let Ok(count) = usize::try_from(got) {
                // SAFETY: the kernel has just written them.
                let bytes = unsafe { many(buffer.cast::<u8>(), count) };
                recorder.add(&Record::Random { bytes });
            }
            got
        }
        Mode::Replay(player) => {
            let answer = player.next("random bytes", |record| match record {
                Record::Random { bytes } if bytes.len() <= length => Some(bytes),
                _ => None,
            });
            let Some(bytes) = agreed(answer) else {
                return given(live());
            };
            // SAFETY: as libc's; see `hand_out`.
            unsafe { hand_out(&one(buffer, length), bytes) };
            bytes.len().cast_signed()
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getentropy(buffer: *mut c_void, length: size_t) -> c_int {
    // SAFETY: as libc's. Up to 256 bytes, which is all that it allows, come whole.
    let got = unsafe { getrandom(buffer, length.min(256), 0) };
    if length <= 256 && got == length.cast_signed() {
        return 0;
    }
    set_errno(libc::EIO);
    -1
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getpid() -> libc::pid_t {
    // SAFETY: it has no argument.
    let live = || unsafe { libc::syscall(libc::SYS_getpid) as libc::pid_t };
    let Some(Inside(state)) = &mut enter() else {
        return live();
    };
    state.attend();
    match &mut state.mode {
        Mode::Record(recorder) => {
            let pid = live();
            recorder.add(&Record::Pid { pid: pid.into() });
            pid
        }
        Mode::Replay(player) => {
            let answer = player.next("its pid", |record| match record {
                Record::Pid { pid } => libc::pid_t::try_from(pid).ok(),
                _ => None,
            });
            agreed(answer).unwrap_or_else(live)
        }
    }
}

// ---- what cannot be recorded

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    about: *const libc::pthread_attr_t,
    start: Start,
    with: *mut c_void,
) -> c_int {
    give_up("the program starts a second thread");
    // SAFETY: as libc's; the type is libc's.
    unsafe {
        next::<Create>(c"pthread_create")
            .map_or(libc::ENOSYS, |real| real(thread, about, start, with))
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn clone(
    start: extern "C" fn(*mut c_void) -> c_int,
    stack: *mut c_void,
    flags: c_int,
    with: *mut c_void,
    parent: *mut c_void,
    tls: *mut c_void,
    child: *mut c_void,
) -> c_int {
    if flags & libc::CLONE_VM != 0 && flags & libc::CLONE_VFORK == 0 {
        give_up("the program starts a second thread");
    }
    // SAFETY: as libc's, whose last three arguments may be missing: what stands in their registers is passed on.
    unsafe {
        next::<Clone>(c"clone").map_or(-1, |real| {
            real(start, stack, flags, with, parent, tls, child)
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fork() -> libc::pid_t {
    // SAFETY: as libc's; the type is libc's.
    let pid = unsafe { next::<Fork>(c"fork").map_or(-1, |real| real()) };
    if pid == 0 {
        // The child is another program: its records would get among the parent's.
        unwrap_program();
    }
    pid
}
