// SPDX-License-Identifier: GPL-3.0-only
//! Fault-tolerant TCP (FT-TCP): a failed server is replaced without its clients' connections breaking.
//!
//! Protocol logic is sans-IO: `engine` and `conn` take frames, commands and the time, and give frames and reports;
//! `datapath` and the `ftlogger` daemon do the I/O. Nothing here knows Xen.
#![deny(unsafe_code)]

mod bytes;
mod conn;
pub mod control;
pub mod daemon;
pub mod datapath;
pub mod engine;
pub mod flow;
pub mod frame;
pub mod journal;
mod machine;
mod recovery;
pub mod service;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod stable;
pub mod wire;
