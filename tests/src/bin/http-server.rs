// SPDX-License-Identifier: GPL-3.0-only
//! The tests' own origin as a server by itself: `http-server FOLDER` serves the files there.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("http-server: give the folder whose files are to be served");
        return ExitCode::from(2);
    };
    match rxl_tests::netns::web::origin::run(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("http-server: {error}");
            ExitCode::FAILURE
        }
    }
}
