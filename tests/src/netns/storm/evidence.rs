// SPDX-License-Identifier: GPL-3.0-only
//! What there is to see when a connection stands still: the logger's view and both kernels' sockets, in a folder that
//! stays.

use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use super::shared::Shared;
use super::tally::STALL;
use crate::netns::topology::{GROUP, Topology};

/// Writes it down; where.
pub(super) fn gather(topology: &Topology, shared: &Shared, why: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("rxl-storm-{}-{why}-{count}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    let mut clients = String::new();
    for client in shared.stalled(STALL) {
        let board = &shared.boards()[client];
        let _ = writeln!(
            clients,
            "client {client}: port {}, {:?}",
            board.port(),
            board.doing()
        );
    }
    let status = topology.logger().and_then(|logger| logger.status(GROUP));
    let status = status.and_then(|status| {
        serde_json::to_string_pretty(&status).map_err(|error| error.to_string())
    });
    let ss = ["-tinmoa"];
    let [active, standby] = topology.servers();
    let log = topology.logger().map(super::super::logger::Logger::log);
    let parts = [
        ("clients", Ok(clients)),
        ("logger-status.json", status),
        ("logger.log", log),
        ("ss-client", topology.client().run("ss", &ss)),
        ("ss-first", active.run("ss", &ss)),
        ("ss-second", standby.run("ss", &ss)),
    ];
    let _ = fs::create_dir_all(&folder);
    for (name, content) in parts {
        let content = content.unwrap_or_else(|error| error);
        let _ = fs::write(folder.join(name), content);
    }
    folder.display().to_string()
}
