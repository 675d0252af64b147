// SPDX-License-Identifier: GPL-3.0-only
//! Arbitrary TCP options through every edit: `scripts/fuzz options`.
//!
//! Input: one byte that says how many of the following (at most 40) are options; the rest is data.
#![no_main]

use fttcp::frame::Offload;
use fttcp::wire::{Segment, SeqNumber, combine, locate, sum};
use libfuzzer_sys::fuzz_target;

/// An IPv4 segment with these options, both checksums right.
fn frame(options: &[u8], data: &[u8]) -> Vec<u8> {
    let mut options = options.to_vec();
    options.resize(options.len().next_multiple_of(4), 1);
    let tcp = 20 + options.len() + data.len();
    let mut out = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
    out.extend(((20 + tcp) as u16).to_be_bytes());
    out.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    let check = !sum(&out[14..34]);
    out[24..26].copy_from_slice(&check.to_be_bytes());
    out.extend([0x9c, 0x40, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8]);
    out.extend([
        ((20 + options.len()) as u8 / 4) << 4 | 1,
        0x12,
        1,
        0,
        0,
        0,
        0,
        0,
    ]);
    out.extend(options);
    out.extend_from_slice(data);
    let check = !combine(&[sum(&out[26..34]), tcp as u16, 6, sum(&out[34..])]);
    out[50..52].copy_from_slice(&check.to_be_bytes());
    out
}

fuzz_target!(|input: &[u8]| {
    let Some((&len, rest)) = input.split_first() else {
        return;
    };
    let (options, data) = rest.split_at(usize::from(len % 41).min(rest.len()));
    let mut bytes = frame(options, &data[..data.len().min(1000)]);
    let layout = locate(&bytes).expect("its headers are right");
    let Ok(mut segment) = Segment::parse(&mut bytes, layout, &Offload::default()) else {
        return;
    };
    let before = segment.frame().to_vec();
    // There and back.
    segment.shift_sack(77);
    segment.map_timestamps(|value| value.wrapping_add(5), |echo| echo.wrapping_sub(9));
    segment.shift_sack(77_u32.wrapping_neg());
    segment.map_timestamps(|value| value.wrapping_sub(5), |echo| echo.wrapping_add(9));
    let differs = |at: &usize| before[*at] != segment.frame()[*at];
    let changed: Vec<usize> = (0..before.len()).filter(differs).collect();
    // 0x0000 and 0xffff are both zero in one's complement.
    assert!(
        changed.iter().all(|at| (50..52).contains(at)),
        "{changed:?}"
    );
    segment.clamp_mss(1000);
    segment.strip_accurate_ecn();
    segment.strip_stateful();
    segment.strip_unknown();
    segment.set_seq(SeqNumber(3));
    let again = Segment::parse(&mut bytes, layout, &Offload::default()).expect("still right");
    assert!(again.head().options.mss.is_none_or(|mss| mss <= 1000));
});
