// SPDX-License-Identifier: GPL-3.0-only
//! How far each server has spoken on each connection: further than that, nothing that it is sent may acknowledge.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::frame::PortId;
use crate::wire::{Flags, Head, SeqNumber};

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// The number of each SYN-ACK, and the one after the highest that followed it. A server that was asked to begin anew has
    /// several, and its segments overtake each other.
    known: HashMap<(PortId, SocketAddr), Vec<(SeqNumber, SeqNumber)>>,
}

impl Answers {
    /// A server says so many bytes.
    pub(super) fn say(&mut self, server: PortId, client: SocketAddr, head: &Head, len: usize) {
        if head.flags.has(Flags::RST) {
            return;
        }
        let taken = |flag| u32::from(head.flags.has(flag));
        let end = head.seq + len as u32 + taken(Flags::SYN) + taken(Flags::FIN);
        let known = self.known.entry((server, client)).or_default();
        if head.flags.has(Flags::SYN) {
            if known.iter().all(|(isn, _)| *isn != head.seq) {
                known.push((head.seq, end));
            }
            return;
        }
        let distance =
            |known: &&mut (SeqNumber, SeqNumber)| head.seq.ahead_of(known.1).unsigned_abs();
        let nearest = known.iter_mut().min_by_key(distance);
        if let Some((_, known)) = nearest
            && end.ahead_of(*known) > 0
        {
            *known = end;
        }
    }

    /// By how many bytes a segment for a server acknowledges more than that has said.
    pub(super) fn excess(&self, server: PortId, client: SocketAddr, head: &Head) -> Option<i32> {
        if !head.flags.has(Flags::ACK) || head.flags.has(Flags::RST) {
            return None;
        }
        let known = self.known.get(&(server, client))?.iter();
        let excess = known.map(|(_, end)| head.ack.ahead_of(*end)).min()?;
        Some(excess).filter(|&excess| excess > 0)
    }
}
