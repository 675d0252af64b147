// SPDX-License-Identifier: GPL-3.0-only
//! A request that must not be made twice, whose server died: what its client hears.

use super::*;

const POST: &[u8] = b"POST /f HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n";
const BODY: &[u8] = b"abcd";
const GET: &[u8] = b"GET /f HTTP/1.1\r\nHost: x\r\n\r\n";
const SHORT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345";

fn house() -> Bench {
    let mut bench = Bench::with(vec![ServiceSpec::new(80, "http")]);
    bench.open(7);
    bench
}

/// The client says something, having got everything up to `seen`.
fn ask(bench: &mut Bench, at: usize, seen: usize, data: &[u8]) -> Vec<Seen> {
    let say = Say::new(bench.c(at as u32), bench.s(seen as u32), PUSH);
    bench.say(NORTH, &say.stamp(102, 7000).data(data))
}

fn answer(bench: &mut Bench, at: usize, said: usize, data: &[u8]) {
    let say = Say::new(bench.s(at as u32), bench.c(said as u32), PUSH);
    bench.say(ACTIVE, &say.stamp(7001, 102).data(data));
}

/// What the client hears is a reply at this position, and the end behind it; where that is.
fn reply(bench: &Bench, sent: &[Seen], at: u32) -> u32 {
    assert!(sent.iter().all(|seen| seen.port == NORTH), "{sent:?}");
    let words = sent.iter().find(|seen| !seen.data.is_empty());
    let words = words.expect("something is said");
    assert_eq!(words.head.seq.0, bench.s(at));
    let text = String::from_utf8_lossy(&words.data);
    assert!(text.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{text}");
    assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
    let fin = sent.last().expect("there is an end");
    assert!(fin.head.flags.has(Flags::FIN));
    assert_eq!(fin.head.seq.0, words.head.seq.0 + words.data.len() as u32);
    fin.head.seq.0
}

fn log(bench: &mut Bench) -> String {
    let events = std::iter::from_fn(|| bench.engine.poll_event());
    events.map(|event| format!("{event}\n")).collect()
}

#[test]
fn reply_is_repeated_until_it_is_acknowledged_and_nothing_reaches_the_replacement() {
    for before in [false, true] {
        let mut bench = house();
        let (said, seen) = if before {
            ask(&mut bench, 0, 0, GET);
            answer(&mut bench, 0, GET.len(), SHORT);
            (GET.len(), SHORT.len())
        } else {
            (0, 0)
        };
        let all = said + POST.len() + BODY.len();
        ask(&mut bench, said, seen, &[POST, BODY].concat());
        let sent = bench.fail_over();
        let north: Vec<Seen> = sent
            .into_iter()
            .filter(|it| !it.data.is_empty() || it.head.flags.has(Flags::FIN))
            .collect();
        let fin = reply(&bench, &north, seen as u32);
        assert_eq!(north[0].head.ack.0, bench.c(all as u32));
        // Lost: it comes again. Half of it acknowledged: the rest.
        let again = bench.wait(Duration::from_millis(500));
        assert_eq!(reply(&bench, &again, seen as u32), fin);
        let half = Say::new(bench.c(all as u32), bench.s(seen as u32 + 40), ACK);
        bench.say(NORTH, &half.stamp(103, 7001));
        let again = bench.wait(Duration::from_millis(500));
        assert_eq!(again[0].head.seq.0, bench.s(seen as u32 + 40));
        // Acknowledged, and the client closes.
        let leaves = Say::new(bench.c(all as u32), fin.wrapping_add(1), FIN);
        let sent = bench.say(NORTH, &leaves.stamp(104, 7001));
        assert_eq!(sent[0].head.ack.0, bench.c(all as u32 + 1));
        assert!(bench.wait(Duration::from_secs(40)).is_empty());
        let counters = bench.counters();
        assert_eq!((counters.lost, counters.error_replies), (1, 1));
        let log = log(&mut bench);
        assert!(
            log.contains("ended with an error reply: a request that must not be made twice"),
            "{log}"
        );
    }
}

#[test]
fn client_that_says_all_before_it_reads_gets_to_reading() {
    let mut bench = house();
    let head = b"POST /f HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
    ask(&mut bench, 0, 0, head);
    bench.fail_over();
    let mut at = head.len();
    while at < 1_000_000 {
        let sent = ask(&mut bench, at, 0, &[b'x'; 1400]);
        at += 1400;
        let heard = sent.last().expect("it is acknowledged").head;
        assert_eq!(heard.ack.0, bench.c(at as u32));
        assert!(heard.window > 100, "{}", heard.window);
    }
    assert!(bench.status().connections[0].logged_bytes == 0);
    // Not for ever.
    let sent = bench.wait(Duration::from_secs(30));
    assert!(sent[0].head.flags.has(Flags::RST), "{sent:?}");
    assert_eq!(bench.state(), "closed");
}

#[test]
fn client_that_has_a_byte_of_the_response_is_reset() {
    let mut bench = house();
    let data = [POST, BODY].concat();
    ask(&mut bench, 0, 0, &data);
    answer(&mut bench, 0, data.len(), &SHORT[..9]);
    let sent = bench.fail_over();
    assert!(sent.iter().any(|it| it.head.flags.has(Flags::RST)));
    assert!(sent.iter().all(|it| it.data.is_empty()));
    let counters = bench.counters();
    assert_eq!((counters.lost, counters.error_replies), (1, 0));
}

#[test]
fn client_without_room_for_the_reply_is_reset() {
    let mut bench = Bench::with(vec![ServiceSpec::new(80, "http")]);
    let (client, server) = (bench.client_isn, bench.server_isn);
    let syn = Say::new(client, 0, Flags::SYN).window(50);
    bench.say(NORTH, &syn);
    bench.say(
        ACTIVE,
        &Say::new(server, client + 1, SYN_ACK).window(60_000),
    );
    let ask = Say::new(bench.c(0), bench.s(0), PUSH).window(50);
    bench.say(NORTH, &ask.data(&[POST, BODY].concat()));
    let sent = bench.fail_over();
    assert!(sent.iter().any(|it| it.head.flags.has(Flags::RST)));
    assert!(sent.iter().all(|it| it.data.is_empty()));
}

#[test]
fn client_that_lacks_what_went_before_is_reset_in_time() {
    let mut bench = house();
    ask(&mut bench, 0, 0, GET);
    answer(&mut bench, 0, GET.len(), SHORT);
    // Its second request came while the response was lost on its way.
    ask(&mut bench, GET.len(), 0, &[POST, BODY].concat());
    let sent = bench.fail_over();
    reply(&bench, &sent, SHORT.len() as u32);
    let mut sent = Vec::new();
    for _ in 0..8 {
        sent.extend(bench.wait(Duration::from_millis(500)));
    }
    assert!(sent.iter().any(|it| it.head.flags.has(Flags::RST)));
    assert_eq!(bench.state(), "closed");
}

#[test]
fn client_that_resets_hears_nothing_more() {
    let mut bench = house();
    ask(&mut bench, 0, 0, &[POST, BODY].concat());
    bench.fail_over();
    let all = (POST.len() + BODY.len()) as u32;
    bench.say(NORTH, &Say::new(bench.c(all), 0, Flags::RST));
    assert!(bench.wait(Duration::from_secs(1)).is_empty());
}

#[test]
fn reply_goes_on_after_the_logger_is_restarted_and_the_next_server_dies() {
    let mut bench = house();
    ask(&mut bench, 0, 0, &[POST, BODY].concat());
    bench.fail_over();
    bench.restart(STANDBY, vec![SECOND], EngineConfig::default());
    let sent = bench.wait(Duration::from_millis(500));
    reply(&bench, &sent, 0);
    bench.fail_over();
    let sent = bench.wait(Duration::from_millis(500));
    reply(&bench, &sent, 0);
}
