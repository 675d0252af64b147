// SPDX-License-Identifier: GPL-3.0-only
//! A web proxy and an FTP server where servers stand, an origin where clients do, and the logger or a bridge between.

use std::process::Command;
use std::time::Duration;

use fttcp::control::{GroupSpec, Outbound, ServiceSpec};

use crate::bench::fttcp::daemons;
use crate::bench::fttcp::house::{Peer, service};
use crate::netns::layout::Layout;
use crate::netns::line::Fault;
use crate::netns::nginx::Nginx;
use crate::netns::process::Running;
use crate::netns::topology::{CLIENT, Middle, SERVER, Topology};

const PROXY_PORT: u16 = 8888;
const FTP_PORT: u16 = 21;
/// The first and last port of its passive connections, which no service names.
const PASSIVE: [u16; 2] = [5000, 5007];
/// What a transfer through a proxy logs if the origin's connection is kept: the origin's bytes.
const OUTBOUND_BUFFER: u32 = 256 << 20;
/// Bytes of a small file.
const SMALL: usize = 1024;

/// See the module's text.
#[derive(Debug)]
pub(super) struct House {
    // End before their namespaces.
    _programs: [Running; 2],
    _origin: Nginx,
    pub(super) topology: Topology,
    file: usize,
    small: usize,
}

/// How files come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Through the web proxy.
    Proxy,
    /// The same by a client that says that it wants no further answer on a connection, so that its close is no surprise.
    ProxyClosed,
    /// By FTP.
    Ftp,
}

impl Way {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Proxy => "web proxy",
            Self::ProxyClosed => "web proxy, close announced",
            Self::Ftp => "FTP",
        }
    }
}

impl House {
    /// A house with a file of `file` bytes and `small` small ones; `delay`: how long the way to its clients is.
    pub(super) fn new(
        middle: Middle,
        outbound: Outbound,
        delay: Option<Duration>,
        file: usize,
        small: usize,
    ) -> Result<Self, String> {
        let kind = |port, kind: &str| ServiceSpec {
            kind: kind.to_owned(),
            ..service(port)
        };
        let topology = Topology::build(Layout {
            middle,
            group: Some(GroupSpec {
                services: vec![kind(PROXY_PORT, "http"), kind(FTP_PORT, "ftp")],
                outbound,
                outbound_service: ServiceSpec {
                    buffer_bytes: OUTBOUND_BUFFER,
                    ..ServiceSpec::outbound()
                },
                ..GroupSpec::default()
            }),
            logger: Peer::Fast.options("1G"),
            line: delay.map(|delay| Fault {
                delay,
                ..Fault::default()
            }),
            ..Layout::default()
        })?;
        topology.put("file", &vec![0; file])?;
        for index in 1..=small {
            topology.put(&format!("small{index}"), &[b'x'; SMALL])?;
        }
        let files = topology.folder().join("files");
        let prefix = topology.folder().join("origin");
        Ok(Self {
            _origin: Nginx::start(topology.client(), &files, &prefix, "")?,
            _programs: [
                daemons::web_proxy(&topology, PROXY_PORT)?,
                daemons::ftp(&topology, FTP_PORT, PASSIVE)?,
            ],
            topology,
            file,
            small,
        })
    }

    /// The command that fetches the large file, or all small ones in turn.
    pub(super) fn curl(&self, way: Way, small: bool) -> Command {
        let name = if small {
            format!("small[1-{}]", self.small)
        } else {
            "file".to_owned()
        };
        let mut command = self.topology.client().command("curl");
        let print = "%{time_total} %{size_download}\n";
        command.args([
            "-s",
            "-S",
            "-o",
            "/dev/null",
            "--max-time",
            "60",
            "-w",
            print,
        ]);
        let closes = way == Way::ProxyClosed;
        match way {
            // An empty list: what the environment says about proxies does not count.
            Way::Proxy | Way::ProxyClosed => command
                .args(
                    closes
                        .then_some(["-H", "Connection: close"])
                        .into_iter()
                        .flatten(),
                )
                .args(["--noproxy", "", "-x"])
                .arg(format!("http://{SERVER}:{PROXY_PORT}"))
                .arg(format!("http://{CLIENT}/{name}")),
            Way::Ftp => command
                .args(["--noproxy", "*"])
                .arg(format!("ftp://{SERVER}:{FTP_PORT}/{name}")),
        };
        command
    }

    /// Seconds that curl takes for the large file, or for all small ones together. By FTP, the median file's time stands for each:
    /// vsftpd sleeps for a second before a passive connection whose port it cannot have at once, by chance, with a bridge as with
    /// the logger.
    pub(super) fn fetch(&self, way: Way, small: bool) -> Result<f64, String> {
        let output = self.curl(way, small).output();
        let output = output.map_err(|error| format!("cannot start curl: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let (mut times, bytes) = times(&said).ok_or_else(|| format!("curl said {said}"))?;
        if way == Way::Ftp {
            times.sort_by(f64::total_cmp);
            let median = times.get(times.len() / 2).copied().unwrap_or_default();
            times.fill(median);
        }
        let wanted = if small { self.small * SMALL } else { self.file };
        if output.status.success() && bytes == wanted as f64 {
            return Ok(times.iter().sum());
        }
        let error = String::from_utf8_lossy(&output.stderr);
        Err(format!(
            "curl fetched {bytes} of {wanted} bytes: {}",
            error.trim()
        ))
    }
}

/// Of lines of seconds and bytes: the seconds, and the sum of the bytes.
fn times(text: &str) -> Option<(Vec<f64>, f64)> {
    let (mut times, mut bytes) = (Vec::new(), 0.0);
    for line in text.lines() {
        let (seconds, size) = line.split_once(' ')?;
        times.push(seconds.parse::<f64>().ok()?);
        bytes += size.parse::<f64>().ok()?;
    }
    Some((times, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_of_each_transfer_and_bytes_of_all() {
        let both = times("0.5 1024\n0.25 1000\n");
        assert_eq!(both, Some((vec![0.5, 0.25], 2024.0)));
        assert_eq!(times("curl: (7) x\n"), None);
    }
}
