// SPDX-License-Identifier: GPL-3.0-only
//! From an ICMP error to the connection whose segment it quotes.

use super::table::Key;
use super::{Engine, Role};
use crate::conn::Verdict;
use crate::frame::{Offload, Output, PortId, Time};
use crate::wire::locate_icmp;

impl Engine {
    /// Takes a frame that is no TCP segment. Says where it is to be forwarded: anything is but an ICMP error
    /// about a protected connection that its connection refuses, and what `strangers` keeps back.
    pub(super) fn judge_icmp(
        &mut self,
        now: Time,
        index: usize,
        role: Role,
        frame: &mut [u8],
        offload: &Offload,
        out: &mut dyn Output,
    ) -> Option<PortId> {
        let Ok(mut error) = locate_icmp(frame, offload) else {
            return self.no_segment(index, role, frame, out);
        };
        // It goes to whom it quotes, away from where it comes from.
        if error.to != error.src.ip() {
            return self.no_segment(index, role, frame, out);
        }
        let about_server = role == Role::North;
        let (client, server) = if about_server {
            (error.dst, error.src)
        } else {
            (error.src, error.dst)
        };
        let key = Key {
            group: index,
            client,
            server,
        };
        self.take_back_named(now, &key, out);
        let group = self.groups[index].as_mut()?;
        // One that the server opened may have another name in the south.
        let opened = group.outbound_service();
        let service = group.service(server).unwrap_or(opened);
        let found = if about_server || service != opened {
            self.table.find(&key)
        } else {
            self.table.find_south(&key)
        };
        let known = found.and_then(|slot| self.table.get(slot));
        let Some(connection) = known else {
            return self.no_segment(index, role, frame, out);
        };
        let to = match role {
            Role::North => group.port_of(connection.server_number),
            _ => group.ports.north,
        };
        let own = match role {
            Role::North => true,
            Role::Leaving => group.port_of(connection.server_number) != group.ports.active,
            _ => group.port_of(connection.server_number) == group.ports.active,
        };
        if !own {
            return None;
        }
        let (service, number) = (connection.service, connection.server_number);
        let mut cx = group.context(service, number, now, out, &mut self.desk);
        let verdict = connection.on_icmp(&mut error, frame, about_server, &mut cx);
        (verdict == Verdict::Forward).then_some(to)
    }
}
