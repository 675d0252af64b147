// SPDX-License-Identifier: GPL-3.0-only
//! Rewriting, and then the opposite, gives back every byte: of any segment, whatever its options are.

use super::*;

/// One option, as it stands in a header. `choice` says which.
fn option(choice: u8, bytes: &[u8; 34]) -> Vec<u8> {
    let long = |kind: u8, len: usize| {
        let mut option = vec![kind, 2 + len as u8];
        option.extend(&bytes[..len]);
        option
    };
    match choice % 8 {
        0 => vec![kind::NOP],
        1 => long(kind::TIMESTAMPS, 8),
        2 => long(kind::SACK, 8 * (1 + usize::from(bytes[33] % 4))),
        3 => long(kind::SACK_PERMITTED, 0),
        4 => long(kind::MSS, 2),
        5 => long(kind::WINDOW_SCALE, 1),
        6 => long(kind::MPTCP, usize::from(bytes[33] % 20)),
        _ => long(200, usize::from(bytes[33] % 30)),
    }
}

/// What fits into a header of these options, in their order.
fn options(wanted: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut all = Vec::new();
    for (choice, bytes) in wanted {
        let mut room = [0; 34];
        room.copy_from_slice(bytes);
        let option = option(*choice, &room);
        if all.len() + option.len() <= 40 {
            all.extend(option);
        }
    }
    all
}

/// There, or back again.
fn rewrite(segment: &mut Segment<'_>, there: bool, delta: [u32; 4]) {
    let shift = |value: u32, by: u32| {
        if there {
            value.wrapping_add(by)
        } else {
            value.wrapping_sub(by)
        }
    };
    let head = *segment.head();
    segment.set_seq(SeqNumber(shift(head.seq.0, delta[0])));
    segment.set_ack(SeqNumber(shift(head.ack.0, delta[1])));
    segment.shift_sack(if there {
        delta[1].wrapping_neg()
    } else {
        delta[1]
    });
    segment.map_timestamps(|value| shift(value, delta[2]), |echo| shift(echo, delta[3]));
    segment.set_window(shift(u32::from(head.window), delta[0]) as u16);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn rewriting_and_its_inverse_are_the_identity(
        v6 in any::<bool>(),
        tagged in 0usize..3,
        wanted in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 34)), 0..6),
        payload in proptest::collection::vec(any::<u8>(), 0..100),
        delta in any::<[u32; 4]>(),
        partial in any::<bool>(),
    ) {
        let tags: Vec<u8> = [0x81, 0, 0, 5].repeat(tagged);
        let mut before = framed(v6, &tags, &options(&wanted), &payload);
        let layout = locate(&before).unwrap();
        let offload = Offload {
            partial_checksum: partial.then_some(PartialChecksum {
                start: layout.l4 as u16,
                offset: field::CHECKSUM as u16,
            }),
            ..Offload::default()
        };
        if partial {
            // Whose sum a device finishes: only the pseudo-header's is in it.
            let pseudo = pseudo_sum(layout.src.ip(), layout.dst.ip(), layout.end - layout.l4);
            let at = layout.l4 + field::CHECKSUM;
            before[at..at + 2].copy_from_slice(&pseudo.to_be_bytes());
        }
        let mut bytes = before.clone();
        let mut segment = Segment::parse(&mut bytes, layout, &offload).unwrap();
        rewrite(&mut segment, true, delta);
        let layout = locate(&bytes).unwrap();
        if !partial {
            // It is right on the way, too.
            let mut fresh = bytes.clone();
            refresh(&mut fresh);
            prop_assert_eq!(&fresh, &bytes);
        }
        let mut segment = Segment::parse(&mut bytes, layout, &offload).unwrap();
        rewrite(&mut segment, false, delta);
        prop_assert_eq!(bytes, before);
    }
}
