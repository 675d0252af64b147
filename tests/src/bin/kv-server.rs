// SPDX-License-Identifier: GPL-3.0-only
//! The kv demo's server: `kv-server FOLDER` keeps its values there.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("kv-server: give the folder in which the values are to be kept");
        return ExitCode::from(2);
    };
    match rxl_tests::netns::kv::run(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kv-server: {error}");
            ExitCode::FAILURE
        }
    }
}
