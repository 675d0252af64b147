// SPDX-License-Identifier: GPL-3.0-only
//! Connections that the kernel forwards, of a protocol that is understood: of a long answer only the beginning is shown, and
//! still it is known when nothing is under way.

use super::*;
use crate::flow::shortcut::{Outcome, Shortcut};
use crate::flow::{FlowKey, FlowState, Record, Route};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd";

/// What is sent, and the kernel's part.
struct Fast {
    sent: Sent,
    shortcut: Shortcut,
}

impl Output for Fast {
    fn transmit(&mut self, port: PortId, frame: &[u8], offload: &Offload) {
        self.sent.transmit(port, frame, offload);
    }

    fn route(&mut self, port: PortId, route: Route) {
        self.shortcut.route(port, route);
    }

    fn services(&mut self, group: u32, ports: &[u16], outbound: bool) {
        self.shortcut.services(group, ports, outbound);
    }

    fn offload(&mut self, key: &FlowKey, state: &FlowState) -> bool {
        self.shortcut.offload(key, state);
        true
    }

    fn peek(&mut self, key: &FlowKey) -> Option<FlowState> {
        self.shortcut.peek(key)
    }

    fn reclaim(&mut self, key: &FlowKey) -> Option<FlowState> {
        self.shortcut.reclaim(key)
    }

    fn records(&mut self, each: &mut dyn FnMut(&Record<'_>)) {
        self.shortcut.records(each);
    }
}

/// One connection, with how far its streams are.
struct Web {
    bench: Bench,
    fast: Fast,
    said: u32,
    heard: u32,
}

impl Web {
    fn new() -> Self {
        let config = EngineConfig {
            shortcut: true,
            ..EngineConfig::default()
        };
        let mut bench = Bench::configured(config, vec![ServiceSpec::new(80, "http")]);
        bench.open(7);
        let mut fast = Fast {
            sent: Sent::default(),
            shortcut: Shortcut::new(1 << 20),
        };
        bench.engine.announce(&mut fast);
        Self {
            bench,
            fast,
            said: 0,
            heard: 0,
        }
    }

    /// What was sent since.
    fn sent(&mut self) -> Vec<Seen> {
        Bench::seen(std::mem::take(&mut self.fast.sent))
    }

    /// A frame comes in; what is sent.
    fn pass(&mut self, port: PortId, say: &Say<'_>) -> Vec<Seen> {
        let mut frame = self.bench.frame(port == NORTH, say);
        let offload = Offload {
            checksum_valid: true,
            ..Offload::default()
        };
        match self.fast.shortcut.receive(port, &mut frame, &offload) {
            Outcome::Forward(to) => self.fast.transmit(to, &frame, &offload),
            Outcome::Drop => {}
            Outcome::Punt => {
                let (engine, now) = (&mut self.bench.engine, self.bench.now);
                engine.handle_frame(now, port, &mut frame, offload, &mut self.fast);
                engine.settle(now, false, &mut self.fast);
            }
        }
        self.sent()
    }

    fn ask(&mut self, request: &[u8]) -> Vec<Seen> {
        let (seq, ack) = (self.bench.c(self.said), self.bench.s(self.heard));
        self.said += request.len() as u32;
        self.pass(
            NORTH,
            &Say::new(seq, ack, PUSH).stamp(102, 7000).data(request),
        )
    }

    fn answer(&mut self, answer: &[u8]) {
        for piece in answer.chunks(1400) {
            let (seq, ack) = (self.bench.s(self.heard), self.bench.c(self.said));
            self.heard += piece.len() as u32;
            let say = Say::new(seq, ack, PUSH).stamp(7001, 102);
            let sent = self.pass(ACTIVE, &say.data(piece));
            assert_eq!((sent.len(), sent[0].port), (1, NORTH));
        }
    }

    fn acknowledge(&mut self) {
        let (seq, ack) = (self.bench.c(self.said), self.bench.s(self.heard));
        self.pass(NORTH, &Say::new(seq, ack, ACK).stamp(103, 7001));
    }

    /// Asks and is answered so often that the kernel has the connection.
    fn settled(request: &[u8], answer: &[u8]) -> Self {
        let mut web = Self::new();
        for _ in 0..5 {
            web.ask(request);
            web.answer(answer);
            web.acknowledge();
        }
        assert_eq!(web.bench.engine.given().len(), 1);
        web
    }

    /// What is logged, as a status tells.
    fn logged(&mut self) -> u64 {
        let (engine, now) = (&mut self.bench.engine, self.bench.now);
        engine.refresh(now, &mut self.fast);
        self.bench.counters().logged_bytes
    }

    /// For how long an answer is owed.
    fn owed(&mut self) -> [u64; 2] {
        [0; 2].map(|_| {
            self.bench.now = self.bench.now.after(Duration::from_secs(1));
            let (engine, now) = (&mut self.bench.engine, self.bench.now);
            engine.refresh(now, &mut self.fast);
            let silence = engine.probe(now, "web", &mut self.fast);
            self.sent();
            silence.expect("there is such a group").owed_ms
        })
    }

    /// The server dies, and a replacement takes the connection: where in the client's stream that begins, and what it is told.
    fn moved(&mut self) -> (u32, Vec<u8>) {
        let (engine, now) = (&mut self.bench.engine, self.bench.now);
        let died = engine.failover(now, 0, "web", "a test", &mut self.fast);
        died.expect("there is a standby");
        let sent = self.sent();
        let syn = sent.iter().find(|it| it.head.flags == Flags::SYN);
        let start = syn.expect("a SYN").head.seq.0.wrapping_add(1);
        let answer = Say::new(77, start, SYN_ACK).offer(7).stamp(40, 103);
        let told = self.pass(STANDBY, &answer);
        let told = told.into_iter().filter(|it| it.port == STANDBY);
        let told = told.flat_map(|it| it.data).collect();
        (start.wrapping_sub(self.bench.c(0)), told)
    }
}

/// An answer of known length, with this line in its head.
fn lengthy(line: &str) -> Vec<u8> {
    let mut all = format!("HTTP/1.1 200 OK\r\n{line}Content-Length: 9000\r\n\r\n").into_bytes();
    all.resize(all.len() + 9000, b'x');
    all
}

fn chunked() -> Vec<u8> {
    let mut all = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..9 {
        all.extend_from_slice(b"3e8\r\n");
        all.resize(all.len() + 1000, b'x');
        all.extend_from_slice(b"\r\n");
    }
    all.extend_from_slice(b"0\r\n\r\n");
    all
}

#[test]
fn of_long_chunked_answers_only_the_last_is_kept_and_its_client_is_owed_nothing() {
    for request in [GET, POST] {
        let mut web = Web::settled(request, &chunked());
        assert_eq!(web.logged(), request.len() as u64);
        assert_eq!(web.owed(), [0; 2]);
        web.ask(GET);
        assert_eq!(web.owed(), [0, 1000]);
        web.answer(&chunked());
        web.acknowledge();
        assert_eq!(web.owed(), [0; 2]);
        let at = web.said - GET.len() as u32;
        assert_eq!(web.moved(), (at, GET.to_vec()));
    }
}

#[test]
fn nothing_is_told_again_of_a_long_answer_that_the_client_has_whole() {
    for request in [GET, POST] {
        let mut web = Web::settled(request, &lengthy(""));
        assert_eq!(web.logged(), 0);
        let said = web.said;
        assert_eq!(web.moved(), (said, Vec::new()));
        let mut web = Web::settled(request, &lengthy(""));
        assert_eq!(web.moved(), (said, Vec::new()), "nobody asked before");
        assert_eq!(web.bench.state(), "established");
        assert_eq!(web.bench.counters().lost, 0);
    }
}

#[test]
fn connection_with_a_long_answer_behind_it_rests() {
    let mut web = Web::settled(POST, &lengthy(""));
    let (engine, now) = (&mut web.bench.engine, web.bench.now);
    let begun = engine.upgrade(now, "web", "vif2", 1000, &mut web.fast);
    begun.expect("there is a standby");
    let sent = web.sent();
    assert!(
        sent.iter()
            .any(|it| it.port == STANDBY && it.head.flags == Flags::SYN)
    );
}

#[test]
fn close_behind_a_long_answer_that_announced_it_passes_at_once() {
    let mut web = Web::settled(GET, &lengthy(""));
    web.ask(GET);
    web.answer(&lengthy("Connection: close\r\n"));
    let (seq, ack) = (web.bench.s(web.heard), web.bench.c(web.said));
    let sent = web.pass(ACTIVE, &Say::new(seq, ack, FIN).stamp(7001, 102));
    assert_eq!((sent.len(), sent[0].port), (1, NORTH));
    assert!(sent[0].head.flags.has(Flags::FIN));
}
