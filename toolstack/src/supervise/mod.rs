// SPDX-License-Identifier: GPL-3.0-only
//! The supervisor: it learns of each domain's end and does what is to be done, fast.
//!
//! Who lives here: `proto` (what `rxl` and `rxld` say to each other), `client` (how `rxl` says it). Who may call in: `cli`, and
//! `rxld`.

pub mod client;
pub mod proto;
