// SPDX-License-Identifier: GPL-3.0-only
//! A full buffer that holds the client's window (`on_full`: `hold`), and opens it when the log is cut.

use super::*;
use crate::control::OnFull;

const BUFFER: u64 = 10_000;
/// With an eighth for bookkeeping and one unit of the scale for rounding.
const EDGE: u64 = BUFFER - BUFFER / 8 - 128;

fn holding() -> Bench {
    let mut bench = Bench::with(vec![ServiceSpec {
        buffer_bytes: BUFFER as u32,
        on_full: OnFull::Hold,
        ..ServiceSpec::new(80, "exchange")
    }]);
    bench.open(7);
    bench
}

/// A request of so many bytes.
fn request(len: usize) -> Vec<u8> {
    let mut bytes = format!("PUT\r\nContent-Length: {:6}\r\n\r\n", len - 31).into_bytes();
    bytes.resize(len, b'r');
    assert!(bytes.starts_with(b"PUT") && bytes[27..31] == *b"\r\n\r\n");
    bytes
}

const RESPONSE: &[u8] = b"OK\r\nContent-Length: 4\r\n\r\ndone";

impl Bench {
    fn client_says(&mut self, at: u32, seen: u32, data: &[u8]) -> Vec<Seen> {
        let say = Say::new(self.c(at), self.s(seen), PUSH).stamp(102, 7000);
        self.say(NORTH, &say.data(data))
    }

    /// The server acknowledges; its window is 64,000 bytes. Gives the right edge that the client is told.
    fn server_acks(&mut self, at: u32, data: &[u8]) -> u64 {
        let say = Say::new(self.s(0), self.c(at), PUSH).stamp(7001, 102);
        let seen = self.say(ACTIVE, &say.data(data));
        self.edge(&seen[0])
    }

    fn edge(&self, seen: &Seen) -> u64 {
        assert_eq!(seen.port, NORTH);
        let acked = u64::from(seen.head.ack.0.wrapping_sub(self.c(0)));
        acked + (u64::from(seen.head.window) << 7)
    }
}

#[test]
fn trap_06_window_sum_never_promises_more_than_the_buffer_holds() {
    let mut bench = holding();
    let long = request(8600);
    let mut at = 0;
    for piece in long.chunks(999) {
        bench.client_says(at, 0, piece);
        at += piece.len() as u32;
        let edge = bench.server_acks(at, b"");
        assert!((EDGE..EDGE + 128).contains(&edge), "{edge} after {at}");
    }
    assert_eq!(bench.counters().windows_held, 1);
    assert_eq!(bench.counters().full_held, 0);
}

#[test]
fn trap_06_window_field_is_clamped_to_sixteen_bits() {
    // No scale: an edge of 1 MiB is told as 65,535.
    let mut bench = Bench::with(vec![ServiceSpec {
        buffer_bytes: 1 << 20,
        ..service()
    }]);
    bench.open(0);
    bench.client_says(0, 0, b"GET");
    bench.fail_over();
    let offer = Say::new(5000, bench.c(0), SYN_ACK)
        .offer(0)
        .stamp(9000, 101);
    bench.say(STANDBY, &offer.window(65_535));
    let ack = Say::new(5001, bench.c(3), ACK)
        .stamp(9001, 102)
        .window(65_535);
    bench.say(STANDBY, &ack);
    bench.client_says(3, 0, &[1; 1000]);
    // Its edge was 65,538: beyond what a window of 16 bits reaches from a client's older acknowledgement.
    let late = Say::new(5001, bench.c(3), ACK)
        .stamp(9001, 102)
        .window(65_535);
    let seen = bench.say(STANDBY, &late);
    assert_eq!(
        (seen[0].head.ack.0, seen[0].head.window),
        (bench.c(3), 65_535)
    );
}

#[test]
fn trap_23_byte_beyond_the_held_window_is_neither_passed_on_nor_acknowledged() {
    let mut bench = holding();
    let long = request(8600);
    bench.client_says(0, 0, &long);
    bench.server_acks(8600, b"");
    let seen = bench.client_says(8600, 0, &[b'x'; 1400]);
    assert_eq!(seen[0].port, ACTIVE, "up to buffer_bytes it is logged");
    let seen = bench.client_says(10_000, 0, b"y");
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].port, seen[0].head.ack.0), (NORTH, bench.c(8600)));
    assert!(bench.edge(&seen[0]) <= BUFFER);
    let counters = bench.counters();
    assert_eq!((counters.full_held, counters.logged_bytes), (1, BUFFER));
    assert_eq!(counters.protected, 1);
    assert!(bench.engine.memory() <= BUFFER);
}

#[test]
fn trap_23_probe_of_a_held_window_is_answered_with_the_held_window() {
    let mut bench = holding();
    bench.client_says(0, 0, &request(8600));
    let edge = bench.server_acks(8600, b"");
    let rest = vec![b'x'; (edge - 8600) as usize];
    bench.client_says(8600, 0, &rest);
    let edge = edge as u32;
    assert_eq!(
        bench.server_acks(edge, b""),
        u64::from(edge),
        "it is closed"
    );
    // Linux probes with the byte before the window (RFC 9293 section 3.8.6.1 wants the one after it).
    let probe = Say::new(bench.c(edge - 1), bench.s(0), ACK).stamp(103, 7001);
    assert_eq!(bench.say(NORTH, &probe)[0].port, ACTIVE);
    let answer = Say::new(bench.s(0), bench.c(edge), ACK).stamp(7002, 103);
    let seen = bench.say(ACTIVE, &answer);
    assert_eq!(
        (seen[0].head.window, seen[0].head.ack.0),
        (0, bench.c(edge))
    );
}

#[test]
fn held_window_opens_when_the_log_is_cut() {
    let mut bench = holding();
    bench.client_says(0, 0, &request(8600));
    bench.server_acks(8600, RESPONSE);
    let len = RESPONSE.len() as u32;
    let ack = Say::new(bench.c(8600), bench.s(len), ACK).stamp(103, 7001);
    let seen = bench.say(NORTH, &ack);
    let update = seen.iter().find(|it| it.port == NORTH).expect("an update");
    let edge = bench.edge(update);
    assert!((8600 + EDGE..8600 + EDGE + 128).contains(&edge), "{edge}");
    assert_eq!(update.head.ack.0, bench.c(8600));
    assert_eq!(update.head.seq.0, bench.s(len));
    assert!(seen.iter().any(|it| it.port == ACTIVE));
    let counters = bench.counters();
    assert_eq!((counters.truncations, counters.logged_bytes), (1, 0));
    assert_eq!(bench.client_says(8600, len, &request(8600))[0].port, ACTIVE);
}

#[test]
fn hold_goes_on_with_the_replacement_and_the_replay_begins_at_the_cut() {
    let mut bench = holding();
    bench.client_says(0, 0, &request(5000));
    bench.server_acks(5000, RESPONSE);
    let len = RESPONSE.len() as u32;
    bench.client_says(5000, len, &request(6000)[..4000]);
    let syn = bench.fail_over();
    let syn = syn.iter().find(|it| it.head.flags == Flags::SYN).unwrap();
    assert_eq!(syn.head.seq.0, bench.c(5000) - 1);
    let offer = Say::new(70_000, bench.c(5000), SYN_ACK)
        .window(65_535)
        .offer(7)
        .stamp(9000, 101);
    let seen = bench.say(STANDBY, &offer);
    let fed: usize = seen.iter().map(|it| it.data.len()).sum();
    assert_eq!(fed, 4000);
    let ack = Say::new(70_001, bench.c(9000), ACK).stamp(9001, 102);
    let seen = bench.say(STANDBY, &ack);
    assert_eq!(bench.state(), "established");
    let north: Vec<_> = seen.iter().filter(|it| it.port == NORTH).collect();
    assert!(!north.is_empty());
    for seen in north {
        assert_eq!(
            (seen.head.ack.0, seen.head.seq.0),
            (bench.c(9000), bench.s(len))
        );
        let edge = bench.edge(seen);
        assert!((5000 + EDGE..5000 + EDGE + 128).contains(&edge), "{edge}");
    }
    // The second response, as the replacement numbers it.
    bench.client_says(9000, len, &request(6000)[4000..]);
    let say = Say::new(70_001, bench.c(11_000), PUSH).stamp(9002, 102);
    let seen = bench.say(STANDBY, &say.data(RESPONSE));
    assert_eq!(
        (seen[0].head.seq.0, &seen[0].data[..]),
        (bench.s(len), RESPONSE)
    );
    let ack = Say::new(bench.c(11_000), bench.s(2 * len), ACK).stamp(104, 7005);
    let seen = bench.say(NORTH, &ack);
    let south = seen.iter().find(|it| it.port == STANDBY).unwrap();
    assert_eq!(south.head.ack.0, 70_001 + len);
    assert_eq!(bench.counters().truncations, 2);
}
