// SPDX-License-Identifier: GPL-3.0-only
//! The fast path's rules in Rust: what `fttcp/bpf/fastpath.bpf.c` does with one segment of a connection that it was
//! given. The kernel's program is compared with this one, segment by segment, and the simulation runs this one.

use super::{FlowState, PROBE, Record, RecordKind, SAMPLE_EVERY, SAMPLES, SLACK, Side, flag};
use crate::wire::{Flags, Segment, SeqNumber};

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is sent on, rewritten if need be.
    Forward,
    /// The engine must see it, as it came.
    Punt,
}

/// Whether `a` comes before `b` (RFC 9293 section 3.4).
const fn before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

const fn raise(to: &mut u32, value: u32) {
    if before(*to, value) {
        *to = value;
    }
}

/// The options of a segment that the fast path can handle: where the timestamps are, and nothing but SACK blocks
/// beside them, laid out as Linux, the BSDs and Windows do (RFC 7323 appendix A).
fn options(segment: &Segment<'_>, stamped: bool) -> Option<(u32, u32)> {
    let frame = segment.frame();
    let layout = segment.layout();
    let header = segment.payload().as_ptr() as usize - frame.as_ptr() as usize - layout.l4;
    let mut bytes = &frame[layout.l4 + 20..layout.l4 + header];
    let mut stamps = (0, 0);
    if stamped {
        let (first, rest) = bytes.split_at_checked(12)?;
        if first[..4] != [1, 1, 8, 10] {
            return None;
        }
        let word = |at: usize| {
            u32::from_be_bytes([first[at], first[at + 1], first[at + 2], first[at + 3]])
        };
        stamps = (word(4), word(8));
        bytes = rest;
    }
    let sack = bytes.len() >= 12
        && bytes[..3] == [1, 1, 5]
        && usize::from(bytes[3]) == bytes.len() - 2
        && (bytes.len() - 4).is_multiple_of(8);
    (bytes.is_empty() || sack).then_some(stamps)
}

/// Passes one segment. `trusted`: its checksum is verified or left to the device that sends it on. `record` keeps
/// bytes, or says that there is no room for them: then the engine sees the segment, when it has made room, and those
/// that follow wait behind it.
pub fn pass(
    side: Side,
    state: &mut FlowState,
    segment: &mut Segment<'_>,
    trusted: bool,
    record: &mut impl FnMut(&Record<'_>) -> bool,
) -> Action {
    const ECE_CWR: u8 = 0xc0;
    if state.flags & flag::PUNTED != 0 {
        return Action::Punt;
    }
    let flags = segment.head().flags;
    let tracked = state.flags & (flag::LOG | flag::MAPPED) != 0 || state.capture > 0;
    if !tracked && flags.0 & (Flags::SYN.0 | Flags::FIN.0 | Flags::RST.0) == 0 {
        state.packets = state.packets.wrapping_add(1);
        return Action::Forward;
    }
    let stamps = options(segment, state.flags & flag::STAMPED != 0);
    let plain = flags.has(Flags::ACK) && flags.0 & !(Flags::ACK.0 | Flags::PSH.0 | ECE_CWR) == 0;
    let action = match stamps {
        Some(stamps) if plain && trusted => match side {
            Side::North => from_client(state, segment, stamps, record),
            Side::South => from_server(state, segment, stamps, record),
        },
        _ => Action::Punt,
    };
    match action {
        Action::Punt => state.flags |= flag::PUNTED,
        Action::Forward => state.packets = state.packets.wrapping_add(1),
    }
    action
}

fn from_client(
    state: &mut FlowState,
    segment: &mut Segment<'_>,
    (value, _): (u32, u32),
    record: &mut impl FnMut(&Record<'_>) -> bool,
) -> Action {
    let head = *segment.head();
    let (seq, ack) = (head.seq.0, head.ack.0);
    let len = segment.payload().len() as u32;
    let end = seq.wrapping_add(len);
    let logged = state.flags & flag::LOG != 0;
    let out_of_window = before(state.server_right.wrapping_add(PROBE), end);
    // What was said before may not be said otherwise, and what comes before its turn is said before: the engine
    // compares.
    let in_turn = seq == state.client_next;
    if len > 0 && logged && (out_of_window || !in_turn) {
        return Action::Punt;
    }
    // No client's clock goes on while its acknowledgement goes back: the engine does not let the server believe it.
    let stamped = state.flags & flag::STAMPED != 0;
    if stamped && before(ack, state.server_una) && before(state.client_tsval, value) {
        return Action::Punt;
    }
    // What no server would believe teaches nothing (RFC 9293 section 3.10.7.4, RFC 5961 section 5); it may be forged.
    let in_window = !before(end.wrapping_add(1), state.client_acked)
        && !before(state.server_right.wrapping_add(PROBE), seq);
    let answers = !before(state.server_next, ack) && !before(ack, state.server_una);
    if in_window && answers {
        state.server_una = ack;
        raise(
            &mut state.client_right,
            ack.wrapping_add(u32::from(head.window) << state.scales[0]),
        );
        if stamped && !(logged && before(state.client_next, seq)) {
            raise(&mut state.client_tsval, value);
        }
    }
    if len > 0 && before(state.client_next, end) {
        let kept = !logged
            || record(&Record {
                slot: state.slot,
                generation: state.generation,
                kind: RecordKind::Client,
                at: state.client_pos + u64::from(seq.wrapping_sub(state.client_next)),
                seen: state.server_pos
                    - u64::from(state.server_next.wrapping_sub(state.server_una)),
                data: segment.payload(),
            });
        if !kept {
            return Action::Punt;
        }
        if !before(state.client_next, seq) {
            state.client_pos += u64::from(end.wrapping_sub(state.client_next));
            state.client_next = end;
        }
    }
    if len > 0 && state.capture > 0 {
        state.capture_to = state.server_next.wrapping_add(state.capture);
        state.flags |= flag::CAPTURING;
    }
    if state.flags & flag::MAPPED != 0 {
        // What nobody has sent must not become a number that the server believes.
        let told = before(state.present_next, ack) && !before(state.server_next, ack);
        let known = if told { state.present_next } else { ack };
        segment.set_ack(SeqNumber(known.wrapping_sub(state.seq_delta)));
        segment.shift_sack(state.seq_delta);
        let (delta, first) = (state.ts_delta, state.ts_first);
        segment.map_timestamps(
            |value| value,
            |echo| {
                let echo = echo.wrapping_sub(delta);
                if before(echo, first) { first } else { echo }
            },
        );
    }
    Action::Forward
}

fn from_server(
    state: &mut FlowState,
    segment: &mut Segment<'_>,
    (value, _): (u32, u32),
    record: &mut impl FnMut(&Record<'_>) -> bool,
) -> Action {
    let head = *segment.head();
    let mapped = state.flags & flag::MAPPED != 0;
    let delta = if mapped { state.seq_delta } else { 0 };
    let (seq, ack) = (head.seq.0.wrapping_add(delta), head.ack.0);
    let len = segment.payload().len() as u32;
    let end = seq.wrapping_add(len);
    let logged = state.flags & flag::LOG != 0;
    if !logged && before(state.client_next, ack) {
        state.client_pos += u64::from(ack.wrapping_sub(state.client_next));
        state.client_next = ack;
    }
    let out_of_window = len > 0 && logged && before(state.client_right.wrapping_add(SLACK), end);
    // More acknowledged than was copied out: what filled a gap is known to the engine only.
    let ahead = logged && before(state.client_next, ack);
    // What a replacement repeats from before its client's acknowledgement may be the head of its own answer.
    let again = len > 0 && mapped && before(seq, state.server_una);
    if out_of_window || ahead || again {
        return Action::Punt;
    }
    let capturing = len > 0 && state.flags & flag::CAPTURING != 0;
    if capturing && !before(seq, state.capture_to) {
        // What was overtaken may still come, until the client has all of it.
        if !before(state.server_una, state.capture_to) {
            state.flags &= !flag::CAPTURING;
        }
    } else if capturing {
        let to = if before(end, state.capture_to) {
            end
        } else {
            state.capture_to
        };
        let at = i64::from(seq.wrapping_sub(state.server_next).cast_signed());
        let kept = record(&Record {
            slot: state.slot,
            generation: state.generation,
            kind: RecordKind::Server,
            at: state.server_pos.wrapping_add_signed(at),
            seen: 0,
            data: &segment.payload()[..to.wrapping_sub(seq) as usize],
        });
        if !kept {
            return Action::Punt;
        }
    }
    raise(&mut state.client_acked, ack);
    raise(
        &mut state.server_right,
        ack.wrapping_add(u32::from(head.window) << state.scales[2]),
    );
    if len > 0 {
        sample(state, seq, segment.payload());
        if before(state.server_next, end) {
            state.server_pos += u64::from(end.wrapping_sub(state.server_next));
            state.server_next = end;
        }
    }
    let mut shown = value;
    if mapped {
        raise(&mut state.present_next, end);
        raise(&mut state.ts_last, value);
        // A connection may live longer than half the clock's range.
        raise(&mut state.ts_first, state.ts_last.wrapping_sub(1 << 30));
        let first = state.ts_first;
        shown = if before(value, first) { first } else { value }.wrapping_add(state.ts_delta);
        segment.map_timestamps(|_| shown, |echo| echo);
        segment.set_seq(SeqNumber(seq));
        segment.set_ack(SeqNumber(state.client_acked));
        let scale = state.scales[1];
        let room = if before(state.server_right, state.client_acked) {
            0
        } else {
            state.server_right.wrapping_sub(state.client_acked)
        };
        let field = room.div_ceil(1 << scale).min(u32::from(u16::MAX));
        segment.set_window(field as u16);
        raise(
            &mut state.server_right,
            state.client_acked.wrapping_add(field << scale),
        );
    }
    if state.flags & flag::STAMPED != 0 {
        raise(&mut state.server_tsval, shown);
    }
    Action::Forward
}

/// Takes the samples that lie in the server's bytes from `seq` on.
fn sample(state: &mut FlowState, seq: u32, data: &[u8]) {
    if before(state.sample_next, seq) {
        // What was not seen, or not in one piece, is not sampled.
        let missed = seq.wrapping_sub(state.sample_next).div_ceil(SAMPLE_EVERY);
        for step in 0..missed.min(SAMPLES as u32) {
            let place = state.sample_index.wrapping_add(step) % SAMPLES as u32;
            state.sample_valid &= !(1 << place);
        }
        state.sample_index = state.sample_index.wrapping_add(missed);
        state.sample_next = state
            .sample_next
            .wrapping_add(missed.wrapping_mul(SAMPLE_EVERY));
    }
    while let Some(bytes) = data
        .get(state.sample_next.wrapping_sub(seq) as usize..)
        .and_then(|rest| rest.get(..8))
    {
        let place = state.sample_index as usize % SAMPLES;
        let word = |at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        state.samples[place] = [word(0), word(4)];
        state.sample_valid |= 1 << place;
        state.sample_index = state.sample_index.wrapping_add(1);
        state.sample_next = state.sample_next.wrapping_add(SAMPLE_EVERY);
    }
}
