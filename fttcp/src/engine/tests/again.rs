// SPDX-License-Identifier: GPL-3.0-only
//! A logger that is started anew while a connection is moved does not know what the replacement was told: nothing that must not
//! be done twice is told again.

use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// The replacement's initial sequence number.
const ISN: u32 = 77;

fn fed(sent: &[Seen]) -> Vec<u8> {
    let fed = sent.iter().filter(|it| it.port == STANDBY);
    fed.flat_map(|it| it.data.clone()).collect()
}

/// The replacement takes the handshake; what it is told.
fn take(bench: &mut Bench) -> Vec<u8> {
    let answer = Say::new(ISN, bench.c(0), SYN_ACK).offer(7).stamp(40, 102);
    fed(&bench.say(STANDBY, &answer))
}

/// The client asks for more than GET while that is told to a replacement.
fn ask_more(bench: &mut Bench, request: &[u8]) {
    let more = Say::new(bench.c(GET.len() as u32), bench.s(0), PUSH).stamp(103, 7000);
    assert_eq!(fed(&bench.say(NORTH, &more.data(request))), request);
}

/// The replacement answers that the connection is there, and takes the next one: what it is told then.
fn told_again(bench: &mut Bench) -> Vec<u8> {
    let here = Say::new(ISN + 1, bench.c(GET.len() as u32), ACK).stamp(41, 103);
    bench.say(STANDBY, &here);
    take(bench)
}

fn asked() -> Bench {
    let mut bench = Bench::with(vec![ServiceSpec::new(80, "http")]);
    bench.open(7);
    let get = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
    bench.say(NORTH, &get.data(GET));
    bench
}

#[test]
fn request_that_came_since_the_server_died_is_not_made_twice() {
    for (request, lost) in [(GET, 0), (POST, 1)] {
        let mut bench = asked();
        let answer = Say::new(bench.s(0), bench.c(GET.len() as u32), PUSH);
        bench.say(ACTIVE, &answer.stamp(7001, 102).data(OK));
        bench.fail_over();
        assert_eq!(take(&mut bench), GET);
        ask_more(&mut bench, request);
        bench.restart(STANDBY, vec![SECOND], EngineConfig::default());
        let again = told_again(&mut bench);
        let told = if lost == 0 {
            [GET, request].concat()
        } else {
            Vec::new()
        };
        assert_eq!((again, bench.counters().lost), (told, lost));
    }
}

#[test]
fn request_that_came_since_an_upgrade_moves_its_connection_is_not_made_twice() {
    for (request, lost) in [(GET, 0), (POST, 1)] {
        let mut bench = asked();
        let mut sent = Sent::default();
        let begun = bench.engine.upgrade(bench.now, "web", "vif2", 0, &mut sent);
        begun.expect("there is a standby");
        bench.wait(Duration::from_millis(30));
        assert_eq!(take(&mut bench), GET);
        ask_more(&mut bench, request);
        bench.restart(STANDBY, vec![ACTIVE, SECOND], EngineConfig::default());
        let again = told_again(&mut bench);
        let upgrade = bench.status().upgrade.expect("it goes on");
        let told = if lost == 0 {
            [GET, request].concat()
        } else {
            Vec::new()
        };
        assert_eq!((again, upgrade.lost, upgrade.returned), (told, lost, 0));
    }
}
