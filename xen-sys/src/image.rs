// SPDX-License-Identifier: GPL-3.0-only
//! libxenguest's images of domains: the memory and the processors of a suspended domain as a stream, and back.
//!
//! The stream is libxc's migration stream, version 3 (`docs/specs/libxc-migration-stream.pandoc` of Xen): it has neither a
//! configuration nor devices, which are the toolstack's.

use std::ffi::{c_int, c_uint, c_ulong, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::ctl::Xenctrl;
use crate::dom::{DomSettings, Frames};
use crate::error::XenError;
use crate::raw;

/// There is no channel back: only a stream that is replicated continuously has one.
const NO_CHANNEL_BACK: c_int = -1;

impl Xenctrl {
    /// Writes the image of a domain that has suspended itself (`SHUTDOWN_suspend`) to `to`; the domain stays as it is.
    ///
    /// # Errors
    /// `EINVAL`: the domain is not suspended. `ENOSPC`: `to` has no room.
    pub fn save_domain(&self, domid: u16, to: BorrowedFd<'_>) -> Result<(), XenError> {
        let mut callbacks = raw::save_callbacks {
            suspend: Some(is_suspended),
            switch_qemu_logdirty: Some(no_device_model),
            ..Default::default()
        };
        self.done("xc_domain_save", |xch| {
            // SAFETY: the descriptor is open during the call; the callbacks live as long as the call and ignore their data;
            // those that are missing are for live and for replicated streams, which this is not.
            unsafe {
                raw::xc_domain_save(
                    xch,
                    to.as_raw_fd(),
                    domid.into(),
                    0,
                    &raw mut callbacks,
                    raw::XC_STREAM_PLAIN,
                    NO_CHANNEL_BACK,
                )
            }
        })
    }

    /// Fills an empty domain from an image. Returns the frames of the two rings, as xenstored and xenconsoled want them; the
    /// domain is ready to be unpaused.
    ///
    /// # Errors
    /// `ENOMEM`: the host has not enough memory. Others: the image is damaged, or of a domain of another kind.
    pub fn restore_domain(
        &self,
        domid: u16,
        settings: &DomSettings,
        from: BorrowedFd<'_>,
    ) -> Result<Frames, XenError> {
        let mut callbacks = raw::restore_callbacks {
            static_data_done: Some(has_static_data),
            ..Default::default()
        };
        let (mut store, mut console): (c_ulong, c_ulong) = (0, 0);
        self.done("xc_domain_restore", |xch| {
            // SAFETY: the descriptor is open during the call; the callbacks live as long as the call and ignore their data;
            // the two frames are places that the call fills.
            unsafe {
                raw::xc_domain_restore(
                    xch,
                    from.as_raw_fd(),
                    domid.into(),
                    settings.store_port,
                    &raw mut store,
                    settings.store_domid.into(),
                    settings.console_port,
                    &raw mut console,
                    settings.console_domid.into(),
                    raw::XC_STREAM_PLAIN,
                    &raw mut callbacks,
                    NO_CHANNEL_BACK,
                )
            }
        })?;
        Ok(Frames { store, console })
    }
}

/// The domain was suspended before: libxenguest looks for itself.
extern "C" fn is_suspended(_: *mut c_void) -> c_int {
    1
}

/// Dirty pages of a device model are not logged: there is none.
extern "C" fn no_device_model(_: u32, _: c_uint, _: *mut c_void) -> c_int {
    0
}

/// Refuses a stream that lacks the CPUID or MSR policy: Xen 4.17 writes both.
extern "C" fn has_static_data(missing: c_uint, _: *mut c_void) -> c_int {
    if missing == 0 { 0 } else { -1 }
}
