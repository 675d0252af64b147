// SPDX-License-Identifier: GPL-3.0-only
//! Connections that speak TLS cannot be moved: a replacement negotiates other keys, and what is logged is of no use to it.
//! They are known by their client's first record, and passed on unprotected.

use super::{Connection, Context, State};
use crate::engine::Event;

/// Bytes that tell TLS from other protocols: the header of a record, and the kind of its first message.
const TOLD: usize = 6;
/// The longest record (RFC 8446 section 5.1).
const MAX_RECORD: u16 = 1 << 14;

/// Whether a stream begins with a hello of TLS (RFC 8446 sections 4 and 5.1): a handshake record of version 3.0 to 3.4, in
/// it a ClientHello (1) or, if the peer answers, a ServerHello (2).
fn is_hello(start: &[u8]) -> bool {
    let [0x16, 3, 0..=4, high, low, 1 | 2] = *start else {
        return false;
    };
    (4..=MAX_RECORD).contains(&u16::from_be_bytes([high, low]))
}

impl Connection {
    /// The client's bytes from `stable` on have been logged.
    pub(crate) fn notice_tls(&mut self, stable: u64, cx: &mut Context<'_>) {
        let told = TOLD as u64;
        let crossed = stable < told && self.log.stable() >= told && self.log.start() == 0;
        // What is being moved is looked at when that is done.
        if !crossed || self.state == State::Recovering || !is_hello(self.log.read(0, TOLD)) {
            return;
        }
        cx.counters.tls += 1;
        self.withdraw(cx);
        if cx.counters.tls == 1 {
            cx.events.push(Event::Tls { ends: self.ends() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hello_is_told_from_what_only_begins_alike() {
        assert!(is_hello(&[0x16, 3, 1, 2, 0, 1]));
        assert!(is_hello(&[0x16, 3, 3, 0, 90, 2]));
        for other in [
            *b"GET / ",
            [0x16, 2, 1, 2, 0, 1],
            [0x16, 3, 5, 2, 0, 1],
            [0x16, 3, 1, 0x7f, 0, 1],
            [0x16, 3, 1, 2, 0, 3],
            [0x17, 3, 1, 2, 0, 1],
        ] {
            assert!(!is_hello(&other), "{other:02x?}");
        }
    }
}
