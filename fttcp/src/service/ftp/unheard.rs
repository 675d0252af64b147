// SPDX-License-Identifier: GPL-3.0-only
//! The end of the server's stream, which the client may not have heard yet: if the server dies, the logger says it again
//! by itself. Another server would choose other words.

use serde::{Deserialize, Serialize};

/// Most bytes that are kept. Of a client that has not acknowledged so much, it is not known what it lacks.
const MOST: usize = 64 * 1024;

/// See the module's text.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Unheard {
    /// Where the bytes end in the stream.
    end: u64,
    bytes: Vec<u8>,
}

impl Unheard {
    pub(super) const fn from(at: u64) -> Self {
        Self {
            end: at,
            bytes: Vec::new(),
        }
    }

    /// The next bytes of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.end += bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        let gone = self.bytes.len().saturating_sub(MOST);
        self.bytes.drain(..gone);
    }

    /// The client has acknowledged everything below this position.
    pub(super) fn acknowledged(&mut self, at: u64) {
        let kept = self.end.saturating_sub(at).min(self.bytes.len() as u64);
        self.bytes.drain(..self.bytes.len() - kept as usize);
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
    }

    /// The bytes between these positions; `None`: they are not all kept.
    pub(super) fn between(&self, from: u64, to: u64) -> Option<&[u8]> {
        let start = self.end.checked_sub(self.bytes.len() as u64)?;
        let (from, to) = (from.checked_sub(start)?, to.checked_sub(start)?);
        self.bytes.get(from as usize..to as usize)
    }

    /// Whether it is one that these functions make.
    pub(super) const fn is_sound(&self) -> bool {
        self.bytes.len() <= MOST && self.bytes.len() as u64 <= self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_acknowledged_is_kept_up_to_a_bound() {
        let mut unheard = Unheard::from(10);
        unheard.push(b"abcdef");
        assert_eq!(unheard.between(12, 15), Some(&b"cde"[..]));
        assert_eq!(unheard.between(9, 15), None);
        assert_eq!(unheard.between(12, 17), None);
        unheard.acknowledged(13);
        assert_eq!(unheard.between(12, 15), None);
        assert_eq!(unheard.between(13, 16), Some(&b"def"[..]));
        unheard.acknowledged(16);
        assert_eq!(unheard.between(16, 16), Some(&b""[..]));
        unheard.push(&[1; MOST + 1]);
        assert_eq!(unheard.between(16, 17), None);
        assert!(unheard.is_sound());
    }
}
