// SPDX-License-Identifier: GPL-3.0-only
//! Groups and connections as bytes, for another process to go on with: the same logger after a restart, or another.
//!
//! An image holds no port numbers: groups name their interfaces, and who takes an image in opens them. It holds the
//! time at which it was taken, and all other times are moved to the clock of the engine that takes it in; the time
//! between the two does not count. A connection that was being moved to a replacement begins that again.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::table::Key;
use super::upgrade::Upgrade;
use super::{Engine, EngineError, GroupPorts};
use crate::conn::{Connection, Progress, State, Stored, StoredRef};
use crate::control::{Counters, GroupSpec};
use crate::frame::{Output, Time};
use crate::wire::MacAddr;

/// Raised whenever the layout of anything in an image changes.
pub(crate) const VERSION: u32 = 17;

/// A group in an image.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GroupImage {
    pub(crate) spec: GroupSpec,
    pub(crate) counters: Counters,
    pub(crate) progress: Option<Progress>,
    /// The number of the active server, and how many there have been.
    pub(crate) numbers: (u32, u32),
    pub(crate) upgrade: Option<Upgrade>,
    pub(crate) solicited: Vec<(MacAddr, IpAddr)>,
}

impl GroupImage {
    /// Whether an engine can have written it, and more servers can still be counted.
    pub(crate) fn is_sound(&self) -> bool {
        let (active, all) = self.numbers;
        active <= all && all < u32::MAX / 2
    }
}

/// Groups and connections, by their numbers in the engine that they come from.
#[derive(Debug, Default)]
pub struct Image {
    pub(crate) taken: Time,
    pub(crate) groups: BTreeMap<u32, GroupImage>,
    pub(crate) connections: BTreeMap<u32, Connection>,
}

/// Why bytes are no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Another version wrote it.
    #[error(
        "it was written by another version of ftlogger (layout {found}, this one knows {VERSION})"
    )]
    Version {
        /// The layout's version.
        found: u32,
    },
    /// Not what an engine writes.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

/// What came of taking in an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Groups taken in.
    pub groups: usize,
    /// Connections taken in.
    pub connections: usize,
}

/// What [`Engine::export`] writes after the version.
#[derive(Deserialize)]
struct Read {
    taken: Time,
    groups: Vec<(u32, GroupImage)>,
    connections: Vec<(u32, Stored)>,
}

impl Image {
    /// Reads what [`Engine::export`] wrote.
    ///
    /// # Errors
    /// The bytes are damaged or from another version.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        let damaged = |error: postcard::Error| ImageError::Damaged(error.to_string());
        let (found, rest) = postcard::take_from_bytes(bytes).map_err(damaged)?;
        if found != VERSION {
            return Err(ImageError::Version { found });
        }
        let read: Read = postcard::from_bytes(rest).map_err(damaged)?;
        let mut image = Self {
            taken: read.taken,
            groups: BTreeMap::new(),
            connections: BTreeMap::new(),
        };
        for (number, group) in read.groups {
            if !group.is_sound() {
                let text = format!("group {number} contradicts itself");
                return Err(ImageError::Damaged(text));
            }
            image.groups.insert(number, group);
        }
        for (slot, stored) in read.connections {
            let connection = Connection::from(stored);
            if !connection.is_sound() {
                let text = format!("connection {slot} contradicts itself");
                return Err(ImageError::Damaged(text));
            }
            image.connections.insert(slot, connection);
        }
        Ok(image)
    }
}

impl Image {
    /// The groups, as they were set up.
    pub fn groups(&self) -> impl Iterator<Item = &GroupSpec> {
        self.groups.values().map(|group| &group.spec)
    }
}

impl Engine {
    /// Everything that the engine knows, as bytes; logs with what is in the spill file. A connection whose log cannot be
    /// read from there is left out. The engine goes on as before.
    #[must_use]
    pub fn export(&self, now: Time) -> Vec<u8> {
        let groups = (0..).zip(&self.groups);
        let groups: Vec<(u32, GroupImage)> = groups
            .filter_map(|(index, _)| Some((index, self.group_image(index as usize)?)))
            .collect();
        let connections = self.table.slots();
        let images = connections.filter_map(|(slot, it)| Self::connection_image(slot, &it));
        Self::image(now, &groups, &images.collect::<Vec<_>>())
    }

    /// The same of one connection, with its group. `None`: there is none, or its log cannot be read.
    pub(super) fn export_one(&mut self, now: Time, slot: usize) -> Option<Vec<u8>> {
        let asleep = self.table.dormant_copy(slot);
        let connection = asleep
            .as_ref()
            .or_else(|| self.table.peek(slot).map(|it| &*it))?;
        let (index, image) = (connection.group, Self::connection_image(slot, connection)?);
        let group = (u32::try_from(index).ok()?, self.group_image(index)?);
        Some(Self::image(now, &[group], &[image]))
    }

    fn connection_image(slot: usize, connection: &Connection) -> Option<Vec<u8>> {
        postcard::to_allocvec(&(slot as u32, StoredRef::from(connection))).ok()
    }

    /// A struct is its fields one after the other, and a list its length and then its items. All else than logs is made of
    /// numbers, bytes and strings, of which none is without a form.
    fn image(now: Time, groups: &[(u32, GroupImage)], connections: &[Vec<u8>]) -> Vec<u8> {
        let head = (VERSION, now, groups, connections.len());
        let mut bytes = postcard::to_allocvec(&head).unwrap_or_default();
        bytes.extend(connections.iter().flatten());
        bytes
    }

    pub(super) fn group_image(&self, index: usize) -> Option<GroupImage> {
        let group = self.groups.get(index)?.as_ref()?;
        Some(GroupImage {
            spec: group.spec.clone(),
            counters: group.counters,
            progress: group.progress.clone(),
            numbers: (group.number, group.numbers),
            upgrade: group.upgrade.clone(),
            solicited: group.solicited.iter().copied().collect(),
        })
    }

    /// Takes in an image. `ports` opens the interfaces of each group, from whose spec it may take standbys that it
    /// cannot open; a group for which it gives `None` is left out. Connections that were being moved begin that
    /// again at once.
    ///
    /// # Errors
    /// A group that cannot be added, as by [`Engine::add_group`]; what came before it in the image is taken in.
    pub fn import(
        &mut self,
        now: Time,
        image: Image,
        mut ports: impl FnMut(&mut GroupSpec) -> Option<GroupPorts>,
        out: &mut impl Output,
    ) -> Result<Imported, EngineError> {
        let mut imported = Imported::default();
        let mut numbers = BTreeMap::new();
        for (number, mut group) in image.groups {
            if let Some(ports) = ports(&mut group.spec) {
                let index = self.import_group(number as usize, group, ports, (image.taken, now))?;
                numbers.insert(number as usize, index);
                imported.groups += 1;
            }
        }
        for (slot, mut connection) in image.connections {
            if let Some(&group) = numbers.get(&connection.group) {
                connection.group = group;
                connection.change_clock(image.taken, now);
                imported.connections +=
                    usize::from(self.import_connection(now, slot as usize, connection, out));
            }
        }
        for &index in numbers.values() {
            self.resume_waiting(index);
            self.resume_links(now, index);
            self.resume_upgrade(now, index, out);
        }
        Ok(imported)
    }

    fn import_group(
        &mut self,
        wanted: usize,
        image: GroupImage,
        ports: GroupPorts,
        (from, to): (Time, Time),
    ) -> Result<usize, EngineError> {
        let wanted = Some(wanted).filter(|&wanted| wanted < self.config.max_connections);
        let index = self.place_group(wanted, image.spec, ports)?;
        if let Some(group) = &mut self.groups[index] {
            group.counters = image.counters;
            (group.number, group.numbers) = image.numbers;
            group.upgrade = image.upgrade;
            if let Some(upgrade) = &mut group.upgrade {
                upgrade.change_clock(from, to);
            }
            group.solicited = image.solicited.into_iter().collect();
            group.progress = image.progress.map(|mut progress| {
                progress.started = progress.started.moved(from, to);
                // They begin again, too.
                progress.status.waiting = 0;
                progress
            });
        }
        Ok(index)
    }

    /// False: its service is none of its group's.
    pub(super) fn import_connection(
        &mut self,
        now: Time,
        wanted: usize,
        mut connection: Connection,
        out: &mut dyn Output,
    ) -> bool {
        let (index, service) = (connection.group, connection.service);
        let number = connection.server_number;
        let Some(group) = &mut self.groups[index] else {
            return false;
        };
        if service >= group.services.len() {
            return false;
        }
        let ends = connection.ends();
        let key = Key {
            group: index,
            client: ends.client,
            server: ends.server,
        };
        self.generations = self.generations.max(connection.generation);
        // What the fast path has may have changed after the image was taken: it is asked.
        connection.offloaded = self.config.shortcut;
        let recovering = connection.state == State::Recovering;
        let begun = connection.map.is_some();
        let over = connection.over();
        let known = self.table.find(&key).and_then(|slot| self.table.get(slot));
        let slot = if known.as_ref().is_some_and(|known| known.over()) {
            self.table.unname(&key);
            self.table.insert(key, connection)
        } else if known.is_some() && over {
            self.table.insert_nameless(connection)
        } else if wanted < self.config.max_connections {
            self.table.insert_at(wanted, key, connection)
        } else {
            self.table.insert(key, connection)
        };
        let mut cx = group.context(service, number, now, out, &mut self.desk);
        self.table.rename(slot, |connection| {
            connection.spill(0, &mut cx);
            connection.tighten();
            let known = connection.revive(&cx.service.make);
            if recovering {
                connection.resume_recovery(&mut cx);
                let goes_on = connection.state == State::Recovering;
                if begun && goes_on && cx.service.remembers {
                    connection.lose("the logger was killed while it was moved", &mut cx);
                }
            }
            if !known {
                connection.give_up_plugin(&mut cx);
            }
        });
        self.table.schedule(slot);
        self.note_history(slot);
        true
    }
}
