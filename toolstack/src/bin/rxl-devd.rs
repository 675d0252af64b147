// SPDX-License-Identifier: GPL-3.0-only
//! The `rxl-devd` binary.

fn main() {}
