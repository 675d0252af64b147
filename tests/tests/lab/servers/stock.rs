// SPDX-License-Identifier: GPL-3.0-only
//! The servers: how each is started in its guest, what the group calls it, and who asks it.

use std::path::Path;
use std::process::Command;

use rxl_tests::netns::ftp::FtpServer;
use rxl_tests::netns::ftp::client::{Client as FtpClient, Errand, Family, Mode};
use rxl_tests::netns::recipe::{Place, Recipe};
use rxl_tests::netns::topology::SERVER;
use rxl_tests::netns::web::client::{Client as WebClient, Job, Way};
use rxl_tests::netns::web::{ALIVE, REVERSE, WebServer};
use rxl_tests::netns::{nginx, service};

/// For how many seconds nothing may come to a client: everything is slow in emulation.
const SILENCE: u32 = 120;
/// How often `ab` asks in a round.
const ASKED: u32 = 100;
/// Files that are fetched by HTTP, and their lengths. `ab` takes the first.
pub(super) const FILES: [(&str, u32); 3] = [
    ("small", 30_000),
    ("middle", 1_000_000),
    ("large", 8_000_000),
];
/// The file that is fetched by FTP, and its length.
pub(super) const DOWN: (&str, u32) = ("down", 8_000_000);
/// Of the file that is stored by FTP.
pub(super) const UP: u32 = 1_000_000;
/// What is fetched as a folder by FTP: names below `tree`, and lengths.
pub(super) const TREE: [(&str, u32); 3] = [
    ("tree/none", 0),
    ("tree/one", 200_000),
    ("tree/two", 40_000),
];
/// The package of the repository, its name there and as apt keeps it, and its length.
pub(super) const PACKAGE: (&str, &str, u32) = ("repo/big.deb", "big_1_all.deb", 1_500_000);
/// The number of a client's round, in the names of what it stores.
pub(super) const ROUND: &str = "@ROUND@";

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stock {
    /// nginx, which has the files.
    Nginx,
    /// nginx before an origin.
    NginxProxy,
    Apache,
    /// Before an origin.
    Haproxy,
    Squid,
    Tinyproxy,
    Ftp(FtpServer),
}

impl Stock {
    pub(super) const ALL: [Self; 10] = [
        Self::Ftp(FtpServer::Vsftpd),
        Self::Ftp(FtpServer::Proftpd),
        Self::Ftp(FtpServer::PureFtpd),
        Self::Ftp(FtpServer::Pyftpdlib),
        Self::Nginx,
        Self::NginxProxy,
        Self::Apache,
        Self::Haproxy,
        Self::Squid,
        Self::Tinyproxy,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::NginxProxy => "nginx-proxy",
            Self::Apache => "apache",
            Self::Haproxy => "haproxy",
            Self::Squid => "squid",
            Self::Tinyproxy => "tinyproxy",
            Self::Ftp(FtpServer::Vsftpd) => "vsftpd",
            Self::Ftp(FtpServer::Proftpd) => "proftpd",
            Self::Ftp(FtpServer::PureFtpd) => "pure-ftpd",
            Self::Ftp(FtpServer::Pyftpdlib) => "pyftpdlib",
        }
    }

    /// How it is started, with the folders of its guest.
    pub(super) fn recipe(self) -> Recipe {
        let place = Place {
            files: Path::new("/data/files"),
            prefix: Path::new("/run/server"),
            beside: Path::new("/opt/ftp-servers"),
            addresses: SERVER,
        };
        match self {
            Self::Nginx => nginx::recipe(80, &place, ""),
            Self::NginxProxy => nginx::recipe(80, &place, REVERSE),
            Self::Apache => WebServer::Apache.recipe(&place),
            Self::Haproxy => WebServer::Haproxy.recipe(&place),
            Self::Squid => WebServer::Squid.recipe(&place),
            Self::Tinyproxy => service::proxy(&place),
            Self::Ftp(server) => server.recipe(&place),
        }
    }

    /// What its agent asks it for, as `rxl-guest --probe` has it.
    pub(super) fn probe(self) -> String {
        match self {
            Self::Ftp(_) => "greet:21".to_owned(),
            Self::Haproxy => format!("http:{}{ALIVE}", self.recipe().port),
            _ => format!("http:{}/", self.recipe().port),
        }
    }

    /// Whether files are stored there.
    pub(super) const fn stores(self) -> bool {
        matches!(self, Self::Ftp(_))
    }

    const fn way(self) -> Way {
        match self {
            Self::NginxProxy | Self::Haproxy => Way::Reverse,
            Self::Squid => Way::Proxy,
            Self::Tinyproxy => Way::ClosingProxy,
            Self::Nginx | Self::Apache | Self::Ftp(_) => Way::Server,
        }
    }

    /// Whether the files are at an origin behind it.
    pub(super) fn has_origin(self) -> bool {
        self.way() != Way::Server
    }

    /// Who asks it.
    pub(super) fn clients(self) -> Vec<Visitor> {
        let Self::Ftp(server) = self else {
            let mut all = vec![
                ("curl", WebClient::Curl),
                ("wget", WebClient::Wget),
                ("aria2", WebClient::Aria),
                ("requests", WebClient::Requests),
                ("ab", WebClient::Ab),
            ];
            if matches!(self.way(), Way::Proxy | Way::ClosingProxy) {
                all.push(("apt", WebClient::Apt));
            }
            let told = |(name, client)| fetches(self.way(), name, client);
            return all.into_iter().map(told).collect();
        };
        let all = [
            ("curl", FtpClient::Curl, Mode::Passive),
            ("lftp", FtpClient::Lftp, Mode::Passive),
            ("lftp-many", FtpClient::LftpMany, Mode::Passive),
            ("wget", FtpClient::Wget, Mode::Passive),
            ("ftplib", FtpClient::Python, Mode::Passive),
            ("curl-active", FtpClient::Curl, Mode::Active),
            ("lftp-active", FtpClient::Lftp, Mode::Active),
            ("ftplib-active", FtpClient::Python, Mode::Active),
        ];
        all.map(|(name, client, mode)| transfers(server, name, client, mode))
            .into()
    }
}

/// A client.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) name: &'static str,
    /// What it does in a round, for a shell.
    pub(super) round: String,
    /// What it fetches, and the names that this then has in its folder `out`.
    pub(super) fetches: Vec<(&'static str, &'static str)>,
    /// It stores `in/NAME-ROUND`.
    pub(super) stores: bool,
}

/// The folder for what a client fetches.
fn out(name: &str) -> String {
    format!("/data/clients/{name}/out")
}

fn fetches(way: Way, name: &'static str, client: WebClient) -> Visitor {
    let files = FILES.map(|(file, _)| file.to_owned());
    let out = out(name);
    let job = Job {
        way,
        out: Path::new(&out),
        round: ROUND,
        files: &files,
        silence: SILENCE,
        requests: ASKED,
    };
    let mut command = Command::new("timeout");
    client.tell(&mut command, &job);
    let mut round = shell(&command);
    let mut fetches = FILES.map(|(file, _)| (file, file)).to_vec();
    match client {
        WebClient::Ab => {
            round = format!(
                "{round} >ab; cat ab; grep -qx 'Complete requests: *{ASKED}' ab && \
                 grep -qx 'Failed requests: *0' ab && ! grep -q Non-2xx ab"
            );
            fetches.clear();
        }
        WebClient::Apt => fetches = vec![(PACKAGE.0, PACKAGE.1)],
        _ => {}
    }
    Visitor {
        name,
        round,
        fetches,
        stores: false,
    }
}

fn transfers(server: FtpServer, name: &'static str, client: FtpClient, mode: Mode) -> Visitor {
    let (out, stored) = (out(name), format!("{name}-{ROUND}"));
    let errand = Errand {
        mode,
        family: Family::V4,
        login: server.login(),
        into: Path::new(&out),
        sent: Path::new("/data/sent"),
        name: &stored,
        silence: SILENCE,
        // Each member has a disk of its own.
        folders: false,
    };
    let (program, args) = client.words(&errand);
    let mut command = Command::new("timeout");
    command
        .arg((2 * SILENCE).to_string())
        .arg(program)
        .args(args);
    let mut fetches = vec![(DOWN.0, DOWN.0)];
    if client == FtpClient::LftpMany {
        fetches.extend(TREE.map(|(name, _)| (name, name)));
    }
    Visitor {
        name,
        round: shell(&command),
        fetches,
        stores: client.uploads(),
    }
}

/// A command as a shell reads it.
fn shell(command: &Command) -> String {
    let set = command.get_envs().filter_map(|(name, value)| {
        let (name, value) = (name.to_string_lossy(), value?.to_string_lossy());
        Some(format!("{name}={}", quoted(&value)))
    });
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| quoted(&word.to_string_lossy()));
    set.chain(words).collect::<Vec<_>>().join(" ")
}

/// A word as a shell reads it.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
