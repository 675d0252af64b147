// SPDX-License-Identifier: GPL-3.0-only
//! From the records of a journal to the state that they tell.

use serde::de::DeserializeOwned;

use super::{JournalError, Kind, Records, State};
use crate::conn::{Connection, FAR, Masks, Sent, SentDelta, Stored};
use crate::engine::{GroupImage, Image};
use crate::frame::Time;

/// Reads one journal after the other, as they continue each other.
#[derive(Debug, Default)]
pub struct Replay {
    image: Image,
    /// Connections are passed over.
    groups_only: bool,
}

impl Replay {
    /// Nothing read yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing read yet; of what is read then, only the groups are taken in.
    #[must_use]
    pub fn of_groups() -> Self {
        Self {
            groups_only: true,
            ..Self::default()
        }
    }

    /// Reads a journal. One that ends in the middle of a record, or of its header, ends before that.
    ///
    /// # Errors
    /// It is none, another version wrote it, or it is damaged.
    pub fn read(&mut self, journal: &[u8]) -> Result<(), JournalError> {
        let mut records = Records::new(journal)?;
        while let Some((at, kind, contents)) = records.next()? {
            let done = match Kind::of(kind) {
                Some(kind) if self.groups_only && !kind.is_of_groups() => Ok(()),
                Some(kind) => self.take(kind, contents),
                None => Err(format!("a record of kind {kind}")),
            };
            done.map_err(|what| Records::damaged(at, what))?;
        }
        Ok(())
    }

    /// What all that was read comes to.
    ///
    /// # Errors
    /// A connection contradicts itself.
    pub fn finish(mut self) -> Result<Image, JournalError> {
        let groups = &self.image.groups;
        self.image
            .connections
            .retain(|_, connection| groups.contains_key(&(connection.group as u32)));
        for (slot, connection) in &mut self.image.connections {
            if !connection.is_sound() {
                let text = format!("connection {slot} contradicts itself");
                return Err(Records::damaged(0, text));
            }
            let group = groups.get(&(connection.group as u32));
            let service = group.and_then(|group| group.spec.services.get(connection.service));
            if let Some(service) = service {
                let masks = Masks::new(&service.mask);
                connection.sent.prune(connection.server.una, &masks);
            }
        }
        Ok(self.image)
    }

    fn take(&mut self, kind: Kind, contents: &[u8]) -> Result<(), String> {
        match kind {
            Kind::Tick => self.image.taken = whole::<Time>(contents)?,
            Kind::Group => {
                let (number, group): (u32, GroupImage) = whole(contents)?;
                if !group.is_sound() {
                    return Err(format!("group {number} contradicts itself"));
                }
                self.image.groups.insert(number, group);
            }
            Kind::GroupEnd => {
                let number: u32 = whole(contents)?;
                self.image.groups.remove(&number);
                self.image
                    .connections
                    .retain(|_, connection| connection.group != number as usize);
            }
            Kind::Connection => {
                let (slot, stored): (u32, Stored) = whole(contents)?;
                let connection = Connection::from(stored);
                // What follows is added to these.
                if !connection.log.is_sound() || !connection.sent.is_sound() {
                    return Err(format!("connection {slot} contradicts itself"));
                }
                self.image.connections.insert(slot, connection);
            }
            Kind::State => self.change(whole(contents)?)?,
            Kind::Client => {
                let ((slot, at), bytes): ((u32, u64), &[u8]) =
                    postcard::take_from_bytes(contents).map_err(text)?;
                if at >= FAR {
                    return Err(format!("bytes at {at}"));
                }
                let bound = usize::MAX / 2;
                let log = &mut self.connection(slot)?.log;
                // What was written in its turn is how the stream went on.
                log.give_way(at, bytes);
                let logged = log.insert(at, bytes, bound);
                logged.map_err(|_| "too many bytes".to_owned())?;
            }
            Kind::Sent => {
                let (slot, sent): (u32, Sent) = whole(contents)?;
                if !sent.is_sound() {
                    return Err(format!(
                        "what was sent to connection {slot} contradicts itself"
                    ));
                }
                self.connection(slot)?.sent = sent;
            }
            Kind::SentDelta => {
                let (slot, delta): (u32, SentDelta) = whole(contents)?;
                if !self.connection(slot)?.sent.apply(delta) {
                    return Err(format!("a change of what connection {slot} has not"));
                }
            }
            Kind::Gone => {
                let slot: u32 = whole(contents)?;
                self.image.connections.remove(&slot);
            }
        }
        Ok(())
    }

    fn connection(&mut self, slot: u32) -> Result<&mut Connection, String> {
        let found = self.image.connections.get_mut(&slot);
        found.ok_or_else(|| format!("a change of connection {slot}, which is not known"))
    }

    fn change(&mut self, state: State<Connection>) -> Result<(), String> {
        let taken = self.image.taken;
        let connection = self.connection(state.slot)?;
        let old = std::mem::replace(connection, state.fixed);
        connection.active = taken;
        connection.log = old.log;
        connection.sent = old.sent;
        if state.causes.kept {
            connection.causes = old.causes;
        }
        connection.causes.extend(state.causes.added);
        if !connection.log.is_sound() || !connection.log.conform(state.log) {
            return Err(format!("the log of connection {} lacks bytes", state.slot));
        }
        Ok(())
    }
}

fn whole<T: DeserializeOwned>(contents: &[u8]) -> Result<T, String> {
    postcard::from_bytes(contents).map_err(text)
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn text(error: postcard::Error) -> String {
    error.to_string()
}
