// SPDX-License-Identifier: GPL-3.0-only
//! Stock servers in guests, with their files, and an origin in Dom0 behind those that are proxies.
//!
//! Who lives here: `stock`, the servers; `house`, what Dom0 has for one. Who may call in: the tests and benches of services on
//! real Xen.

pub mod house;
pub mod stock;
