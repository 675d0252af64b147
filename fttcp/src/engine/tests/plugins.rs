// SPDX-License-Identifier: GPL-3.0-only
//! Plug-ins that come from outside of the crate: they are found by name, sleep and move with their connections.

use super::*;
use crate::service::{Restart, Service};

/// Each line is answered by a line. What it remembers begins with `version`.
#[derive(Debug)]
struct Lines {
    version: u8,
    asked: Vec<u64>,
    answered: Vec<u64>,
}

impl Lines {
    const fn version(version: u8) -> Self {
        Self {
            version,
            asked: Vec::new(),
            answered: Vec::new(),
        }
    }
}

fn ends(at: u64, bytes: &[u8]) -> impl Iterator<Item = u64> {
    let ended = (at + 1..).zip(bytes).filter(|(_, byte)| **byte == b'\n');
    ended.map(|(end, _)| end)
}

impl Service for Lines {
    fn client_bytes(&mut self, at: u64, bytes: &[u8]) {
        self.asked.extend(ends(at, bytes));
    }

    fn server_bytes(&mut self, at: u64, bytes: &[u8]) {
        self.answered.extend(ends(at, bytes));
    }

    fn restart(&mut self, acknowledged: u64) -> Option<Restart> {
        let mut pairs = self.asked.iter().zip(&self.answered).rev();
        let (&client, &server) = pairs.find(|(_, end)| **end <= acknowledged)?;
        Some(Restart { client, server })
    }

    fn rewind(&mut self, _: Restart) {
        *self = Self::version(self.version);
    }

    fn close_expected(&self, _: u64) -> bool {
        false
    }

    fn truncates(&self) -> bool {
        true
    }

    fn kind(&self) -> &'static str {
        "lines"
    }

    fn save(&self) -> Vec<u8> {
        let state = (self.version, &self.asked, &self.answered);
        postcard::to_allocvec(&state).expect("numbers have a form")
    }

    fn restore(&mut self, saved: &[u8]) -> bool {
        match postcard::from_bytes::<(u8, Vec<u64>, Vec<u64>)>(saved) {
            Ok((version, asked, answered)) if version == self.version => {
                (self.asked, self.answered) = (asked, answered);
                true
            }
            _ => false,
        }
    }
}

fn config(version: u8) -> EngineConfig {
    let mut config = EngineConfig::default();
    config.kinds.add("lines", move || Lines::version(version));
    config
}

/// A connection on which a line was asked and answered, but the answer is not acknowledged yet.
fn asked() -> Bench {
    let mut bench = Bench::configured(config(1), vec![ServiceSpec::new(80, "lines")]);
    bench.open(7);
    let ask = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
    bench.say(NORTH, &ask.data(b"ask\n"));
    let answer = Say::new(bench.s(0), bench.c(4), PUSH).stamp(7001, 102);
    bench.say(ACTIVE, &answer.data(b"answer\n"));
    bench
}

fn acknowledge(bench: &mut Bench) {
    let ack = Say::new(bench.c(4), bench.s(7), ACK).stamp(103, 7001);
    bench.say(NORTH, &ack);
}

fn moved_to(mut bench: Bench, version: u8) -> Bench {
    bench.restart(ACTIVE, vec![STANDBY, SECOND], config(version));
    bench
}

#[test]
fn plugin_of_an_added_kind_cuts_the_log_also_after_sleep_and_in_another_process() {
    let awake = asked();
    let mut slept = asked();
    slept.wait(Duration::from_secs(6));
    let moved = moved_to(asked(), 1);
    for mut bench in [awake, slept, moved] {
        assert_eq!(bench.counters().logged_bytes, 4);
        acknowledge(&mut bench);
        assert_eq!(bench.counters().logged_bytes, 0);
        assert_eq!(bench.counters().truncations, 1);
    }
}

#[test]
fn plugin_that_does_not_understand_what_was_saved_leaves_its_connection_unprotected() {
    let mut bench = moved_to(asked(), 2);
    assert_eq!(bench.counters().unprotected, 1);
    let event = bench.engine.poll_event().map(|event| event.to_string());
    let told = event.expect("it is told");
    assert!(told.contains("not protected: its plug-in"), "{told}");
    acknowledge(&mut bench);
    assert_eq!(bench.state(), "unprotected");
}

#[test]
fn connections_that_speak_tls_are_passed_unprotected_and_told_once() {
    let mut bench = Bench::new();
    for port in [40_000, 40_001] {
        bench.client_port = port;
        bench.open(7);
        for (at, data) in [
            (0, &b"\x16\x03\x01"[..]),
            (3, b"\x02\0\x01\0\x01\xfc\x03\x03"),
        ] {
            let hello = Say::new(bench.c(at), bench.s(0), PUSH).stamp(102, 7000);
            let passed = bench.say(NORTH, &hello.data(data));
            assert_eq!(passed[0].data, data);
        }
    }
    let counters = bench.counters();
    assert_eq!(
        (counters.tls, counters.unprotected, counters.protected),
        (2, 2, 0)
    );
    assert_eq!(counters.logged_bytes, 0);
    let told = bench.engine.poll_event().map(|event| event.to_string());
    assert!(told.is_some_and(|told| told.contains("it speaks TLS")));
    assert_eq!(bench.engine.poll_event(), None);
}

#[test]
fn connection_whose_hello_came_while_it_was_moved_is_moved_first() {
    let mut bench = Bench::new();
    bench.open(7);
    bench.fail_over();
    let hello = Say::new(bench.c(0), bench.s(0), PUSH).stamp(102, 7000);
    bench.say(NORTH, &hello.data(b"\x16\x03\x01\x02\0\x01hello"));
    assert_eq!(bench.counters().tls, 0);
    let answer = Say::new(70_000, bench.c(0), SYN_ACK).offer(7).stamp(9, 101);
    let fed = bench.say(STANDBY, &answer.window(60_000));
    assert!(
        fed.iter()
            .any(|seen| seen.port == STANDBY && seen.data.ends_with(b"hello"))
    );
    let taken = Say::new(70_001, bench.c(11), ACK).stamp(10, 102);
    bench.say(STANDBY, &taken);
    assert_eq!((bench.counters().tls, bench.counters().recovered), (1, 1));
    assert_eq!(bench.state(), "unprotected");
}

#[test]
fn unknown_kind_is_refused_with_those_that_are_known() {
    let mut engine = Engine::new(config(1));
    let spec = GroupSpec {
        name: "web".to_owned(),
        services: vec![ServiceSpec::new(80, "smtp")],
        ..GroupSpec::default()
    };
    let ports = GroupPorts {
        north: NORTH,
        active: ACTIVE,
        standbys: Vec::new(),
    };
    let refused = engine.add_group(spec, ports).expect_err("there is no smtp");
    let text = refused.to_string();
    assert!(
        text.contains("opaque, http") && text.ends_with(", lines"),
        "{text}"
    );
}

#[test]
fn definition_that_is_none_or_of_another_name_is_refused() {
    let refused = |kind: &str, text: &str| {
        let spec = GroupSpec {
            name: "web".to_owned(),
            services: vec![ServiceSpec {
                definition: Some(text.to_owned()),
                ..ServiceSpec::new(7000, kind)
            }],
            ..GroupSpec::default()
        };
        let ports = GroupPorts {
            north: NORTH,
            active: ACTIVE,
            standbys: Vec::new(),
        };
        let added = Engine::new(EngineConfig::default()).add_group(spec, ports);
        added.err().map(|error| error.to_string())
    };
    let kv = include_str!("../../../examples/kv.toml");
    assert_eq!(refused("kv", kv), None);
    let told = refused("kv", &kv.replace("longest = 4096", "longest = 0")).unwrap();
    assert!(
        told.contains("port 7000: the definition of kv cannot be used: line 6: longest"),
        "{told}"
    );
    let told = refused("other", kv).unwrap();
    assert!(told.contains("it defines kv"), "{told}");
}
