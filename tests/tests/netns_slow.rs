// SPDX-License-Identifier: GPL-3.0-only
//! A crowd of clients that say or read a byte now and then (slow loris), while another downloads and the server dies: that one
//! gets its file, each of the crowd goes on or is told its end, and the logger stays small.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, ScopedJoinHandle, sleep};
use std::time::Duration;

use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::topology::{GROUP, Topology};
use rxl_tests::netns::web::talker::{Talker, has_ended};

type Outcome = Result<(), Box<dyn Error>>;

/// The crowd.
const CLIENTS: usize = 400;
/// One of so many reads slowly; what lies in its buffers is the kernel's.
const READS: usize = 40;
/// Between the bytes that each says: how slow they are.
const PACE: Duration = Duration::from_millis(5);
/// So many bytes each says before the server dies, and after that.
const ROUNDS: usize = 60;
/// How many bytes it has to say so slowly: it is not done by then.
const SLOWLY: usize = 4000;
/// Of the file that the other client fetches, and those who read slowly.
const FILE: usize = 12 << 20;
/// What the logger may need more than without the crowd, in KiB: 32 for each connection.
const MEMORY: u64 = 32 * CLIENTS as u64;

/// It takes what is put, and reads what is posted before it asks another, who is not there.
const NGINX: &str = "dav_methods PUT; keepalive_timeout 600; location = /post { proxy_pass http://10.77.0.1:8080; }";

/// How a client is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// In its request's head.
    Head,
    /// In its request's body, which has a length.
    Body,
    /// In a body in chunks of one byte.
    Chunks,
    /// In the body of a request that must not be made twice.
    Once,
    /// In reading.
    Read,
}

struct Slow {
    kind: Kind,
    number: usize,
    talker: Talker,
    /// What it has still to say, or has read.
    text: Vec<u8>,
    said: usize,
    /// It could not say more.
    ended: bool,
}

impl Slow {
    fn new(topology: &Topology, number: usize) -> io::Result<Self> {
        let kind = match number % READS {
            0 => Kind::Read,
            other => [Kind::Head, Kind::Body, Kind::Chunks, Kind::Once][other % 4],
        };
        let mut talker = Talker::connect(topology.client())?;
        let length = format!("Content-Length: {SLOWLY}\r\n");
        let text = match kind {
            Kind::Head => {
                let filling = "x".repeat(SLOWLY);
                format!("GET /small HTTP/1.1\r\nHost: web\r\nX: {filling}\r\n\r\n")
            }
            Kind::Body => {
                talker.ask("PUT", &format!("/put{number}"), &length)?;
                "b".repeat(SLOWLY)
            }
            Kind::Chunks => {
                talker.ask(
                    "PUT",
                    &format!("/put{number}"),
                    "Transfer-Encoding: chunked\r\n",
                )?;
                "1\r\nc\r\n".repeat(SLOWLY / 6) + "0\r\n\r\n"
            }
            Kind::Once => {
                talker.ask("POST", "/post", &length)?;
                "o".repeat(SLOWLY)
            }
            Kind::Read => {
                talker.ask("GET", "/file", "")?;
                talker.head()?;
                String::new()
            }
        };
        Ok(Self {
            kind,
            number,
            talker,
            text: text.into_bytes(),
            said: 0,
            ended: false,
        })
    }

    /// A byte.
    fn step(&mut self) -> io::Result<()> {
        if self.ended {
            return Ok(());
        }
        if self.kind == Kind::Read {
            self.text.extend(self.talker.hear(1)?);
            return Ok(());
        }
        let said = self.talker.say(&self.text[self.said..=self.said]);
        self.said += 1;
        match said {
            Err(error) if has_ended(&error) => self.ended = true,
            other => other?,
        }
        Ok(())
    }

    /// See [`Self::finish`].
    fn end(self, topology: &Topology, content: &[u8]) -> Result<(), String> {
        let name = format!("{:?} {}", self.kind, self.number);
        let done = self.finish(topology, content);
        done.map_err(|error| format!("{name}: {error}"))
    }

    /// The rest at once. What it hears must be what its kind must hear.
    fn finish(mut self, topology: &Topology, content: &[u8]) -> Outcome {
        let wrong = |what: &str| format!("{:?} {}: {what}", self.kind, self.number);
        let files = topology.folder().join("files");
        let put = || std::fs::read(files.join(format!("put{}", self.number)));
        match self.kind {
            Kind::Once => {
                // Its server's death ended it: with a word of that, unless a byte that it said later met the end.
                match self.talker.answer("POST") {
                    Ok(answer) => assert_eq!(answer.status(), 502, "{}", wrong(&answer.head)),
                    Err(error) => assert!(has_ended(&error), "{}", wrong(&error.to_string())),
                }
                return Ok(());
            }
            Kind::Read => {
                self.text
                    .extend(self.talker.hear(content.len() - self.text.len())?);
                assert!(self.text == content, "{}", wrong("another file"));
                return Ok(());
            }
            Kind::Head | Kind::Body | Kind::Chunks => {}
        }
        assert!(!self.ended, "{}", wrong("ended"));
        self.talker.say(&self.text[self.said..])?;
        let answer = self.talker.answer("GET")?;
        match self.kind {
            Kind::Head => assert_eq!(answer.body, b"small\n", "{}", wrong("another file")),
            Kind::Body => assert!(put()? == [b'b'; SLOWLY], "{}", wrong("another file")),
            _ => assert!(put()? == [b'c'; SLOWLY / 6], "{}", wrong("another file")),
        }
        Ok(())
    }
}

/// The crowd at work.
struct Crowd {
    worker: JoinHandle<io::Result<Vec<Slow>>>,
    rounds: Receiver<()>,
    stop: Arc<AtomicBool>,
}

impl Crowd {
    fn start(topology: &Topology) -> io::Result<Self> {
        let crowd = (0..CLIENTS).map(|number| Slow::new(topology, number));
        let crowd = crowd.collect::<io::Result<_>>()?;
        let (tell, rounds) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let worker = std::thread::spawn(move || go_round(crowd, &tell, &stopped));
        Ok(Self {
            worker,
            rounds,
            stop,
        })
    }

    /// Until each has said so many bytes more.
    fn await_rounds(&self) -> Outcome {
        for _ in 0..ROUNDS {
            self.rounds.recv()?;
        }
        Ok(())
    }
}

fn go_round(
    mut crowd: Vec<Slow>,
    tell: &Sender<()>,
    stopped: &AtomicBool,
) -> io::Result<Vec<Slow>> {
    while !stopped.load(Ordering::Relaxed) {
        for client in &mut crowd {
            let done = client.step();
            done.map_err(|error| {
                io::Error::other(format!("{:?} {}: {error}", client.kind, client.number))
            })?;
        }
        // Nobody may listen any more.
        let _ = tell.send(());
        sleep(PACE);
    }
    Ok(crowd)
}

#[test]
fn crowd_of_slow_clients_harms_nobody() -> Outcome {
    let mut topology = Topology::build(Layout {
        kind: "http",
        nginx: NGINX,
        ..Layout::default()
    })?;
    let content = Random::new(1).bytes(FILE);
    topology.put("file", &content)?;
    topology.put("small", b"small\n")?;
    topology.serve()?;
    let before = topology.logger()?.hello()?.memory_kib;
    let crowd = Crowd::start(&topology)?;
    crowd.await_rounds()?;
    let mut client = Talker::connect(topology.client())?;
    client.ask("GET", "/file", "")?;
    client.head()?;
    let mut got = client.hear(FILE / 3)?;

    let teller = topology.victim()?.kill()?;
    teller.join().map_err(|_| "the teller panicked")??;

    got.extend(client.hear(FILE - FILE / 3)?);
    assert!(got == content, "the file is another");
    let counters = topology.wait_moved()?.counters;
    while crowd.rounds.try_recv().is_ok() {}
    crowd.await_rounds()?;
    let (memory, kept) = {
        let logger = topology.logger()?;
        (
            logger.hello()?.memory_kib,
            logger.totals(GROUP)?.counters.memory_bytes,
        )
    };
    println!("{before} KiB before, {memory} KiB with the crowd, {kept} bytes kept; {counters:?}");
    assert!(
        memory < before + MEMORY,
        "{before} KiB before, {memory} KiB"
    );
    crowd.stop.store(true, Ordering::Relaxed);
    let crowd = crowd.worker.join().map_err(|_| "the crowd panicked")??;
    let once = crowd.iter().filter(|it| it.kind == Kind::Once).count() as u64;
    let (readers, others): (Vec<_>, Vec<_>) =
        crowd.into_iter().partition(|it| it.kind == Kind::Read);
    // All readers at once: each may have to wait, for about as long as it has not read, until its server's timer runs out
    // (docs/ftlogger.md, known limits).
    let (house, content) = (&topology, &content[..]);
    std::thread::scope(|scope| {
        let finish = |slow: Slow| scope.spawn(move || slow.end(house, content));
        let readers: Vec<_> = readers.into_iter().map(finish).collect();
        let mut done = readers.into_iter().map(ScopedJoinHandle::join);
        done.try_for_each(|done| done.map_err(|_| "a reader panicked".to_owned())?)
    })?;
    for slow in others {
        slow.end(house, content)?;
    }
    let (counters, log) = topology.end_of_logger()?;
    assert_eq!((counters.lost, counters.diverged), (once, 0), "{log}");
    assert_eq!(counters.recovered, CLIENTS as u64 + 1 - once, "{log}");
    assert_eq!(counters.full_buffers + counters.full_memory, 0, "{log}");
    Ok(())
}
