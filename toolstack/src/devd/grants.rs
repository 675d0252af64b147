// SPDX-License-Identifier: GPL-3.0-only
//! What service domains grant to this one: the records of their north side wraps, the pages by which their agents are asked to
//! bring data to disk. Read from xenstore, told to `ftlogger`.
//!
//! What `ftlogger` has not taken is told it again, at the latest before the next request of Dom0 reaches it: it never sets up a
//! group without knowing what there is to know.

use std::collections::{BTreeMap, BTreeSet};

use fttcp::control::{self, Grant, Reply};

use super::log;
use super::requests::Forward;
use crate::error::Result;
use crate::guest::{COMMIT, WRAP};
use crate::ids::DomId;
use crate::store::{self, Request, Store, Watch, XsPath};

/// How much of a node that makes no sense is shown.
const SHOWN: usize = 60;

/// What is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A wrap's record.
    Wrap,
    /// The page by which an agent is asked.
    Commit,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 2] = [Self::Wrap, Self::Commit];

    /// The node that tells of it.
    const fn node(self) -> &'static str {
        match self {
            Self::Wrap => WRAP,
            Self::Commit => COMMIT,
        }
    }

    /// Token of its watches.
    pub(super) const fn token(self) -> &'static str {
        match self {
            Self::Wrap => "wrap",
            Self::Commit => "commit",
        }
    }

    /// What it is, in a sentence.
    const fn is(self) -> &'static str {
        match self {
            Self::Wrap => "its wrap's record",
            Self::Commit => "a page to ask its agent for its disk",
        }
    }

    /// What follows if a node makes no sense.
    const fn lacks(self) -> &'static str {
        match self {
            Self::Wrap => "its servers count as servers without a wrap",
            Self::Commit => "nobody asks it to bring data to disk",
        }
    }

    /// How `ftlogger` is told.
    fn request(self, interface: String, grant: Option<Grant>) -> control::Request {
        match self {
            Self::Wrap => control::Request::WrapArea {
                interface,
                area: grant,
            },
            Self::Commit => control::Request::CommitPage {
                interface,
                page: grant,
            },
        }
    }
}

/// What is known of the grants of one kind.
#[derive(Debug)]
pub(super) struct Grants {
    kind: Kind,
    /// Domains whose node is watched.
    watched: BTreeSet<DomId>,
    /// Of these, those whose node makes no sense, which is said once.
    nonsense: BTreeSet<DomId>,
    /// What `ftlogger` has been told, by interface.
    told: BTreeMap<String, Option<Grant>>,
    /// Something is to be told that it has not taken.
    pending: bool,
}

impl Grants {
    /// Nothing is known yet.
    pub(super) const fn new(kind: Kind) -> Self {
        Self {
            kind,
            watched: BTreeSet::new(),
            nonsense: BTreeSet::new(),
            told: BTreeMap::new(),
            pending: false,
        }
    }

    /// Whether `ftlogger` is still to be told something.
    pub(super) const fn pending(&self) -> bool {
        self.pending
    }

    /// `ftlogger` has been started again: what it was told before does not count.
    pub(super) fn forget_told(&mut self) {
        self.told.clear();
    }

    /// Looks at the nodes of the domains that have `interfaces` here, and tells `ftlogger` what is new.
    pub(super) fn look<S: Store + ?Sized>(
        &mut self,
        store: &S,
        interfaces: &BTreeMap<DomId, Vec<String>>,
        forward: &mut impl Forward,
    ) -> Result<()> {
        self.watch(store, interfaces);
        let areas = self.read(store)?;
        let mut wanted = BTreeMap::new();
        for (domain, names) in interfaces {
            let area = areas.get(domain).copied();
            wanted.extend(names.iter().map(|name| (name.as_str(), area)));
        }
        // Interfaces that have gone. Their names may come again, with another domain behind them.
        let gone = self.told.iter().filter(|(_, area)| area.is_some());
        let gone: Vec<String> = gone
            .map(|(name, _)| name.clone())
            .filter(|name| !wanted.contains_key(name.as_str()))
            .collect();
        self.told
            .retain(|name, area| area.is_some() || wanted.contains_key(name.as_str()));
        wanted.extend(gone.iter().map(|name| (name.as_str(), None)));
        self.tell(&wanted, forward);
        Ok(())
    }

    /// Watches the nodes of domains that are new, and no more those of domains that have gone.
    fn watch<S: Store + ?Sized>(&mut self, store: &S, interfaces: &BTreeMap<DomId, Vec<String>>) {
        let node = self.kind.node();
        let watch = |domain: &DomId| Watch {
            path: XsPath::domain(*domain).join(node),
            token: self.kind.token().to_owned(),
        };
        let now: BTreeSet<DomId> = interfaces.keys().copied().collect();
        // A watch that is refused (a quota) is no reason to plug no more interfaces. A broken connection shows at the next
        // look.
        for domain in now.difference(&self.watched) {
            if let Err(error) = store.watch(&watch(domain)) {
                log(&format!(
                    "domain {domain}: changes of {node} are not seen: {error}"
                ));
            }
        }
        for domain in self.watched.difference(&now) {
            if let Err(error) = store.unwatch(&watch(domain)) {
                log(&error.to_string());
            }
        }
        self.nonsense.retain(|domain| now.contains(domain));
        self.watched = now;
    }

    /// The grants of all domains that are watched, in one flight.
    fn read<S: Store + ?Sized>(&mut self, store: &S) -> Result<BTreeMap<DomId, Grant>> {
        let node = self.kind.node();
        let mut areas = BTreeMap::new();
        if self.watched.is_empty() {
            return Ok(areas);
        }
        let home = |domain: &DomId| XsPath::domain(*domain);
        let requests: Vec<Request> = self
            .watched
            .iter()
            .map(|domain| Request::Read(home(domain).join(node)))
            .collect();
        let replies = store.batch(&requests)?;
        for (domain, reply) in self.watched.iter().zip(replies) {
            // Refused: there is none, or none that its owner lets this domain read.
            let Ok(store::Reply::Value(value)) = reply else {
                self.nonsense.remove(domain);
                continue;
            };
            let text = String::from_utf8_lossy(&value);
            if let Some(area) = parse(*domain, &text) {
                self.nonsense.remove(domain);
                areas.insert(*domain, area);
            } else if self.nonsense.insert(*domain) {
                let shown = &text[..text.floor_char_boundary(SHOWN.min(text.len()))];
                log(&format!(
                    "domain {domain}: {node} is {shown:?}, not \"GREF PORT\" in decimal; {} until its rxl-guest writes what it \
                     should",
                    self.kind.lacks()
                ));
            }
        }
        Ok(areas)
    }

    /// Tells what differs from what was told.
    fn tell(&mut self, wanted: &BTreeMap<&str, Option<Grant>>, forward: &mut impl Forward) {
        let before = std::mem::take(&mut self.pending);
        for (&interface, &area) in wanted {
            if self.told.get(interface) == Some(&area) {
                continue;
            }
            let request = self.kind.request(interface.to_owned(), area);
            match ask(&request, interface, forward) {
                Ok(()) => {
                    if let Some(Grant { domain, gref, port }) = area {
                        log(&format!(
                            "{interface}: domain {domain} grants {}, reference {gref}, port {port}",
                            self.kind.is()
                        ));
                    }
                    self.told.insert(interface.to_owned(), area);
                }
                Err(why) => {
                    // A driver domain without ftlogger has nothing to tell.
                    if !before && wanted.values().any(Option::is_some) {
                        log(&format!(
                            "{interface}: {why}; it is told what is granted when it comes"
                        ));
                    }
                    self.pending = true;
                    return;
                }
            }
        }
    }
}

/// Tells `ftlogger` of one interface. An error: it has not heard it.
fn ask(
    request: &control::Request,
    interface: &str,
    forward: &mut impl Forward,
) -> Result<(), String> {
    let line = serde_json::to_string(request).map_err(|error| error.to_string())?;
    let reply = forward.forward(&line)?;
    // It has heard it. What it does not want to hear does not become better by saying it again.
    match serde_json::from_str(&reply) {
        Ok(Reply::Done) => {}
        Ok(Reply::Error { message }) => log(&format!("{interface}: ftlogger says: {message}")),
        _ => log(&format!(
            "{interface}: ftlogger's reply is not understood: {reply:?}"
        )),
    }
    Ok(())
}

/// What the node of `domain` says.
fn parse(domain: DomId, text: &str) -> Option<Grant> {
    let number = |text: &str| -> Option<u32> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        // No reference and no port has the number 0.
        number.filter(|&number| number != 0)
    };
    let (gref, port) = text.split_once(' ')?;
    Some(Grant {
        domain: domain.0,
        gref: number(gref)?,
        port: number(port)?,
    })
}

#[cfg(test)]
mod tests;
