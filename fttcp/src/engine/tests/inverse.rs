// SPDX-License-Identifier: GPL-3.0-only
//! From the server to the client and back: whatever the two numberings are, a server gets its own numbers.

use proptest::prelude::*;

use super::moving::{HEAD, moved};
use super::traps_options::{options_of, with_options};
use super::*;

const NOP: u8 = 1;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;

/// Timestamps and SACK blocks as options, padded.
fn options(stamps: Timestamps, blocks: &[(u32, u32)]) -> Vec<u8> {
    let mut bytes = vec![NOP, NOP, TIMESTAMPS, 10];
    bytes.extend(stamps.value.to_be_bytes());
    bytes.extend(stamps.echo.to_be_bytes());
    if !blocks.is_empty() {
        bytes.extend([NOP, NOP, SACK, 2 + 8 * blocks.len() as u8]);
        for (from, to) in blocks {
            bytes.extend(from.to_be_bytes());
            bytes.extend(to.to_be_bytes());
        }
    }
    bytes
}

proptest! {
    #[test]
    fn trap_01_and_03_and_04_and_21_what_the_client_repeats_comes_back_as_the_server_said_it(
        isns in any::<[u32; 3]>(),
        clock in any::<u32>(),
        passed in 0u32..1 << 30,
        lens in proptest::collection::vec(1u32..200, 1..=3),
        data in any::<[u8; 200]>(),
    ) {
        let mut bench = Bench::new();
        (bench.client_isn, bench.server_isn) = (isns[0], isns[1]);
        moved(&mut bench, isns[2], clock, 7);
        // The replacement sends segments with gaps between them; the client says which it has.
        let first = isns[2].wrapping_add(1 + HEAD.len() as u32);
        let stamp = clock.wrapping_add(passed);
        let (mut at, mut seen, mut said) = (first, Vec::new(), Vec::new());
        for len in lens {
            at = at.wrapping_add(50);
            let say = Say::new(at, bench.c(3), PUSH).stamp(stamp, 103);
            let out = bench.say(STANDBY, &say.data(&data[..len as usize]));
            prop_assert_eq!(out.len(), 1);
            prop_assert_eq!(&out[0].data, &data[..len as usize]);
            let start = out[0].head.seq.0;
            prop_assert_eq!(start.wrapping_sub(bench.s(0)), at.wrapping_sub(isns[2].wrapping_add(1)));
            seen.push(((start, start.wrapping_add(len)), out[0].stamps().value));
            said.push((at, at.wrapping_add(len)));
            at = at.wrapping_add(len);
        }
        let blocks: Vec<(u32, u32)> = seen.iter().map(|(block, _)| *block).collect();
        let echo = seen[0].1;
        let ack = Say::new(bench.c(3), bench.s(HEAD.len() as u32), ACK);
        let there = options(Timestamps { value: 104, echo }, &blocks);
        let frame = with_options(&bench, true, &ack, &there);
        let sent = bench.raw(NORTH, frame, Offload::default());
        prop_assert_eq!(sent.len(), 1);
        let back = options(Timestamps { value: 104, echo: stamp }, &said);
        prop_assert_eq!(options_of(&sent[0].1), back);
        let mut out = sent[0].1.clone();
        let layout = locate(&out).unwrap();
        let head = *Segment::parse(&mut out, layout, &Offload::default()).unwrap().head();
        prop_assert_eq!(head.ack.0, first);
    }
}
