// SPDX-License-Identifier: GPL-3.0-only
//! The ring is full, with a logger and without one.

use super::*;

#[test]
fn segment_is_handed_over_when_the_ring_is_full_and_dropped_without_a_logger() {
    fill_ring(true, false);
    fill_ring(false, false);
}

#[test]
fn without_a_logger_a_full_ring_ends_protection_if_it_may_fail_open() {
    fill_ring(false, true);
}

fn fill_ring(attended: bool, fail_open: bool) {
    let mut bench = Bench::new(match (attended, fail_open) {
        (true, _) => "full",
        (false, false) => "full-alone",
        (false, true) => "full-open",
    });
    bench.path.settings.fail_open = fail_open;
    let mut rng = Rng::new(7);
    let key = &keys()[0];
    let mut state = FlowState {
        flags: flag::LOG,
        client_right: 1 << 20,
        server_right: 1 << 20,
        client_pos: 1 << 40,
        server_pos: 1 << 40,
        ..FlowState::default()
    };
    assert!(bench.path.offload(key, &state));
    let mut refused = 0;
    let mut step = || {
        let payload: Vec<u8> = (0..1000).map(|_| rng.bits() as u8).collect();
        let mut tcp = vec![0; 20];
        tcp[..2].copy_from_slice(&key.client.port().to_be_bytes());
        tcp[2..4].copy_from_slice(&key.server.port().to_be_bytes());
        tcp[4..8].copy_from_slice(&state.client_next.to_be_bytes());
        tcp[12..14].copy_from_slice(&[5 << 4, 0x18]);
        tcp.extend(&payload);
        let mut frame = in_frame(key.client, key.server, &tcp);
        leave_checksum(&mut frame);
        if !attended {
            bench.path.leave();
            bench.path.attended = Some(Instant::now());
        }
        let (did, _) = bench.pass(Side::North, &frame);
        // Handed over to nobody, who passes it on.
        let open = !attended && fail_open;
        let unlogged = open
            && bench
                .path
                .peek(key)
                .is_some_and(|it| it.flags & flag::PUNTED != 0);
        let room = did == Verdict::Forward && !unlogged;
        if did == Verdict::Drop {
            assert!(!attended && !fail_open);
        } else {
            let (action, ..) = expected(Side::North, &mut state, &frame, true, room);
            let handed_over = if open {
                Verdict::Forward
            } else {
                action.into()
            };
            assert_eq!(did, if room { action.into() } else { handed_over });
        }
        assert_eq!(bench.path.peek(key), Some(state.clone()));
        (room, payload)
    };
    let mut sent = Vec::new();
    while refused < 3 {
        match step() {
            (true, payload) => sent.push(payload),
            (false, _) => refused += 1,
        }
    }
    let kept: Vec<Vec<u8>> = bench.records().into_iter().map(|record| record.5).collect();
    // What was forwarded is in the ring, and nothing else.
    assert!(kept.len() > 50);
    assert_eq!(kept, sent);
    let dropped = if attended || fail_open { 0 } else { 3 };
    assert_eq!(bench.path.totals().ring_full, dropped);
    let open = if fail_open { 3 } else { 0 };
    assert_eq!(bench.path.totals().unprotected, open);
}
