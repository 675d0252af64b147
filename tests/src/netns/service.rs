// SPDX-License-Identifier: GPL-3.0-only
//! Stock services besides nginx: a proxy (tinyproxy), FTP servers, which open connections themselves in active mode, and
//! Redis. The FTP servers take anonymous users, who may read the files that are served, and write below `in` if there is
//! such a folder.

use std::fs;
use std::path::Path;

use super::process::Running;
use super::space::Space;

/// What a server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// nginx, on port 80.
    Web,
    /// tinyproxy, on port 80.
    Proxy,
    /// redis-server, on port 6379.
    Redis,
    /// vsftpd, on port 21, with its data connections from port 20.
    Ftp,
    /// pyftpdlib's server, on port 21.
    PyFtp,
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
            Serves::Web | Serves::Proxy => (tinyproxy(), "tinyproxy", 80),
            Serves::Redis => (redis(prefix), "redis-server", 6379),
            Serves::Ftp => (vsftpd(files), "vsftpd", 21),
            // The system's Python, which has what Debian packages.
            Serves::PyFtp => (String::new(), "/usr/bin/python3", 21),
        };
        fs::write(&path, config).map_err(failed)?;
        let mut command = space.command(program);
        match serves {
            Serves::Web | Serves::Proxy => command.args(["-d", "-c"]).arg(&path),
            Serves::Ftp | Serves::Redis => command.arg(&path),
            Serves::PyFtp => command
                .args(["-m", "pyftpdlib", "-p", "21", "-w", "-d"])
                .arg(files),
        };
        let process = Running::probe(program, command, || listens(space, port))?;
        Ok(Self { process })
    }

    /// The process, to watch it and to kill it.
    #[must_use]
    pub const fn process(&self) -> &Running {
        &self.process
    }
}

/// Whether somebody listens on this TCP port of the namespace, without a connection to try it.
#[must_use]
pub fn listens(space: &Space, port: u16) -> bool {
    let sockets = space.run("ss", &["-Hltn", &format!("sport = :{port}")]);
    sockets.is_ok_and(|sockets| !sockets.trim().is_empty())
}

/// Its values are in memory only; a replica gets them over the network.
fn redis(folder: &Path) -> String {
    format!(
        "port 6379\nprotected-mode no\nsave \"\"\nappendonly no\nrepl-diskless-sync-delay 0\ndir {}\n",
        folder.display()
    )
}

fn tinyproxy() -> String {
    "Port 80\nTimeout 600\nLogLevel Warning\nMaxClients 100\nDisableViaHeader Yes\n".to_owned()
}

/// In namespaces of their own, sessions would not be found when the server's namespace is left, and live on.
fn vsftpd(files: &Path) -> String {
    format!(
        "listen=YES
background=NO
anonymous_enable=YES
no_anon_password=YES
write_enable=YES
anon_upload_enable=YES
anon_umask=022
anon_root={}
connect_from_port_20=YES
seccomp_sandbox=NO
isolate_network=NO
secure_chroot_dir=/var/run/vsftpd/empty
",
        files.display()
    )
}
