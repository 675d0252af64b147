// SPDX-License-Identifier: GPL-3.0-only
//! Whether the active server still says anything: a server that hangs ends nothing, it only falls silent.
//!
//! A server in the middle of a long answer owes its clients no acknowledgement, so their segments do not tell a hang from
//! patience. The logger asks by itself, for the server's hardware address in the name of a client: any kernel that
//! lives answers, whatever its programs do. Whether these still serve is seen by what clients wait for.

use std::time::Duration;

use super::{Engine, EngineError, Group};
use crate::conn::{Connection, Path};
use crate::control::Silence;
use crate::frame::{Output, PortId, Time};

/// When the active server was heard, and what it has not answered since.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    last: Option<Time>,
    asked: u32,
}

/// Since when clients were found waiting while nobody was answered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Owed {
    /// What servers had said until then ([`crate::control::Counters::said_bytes`]).
    said: u64,
    since: Option<Time>,
}

impl Owed {
    /// Clients wait now, or not, and servers have said so much. For how long that has been so.
    fn look(&mut self, waits: bool, said: u64, now: Time) -> Duration {
        if !waits || said != self.said {
            *self = Self {
                said,
                since: waits.then_some(now),
            };
        }
        let since = self.since.get_or_insert(now);
        let owed = now.since(*since);
        self.since = waits.then_some(*since);
        owed
    }
}

impl Heard {
    /// Something came from the server.
    pub(super) const fn at(now: Time) -> Self {
        Self {
            last: Some(now),
            asked: 0,
        }
    }
}

impl Engine {
    /// Asks a group's active server for a sign of life and tells how long there was none. The first call of all begins to
    /// count. Without any connection there is nobody in whose name to ask: `asked` then stays 0.
    ///
    /// # Errors
    /// There is no such group.
    pub fn probe(
        &mut self,
        now: Time,
        group: &str,
        out: &mut impl Output,
    ) -> Result<Silence, EngineError> {
        let index = self.find(group)?;
        let path = self.path_of(index);
        let mut all = self.table.all_awake().filter(|it| it.group == index);
        let waits = all.any(Connection::awaits_answer);
        let Some(state) = &mut self.groups[index] else {
            return Err(EngineError::NoGroup(group.to_owned()));
        };
        let last = *state.heard.last.get_or_insert(now);
        if let Some(path) = path {
            state.ask(&path, out, &mut self.desk.scratch);
        }
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let owed = state.owed.look(waits, state.counters.said_bytes, now);
        Ok(Silence {
            heard_ms: ms(now.since(last)),
            asked: state.heard.asked,
            owed_ms: ms(owed),
        })
    }

    /// The way to the server of the youngest connection, or of any.
    fn path_of(&self, index: usize) -> Option<Path> {
        let awake = self.table.all_awake().filter(|it| it.group == index);
        let youngest = awake.max_by_key(|it| it.active);
        if let Some(connection) = youngest {
            return Some(connection.path);
        }
        let mut all = self.table.slots();
        all.find(|(_, it)| it.group == index).map(|(_, it)| it.path)
    }

    /// The port of a group's standby.
    ///
    /// # Errors
    /// There is no such group.
    pub fn standby(&self, group: &str, interface: &str) -> Result<Option<PortId>, EngineError> {
        let index = self.find(group)?;
        Ok(self.groups[index].as_ref().and_then(|state| {
            let mut standbys = state.spec.standbys.iter().zip(&state.ports.standbys);
            standbys
                .find(|(name, _)| *name == interface)
                .map(|(_, port)| *port)
        }))
    }
}

impl Group {
    fn ask(&mut self, path: &Path, out: &mut dyn Output, scratch: &mut Vec<u8>) {
        let asked = (path.client.mac, path.client.socket.ip());
        // One that was not answered is asked again.
        self.solicited.remove(&asked);
        self.solicit(path, out, scratch);
        self.heard.asked = self.heard.asked.saturating_add(1);
    }
}
