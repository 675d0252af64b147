// SPDX-License-Identifier: GPL-3.0-only
//! The checker finds what it is there for: a short course of frames, with a move to another server in it, is right, and with one
//! fault in it is wrong in one way.

use std::net::Ipv4Addr;

use super::super::Scenario;
use super::super::app::{Request, Script};
use super::super::frames::Out;
use super::*;
use crate::wire::{Address, MacAddr};

const FIRST: PortId = PortId(1);
const SECOND: PortId = PortId(2);
/// Numbers of the SYNs. To the client, all that any server says is numbered as the first one did it.
const CLIENT: u32 = 0xffff_fff0;
const SERVER: u32 = 5000;
const OTHER: u32 = 90_000;
const SYN: Flags = Flags::SYN;
const ACK: Flags = Flags::ACK;
const SYN_ACK: Flags = Flags(SYN.0 | ACK.0);
const FIN_ACK: Flags = Flags(Flags::FIN.0 | ACK.0);
/// The servers scale their windows by so many bits.
const SCALE: u8 = 2;
const RULES: Rules = Rules {
    in_order: true,
    exact: true,
    window: true,
    truth: true,
    lasting: true,
};

#[derive(Clone, Copy, Debug)]
enum Way {
    FromClient,
    ForClient,
    FromServer(PortId),
    ForServer(PortId),
    /// No frame: the second server takes over.
    Move,
}

/// What the checker sees next.
#[derive(Clone, Debug)]
struct Step {
    name: &'static str,
    way: Way,
    flags: Flags,
    seq: u32,
    ack: u32,
    window: u16,
    stamp: Option<u32>,
    data: Vec<u8>,
    damaged: bool,
}

fn step(name: &'static str, way: Way, flags: Flags, (seq, ack): (u32, u32)) -> Step {
    Step {
        name,
        way,
        flags,
        seq,
        ack,
        window: 1000,
        stamp: Some(70),
        data: Vec::new(),
        damaged: false,
    }
}

impl Step {
    fn with(self, data: &[u8]) -> Self {
        Self {
            data: data.to_vec(),
            ..self
        }
    }

    fn frame(&self) -> Vec<u8> {
        let address = |host, port| Address {
            mac: MacAddr([2, 0, 0, 0, 0, host]),
            socket: (Ipv4Addr::new(10, 0, 0, host), port).into(),
        };
        let (client, server) = (address(1, 4000), address(2, 80));
        let (src, dst) = match self.way {
            Way::FromClient | Way::ForServer(_) => (client, server),
            _ => (server, client),
        };
        let mut options = Vec::new();
        if self.flags.has(SYN) {
            let scale = if src == client { 0 } else { SCALE };
            options.extend([1, 3, 3, scale]);
        }
        if let Some(stamp) = self.stamp {
            options.extend([1, 1, 8, 10]);
            options.extend(stamp.to_be_bytes());
            options.extend([0; 4]);
        }
        let mut frame = Out {
            src,
            dst,
            seq: SeqNumber(self.seq),
            ack: SeqNumber(self.ack),
            flags: self.flags,
            window: self.window,
            urgent: None,
            options: &options,
            data: &self.data,
        }
        .frame();
        if self.damaged
            && let Some(last) = frame.last_mut()
        {
            *last ^= 1;
        }
        frame
    }
}

fn truth() -> Truth {
    Truth::new(&Script {
        requests: vec![Request::new(20, 200)],
        ..Scenario::default().script
    })
}

/// Where the first server stops: in the middle of its date.
fn cut() -> usize {
    let truth = truth();
    let date = truth.dates_in(0, truth.responses.len()).next();
    date.expect("there is a date") + 10
}

/// How much the client says.
fn requested() -> usize {
    truth().requests.len()
}

/// One request; the first server says one part of the answer, the second the other.
fn course() -> Vec<Step> {
    use Way::{ForClient, ForServer, FromClient, FromServer, Move};
    let truth = truth();
    let (request, answer) = (&truth.requests, &truth.responses);
    let (head, rest) = answer.split_at(cut());
    let (c, s, o) = (CLIENT, SERVER, OTHER);
    let requested = (c + 1).wrapping_add(request.len() as u32);
    let (said, all) = (s + 1 + head.len() as u32, s + 1 + answer.len() as u32);
    let (to, from) = (ForServer(FIRST), FromServer(FIRST));
    let (to_other, from_other) = (ForServer(SECOND), FromServer(SECOND));
    let o_all = o + 1 + answer.len() as u32;
    vec![
        step("syn", FromClient, SYN, (c, 0)),
        step("syn for server", to, SYN, (c, 0)),
        step("syn-ack of server", from, SYN_ACK, (s, c + 1)),
        step("syn-ack", ForClient, SYN_ACK, (s, c + 1)),
        step("ack", FromClient, ACK, (c + 1, s + 1)),
        step("ack for server", to, ACK, (c + 1, s + 1)),
        step("request", FromClient, ACK, (c + 1, s + 1)).with(request),
        step("request for server", to, ACK, (c + 1, s + 1)).with(request),
        step("part of server", from, ACK, (s + 1, requested)).with(head),
        step("part", ForClient, ACK, (s + 1, requested)).with(head),
        step("part's ack", FromClient, ACK, (requested, said)),
        step("part's ack for server", to, ACK, (requested, said)),
        step("move", Move, ACK, (0, 0)),
        step("syn for other", to_other, SYN, (c, 0)),
        step("syn-ack of other", from_other, SYN_ACK, (o, c + 1)),
        step("request for other", to_other, ACK, (c + 1, o + 1)).with(request),
        step("answer of other", from_other, ACK, (o + 1, requested)).with(answer),
        step("rest", ForClient, ACK, (said, requested)).with(rest),
        step("close", FromClient, FIN_ACK, (requested, all)),
        step("close for other", to_other, FIN_ACK, (requested, o_all)),
        step(
            "close of other",
            from_other,
            FIN_ACK,
            (o_all, requested + 1),
        ),
        step("end", ForClient, FIN_ACK, (all, requested + 1)),
        step("last ack", FromClient, ACK, (requested + 1, all + 1)),
        step(
            "last ack for other",
            to_other,
            ACK,
            (requested + 1, o_all + 1),
        ),
    ]
}

/// What the checker has against it.
fn violations(course: &[Step], rules: Rules) -> Vec<String> {
    let mut checker = Checker::new(&Rc::new(truth()), rules);
    let mut active = FIRST;
    for step in course {
        let mut frame = step.frame();
        match step.way {
            Way::FromClient => checker.sees_from_client(&mut frame),
            Way::ForClient => checker.sees_for_client(&mut frame, false),
            Way::FromServer(port) => checker.sees_from_server(&mut frame, port),
            Way::ForServer(port) => checker.sees_for_server(&mut frame, (port, active), false),
            Way::Move => {
                active = SECOND;
                checker.failover();
            }
        }
    }
    checker.violations
}

fn place(course: &[Step], name: &str) -> usize {
    let place = course.iter().position(|step| step.name == name);
    place.expect("a step of this name")
}

/// The course with a fault in one step.
fn with_fault(name: &str, fault: impl Fn(&mut Step)) -> Vec<String> {
    let mut course = course();
    let place = place(&course, name);
    fault(&mut course[place]);
    violations(&course, RULES)
}

/// The course with another step, made of that of this name, behind it.
fn with_another(name: &str, fault: impl Fn(&mut Step)) -> Vec<String> {
    let mut course = course();
    let place = place(&course, name);
    let mut another = course[place].clone();
    fault(&mut another);
    course.insert(place + 1, another);
    violations(&course, RULES)
}

fn without(name: &str) -> Vec<String> {
    let mut course = course();
    course.remove(place(&course, name));
    violations(&course, RULES)
}

#[track_caller]
fn assert_found(violations: &[String], what: &str) {
    assert!(
        matches!(violations, [only] if only.contains(what)),
        "{violations:?}, not {what}"
    );
}

#[test]
fn course_without_a_fault_is_right() {
    assert_eq!(violations(&course(), RULES), [""; 0]);
}

/// So none of the following is found because a frame comes twice.
#[test]
fn every_frame_may_come_twice() {
    for step in course() {
        let twice = with_another(step.name, |_| {});
        assert_eq!(twice, [""; 0], "{}", step.name);
    }
}

#[test]
fn acknowledgement_of_what_was_not_logged_is_found() {
    let said = requested() + 1;
    let found = with_fault("end", |step| step.ack += 1);
    let what = format!("acknowledged {}, but only {said} is logged", said + 1);
    assert_found(&found, &what);
    let lost = without("request");
    let found = lost
        .iter()
        .any(|what| what.contains("but only 0 is logged"));
    assert!(found, "{lost:?}");
}

#[test]
fn right_edge_that_goes_back_is_found() {
    // Before a move, a server's own edge may go back by less than a step of its scale.
    let found = with_fault("part", |step| step.ack -= 3);
    assert_eq!(found, [""; 0]);
    let found = with_another("part", |step| step.window -= 1);
    assert_found(&found, "the window's right edge went back by 4");
    let found = with_another("rest", |step| step.ack -= 1);
    assert_found(&found, "the window's right edge went back by 1");
}

#[test]
fn older_timestamp_is_found() {
    let found = with_fault("rest", |step| step.stamp = Some(69));
    assert_found(&found, "timestamp went back from 70 to 69");
}

#[test]
fn missing_timestamp_is_found() {
    let found = with_fault("rest", |step| step.stamp = None);
    assert_found(&found, "a segment lacks its timestamp");
}

#[test]
fn fin_before_all_is_said_is_found() {
    let found = with_fault("part", |step| step.flags = FIN_ACK);
    assert_found(&found, &format!("the stream was ended at {}", cut()));
}

#[test]
fn reset_is_found() {
    let found = with_another("part", |step| step.flags = Flags::RST);
    assert_found(&found, "was reset");
}

#[test]
fn reset_of_a_connection_that_is_closed_at_both_ends_is_right() {
    let found = with_another("last ack", |step| {
        step.way = Way::ForClient;
        step.flags = Flags::RST;
    });
    assert_eq!(found, [""; 0]);
}

#[test]
fn wrong_byte_is_found() {
    let last = truth().responses.len() - 1;
    let found = with_fault("rest", |step| *step.data.last_mut().expect("data") ^= 1);
    assert_found(&found, &format!("byte {last} of the stream is wrong"));
    let found = with_fault("rest", |step| step.data.push(0));
    assert_found(&found, &format!("byte {} of the stream is wrong", last + 1));
}

#[test]
fn bytes_at_the_wrong_place_are_found() {
    let found = with_fault("rest", |step| {
        step.seq += 1;
        step.data.pop();
    });
    // The first behind the date.
    assert_found(
        &found,
        &format!("byte {} of the stream is wrong", cut() + 19),
    );
}

#[test]
fn date_that_becomes_another_is_found() {
    // Told again with another byte, while the client has not acknowledged it.
    let found = with_another("part", |step| *step.data.last_mut().expect("data") ^= 1);
    assert_found(&found, &format!("byte {} was another before", cut() - 1));
}

#[test]
fn data_beyond_the_clients_window_is_found() {
    let mut course = course();
    for step in &mut course {
        if matches!(step.way, Way::FromClient) {
            step.window = 100;
        }
    }
    let (all, right) = (truth().responses.len(), cut() + 100);
    let found = violations(&course, RULES);
    assert_found(
        &found,
        &format!("sent up to {all}, but the window ends at {right}"),
    );
}

#[test]
fn second_syn_ack_of_another_number_is_found_once_moved() {
    let found = with_another("move", |step| {
        step.way = Way::ForClient;
        step.flags = SYN_ACK;
        step.seq = OTHER;
        step.ack = CLIENT + 1;
    });
    assert_found(&found, "was sent another SYN-ACK than before");
}

#[test]
fn segment_to_a_client_that_said_nothing_is_found() {
    let found = violations(&course()[3..4], RULES);
    assert_found(&found, "segment to 10.0.0.1:4000 from nowhere");
}

#[test]
fn segment_with_a_wrong_checksum_is_found_both_ways() {
    let found = with_another("rest", |step| step.damaged = true);
    assert_found(&found, "sent a bad segment");
    let found = with_another("request for other", |step| step.damaged = true);
    assert_found(&found, "sent a bad segment");
}

#[test]
fn frame_for_a_dark_port_is_found() {
    let found = with_another("syn", |step| step.way = Way::ForServer(SECOND));
    assert_found(&found, "a frame for port 2, which is dark");
    let found = with_another("request for other", |step| step.way = Way::ForServer(FIRST));
    assert_found(&found, "a frame for port 1, which is dark");
}

#[test]
fn segment_for_a_server_where_nothing_was_begun_is_found() {
    let found = without("syn for other");
    let begun = |what: &String| what.contains("for port 2, where it was not begun");
    assert!(!found.is_empty() && found.iter().all(begun), "{found:?}");
}

#[test]
fn segment_from_a_client_that_said_nothing_is_found() {
    let found = violations(&course()[1..2], RULES);
    assert_found(&found, "segment from 10.0.0.1:4000, which said nothing");
}

#[test]
fn bytes_that_the_client_did_not_say_are_found() {
    let said = requested();
    let found = with_fault("request for other", |step| step.data[7] ^= 1);
    assert_found(&found, &format!("did not say the {said} bytes at 0"));
    let found = with_another("ack for server", |step| step.data = truth().requests);
    assert_found(&found, &format!("said 0 bytes, the server gets {said}"));
}

#[test]
fn fin_that_the_client_did_not_say_is_found() {
    let found = with_fault("request for other", |step| step.flags = FIN_ACK);
    let what = format!("FIN of 10.0.0.1:4000 at {}, its end is None", requested());
    assert_found(&found, &what);
}

#[test]
fn acknowledgement_of_what_no_server_said_is_found() {
    let found = with_fault("part's ack for server", |step| step.ack += 1);
    assert_found(&found, "acknowledges 1 bytes that port 1 did not say");
    // In the other server's numbering.
    let found = with_fault("request for other", |step| step.ack = SERVER + 1);
    assert_eq!(found, [""; 0], "it is older");
    let found = with_fault("request for other", |step| step.ack += 10);
    assert_found(&found, "acknowledges 10 bytes that port 2 did not say");
}

#[test]
fn rules_that_do_not_hold_are_not_asked_for() {
    let none = Rules {
        in_order: false,
        exact: false,
        window: false,
        truth: false,
        lasting: false,
    };
    let mut course = course();
    for step in &mut course {
        match step.name {
            "part" => step.data[0] ^= 1,
            "rest" => (step.stamp, step.ack) = (Some(60), step.ack - 1),
            "end" => step.flags = Flags::RST,
            _ => {}
        }
        if matches!(step.way, Way::FromClient) {
            step.window = 100;
        }
    }
    assert_eq!(violations(&course, none), [""; 0]);
    let found = violations(&course, RULES);
    let expected = [
        "byte 0 of the stream is wrong",
        "the window's right edge went back by 1",
        "timestamp went back from 70 to 60",
        "but the window ends at",
        "was reset",
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, what) in found.iter().zip(expected) {
        assert!(found.contains(what), "{found}, not {what}");
    }
}
