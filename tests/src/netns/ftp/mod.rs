// SPDX-License-Identifier: GPL-3.0-only
//! Stock FTP servers, which listen at both addresses. Whoever logs in as [`FtpServer::login`] says may read the files that
//! are served, and write below `in` if there is such a folder. `client`: stock clients; `script`: clients that pause.
//!
//! Debian lets only one of vsftpd, proftpd and pure-ftpd be installed: the last two are unpacked below `target`
//! (`unpack_packages` in `scripts/lib/packages.sh`).

pub mod client;
pub mod script;

use std::path::Path;

use fttcp::control::{GroupSpec, ServiceSpec};

use super::layout::Layout;
use super::process::Running;
use super::recipe::{Place, Recipe};
use super::service::Serves;
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

    /// Whether a client that ends a transfer early hears of it, as lftp's `pget` must. pure-ftpd answers no ABOR behind Telnet's signs
    /// when the transfer is over, and says 150 for its end when the data connection was closed: lftp waits until its time is up,
    /// whether there is a logger or not.
    #[must_use]
    pub const fn lets_end(self) -> bool {
        !matches!(self, Self::PureFtpd)
    }

    /// Starts it in `space` and waits until it listens. `prefix` is its own folder, which is there.
    ///
    /// # Errors
    /// It is not installed or unpacked, or did not start: what it said.
    pub fn start(self, space: &Space, files: &Path, prefix: &Path) -> Result<Running, String> {
        let place = Place {
            files,
            prefix,
            beside: &project().join("target/ftp-servers"),
            addresses: &format!("{SERVER} {SERVER6}"),
        };
        let recipe = self.recipe(&place);
        recipe.start(space, prefix).map_err(|error| {
            format!("{error} (what is missing below target, scripts/test unpacks)")
        })
    }

    /// How it is started.
    #[must_use]
    pub fn recipe(self, place: &Place<'_>) -> Recipe {
        let files = place.files.display();
        let own = |name: &str| place.prefix.join(name).display().to_string();
        let beside = |program: &str| place.beside.join(program).display().to_string();
        match self {
            Self::Vsftpd => Recipe::new(21, place, &["vsftpd"], vsftpd(place.files)),
            Self::Pyftpdlib => {
                // The system's Python, which has what Debian packages. At `::`, Linux serves IPv4 as well.
                let words = "/usr/bin/python3 -m pyftpdlib -i :: -p 21 -w -d";
                let mut command: Vec<String> = words.split(' ').map(str::to_owned).collect();
                command.push(files.to_string());
                Recipe {
                    command,
                    port: 21,
                    ..Recipe::default()
                }
            }
            Self::Proftpd => {
                let program = beside("usr/sbin/proftpd");
                Recipe::new(21, place, &[&program, "-n", "-q", "-c"], proftpd(place))
            }
            Self::PureFtpd => {
                // User and group 65534 are `nobody`. The rest are limits that there are none of.
                let users = format!("rxl:{HASH}:65534:65534::{files}/./::::::::::::\n");
                let (make, database) = (beside("usr/bin/pure-pw"), own("users"));
                let before = [&make, "mkdb", &database, "-f", &own("conf")];
                let (program, login) = (beside("usr/sbin/pure-ftpd"), format!("puredb:{database}"));
                let command = [&program, "-S", "21", "-E", "-H", "-c", "500", "-C", "500"];
                let more = ["-l", &login, "-g", &own("pid")];
                Recipe {
                    files: vec![("conf", users)],
                    before: before.map(str::to_owned).to_vec(),
                    command: command
                        .iter()
                        .chain(&more)
                        .map(|it| (*it).to_owned())
                        .collect(),
                    port: 21,
                    open: false,
                }
            }
        }
    }
}

/// In namespaces of their own, sessions would not be found when the server's namespace is left, and live on. A session that
/// outlives its server would keep its lock on a file that both servers share.
///
/// The range of its passive ports is as small as behind a firewall: the same port comes again soon, and while it is in use.
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
pasv_min_port=20000
pasv_max_port=20039
secure_chroot_dir=/var/run/vsftpd/empty
",
        files.display()
    )
}

/// As Debian configures it, but it writes only below its own folder, and asks nobody for its own address.
fn proftpd(place: &Place<'_>) -> String {
    let (files, prefix) = (place.files.display(), place.prefix.display());
    let addresses = place.addresses;
    format!(
        "ServerName files
ServerType standalone
DefaultServer on
DefaultAddress {addresses}
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
