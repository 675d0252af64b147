// SPDX-License-Identifier: GPL-3.0-only
//! The handle on the hypervisor: opening it, making calls through it, turning failures into errors.

use std::cell::Cell;
use std::ffi::c_int;
use std::io;
use std::ptr::NonNull;

use crate::error::XenError;
use crate::log::Capture;
use crate::raw;

/// An open libxenctrl handle.
///
/// It belongs to one thread at a time (it can be sent, not shared), so that the messages captured during a call are
/// that call's own.
#[derive(Debug)]
pub struct Xenctrl {
    xch: NonNull<raw::xc_interface>,
    log: Capture,
    calls: Cell<u64>,
}

// SAFETY: libxenctrl keeps no thread-local state in its handle and is opened in its re-entrant mode; the type is
// not Sync, so only one thread uses the handle, and the logger behind it, at a time.
unsafe impl Send for Xenctrl {}

impl Xenctrl {
    /// Opens `/dev/xen/privcmd`.
    ///
    /// # Errors
    /// `ENOENT` where there is no Xen, `EACCES` without the right to open the device.
    pub fn open() -> Result<Self, XenError> {
        let log = Capture::new();
        clear_errno();
        // SAFETY: both pointers are to one logger, which outlives the handle: Drop closes the handle first.
        let xch = unsafe { raw::xc_interface_open(log.as_xtl(), log.as_xtl(), 0) };
        let errno = last_errno();
        match NonNull::new(xch) {
            Some(xch) => Ok(Self {
                xch,
                log,
                calls: Cell::new(0),
            }),
            None => Err(XenError {
                call: "xc_interface_open",
                errno,
                messages: log.take(),
            }),
        }
    }

    /// Calls of libxenctrl and libxenguest made through this handle so far; one can be several hypercalls.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.calls.get()
    }

    /// The C handle, for the one call that is being made.
    pub(crate) const fn as_ptr(&self) -> *mut raw::xc_interface {
        self.xch.as_ptr()
    }

    /// Makes one call whose negative results are failures. The result is what the call returned.
    pub(crate) fn call(
        &self,
        name: &'static str,
        call: impl FnOnce(*mut raw::xc_interface) -> c_int,
    ) -> Result<c_int, XenError> {
        let result = self.watch(|| call(self.xch.as_ptr()));
        if result < 0 {
            Err(self.error(name, result))
        } else {
            Ok(result)
        }
    }

    /// Makes one call whose NULL result is a failure.
    pub(crate) fn call_ptr<T>(
        &self,
        name: &'static str,
        call: impl FnOnce(*mut raw::xc_interface) -> *mut T,
    ) -> Result<NonNull<T>, XenError> {
        let result = self.watch(|| call(self.xch.as_ptr()));
        NonNull::new(result).ok_or_else(|| self.error(name, -1))
    }

    /// Counts the call, and clears what an earlier one left in errno and in the log.
    fn watch<R>(&self, call: impl FnOnce() -> R) -> R {
        self.calls.set(self.calls.get() + 1);
        self.log.take();
        clear_errno();
        call()
    }

    /// The error of the call just made: some functions return -1 and set errno, some return -errno.
    fn error(&self, call: &'static str, result: c_int) -> XenError {
        let errno = if result < -1 { -result } else { last_errno() };
        XenError {
            call,
            errno,
            messages: self.log.take(),
        }
    }
}

impl Drop for Xenctrl {
    fn drop(&mut self) {
        // SAFETY: opened by `open`, closed only here; the logger is dropped after this.
        unsafe { raw::xc_interface_close(self.xch.as_ptr()) };
    }
}

fn last_errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Sets errno to 0, so that a library that fails without setting it does not seem to give an old cause.
fn clear_errno() {
    // SAFETY: __errno_location points to this thread's errno, which is always writable.
    unsafe { *libc::__errno_location() = 0 };
}
