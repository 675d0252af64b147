// SPDX-License-Identifier: GPL-3.0-only
//! A connection that has been quiet for a while, in few bytes: its image, and what must be known of it without waking
//! it. Most of a server's connections are idle at any time; the first segment wakes one again.

use std::net::{SocketAddr, SocketAddrV4};

use super::table::{Cells, Key, Place};
use crate::conn::{Connection, State, Stored, StoredRef};
use crate::frame::Time;
use crate::stable::Account;

/// A [`Key`] in few bytes.
#[derive(Debug)]
enum Name {
    V4 {
        group: u32,
        client: SocketAddrV4,
        server: SocketAddrV4,
    },
    Other(Box<Key>),
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Dormant {
    name: Name,
    image: Place,
    opened: Time,
    /// When the table will look at it next.
    pub(super) wake: Time,
    pub(super) account: Account,
    logged: u32,
    generation: u32,
    protected: bool,
    pub(super) offloaded: bool,
    /// The journal that has all of it; 0: none.
    pub(super) journal: u32,
}

impl Dormant {
    /// Puts a connection to sleep until `wake` at the latest, its image into `cells`; `None`: it cannot be, now.
    pub(super) fn new(
        connection: &Connection,
        key: Key,
        wake: Time,
        cells: &mut Cells,
    ) -> Option<Self> {
        let quiet = connection.state == State::Established
            && !connection.is_half_open()
            && connection.recovery.is_none()
            && connection.hold.is_none()
            && connection.uncommitted.is_none()
            && connection.withheld.is_none()
            && connection.outbound.is_none()
            && (connection.protected || connection.map.is_none())
            && !connection.log.has_gap()
            && !connection.mark.touched
            && !connection.awaits_answer()
            && connection.log.spilled() == 0;
        if !quiet {
            return None;
        }
        let logged = u32::try_from(connection.log.len()).ok()?;
        let image = postcard::to_allocvec(&StoredRef::from(connection)).ok()?;
        let image = cells.put(&image)?;
        let name = match (key.client, key.server, u32::try_from(key.group)) {
            (SocketAddr::V4(client), SocketAddr::V4(server), Ok(group)) => Name::V4 {
                group,
                client,
                server,
            },
            _ => Name::Other(Box::new(key)),
        };
        Some(Self {
            name,
            opened: connection.opened,
            wake,
            account: connection.account,
            logged,
            generation: connection.generation,
            protected: connection.protected,
            offloaded: connection.offloaded,
            journal: connection.mark.generation,
            image,
        })
    }

    pub(super) fn key(&self) -> Key {
        match &self.name {
            Name::V4 {
                group,
                client,
                server,
            } => Key {
                group: *group as usize,
                client: SocketAddr::V4(*client),
                server: SocketAddr::V4(*server),
            },
            Name::Other(key) => **key,
        }
    }

    /// The connection as it was. `None`: not what [`Dormant::new`] made.
    pub(super) fn connection(&self, cells: &Cells) -> Option<Connection> {
        let stored: Stored = postcard::from_bytes(&cells.get(&self.image)).ok()?;
        let mut connection = Connection::from(stored);
        // What the journal has of it is not remembered in full: it is written whole when it changes.
        connection.mark.generation = if self.journal == 0 { 0 } else { u32::MAX };
        connection.account = self.account;
        connection.wake = Some(self.wake);
        Some(connection)
    }

    /// Gives its image's cells back.
    pub(super) fn drop_image(self, cells: &mut Cells) {
        cells.free(self.image);
    }

    /// What it keeps for its peers, which counts towards the bound of all connections.
    pub(super) const fn memory(&self) -> usize {
        self.account.charged()
    }

    /// Client bytes logged.
    pub(super) const fn logged(&self) -> u32 {
        self.logged
    }

    pub(super) const fn generation(&self) -> u32 {
        self.generation
    }

    pub(super) const fn protected(&self) -> bool {
        self.protected
    }

    pub(super) const fn opened(&self) -> Time {
        self.opened
    }
}
