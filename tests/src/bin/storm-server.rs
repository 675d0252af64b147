// SPDX-License-Identifier: GPL-3.0-only
//! The server of the storm tests: listens in the namespace in which it is started.

use std::process::ExitCode;

fn main() -> ExitCode {
    match rxl_tests::netns::storm::server::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("storm-server: {error}");
            ExitCode::FAILURE
        }
    }
}
