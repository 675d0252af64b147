// SPDX-License-Identifier: GPL-3.0-only
//! `rxl drill`: hands its words over to `rxl-drill`, which brings clients and servers of its own and needs no Xen.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::failure::Failure;
use super::verbs::Options;
use crate::error::{Code, Error};

/// The program that does it.
const PROGRAM: &str = "rxl-drill";

/// Becomes that program: the one beside this one, or else the one in PATH. Comes back only with an error.
pub(super) fn run(words: &[OsString], options: &Options) -> Result<(), Failure> {
    let own = std::env::current_exe().unwrap_or_default();
    let beside = own.with_file_name(PROGRAM);
    let error = match start(&beside, words, options) {
        error if error.kind() == io::ErrorKind::NotFound => {
            start(Path::new(PROGRAM), words, options)
        }
        error => error,
    };
    Err(failure(&error, &own).into())
}

fn start(program: &Path, words: &[OsString], options: &Options) -> io::Error {
    let json = options.json.then_some("--json");
    Command::new(program).args(json).args(words).exec()
}

fn failure(error: &io::Error, own: &Path) -> Error {
    let dir = own.parent().unwrap_or(Path::new("/"));
    if error.kind() != io::ErrorKind::NotFound {
        return Error::new(Code::System, "be started", PROGRAM, error);
    }
    let cause = format!("it is neither in {} nor in PATH", dir.display());
    Error::new(Code::NotFound, "be started", PROGRAM, cause).hint(format!(
        "build it with `cargo build --release -p rxl-drills -p fttcp`, and put rxl-drill and ftlogger into {}",
        dir.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    // exec(2) itself is not tried here: it gives SIGPIPE its default action, also when it fails.

    #[test]
    fn missing_program_is_told_with_what_to_do() {
        let told = failure(
            &io::ErrorKind::NotFound.into(),
            Path::new("/usr/local/bin/rxl"),
        );
        assert_eq!(told.code, Code::NotFound);
        assert_eq!(
            told.to_string(),
            "rxl-drill: cannot be started: it is neither in /usr/local/bin nor in PATH\n  hint: build it with \
             `cargo build --release -p rxl-drills -p fttcp`, and put rxl-drill and ftlogger into /usr/local/bin"
        );
    }

    #[test]
    fn program_that_does_not_start_is_told_as_the_system_tells_it() {
        let error = io::Error::from(io::ErrorKind::PermissionDenied);
        let told = failure(&error, Path::new("/usr/local/bin/rxl"));
        assert_eq!(
            (told.code, told.cause.as_str()),
            (Code::System, "permission denied")
        );
    }
}
