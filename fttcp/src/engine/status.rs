// SPDX-License-Identifier: GPL-3.0-only
//! What the engine shows of itself.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::Engine;
use crate::conn::{Connection, State};
use crate::control::{ConnectionStatus, GroupStatus};

impl Engine {
    /// The state of all groups, or of one; with `connections`, one entry per connection as well.
    #[must_use]
    pub fn status(&self, group: Option<&str>, connections: bool) -> Vec<GroupStatus> {
        let mut all = Vec::new();
        for (index, state) in self.groups.iter().enumerate() {
            let Some(state) = state else {
                continue;
            };
            if group.is_some_and(|name| name != state.spec.name) {
                continue;
            }
            let mut status = GroupStatus {
                spec: state.spec.clone(),
                counters: state.counters,
                failover: state
                    .progress
                    .as_ref()
                    .map(|progress| progress.status.clone()),
                upgrade: state.upgrade.as_ref().map(|it| it.status.clone()),
                wrap: None,
                connections: Vec::new(),
            };
            for dormant in self
                .table
                .all_dormant()
                .filter(|it| it.key().group == index)
            {
                status.counters.protected += u64::from(dormant.protected());
                status.counters.logged_bytes += u64::from(dormant.logged());
                status.counters.memory_bytes += dormant.memory() as u64;
            }
            for connection in self.table.all_awake().filter(|it| it.group == index) {
                let open = !matches!(connection.state, State::Closed | State::Orphaned);
                status.counters.protected += u64::from(connection.protected && open);
                status.counters.logged_bytes += connection.log.len() as u64;
                status.counters.memory_bytes += connection.memory() as u64;
                status.counters.spilled_bytes += connection.log.spilled();
            }
            if connections {
                let all = self.table.slots().filter(|(_, it)| it.group == index);
                status.connections = all.map(|(_, it)| describe(&it)).collect();
            }
            all.push(status);
        }
        all
    }
}

impl Engine {
    /// The clients whose protected connections a group's active server has, or is about to be given.
    #[must_use]
    pub fn clients(&self, group: &str) -> BTreeSet<SocketAddr> {
        let Ok(index) = self.find(group) else {
            return BTreeSet::new();
        };
        let asleep = self
            .table
            .all_dormant()
            .map(|it| (it.key(), it.protected()));
        let asleep = asleep.filter(|(key, protected)| key.group == index && *protected);
        let awake = self.table.all_awake().filter(|it| {
            it.group == index
                && it.protected
                && it.outbound.is_none()
                && matches!(it.state, State::Established | State::Recovering)
        });
        let awake = awake.map(|it| it.ends().client);
        asleep.map(|(key, _)| key.client).chain(awake).collect()
    }
}

fn describe(connection: &Connection) -> ConnectionStatus {
    let ends = connection.ends();
    let state = match connection.state {
        State::Established if !connection.protected => "unprotected",
        State::Opening => "opening",
        State::Established => "established",
        State::Recovering => "recovering",
        State::Closed => "closed",
        State::Orphaned => "orphaned",
    };
    ConnectionStatus {
        client: ends.client.to_string(),
        server: ends.server.to_string(),
        outbound: connection.outbound.is_some(),
        state: state.to_owned(),
        delta_seq: connection.delta_seq(),
        logged_bytes: connection.log.len() as u64,
        sent_bytes: connection.server.end,
        acked_bytes: connection.server.una.min(connection.server.end),
        failovers: connection.failovers,
    }
}
