// SPDX-License-Identifier: GPL-3.0-only
//! What the engine and a data path share about a connection that the data path forwards by itself.
//!
//! While nothing unusual happens to a connection, its segments need not visit the engine: a data path that can (the
//! tc-BPF program) is given the connection's [`FlowState`], forwards by it, keeps it up to date, and copies out, as
//! [`Record`]s, the client's bytes before they are sent on and the beginning of each answer of the server. Whatever
//! is unusual (SYN, FIN, RST, URG, odd options, data out of window) it hands to the engine, which takes the
//! connection back first.
//!
//! Who lives here: the state and its layout in 32-bit words (`fttcp/bpf/fastpath.bpf.c` has the same layout), and
//! [`model`], the rules for one segment in Rust, with which the kernel's program is compared. [`shortcut`] makes a whole
//! fast path of them, for the simulation.
//!
//! All sequence numbers are those that the client sees; `seq_delta` leads to the present server's.

pub mod model;
pub mod shortcut;

use std::net::SocketAddr;

use crate::frame::PortId;

/// Which of a group's connections: its two ends, by where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// The group's number in the engine.
    pub group: u32,
    /// The end towards the north.
    pub client: SocketAddr,
    /// The end towards the south.
    pub server: SocketAddr,
}

/// From which side of the logger a frame comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// From the clients.
    North,
    /// From the active server.
    South,
}

/// What is to become of the frames that arrive at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// They are dropped: the port of a standby or of a dead server.
    Closed,
    /// The engine must see all of them: the port of a server that is being left.
    Watched,
    /// They are forwarded, after a look at those of protected services.
    Forward {
        /// Out of this port.
        to: PortId,
        /// The group's number in the engine.
        group: u32,
        /// Where they come from.
        side: Side,
    },
}

/// Bits of [`FlowState::flags`].
pub mod flag {
    /// The client's bytes are copied out before they are sent on.
    pub const LOG: u32 = 1;
    /// Timestamps were negotiated.
    pub const STAMPED: u32 = 2;
    /// The present server is a replacement: segments are rewritten.
    pub const MAPPED: u32 = 4;
    /// A segment was handed to the engine: all that follow go the same way, until the engine has decided.
    pub const PUNTED: u32 = 8;
    /// The client has brought data: the server's bytes below `capture_to` are copied out.
    pub const CAPTURING: u32 = 16;
}

/// Distance of the samples of the server's stream, in bytes.
pub const SAMPLE_EVERY: u32 = 16 * 1024;
/// How many samples are kept.
pub const SAMPLES: usize = 16;
/// How far beyond the client's window a server's data may reach and still be believed.
pub const SLACK: u32 = 64 * 1024;
/// How far beyond the server's window a client's data may reach and still be logged: the byte of a window probe.
pub const PROBE: u32 = 1;

/// How many 32-bit words a [`FlowState`] has.
pub const WORDS: usize = 28 + 2 * SAMPLES;

/// The state of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowState {
    /// The engine's number of the connection; stands in its records.
    pub slot: u32,
    /// Told apart from an earlier connection in the same slot.
    pub generation: u32,
    /// See [`flag`].
    pub flags: u32,
    /// Window scales: of the client's windows, of the windows as the client reads them, of the present server's.
    pub scales: [u8; 3],
    /// The client's bytes below this are copied out without a gap.
    pub client_next: u32,
    /// The client's newest timestamp.
    pub client_tsval: u32,
    /// Right edge of the client's receive window.
    pub client_right: u32,
    /// The client has acknowledged everything below this.
    pub server_una: u32,
    /// After the highest byte that the client was sent.
    pub server_next: u32,
    /// The newest timestamp that the client was sent.
    pub server_tsval: u32,
    /// Right edge of the receive window that the client was told.
    pub server_right: u32,
    /// Highest acknowledgement that the client was sent.
    pub client_acked: u32,
    /// The server's bytes below this are copied out.
    pub capture_to: u32,
    /// How many bytes of the server are copied out after each segment of the client that brings data.
    pub capture: u32,
    /// Added to the present server's sequence numbers for the client.
    pub seq_delta: u32,
    /// Added to the present server's timestamps for the client.
    pub ts_delta: u32,
    /// The present server's first timestamp.
    pub ts_first: u32,
    /// The present server's newest timestamp.
    pub ts_last: u32,
    /// After the highest byte that the present server has sent.
    pub present_next: u32,
    /// Where the next sample is taken.
    pub sample_next: u32,
    /// Its number; it goes to place `sample_index % SAMPLES`.
    pub sample_index: u32,
    /// Which places hold the newest sample that belongs there, a bit each.
    pub sample_valid: u32,
    /// Segments forwarded, of both sides.
    pub packets: u32,
    /// Position of `client_next` in the client's stream (0: the first byte after the SYN).
    pub client_pos: u64,
    /// Position of `server_next` in the server's stream.
    pub server_pos: u64,
    /// The samples: eight bytes each, as they stand in memory.
    pub samples: [[u32; 2]; SAMPLES],
}

impl FlowState {
    /// The state in words, in the order of `struct flow` in the kernel's program.
    #[must_use]
    pub fn to_words(&self) -> [u32; WORDS] {
        let [client, server, present] = self.scales.map(u32::from);
        let mut words = [0; WORDS];
        let head = [
            self.slot,
            self.generation,
            self.flags,
            client | server << 8 | present << 16,
            self.client_next,
            self.client_tsval,
            self.client_right,
            self.server_una,
            self.server_next,
            self.server_tsval,
            self.server_right,
            self.client_acked,
            self.capture_to,
            self.capture,
            self.seq_delta,
            self.ts_delta,
            self.ts_first,
            self.ts_last,
            self.present_next,
            self.sample_next,
            self.sample_index,
            self.sample_valid,
            self.packets,
            0,
            self.client_pos as u32,
            (self.client_pos >> 32) as u32,
            self.server_pos as u32,
            (self.server_pos >> 32) as u32,
        ];
        words[..head.len()].copy_from_slice(&head);
        for (pair, sample) in words[head.len()..].chunks_exact_mut(2).zip(&self.samples) {
            pair.copy_from_slice(sample);
        }
        words
    }

    /// The state that these words are.
    #[must_use]
    pub fn from_words(words: &[u32; WORDS]) -> Self {
        let wide = |at: usize| u64::from(words[at]) | u64::from(words[at + 1]) << 32;
        let mut samples = [[0; 2]; SAMPLES];
        for (sample, pair) in samples.iter_mut().zip(words[28..].chunks_exact(2)) {
            sample.copy_from_slice(pair);
        }
        Self {
            slot: words[0],
            generation: words[1],
            flags: words[2],
            scales: [
                words[3] as u8,
                (words[3] >> 8) as u8,
                (words[3] >> 16) as u8,
            ],
            client_next: words[4],
            client_tsval: words[5],
            client_right: words[6],
            server_una: words[7],
            server_next: words[8],
            server_tsval: words[9],
            server_right: words[10],
            client_acked: words[11],
            capture_to: words[12],
            capture: words[13],
            seq_delta: words[14],
            ts_delta: words[15],
            ts_first: words[16],
            ts_last: words[17],
            present_next: words[18],
            sample_next: words[19],
            sample_index: words[20],
            sample_valid: words[21],
            packets: words[22],
            client_pos: wide(24),
            server_pos: wide(26),
            samples,
        }
    }
}

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// Bytes of the client.
    Client = 1,
    /// Bytes of the server.
    Server = 2,
}

/// Bytes that the fast path has copied out of a segment, before it sent that on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// [`FlowState::slot`] of its connection.
    pub slot: u32,
    /// [`FlowState::generation`] of its connection.
    pub generation: u32,
    /// Whose bytes they are.
    pub kind: RecordKind,
    /// Position of the first in its sender's stream.
    pub at: u64,
    /// Up to which position of the server's stream the client had acknowledged.
    pub seen: u64,
    /// The bytes.
    pub data: &'a [u8],
}

/// Length of a record's header in a ring: `slot`, `generation`, `kind` and the data's length, 32 bits each, then
/// `at` and `seen`, 64 bits each, all in the machine's byte order.
pub const RECORD_HEADER: usize = 32;

impl<'a> Record<'a> {
    /// Reads a record as a ring holds it; `None`: it is none. Room behind the data is ignored.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(RECORD_HEADER)?;
        let word = |at: usize| -> Option<u32> {
            Some(u32::from_ne_bytes(header.get(at..at + 4)?.try_into().ok()?))
        };
        let wide = |at: usize| -> Option<u64> {
            Some(u64::from_ne_bytes(header.get(at..at + 8)?.try_into().ok()?))
        };
        Some(Self {
            slot: word(0)?,
            generation: word(4)?,
            kind: match word(8)? {
                1 => RecordKind::Client,
                2 => RecordKind::Server,
                _ => return None,
            },
            at: wide(16)?,
            seen: wide(24)?,
            data: rest.get(..word(12)? as usize)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_survives_the_way_through_words() {
        let mut words = [0; WORDS];
        for (value, word) in (1..).zip(&mut words) {
            *word = value * 0x0101;
        }
        (words[3], words[23]) = (0x0c_0b_0a, 0);
        let state = FlowState::from_words(&words);
        assert_eq!(state.scales, [10, 11, 12]);
        assert_eq!(state.to_words(), words);
    }

    #[test]
    fn record_is_read_and_a_short_one_is_none() {
        let mut bytes = Vec::new();
        for word in [7_u32, 8, 2, 3] {
            bytes.extend(word.to_ne_bytes());
        }
        for wide in [5_u64 << 33, 9] {
            bytes.extend(wide.to_ne_bytes());
        }
        assert_eq!(Record::parse(&bytes), None);
        bytes.extend(b"abcd");
        let record = Record::parse(&bytes).unwrap();
        assert_eq!(
            (record.slot, record.generation, record.kind),
            (7, 8, RecordKind::Server)
        );
        assert_eq!(
            (record.at, record.seen, record.data),
            (5 << 33, 9, &b"abc"[..])
        );
    }
}
