// SPDX-License-Identifier: GPL-3.0-only
//! The rxl toolstack: what runs in Dom0 and manages Xen domains.
//!
//! Data flows downhill: `cli` -> `domain` and `device` steps -> [`hypervisor`] and [`store`] -> `xen-sys`.
//! Nothing here knows TCP; the logger is reached through `fttcp::control` only.
#![deny(unsafe_code)]

pub mod cli;
pub mod config;
pub mod devd;
pub mod device;
pub mod domain;
pub mod error;
pub mod hypervisor;
pub mod ids;
pub mod store;
pub mod supervise;
