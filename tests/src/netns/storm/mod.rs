// SPDX-License-Identifier: GPL-3.0-only
//! Many clients of every kind while one server after the other ends: what is asked of a server and how it answers
//! (`protocol`, `server`), the clients (`session`, `http`), what they tell (`tally`), and who ends the servers
//! (`driver`).
//!
//! The server is of our own because it must do what a web server does not: read slowly, echo, answer after a half-close.
//! It is deterministic given its client's bytes, as a service without a plug-in has to be.

pub mod driver;
mod evidence;
mod http;
pub mod protocol;
pub mod server;
mod session;
mod shared;
pub mod tally;
mod wire;

/// The server says this when it listens.
pub const READY: &str = "storm-server is listening";
/// Its port.
pub const PORT: u16 = 7;
