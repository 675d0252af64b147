// SPDX-License-Identifier: GPL-3.0-only
//! `rxl-drill`, which `rxl drill` starts. The command line is `cli`'s.
#![deny(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    rxl_drills::cli::main()
}
