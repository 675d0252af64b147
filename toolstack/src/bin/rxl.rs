// SPDX-License-Identifier: GPL-3.0-only
//! The `rxl` command. All of it is in [`toolstack::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    toolstack::cli::run(std::env::args_os())
}
