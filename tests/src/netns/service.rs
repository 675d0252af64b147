// SPDX-License-Identifier: GPL-3.0-only
//! Stock services besides nginx: another web server (apache2), a proxy (tinyproxy), Redis, and FTP servers, which open
//! connections themselves in active mode.

use std::fs;
use std::path::Path;

use super::ftp::FtpServer;
use super::process::Running;
use super::recipe::{Place, Recipe};
use super::space::Space;
use super::web::{WebServer, origin};

/// What a server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// nginx, on port 80.
    Web,
    /// apache2, on port 80, without entity tags.
    Apache,
    /// tinyproxy, on port 80.
    Proxy,
    /// Another web server or proxy, on port 80.
    Http(WebServer),
    /// The tests' own origin, on port 80: this program.
    Own(&'static str),
    /// redis-server, on port 6379.
    Redis,
    /// An FTP server, on port 21.
    Ftp(FtpServer),
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
        let (config, program, options, port): (_, _, &[&str], _) = match serves {
            Serves::Http(server) => {
                let process = server.start(space, files, prefix)?;
                return Ok(Self { process });
            }
            Serves::Ftp(server) => {
                let process = server.start(space, files, prefix)?;
                return Ok(Self { process });
            }
            Serves::Own(program) => {
                let mut command = space.command(program);
                command.arg(files);
                let process = Running::start("http-server", command, origin::READY)?;
                return Ok(Self { process });
            }
            Serves::Web | Serves::Proxy => (tinyproxy(), TINYPROXY[0], &TINYPROXY[1..], 80),
            Serves::Apache => {
                let options = &["-D", "FOREGROUND", "-X", "-f"];
                (apache(files, prefix), "apache2", options, 80)
            }
            Serves::Redis => (redis(prefix), "redis-server", &[], 6379),
        };
        fs::write(&path, config).map_err(failed)?;
        let mut command = space.command(program);
        command.args(options).arg(&path);
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

/// One process with threads, so that killing it kills all of it. Two servers make different entity tags of one file.
fn apache(files: &Path, folder: &Path) -> String {
    let (files, folder) = (files.display(), folder.display());
    let module =
        |name: &str| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n");
    let modules: String = ["mpm_event", "authz_core"].map(module).concat();
    format!(
        "ServerRoot {folder}
ServerName web
PidFile {folder}/pid
Listen 80
{modules}User www-data
Group www-data
ThreadsPerChild 64
MaxRequestWorkers 64
ErrorLog {folder}/error.log
DocumentRoot {files}
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 65
FileETag None
<Directory {files}>
Require all granted
</Directory>
"
    )
}

/// How tinyproxy is started.
const TINYPROXY: [&str; 3] = ["tinyproxy", "-d", "-c"];

/// tinyproxy, on port 80.
#[must_use]
pub fn proxy(place: &Place<'_>) -> Recipe {
    Recipe::new(80, place, &TINYPROXY, tinyproxy())
}

fn tinyproxy() -> String {
    "Port 80\nTimeout 600\nLogLevel Warning\nMaxClients 100\nDisableViaHeader Yes\n".to_owned()
}
