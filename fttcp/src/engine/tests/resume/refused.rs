// SPDX-License-Identifier: GPL-3.0-only
//! A replacement does not give the rest that it is asked for: everything is replayed, unless that must not be.

use super::*;

#[test]
fn replacement_that_gives_no_rest_is_replayed() {
    for (reason, said, instead) in [
        ("the whole was sent", "206", "200"),
        ("another version", "v1", "v2"),
        ("another part", "/100000", "/100001"),
        ("not HTTP", "HTTP/1.1", "SSH-2.0"),
    ] {
        let mut bench = served(Verify::Full);
        let asked = resume(&mut bench);
        let answer = answer(asked.from);
        let head = String::from_utf8_lossy(&answer[..head_len(&answer)]).replace(said, instead);
        let sent = serve(&mut bench, (STANDBY, ISN), head.as_bytes(), 0);
        check_replay(&mut bench, &sent, asked.end, reason);
    }
}

/// The attempt was reset, and everything is replayed.
fn check_replay(bench: &mut Bench, sent: &[Seen], end: u32, reason: &str) {
    let log = log(bench);
    assert!(log.contains("not resumed") && log.contains(reason), "{log}");
    assert!(to(NORTH, sent).is_empty(), "the client sees nothing of it");
    let south = to(STANDBY, sent);
    let reset = south
        .iter()
        .position(|seen| seen.head.flags.has(Flags::RST));
    let syn = south.iter().position(|seen| seen.head.flags == Flags::SYN);
    let (reset, syn) = (reset.expect("a reset"), syn.expect("a SYN"));
    assert!(reset < syn);
    assert_eq!(south[reset].head.seq.0, end);
    assert_eq!(south[syn].head.seq.0, bench.client_isn);

    // What is left of the old attempt does no harm.
    let late = Say::new(ISN.wrapping_add(900), end, PUSH).stamp(41, 103);
    assert!(bench.say(STANDBY, &late.data(b"late")).is_empty());
    let syn_ack = Say::new(77, bench.c(0), SYN_ACK).offer(7).stamp(50, 103);
    let fed = bench.say(STANDBY, &syn_ack);
    assert!(to(STANDBY, &fed).iter().any(|seen| seen.data == GET));
    let sent = serve(bench, (STANDBY, 77), &response()[..SENT as usize], 0);
    let (at, bytes) = passed(bench, &sent);
    assert_eq!((at, bytes.len() as u32), (ACKED, SENT - ACKED));
    acknowledge(bench, SENT);
    assert_eq!(bench.state(), "established");
    let counters = bench.counters();
    assert_eq!((counters.recovered, counters.resumed), (1, 0));
    assert_eq!((counters.resumes_refused, counters.diverged), (1, 0));
}

#[test]
fn replacement_that_closes_resets_or_is_silent_is_replayed() {
    let mut bench = served(Verify::Sampled);
    let asked = resume(&mut bench);
    let close = Say::new(ISN.wrapping_add(1), asked.end, FIN).stamp(41, 103);
    let sent = bench.say(STANDBY, &close);
    check_replay(&mut bench, &sent, asked.end, "closed without an answer");

    let mut bench = served(Verify::Sampled);
    let asked = resume(&mut bench);
    let reset = Say::new(ISN.wrapping_add(1), asked.end, RST).stamp(41, 103);
    let sent = bench.say(STANDBY, &reset);
    check_replay(&mut bench, &sent, asked.end, "reset without the answer");

    let mut bench = served(Verify::Sampled);
    let asked = resume(&mut bench);
    let taken = Say::new(ISN.wrapping_add(1), asked.end, ACK).stamp(41, 103);
    bench.say(STANDBY, &taken);
    assert!(bench.wait(Duration::from_secs(4)).is_empty());
    let sent = bench.wait(Duration::from_secs(1));
    check_replay(&mut bench, &sent, asked.end, "did not answer");
}

#[test]
fn rest_that_differs_from_what_had_been_sent_is_replayed() {
    for verify in [Verify::Sampled, Verify::Full] {
        let mut bench = served(verify);
        let asked = resume(&mut bench);
        let mut answer = answer(asked.from);
        let head = head_len(&answer);
        // Shorter than what had been sent: the sampled ones may not notice a byte.
        answer.truncate(head + 1500);
        answer[head + 700] ^= 1;
        let mut sent = serve(&mut bench, (STANDBY, ISN), &answer, 0);
        if verify == Verify::Sampled {
            assert!(bench.state() == "recovering");
            let seq = ISN.wrapping_add(1 + answer.len() as u32);
            let close = Say::new(seq, asked.end, FIN).stamp(41, 103);
            sent = bench.say(STANDBY, &close);
            sent.extend(bench.wait(Duration::from_secs(1)));
        }
        let south = to(STANDBY, &sent);
        let syn = south.iter().find(|seen| seen.head.flags == Flags::SYN);
        assert_eq!(syn.expect("a SYN").head.seq.0, bench.client_isn);
        assert!(log(&mut bench).contains("the rest differs"));
        assert_eq!(bench.counters().diverged, 0);
    }
}

#[test]
fn what_must_not_be_done_twice_is_not_replayed_when_a_resumption_fails() {
    const POST: &[u8] = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
    let mut bench = served(Verify::Sampled);
    let asked = resume(&mut bench);
    let answer = answer(asked.from);
    let said = head_len(&answer) + 1500;
    serve(&mut bench, (STANDBY, ISN), &answer[..said], 0);
    assert_eq!(bench.state(), "recovering");
    let post = Say::new(bench.c(GET.len() as u32), bench.s(ACKED), PUSH);
    let fed = bench.say(NORTH, &post.stamp(104, 7005).data(POST));
    assert!(to(STANDBY, &fed).iter().any(|seen| seen.data == POST));

    let seq = ISN.wrapping_add(1 + said as u32);
    let reset = Say::new(seq, asked.end.wrapping_add(POST.len() as u32), RST);
    let sent = bench.say(STANDBY, &reset.stamp(42, 104));
    let south = to(STANDBY, &sent);
    assert!(south.iter().all(|seen| seen.head.flags != Flags::SYN));
    assert!(to(NORTH, &sent)[0].head.flags.has(Flags::RST));
    assert!(log(&mut bench).contains("must not be made twice"));
    assert_eq!((bench.counters().lost, bench.counters().recovered), (1, 0));
}

#[test]
fn what_must_not_be_done_twice_is_not_replayed_when_a_replay_is_reset() {
    const POST: &[u8] = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
    let mut bench = served(Verify::Sampled);
    let asked = resume(&mut bench);
    let close = Say::new(ISN.wrapping_add(1), asked.end, FIN).stamp(41, 103);
    bench.say(STANDBY, &close);
    let syn_ack = Say::new(77, bench.c(0), SYN_ACK).offer(7).stamp(50, 103);
    bench.say(STANDBY, &syn_ack);
    let post = Say::new(bench.c(GET.len() as u32), bench.s(ACKED), PUSH);
    bench.say(NORTH, &post.stamp(104, 7005).data(POST));
    assert_eq!(bench.state(), "recovering");

    let reset = Say::new(78, bench.c((GET.len() + POST.len()) as u32), RST);
    let sent = bench.say(STANDBY, &reset.stamp(51, 104));
    assert!(to(NORTH, &sent)[0].head.flags.has(Flags::RST));
    assert!(
        to(STANDBY, &sent)
            .iter()
            .all(|seen| seen.head.flags != Flags::SYN)
    );
    assert!(log(&mut bench).contains("must not be made twice"));
    assert_eq!((bench.counters().lost, bench.counters().recovered), (1, 0));
}
