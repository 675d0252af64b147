// SPDX-License-Identifier: GPL-3.0-only
//! A response is taken up in the middle: what each end sees of it, and what is done if that cannot be.

mod refused;

use super::*;
use crate::control::Verify;

const GET: &[u8] = b"GET /f HTTP/1.1\r\nHost: x\r\n\r\n";
const HEAD: &str = "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 100000\r\n\r\n";
const BODY: usize = 100_000;
/// The server's stream when it dies, and of it what the client has.
const SENT: u32 = 80_000;
const ACKED: u32 = 77_000;
/// The replacement's initial sequence number.
const ISN: u32 = 4_000_000_000;

/// The whole response.
fn response() -> Vec<u8> {
    let body = (0..BODY).map(|at| (at * 7 % 251) as u8 | 0x80);
    HEAD.bytes().chain(body).collect()
}

/// What a replacement says to the request for the rest, from this position of the old stream on.
fn answer(at: u64) -> Vec<u8> {
    let first = at as usize - HEAD.len();
    let left = BODY - first;
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nETag: \"v1\"\r\nContent-Length: {left}\r\nContent-Range: bytes {first}-99999/100000\r\n\r\n"
    );
    [head.as_bytes(), &response()[at as usize..]].concat()
}

fn head_len(answer: &[u8]) -> usize {
    memchr::memmem::find(answer, b"\r\n\r\n").expect("it has a head") + 4
}

/// The server says its stream from `at` to `to`.
fn serve(bench: &mut Bench, (port, isn): (PortId, u32), stream: &[u8], from: usize) -> Vec<Seen> {
    let mut sent = Vec::new();
    for (index, piece) in stream.chunks(1000).enumerate() {
        let seq = isn.wrapping_add(1 + (from + index * 1000) as u32);
        let ack = bench.c(GET.len() as u32);
        let say = Say::new(seq, ack, PUSH).stamp(7005, 102).data(piece);
        sent.extend(bench.say(port, &say));
    }
    sent
}

fn acknowledge(bench: &mut Bench, at: u32) -> Vec<Seen> {
    let said = bench.c(GET.len() as u32);
    bench.say(NORTH, &Say::new(said, bench.s(at), ACK).stamp(103, 7005))
}

/// The server is about to die in the middle of a response.
fn served(verify: Verify) -> Bench {
    let mut bench = Bench::with(vec![ServiceSpec {
        verify,
        ..ServiceSpec::new(80, "http")
    }]);
    bench.open(7);
    let asked = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
    bench.say(NORTH, &asked.data(GET));
    let server = (ACTIVE, bench.server_isn);
    let response = response();
    serve(&mut bench, server, &response[..50_000], 0);
    acknowledge(&mut bench, 50_000);
    serve(&mut bench, server, &response[50_000..SENT as usize], 50_000);
    acknowledge(&mut bench, ACKED);
    bench
}

fn to(port: PortId, sent: &[Seen]) -> Vec<&Seen> {
    sent.iter().filter(|seen| seen.port == port).collect()
}

/// The bytes that the client is sent, and where they begin in the stream; they must follow one another.
fn passed(bench: &Bench, sent: &[Seen]) -> (u32, Vec<u8>) {
    let mut all: Option<(u32, Vec<u8>)> = None;
    for seen in to(NORTH, sent) {
        if seen.data.is_empty() {
            continue;
        }
        let at = seen.head.seq.0.wrapping_sub(bench.s(0));
        let (begin, bytes) = all.get_or_insert((at, Vec::new()));
        assert_eq!(*begin + bytes.len() as u32, at);
        bytes.extend(&seen.data);
    }
    all.unwrap_or_default()
}

/// What a replacement was asked.
#[derive(Debug)]
struct Asked {
    /// The sequence number behind the request.
    end: u32,
    text: String,
    from: u64,
}

/// The replacement takes the handshake and the request.
fn ask(bench: &mut Bench, port: PortId, syn: &Seen) -> Asked {
    assert_eq!(syn.head.flags, Flags::SYN);
    let ack = syn.head.seq.0.wrapping_add(1);
    let syn_ack = Say::new(ISN, ack, SYN_ACK).offer(7).stamp(40, 103);
    let sent = bench.say(port, &syn_ack);
    let mut bytes = Vec::new();
    for seen in to(port, &sent) {
        assert_eq!(seen.head.seq.0, ack.wrapping_add(bytes.len() as u32));
        bytes.extend(&seen.data);
    }
    let text = String::from_utf8(bytes).expect("it is text");
    let range = text
        .split("bytes=")
        .nth(1)
        .and_then(|it| it.split('-').next());
    let first: u64 = range.map_or(0, |it| it.parse().expect("it is a number"));
    Asked {
        end: ack.wrapping_add(text.len() as u32),
        text,
        from: first + HEAD.len() as u64,
    }
}

fn resume(bench: &mut Bench) -> Asked {
    let sent = bench.fail_over();
    let syn = sent.into_iter().find(|seen| seen.port == STANDBY);
    let asked = ask(bench, STANDBY, &syn.expect("a SYN"));
    assert!(asked.text.contains("Range: bytes="), "{}", asked.text);
    asked
}

fn log(bench: &mut Bench) -> String {
    let events = std::iter::from_fn(|| bench.engine.poll_event());
    events.map(|event| format!("{event}\n")).collect()
}

#[test]
fn only_the_rest_is_asked_for_and_no_number_of_the_client_is_shifted() {
    for verify in [Verify::Sampled, Verify::Full] {
        let mut bench = served(verify);
        let asked = resume(&mut bench);
        assert_eq!(asked.end, bench.c(GET.len() as u32));
        let want = "GET /f HTTP/1.1\r\nHost: x\r\nRange: bytes=";
        assert!(asked.text.starts_with(want), "{}", asked.text);
        assert!(asked.text.ends_with("-\r\nIf-Range: \"v1\"\r\n\r\n"));
        let first = if verify == Verify::Full {
            // A border of the digest.
            76_800
        } else {
            ACKED
        };
        assert_eq!(asked.from, u64::from(first));

        let answer = answer(asked.from);
        let head = head_len(&answer);
        let sent = serve(&mut bench, (STANDBY, ISN), &answer[..head + 10_000], 0);
        let end = first + 10_000;
        let (at, bytes) = passed(&bench, &sent);
        assert_eq!(at, ACKED);
        assert_eq!(bytes, response()[ACKED as usize..end as usize]);
        acknowledge(&mut bench, end);
        assert_eq!(bench.state(), "established");
        let counters = bench.counters();
        assert_eq!((counters.recovered, counters.resumed), (1, 1));
        let log = log(&mut bench);
        assert!(
            log.contains(&format!("resumed at byte {first} in ")),
            "{log}"
        );

        // Both ends go on, numbers and all.
        let more = Say::new(bench.c(GET.len() as u32), bench.s(end), PUSH);
        let out = bench.say(NORTH, &more.stamp(104, 7006).data(b"GET"));
        assert_eq!(out[0].head.seq.0, asked.end);
        let south = ISN.wrapping_add(1 + (head + 10_000) as u32);
        assert_eq!(out[0].head.ack.0, south);
        let say = Say::new(south, asked.end, PUSH).stamp(7009, 104);
        let out = bench.say(STANDBY, &say.data(&answer[head + 10_000..head + 10_100]));
        assert_eq!(out[0].head.seq.0, bench.s(end));
        assert_eq!(out[0].head.ack.0, bench.c(GET.len() as u32));
    }
}

#[test]
fn head_may_come_in_any_pieces() {
    for order in [[0, 1, 2, 3], [0, 2, 1, 3], [3, 2, 1, 0], [1, 0, 3, 2]] {
        let mut bench = served(Verify::Sampled);
        let asked = resume(&mut bench);
        let answer = answer(asked.from);
        let ack = bench.c(GET.len() as u32);
        let mut sent = Vec::new();
        for piece in order {
            let at = piece * 50;
            let seq = ISN.wrapping_add(1 + at as u32);
            let data = &answer[at..at + if piece == 3 { 900 } else { 50 }];
            let say = Say::new(seq, ack, PUSH).stamp(41, 103);
            sent.extend(bench.say(STANDBY, &say.data(data)));
        }
        let rest = 150 + 900 - head_len(&answer);
        let (at, bytes) = passed(&bench, &sent);
        assert_eq!((at, bytes.len()), (ACKED, rest), "{order:?}");
        let told = to(STANDBY, &sent).last().expect("it is answered").head.ack;
        let head = ISN.wrapping_add(1 + head_len(&answer) as u32);
        assert_eq!(
            told.0, head,
            "the head is acknowledged, the rest by the client"
        );
    }
}

#[test]
fn head_that_is_said_again_after_the_move_is_kept_from_the_client() {
    let mut bench = served(Verify::Sampled);
    let asked = resume(&mut bench);
    let answer = answer(asked.from);
    let head = head_len(&answer);
    serve(&mut bench, (STANDBY, ISN), &answer[..head + 3500], 0);
    acknowledge(&mut bench, SENT);
    assert_eq!(bench.state(), "established");
    let again = serve(&mut bench, (STANDBY, ISN), &answer[..head + 200], 0);
    let (at, bytes) = passed(&bench, &again);
    assert_eq!(at, ACKED);
    assert_eq!(bytes, response()[ACKED as usize..ACKED as usize + 200]);
    let only_head = serve(&mut bench, (STANDBY, ISN), &answer[..head - 5], 0);
    assert!(to(NORTH, &only_head).is_empty());
    assert_eq!(to(STANDBY, &only_head).len(), 1);
}

#[test]
fn client_without_room_is_asked_for_it_when_the_replacement_repeats_what_was_cut() {
    const FULL: usize = 50_000 + (200 << 7);
    let mut bench = Bench::with(vec![ServiceSpec::new(80, "http")]);
    bench.open(7);
    let asked = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
    bench.say(NORTH, &asked.data(GET));
    let (server, response) = ((ACTIVE, bench.server_isn), response());
    let said = bench.c(GET.len() as u32);
    for (from, to, window) in [(0, 50_000, 200), (50_000, FULL, 0)] {
        serve(&mut bench, server, &response[from..to], from);
        let ack = Say::new(said, bench.s(to as u32), ACK).stamp(103, 7005);
        bench.say(NORTH, &ack.window(window));
    }
    let asked = resume(&mut bench);
    let answer = answer(asked.from);
    // The first byte that the client has no room for.
    let next = head_len(&answer) + FULL - asked.from as usize;
    serve(&mut bench, (STANDBY, ISN), &answer[..next + 1000], 0);
    assert_eq!(bench.state(), "established");

    // The word of more room was lost, and a server that was told of more than there is does not probe.
    let again = serve(&mut bench, (STANDBY, ISN), &answer[next..next + 1000], next);
    let north = to(NORTH, &again);
    assert_eq!(north.len(), 1, "{north:?}");
    assert!(north[0].data.is_empty());
    assert_eq!(north[0].head.seq.0, bench.s(FULL as u32 - 1));
    let room = Say::new(said, bench.s(FULL as u32), ACK).stamp(104, 7005);
    bench.say(NORTH, &room);
    let again = serve(&mut bench, (STANDBY, ISN), &answer[next..next + 1000], next);
    let (at, bytes) = passed(&bench, &again);
    assert_eq!(at, FULL as u32);
    assert_eq!(bytes, response[FULL..FULL + 1000]);
}

#[test]
fn request_that_is_lost_is_said_again() {
    let mut bench = served(Verify::Sampled);
    let asked = resume(&mut bench);
    let again = bench.wait(Duration::from_millis(200));
    let again = to(STANDBY, &again);
    assert_eq!(again[0].data, asked.text.as_bytes());
    let half = asked.end.wrapping_sub(20);
    let sent = bench.say(
        STANDBY,
        &Say::new(ISN.wrapping_add(1), half, ACK).stamp(41, 103),
    );
    assert!(sent.is_empty());
    let again = bench.wait(Duration::from_secs(1));
    assert_eq!(
        again[0].data,
        &asked.text.as_bytes()[asked.text.len() - 20..]
    );
}

/// The first standby dies, too; the second is asked.
fn ask_second(bench: &mut Bench) -> Asked {
    let sent = bench.fail_over();
    let syn = sent.into_iter().find(|seen| seen.port == SECOND);
    ask(bench, SECOND, &syn.expect("a SYN"))
}

#[test]
fn resumed_response_is_resumed_again_wherever_the_second_server_dies() {
    for verify in [Verify::Sampled, Verify::Full] {
        // Of the first replacement's answer: nothing, a part of the head, of the old bytes, of the new.
        for said in [0, 40, 1000, 5000, 12_000] {
            let mut bench = served(verify);
            let asked = resume(&mut bench);
            let answer_1 = answer(asked.from);
            serve(&mut bench, (STANDBY, ISN), &answer_1[..said], 0);
            let had = (said as u64).saturating_sub(head_len(&answer_1) as u64) + asked.from;
            let had = (had as u32).clamp(ACKED, 90_000);
            acknowledge(&mut bench, had);
            let asked = ask_second(&mut bench);
            assert!(
                asked.text.contains("Range: bytes="),
                "{said}: {}",
                asked.text
            );
            assert!(asked.from <= u64::from(had) && asked.from + 1024 > u64::from(had));
            let answer = answer(asked.from);
            let sent = serve(&mut bench, (SECOND, ISN), &answer, 0);
            let (at, bytes) = passed(&bench, &sent);
            assert_eq!(at, had);
            assert!(bytes == response()[had as usize..], "{verify:?} {said}");
            acknowledge(&mut bench, response().len() as u32);
            assert_eq!(bench.state(), "established");
            // And the log is cut behind it.
            assert_eq!(
                bench.status().connections[0].logged_bytes,
                0,
                "{verify:?} {said}"
            );
        }
    }
}

#[test]
fn logger_that_is_restarted_asks_again() {
    for said in [0, 40, 1000] {
        let mut bench = served(Verify::Sampled);
        let asked = resume(&mut bench);
        let answer = answer(asked.from);
        serve(&mut bench, (STANDBY, ISN), &answer[..said], 0);
        let image = bench.engine.export(bench.now);
        let mut engine = Engine::new(EngineConfig::default());
        let image = Image::parse(&image).expect("an image");
        let ports = GroupPorts {
            north: NORTH,
            active: STANDBY,
            standbys: vec![SECOND],
        };
        let mut sent = Sent::default();
        let taken = engine.import(bench.now, image, |_| Some(ports.clone()), &mut sent);
        assert_eq!(taken.expect("it fits").connections, 1);
        bench.engine = engine;
        let probe = Bench::seen(sent);
        let probe = to(STANDBY, &probe)[0];
        assert_eq!(probe.head.flags, ACK);
        // It is there yet: it is reset, and asked anew.
        let here = Say::new(ISN.wrapping_add(1), asked.end, ACK).stamp(41, 103);
        let sent = bench.say(STANDBY, &here);
        assert!(sent[0].head.flags.has(Flags::RST));
        assert_eq!(sent[0].head.seq.0, asked.end);
        let again = ask(&mut bench, STANDBY, &sent[1]);
        assert_eq!((again.text, again.from), (asked.text, asked.from));
    }
}
