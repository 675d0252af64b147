// SPDX-License-Identifier: GPL-3.0-only
//! Giving up the beginning of both streams: a replay then starts later.
//!
//! The service's plug-in names a point in each stream ([`Restart`]) such that a fresh server, given the client's bytes
//! from the one on, says the server's from the other on. Once the client has acknowledged the latter, nothing below
//! is needed: the log is cut there, and the replacement's handshake is fabricated with the sequence number before it.

use super::{Connection, Context, State};
use crate::engine::Event;
use crate::service::Restart;

impl Connection {
    /// Asks the plug-in whether a replay may start later than it would now. To be called when the client has
    /// acknowledged something new.
    pub(crate) fn consider_truncation(&mut self, cx: &mut Context<'_>) {
        // What one connection of the server no longer needs, the replay of a client's may.
        if self.state != State::Established || !self.protected || self.outbound.is_some() {
            return;
        }
        self.cut(cx);
    }

    /// The same, whatever its state.
    pub(crate) fn cut(&mut self, cx: &mut Context<'_>) {
        let acknowledged = self.server.una.min(self.server.end);
        let restart = self.plugin.as_mut().and_then(|it| it.restart(acknowledged));
        if let Some(restart) = restart
            && self.truncate(restart, cx)
            && let Some(plugin) = &mut self.plugin
        {
            plugin.restarted(restart);
        }
        self.hear_complaint(cx);
    }

    /// Tells why the plug-in does not understand the connection any more.
    pub(crate) fn hear_complaint(&mut self, cx: &mut Context<'_>) {
        let reason = self.plugin.as_mut().and_then(|it| it.complaint());
        if let Some(reason) = reason {
            cx.events.push(Event::NotUnderstood {
                ends: self.ends(),
                kind: cx.service.spec.kind.clone(),
                reason,
            });
        }
    }

    /// Lets a replay start at these positions. False: it cannot, because the client may still need earlier bytes, the
    /// log does not reach so far, or the streams are compared as one chain that has gone on already; nothing changed.
    pub(crate) fn truncate(&mut self, to: Restart, cx: &mut Context<'_>) -> bool {
        let logged = self.log.start()..=self.log.stable();
        let said = self.replay_from..=self.server.una.min(self.server.end);
        let known = logged.contains(&to.client) && said.contains(&to.server);
        let moves = to.client > self.log.start() || to.server > self.replay_from;
        if !known || !moves || !self.sent.start_at(to.server) {
            return false;
        }
        self.replay_from = to.server;
        self.log.truncate(to.client);
        if self.log.start() == self.log.stable() && !self.log.has_gap() {
            self.since = cx.now;
        }
        let met = self.causes.partition_point(|&(_, seen)| seen <= to.server);
        self.causes.drain(..met);
        self.causes.shrink_to_fit();
        cx.counters.truncations += 1;
        self.open_window(cx);
        true
    }
}
