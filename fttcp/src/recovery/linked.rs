// SPDX-License-Identifier: GPL-3.0-only
//! Connections that another one has announced: where the replacement takes them, it says there. And what becomes of that one
//! if its client ends the one that it has announced, and says so.

use super::Begin;
use crate::conn::{Connection, Context};

impl Connection {
    /// As [`Connection::start_recovery`], of a connection that another has announced: the replacement takes it at this
    /// port.
    pub(crate) fn begin_at(&mut self, port: u16, cx: &mut Context<'_>) {
        if self.map.is_some() {
            // It had another one before.
            self.reset_replacement(cx);
            let begin = Begin {
                resume: self.plan_resume(),
                waits: self.recovery.as_ref().is_some_and(|it| it.waits),
                ..Begin::default()
            };
            self.begin_recovery(begin, cx);
        }
        self.south_port = Some(port);
        self.send_syn(cx);
    }

    /// The client has ended the connection that this one announced: a replacement that is being asked to go on with it is
    /// asked anew.
    pub(crate) fn linked_is_gone(&mut self, cx: &mut Context<'_>) {
        let una = self.server.una.min(self.server.end);
        let asking = self.recovery.as_ref().is_some_and(|it| it.resume.is_some());
        let plugin = self.plugin.as_mut().filter(|_| asking);
        if plugin.is_some_and(|plugin| plugin.linked_is_gone(una)) {
            self.ask_anew(cx);
        }
    }

    /// The client may have said something that changes what a replacement is being asked. Says whether it did.
    pub(super) fn hear_on(&mut self, cx: &mut Context<'_>) -> bool {
        let una = self.server.una.min(self.server.end);
        let asking = self.recovery.as_ref().is_some_and(|it| it.resume.is_some());
        let plugin = self.plugin.as_mut().filter(|_| asking);
        let anew = plugin.is_some_and(|plugin| plugin.asks_anew(una));
        if anew {
            self.ask_anew(cx);
        }
        anew
    }

    fn ask_anew(&mut self, cx: &mut Context<'_>) {
        let (told, waits) = (
            self.map.is_some(),
            self.recovery.as_ref().is_some_and(|it| it.waits),
        );
        self.reset_replacement(cx);
        let begin = Begin {
            resume: self.plan_resume(),
            waits,
            ..Begin::default()
        };
        self.begin_recovery(begin, cx);
        if let Some(recovery) = self.recovery.as_mut().filter(|_| told) {
            // What is still on its way from this attempt needs no other reset, and is not believed.
            recovery.ended_older = true;
            recovery.inherited = true;
        }
    }
}
