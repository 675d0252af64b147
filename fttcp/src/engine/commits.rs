// SPDX-License-Identifier: GPL-3.0-only
//! Answers that wait until a server's disk has what they tell of: what is to be asked of whom, and what passes when it is done.
//!
//! A request covers all that the server had said when it was sent: the owner of the engine takes it ([`Engine::poll_commit`]) and sends
//! it at once. Connections whose answers come meanwhile share one request; what is said later needs another.

use std::collections::BTreeSet;

use super::{Engine, Event};
use crate::frame::{Output, Time};

/// A server is to bring to its disk what it has written until now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The group.
    pub group: String,
    /// The interface towards the server.
    pub interface: String,
    /// The request's number: larger than that of every one before it in the group.
    pub number: u64,
}

/// What has become of a request, and of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The disk has it.
    Done,
    /// The server could not do it.
    Failed,
    /// There is nobody who could be asked.
    Nobody,
    /// The time for it was up.
    Late,
}

/// The requests of a group.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    last: u64,
    /// Those that were not taken yet: a server's number, and theirs.
    asked: Vec<(u32, u64)>,
    /// The slots of connections that wait. Some may wait no more.
    waiting: BTreeSet<usize>,
    /// That there is nobody was said.
    said: bool,
}

impl Commits {
    /// The number of the request that covers what this server has said until now.
    pub(crate) fn ask(&mut self, server: u32) -> u64 {
        let known = self.asked.iter().find(|&&(known, _)| known == server);
        if let Some(&(_, number)) = known {
            return number;
        }
        self.last += 1;
        self.asked.push((server, self.last));
        self.last
    }
}

impl Engine {
    /// The next request that is to be sent, if any. To be asked whenever the engine has been given something to do.
    pub fn poll_commit(&mut self) -> Option<Commit> {
        for group in self.groups.iter_mut().flatten() {
            while let Some((server, number)) = group.commits.asked.pop() {
                // Of a server that has died meanwhile nothing is believed.
                if let Some(interface) = group.interface_of(server) {
                    return Some(Commit {
                        group: group.spec.name.clone(),
                        interface: interface.to_owned(),
                        number,
                    });
                }
            }
        }
        None
    }

    /// The server at an interface has dealt with a request, and with all before it. Of one that is not the group's any more
    /// this says nothing.
    pub fn committed(&mut self, now: Time, done: &Commit, how: Committed, out: &mut impl Output) {
        let Ok(index) = self.find(&done.group) else {
            return;
        };
        let group = self.groups[index].as_ref();
        let server = group.and_then(|group| group.number_of(&done.interface));
        if let Some(server) = server {
            self.note_commit(index, done, how);
            self.journaled(now, out, |engine, out| {
                engine.pass_committed(now, (index, server), done.number, how, out);
            });
        }
    }

    fn note_commit(&mut self, index: usize, done: &Commit, how: Committed) {
        let Some(group) = &mut self.groups[index] else {
            return;
        };
        let nobody = how == Committed::Nobody;
        if nobody && !group.commits.said {
            self.desk.events.push(Event::NobodyCommits {
                group: done.group.clone(),
                interface: done.interface.clone(),
            });
        }
        group.commits.said |= nobody;
    }

    fn pass_committed(
        &mut self,
        now: Time,
        (index, server): (usize, u32),
        number: u64,
        how: Committed,
        out: &mut dyn Output,
    ) {
        self.table.hurry(true);
        let waiting = self.groups[index].as_mut();
        let waiting = waiting.map(|group| std::mem::take(&mut group.commits.waiting));
        for slot in waiting.unwrap_or_default() {
            let (Some(connection), Some(group)) = (self.table.get(slot), &mut self.groups[index])
            else {
                continue;
            };
            if connection.group != index || connection.uncommitted.is_none() {
                self.table.schedule(slot);
                continue;
            }
            let service = connection.service;
            if connection.server_number == server {
                let mut cx = group.context(service, server, now, out, &mut self.desk);
                connection.committed(number, how, &mut cx);
            }
            let waits = connection.uncommitted.is_some();
            let announces = group.announces(service);
            self.table.schedule(slot);
            if waits {
                self.note_uncommitted(slot);
            }
            if announces {
                self.follow_news(now, slot, out);
            }
        }
    }

    /// What the connection's server has said waits: so does the close of what it has announced.
    pub(super) fn note_uncommitted(&mut self, slot: usize) {
        let Some(connection) = self.table.peek(slot) else {
            return;
        };
        let (index, ends) = (connection.group, connection.ends());
        let Some(until) = connection.uncommitted.as_ref().map(|it| it.until()) else {
            return;
        };
        let Some(group) = &mut self.groups[index] else {
            return;
        };
        group.commits.waiting.insert(slot);
        let linked = self.linked_slot(index, ends);
        if let Some(slot) = linked
            && let Some(connection) = self.table.get(slot)
        {
            connection.keep_open(until);
            self.table.schedule(slot);
        }
    }
}
