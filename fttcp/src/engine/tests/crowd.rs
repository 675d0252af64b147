// SPDX-License-Identifier: GPL-3.0-only
//! Many connections are moved at the same time.

use super::moving::{HEAD, NEW_HEAD, adopt, orphan};
use super::*;

#[test]
fn many_replacements_are_offered_a_share_of_what_can_be_taken_in() {
    const COUNT: u16 = 1000;
    let mut bench = Bench::new();
    for port in 0..COUNT - 1 {
        bench.client_port = 50_000 + port;
        bench.open(7);
    }
    bench.client_port = 40_000;
    orphan(&mut bench, 7, HEAD.len() as u32);
    let handshake = adopt(&mut bench, 5, 40, 7);
    let offered = |sent: &[Seen]| {
        u64::from(
            sent.iter()
                .rfind(|seen| seen.port == STANDBY)
                .unwrap()
                .head
                .window,
        ) << 7
    };
    let share = (16 << 20) / u64::from(COUNT);
    assert!((1..=share).contains(&offered(&handshake)));
    let begun = Say::new(6, bench.c(3), PUSH).stamp(41, 103);
    let said = bench.say(STANDBY, &begun.data(&NEW_HEAD[..10]));
    assert!((share - 128..=share).contains(&offered(&said)));
    // What the client has it is not told to say: from then on the window is the client's.
    let rest = Say::new(16, bench.c(3), PUSH).stamp(42, 103);
    let said = bench.say(STANDBY, &rest.data(&NEW_HEAD[10..]));
    assert_eq!(offered(&said), 500 << 7);
}
