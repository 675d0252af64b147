// SPDX-License-Identifier: GPL-3.0-only
//! Connections that belong together (see [`crate::service::Link`]): what the plug-in of one tells of another.

use super::{Connection, Context, State};
use crate::engine::{Ends, Event};
use crate::service::{Goes, Link, Moves, News, Stands};
use crate::wire::Flags;

/// Bytes of the server that wait until the client has all of a linked connection.
#[derive(Debug)]
pub(crate) struct Withheld {
    at: u64,
    bytes: Vec<u8>,
}

impl Connection {
    /// What its last segment told of other connections. What it told of itself is seen to.
    pub(crate) fn news(&mut self, cx: &mut Context<'_>) -> Option<News> {
        loop {
            match self.plugin.as_mut()?.news()? {
                News::Encrypted => self.unprotect("its streams are encrypted", cx),
                news => return Some(news),
            }
        }
    }

    /// How it is linked with others, unless it is over.
    pub(crate) fn link(&self) -> Option<Link> {
        let lives = matches!(
            self.state,
            State::Opening | State::Established | State::Recovering
        );
        let plugin = self.plugin.as_ref().filter(|_| lives)?;
        plugin.link()
    }

    /// It was announced by `control`.
    pub(crate) fn link_to(&mut self, control: Ends) {
        if let Some(plugin) = &mut self.plugin {
            plugin.linked_to(control);
        }
    }

    /// Who announced it says that the server has done what it was for: it may close, and if it has, the client is told.
    pub(crate) fn linked_is_over(&mut self, cx: &mut Context<'_>) {
        if let Some(plugin) = &mut self.plugin {
            plugin.linked_is_over();
        }
        if self.hold.is_some() && self.state == State::Established {
            self.release_hold(cx);
            self.check_closed(cx);
        }
    }

    /// How it stands, for the plug-in that announced it. `None`: no replacement could go on with it.
    pub(crate) fn stands(&self) -> Option<Stands> {
        let lives = matches!(
            self.state,
            State::Opening | State::Established | State::Recovering
        );
        if !lives || !self.protected {
            return None;
        }
        let una = self.server.una.min(self.server.end);
        Some(Stands {
            from: self.sent.resumable(una).unwrap_or(self.replay_from),
            said: self.server.end,
            heard: self.stable(),
        })
    }

    /// The server is dead. Tells the plug-in how the connection stands that it announced.
    pub(crate) fn linked_stands(&mut self, stands: Option<Stands>) -> Moves {
        let una = self.server.una.min(self.server.end);
        let plugin = self.plugin.as_mut();
        plugin.map_or_else(Moves::default, |it| it.linked_stands(una, stands))
    }

    /// The port at which the present server expects the connection that this one announced, if that is another.
    pub(crate) fn linked_port(&self) -> Option<u16> {
        self.plugin.as_ref()?.linked_port()
    }

    /// How it goes on, as who announced it says.
    pub(crate) fn goes(&mut self, on: Option<Goes>) {
        if let Some(plugin) = &mut self.plugin {
            plugin.goes(on);
        }
    }

    /// The present server is another, and takes it at this port.
    pub(crate) fn come_to(&mut self, port: u16, cx: &mut Context<'_>) {
        match self.state {
            State::Opening => {
                self.south_port = Some(port);
                cx.send_south(&self.syn(false));
            }
            State::Recovering => self.begin_at(port, cx),
            State::Established | State::Closed | State::Orphaned => {}
        }
    }

    /// No replacement will go on with it.
    pub(crate) fn lose_linked(&mut self, reason: &'static str, cx: &mut Context<'_>) {
        match self.state {
            State::Recovering => self.lose(reason, cx),
            State::Opening => {
                self.reset_client(cx);
                self.close(cx);
            }
            // It was faster than who announced it.
            State::Established if self.map.is_some() => {
                cx.counters.lost += 1;
                let ends = self.ends();
                cx.events.push(Event::Lost { ends, reason });
                self.reset_client(cx);
                let (at, ack) = (self.stable(), self.map.map_or(0, |map| map.next));
                cx.send_south(&self.for_server(Flags::RST, at, ack, &[]));
                self.protected = false;
                self.close(cx);
            }
            State::Established | State::Closed | State::Orphaned => {}
        }
    }

    /// Whether its client may still lack something of what the server has said, or will say.
    pub(crate) fn is_unfinished(&self) -> bool {
        let end = self.server.end;
        let ends =
            self.server.fin.is_some() || self.hold.is_some_and(|hold| hold.fin() == Some(end));
        matches!(self.state, State::Established | State::Recovering)
            && self.protected
            && !(ends && self.server.una >= end)
    }

    /// Keeps back what says that a linked connection is done, before its client has all of that. Says whether the
    /// segment's data is not to be passed as it is.
    pub(super) fn withhold(&mut self, at: i64, data: &[u8], cx: &mut Context<'_>) -> bool {
        let plugin = self.plugin.as_ref().filter(|_| self.linked_unfinished);
        let Some((plugin, at)) = plugin.zip(u64::try_from(at).ok()) else {
            return false;
        };
        let Some(from) = plugin.withholds(at, data) else {
            return false;
        };
        let Some((passes, waits)) = data.split_at_checked(from.saturating_sub(at) as usize) else {
            return false;
        };
        self.withheld = Some(Box::new(Withheld {
            at: from,
            bytes: waits.to_vec(),
        }));
        if passes.is_empty() {
            let at = self.server.next();
            self.send_client(Flags::default(), at, &[], cx);
        } else {
            let passes = passes.to_vec();
            self.say_to_client(at, passes, cx);
        }
        true
    }

    /// The client has all of the linked connection.
    pub(crate) fn pass_withheld(&mut self, cx: &mut Context<'_>) {
        if let Some(withheld) = self.withheld.take()
            && matches!(self.state, State::Established | State::Recovering)
            && withheld.at == self.server.end
        {
            self.say_to_client(withheld.at, withheld.bytes, cx);
        }
    }

    /// Passes on what the server has said, in segments of the logger's own.
    pub(super) fn say_to_client(&mut self, at: u64, bytes: Vec<u8>, cx: &mut Context<'_>) {
        if self.absorb(at, &bytes, cx) {
            if let Some(map) = &mut self.map {
                map.next = map.next.max(at + bytes.len() as u64);
            }
            self.send_data(at, bytes, cx);
        }
    }
}
