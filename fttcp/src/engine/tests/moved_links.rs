// SPDX-License-Identifier: GPL-3.0-only
//! FTP: data connections whose server dies go on at a port of the replacement's, and a download is told to be complete
//! when the client has it.

use super::linked::{DATA, PASSIVE, Session, closes};
use super::*;

/// The replacement's port and initial sequence numbers.
pub(super) const MOVED: u16 = 6000;
const CONTROL_ISN: u32 = 77_000;
pub(super) const DATA_ISN: u32 = 55_000;
pub(super) const LOGIN: &[u8] = b"220 other\r\n230 in\r\n200 binary\r\n";

pub(super) fn fetching() -> Session {
    let mut session = Session::with(ServiceSpec {
        verify: crate::control::Verify::Sampled,
        ..ServiceSpec::new(80, "ftp")
    });
    session.client(b"TYPE I\r\n");
    session.server(b"200 binary\r\n");
    session.client(b"PASV\r\n");
    session.server(PASSIVE);
    session.client(b"RETR x\r\n");
    session.open_data();
    session.server(b"150 coming (12 bytes)\r\n");
    session
}

impl Session {
    /// The server dies; the replacement takes the control connection. What it is asked.
    pub(super) fn fail_over(&mut self) -> Vec<u8> {
        self.bench.fail_over();
        self.asked()
    }

    /// What the replacement is asked when it has taken the control connection.
    pub(super) fn asked(&mut self) -> Vec<u8> {
        self.asked_of(STANDBY)
    }

    /// The same, of the replacement on this port.
    pub(super) fn asked_of(&mut self, port: PortId) -> Vec<u8> {
        self.control();
        let client = self.bench.c(self.said[0]);
        // Whatever it is told, that ends where the client's last word ended.
        let mut asked = Vec::new();
        for length in 0..200 {
            let offer = Say::new(CONTROL_ISN, client.wrapping_sub(length), SYN_ACK).offer(7);
            let seen = self.bench.say(port, &offer.stamp(40, 103));
            asked.extend(seen.into_iter().flat_map(|it| it.data));
            if !asked.is_empty() {
                break;
            }
        }
        asked
    }

    /// The replacement's control connection says this, `at` bytes after its beginning.
    pub(super) fn replies(&mut self, at: usize, bytes: &[u8]) -> Vec<Seen> {
        self.control();
        let client = self.bench.c(self.said[0]);
        let say = Say::new(CONTROL_ISN + 1 + at as u32, client, PUSH).stamp(41, 103);
        self.bench.say(STANDBY, &say.data(bytes))
    }

    /// The replacement's data connection says this.
    pub(super) fn at_moved(&mut self, seq: u32, flags: Flags, data: &[u8]) -> Vec<Seen> {
        (self.bench.server_port, self.bench.client_port) = (MOVED, self.ports[1]);
        let mut say = Say::new(seq, self.bench.c(0), flags).stamp(50, 103);
        if flags == SYN_ACK {
            say = say.offer(7);
        }
        self.bench.say(STANDBY, &say.data(data))
    }
}

#[test]
fn download_goes_on_at_the_port_of_the_replacement() {
    let mut session = fetching();
    session.file(0, PUSH, b"contents");
    session.has(5);
    // It has not heard of the beginning of the transfer, nor acknowledged it: the logger repeats that.
    assert_eq!(
        String::from_utf8_lossy(&session.fail_over()),
        "USER x\r\nTYPE I\r\nPASV\r\nREST 5\r\nRETR x\r\n"
    );
    let seen = session.replies(0, LOGIN);
    assert!(
        seen.iter().all(|it| it.head.flags != Flags::SYN),
        "{seen:?}"
    );

    let at = LOGIN.len();
    let passive = b"227 Passive (10,0,0,2,23,112)\r\n";
    let seen = session.replies(at, passive);
    let syn = seen.iter().find(|it| it.head.flags == Flags::SYN);
    let syn = syn.expect("the data connection is opened");
    assert_eq!((syn.port, syn.ports), (STANDBY, [40_001, MOVED]));
    let first = syn.head.seq.0.wrapping_add(1);
    assert_eq!(first, session.bench.c(0));
    let seen = session.at_moved(DATA_ISN, SYN_ACK, b"");
    assert!(
        seen.iter().any(|it| it.ports == [40_001, MOVED]),
        "{seen:?}"
    );
    let begun = b"350 from there\r\n150 coming (7 bytes)\r\n";
    let seen = session.replies(at + passive.len(), begun);
    assert!(
        seen.iter().all(|it| it.port != NORTH || it.data.is_empty()),
        "{seen:?}"
    );
    // What the client may lack is compared first: it is within what is said again.
    let seen = session.at_moved(DATA_ISN + 1, PUSH, b"nts and ");
    let got: Vec<&Seen> = seen
        .iter()
        .filter(|it| it.port == NORTH && !it.data.is_empty())
        .collect();
    let bytes: Vec<u8> = got.iter().flat_map(|it| it.data.clone()).collect();
    assert_eq!(String::from_utf8_lossy(&bytes), "nts and ");
    assert_eq!(got[0].ports, [DATA, 40_001]);
    assert_eq!(got[0].head.seq.0, session.bench.s(5));
    // And the other way.
    let seen = session.has(13);
    let ack = seen.iter().find(|it| it.port == STANDBY);
    assert_eq!(ack.map(|it| it.ports), Some([40_001, MOVED]), "{seen:?}");
    assert_eq!(ack.map(|it| it.head.ack.0), Some(DATA_ISN + 1 + 8));
    let counters = session.bench.counters();
    assert_eq!((counters.lost, counters.resumes_refused), (0, 0));

    let seen = session.replies(at + passive.len() + begun.len(), b"226 done\r\n");
    assert!(
        seen.iter().all(|it| it.data.is_empty()),
        "the file has no end yet: {seen:?}"
    );
    let seen = session.at_moved(DATA_ISN + 9, FIN, b"");
    let told = seen.iter().find(|it| !it.data.is_empty());
    assert_eq!(
        told.map(|it| it.data.as_slice()),
        Some(&b"226 done\r\n"[..]),
        "{seen:?}"
    );
    assert!(closes(&seen), "{seen:?}");
}

#[test]
fn client_that_comes_after_the_failover_is_led_to_the_port_of_the_replacement() {
    for early in [true, false] {
        let mut session = Session::new();
        session.client(b"PASV\r\n");
        session.server(PASSIVE);
        let asked = session.fail_over();
        assert!(asked.ends_with(b"PASV\r\n"), "{asked:?}");
        let replies = b"220 other\r\n230 in\r\n227 Passive (10,0,0,2,23,112)\r\n";
        let come = |session: &mut Session| {
            session.data();
            let syn = Say::new(session.bench.client_isn, 0, Flags::SYN).offer(7);
            session.bench.say(NORTH, &syn.stamp(200, 0))
        };
        let seen = if early {
            let seen = come(&mut session);
            assert!(seen.is_empty(), "{seen:?}");
            session.replies(0, replies)
        } else {
            session.replies(0, replies);
            come(&mut session)
        };
        let syn = seen.iter().find(|it| it.head.flags == Flags::SYN);
        let syn = syn.expect("it is passed on");
        assert_eq!((syn.port, syn.ports), (STANDBY, [40_001, MOVED]));
        let seen = session.at_moved(DATA_ISN, SYN_ACK, b"");
        assert_eq!((seen[0].port, seen[0].ports), (NORTH, [DATA, 40_001]));
        assert_eq!(session.bench.counters().protected, 2);
    }
}

#[test]
fn client_is_told_that_a_download_is_complete_when_it_has_it() {
    let mut session = fetching();
    session.file(0, PUSH, b"contents and");
    session.file(12, FIN, b"");
    let told = |seen: &[Seen]| seen.iter().any(|it| it.data == b"226 done\r\n");
    let seen = session.server(b"226 done\r\n");
    assert!(!told(&seen) && !closes(&seen), "{seen:?}");
    assert!(!told(&session.has(7)));
    let seen = session.has(12);
    assert!(told(&seen) && closes(&seen), "{seen:?}");
    // The server repeats it: its client has it, or will.
    session.said[1] -= 10;
    assert!(told(&session.server(b"226 done\r\n")));
}

#[test]
fn server_that_dies_when_the_end_was_withheld_is_replaced_in_the_middle_of_the_transfer() {
    let mut session = fetching();
    session.file(0, PUSH, b"contents and");
    session.has(7);
    session.server(b"226 done\r\n");
    session.said[1] -= 10;
    assert!(session.fail_over().ends_with(b"REST 7\r\nRETR x\r\n"));
}

#[test]
fn transfer_that_the_replacement_refuses_is_lost_and_its_session_is_not() {
    let mut session = fetching();
    session.file(0, PUSH, b"contents");
    session.has(5);
    session.fail_over();
    let refused = [
        LOGIN,
        b"227 Passive (10,0,0,2,23,112)\r\n350 x\r\n550 gone\r\n",
    ]
    .concat();
    let seen = session.replies(0, &refused);
    let reset = seen
        .iter()
        .find(|it| it.port == NORTH && it.head.flags.has(Flags::RST));
    assert_eq!(reset.map(|it| it.ports), Some([DATA, 40_001]), "{seen:?}");
    let counters = session.bench.counters();
    assert_eq!((counters.resumes_refused, counters.lost), (1, 1));
}

#[test]
fn data_connection_that_was_silent_for_long_is_still_known_as_one() {
    let mut session = fetching();
    session.file(0, PUSH, b"contents");
    session.has(8);
    for _ in 0..3 {
        session.bench.wait(Duration::from_secs(10));
    }
    assert!(session.bench.engine.take_dozed() > 0);
    let sent = session.bench.fail_over();
    let opened = sent.iter().filter(|it| it.head.flags == Flags::SYN);
    // Where the replacement takes it, is not known yet.
    let ports: Vec<u16> = opened.map(|it| it.ports[1]).collect();
    assert_eq!(ports, [80], "{sent:?}");
}
