// SPDX-License-Identifier: GPL-3.0-only
//! Stock FTP clients: each fetches a file and, if it can, stores one.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::FtpServer;
use crate::netns::process::ends_within;
use crate::netns::space::Space;
use crate::netns::topology::{SERVER, SERVER6};

/// No session takes so long, with a crash or without.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the clients are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// curl, with one session for both files.
    Curl,
    /// lftp.
    Lftp,
    /// lftp with some connections at a time: a file in pieces, and folders.
    LftpMany,
    /// wget, which stores nothing.
    Wget,
    /// Python's ftplib.
    Python,
}

/// Who opens the data connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The client.
    Passive,
    /// The server.
    Active,
}

/// By which of its addresses the server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6, where only EPSV and EPRT announce data connections.
    V6,
}

impl Family {
    /// The server's address, as it stands in a URL.
    #[must_use]
    pub fn host(self) -> String {
        match self {
            Self::V4 => SERVER.to_owned(),
            Self::V6 => format!("[{SERVER6}]"),
        }
    }

    /// The server's address, by itself.
    #[must_use]
    pub const fn address(self) -> &'static str {
        match self {
            Self::V4 => SERVER,
            Self::V6 => SERVER6,
        }
    }
}

/// What a session is about.
#[derive(Clone, Copy, Debug)]
pub struct Errand<'a> {
    /// Who opens the data connections.
    pub mode: Mode,
    /// The server's address.
    pub family: Family,
    /// The server.
    pub server: FtpServer,
    /// The folder for what is fetched: `down`, and the folder `tree` if the client fetches folders.
    pub into: &'a Path,
    /// What is stored.
    pub sent: &'a Path,
    /// Its name below `in`.
    pub name: &'a str,
    /// For how many seconds nothing may come.
    pub silence: u32,
    /// Whether a client that fetches folders stores them, too: the next server must have those of the one that died.
    pub folders: bool,
}

impl Client {
    /// Whether it stores anything.
    #[must_use]
    pub fn uploads(self) -> bool {
        self != Self::Wget
    }

    /// Starts it in this namespace.
    ///
    /// # Errors
    /// It is not installed.
    pub fn start(self, space: &Space, errand: &Errand) -> Result<Session, String> {
        let (program, args) = self.words(errand);
        let mut command = space.command(program);
        command.args(args);
        Session::start(command)
    }

    /// The program, and what it is told.
    #[must_use]
    pub fn words(self, errand: &Errand) -> (&'static str, Vec<String>) {
        match self {
            Self::Curl => ("curl", errand.curl()),
            Self::Lftp => ("lftp", errand.lftp()),
            Self::LftpMany => ("lftp", errand.lftp_many()),
            Self::Wget => ("wget", errand.wget()),
            Self::Python => ("python3", errand.python()),
        }
    }
}

impl Errand<'_> {
    /// Where a client puts what it fetches.
    fn got(&self) -> String {
        self.into.join("down").display().to_string()
    }

    /// The path of what is stored.
    fn stored(&self) -> String {
        format!("in/{}", self.name)
    }

    fn url(&self, path: &str) -> String {
        let (user, password) = self.server.login();
        format!("ftp://{user}:{password}@{}/{path}", self.family.host())
    }

    fn curl(&self) -> Vec<String> {
        let opens = match self.mode {
            Mode::Passive => "--ftp-pasv",
            Mode::Active => "-P-",
        };
        let silence = self.silence.to_string();
        let usual = ["-s", "-S", "--noproxy", "*", "--max-time", &silence, opens];
        let usual: Vec<String> = usual.map(str::to_owned).to_vec();
        let mut args = usual.clone();
        args.extend(["-o".to_owned(), self.got(), self.url("down")]);
        args.push("--next".to_owned());
        args.extend(usual);
        let sent = self.sent.display().to_string();
        args.extend(["-T".to_owned(), sent, self.url(&self.stored())]);
        args
    }

    /// The commands of lftp that begin a session.
    fn lftp_opens(&self) -> String {
        let (user, password) = self.server.login();
        let (passive, host) = (self.mode == Mode::Passive, self.family.host());
        let silence = self.silence;
        format!(
            "set net:timeout {silence}; set net:max-retries 1; set ftp:use-allo no; set cmd:fail-exit yes; \
             set ftp:passive-mode {passive}; set xfer:clobber yes; open -u {user},{password} ftp://{host}"
        )
    }

    fn lftp(&self) -> Vec<String> {
        let (opens, got, sent) = (self.lftp_opens(), self.got(), self.sent.display());
        let stored = self.stored();
        let text = format!("{opens}; get down -o {got}; cls; put {sent} -o {stored}; bye");
        vec!["-c".to_owned(), text]
    }

    fn lftp_many(&self) -> Vec<String> {
        let (opens, got, sent) = (self.lftp_opens(), self.got(), self.sent.display());
        let (into, stored) = (self.into.display(), self.stored());
        let folders = if self.folders {
            format!("mirror -R -P 2 {into}/tree in/tree; ")
        } else {
            String::new()
        };
        let get = if self.server.lets_end() {
            "pget -n 3"
        } else {
            "get"
        };
        let text = format!(
            "{opens}; {get} down -o {got}; mirror -P 2 tree {into}/tree; put {sent} -o {stored}; {folders}bye"
        );
        vec!["-c".to_owned(), text]
    }

    fn wget(&self) -> Vec<String> {
        let silence = self.silence.to_string();
        let usual = ["-q", "--no-proxy", "-T", &silence, "-t", "1", "-O"];
        let mut args = usual.map(str::to_owned).to_vec();
        if self.mode == Mode::Active {
            args.insert(0, "--no-passive-ftp".to_owned());
        }
        args.extend([self.got(), self.url("down")]);
        args
    }

    fn python(&self) -> Vec<String> {
        let (user, password) = self.server.login();
        let (host, got, sent) = (self.family.address(), self.got(), self.sent.display());
        let (silence, stored) = (self.silence, self.stored());
        let passive = if self.mode == Mode::Passive {
            "True"
        } else {
            "False"
        };
        let text = format!(
            "import ftplib
ftp = ftplib.FTP('{host}', timeout={silence})
ftp.set_pasv({passive})
ftp.login('{user}', '{password}')
with open('{got}', 'wb') as file:
    assert ftp.retrbinary('RETR down', file.write).startswith('226')
assert 'down' in ftp.nlst()
with open('{sent}', 'rb') as file:
    assert ftp.storbinary('STOR {stored}', file).startswith('226')
assert ftp.pwd() == '/'
ftp.quit()
"
        );
        vec!["-c".to_owned(), text]
    }
}

/// A client that is killed if it hangs.
#[derive(Debug)]
pub struct Session(Child);

impl Session {
    fn start(mut command: Command) -> Result<Self, String> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::piped()).spawn();
        child
            .map(Self)
            .map_err(|error| format!("{command:?} does not start: {error}"))
    }

    /// It must end with success.
    ///
    /// # Errors
    /// It hangs, or it failed: what it said.
    pub fn finish(&mut self) -> Result<(), String> {
        let failed = |error| format!("no word of a client: {error}");
        if !ends_within(&self.0, PATIENCE).map_err(failed)? {
            return Err("the client hangs".to_owned());
        }
        let status = self.0.wait().map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        let stderr = self.0.stderr.take().ok_or("no standard error")?;
        let said = std::io::read_to_string(stderr).map_err(failed)?;
        Err(format!("{status}: {said}"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
