// SPDX-License-Identifier: GPL-3.0-only
//! From an ICMP error to the connection whose segment it quotes.

use super::table::Key;
use super::{Engine, Role};
use crate::conn::Verdict;
use crate::frame::{Offload, Output, Time};
use crate::wire::locate_icmp;

impl Engine {
    /// Takes a frame that is no TCP segment. Says whether it is to be forwarded: anything is but an ICMP error about
    /// a protected connection that its connection refuses.
    pub(super) fn judge_icmp(
        &mut self,
        now: Time,
        index: usize,
        role: Role,
        frame: &mut [u8],
        offload: &Offload,
        out: &mut dyn Output,
    ) -> bool {
        let Ok(mut error) = locate_icmp(frame, offload) else {
            return true;
        };
        // It goes to whom it quotes, away from where it comes from.
        if error.to != error.src.ip() {
            return true;
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
        let Some(group) = &mut self.groups[index] else {
            return false;
        };
        // One that the server opened may have another name in the south.
        let opened = group.outbound_service();
        let service = group.service(server).unwrap_or(opened);
        let found = if about_server || service != opened {
            self.table.find(&key)
        } else {
            self.table.find_south(&key)
        };
        let Some(slot) = found else {
            return true;
        };
        let Some(connection) = self.table.get(slot) else {
            return true;
        };
        let mut cx = group.context(service, now, out, &mut self.events, &mut self.scratch);
        connection.on_icmp(&mut error, frame, about_server, &mut cx) == Verdict::Forward
    }
}
