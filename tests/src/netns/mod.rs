// SPDX-License-Identifier: GPL-3.0-only
//! The failover without Xen: network namespaces instead of domains, processes instead of kernels.
//!
//! Who lives here: namespaces (`space`), child processes (`process`), the stock web server (`nginx`) and other stock services (`service`), the logger's
//! daemon (`logger`), one server (`server`) and how it ends (`victim`), a bad line (`line`), all of them together
//! (`topology`, as `layout` says), a client of our own (`http`), many clients of every kind while servers die (`storm`),
//! an attacker (`attack`), a server for definitions (`kv`), and the demo (`demo`). Who may call in: the tests, the benches and the demo. Everything is removed when it is
//! dropped, also in a panic.

pub mod attack;
pub mod bpf_folder;
pub mod demo;
pub mod folder;
pub mod http;
pub mod kv;
pub mod layout;
pub mod line;
pub mod logger;
pub mod nginx;
pub mod process;
pub mod random;
mod server;
pub mod service;
pub mod space;
pub mod storm;
pub mod topology;
pub mod victim;
