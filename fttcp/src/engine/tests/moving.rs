// SPDX-License-Identifier: GPL-3.0-only
//! A connection is moved: what each end sees of it.

use super::*;
use crate::wire::{TcpOption, TcpPacket};

pub(super) const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nDate: 10:00\r\n\r\n";
pub(super) const NEW_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nDate: 22:22\r\n\r\n";

/// Request and response are through, the response acknowledged up to `una`; then the server dies. Gives what is sent.
pub(super) fn orphan(bench: &mut Bench, scale: u8, una: u32) -> Vec<Seen> {
    bench.open(scale);
    bench.say(
        NORTH,
        &Say::new(bench.c(0), bench.s(0), PUSH)
            .stamp(102, 7000)
            .data(b"GET"),
    );
    bench.say(
        ACTIVE,
        &Say::new(bench.s(0), bench.c(3), PUSH)
            .stamp(7005, 102)
            .data(HEAD),
    );
    bench.say(
        NORTH,
        &Say::new(bench.c(3), bench.s(una), ACK).stamp(103, 7005),
    );
    bench.fail_over()
}

/// The replacement answers the handshake: its initial sequence number, clock and window scale.
pub(super) fn adopt(bench: &mut Bench, isn: u32, clock: u32, scale: u8) -> Vec<Seen> {
    let ack = bench.c(0);
    bench.say(
        STANDBY,
        &Say::new(isn, ack, SYN_ACK).offer(scale).stamp(clock, 103),
    )
}

fn north(sent: &[Seen]) -> Vec<&Seen> {
    sent.iter().filter(|seen| seen.port == NORTH).collect()
}

fn south(sent: &[Seen]) -> Vec<&Seen> {
    sent.iter().filter(|seen| seen.port == STANDBY).collect()
}

#[test]
fn fabricated_handshake_and_replay_repeat_what_the_client_said() {
    let mut bench = Bench::new();
    let sent = orphan(&mut bench, 7, 0);
    let syn = south(&sent)[0];
    assert_eq!(syn.head.flags, Flags::SYN);
    assert_eq!(syn.head.seq.0, bench.client_isn);
    assert_eq!(
        syn.stamps(),
        Timestamps {
            value: 103,
            echo: 0
        }
    );
    assert_eq!(syn.head.options.mss, Some(1460));
    assert_eq!(syn.head.options.window_scale, Some(7));
    assert!(syn.head.options.sack_permitted);
    let sent = adopt(&mut bench, 5, 40, 7);
    assert!(north(&sent).is_empty(), "the client sees nothing of it");
    assert_eq!(south(&sent)[0].head.ack.0, 6);
    let fed = south(&sent)[1];
    assert_eq!(
        (fed.head.seq.0, fed.data.as_slice()),
        (bench.c(0), &b"GET"[..])
    );
}

#[test]
fn acknowledged_bytes_are_swallowed_and_the_rest_is_sent_again_with_its_old_date() {
    for una in [0, 10, HEAD.len() as u32] {
        let mut bench = Bench::new();
        orphan(&mut bench, 7, una);
        adopt(&mut bench, 5, 40, 7);
        let sent = bench.say(
            STANDBY,
            &Say::new(6, bench.c(3), PUSH).stamp(41, 103).data(NEW_HEAD),
        );
        let again: Vec<u8> = north(&sent)
            .iter()
            .flat_map(|seen| seen.data.clone())
            .collect();
        assert_eq!(again, &HEAD[una as usize..]);
        assert_eq!(bench.counters().recovered, 1);
        assert_eq!(bench.state(), "established");
        let acked = south(&sent).last().unwrap().head.ack.0;
        assert_eq!(
            acked,
            6 + una,
            "what the client has is acknowledged, no more"
        );
    }
}

#[test]
fn different_output_resets_both_ends() {
    let mut bench = Bench::new();
    orphan(&mut bench, 7, 4);
    adopt(&mut bench, 5, 40, 7);
    let other = b"HTTP/1.1 500 No\r\nDate: 22:22\r\n\r\n...";
    let sent = bench.say(
        STANDBY,
        &Say::new(6, bench.c(3), PUSH).stamp(41, 103).data(other),
    );
    assert!(north(&sent)[0].head.flags.has(Flags::RST));
    assert_eq!(north(&sent)[0].head.seq.0, bench.s(4));
    assert!(south(&sent)[0].head.flags.has(Flags::RST));
    assert_eq!(bench.counters().diverged, 1);
    let log: Vec<_> = std::iter::from_fn(|| bench.engine.poll_event()).collect();
    let found = log
        .iter()
        .find(|event| matches!(event, Event::Diverged { .. }));
    let line = found.unwrap().to_string();
    assert!(
        line.contains("offset 9") && line.contains("200 OK") && line.contains("500 No"),
        "{line}"
    );
}

#[test]
fn closed_window_of_the_client_does_not_keep_the_replacement_from_saying_it_all() {
    let mut bench = Bench::new();
    let (client, server) = (bench.client_isn, bench.server_isn);
    // A scale that is coarser than what the client has left unacknowledged.
    let syn = Say::new(client, 0, Flags::SYN).window(40);
    bench.say(NORTH, &syn.offer(10).stamp(100, 0));
    let answer = Say::new(server, bench.c(0), SYN_ACK).offer(10);
    bench.say(ACTIVE, &answer.stamp(7000, 100));
    let opened = Say::new(bench.c(0), bench.s(0), ACK).window(0);
    bench.say(NORTH, &opened.stamp(101, 7000));
    let said = Say::new(bench.s(0), bench.c(0), PUSH).stamp(7005, 101);
    bench.say(ACTIVE, &said.data(HEAD));
    let full = Say::new(bench.c(0), bench.s(4), ACK).window(0);
    bench.say(NORTH, &full.stamp(103, 7005));
    bench.fail_over();

    adopt(&mut bench, 5, 40, 10);
    let again = Say::new(6, bench.c(0), PUSH).stamp(41, 103);
    let sent = bench.say(STANDBY, &again.data(&NEW_HEAD[..10]));

    let told = &south(&sent)[0].head;
    let right = told.ack.0 + (u32::from(told.window) << 10);
    assert!(right >= 6 + HEAD.len() as u32, "{told:?}");
}

/// Everything acknowledged, then moved to a replacement with this initial sequence number, clock and window scale.
pub(super) fn moved(bench: &mut Bench, isn: u32, clock: u32, scale: u8) {
    orphan(bench, 7, HEAD.len() as u32);
    adopt(bench, isn, clock, scale);
    bench.say(
        STANDBY,
        &Say::new(isn.wrapping_add(1), bench.c(3), PUSH)
            .stamp(clock, 103)
            .data(NEW_HEAD),
    );
    assert_eq!(bench.state(), "established");
}

#[test]
fn trap_01_and_03_timestamps_are_mapped_both_ways() {
    for clock in [40, 7004, 3_000_000_000, u32::MAX] {
        let mut bench = Bench::new();
        moved(&mut bench, 5, clock, 7);
        let end = HEAD.len() as u32;
        let say = Say::new(6 + end, bench.c(3), PUSH)
            .stamp(clock.wrapping_add(9), 103)
            .data(b"x");
        let out = bench.say(STANDBY, &say);
        let stamp = out[0].stamps();
        assert_eq!(
            stamp,
            Timestamps {
                value: 7005 + 1 + 9,
                echo: 103
            }
        );
        let back = bench.say(
            NORTH,
            &Say::new(bench.c(3), bench.s(end + 1), ACK).stamp(110, stamp.value),
        );
        assert_eq!(
            back[0].stamps(),
            Timestamps {
                value: 110,
                echo: clock.wrapping_add(9)
            }
        );
        let old_echo = bench.say(
            NORTH,
            &Say::new(bench.c(3), bench.s(end + 1), ACK).stamp(111, 7001),
        );
        assert_eq!(
            old_echo[0].stamps().echo,
            clock,
            "never before the replacement's first"
        );
    }
}

#[test]
fn trap_21_numbers_are_mapped_across_the_wrap() {
    for isn in [0, 5, u32::MAX, u32::MAX - 10, 1 << 31] {
        let mut bench = Bench::new();
        bench.client_isn = u32::MAX - 1;
        bench.server_isn = u32::MAX - 20;
        moved(&mut bench, isn, 40, 7);
        let end = HEAD.len() as u32;
        let new = isn.wrapping_add(1 + end);
        let out = bench.say(
            STANDBY,
            &Say::new(new, bench.c(3), PUSH).stamp(41, 103).data(b"more"),
        );
        assert_eq!(out[0].head.seq.0, bench.s(end));
        assert_eq!(out[0].data, b"more");
        let back = bench.say(
            NORTH,
            &Say::new(bench.c(3), bench.s(end + 4), PUSH)
                .stamp(110, 7006)
                .data(b"next"),
        );
        assert_eq!(back[0].head.ack.0, new.wrapping_add(4));
        assert_eq!(back[0].head.seq.0, bench.c(3));
        assert_eq!(
            bench.status().connections[0].delta_seq,
            bench.server_isn.wrapping_sub(isn)
        );
        let beyond = bench.say(
            NORTH,
            &Say::new(bench.c(7), bench.s(end + 900), ACK).stamp(111, 7006),
        );
        assert_eq!(
            beyond[0].head.ack.0,
            new.wrapping_add(900),
            "what nobody has sent stays what no server believes"
        );
    }
}

#[test]
fn trap_04_sack_blocks_are_shifted() {
    let mut bench = Bench::new();
    moved(&mut bench, 5, 40, 7);
    let end = HEAD.len() as u32;
    bench.say(
        STANDBY,
        &Say::new(6 + end, bench.c(3), PUSH)
            .stamp(41, 103)
            .data(&[1; 300]),
    );
    // NOP NOP SACK(100..200 of the new data), built as data and then claimed by the header.
    let mut raw = vec![1, 1, 5, 10];
    raw.extend(bench.s(end + 100).to_be_bytes());
    raw.extend(bench.s(end + 200).to_be_bytes());
    let mut frame = bench.frame(true, &Say::new(bench.c(3), bench.s(end), ACK).data(&raw));
    frame[34 + 12] = 8 << 4;
    let trusted = Offload {
        checksum_valid: true,
        ..Offload::default()
    };
    let out = bench.raw(NORTH, frame, trusted);
    let tcp = TcpPacket::new_checked(&out[0].1[34..]).unwrap();
    let (_, option) = tcp.options().next().unwrap().unwrap();
    let mut want = (6 + end + 100).to_be_bytes().to_vec();
    want.extend((6 + end + 200).to_be_bytes());
    assert_eq!(option, TcpOption::Sack(crate::wire::SackBlocks(&want)));
}

#[test]
fn trap_05_window_is_rescaled_and_its_edge_never_retreats() {
    for scale in [0, 3, 7, 9, 14] {
        let mut bench = Bench::new();
        moved(&mut bench, 5, 40, scale);
        let end = HEAD.len() as u32;
        let mut told = 64_240;
        for (ack, window) in [(3, 500), (3, 10), (3, 0), (3, 65_535), (3, 7)] {
            let say = Say::new(6 + end, bench.c(ack), ACK)
                .window(window)
                .stamp(41, 103);
            let out = bench.say(STANDBY, &say);
            let edge = ack + (u32::from(out[0].head.window) << 7);
            let limit = ack + (65_535 << 7);
            let real = (ack + (u32::from(window) << scale)).min(limit);
            assert!(edge >= told, "scale {scale}: {edge} < {told}");
            assert!(edge < real.max(told) + 128, "scale {scale}: {edge}");
            told = edge;
        }
    }
}

#[test]
fn trap_23_and_26_probes_are_answered_while_the_server_is_away() {
    let mut bench = Bench::new();
    orphan(&mut bench, 7, 0);
    let keep_alive = bench.say(
        NORTH,
        &Say::new(bench.c(2), bench.s(0), ACK).stamp(104, 7005),
    );
    assert_eq!(north(&keep_alive).len(), 1);
    assert_eq!(keep_alive[0].head.ack.0, bench.c(3));
    let data = bench.say(
        NORTH,
        &Say::new(bench.c(3), bench.s(0), PUSH)
            .stamp(105, 7005)
            .data(b"more"),
    );
    assert_eq!(
        north(&data)[0].head.ack.0,
        bench.c(7),
        "logged, so acknowledged"
    );
    let edge = u32::from(data[0].head.window) << 7;
    assert!(edge + 7 >= 3 + (500 << 7));
    assert!(
        bench
            .say(
                NORTH,
                &Say::new(bench.c(7), bench.s(0), ACK).stamp(106, 7005)
            )
            .is_empty()
    );
    let sent = adopt(&mut bench, 5, 40, 7);
    assert_eq!(south(&sent)[1].data, b"GETmore");
}

#[test]
fn replay_waits_for_the_answer_that_the_client_had_seen() {
    let mut bench = Bench::new();
    bench.open(7);
    bench.say(
        NORTH,
        &Say::new(bench.c(0), bench.s(0), PUSH)
            .stamp(102, 7000)
            .data(b"one"),
    );
    bench.say(
        ACTIVE,
        &Say::new(bench.s(0), bench.c(3), PUSH)
            .stamp(7001, 102)
            .data(b"ONE"),
    );
    bench.say(
        NORTH,
        &Say::new(bench.c(3), bench.s(3), PUSH)
            .stamp(103, 7001)
            .data(b"two"),
    );
    bench.fail_over();
    let sent = adopt(&mut bench, 5, 40, 7);
    assert_eq!(south(&sent).last().unwrap().data, b"one");
    let sent = bench.say(
        STANDBY,
        &Say::new(6, bench.c(3), PUSH).stamp(41, 103).data(b"ONE"),
    );
    assert_eq!(
        south(&sent)
            .iter()
            .find(|seen| !seen.data.is_empty())
            .unwrap()
            .data,
        b"two"
    );
}

#[test]
fn trap_17_client_fin_is_replayed_after_its_data() {
    let mut bench = Bench::new();
    bench.open(7);
    bench.say(
        NORTH,
        &Say::new(bench.c(0), bench.s(0), FIN)
            .stamp(102, 7000)
            .data(b"GET"),
    );
    bench.fail_over();
    let sent = adopt(&mut bench, 5, 40, 7);
    let fed: Vec<_> = south(&sent)[1..]
        .iter()
        .map(|seen| (seen.data.clone(), seen.head.flags))
        .collect();
    assert_eq!(fed, [(b"GET".to_vec(), PUSH), (vec![], FIN)]);
}

#[test]
fn refused_handshake_is_tried_again_until_time_is_up() {
    let mut bench = Bench::new();
    orphan(&mut bench, 7, 0);
    assert!(bench.say(STANDBY, &Say::new(0, bench.c(0), RST)).is_empty());
    let again = bench.wait(Duration::from_millis(200));
    assert_eq!((again[0].port, again[0].head.flags), (STANDBY, Flags::SYN));
    let mut last = Vec::new();
    for _ in 0..60 {
        last.extend(bench.wait(Duration::from_millis(600)));
    }
    let reset = last.iter().find(|seen| seen.port == NORTH).unwrap();
    assert_eq!((reset.head.flags, reset.head.seq.0), (RST, bench.s(0)));
    assert_eq!(bench.counters().lost, 1);
    assert!(bench.status().failover.unwrap().done_us.is_some());
}

#[test]
fn trap_02_replacement_without_timestamps_is_not_used() {
    let mut bench = Bench::new();
    orphan(&mut bench, 7, 0);
    let sent = bench.say(STANDBY, &Say::new(5, bench.c(0), SYN_ACK).offer(7));
    assert!(sent.iter().all(|seen| seen.head.flags.has(Flags::RST)));
    assert_eq!(bench.counters().lost, 1);
}

#[test]
fn trap_19_syn_without_answer_goes_to_the_standby() {
    let mut bench = Bench::new();
    let say = Say::new(bench.client_isn, 0, Flags::SYN)
        .offer(7)
        .stamp(100, 0);
    bench.say(NORTH, &say);
    let sent = bench.fail_over();
    assert_eq!(south(&sent)[0].head.flags, Flags::SYN);
    let answer = bench.say(
        STANDBY,
        &Say::new(44, bench.c(0), SYN_ACK).offer(7).stamp(9, 100),
    );
    assert_eq!((answer[0].port, answer[0].head.seq.0), (NORTH, 44));
    assert_eq!(
        bench.status().connections[0].delta_seq,
        44u32.wrapping_sub(44)
    );
}

#[test]
fn second_failover_counts_from_the_first_server() {
    let mut bench = Bench::new();
    moved(&mut bench, 5, 40, 7);
    bench.fail_over();
    let end = HEAD.len() as u32;
    bench.say(
        SECOND,
        &Say::new(123, bench.c(0), SYN_ACK).offer(7).stamp(1, 103),
    );
    let say = Say::new(124, bench.c(3), PUSH)
        .stamp(2, 103)
        .data(b"HTTP/1.1 200 OK\r\nDate: 33:33\r\n\r\n");
    bench.say(SECOND, &say);
    let out = bench.say(
        SECOND,
        &Say::new(124 + end, bench.c(3), PUSH)
            .stamp(3, 103)
            .data(b"on"),
    );
    assert_eq!((out[0].port, out[0].head.seq.0), (NORTH, bench.s(end)));
    assert_eq!(bench.counters().recovered, 2);
    assert_eq!(bench.status().connections[0].failovers, 2);
}

#[test]
fn answer_to_the_loggers_own_arp_request_is_swallowed() {
    let mut bench = Bench::new();
    bench.open(7);
    let mut sent = Sent::default();
    bench
        .engine
        .failover(bench.now, 0, "web", "", &mut sent)
        .unwrap();
    let request = &sent.0[0].1;
    assert_eq!(request[20..22], [0, 1]);
    let mut reply = request.clone();
    reply[..6].copy_from_slice(&bench.end(1, 0).mac.0);
    reply[20..22].copy_from_slice(&[0, 2]);
    reply[38..42].copy_from_slice(&[10, 0, 0, 1]);
    assert_eq!(bench.raw(STANDBY, reply.clone(), Offload::default()), []);
    let asked_by_client = bench.raw(STANDBY, reply.clone(), Offload::default());
    assert_eq!(asked_by_client.len(), 1, "the client asks later");
    reply[38..42].copy_from_slice(&[10, 0, 0, 7]);
    assert_eq!(
        bench.raw(STANDBY, reply.clone(), Offload::default()).len(),
        1
    );
}
