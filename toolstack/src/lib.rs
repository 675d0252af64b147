// SPDX-License-Identifier: GPL-3.0-only
//! The rxl toolstack: what runs in Dom0 and manages Xen domains.
//!
//! Data flows downhill: `cli` -> `domain` and `device` steps -> [`hypervisor`] and [`store`] -> `xen-sys`.
//! Nothing here knows TCP; the logger is reached through `fttcp::control` only.
//!
//! Without the feature `host` only [`store`] and what it needs, and the words of [`guest`], are there: what a program
//! inside a guest has a use for.
#![deny(unsafe_code)]

#[cfg(feature = "host")]
pub mod cli;
#[cfg(feature = "host")]
pub mod config;
#[cfg(feature = "host")]
pub mod devd;
#[cfg(feature = "host")]
pub mod device;
#[cfg(feature = "host")]
pub mod domain;
pub mod error;
pub mod guest;
#[cfg(feature = "host")]
pub mod hypervisor;
pub mod ids;
pub mod store;
#[cfg(feature = "host")]
pub mod supervise;
