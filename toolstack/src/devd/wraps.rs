// SPDX-License-Identifier: GPL-3.0-only
//! Where service domains keep the records of their north side wraps: read from xenstore, told to `ftlogger`.
//!
//! What `ftlogger` has not taken is told it again, at the latest before the next request of Dom0 reaches it: it never sets up a
//! group without knowing what there is to know.

use std::collections::{BTreeMap, BTreeSet};

use fttcp::control::{self, Reply, WrapArea};

use super::log;
use super::requests::Forward;
use crate::error::Result;
use crate::guest::WRAP;
use crate::ids::DomId;
use crate::store::{self, Request, Store, Watch, XsPath};

/// Token of the watches.
pub(super) const TOKEN: &str = "wrap";
/// How much of a node that makes no sense is shown.
const SHOWN: usize = 60;

/// What is known of the areas.
#[derive(Debug, Default)]
pub(super) struct Wraps {
    /// Domains whose node is watched.
    watched: BTreeSet<DomId>,
    /// Of these, those whose node makes no sense, which is said once.
    nonsense: BTreeSet<DomId>,
    /// What `ftlogger` has been told, by interface.
    told: BTreeMap<String, Option<WrapArea>>,
    /// Something is to be told that it has not taken.
    pending: bool,
}

impl Wraps {
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
        let watch = |domain: &DomId| Watch {
            path: XsPath::domain(*domain).join(WRAP),
            token: TOKEN.to_owned(),
        };
        let now: BTreeSet<DomId> = interfaces.keys().copied().collect();
        // A watch that is refused (a quota) is no reason to plug no more interfaces. A broken connection shows at the next
        // look.
        for domain in now.difference(&self.watched) {
            if let Err(error) = store.watch(&watch(domain)) {
                log(&format!(
                    "domain {domain}: changes of {WRAP} are not seen: {error}"
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

    /// The areas of all domains that are watched, in one flight.
    fn read<S: Store + ?Sized>(&mut self, store: &S) -> Result<BTreeMap<DomId, WrapArea>> {
        let mut areas = BTreeMap::new();
        if self.watched.is_empty() {
            return Ok(areas);
        }
        let home = |domain: &DomId| XsPath::domain(*domain);
        let requests: Vec<Request> = self
            .watched
            .iter()
            .map(|domain| Request::Read(home(domain).join(WRAP)))
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
                    "domain {domain}: {WRAP} is {shown:?}, not \"GREF PORT\" in decimal; its servers count as servers \
                     without a wrap until its rxl-guest writes what it should"
                ));
            }
        }
        Ok(areas)
    }

    /// Tells what differs from what was told.
    fn tell(&mut self, wanted: &BTreeMap<&str, Option<WrapArea>>, forward: &mut impl Forward) {
        let before = std::mem::take(&mut self.pending);
        for (&interface, &area) in wanted {
            if self.told.get(interface) == Some(&area) {
                continue;
            }
            match ask(interface, area, forward) {
                Ok(()) => {
                    if let Some(WrapArea { domain, gref, port }) = area {
                        log(&format!(
                            "{interface}: domain {domain} grants its wrap's record, reference {gref}, port {port}"
                        ));
                    }
                    self.told.insert(interface.to_owned(), area);
                }
                Err(why) => {
                    // A driver domain without ftlogger has nothing to tell.
                    if !before && wanted.values().any(Option::is_some) {
                        log(&format!(
                            "{interface}: {why}; it is told where records are when it comes"
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
fn ask(interface: &str, area: Option<WrapArea>, forward: &mut impl Forward) -> Result<(), String> {
    let request = control::Request::WrapArea {
        interface: interface.to_owned(),
        area,
    };
    let line = serde_json::to_string(&request).map_err(|error| error.to_string())?;
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
fn parse(domain: DomId, text: &str) -> Option<WrapArea> {
    let number = |text: &str| -> Option<u32> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        // No reference and no port has the number 0.
        number.filter(|&number| number != 0)
    };
    let (gref, port) = text.split_once(' ')?;
    Some(WrapArea {
        domain: domain.0,
        gref: number(gref)?,
        port: number(port)?,
    })
}

#[cfg(test)]
mod tests;
