// SPDX-License-Identifier: GPL-3.0-only
//! The failover without Xen: network namespaces instead of domains, processes instead of kernels.
//!
//! Who lives here: namespaces (`space`), child processes (`process`), the stock web server (`nginx`) and other stock services
//! (`service`; FTP's in `ftp`; how they are started: `recipe`), the logger's daemon (`logger`), one server (`server`) and how it ends (`victim`), a bad line
//! (`line`), all of them together (`topology`, as `layout` says), a client of our own (`http`), one behind a router (`far`), many clients of every kind
//! while servers die (`storm`), an attacker (`attack`), clients that need not make sense (`talk`), servers under the north side wrap (`chain`), their disks (`disk`), a server for definitions (`kv`), more web servers, an origin and
//! stock clients (`web`), and the demo (`demo`). Who may call in: the tests, the benches and the demo. Everything is removed
//! when it is dropped, also in a panic.

pub mod attack;
pub mod bpf_folder;
pub mod chain;
pub mod demo;
pub mod disk;
pub mod far;
pub mod folder;
pub mod ftp;
pub mod http;
pub mod kv;
pub mod layout;
pub mod line;
pub mod logger;
pub mod nginx;
pub mod process;
pub mod random;
pub mod recipe;
mod server;
pub mod service;
pub mod space;
pub mod storm;
pub mod talk;
pub mod topology;
pub mod victim;
pub mod web;
