// SPDX-License-Identifier: GPL-3.0-only
//! What is remembered by parts, and told again.

use super::*;
use crate::conn::verify::{Divergence, Value};

fn masks() -> Masks {
    Masks::new(&["Date".to_owned()])
}

fn stream(date: &str, len: usize) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 200 OK\r\nDate: {date}\r\n\r\n").into_bytes();
    bytes.extend((0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8));
    bytes
}

fn sketched(bytes: &[u8], una: u64) -> Sketch {
    let mut sketch = Sketch::default();
    sketch.capture(1024);
    let mut at = 0;
    for piece in bytes.chunks(1400) {
        sketch.feed(at, piece);
        at += piece.len() as u64;
    }
    sketch.prune(una, &masks());
    sketch
}

fn retold(sketch: &Sketch, bytes: &[u8]) -> Result<VecDeque<Value>, Divergence> {
    let mut retelling = Retelling::new(0, sketch.end());
    let mut values = VecDeque::new();
    for piece in bytes.chunks(900) {
        retelling.compare(sketch, &masks(), piece, &mut values)?;
    }
    Ok(values)
}

#[test]
fn same_stream_with_another_date_agrees_and_the_sent_date_is_kept_until_acknowledged() {
    let sent = stream("10:00", 200_000);
    let again = stream("11:11", 200_000);
    let values = retold(&sketched(&sent, 0), &again).unwrap();
    assert_eq!(
        values
            .iter()
            .map(|v| v.bytes.as_slice())
            .collect::<Vec<_>>(),
        [b" 10:00"]
    );
    assert!(retold(&sketched(&sent, 2000), &again).unwrap().is_empty());
}

#[test]
fn change_in_the_head_or_in_a_sample_is_found() {
    let sent = stream("10:00", 200_000);
    for una in [0, 200_000] {
        let sketch = sketched(&sent, una);
        for at in [0, 60, 1000, 16 * 1024, 5 * 16 * 1024 + 7, 12 * 16 * 1024] {
            let mut changed = sent.clone();
            changed[at] ^= 1;
            assert!(retold(&sketch, &changed).is_err(), "byte {at}");
        }
    }
}

#[test]
fn stream_that_is_a_byte_longer_somewhere_is_found() {
    let sent = stream("10:00", 200_000);
    let sketch = sketched(&sent, 200_000);
    for at in [500, 3000, 150_000] {
        let mut longer = sent.clone();
        longer.insert(at, b'x');
        assert!(retold(&sketch, &longer).is_err(), "byte {at}");
    }
}

#[test]
fn memory_is_bounded_over_many_answers() {
    let mut sketch = Sketch::default();
    for answer in 0..1000_u64 {
        sketch.capture(1024);
        sketch.feed(answer * 2000, &[answer as u8; 2000]);
        sketch.prune(answer * 2000, &masks());
    }
    assert!(sketch.ranges.len() <= MAX_RANGES && sketch.samples.len() <= flow::SAMPLES);
    let exact = sketch
        .ranges
        .iter()
        .filter(|range| range.exact().is_some())
        .count();
    assert!(exact <= 2, "{exact} ranges are kept as they were");
}

/// The head was lost on its way from the first server; what a second says in its place is what a third must say.
#[test]
fn date_that_was_not_sent_is_kept_when_it_is_told() {
    let sent = stream("10:00", 3000);
    let mut sketch = Sketch::default();
    sketch.capture(1024);
    sketch.feed(100, &sent[100..]);
    let mut values = VecDeque::new();
    for date in ["11:11", "22:22"] {
        let mut retelling = Retelling::new(0, sketch.end());
        let said = stream(date, 3000);
        let told = retelling.compare(&sketch, &masks(), &said, &mut values);
        assert_eq!(told, Ok(()));
    }
    assert_eq!(values.len(), 1);
    assert_eq!(values[0].bytes, b" 11:11");
}

#[test]
fn start_may_lie_beyond_what_was_seen() {
    let mut sketch = sketched(&stream("10:00", 1000), 0);
    sketch.start_at(5000);
    assert!(sketch.is_sound());
    assert_eq!((sketch.start(), sketch.end()), (5000, 5000));
}

#[test]
fn changes_bring_another_sketch_to_where_this_one_is() {
    let bytes = stream("10:00", 120_000);
    let mut live = Sketch::default();
    let mut written = Sketch::default();
    let mut at = 0;
    for (turn, answer) in bytes.chunks(1700).enumerate() {
        // Answers longer and shorter than what is captured of them, copied out by the fast path or seen here, in
        // order or not; acknowledged late.
        live.capture(1024);
        let (cut, end) = (answer.len() / 3, at + answer.len() as u64);
        if turn % 5 == 3 {
            live.captured(at + cut as u64, &answer[cut..cut + 300]);
            live.captured(at, &answer[..cut]);
            live.advance(end, end);
        } else {
            live.feed(at, &answer[..cut]);
            live.feed(at + cut as u64, &answer[cut..]);
        }
        at = end;
        if turn % 3 == 1 {
            live.prune(at - 1700, &masks());
        }
        if turn % 4 != 2 {
            assert!(live.is_changed());
            assert!(written.apply(live.delta()));
            live.note_written();
            assert!(!live.is_changed());
            let whole = |sketch: &Sketch| {
                let mut sketch = sketch.clone();
                sketch.prune(u64::MAX, &masks());
                postcard::to_allocvec(&sketch).unwrap()
            };
            assert_eq!(whole(&written), whole(&live), "after answer {turn}");
        }
    }
    live.note_written();
    let small = postcard::to_allocvec(&live.delta()).unwrap().len();
    assert!(
        small < 32,
        "nothing has changed, and that takes {small} bytes"
    );
}

/// However the date was cut on its way: in the order of its bytes with a silence between, and with what follows first.
#[test]
fn date_that_came_in_two_pieces_is_masked_as_a_whole() {
    let (sent, again) = (stream("10:00", 3000), stream("11:11", 3000));
    for cut in 1..60 {
        for (silence, overtaken) in [(true, false), (false, true), (false, false)] {
            let mut sketch = Sketch::default();
            sketch.capture(1024);
            let (first, second) = sent.split_at(cut);
            sketch.feed(0, first);
            if silence {
                sketch.settle_down(cut as u64, &masks());
                assert!(sketch.is_sound());
            }
            if overtaken {
                sketch.feed(cut as u64 + 7, &second[7..]);
                sketch.prune(cut as u64, &masks());
            }
            sketch.feed(cut as u64, second);
            sketch.prune(3000, &masks());
            assert_eq!(sketch.end(), sent.len() as u64);
            assert!(retold(&sketch, &again).is_ok(), "cut at {cut}: {sketch:?}");
            let mut changed = again.clone();
            changed[cut + 40] ^= 1;
            assert!(retold(&sketch, &changed).is_err(), "cut at {cut}");
        }
    }
}
