// SPDX-License-Identifier: GPL-3.0-only
//! How long a client gets no byte when its server is killed: a web server, a web proxy and an FTP server, whose plug-ins ask
//! replacements only for the rest.

use fttcp::control::{GroupSpec, Outbound, ServiceSpec};

use crate::bench::fttcp::gap::{Asks, FILE, FILE_REQUEST, LINE, pauses};
use crate::bench::fttcp::plan::Plan;
use crate::bench::{Gate, Row};
use crate::netns::ftp::FtpServer;
use crate::netns::layout::Layout;
use crate::netns::nginx::Nginx;
use crate::netns::random::Random;
use crate::netns::service::Serves;
use crate::netns::topology::{CLIENT, Topology};

pub(super) fn measure(plan: &Plan) -> Result<Vec<Row>, String> {
    let proxied =
        format!("GET http://{CLIENT}/file HTTP/1.1\r\nHost: {CLIENT}\r\nConnection: close\r\n\r\n");
    let mut rows = Vec::new();
    for (what, serves, asks) in [
        ("web server", Serves::Web, Asks::Http(FILE_REQUEST)),
        (
            "web proxy, outbound = re-issue",
            Serves::Proxy,
            Asks::Http(&proxied),
        ),
        ("FTP", Serves::Ftp(FtpServer::Vsftpd), Asks::Ftp),
    ] {
        let measured = one(plan, serves, asks).map_err(|error| format!("{what}: {error}"))?;
        for (percent, gate) in [(50.0, Gate::AtMost(20.0)), (99.0, Gate::AtMost(100.0))] {
            let figure = format!("pause at failover, {what}, p{percent}");
            let row = Row::percentile(&figure, "ms", percent, &measured);
            // What must be reached is told for a server; a proxy connects to its origin first.
            rows.push(match serves {
                Serves::Proxy => row,
                _ => row.gated(gate),
            });
        }
    }
    Ok(rows)
}

/// The client's pauses, in ms.
fn one(plan: &Plan, serves: Serves, asks: Asks<'_>) -> Result<Vec<f64>, String> {
    let mut topology = Topology::build(Layout {
        serves,
        kind: "http",
        group: match serves {
            Serves::Ftp(_) => Some(GroupSpec {
                services: vec![ServiceSpec::new(21, "ftp")],
                ..GroupSpec::default()
            }),
            _ => None,
        },
        outbound: match serves {
            Serves::Proxy => Outbound::ReIssue,
            _ => Outbound::Pass,
        },
        ..Layout::default()
    })?;
    topology.put("file", &Random::new(1).bytes(FILE))?;
    let files = topology.folder().join("files");
    let prefix = topology.folder().join("origin");
    let _origin = Nginx::start(topology.client(), &files, &prefix, "")?;
    topology.serve()?;
    topology.shape(LINE)?;
    let gaps = pauses(&mut topology, asks, plan.failovers)?;
    Ok(gaps.iter().map(|gap| gap.client_ms).collect())
}
