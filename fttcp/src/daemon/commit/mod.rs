// SPDX-License-Identifier: GPL-3.0-only
//! Who brings to disk what servers have written: answers of durable services wait for that (`ServiceSpec::durable`).
//!
//! Each server's agent is asked with a number and answers with it. An answer covers all numbers before it; what the agent begins
//! when it has the number covers all that the server has said by then.
//!
//! Who lives here: [`Commits`], the ways to the agents of all servers; `socket`, to one on this host; `page`, to one in another
//! domain. Who may call in: the daemon.

mod page;
mod socket;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;

use super::clock::log;
use super::epoll::{Epoll, Token};
use super::grants::{Grants, is_place};
use crate::control::{GRANTED, Grant, GroupSpec};
use crate::engine::{Commit, Committed};
use page::Page;
use socket::Socket;

/// What has become of a request.
pub(super) type Answer = (Commit, Committed);

/// Why a group's servers cannot be asked as it says.
pub(super) fn check(spec: &GroupSpec) -> Result<(), String> {
    let (group, Some(place)) = (&spec.name, &spec.commit) else {
        return Ok(());
    };
    is_place(place).then_some(()).ok_or_else(|| {
        format!(
            "group {group}: commit = {place}: expected {GRANTED}, or an absolute path with {{}} once, for the server's \
             interface, such as /run/rxl/{{}}.commit"
        )
    })
}

/// The way to the agent of one server.
#[derive(Debug)]
struct Way {
    id: u32,
    group: String,
    interface: String,
    place: Place,
    /// The newest number that it was asked, and the newest that is dealt with.
    asked: u64,
    answered: u64,
    /// It has been reached. One that is no longer may be of a server that dies just now: what that has said is not believed before the
    /// time for it is up.
    reached: bool,
    /// That it cannot be reached was said.
    said: bool,
}

#[derive(Debug)]
enum Place {
    Socket(Socket),
    /// Memory of the server's domain, if that grants any yet.
    Granted(Option<Page>),
}

impl Way {
    fn commit(&self, number: u64) -> Commit {
        Commit {
            group: self.group.clone(),
            interface: self.interface.clone(),
            number,
        }
    }

    /// Asks. False: there is nobody.
    fn ask(&mut self, number: u64, epoll: &Epoll) -> bool {
        self.asked = self.asked.max(number);
        let asked = match &mut self.place {
            Place::Socket(socket) => {
                let token = Token::Commit(self.id);
                socket.ask(number, |it| epoll.watch(it, token))
            }
            Place::Granted(Some(page)) => page.ask(number),
            Place::Granted(None) => return false,
        };
        let Err(error) = asked else {
            (self.reached, self.said) = (true, false);
            return true;
        };
        if self.reached {
            self.say(&error);
        }
        self.reached
    }

    fn say(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.said, true) {
            log(format_args!(
                "group {}: cannot ask {} to bring its data to disk: {error}; answers that tell of it wait until their time is up",
                self.group, self.interface
            ));
        }
    }

    /// Takes what has been answered.
    fn hear(&mut self, epoll: &Epoll) -> Vec<Answer> {
        let heard = match &mut self.place {
            Place::Socket(socket) => {
                let heard = socket.hear();
                if socket.is_open() {
                    Ok(heard)
                } else {
                    let lost = socket.lose(self.asked);
                    // It may have been started anew.
                    if lost && self.asked > self.answered {
                        self.ask(self.asked, epoll);
                    }
                    Ok(heard)
                }
            }
            Place::Granted(Some(page)) => page.hear(),
            Place::Granted(None) => Ok(Vec::new()),
        };
        let heard = heard.unwrap_or_else(|error| {
            self.say(&error);
            Vec::new()
        });
        let mut answers = Vec::new();
        for (number, done) in heard {
            // Nobody has done what was not asked.
            let number = number.min(self.asked);
            self.answered = self.answered.max(number);
            let how = if let Err(why) = done {
                log(format_args!(
                    "group {}: {} could not bring its data to disk: {why}",
                    self.group, self.interface
                ));
                Committed::Failed
            } else {
                Committed::Done
            };
            answers.push((self.commit(number), how));
        }
        answers
    }
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Commits {
    /// Where the agents of a group's servers are.
    places: BTreeMap<String, String>,
    ways: Vec<Way>,
    ids: u32,
    grants: Grants,
    epoll: Rc<Epoll>,
    /// Bells are heard.
    bells: bool,
}

impl Commits {
    pub(super) fn new(epoll: Rc<Epoll>) -> Self {
        Self {
            places: BTreeMap::new(),
            ways: Vec::new(),
            ids: 0,
            grants: Grants::default(),
            epoll,
            bells: false,
        }
    }

    /// Pages that were granted to a logger before this one; from now on they are kept at `path`.
    pub(super) fn keep_at(&mut self, path: &Path) {
        self.grants.keep_at(path);
        self.watch_bells();
    }

    /// No logger comes after this one that is to know them.
    pub(super) fn forget_pages(&self) {
        self.grants.forget();
    }

    fn watch_bells(&mut self) {
        let Some(bells) = self.grants.bells().filter(|_| !self.bells) else {
            return;
        };
        match self.epoll.watch(bells, Token::CommitBells) {
            Ok(()) => self.bells = true,
            Err(error) => log(format_args!("cannot wait for event channels: {error}")),
        }
    }

    /// Where the agents of this group's servers are, it says.
    pub(super) fn watch(&mut self, spec: &GroupSpec) {
        if let Some(place) = &spec.commit {
            self.places.insert(spec.name.clone(), place.clone());
        }
    }

    /// The group has ended.
    pub(super) fn forget_group(&mut self, group: &str) {
        self.places.remove(group);
        self.ways.retain(|way| way.group != group);
    }

    /// The interface is closed: one of that name leads to another server.
    pub(super) fn forget(&mut self, interface: &str) {
        self.ways.retain(|way| way.interface != interface);
    }

    /// The way to the server of this request; `None`: its group names none.
    fn way(&mut self, wanted: &Commit) -> Option<usize> {
        let Commit {
            group, interface, ..
        } = wanted;
        let known = |way: &Way| way.group == *group && way.interface == *interface;
        if let Some(index) = self.ways.iter().position(known) {
            return Some(index);
        }
        let text = self.places.get(group)?;
        let place = if text == GRANTED {
            Place::Granted(self.granted(interface))
        } else {
            Place::Socket(Socket::new(text.replace("{}", interface).into()))
        };
        self.ids += 1;
        self.ways.push(Way {
            id: self.ids,
            group: group.clone(),
            interface: interface.clone(),
            place,
            asked: 0,
            answered: 0,
            reached: false,
            said: false,
        });
        Some(self.ways.len() - 1)
    }

    fn granted(&self, interface: &str) -> Option<Page> {
        let grant = self.grants.granted(interface)?;
        let copier = self.grants.copier()?;
        Some(Page::new(grant, copier, self.grants.bell(grant)))
    }

    /// Asks a server's agent. False: there is nobody who could be asked.
    pub(super) fn ask(&mut self, wanted: &Commit) -> bool {
        let Some(way) = self.way(wanted) else {
            return false;
        };
        let way = &mut self.ways[way];
        let asked = way.ask(wanted.number, &self.epoll);
        if !asked {
            way.answered = way.asked;
        }
        asked
    }

    /// The agent at the socket with this number has something to say.
    pub(super) fn hear(&mut self, id: u32) -> Vec<Answer> {
        let way = self.ways.iter_mut().find(|way| way.id == id);
        way.map_or_else(Vec::new, |way| way.hear(&self.epoll))
    }

    /// Agents have rung.
    pub(super) fn hear_bells(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(port) = self.grants.next_bell() {
            let heard = |way: &&mut Way| matches!(&way.place, Place::Granted(Some(page)) if page.hears(port));
            for way in self.ways.iter_mut().filter(heard) {
                answers.extend(way.hear(&self.epoll));
            }
        }
        answers
    }

    /// By which page the agent behind `interface` is asked: its domain grants another one now, or none any more. Says whether
    /// that is kept for the next logger, and what is not to be waited for any more.
    pub(super) fn set_page(
        &mut self,
        interface: &str,
        grant: Option<Grant>,
    ) -> (Result<(), String>, Vec<Answer>) {
        let kept = self.grants.set(interface, grant);
        self.watch_bells();
        let mut answers = Vec::new();
        for index in 0..self.ways.len() {
            let way = &self.ways[index];
            let Place::Granted(before) = &way.place else {
                continue;
            };
            if way.interface != interface || before.as_ref().map(|it| it.grant) == grant {
                continue;
            }
            let page = grant.and_then(|_| self.granted(interface));
            let way = &mut self.ways[index];
            way.place = Place::Granted(page);
            // Who was asked has gone in order.
            if way.asked > way.answered && !way.ask(way.asked, &self.epoll) {
                way.answered = way.asked;
                answers.push((way.commit(way.asked), Committed::Nobody));
            }
        }
        (kept, answers)
    }
}

#[cfg(test)]
mod tests;
