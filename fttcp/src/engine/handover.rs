// SPDX-License-Identifier: GPL-3.0-only
//! One connection as bytes, for another logger that has its group, too.
//!
//! Its client, its server and what they think of each other stay as they are; only who stands between them changes.
//! Neither end is told. Who hands a connection over sees to it that its frames come to the logger that takes it in: to
//! one that does not know it, they are frames like any other, and pass with numbers that the other end may not know.

use super::table::Key;
use super::{Ends, Engine, EngineError, Image};
use crate::frame::{Output, Time};

impl Engine {
    /// Takes a connection out, as bytes for [`Image::parse`] and [`Engine::take_in`], and forgets it. What it had in the
    /// spill file is among them.
    ///
    /// # Errors
    /// There is no such group or connection, or a log cannot be read from the spill file; then nothing has changed.
    pub fn take_out(
        &mut self,
        now: Time,
        group: &str,
        ends: Ends,
        out: &mut impl Output,
    ) -> Result<Vec<u8>, EngineError> {
        self.journaled(now, out, |engine, out| {
            let index = engine.find(group)?;
            let key = Key {
                group: index,
                client: ends.client,
                server: ends.server,
            };
            let refused = |why| EngineError::CannotHandOver {
                group: group.to_owned(),
                ends,
                why,
            };
            engine.take_back_named(now, &key, out);
            let slot = engine.table.find(&key);
            let slot = slot.ok_or_else(|| refused("it is not known"))?;
            let bytes = engine.export_one(now, slot);
            let bytes = bytes.ok_or_else(|| refused("its log cannot be read"))?;
            engine.table.remove(slot);
            Ok(bytes)
        })
    }

    /// Takes connections in that were taken out elsewhere, each into the group of the same name, whose active server is
    /// the one that the connection has.
    ///
    /// # Errors
    /// A group of an image is not here or protects other services, or a connection is known here or was with a server
    /// that an upgrade was leaving; then nothing has changed.
    pub fn take_in(
        &mut self,
        now: Time,
        image: Image,
        out: &mut impl Output,
    ) -> Result<usize, EngineError> {
        self.journaled(now, out, |engine, out| {
            let mut taken = Vec::new();
            for (_, mut connection) in image.connections {
                let Some(theirs) = u32::try_from(connection.group)
                    .ok()
                    .and_then(|it| image.groups.get(&it))
                else {
                    continue;
                };
                let (index, ends) = (engine.find(&theirs.spec.name)?, connection.ends());
                let refused = |why| EngineError::CannotHandOver {
                    group: theirs.spec.name.clone(),
                    ends,
                    why,
                };
                let Some(own) = &engine.groups[index] else {
                    continue;
                };
                // A connection names its service by its place.
                if own.spec.services != theirs.spec.services
                    || own.spec.outbound != theirs.spec.outbound
                    || own.spec.outbound_service != theirs.spec.outbound_service
                {
                    return Err(refused("the group protects other services here"));
                }
                if connection.server_number != theirs.numbers.0 {
                    return Err(refused("an upgrade was leaving its server"));
                }
                let number = own.number;
                let key = Key {
                    group: index,
                    client: ends.client,
                    server: ends.server,
                };
                let known = engine.table.find(&key);
                let lives = |slot| engine.table.peek(slot).is_none_or(|it| !it.over());
                if known.is_some_and(lives) {
                    return Err(refused("it is known already"));
                }
                connection.group = index;
                connection.server_number = number;
                connection.change_clock(image.taken, now);
                taken.push(connection);
            }
            let mut groups: Vec<usize> = taken.iter().map(|it| it.group).collect();
            groups.dedup();
            let mut count = 0;
            for connection in taken {
                count += usize::from(engine.import_connection(now, usize::MAX, connection, out));
            }
            for index in groups {
                engine.resume_waiting(index);
                engine.resume_links(now, index);
            }
            Ok(count)
        })
    }
}
