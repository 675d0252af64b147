// SPDX-License-Identifier: GPL-3.0-only
//! What a client asks of the server: 16 bytes; and the bytes of answers, which follow from a seed and an offset.

use sha2::{Digest, Sha256};

/// Length of an [`Ask`] on the wire.
pub const LENGTH: usize = 16;

/// One request. All sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The server answers with so many bytes of the seed's [`fill`].
    Download {
        /// Size of the answer.
        bytes: u32,
        /// What it is made from.
        seed: u64,
    },
    /// So many bytes follow; the server answers with their sha256.
    Upload {
        /// Size of what follows.
        bytes: u32,
        /// How long the server waits before it reads them, in ms.
        pause_ms: u64,
    },
    /// So many bytes follow; the server says each of them again.
    Echo {
        /// Size of what follows.
        bytes: u32,
    },
    /// Bytes follow until the client closes its direction; the server answers with their sha256 and so many bytes of
    /// the seed's [`fill`], and closes.
    Rest {
        /// Size of the answer behind the digest.
        bytes: u32,
        /// What it is made from.
        seed: u64,
    },
    /// The server answers as for a download, and closes.
    Bye {
        /// Size of the answer.
        bytes: u32,
        /// What it is made from.
        seed: u64,
    },
}

impl Ask {
    /// As it goes over the wire.
    #[must_use]
    pub fn encode(self) -> [u8; LENGTH] {
        let (kind, size, number) = match self {
            Self::Download { bytes, seed } => (b'D', bytes, seed),
            Self::Upload { bytes, pause_ms } => (b'U', bytes, pause_ms),
            Self::Echo { bytes } => (b'E', bytes, 0),
            Self::Rest { bytes, seed } => (b'R', bytes, seed),
            Self::Bye { bytes, seed } => (b'B', bytes, seed),
        };
        let mut out = [kind, b'F', b'T', b'S', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        out[4..8].copy_from_slice(&size.to_be_bytes());
        out[8..].copy_from_slice(&number.to_be_bytes());
        out
    }

    /// From the wire; `None`: this is no request.
    #[must_use]
    pub fn decode(wire: [u8; LENGTH]) -> Option<Self> {
        let [kind, b'F', b'T', b'S', a, b, c, d, number @ ..] = wire else {
            return None;
        };
        let bytes = u32::from_be_bytes([a, b, c, d]);
        let seed = u64::from_be_bytes(number);
        match kind {
            b'D' => Some(Self::Download { bytes, seed }),
            b'U' => Some(Self::Upload {
                bytes,
                pause_ms: seed,
            }),
            b'E' => Some(Self::Echo { bytes }),
            b'R' => Some(Self::Rest { bytes, seed }),
            b'B' => Some(Self::Bye { bytes, seed }),
            _ => None,
        }
    }
}

/// Writes what stands from `offset` on in the endless stream that belongs to `seed`.
pub fn fill(seed: u64, offset: u64, out: &mut [u8]) {
    let mut word = offset / 8;
    let mut skip = (offset % 8) as usize;
    let mut rest = out;
    while !rest.is_empty() {
        let bytes = mix(seed, word).to_le_bytes();
        let length = (8 - skip).min(rest.len());
        let (now, later) = rest.split_at_mut(length);
        now.copy_from_slice(&bytes[skip..skip + length]);
        (rest, skip, word) = (later, 0, word + 1);
    }
}

/// The finisher of splitmix64 over a counter.
fn mix(seed: u64, word: u64) -> u64 {
    let z = seed ^ word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The digest with which uploads are answered.
#[must_use]
pub fn digest(sha: Sha256) -> [u8; 32] {
    sha.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_come_back_as_they_were_sent() {
        for ask in [
            Ask::Download { bytes: 1, seed: 2 },
            Ask::Upload {
                bytes: 3,
                pause_ms: 4,
            },
            Ask::Echo { bytes: 5 },
            Ask::Rest { bytes: 6, seed: 7 },
            Ask::Bye {
                bytes: u32::MAX,
                seed: u64::MAX,
            },
        ] {
            assert_eq!(Ask::decode(ask.encode()), Some(ask));
        }
        assert_eq!(Ask::decode([b'D'; LENGTH]), None);
    }

    #[test]
    fn fill_is_the_same_stream_wherever_it_is_cut() {
        let mut whole = [0; 100];
        fill(9, 0, &mut whole);
        for from in 0..30 {
            let mut part = vec![0; 100 - from];
            fill(9, from as u64, &mut part);
            assert_eq!(part, whole[from..]);
        }
        let mut other = [0; 100];
        fill(10, 0, &mut other);
        assert_ne!(whole, other);
    }
}
