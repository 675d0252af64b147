// SPDX-License-Identifier: GPL-3.0-only
//! What the authors of FT-TCP measured: by how much a large transfer takes longer with it, through a web proxy and by
//! FTP. They report less than 4 % for both (2007).
//!
//! The proxy stands where servers do, and its origin where clients do: each byte comes through the logger twice, and
//! both of the proxy's connections are kept (`outbound = keep`). FTP's data connections are passive ones. The server
//! ends each by closing it, which the logger holds back for a while (`fin_hold_ms`), in case the server is dying; the
//! plug-in `ftp` knows better as soon as the server says that the transfer is complete. It finds the data connections
//! by itself: only the control connections' port is named. What is left of the hold shows beside a run without any.

use fttcp::control::{GroupSpec, Outbound, ServiceSpec};

use super::daemons;
use super::house::{Peer, service, shape};
use super::plan::Plan;
use crate::bench::{Gate, Row, Runs};
use crate::netns::layout::Layout;
use crate::netns::nginx::Nginx;
use crate::netns::process::Running;
use crate::netns::topology::{CLIENT, Middle, SERVER, Topology};

const PROXY_PORT: u16 = 8888;
/// FTP servers' ports, and the first and last of their passive connections, which no service names.
const FTP: (u16, [u16; 2]) = (21, [5000, 5007]);
const FTP_NO_HOLD: (u16, [u16; 2]) = (2121, [5010, 5017]);
/// What a transfer through a proxy logs: the origin's bytes.
const OUTBOUND_BUFFER: u32 = 256 << 20;

/// A house, and the programs in it.
#[derive(Debug)]
struct House {
    _programs: [Running; 3],
    _origin: Nginx,
    topology: Topology,
}

impl House {
    fn new(middle: Middle, plan: &Plan) -> Result<Self, String> {
        let ftp = |port| ServiceSpec {
            kind: "ftp".to_owned(),
            ..service(port)
        };
        let at_once = |port| ServiceSpec {
            fin_hold_ms: 0,
            ..ftp(port)
        };
        let topology = Topology::build(Layout {
            middle,
            group: Some(GroupSpec {
                services: vec![service(PROXY_PORT), ftp(FTP.0), at_once(FTP_NO_HOLD.0)],
                outbound: Outbound::Keep,
                outbound_service: ServiceSpec {
                    buffer_bytes: OUTBOUND_BUFFER,
                    ..ServiceSpec::outbound()
                },
                ..GroupSpec::default()
            }),
            logger: Peer::Fast.options("1G"),
            ..Layout::default()
        })?;
        topology.put("file", &vec![0; plan.file])?;
        let files = topology.folder().join("files");
        let prefix = topology.folder().join("origin");
        Ok(Self {
            _origin: Nginx::start(topology.client(), &files, &prefix, "")?,
            _programs: [
                daemons::web_proxy(&topology, PROXY_PORT)?,
                daemons::ftp(&topology, FTP.0, FTP.1)?,
                daemons::ftp(&topology, FTP_NO_HOLD.0, FTP_NO_HOLD.1)?,
            ],
            topology,
        })
    }

    /// Seconds that curl takes for the file.
    fn fetch(&self, how: &[&str], bytes: usize) -> Result<f64, String> {
        let args = ["-s", "-S", "-o", "/dev/null", "--max-time", "60"];
        let print = ["-w", "%{time_total} %{size_download}"];
        let said = self
            .topology
            .client()
            .run("curl", &[args.as_slice(), &print, how].concat())?;
        let (time, size) = said.trim().split_once(' ').unwrap_or_default();
        if size.parse() != Ok(bytes) {
            return Err(format!("curl fetched {size} of {bytes} bytes"));
        }
        time.parse().map_err(|_| format!("curl said {said}"))
    }
}

/// Measures the logger's house beside the bridge's.
pub(super) fn measure(plan: &Plan) -> Result<Vec<Row>, String> {
    let ours = House::new(Middle::Protected, plan)?;
    let peer = House::new(Middle::Bridge, plan)?;
    let proxy = format!("http://{SERVER}:{PROXY_PORT}");
    let origin = format!("http://{CLIENT}/file");
    let ftp = |port: u16| format!("ftp://{SERVER}:{port}/file");
    let (hold, no_hold) = (ftp(FTP.0), ftp(FTP_NO_HOLD.0));
    // An empty list: what the environment says about proxies does not count.
    let transfers: [(&str, &[&str]); 3] = [
        ("web proxy", &["--noproxy", "", "-x", &proxy, &origin]),
        ("FTP", &["--noproxy", "*", &hold]),
        ("FTP, fin_hold_ms 0", &["--noproxy", "*", &no_hold]),
    ];
    let mut rows = Vec::new();
    for (line, gate) in [("unshaped", None), ("1 Gbit/s", Some(Gate::Below(4.0)))] {
        if gate.is_some() {
            shape(&ours.topology)?;
            shape(&peer.topology)?;
        }
        for (what, how) in transfers {
            let runs = pairs(plan, [&ours, &peer], how);
            let runs = runs.map_err(|error| format!("{what}, {line}: {error}"))?;
            let figure = format!("overhead, {what}, {} MB, {line}", plan.file / 1_000_000);
            let row = overhead(&figure, &runs);
            rows.push(match gate {
                Some(gate) => row.gated(gate),
                None => row,
            });
        }
    }
    Ok(rows)
}

/// The seconds of pairs of transfers; one after the other is the first of its pair.
fn pairs(plan: &Plan, houses: [&House; 2], how: &[&str]) -> Result<Runs, String> {
    let mut times = [Vec::new(), Vec::new()];
    for house in houses {
        house.fetch(how, plan.file)?;
    }
    for round in 0..plan.rounds {
        for at in [round % 2, 1 - round % 2] {
            times[at].push(houses[at].fetch(how, plan.file)?);
        }
    }
    let [ours, peer] = times;
    Ok(Runs { ours, peer })
}

/// By how many percent ours took longer, pair by pair.
fn overhead(figure: &str, times: &Runs) -> Row {
    let pairs = times.ours.iter().zip(&times.peer);
    let runs = Runs {
        ours: pairs
            .map(|(ours, peer)| (ours / peer - 1.0) * 1e2)
            .collect(),
        peer: Vec::new(),
    };
    Row::new(figure, "%", "(paper: < 4 %)", runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overhead_is_of_pairs_in_percent() {
        let runs = Runs {
            ours: vec![1.1, 2.0, 3.3],
            peer: vec![1.0, 2.0, 3.0],
        };
        assert!((overhead("x", &runs).ours - 10.0).abs() < 1e-9);
    }
}
