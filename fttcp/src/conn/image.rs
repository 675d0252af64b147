// SPDX-License-Identifier: GPL-3.0-only
//! What an image of a connection needs besides its bytes: another clock's times, and a check before it is used.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Connection, Sent};
use crate::frame::Time;
use crate::service::{self, Maker};
use crate::stable::StableBuffer;
use crate::wire::OptionsRepr;

/// No stream is that long; additions to such positions cannot overflow.
pub(crate) const FAR: u64 = 1 << 60;

/// A whole connection, to be written.
#[derive(Serialize)]
pub(crate) struct StoredRef<'a> {
    fixed: &'a Connection,
    active: Time,
    log: &'a StableBuffer,
    causes: &'a VecDeque<(u64, u64)>,
    sent: &'a Sent,
}

impl<'a> From<&'a Connection> for StoredRef<'a> {
    fn from(connection: &'a Connection) -> Self {
        Self {
            fixed: connection,
            active: connection.active,
            log: &connection.log,
            causes: &connection.causes,
            sent: &connection.sent,
        }
    }
}

/// A whole connection, as it was read.
#[derive(Deserialize)]
pub(crate) struct Stored {
    fixed: Connection,
    active: Time,
    log: StableBuffer,
    causes: VecDeque<(u64, u64)>,
    sent: Sent,
}

impl From<Stored> for Connection {
    fn from(stored: Stored) -> Self {
        Self {
            active: stored.active,
            log: stored.log,
            causes: stored.causes,
            sent: stored.sent,
            ..stored.fixed
        }
    }
}

impl Connection {
    /// Puts its plug-in to work, which was read from an image. False: that does not know what was saved.
    pub(crate) fn revive(&mut self, make: &Maker) -> bool {
        let plugin = self.plugin.as_mut();
        plugin.is_none_or(|plugin| service::revive(plugin, make))
    }

    /// Moves the connection's times to another clock, which shows `to` when the present one shows `from`.
    pub(crate) fn change_clock(&mut self, from: Time, to: Time) {
        self.active = self.active.moved(from, to);
        self.opened = self.opened.moved(from, to);
        self.since = self.since.moved(from, to);
        if let Some(outbound) = &mut self.outbound {
            outbound.over = outbound.over.map(|over| over.moved(from, to));
        }
        if let Some(kick) = &mut self.kick {
            kick.at = kick.at.moved(from, to);
        }
        if let Some(farewell) = &mut self.farewell {
            farewell.moved(from, to);
        }
        if let Some(hold) = &mut self.hold {
            hold.until = hold.until.moved(from, to);
        }
        self.wake = None;
    }

    /// Whether the parts fit together. An image is read from a file; whatever stands there must do no harm.
    pub(crate) fn is_sound(&self) -> bool {
        let positions = [
            Some(self.client.right),
            self.client.fin,
            Some(self.client.acked),
            Some(self.client.next),
            Some(self.server.right),
            self.server.fin,
            Some(self.server.end),
            Some(self.server.una),
            Some(self.window_limit).filter(|&limit| limit != u64::MAX),
            self.map.map(|map| map.next),
            self.map.map(|map| map.first),
        ];
        let scaled = |options: &OptionsRepr| options.window_scale.is_none_or(|scale| scale <= 14);
        positions.into_iter().flatten().all(|at| at < FAR)
            && scaled(&self.client.options)
            && scaled(&self.server.options)
            && self
                .server
                .offers
                .iter()
                .all(|offer| offer.right < FAR && scaled(&offer.options))
            && self.map.is_none_or(|map| scaled(&map.options))
            && self.path.tags_len <= self.path.tags.len()
            && self.path.client.socket.is_ipv4() == self.path.server.socket.is_ipv4()
            && self.replay_from <= self.server.una.min(self.server.end)
            && self.sent.start() == self.replay_from
            && self.log.is_sound()
            && self.farewell.as_ref().is_none_or(|it| it.is_sound())
            && self.urgent.is_sound()
            && self.sent.is_sound()
    }
}
