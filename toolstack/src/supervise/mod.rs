// SPDX-License-Identifier: GPL-3.0-only
//! The supervisor: it learns of each domain's end and does what is to be done, fast.
//!
//! Who lives here: `core` (what is decided, sans-IO) with `events`; `daemon`, `server`, `work`, `members` and `images` (the threads around it)
//! over `backend` (the host, real or simulated); `group_file` (a group as an operator declares it) and `plan` (what comes of
//! it); `proto` (what `rxl` and `rxld` say to each other) and `client` (how
//! `rxl` says it). Who may call in: `cli`, and `rxld`.

pub mod backend;
pub mod care;
pub mod client;
pub mod core;
pub mod daemon;
mod events;
pub mod group_file;
mod images;
mod members;
pub mod plan;
pub mod proto;
mod refresh;
mod server;
mod upgrades;
mod work;
