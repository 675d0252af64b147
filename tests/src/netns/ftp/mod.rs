// SPDX-License-Identifier: GPL-3.0-only
//! Stock FTP servers, which listen at both addresses. Whoever logs in as [`FtpServer::login`] says may read the files that
//! are served, and write below `in` if there is such a folder. `client`: stock clients; `script`: clients that pause.
//!
//! Debian lets only one of vsftpd, proftpd and pure-ftpd be installed: the last two are unpacked below `target`
//! (`unpack_packages` in `scripts/lib/packages.sh`).

pub mod client;
pub mod script;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fttcp::control::{GroupSpec, ServiceSpec};

use super::layout::Layout;
use super::process::Running;
use super::service::{Serves, listens};
use super::space::Space;
use super::topology::{SERVER, SERVER6};
use crate::lab::project;

/// A server on port 21.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FtpServer {
    /// vsftpd, with its data connections in active mode from port 20.
    Vsftpd,
    /// The server of pyftpdlib, in one process.
    Pyftpdlib,
    /// proftpd, with its data connections in active mode from port 20.
    Proftpd,
    /// pure-ftpd, which puts a file in its place when all of it is there.
    PureFtpd,
}

/// The password of [`FtpServer::PureFtpd`]'s only user, which is its name.
const HASH: &str =
    "$6$rxl$J0XsM2x7G4WcszglT2Uo2eOUKtfD3YkOMbIdIZjVLOBqG0iSsPLfRsK7szXtEwI5bMWo2bQnNxNoeGGGTEgS20";

/// A house with two such servers, and room for all that their clients store.
#[must_use]
pub fn layout([first, second]: [FtpServer; 2]) -> Layout {
    Layout {
        serves: Serves::Ftp(first),
        second: Some(Serves::Ftp(second)),
        group: Some(GroupSpec {
            services: vec![ServiceSpec {
                buffer_bytes: 16 << 20,
                ..ServiceSpec::new(21, "ftp")
            }],
            ..GroupSpec::default()
        }),
        ..Layout::default()
    }
}

impl FtpServer {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Vsftpd, Self::Pyftpdlib, Self::Proftpd, Self::PureFtpd];

    /// Name and password of a user who may write. pure-ftpd lets no anonymous user write over a file.
    #[must_use]
    pub const fn login(self) -> (&'static str, &'static str) {
        match self {
            Self::Vsftpd | Self::Pyftpdlib | Self::Proftpd => ("anonymous", "rxl"),
            Self::PureFtpd => ("rxl", "rxl"),
        }
    }

    /// Starts it in `space` and waits until it listens. `prefix` is its own folder, which is there.
    ///
    /// # Errors
    /// It is not installed or unpacked, or did not start: what it said.
    pub fn start(self, space: &Space, files: &Path, prefix: &Path) -> Result<Running, String> {
        let path = prefix.join("conf");
        let write = |config: String| {
            fs::write(&path, config)
                .map_err(|error| format!("cannot write {}: {error}", path.display()))
        };
        let (program, command) = match self {
            Self::Vsftpd => {
                write(vsftpd(files))?;
                let mut command = space.command("vsftpd");
                command.arg(&path);
                ("vsftpd", command)
            }
            Self::Pyftpdlib => {
                // The system's Python, which has what Debian packages.
                let mut command = space.command("/usr/bin/python3");
                // At `::`, Linux serves IPv4 as well.
                let args = ["-m", "pyftpdlib", "-i", "::", "-p", "21", "-w", "-d"];
                command.args(args).arg(files);
                ("pyftpdlib", command)
            }
            Self::Proftpd => {
                write(proftpd(files, prefix))?;
                let mut command = space.command(&unpacked("usr/sbin/proftpd")?);
                command.args(["-n", "-q", "-c"]).arg(&path);
                ("proftpd", command)
            }
            Self::PureFtpd => {
                let users = prefix.join("users");
                // User and group 65534 are `nobody`. The rest are limits that there are none of.
                write(format!(
                    "rxl:{HASH}:65534:65534::{}/./::::::::::::\n",
                    files.display()
                ))?;
                let mut make = Command::new(unpacked("usr/bin/pure-pw")?);
                make.arg("mkdb").arg(&users).arg("-f").arg(&path);
                let made = make.output().map_err(|error| error.to_string())?;
                if !made.status.success() {
                    return Err(format!(
                        "pure-pw: {}",
                        String::from_utf8_lossy(&made.stderr)
                    ));
                }
                let mut command = space.command(&unpacked("usr/sbin/pure-ftpd")?);
                command.args(["-S", "21", "-E", "-H", "-c", "500", "-C", "500"]);
                command.arg("-l").arg(format!("puredb:{}", users.display()));
                command.arg("-g").arg(prefix.join("pid"));
                ("pure-ftpd", command)
            }
        };
        Running::probe(program, command, || listens(space, 21))
    }
}

/// The path of a program that was unpacked.
fn unpacked(program: &str) -> Result<String, String> {
    let path: PathBuf = project().join("target/ftp-servers").join(program);
    if path.exists() {
        return Ok(path.display().to_string());
    }
    Err(format!(
        "{} is not there; scripts/test unpacks it",
        path.display()
    ))
}

/// In namespaces of their own, sessions would not be found when the server's namespace is left, and live on. A session that
/// outlives its server would keep its lock on a file that both servers share.
fn vsftpd(files: &Path) -> String {
    format!(
        "listen_ipv6=YES
background=NO
anonymous_enable=YES
no_anon_password=YES
write_enable=YES
anon_upload_enable=YES
anon_mkdir_write_enable=YES
anon_other_write_enable=YES
lock_upload_files=NO
anon_umask=022
anon_root={}
connect_from_port_20=YES
seccomp_sandbox=NO
isolate_network=NO
max_per_ip=0
secure_chroot_dir=/var/run/vsftpd/empty
",
        files.display()
    )
}

/// As Debian configures it, but it writes only below its own folder, and asks nobody for its own address.
fn proftpd(files: &Path, prefix: &Path) -> String {
    let (files, prefix) = (files.display(), prefix.display());
    format!(
        "ServerName files
ServerType standalone
DefaultServer on
DefaultAddress {SERVER} {SERVER6}
Port 21
User nobody
Group nogroup
UseReverseDNS off
RequireValidShell off
AuthPAM off
DelayEngine off
WtmpLog off
TransferLog none
SystemLog {prefix}/log
ScoreboardFile {prefix}/scoreboard
PidFile {prefix}/pid
AllowOverwrite on
AllowRetrieveRestart on
AllowStoreRestart on
<Anonymous {files}>
User ftp
Group nogroup
UserAlias anonymous ftp
</Anonymous>
"
    )
}
