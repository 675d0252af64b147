// SPDX-License-Identifier: GPL-3.0-only
//! The `rxld` binary.

fn main() {}
