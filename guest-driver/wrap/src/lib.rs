// SPDX-License-Identifier: GPL-3.0-only
//! The north side wrap: records what an unmodified, dynamic, single-threaded program cannot compute by itself (how long
//! each read was, in which order connections came, the time, random bytes, its pid, what was ready), and feeds it back on
//! replay, so that the program says the same bytes again.
//!
//! Use: `LD_PRELOAD=librxl_wrap.so RXL_WRAP=record:FILE|replay:FILE PROGRAM`; with a logger, `ring:FILE`, `standby:FILE` or
//! `agent:SOCKET`. See docs/guest.md.
//!
//! Who lives here: `record` (the stream's form), `program`
//! (what is known of the program), `session` (what is recorded and what comes back, without I/O), `hooks` (the C
//! functions that stand before libc's, and all `unsafe`).
#![deny(unsafe_code)]

// Not in the tests of this crate: they would stand before the test's own libc.
pub mod again;
#[cfg(all(feature = "hooks", not(test)))]
mod hooks;
pub mod program;
pub mod record;
pub mod session;
