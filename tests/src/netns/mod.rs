// SPDX-License-Identifier: GPL-3.0-only
//! The failover without Xen: network namespaces instead of domains, processes instead of kernels.
//!
//! Who lives here: namespaces (`space`), child processes (`process`), the stock web server (`nginx`), the logger's
//! daemon (`logger`), how a server ends (`victim`), all of them together (`topology`), a client of our own (`http`), and
//! the demo (`demo`). Who may call in: the tests, the benches and the demo. Everything is removed when it is dropped,
//! also in a panic.

pub mod demo;
pub mod http;
pub mod logger;
pub mod nginx;
pub mod process;
pub mod random;
pub mod space;
pub mod topology;
pub mod victim;
