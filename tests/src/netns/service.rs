// SPDX-License-Identifier: GPL-3.0-only
//! Stock services that open connections themselves: a proxy (tinyproxy), and FTP in active mode (vsftpd).

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::process::Running;
use super::space::Space;

/// How long a program may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// nginx, on port 80.
    Web,
    /// tinyproxy, on port 80.
    Proxy,
    /// vsftpd, on port 21, with its data connections from port 20.
    Ftp,
}

/// A running service.
#[derive(Debug)]
pub struct Service {
    process: Running,
}

impl Service {
    /// Starts it in `space` and waits until it listens. `prefix` is its own folder, which is made.
    ///
    /// # Errors
    /// It is not installed, or did not start: what it said.
    pub fn start(
        serves: Serves,
        space: &Space,
        files: &Path,
        prefix: &Path,
    ) -> Result<Self, String> {
        let failed = |error| format!("cannot write below {}: {error}", prefix.display());
        fs::create_dir_all(prefix).map_err(failed)?;
        let path = prefix.join("conf");
        let (config, program, port) = match serves {
            Serves::Web | Serves::Proxy => (tinyproxy(), "tinyproxy -d -c", 80),
            Serves::Ftp => (vsftpd(files), "vsftpd", 21),
        };
        fs::write(&path, config).map_err(failed)?;
        let mut command = space.command("sh");
        let script = format!("echo started >&2; exec {program} {} >&2", path.display());
        command.args(["-c", &script]);
        let process = Running::start(program, command, "started")?;
        let start = Instant::now();
        while !listens(space, port)? {
            if start.elapsed() > PATIENCE {
                return Err(format!("{program} does not listen:\n{}", process.log()));
            }
        }
        Ok(Self { process })
    }

    /// The process, to watch it and to kill it.
    #[must_use]
    pub const fn process(&self) -> &Running {
        &self.process
    }
}

/// Whether somebody listens on this TCP port of the namespace, without a connection to try it.
fn listens(space: &Space, port: u16) -> Result<bool, String> {
    let sockets = space.run("ss", &["-Hltn", &format!("sport = :{port}")])?;
    Ok(!sockets.trim().is_empty())
}

fn tinyproxy() -> String {
    "Port 80\nTimeout 600\nLogLevel Warning\nMaxClients 100\nDisableViaHeader Yes\n".to_owned()
}

fn vsftpd(files: &Path) -> String {
    format!(
        "listen=YES
background=NO
anonymous_enable=YES
anon_root={}
connect_from_port_20=YES
seccomp_sandbox=NO
secure_chroot_dir=/var/run/vsftpd/empty
",
        files.display()
    )
}
