// SPDX-License-Identifier: GPL-3.0-only
//! What is negotiated, what is taken out, what a replacement is offered; clocks; urgent data.

use super::moving::{HEAD, adopt, moved};
use super::*;
use crate::wire::{TcpPacket, combine, sum};

const NOP: u8 = 1;
const TIMESTAMPS: u8 = 8;
const MPTCP: u8 = 30;
const FAST_OPEN: u8 = 34;
const ECN_SYN: Flags = Flags::SYN.with(Flags::ECE).with(Flags::CWR);

/// An IPv4 segment with these raw option bytes between header and data.
pub(super) fn with_options(
    bench: &Bench,
    from_client: bool,
    say: &Say<'_>,
    options: &[u8],
) -> Vec<u8> {
    assert_eq!(options.len() % 4, 0);
    let mut data = options.to_vec();
    data.extend_from_slice(say.data);
    let mut frame = bench.frame(
        from_client,
        &Say {
            data: &data,
            ..*say
        },
    );
    frame[34 + 12] = ((20 + options.len()) as u8 / 4) << 4;
    refresh(&mut frame);
    frame
}

/// Computes the checksum of an IPv4 segment anew.
fn refresh(frame: &mut [u8]) {
    frame[50..52].fill(0);
    let len = (frame.len() - 34) as u16;
    let check = !combine(&[sum(&frame[26..34]), len, 6, sum(&frame[34..])]);
    frame[50..52].copy_from_slice(&check.to_be_bytes());
}

pub(super) fn options_of(frame: &[u8]) -> Vec<u8> {
    let tcp = TcpPacket::new_checked(&frame[34..]).unwrap();
    frame[54..34 + tcp.header_len()].to_vec()
}

fn syn_of(sent: &[Seen]) -> &Seen {
    let syn = sent.iter().find(|seen| seen.head.flags.has(Flags::SYN));
    syn.expect("there is a SYN")
}

#[test]
fn trap_09_mss_is_clamped_both_ways_and_in_the_fabricated_offer() {
    for (clamp, seen) in [(Some(1200), 1200), (Some(9000), 1460), (None, 1460)] {
        let mut bench = Bench::with(vec![ServiceSpec {
            mss_clamp: clamp,
            ..service()
        }]);
        let syn = Say::new(bench.client_isn, 0, Flags::SYN).offer(7);
        let passed = bench.say(NORTH, &syn.stamp(100, 0));
        assert_eq!(passed[0].head.options.mss, Some(seen));
        let syn_ack = Say::new(bench.server_isn, bench.c(0), SYN_ACK).offer(7);
        let passed = bench.say(ACTIVE, &syn_ack.stamp(7000, 100));
        assert_eq!(passed[0].head.options.mss, Some(seen));
        let sent = bench.fail_over();
        assert_eq!(syn_of(&sent).head.options.mss, Some(seen));
    }
}

#[test]
fn trap_09_client_is_told_when_the_replacement_takes_smaller_segments() {
    for (mss, told) in [(1460, None), (1300, Some(1340)), (8960, None)] {
        let mut bench = Bench::new();
        bench.open(7);
        bench.fail_over();
        let mut syn_ack = Say::new(5, bench.c(0), SYN_ACK).offer(7).stamp(40, 103);
        syn_ack.options.mss = Some(mss);
        let frame = bench.frame(false, &syn_ack);
        let sent = bench.raw(STANDBY, frame, Offload::default());
        assert_eq!(bench.state(), "established");
        let errors: Vec<_> = sent
            .iter()
            .filter(|(port, _)| *port == NORTH)
            .filter_map(|(_, frame)| crate::wire::locate_icmp(frame, &Offload::default()).ok())
            .collect();
        let kinds: Vec<_> = errors.iter().map(|error| error.kind).collect();
        let want: Vec<_> = told
            .map(crate::wire::IcmpKind::TooBig)
            .into_iter()
            .collect();
        assert_eq!(kinds, want);
        for error in errors {
            assert_eq!(
                (error.src, error.seq.0),
                (bench.end(1, 40_000).socket, bench.c(0))
            );
        }
    }
}

#[test]
fn trap_12_ecn_is_offered_to_the_replacement_only_as_it_was_agreed() {
    for (syn, answer, again) in [
        (ECN_SYN, SYN_ACK.with(Flags::ECE), ECN_SYN),
        (ECN_SYN, SYN_ACK, Flags::SYN),
        (Flags::SYN, SYN_ACK, Flags::SYN),
        // An answer that mirrors the offer comes from a broken host: no ECN (RFC 3168 section 6.1.1).
        (
            ECN_SYN,
            SYN_ACK.with(Flags::ECE).with(Flags::CWR),
            Flags::SYN,
        ),
    ] {
        let mut bench = Bench::new();
        let say = Say::new(bench.client_isn, 0, syn).offer(7).stamp(100, 0);
        assert_eq!(bench.say(NORTH, &say)[0].head.flags, syn);
        let say = Say::new(bench.server_isn, bench.c(0), answer).offer(7);
        bench.say(ACTIVE, &say.stamp(7000, 100));
        let sent = bench.fail_over();
        assert_eq!(syn_of(&sent).head.flags, again);
        // The client repeats its SYN: the SYN-ACK says what was agreed.
        let say = Say::new(bench.client_isn, 0, syn).offer(7).stamp(101, 0);
        let repeated = bench.say(NORTH, &say);
        let agreed = again == ECN_SYN;
        assert_eq!(repeated[0].head.flags.has(Flags::ECE), agreed);
    }
}

#[test]
fn trap_12_unanswered_ecn_offer_is_repeated_to_the_standby() {
    let mut bench = Bench::new();
    let say = Say::new(bench.client_isn, 0, ECN_SYN).offer(7);
    bench.say(NORTH, &say.stamp(100, 0));
    assert_eq!(syn_of(&bench.fail_over()).head.flags, ECN_SYN);
}

#[test]
fn trap_12_accurate_ecn_is_not_negotiated() {
    let mut bench = Bench::new();
    let say = Say::new(bench.client_isn, 0, ECN_SYN).offer(7);
    let mut frame = bench.frame(true, &say.stamp(100, 0));
    frame[34 + 12] |= 1;
    refresh(&mut frame);
    let sent = bench.raw(NORTH, frame, Offload::default());
    assert_eq!(sent[0].1[34 + 12] & 0x0f, 0);
    assert_eq!(sent[0].1[34 + 13], ECN_SYN.0);
    let mut out = sent[0].1.clone();
    refresh(&mut out);
    assert_eq!(out, sent[0].1, "its checksum is right");
}

#[test]
fn trap_13_and_14_stateful_options_are_stripped_from_syn_and_syn_ack() {
    let mut bench = Bench::new();
    let options = [FAST_OPEN, 2, NOP, NOP, MPTCP, 4, 1, 0];
    let say = Say::new(bench.client_isn, 0, Flags::SYN);
    let frame = with_options(&bench, true, &say, &options);
    let sent = bench.raw(NORTH, frame, Offload::default());
    assert_eq!(options_of(&sent[0].1), [NOP; 8]);
    let say = Say::new(bench.server_isn, bench.c(0), SYN_ACK);
    let frame = with_options(&bench, false, &say, &options);
    let sent = bench.raw(ACTIVE, frame, Offload::default());
    assert_eq!(options_of(&sent[0].1), [NOP; 8]);
}

#[test]
fn trap_13_data_in_the_syn_is_logged_whether_the_server_takes_it_or_not() {
    for taken in [0, 5] {
        let mut bench = Bench::new();
        let say = Say::new(bench.client_isn, 0, Flags::SYN).offer(7);
        let passed = bench.say(NORTH, &say.stamp(100, 0).data(b"early"));
        assert_eq!(passed[0].data, b"early");
        let say = Say::new(bench.server_isn, bench.c(taken), SYN_ACK).offer(7);
        bench.say(ACTIVE, &say.stamp(7000, 100));
        assert_eq!(bench.counters().unprotected, 0);
        let say = Say::new(bench.c(taken), bench.s(0), PUSH).stamp(101, 7000);
        bench.say(NORTH, &say.data(&b"early and late"[taken as usize..]));
        bench.fail_over();
        let sent = adopt(&mut bench, 5, 40, 7);
        let fed: Vec<u8> = sent.iter().flat_map(|seen| seen.data.clone()).collect();
        assert_eq!(fed, b"early and late");
    }
}

#[test]
fn trap_13_server_that_acknowledges_data_of_the_syn_that_found_no_room_is_not_protected() {
    let mut bench = Bench::with(vec![ServiceSpec {
        buffer_bytes: 4,
        ..service()
    }]);
    let say = Say::new(bench.client_isn, 0, Flags::SYN).offer(7);
    bench.say(NORTH, &say.stamp(100, 0).data(b"early"));
    let say = Say::new(bench.server_isn, bench.c(5), SYN_ACK).offer(7);
    assert_eq!(bench.say(ACTIVE, &say.stamp(7000, 100)).len(), 1);
    assert_eq!(bench.counters().unprotected, 1);
}

#[test]
fn trap_14_unknown_options_become_nops_once_the_server_is_another() {
    const UNKNOWN: [u8; 12] = [TIMESTAMPS, 10, 0, 0, 0, 110, 0, 0, 27, 94, NOP, NOP];
    let end = HEAD.len() as u32;
    let mut options = UNKNOWN.to_vec();
    options.extend([28, 4, 0x80, 7]);
    let mut bench = Bench::new();
    bench.open(7);
    let say = Say::new(bench.c(0), bench.s(0), ACK);
    let frame = with_options(&bench, true, &say, &options);
    let sent = bench.raw(NORTH, frame.clone(), Offload::default());
    assert_eq!(
        sent[0].1, frame,
        "the server that it was meant for is there"
    );
    let mut bench = Bench::new();
    moved(&mut bench, 5, 40, 7);
    let say = Say::new(bench.c(3), bench.s(end), ACK);
    let frame = with_options(&bench, true, &say, &options);
    let sent = bench.raw(NORTH, frame, Offload::default());
    assert_eq!(options_of(&sent[0].1)[12..], [NOP; 4]);
    let say = Say::new(6 + end, bench.c(3), ACK);
    let frame = with_options(&bench, false, &say, &options);
    let sent = bench.raw(STANDBY, frame, Offload::default());
    assert_eq!(options_of(&sent[0].1)[12..], [NOP; 4]);
}

#[test]
fn trap_15_forged_segment_out_of_window_changes_nothing() {
    let mut bench = Bench::new();
    bench.open(7);
    let request = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
    bench.say(NORTH, &request.data(b"GET"));
    // A timestamp far ahead would let the replacement refuse everything that the client says (PAWS).
    for at in [1 << 30, u32::MAX - 70_000] {
        let say = Say::new(bench.c(at), bench.s(0), PUSH).stamp(1 << 30, 7000);
        assert_eq!(bench.say(NORTH, &say.data(b"forged")).len(), 1);
    }
    let sent = bench.fail_over();
    assert_eq!(syn_of(&sent).stamps().value, 102);
    let fed = adopt(&mut bench, 5, 40, 7);
    assert_eq!(fed.last().unwrap().data, b"GET");
}

#[test]
fn trap_27_urgent_mark_is_replayed_where_it_was() {
    let mut bench = Bench::new();
    bench.open(7);
    for (at, data, urgent) in [
        (0, &b"ABOR"[..], 0),
        (4, b"!\xf2\r\n", 2),
        (8, b"NOOP\r\n", 0),
    ] {
        let mut say = Say::new(bench.c(at), bench.s(0), PUSH).stamp(102, 7000);
        say.flags = if urgent > 0 {
            PUSH.with(Flags::URG)
        } else {
            PUSH
        };
        let mut frame = bench.frame(true, &say.data(data));
        frame[34 + 18..34 + 20].copy_from_slice(&(urgent as u16).to_be_bytes());
        refresh(&mut frame);
        let sent = bench.raw(NORTH, frame.clone(), Offload::default());
        assert_eq!(sent[0].1, frame, "relative: not changed on the way");
    }
    bench.fail_over();
    let sent = adopt(&mut bench, 5, 40, 7);
    let marks: Vec<_> = sent
        .iter()
        .filter(|seen| !seen.data.is_empty())
        .map(|seen| {
            (
                seen.data.clone(),
                seen.head.flags.has(Flags::URG),
                seen.head.urgent,
            )
        })
        .collect();
    assert_eq!(
        marks,
        [
            (b"ABOR!\xf2".to_vec(), true, 6),
            (b"\r\nNOOP\r\n".to_vec(), false, 0)
        ]
    );
}

#[test]
fn trap_32_clock_of_the_replacement_runs_past_half_the_circle() {
    let mut bench = Bench::new();
    moved(&mut bench, 5, 40, 7);
    let end = HEAD.len() as u32;
    let (mut clock, mut told) = (40u32, 7006u32);
    // Ten steps of a quarter of the circle: more than twice around.
    for step in 0..10 {
        clock = clock.wrapping_add(1 << 30);
        told = told.wrapping_add(1 << 30);
        let say = Say::new(6 + end + step, bench.c(3), PUSH);
        let out = bench.say(STANDBY, &say.stamp(clock, 103).data(b"x"));
        assert_eq!(out[0].stamps().value, told);
        let ack = Say::new(bench.c(3), bench.s(end + step + 1), ACK);
        let back = bench.say(NORTH, &ack.stamp(110 + step, told));
        assert_eq!(back[0].stamps().echo, clock);
    }
}

#[test]
fn trap_32_after_a_long_silence_any_timestamp_counts_as_newer() {
    let mut bench = Bench::new();
    bench.open(7);
    bench.wait(Duration::from_secs(3000));
    // Clocks of microseconds went more than half around meanwhile.
    let ahead = 3_000_000_000;
    let say = Say::new(bench.c(0), bench.s(0), PUSH).stamp(101 + ahead, 7000);
    bench.say(NORTH, &say.data(b"GET"));
    let sent = bench.fail_over();
    assert_eq!(syn_of(&sent).stamps().value, 101 + ahead);
}
