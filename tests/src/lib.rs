// SPDX-License-Identifier: GPL-3.0-only
//! End-to-end tests of rxl: what drives namespaces and the lab, and what reports.
#![deny(unsafe_code)]

pub mod bench;
pub mod demo;
pub mod lab;
pub mod netns;
