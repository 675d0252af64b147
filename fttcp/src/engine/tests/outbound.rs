// SPDX-License-Identifier: GPL-3.0-only
//! Connections that the server opens, under each policy.

mod announced;
mod chaos;
mod choice;
mod needed;

use super::*;
use crate::control::Outbound;

/// The ports of one connection: of its peer, of the server.
pub(super) type Ports = (u16, u16);

const DATA: Ports = (5000, 20);
pub(super) const ORIGIN: Ports = (8080, 33_000);
pub(super) const PEER_ISN: u32 = 700_000;
pub(super) const ISN: u32 = 1000;

pub(super) fn bench(outbound: Outbound) -> Bench {
    bench_of(outbound, service())
}

fn bench_of(outbound: Outbound, service: ServiceSpec) -> Bench {
    let mut engine = Engine::new(EngineConfig::default());
    let spec = GroupSpec {
        name: "web".to_owned(),
        standbys: vec!["vif2".to_owned(), "vif3".to_owned()],
        services: vec![service],
        outbound,
        ..GroupSpec::default()
    };
    let ports = GroupPorts {
        north: NORTH,
        active: ACTIVE,
        standbys: vec![STANDBY, SECOND],
    };
    engine.add_group(spec, ports).unwrap();
    Bench {
        engine,
        ..Bench::new()
    }
}

/// A segment as it left, with the ports that it had.
#[derive(Debug)]
pub(super) struct Out {
    port: PortId,
    ports: Ports,
    head: Head,
    data: Vec<u8>,
}

fn outs(sent: Sent) -> Vec<Out> {
    let mut all = Vec::new();
    for (port, mut frame, offload) in sent.0 {
        let Ok(layout) = locate(&frame) else {
            continue;
        };
        let (src, dst) = (layout.src.port(), layout.dst.port());
        let segment = Segment::parse(&mut frame, layout, &offload).unwrap();
        all.push(Out {
            port,
            ports: if port == NORTH {
                (dst, src)
            } else {
                (src, dst)
            },
            head: *segment.head(),
            data: segment.payload().to_vec(),
        });
    }
    all
}

pub(super) fn say(bench: &mut Bench, port: PortId, ports: Ports, say: &Say<'_>) -> Vec<Out> {
    let (peer, server) = (bench.end(1, ports.0), bench.end(2, ports.1));
    let (src, dst) = if port == NORTH {
        (peer, server)
    } else {
        (server, peer)
    };
    let mut frame = Vec::new();
    SegmentRepr {
        src,
        dst,
        tags: &[],
        seq: SeqNumber(say.seq),
        ack: SeqNumber(say.ack),
        flags: say.flags,
        window: say.window,
        urgent: 0,
        options: say.options,
        payload: say.data,
    }
    .emit(&mut frame);
    let mut sent = Sent::default();
    let (now, offload) = (bench.now, Offload::default());
    bench
        .engine
        .handle_frame(now, port, &mut frame, offload, &mut sent);
    outs(sent)
}

pub(super) fn fail_over(bench: &mut Bench) -> Vec<Out> {
    let mut sent = Sent::default();
    bench
        .engine
        .failover(bench.now, 0, "web", "a test", &mut sent)
        .unwrap();
    outs(sent)
}

fn wait(bench: &mut Bench, time: Duration) -> Vec<Out> {
    bench.now = bench.now.after(time);
    let mut sent = Sent::default();
    bench.engine.handle_timeout(bench.now, &mut sent);
    outs(sent)
}

fn events(bench: &mut Bench) -> Vec<Event> {
    std::iter::from_fn(|| bench.engine.poll_event()).collect()
}

/// The server's SYN, the peer's answer, the server's acknowledgement.
pub(super) fn open(bench: &mut Bench, ports: Ports, isn: u32, peer_isn: u32) {
    let syn = Say::new(isn, 0, Flags::SYN).offer(7).stamp(7000, 0);
    let passed = say(bench, ACTIVE, ports, &syn);
    assert_eq!((passed[0].port, passed[0].ports), (NORTH, ports));
    let answer = Say::new(peer_isn, isn + 1, SYN_ACK)
        .offer(9)
        .stamp(100, 7000);
    assert_eq!(say(bench, NORTH, ports, &answer)[0].port, ACTIVE);
    let ack = Say::new(isn + 1, peer_isn + 1, ACK).stamp(7001, 100);
    assert_eq!(say(bench, ACTIVE, ports, &ack)[0].port, NORTH);
}

/// The server says `request`, the peer acknowledges and says `answer`.
pub(super) fn talk(
    bench: &mut Bench,
    ports: Ports,
    isn: u32,
    peer_isn: u32,
    request: &[u8],
    answer: &[u8],
) {
    let (at, peer_at) = (isn + 1, peer_isn + 1);
    let said = Say::new(at, peer_at, PUSH).stamp(7002, 100).data(request);
    say(bench, ACTIVE, ports, &said);
    let end = at + request.len() as u32;
    let said = Say::new(peer_at, end, PUSH).stamp(101, 7002).data(answer);
    say(bench, NORTH, ports, &said);
    let peer_end = peer_at + answer.len() as u32;
    let ack = Say::new(end, peer_end, ACK).stamp(7003, 101);
    say(bench, ACTIVE, ports, &ack);
}

/// Both ends close, the server first.
fn close(bench: &mut Bench, ports: Ports, at: u32, peer_at: u32) {
    let fin = Say::new(at, peer_at, FIN).stamp(7004, 101);
    assert!(say(bench, ACTIVE, ports, &fin).is_empty(), "it is held");
    let fin = wait(bench, Duration::from_millis(250));
    assert!(fin[0].head.flags.has(Flags::FIN));
    let fin = Say::new(peer_at, at + 1, FIN).stamp(102, 7004);
    say(bench, NORTH, ports, &fin);
    let ack = Say::new(at + 1, peer_at + 1, ACK).stamp(7005, 102);
    say(bench, ACTIVE, ports, &ack);
}

/// The replacement's SYN; what is answered.
pub(super) fn reopen(bench: &mut Bench, ports: Ports, isn: u32) -> Vec<Out> {
    let syn = Say::new(isn, 0, Flags::SYN).offer(6).stamp(50, 0);
    say(bench, STANDBY, ports, &syn)
}

/// The replacement's acknowledgement of a SYN-ACK.
pub(super) fn complete(bench: &mut Bench, ports: Ports, isn: u32, answer: &Out) -> Vec<Out> {
    let ack = Say::new(isn + 1, answer.head.seq.0 + 1, ACK).stamp(51, 100);
    say(bench, STANDBY, ports, &ack)
}

#[test]
fn trap_35_replacement_gets_the_peers_syn_ack_and_the_peer_notices_nothing() {
    for from in [DATA.1, 41_000] {
        // A port that is not privileged may change.
        let known = if from == DATA.1 { DATA } else { ORIGIN };
        let ports = (known.0, from);
        let mut bench = bench(Outbound::Keep);
        open(&mut bench, known, ISN, PEER_ISN);
        talk(&mut bench, known, ISN, PEER_ISN, b"hello", b"abc");
        let sent = fail_over(&mut bench);
        assert_eq!(
            (sent.len(), sent[0].port, sent[0].head.flags),
            (1, NORTH, ACK)
        );
        let more = Say::new(PEER_ISN + 4, ISN + 6, PUSH)
            .stamp(103, 7003)
            .data(b"def");
        let acked = say(&mut bench, NORTH, known, &more);
        assert_eq!((acked[0].port, acked[0].head.ack.0), (NORTH, PEER_ISN + 7));

        let sent = reopen(&mut bench, ports, 42);
        assert_eq!(sent.len(), 1, "the SYN does not pass");
        let answer = &sent[0];
        assert_eq!((answer.port, answer.ports), (STANDBY, (known.0, from)));
        assert_eq!(answer.head.flags, SYN_ACK);
        assert_eq!((answer.head.seq.0, answer.head.ack.0), (PEER_ISN, 43));
        assert_eq!(answer.head.options.mss, Some(1460));
        assert_eq!(answer.head.options.window_scale, Some(9));
        assert!(answer.head.options.sack_permitted);
        let stamps = answer.head.options.timestamps.unwrap();
        assert_eq!((stamps.value, stamps.echo), (103, 50));
        let again = reopen(&mut bench, ports, 42);
        assert_eq!(
            (again[0].head.flags, again[0].head.seq.0),
            (SYN_ACK, PEER_ISN)
        );

        complete(&mut bench, ports, 42, answer);
        let said = Say::new(43, PEER_ISN + 1, PUSH)
            .stamp(52, 103)
            .data(b"hello");
        let sent = say(&mut bench, STANDBY, ports, &said);
        let fed: Vec<u8> = sent
            .iter()
            .filter(|it| it.port == STANDBY)
            .flat_map(|it| it.data.clone())
            .collect();
        assert_eq!(fed, b"abcdef");
        assert!(
            sent.iter()
                .all(|it| it.port == STANDBY || it.data.is_empty())
        );
        let took = Say::new(48, PEER_ISN + 7, ACK).stamp(53, 103);
        say(&mut bench, STANDBY, ports, &took);
        assert_eq!(bench.state(), "established");
        let new = Say::new(48, PEER_ISN + 7, PUSH).stamp(54, 103).data(b"new");
        let sent = say(&mut bench, STANDBY, ports, &new);
        assert_eq!((sent[0].port, sent[0].ports), (NORTH, known));
        assert_eq!(sent[0].head.seq.0, ISN + 6);
        let ack = Say::new(PEER_ISN + 7, ISN + 9, ACK).stamp(104, 7010);
        let sent = say(&mut bench, NORTH, known, &ack);
        assert_eq!((sent[0].port, sent[0].ports.1), (STANDBY, from));
        assert_eq!(sent[0].head.ack.0, 51);
        let totals = bench.counters();
        assert_eq!((totals.recovered, totals.lost, totals.diverged), (1, 0, 0));
    }
}

#[test]
fn trap_35_connection_from_a_privileged_port_is_opened_again_only_from_there() {
    let mut bench = bench(Outbound::Keep);
    open(&mut bench, DATA, ISN, PEER_ISN);
    fail_over(&mut bench);
    let sent = reopen(&mut bench, (DATA.0, 41_000), 42);
    assert_eq!((sent[0].port, sent[0].head.flags), (NORTH, Flags::SYN));
    let sent = reopen(&mut bench, DATA, 42);
    assert_eq!((sent[0].port, sent[0].head.flags), (STANDBY, SYN_ACK));
}

#[test]
fn trap_35_connection_that_is_not_opened_again_is_reset_and_counted() {
    let mut bench = bench(Outbound::Keep);
    open(&mut bench, DATA, ISN, PEER_ISN);
    talk(&mut bench, DATA, ISN, PEER_ISN, b"hello", b"abc");
    fail_over(&mut bench);
    assert!(wait(&mut bench, Duration::from_secs(29)).is_empty());
    let sent = wait(&mut bench, Duration::from_secs(2));
    assert!(sent[0].head.flags.has(Flags::RST));
    assert_eq!((sent[0].port, sent[0].head.seq.0), (NORTH, ISN + 6));
    assert_eq!(bench.counters().lost, 1);
    let told = events(&mut bench).iter().any(
        |event| matches!(event, Event::Lost { reason, .. } if reason.contains("did not open")),
    );
    assert!(told);
}

#[test]
fn trap_35_connection_that_is_over_is_told_again_and_its_peer_hears_nothing() {
    let mut bench = bench(Outbound::Keep);
    bench.open(7);
    open(&mut bench, DATA, ISN, PEER_ISN);
    talk(&mut bench, DATA, ISN, PEER_ISN, b"hello", b"abc");
    close(&mut bench, DATA, ISN + 6, PEER_ISN + 4);
    // A client's connection that is older keeps it for longer than 2 MSL.
    wait(&mut bench, Duration::from_secs(3600));
    let sent = fail_over(&mut bench);
    assert!(sent.iter().all(|it| it.ports != DATA), "{sent:?}");
    let answer = reopen(&mut bench, DATA, 42).remove(0);
    assert_eq!((answer.head.flags, answer.head.seq.0), (SYN_ACK, PEER_ISN));
    complete(&mut bench, DATA, 42, &answer);
    let said = Say::new(43, PEER_ISN + 1, PUSH)
        .stamp(52, 103)
        .data(b"hello");
    let mut sent = say(&mut bench, STANDBY, DATA, &said);
    let took = Say::new(48, PEER_ISN + 4, FIN).stamp(53, 103);
    sent.extend(say(&mut bench, STANDBY, DATA, &took));
    let fed: Vec<u8> = sent.iter().flat_map(|it| it.data.clone()).collect();
    assert_eq!(fed, b"abc");
    assert!(sent.iter().any(|it| it.head.flags.has(Flags::FIN)));
    assert_eq!(
        sent.last().unwrap().head.ack.0,
        49,
        "its FIN is acknowledged"
    );
    assert!(sent.iter().all(|it| it.port == STANDBY), "{sent:?}");
    let last = Say::new(49, PEER_ISN + 5, ACK).stamp(54, 103);
    assert!(say(&mut bench, STANDBY, DATA, &last).is_empty());
    let repeated = Say::new(48, PEER_ISN + 5, FIN).stamp(53, 103);
    let sent = say(&mut bench, STANDBY, DATA, &repeated);
    assert_eq!((sent[0].port, sent[0].head.ack.0), (STANDBY, 49));
    assert_eq!(
        bench.counters().recovered,
        0,
        "nothing of it was to be moved"
    );
}

#[test]
fn trap_35_connection_that_is_over_is_kept_as_long_as_an_older_client() {
    let mut bench = bench(Outbound::Keep);
    open(&mut bench, DATA, ISN, PEER_ISN);
    close(&mut bench, DATA, ISN + 1, PEER_ISN + 1);
    bench.now = bench.now.after(Duration::from_secs(1));
    bench.open(7);
    wait(&mut bench, Duration::from_secs(61));
    let known = bench.status().connections;
    assert_eq!(known.len(), 1, "{known:?}");
    assert!(!known[0].outbound);
}

#[test]
fn trap_35_re_issue_resets_the_peer_and_lets_the_new_connection_pass() {
    let mut bench = bench(Outbound::ReIssue);
    open(&mut bench, ORIGIN, ISN, PEER_ISN);
    talk(&mut bench, ORIGIN, ISN, PEER_ISN, b"hello", b"abc");
    assert_eq!(bench.counters().logged_bytes, 0);
    let fin = Say::new(ISN + 6, PEER_ISN + 4, FIN).stamp(7004, 101);
    assert!(
        say(&mut bench, ACTIVE, ORIGIN, &fin).is_empty(),
        "a dying server's FIN is held"
    );
    let sent = fail_over(&mut bench);
    assert_eq!((sent.len(), sent[0].port), (1, NORTH));
    assert!(sent[0].head.flags.has(Flags::RST));
    assert_eq!(
        (sent[0].head.seq.0, sent[0].head.ack.0),
        (ISN + 6, PEER_ISN + 4)
    );
    let sent = reopen(&mut bench, ORIGIN, 42);
    assert_eq!((sent[0].port, sent[0].head.flags), (NORTH, Flags::SYN));
    let totals = bench.counters();
    assert_eq!((totals.reissued, totals.lost, totals.recovered), (1, 0, 0));
}

#[test]
fn trap_35_forbid_refuses_and_says_so_once_for_each_remote_end() {
    let mut bench = bench(Outbound::Forbid);
    for isn in [ISN, ISN, 5] {
        let syn = Say::new(isn, 0, Flags::SYN).offer(7).stamp(7000, 0);
        let sent = say(&mut bench, ACTIVE, ORIGIN, &syn);
        assert_eq!(
            (sent.len(), sent[0].port, sent[0].ports),
            (1, ACTIVE, ORIGIN)
        );
        assert_eq!((sent[0].head.flags, sent[0].head.ack.0), (RST, isn + 1));
    }
    say(&mut bench, ACTIVE, DATA, &Say::new(1, 0, Flags::SYN));
    assert_eq!(bench.counters().forbidden, 4);
    assert_eq!(events(&mut bench).len(), 2);
}

#[test]
fn trap_35_pass_knows_nothing_of_them() {
    let mut bench = bench(Outbound::Pass);
    open(&mut bench, ORIGIN, ISN, PEER_ISN);
    talk(&mut bench, ORIGIN, ISN, PEER_ISN, b"hello", b"abc");
    assert!(bench.status().connections.is_empty());
    assert!(fail_over(&mut bench).is_empty());
}

#[test]
fn trap_35_connection_that_was_being_opened_is_reset() {
    let mut bench = bench(Outbound::Keep);
    let syn = Say::new(ISN, 0, Flags::SYN).offer(7).stamp(7000, 0);
    say(&mut bench, ACTIVE, ORIGIN, &syn);
    let sent = fail_over(&mut bench);
    assert_eq!((sent.len(), sent[0].port), (1, NORTH));
    assert_eq!(
        (sent[0].head.flags, sent[0].head.seq.0),
        (Flags::RST, ISN + 1)
    );
    let sent = reopen(&mut bench, ORIGIN, 42);
    assert_eq!((sent[0].port, sent[0].head.flags), (NORTH, Flags::SYN));
}
