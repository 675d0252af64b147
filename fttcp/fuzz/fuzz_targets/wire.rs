// SPDX-License-Identifier: GPL-3.0-only
//! Arbitrary frames through the parser and every editor: `scripts/fuzz wire`.
#![no_main]

use fttcp::frame::Offload;
use fttcp::wire::{Segment, SeqNumber, locate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut frame = data.to_vec();
    let Ok(layout) = locate(&frame) else {
        return;
    };
    let offload = Offload {
        checksum_valid: true,
        ..Offload::default()
    };
    if let Ok(mut segment) = Segment::parse(&mut frame, layout, &offload) {
        segment.set_seq(SeqNumber(7));
        segment.set_ack(SeqNumber(9));
        segment.set_window(11);
        segment.strip_stateful();
        segment.shift_sack(13);
        segment.map_timestamps(|value| value.wrapping_add(1), |echo| echo.wrapping_sub(1));
        segment.set_payload(3, b"patch");
    }
});
