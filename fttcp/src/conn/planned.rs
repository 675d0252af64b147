// SPDX-License-Identifier: GPL-3.0-only
//! A connection is moved though its server lives: an upgrade.
//!
//! It stays with its server until nothing is under way on it ([`Connection::rests`]), is reset there, and is made in the
//! other one by the same means as after a crash. If the other one does not take it, it goes back where it was, by the
//! same means: that server lives, and says again what it had said.

use serde::{Deserialize, Serialize};

use super::{Connection, Context, State};
use crate::engine::Event;
use crate::service::{Link, Verb};
use crate::wire::{Flags, SegmentRepr};

/// What an upgrade has to do with a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Planned {
    /// Nothing.
    #[default]
    No,
    /// It is being moved; nothing was under way.
    Quiet,
    /// It is being moved in the middle of something.
    Replay,
    /// The move failed: it is being moved back.
    Back,
    /// The move failed, and it is back where it was.
    Returned,
}

impl Planned {
    /// It is on its way to the other server.
    pub(crate) const fn moves(self) -> bool {
        matches!(self, Self::Quiet | Self::Replay)
    }
}

impl Connection {
    /// Whether nothing is under way: each end has everything that the other has said, and another server that is told
    /// nothing, or a few commands, can go on.
    pub(crate) fn rests(&self) -> bool {
        let server = &self.server;
        let even = self.state == State::Established
            && self.protected
            && self.outbound.is_none()
            && self.recovery.is_none()
            && self.client.heard
            && self.client.fin.is_none()
            && server.fin.is_none()
            && server.una == server.end
            && self.client.next <= self.log.stable()
            && !self.log.has_gap()
            && !self.sent.expects();
        let Some(plugin) = self.plugin.as_ref().filter(|_| even) else {
            return false;
        };
        let nothing_to_say =
            self.log.start() == self.log.stable() && self.replay_from == server.end;
        // One that was announced goes with who announced it; and a close that is due, the other server would not know of.
        let free = plugin.link().is_none() && !plugin.close_expected(server.end);
        free && (nothing_to_say || plugin.rests(server.una))
    }

    /// Whether it can be moved though something is under way: what must not be done twice, is not begun again while its
    /// server lives.
    pub(crate) fn may_be_replayed(&self) -> bool {
        let open = self.state == State::Established
            && self.protected
            && self.client.heard
            && self.outbound.is_none()
            && self.planned != Planned::Returned
            && self.server.fin.is_none();
        let Some(plugin) = self.plugin.as_ref().filter(|_| open) else {
            return false;
        };
        let linked = matches!(plugin.link(), Some(Link::To(_)));
        let ends = matches!(plugin.verb(self.server.una), Verb::End(_));
        !linked && !ends && !plugin.close_expected(self.server.end)
    }

    /// Tells its server, which lives, that it is over. Not the client.
    pub(crate) fn leave_server(&mut self, cx: &mut Context<'_>) {
        if self.recovery.is_some() {
            self.reset_replacement(cx);
            return;
        }
        let ack = self
            .server
            .una
            .min(self.map.map_or(u64::MAX, |map| map.next));
        cx.send_south(&self.for_server(Flags::RST, self.client.acked, ack, &[]));
    }

    /// Its server, which lives, has something to say on it: there is nothing there that is known.
    pub(crate) fn refuse(&self, ack: crate::wire::SeqNumber, cx: &mut Context<'_>) {
        let segment = self.for_server(Flags::RST, 0, 0, &[]);
        cx.send_south(&SegmentRepr {
            seq: ack,
            ack: crate::wire::SeqNumber(0),
            flags: Flags::RST,
            ..segment
        });
    }

    /// A planned move does not succeed. Says whether it goes back to where it was: the engine sees to that.
    pub(crate) fn go_back(&mut self, reason: &'static str, cx: &mut Context<'_>) -> bool {
        if !self.planned.moves() || !cx.pair || self.goes_back {
            return self.goes_back;
        }
        // Of an attempt of the logger before this one it is not known.
        let told = self.recovery.as_ref().is_none_or(|it| it.has_told());
        let verb = self
            .plugin
            .as_ref()
            .filter(|_| told)
            .map(|it| it.verb(self.server.una));
        if matches!(verb, Some(Verb::End(_))) {
            return false;
        }
        self.reset_replacement(cx);
        self.recovery = None;
        self.goes_back = true;
        if let Some(upgrade) = &mut cx.upgrade {
            upgrade.returned += 1;
        }
        cx.events.push(Event::NotMoved {
            ends: self.ends(),
            reason,
        });
        true
    }

    /// The move, or the way back, has come to its end. Says whether there was one.
    pub(crate) fn planned_done(&mut self, cx: &mut Context<'_>) -> bool {
        let was = std::mem::take(&mut self.planned);
        if was == Planned::Back {
            self.planned = Planned::Returned;
        }
        let upgrade = cx.upgrade.as_mut().filter(|_| !cx.leaving);
        match (was, upgrade) {
            (Planned::Quiet, Some(upgrade)) => upgrade.moved_quiet += 1,
            (Planned::Replay, Some(upgrade)) => upgrade.moved_by_replay += 1,
            _ => {}
        }
        matches!(was, Planned::Quiet | Planned::Replay | Planned::Back)
    }

    /// It can be moved neither at rest nor by a replay, and its server goes for good.
    pub(crate) fn end_planned(&mut self, cx: &mut Context<'_>) {
        self.planned = Planned::Replay;
        self.lose(
            "its server was taken away, and what was under way must not be done twice",
            cx,
        );
    }

    /// The move, or the way back, ends the connection. Says whether there was one.
    pub(crate) fn planned_lost(&mut self, cx: &mut Context<'_>) -> bool {
        let was = std::mem::take(&mut self.planned);
        let planned = matches!(was, Planned::Quiet | Planned::Replay | Planned::Back);
        if let Some(upgrade) = cx.upgrade.as_mut().filter(|_| planned) {
            upgrade.lost += 1;
        }
        planned
    }
}
