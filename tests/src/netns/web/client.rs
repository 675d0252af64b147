// SPDX-License-Identifier: GPL-3.0-only
//! Stock clients, none of which tries again by itself: what breaks, they say.

use std::path::Path;
use std::process::Command;

use super::origin::PORT;
use crate::netns::space::Space;
use crate::netns::topology::{CLIENT, SERVER};

/// A stock client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// curl: all files over one connection.
    Curl,
    /// wget: likewise.
    Wget,
    /// aria2c: large files in parts, over several connections.
    Aria,
    /// Python's requests: all files over one session, with something posted before each if there is an origin.
    Requests,
    /// `ab`: one file again and again, over connections that are kept alive. It keeps nothing.
    Ab,
    /// apt: a package from a repository.
    Apt,
}

/// The way to the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The server has them, or says that it has.
    Server,
    /// The server is before an origin, to which can be posted.
    Reverse,
    /// The server is a proxy that the client knows of.
    Proxy,
    /// Likewise, one that closes after each response and does not say so: its close is held back, as that of a dying server
    /// would be, and a client that makes its next request at once makes it in vain, as it may without a logger. So each
    /// makes one request on each connection.
    ClosingProxy,
}

/// What a client fetches, and how.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The way to the files.
    pub way: Way,
    /// The folder for what is fetched, in which the client may keep more.
    pub out: &'a Path,
    /// A word for what it posts; empty: it posts nothing.
    pub round: &'a str,
    /// The files.
    pub files: &'a [String],
    /// For how many seconds nothing may come. A client that takes twice as long hangs.
    pub silence: u32,
    /// How often `ab` asks.
    pub requests: u32,
}

/// Fetches the files, and posts. A proxy is the first word, or nothing.
const REQUESTS: &str = r#"
import sys, requests
once, proxy, posts, silence, base, out = sys.argv[1:7]
silence = int(silence)
def connect():
    session = requests.Session()
    session.trust_env = False
    session.proxies = {"http": proxy} if proxy else {}
    return session
kept = connect()
for name in sys.argv[7:]:
    if posts:
        session = connect() if once else kept
        try:
            answer = session.post(f"{base}/post/{posts}-{name}", data=b"x" * 20000, timeout=silence)
            print("posted", f"/post/{posts}-{name}", answer.status_code, flush=True)
        except requests.RequestException:
            print("posted", f"/post/{posts}-{name}", "broken", flush=True)
    session = connect() if once else kept
    answer = session.get(f"{base}/{name}", timeout=silence)
    answer.raise_for_status()
    open(f"{out}/{name}", "wb").write(answer.content)
"#;

impl Client {
    /// The command that does the job in this namespace.
    #[must_use]
    pub fn command(self, space: &Space, job: &Job<'_>) -> Command {
        let mut command = space.command("timeout");
        self.tell(&mut command, job);
        command
    }

    /// Tells a command, which is `timeout`, to do the job.
    pub fn tell(self, command: &mut Command, job: &Job<'_>) {
        let &Job {
            way,
            out,
            round,
            files,
            silence,
            requests,
        } = job;
        let proxy = format!("http://{SERVER}:80");
        let is_proxy = matches!(way, Way::Proxy | Way::ClosingProxy);
        let once = way == Way::ClosingProxy;
        let base = if is_proxy {
            format!("http://{CLIENT}:{PORT}")
        } else {
            format!("http://{SERVER}")
        };
        let urls = files.iter().map(|file| format!("{base}/{file}"));
        let silence = silence.to_string();
        command.arg((2 * job.silence).to_string());
        match self {
            Self::Curl => {
                command.args(["curl", "-sS", "--fail"]);
                if is_proxy {
                    command.args(["--noproxy", "", "--proxy", &proxy]);
                }
                if once {
                    command.args(["-H", "Connection: close"]);
                }
                for (url, file) in urls.zip(files) {
                    command.arg("-o").arg(out.join(file)).arg(url);
                }
            }
            Self::Wget => {
                command.args(["wget", "-nv", "--tries=1"]);
                command.arg(format!("--read-timeout={silence}"));
                command.arg("-P").arg(out).args(urls);
                if once {
                    command.arg("--no-http-keep-alive");
                }
                if is_proxy {
                    command.env("http_proxy", &proxy).env("no_proxy", "");
                }
            }
            Self::Aria => {
                command.args(["aria2c", "--no-conf", "-q", "-x4", "-s4", "-k1M", "-Z"]);
                // It goes on using connections to a proxy though it is told not to, as a capture shows: the close that was on
                // its way answers the next request, which it is for the client to make anew (RFC 9112 section 9.3.1). What
                // the logger loses is counted.
                let tries = if once {
                    "--max-tries=3"
                } else {
                    "--max-tries=1"
                };
                command.arg(format!("--timeout={silence}"));
                command.args([tries, "--file-allocation=none", "-d"]);
                command.arg(out).args(urls);
                if once {
                    command.arg("--enable-http-keep-alive=false");
                }
                if is_proxy {
                    command.args(["--no-proxy=", &format!("--all-proxy={proxy}")]);
                }
            }
            Self::Requests => {
                let posts = if way == Way::Server { "" } else { round };
                let proxy = if is_proxy { &proxy } else { "" };
                let once = if once { "once" } else { "" };
                command.args(["/usr/bin/python3", "-c", REQUESTS]);
                command.args([once, proxy, posts, &silence, &base]);
                command.arg(out).args(files);
            }
            Self::Ab => {
                let requests = requests.to_string();
                command.args(["ab", "-q", "-n", &requests, "-c", "8", "-s", &silence]);
                if !once {
                    command.arg("-k");
                }
                if is_proxy {
                    command.args(["-X", &format!("{SERVER}:80")]);
                }
                command.args(urls.take(1));
            }
            Self::Apt => {
                let depth = if once { 0 } else { 10 };
                apt(command, (&proxy, &base, depth), out);
            }
        }
    }
}

/// What `ab` says if so many requests were answered, and rightly.
#[must_use]
pub fn ab_is_content(said: &str, requests: u32) -> bool {
    let field = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse::<u64>().ok()
    };
    field("Complete requests:") == Some(requests.into())
        && field("Failed requests:") == Some(0)
        && !said.contains("Non-2xx")
}

/// With folders of its own and no source but the repository: the folder, its list of sources, and its configuration.
const APT: &str = r#"
cd "$1" && mkdir -p state/lists/partial cache/archives/partial && : >status &&
printf %s "$2" >sources.list && printf %s "$3" >apt.conf &&
apt-get -qq update && apt-get -qq download big
"#;

fn apt(command: &mut Command, (proxy, base, depth): (&str, &str, u32), out: &Path) {
    let out = out.display();
    let config = format!(
        "Dir::State \"{out}/state\";
Dir::State::status \"{out}/status\";
Dir::Cache \"{out}/cache\";
Dir::Etc::SourceList \"{out}/sources.list\";
Dir::Etc::SourceParts \"/dev/null\";
Dir::Etc::Parts \"/dev/null\";
Dir::Log \"{out}\";
APT::Sandbox::User \"root\";
Acquire::Retries \"0\";
Acquire::Languages \"none\";
Acquire::http::Proxy \"{proxy}\";
Acquire::http::Pipeline-Depth \"{depth}\";
"
    );
    let list = format!("deb [trusted=yes] {base}/repo ./\n");
    command.args(["sh", "-c", APT, "sh"]);
    command.args([out.to_string(), list, config]);
    command.env("APT_CONFIG", format!("{out}/apt.conf"));
}
