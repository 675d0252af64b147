// SPDX-License-Identifier: GPL-3.0-only
//! The C functions that stand before libc's in a wrapped program, and all `unsafe` of this crate.
//!
//! The caller of each function is a C program: what libc's manual asks of it for its pointers and lengths holds here ("as
//! libc's" in a SAFETY line). The kernel is asked directly, so that no function here calls itself, and in place where it is
//! asked often (`kernel!`); only the clock goes through libc, for its vDSO. There is one thread: a second one ends the recording
//! before it starts. A signal handler that gets in while a function here is at work passes through unrecorded.
#![allow(unsafe_code)]

/// Asks the kernel: the result, or the negative errno. In place, since each page of code that a request touches costs it time,
/// and errno would have to be read back.
macro_rules! kernel {
    ($name:ident $(, $arg:expr)+ $(,)?) => {
        ::syscalls::raw_syscall!(::syscalls::Sysno::$name $(, $arg)+).cast_signed()
    };
}

mod area;
mod calls;
mod connections;
mod descriptors;
mod file;
mod map;
mod moves;
mod ring;
mod waits;

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_int, c_uint, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, compiler_fence, fence};

use libc::{iovec, msghdr, size_t, sockaddr, socklen_t, ssize_t, timespec, timeval};

use crate::again::Again;
use crate::program::{Class, Known};
use crate::record::{HEADER, MAGIC, Record, order, pairs, state, word};
use crate::session::{Diverged, Log, Player, Recorder};
use connections::first_early;
use file::load;
use map::{Map, in_file};
use moves::{Gone, hand_out, input, output, written};
use ring::Ring;

/// Descriptors of the wrap itself, and connections that came too early, are kept from here on, out of the program's way.
const HIGH: c_int = 512;
/// First size of the record's file; it doubles when it is full.
const FIRST_SIZE: usize = 1 << 20;
/// Longest record with its header in bytes, and the least that `RXL_WRAP_MAX` may ask for.
const MAX_SIZE: usize = 64 << 20;
const LEAST_SIZE: usize = 4096;
/// Exit codes: the replay has diverged, the record cannot be opened.
const DIVERGED: c_int = 70;
const UNUSABLE: c_int = 71;

enum Mode {
    Record(Recorder<Map>),
    Replay(Player<'static>),
}

struct State {
    /// It records, and nothing of a replay is left to be asked for: most of what is below is not looked at.
    calm: bool,
    mode: Mode,
    known: Known,
    /// The record is one that the logger reads along, and hands to a replacement.
    ring: Option<Ring>,
    /// Connections accepted before their turn: listener, descriptor, peer.
    early: Vec<(c_int, c_int, Vec<u8>)>,
    /// Descriptors that the last wait of a replay said could be read, and that were not read since.
    due: Vec<c_int>,
    clock: Option<ClockFn>,
}

type ClockFn = unsafe extern "C" fn(c_int, *mut timespec) -> c_int;

struct Global(UnsafeCell<Option<State>>);
// SAFETY: the program has one thread (`pthread_create` and `clone` below see to that), and `enter` lets one call in at a time.
unsafe impl Sync for Global {}
static STATE: Global = Global(UnsafeCell::new(None));
static BUSY: AtomicBool = AtomicBool::new(false);

/// The way in: `None` when nothing is to be done but what libc does.
fn enter() -> Option<Inside> {
    // No exchange: there is one thread, and a signal handler that gets in between leaves BUSY as it was.
    if BUSY.load(Ordering::Relaxed) {
        return None;
    }
    BUSY.store(true, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    // SAFETY: BUSY was clear, so no other reference lives; it is cleared when `Inside` is dropped.
    let state = unsafe { &mut *STATE.0.get() };
    if let Some(why) = state.as_ref().and_then(State::full) {
        end_full(state, why);
    }
    let inside = state.as_mut().map(Inside);
    if inside.is_none() {
        BUSY.store(false, Ordering::Relaxed);
    }
    inside
}

/// The record may not grow any more: the program goes on without it.
#[cold]
fn end_full(state: &mut Option<State>, why: &str) {
    if let Some(mut state) = state.take() {
        state.refuse(why);
    }
}

struct Inside(&'static mut State);

impl Drop for Inside {
    fn drop(&mut self) {
        compiler_fence(Ordering::SeqCst);
        BUSY.store(false, Ordering::Relaxed);
    }
}

fn tell(text: &str) {
    let line = format!("rxl-wrap: {text}\n");
    // SAFETY: the buffer lives over the call.
    unsafe { libc::syscall(libc::SYS_write, 2, line.as_ptr(), line.len()) };
}

fn die(code: c_int, text: &str) -> ! {
    tell(text);
    // SAFETY: ends the process at once; nothing of it runs any more.
    unsafe { libc::_exit(code) }
}

fn errno() -> c_int {
    // SAFETY: libc gives a valid pointer to this thread's errno.
    unsafe { *libc::__errno_location() }
}

fn set_errno(value: c_int) {
    // SAFETY: as in `errno`.
    unsafe { *libc::__errno_location() = value };
}

/// A result as records have it: the negative errno for a failure.
fn told(result: isize) -> i64 {
    if result < 0 {
        -i64::from(errno())
    } else {
        result as i64
    }
}

/// A result of the kernel's or of a record as the program gets it.
#[inline]
fn given(result: isize) -> isize {
    if result < 0 {
        return failed(result);
    }
    result
}

#[cold]
fn failed(result: isize) -> isize {
    set_errno(c_int::try_from(-result).unwrap_or(libc::EIO));
    -1
}

fn agreed<T>(answer: Result<Option<T>, Diverged>) -> Option<T> {
    answer.unwrap_or_else(|Diverged(why)| die(DIVERGED, &format!("the replay diverges: {why}")))
}

extern "C" fn init() {
    // SAFETY: run by the loader before the program's first instruction: there is one thread, and the environment is whole.
    // The texts that getenv gives are copied before the environment is changed.
    unsafe {
        let value = libc::getenv(c"RXL_WRAP".as_ptr());
        if value.is_null() {
            return;
        }
        let value = CStr::from_ptr(value).to_owned();
        // A program that this one starts is another one: its record would overwrite this.
        libc::unsetenv(c"RXL_WRAP".as_ptr());
        let text = value.to_string_lossy().into_owned();
        let max = libc::getenv(c"RXL_WRAP_MAX".as_ptr());
        let max = (!max.is_null()).then(|| CStr::from_ptr(max).to_string_lossy().parse());
        let Ok(max) = max.unwrap_or(Ok(MAX_SIZE)) else {
            die(UNUSABLE, "RXL_WRAP_MAX: expected a number of bytes")
        };
        let max = max.max(LEAST_SIZE);
        let (mode, ring) = match text.split_once(':') {
            Some(("record", path)) => {
                let map = in_file(path, max, state::RECORDS);
                (Mode::Record(Recorder::new(map)), None)
            }
            Some(("ring", path)) => {
                let map = in_file(path, max, state::RECORDS);
                (Mode::Record(Recorder::new(map)), Some(Ring::new()))
            }
            Some(("standby", path)) => (
                Mode::Replay(Player::new(&[])),
                Some(Ring::standby(path, max)),
            ),
            Some(("agent", path)) => (
                Mode::Replay(Player::new(&[])),
                Some(Ring::of_agent(path, max)),
            ),
            Some(("replay", path)) => (Mode::Replay(Player::new(load(path))), None),
            _ => die(
                UNUSABLE,
                &format!(
                    "RXL_WRAP={text}: expected record:FILE, replay:FILE, ring:FILE, standby:FILE or agent:SOCKET"
                ),
            ),
        };
        let clock = libc::dlsym(libc::RTLD_NEXT, c"clock_gettime".as_ptr());
        *STATE.0.get() = Some(State {
            calm: matches!(mode, Mode::Record(_)),
            mode,
            known: Known::default(),
            ring,
            early: Vec::new(),
            due: Vec::new(),
            clock: (!clock.is_null()).then(|| std::mem::transmute::<*mut c_void, ClockFn>(clock)),
        });
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static INIT: extern "C" fn() = init;

/// An array of the program's; none if there is no array.
unsafe fn many<'a, T>(first: *const T, count: usize) -> &'a [T] {
    if first.is_null() {
        return &[];
    }
    // SAFETY: as libc's: the program says that there are so many.
    unsafe { std::slice::from_raw_parts(first, count) }
}

/// The same, to be written.
unsafe fn many_mut<'a, T>(first: *mut T, count: usize) -> &'a mut [T] {
    if first.is_null() {
        return &mut [];
    }
    // SAFETY: as libc's: the program says that there is room for so many.
    unsafe { std::slice::from_raw_parts_mut(first, count) }
}

impl State {
    /// Why the recording has to end, if it has to.
    fn full(&self) -> Option<&'static str> {
        match &self.mode {
            Mode::Record(recorder) => recorder.log().full(),
            Mode::Replay(_) => None,
        }
    }

    /// The program waits: a good moment to see whether all of a replay is past.
    #[cold]
    fn settle(&mut self) {
        self.due.clear();
        let past = |ring: &Ring| ring.again.is_past();
        self.calm = matches!(self.mode, Mode::Record(_))
            && self.early.is_empty()
            && self.ring.as_ref().is_none_or(past);
    }

    /// What kind of file a descriptor is: looked up once.
    #[inline]
    fn class(&mut self, fd: c_int) -> Class {
        match self.known.noted(fd) {
            Some(class) => class,
            None => self.look_up(fd),
        }
    }

    #[cold]
    fn look_up(&mut self, fd: c_int) -> Class {
        // SAFETY: the buffer is as large as the kernel's.
        let mut about: libc::stat = unsafe { std::mem::zeroed() };
        let saved = errno();
        // SAFETY: as above.
        let found = unsafe { libc::fstat(fd, &raw mut about) } == 0;
        set_errno(saved);
        if let Mode::Record(recorder) = &self.mode {
            recorder.log().count(word::CALLS, 1);
        }
        self.known.class(fd, found.then_some(about.st_mode))
    }

    /// Ends a recording that cannot go on, or a replay that should never have got here.
    fn refuse(&mut self, why: &str) {
        match &mut self.mode {
            Mode::Record(recorder) => {
                recorder.log_mut().last();
                recorder.add(&Record::Stop {
                    why: why.as_bytes(),
                });
                recorder.log().word(word::ENDED).store(1, Ordering::Release);
                tell(&format!(
                    "{why}: the recording ends, the program goes on unwrapped"
                ));
            }
            Mode::Replay(_) => die(DIVERGED, &format!("the replay ends: {why}")),
        }
    }
}

/// Forgets all: from here on the program is not wrapped.
fn unwrap_program() {
    // SAFETY: called outside `Inside`, by the only thread.
    unsafe { *STATE.0.get() = None };
}

/// Reads clock `real`, cut to whole `unit`s of ns, for the record's clock `clock`. In ns; `None`: errno says why.
unsafe fn look(state: &mut State, clock: usize, real: c_int, unit: i64) -> Option<i64> {
    state.attend();
    if let Mode::Replay(player) = &mut state.mode
        && let Some(now) = agreed(player.clock(clock))
    {
        return Some(now);
    }
    // SAFETY: the time lives over the call; the function is libc's own, of that type.
    let now = unsafe {
        let mut now: timespec = std::mem::zeroed();
        let result = match state.clock {
            Some(libc) => libc(real, &raw mut now),
            None => libc::syscall(libc::SYS_clock_gettime, real, &raw mut now) as c_int,
        };
        if result != 0 {
            return None;
        }
        now.tv_sec
            .wrapping_mul(1_000_000_000)
            .wrapping_add(now.tv_nsec)
    };
    // Most clocks are told as they are, and a division is what takes longest here.
    let now = if unit == 1 {
        now
    } else {
        now - now.rem_euclid(unit)
    };
    Some(match &mut state.mode {
        Mode::Record(recorder) => recorder.clock(clock, now),
        Mode::Replay(_) => now,
    })
}

/// The program is about to do what cannot be recorded.
fn give_up(why: &str) {
    let active = match &mut enter() {
        Some(Inside(state)) => {
            state.refuse(why);
            true
        }
        None => false,
    };
    if active {
        unwrap_program();
    }
}
