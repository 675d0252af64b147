// SPDX-License-Identifier: GPL-3.0-only
//! Who asks the servers, and for what.

use std::path::Path;
use std::process::Command;

use rxl_tests::lab::servers::stock::{DOWN, FILES, PACKAGE, Stock, TREE, quoted};
use rxl_tests::netns::ftp::FtpServer;
use rxl_tests::netns::ftp::client::{Client as FtpClient, Errand, Family, Mode};
use rxl_tests::netns::web::client::{Client as WebClient, Job, Way};

/// For how many seconds nothing may come to a client: everything is slow in emulation.
const SILENCE: u32 = 120;
/// How often `ab` asks in a round.
const ASKED: u32 = 100;
/// The number of a client's round, in the names of what it stores.
pub(super) const ROUND: &str = "@ROUND@";

/// Who asks it.
pub(super) fn of(stock: Stock) -> Vec<Visitor> {
    let Stock::Ftp(server) = stock else {
        let mut all = vec![
            ("curl", WebClient::Curl),
            ("wget", WebClient::Wget),
            ("aria2", WebClient::Aria),
            ("requests", WebClient::Requests),
            ("ab", WebClient::Ab),
        ];
        if matches!(stock.way(), Way::Proxy | Way::ClosingProxy) {
            all.push(("apt", WebClient::Apt));
        }
        let told = |(name, client)| fetches(stock.way(), name, client);
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
    // pyftpdlib takes the file descriptor of a data connection that it had opened for its own when that session ends, and
    // reads no more from who has it then.
    let mixes = server != FtpServer::Pyftpdlib;
    all.into_iter()
        .filter(|&(_, _, mode)| mixes || mode == Mode::Passive)
        .map(|(name, client, mode)| transfers(server, name, client, mode))
        .collect()
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
        WebClient::Requests => round = first(&round),
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
        server,
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
    let mut round = shell(&command);
    if client == FtpClient::Python {
        round = first(&round);
    }
    let mut fetches = vec![(DOWN.0, DOWN.0)];
    if client == FtpClient::LftpMany {
        fetches.extend(TREE.map(|(name, _)| (name, name)));
    }
    Visitor {
        name,
        round,
        fetches,
        stores: client.uploads(),
    }
}

/// The same, before others. Python needs six emulated seconds before its program begins, and would get a sixth of each.
fn first(command: &str) -> String {
    format!("nice -n -10 env {command}")
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
