// SPDX-License-Identifier: GPL-3.0-only
//! The servers: how each is started in its guest, what it is asked for, and what it has.

use std::path::Path;

use crate::netns::ftp::FtpServer;
use crate::netns::recipe::{Place, Recipe};
use crate::netns::topology::SERVER;
use crate::netns::web::client::Way;
use crate::netns::web::{ALIVE, REVERSE, WebServer};
use crate::netns::{nginx, service};

/// Files that are fetched by HTTP, and their lengths. `ab` takes the first.
pub const FILES: [(&str, u32); 3] = [
    ("small", 30_000),
    ("middle", 1_000_000),
    ("large", 8_000_000),
];
/// The file that is fetched by FTP, and its length.
pub const DOWN: (&str, u32) = ("down", 8_000_000);
/// Of the file that is stored by FTP.
pub const UP: u32 = 1_000_000;
/// What is fetched as a folder by FTP: names below `tree`, and lengths.
pub const TREE: [(&str, u32); 3] = [
    ("tree/none", 0),
    ("tree/one", 200_000),
    ("tree/two", 40_000),
];
/// The package of the repository, its name there and as apt keeps it, and its length.
pub const PACKAGE: (&str, &str, u32) = ("repo/big.deb", "big_1_all.deb", 1_500_000);
/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stock {
    /// nginx, which has the files.
    Nginx,
    /// nginx before an origin.
    NginxProxy,
    /// Apache, which has the files.
    Apache,
    /// HAProxy, before an origin.
    Haproxy,
    /// Squid, a proxy that clients know of.
    Squid,
    /// tinyproxy, one that closes after each response.
    Tinyproxy,
    /// An FTP server.
    Ftp(FtpServer),
}

impl Stock {
    /// All of them.
    pub const ALL: [Self; 10] = [
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

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
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
    #[must_use]
    pub fn recipe(self) -> Recipe {
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
    #[must_use]
    pub fn probe(self) -> String {
        match self {
            Self::Ftp(_) => "greet:21".to_owned(),
            Self::Haproxy | Self::NginxProxy => format!("http:{}{ALIVE}", self.recipe().port),
            _ => format!("http:{}/", self.recipe().port),
        }
    }

    /// Whether files are stored there.
    #[must_use]
    pub const fn stores(self) -> bool {
        matches!(self, Self::Ftp(_))
    }

    /// The way to its files.
    #[must_use]
    pub const fn way(self) -> Way {
        match self {
            Self::NginxProxy | Self::Haproxy => Way::Reverse,
            Self::Squid => Way::Proxy,
            Self::Tinyproxy => Way::ClosingProxy,
            Self::Nginx | Self::Apache | Self::Ftp(_) => Way::Server,
        }
    }

    /// Whether the files are at an origin behind it.
    #[must_use]
    pub fn has_origin(self) -> bool {
        self.way() != Way::Server
    }
}

/// A word as a shell reads it.
#[must_use]
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
