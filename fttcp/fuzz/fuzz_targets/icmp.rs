// SPDX-License-Identifier: GPL-3.0-only
//! Arbitrary ICMP messages and IP fragments: `scripts/fuzz icmp`.
//!
//! Input: one byte that says which (IPv4 or IPv6, message or fragment), then what follows the IP header.
#![no_main]

use fttcp::frame::Offload;
use fttcp::wire::{SeqNumber, combine, join, locate_fragment, locate_icmp, split, sum};
use libfuzzer_sys::fuzz_target;

/// A frame with a right IP header before `payload`.
fn frame(v6: bool, next: u8, place: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    if v6 {
        out.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        out.extend((payload.len() as u16).to_be_bytes());
        out.extend([next, 64]);
        out.extend([0xfd; 32]);
    } else {
        out.extend([8, 0, 0x45, 0]);
        out.extend(((20 + payload.len()) as u16).to_be_bytes());
        out.extend([0, 9]);
        out.extend(place.to_be_bytes());
        out.extend([64, next, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        let check = !sum(&out[14..34]);
        out[24..26].copy_from_slice(&check.to_be_bytes());
    }
    out.extend_from_slice(payload);
    out
}

fn message(v6: bool, payload: &[u8]) {
    if payload.len() < 4 {
        return;
    }
    let mut bytes = frame(v6, if v6 { 58 } else { 1 }, 0, payload);
    let at = bytes.len() - payload.len();
    bytes[at + 2..at + 4].fill(0);
    let mut sums = vec![sum(&bytes[at..])];
    if v6 {
        sums.extend([sum(&bytes[22..54]), payload.len() as u16, 58]);
    }
    let check = !combine(&sums);
    bytes[at + 2..at + 4].copy_from_slice(&check.to_be_bytes());
    let Ok(mut error) = locate_icmp(&bytes, &Offload::default()) else {
        return;
    };
    error.set_seq(&mut bytes, SeqNumber(0x0102_0304));
    error.set_ack(&mut bytes, SeqNumber(5));
    error.set_src_port(&mut bytes, 6);
    error.set_dst_port(&mut bytes, 7);
    let again = locate_icmp(&bytes, &Offload::default()).expect("its checksum is kept right");
    assert_eq!(again, error);
}

fn fragment(v6: bool, place: u16, payload: &[u8]) {
    let bytes = frame(v6, if v6 { 44 } else { 6 }, place, payload);
    let Ok(found) = locate_fragment(&bytes) else {
        return;
    };
    let (header, data) = (&bytes[..found.payload.start], &bytes[found.payload.clone()]);
    let Ok(whole) = join(header, data, found.congested) else {
        return;
    };
    let parts = split(&whole, header, 64);
    let mut together = Vec::new();
    for part in &parts {
        // One part alone is no fragment in IPv4.
        match locate_fragment(part) {
            Ok(found) => together.extend_from_slice(&part[found.payload]),
            Err(_) => assert!(parts.len() == 1),
        }
    }
    assert!(parts.len() == 1 || together == data);
}

fuzz_target!(|input: &[u8]| {
    let [kind, high, low, payload @ ..] = input else {
        return;
    };
    let payload = &payload[..payload.len().min(4000)];
    let v6 = kind & 1 != 0;
    if kind & 2 == 0 {
        message(v6, payload);
    } else {
        fragment(v6, u16::from_be_bytes([*high, *low]), payload);
    }
});
