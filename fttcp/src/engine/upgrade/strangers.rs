// SPDX-License-Identifier: GPL-3.0-only
//! Frames of no known connection, while a group has two living servers with the same addresses.
//!
//! The rule: they go to the active server, and only what the active server says goes north. But
//!
//! * a TCP connection that nobody protects is that of the server that its SYN went to. One of which no SYN was seen since
//!   the upgrade began is older, and is that of the old server. (A logger that was started anew has forgotten which SYNs it
//!   saw: then all of them go to the active server.)
//! * the server that is left must find its clients as long as it has any: its ARP requests and neighbour solicitations go
//!   north, and the answers go to both servers. What the network asks for itself, only the active server answers.

use std::collections::HashSet;

use super::super::table::Key;
use super::super::{Engine, Role};
use crate::conn::State;
use crate::frame::{Offload, Output, PortId, Time};
use crate::wire::{ETHERTYPE_ARP, ETHERTYPE_IPV6, EthernetFrame, Flags, Segment};

/// Most connections of the new server that are told from those of the old one.
const MOST: usize = 1 << 16;

/// The unprotected TCP connections whose SYNs were seen since the upgrade began, and went to the new server.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Newcomers {
    known: HashSet<Key>,
    /// Not all of them are known any more.
    lost: bool,
}

impl Newcomers {
    /// Nothing is known of what came before.
    pub(super) fn unknown() -> Self {
        Self {
            lost: true,
            ..Self::default()
        }
    }

    fn note(&mut self, key: &Key, new: bool) {
        if !new {
            self.known.remove(key);
        } else if self.known.len() < MOST {
            self.known.insert(*key);
        } else {
            *self = Self::unknown();
        }
    }
}

/// What address resolution says.
enum Resolution {
    Question,
    Answer,
}

/// Whether it is a question or an answer of address resolution (RFC 826, RFC 4861). A question about the asker's own
/// address only claims it.
fn resolution(frame: &[u8]) -> Option<Resolution> {
    const SOLICITATION: u8 = 135;
    const ADVERTISEMENT: u8 = 136;
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    let payload = ethernet.payload();
    match ethernet.ethertype() {
        ETHERTYPE_ARP => {
            let (asker, asked) = (payload.get(14..18)?, payload.get(24..28)?);
            match payload.get(6..8)? {
                [0, 1] if asker != [0; 4] && asker != asked => Some(Resolution::Question),
                [0, 2] => Some(Resolution::Answer),
                _ => None,
            }
        }
        ETHERTYPE_IPV6 if payload.get(6) == Some(&58) => match *payload.get(40)? {
            SOLICITATION if payload.get(8..24)? != [0; 16] => Some(Resolution::Question),
            ADVERTISEMENT => Some(Resolution::Answer),
            _ => None,
        },
        _ => None,
    }
}

impl Engine {
    /// The number of the server that `role` means.
    pub(in super::super) fn number_of(&self, index: usize, role: Role) -> Option<u32> {
        let group = self.groups[index].as_ref()?;
        match role {
            Role::Active => Some(group.number),
            Role::Leaving => group.leaving().map(|(number, _)| number),
            Role::North | Role::Standby | Role::Dead => None,
        }
    }

    /// The number of the server of a connection that is not known; `opens`: it begins now.
    pub(in super::super) fn number_for(&self, key: &Key, opens: bool) -> u32 {
        let Some(group) = &self.groups[key.group] else {
            return 0;
        };
        let older = group.upgrade.as_ref().filter(|upgrade| {
            let newcomers = &upgrade.newcomers;
            !newcomers.lost && newcomers.known.contains(key) == upgrade.status.rolled_back
        });
        let left = older.and_then(|upgrade| upgrade.leaving);
        left.filter(|_| !opens).unwrap_or(group.number)
    }

    /// A TCP segment of no connection that is known. Says where it goes.
    pub(in super::super) fn stranger(
        &mut self,
        key: &Key,
        role: Role,
        flags: Flags,
    ) -> Option<PortId> {
        let opens = flags.has(Flags::SYN) && !flags.has(Flags::ACK) && !flags.has(Flags::RST);
        let number = self.number_for(key, false);
        let group = self.groups[key.group].as_mut()?;
        let (north, active) = (group.ports.north, group.number);
        let left = group.leaving().map(|(left, _)| left);
        let opener = match role {
            Role::Leaving => left,
            _ => Some(active),
        };
        if let Some(upgrade) = group.upgrade.as_mut().filter(|_| opens && left.is_some()) {
            let with_active = opener == Some(active);
            let new = with_active != upgrade.status.rolled_back;
            upgrade.newcomers.note(key, new);
        }
        match role {
            Role::North if opens => Some(group.ports.active),
            Role::North => Some(group.port_of(number)),
            Role::Leaving => (opens || left == Some(number)).then_some(north),
            _ => Some(north),
        }
    }

    /// A frame that is no TCP segment, nor about one that is known. Says where it goes.
    pub(in super::super) fn no_segment(
        &mut self,
        index: usize,
        role: Role,
        frame: &[u8],
        out: &mut dyn Output,
    ) -> Option<PortId> {
        let group = self.groups[index].as_ref()?;
        let (north, active) = (group.ports.north, group.ports.active);
        match role {
            Role::North => {
                if let Some((_, left)) = group.leaving()
                    && matches!(resolution(frame), Some(Resolution::Answer))
                {
                    out.transmit(left, frame, &Offload::default());
                }
                Some(active)
            }
            Role::Leaving => {
                matches!(resolution(frame), Some(Resolution::Question)).then_some(north)
            }
            Role::Active | Role::Standby | Role::Dead => Some(north),
        }
    }

    /// Whether a server speaks of a connection that the other one has.
    pub(in super::super) fn is_stray(&mut self, slot: usize, role: Role) -> bool {
        let Some(connection) = self.table.get(slot) else {
            return false;
        };
        let (index, number) = (connection.group, connection.server_number);
        self.table.schedule(slot);
        let group = self.groups[index].as_ref();
        let left = group.and_then(super::super::group::Group::leaving);
        match (left, role) {
            (Some((left, _)), Role::Active) => number == left,
            (Some((left, _)), Role::Leaving) => number != left,
            _ => false,
        }
    }

    /// A server speaks of a connection that the other one has: it was reset there, and is reset again.
    pub(in super::super) fn refuse_stray(
        &mut self,
        now: Time,
        slot: usize,
        segment: &Segment<'_>,
        out: &mut dyn Output,
    ) -> Option<PortId> {
        let head = *segment.head();
        let connection = self.table.get(slot)?;
        let group = self.groups[connection.group].as_mut()?;
        group.counters.dropped += 1;
        let (left, _) = group.leaving()?;
        let other = if connection.server_number == left {
            group.number
        } else {
            left
        };
        let over = matches!(connection.state, State::Closed | State::Orphaned);
        if head.flags.has(Flags::ACK) && !head.flags.has(Flags::RST) && !over {
            let service = connection.service;
            let mut cx = group.context(service, other, now, out, &mut self.desk);
            connection.refuse(head.ack, &mut cx);
        }
        None
    }
}
