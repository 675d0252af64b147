// SPDX-License-Identifier: GPL-3.0-only
//! How a stock server is started: here in a namespace, in the lab in a guest. Each is one program that stays in the foreground.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::process::Running;
use super::service::listens;
use super::space::Space;

/// Where a server finds what it needs.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The files that it serves.
    pub files: &'a Path,
    /// Its own folder.
    pub prefix: &'a Path,
    /// Where the FTP servers are that cannot be installed beside others.
    pub beside: &'a Path,
    /// Its addresses, with spaces between them.
    pub addresses: &'a str,
}

/// How a server is started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipe {
    /// Files of its own folder: their names, and what is in them.
    pub files: Vec<(&'static str, String)>,
    /// What is run to its end before the server, if anything.
    pub before: Vec<String>,
    /// The server.
    pub command: Vec<String>,
    /// Where it listens.
    pub port: u16,
    /// Everybody may write to its folder: it does so itself after it has become another user.
    pub open: bool,
}

impl Recipe {
    /// A server that is started by these words and the path of its configuration, its folder's file `conf`.
    #[must_use]
    pub fn new(port: u16, place: &Place<'_>, words: &[&str], config: String) -> Self {
        let mut command: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        command.push(place.prefix.join("conf").display().to_string());
        Self {
            files: vec![("conf", config)],
            before: Vec::new(),
            command,
            port,
            open: false,
        }
    }

    /// Starts the server in `space` and waits until it listens. `prefix`: its own folder, which is there.
    ///
    /// # Errors
    /// It is not installed or unpacked, or did not start: what it said.
    pub fn start(&self, space: &Space, prefix: &Path) -> Result<Running, String> {
        let failed = |error| format!("cannot write below {}: {error}", prefix.display());
        if self.open {
            fs::set_permissions(prefix, fs::Permissions::from_mode(0o777)).map_err(failed)?;
        }
        for (name, content) in &self.files {
            fs::write(prefix.join(name), content).map_err(failed)?;
        }
        if let [program, args @ ..] = &self.before[..] {
            let made = Command::new(program).args(args).output();
            let made = made.map_err(|error| format!("cannot start {program}: {error}"))?;
            if !made.status.success() {
                let said = String::from_utf8_lossy(&made.stderr);
                return Err(format!("{program}: {said}"));
            }
        }
        let [program, args @ ..] = &self.command[..] else {
            return Err("no program".to_owned());
        };
        let mut command = space.command(program);
        command.args(args);
        Running::probe(program, command, || listens(space, self.port))
    }
}
