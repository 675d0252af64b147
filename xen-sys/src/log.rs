// SPDX-License-Identifier: GPL-3.0-only
//! A xentoollog logger that keeps what libxenctrl and libxenguest say, so that an error can carry it.

use std::ffi::{CStr, c_char, c_int};
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use crate::raw;

/// Longest message kept, in bytes; longer ones are cut.
const MESSAGE_MAX: usize = 512;

/// Most messages kept between two [`Capture::take`]s; a library that repeats itself must not eat memory.
const MESSAGES_MAX: usize = 32;

/// The C side's view comes first, so that a pointer to it is a pointer to the whole.
#[repr(C)]
struct Logger {
    vtable: raw::xentoollog_logger,
    messages: Mutex<Vec<String>>,
}

/// Owner of a logger whose address stays the same for as long as a library may call it.
#[derive(Debug)]
pub(crate) struct Capture {
    logger: NonNull<Logger>,
}

impl Capture {
    pub(crate) fn new() -> Self {
        let logger = Box::new(Logger {
            vtable: raw::xentoollog_logger {
                vmessage: Some(vmessage),
                progress: None,
                destroy: Some(destroy),
            },
            messages: Mutex::new(Vec::new()),
        });
        Self {
            logger: NonNull::from(Box::leak(logger)),
        }
    }

    /// The pointer that the libraries want.
    pub(crate) const fn as_xtl(&self) -> *mut raw::xentoollog_logger {
        self.logger.as_ptr().cast()
    }

    /// What was said since the last call of this function.
    pub(crate) fn take(&self) -> Vec<String> {
        // SAFETY: the logger lives until `self` is dropped; only its Mutex is ever changed.
        let logger = unsafe { self.logger.as_ref() };
        let mut messages = logger
            .messages
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *messages)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // SAFETY: made by Box::leak in `new`, freed only here; the owner closes the library's handle first.
        drop(unsafe { Box::from_raw(self.logger.as_ptr()) });
    }
}

/// Called by the libraries for each message.
unsafe extern "C" fn vmessage(
    logger: *mut raw::xentoollog_logger,
    level: raw::xentoollog_level,
    _errno: c_int,
    _context: *const c_char,
    format: *const c_char,
    args: *mut raw::__va_list_tag,
) {
    if level < raw::XTL_WARN {
        return;
    }
    let mut text = [0_u8; MESSAGE_MAX];
    // SAFETY: `text` has room for the length given; format and args are the library's own matching pair.
    let written =
        unsafe { raw::vsnprintf(text.as_mut_ptr().cast(), text.len() as _, format, args) };
    let Ok(text) = CStr::from_bytes_until_nul(&text) else {
        return;
    };
    if written < 0 {
        return;
    }
    // SAFETY: the library passes back the pointer it was given by `as_xtl`, which points to a living Logger.
    let logger = unsafe { &*logger.cast::<Logger>() };
    let mut messages = logger
        .messages
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if messages.len() < MESSAGES_MAX {
        messages.push(plain(&text.to_string_lossy()).to_owned());
    }
}

/// A message without the place in the library's source that it came from:
/// `panic: xg_dom_core.c:689: xc_dom_find_loader: no loader found` says `no loader found`.
fn plain(message: &str) -> &str {
    let mut rest = message.trim_end();
    while let Some((head, tail)) = rest.split_once(": ") {
        let place = head
            .split_once(".c:")
            .is_some_and(|(_, line)| is_number(line));
        let function = head.starts_with("xc_") && !head.contains(' ');
        if head != "panic" && !place && !function {
            break;
        }
        rest = tail;
    }
    rest
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The logger is owned by [`Capture`]; the libraries have nothing to free.
unsafe extern "C" fn destroy(_logger: *mut raw::xentoollog_logger) {}

#[cfg(test)]
mod tests {
    use super::{Capture, MESSAGE_MAX, MESSAGES_MAX, plain};
    use crate::raw;

    fn log(capture: &Capture, level: raw::xentoollog_level, number: i32) {
        // SAFETY: the logger is alive and the format takes one int.
        unsafe {
            raw::xtl_log(
                capture.as_xtl(),
                level,
                -1,
                c"test".as_ptr(),
                c"%d pages".as_ptr(),
                number,
            );
        };
    }

    #[test]
    fn error_is_kept_formatted_and_given_once() {
        let capture = Capture::new();
        log(&capture, raw::XTL_ERROR, 7);
        assert_eq!(capture.take(), ["7 pages"]);
        assert!(capture.take().is_empty());
    }

    #[test]
    fn plain_drops_the_place_in_the_source_only() {
        let message =
            "panic: xg_dom_core.c:689: xc_dom_find_loader: no loader found: Invalid kernel\n";
        assert_eq!(plain(message), "no loader found: Invalid kernel");
        assert_eq!(
            plain("Could not map: No such device"),
            "Could not map: No such device"
        );
    }

    #[test]
    fn progress_is_not_kept() {
        let capture = Capture::new();
        log(&capture, raw::XTL_DETAIL, 7);
        assert!(capture.take().is_empty());
    }

    #[test]
    fn flood_and_long_line_are_cut() {
        let capture = Capture::new();
        for number in 0..100 {
            log(&capture, raw::XTL_ERROR, number);
        }
        assert_eq!(capture.take().len(), MESSAGES_MAX);
        let long = std::ffi::CString::new(vec![b'x'; 3 * MESSAGE_MAX]).expect("no NUL");
        // SAFETY: the logger is alive and the format takes one string.
        unsafe {
            raw::xtl_log(
                capture.as_xtl(),
                raw::XTL_ERROR,
                -1,
                c"test".as_ptr(),
                c"%s".as_ptr(),
                long.as_ptr(),
            );
        }
        assert_eq!(capture.take()[0].len(), MESSAGE_MAX - 1);
    }
}
