// SPDX-License-Identifier: GPL-3.0-only
//! Clients beside wrk that note when each of their requests was answered, so that a part of a run can be looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::netns::http::Connection;
use crate::netns::topology::Topology;

/// How many there are, with a connection each.
const CLIENTS: usize = 4;

/// One request: when it was made, and how long its answer took, in ms.
type Asked = (Instant, f64);

/// See the module's text.
#[derive(Debug)]
pub(super) struct Probe {
    ended: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Result<Vec<Asked>, String>>>,
}

impl Probe {
    /// Begins to ask for `file`, again and again.
    pub(super) fn start(topology: &Topology, file: &'static str) -> Result<Self, String> {
        let ended = Arc::new(AtomicBool::new(false));
        let clients = (0..CLIENTS).map(|_| {
            let mut connection = Connection::open(topology.client(), 80)?;
            let ended = Arc::clone(&ended);
            Ok(thread::spawn(move || {
                let mut all = Vec::new();
                while !ended.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    connection.ask(file, &[])?;
                    let status = connection.answer()?.status;
                    if status != 200 {
                        return Err(format!("a request was answered with {status}"));
                    }
                    all.push((start, start.elapsed().as_secs_f64() * 1e3));
                }
                Ok(all)
            }))
        });
        Ok(Self {
            clients: clients.collect::<Result<_, String>>()?,
            ended: Arc::clone(&ended),
        })
    }

    /// Ends them. What each request took, in ms: of those that were under way between `from` and `to`, and of the others.
    pub(super) fn end(self, from: Instant, to: Instant) -> Result<[Vec<f64>; 2], String> {
        self.ended.store(true, Ordering::Relaxed);
        let (mut within, mut others) = (Vec::new(), Vec::new());
        for client in self.clients {
            let all = client.join().map_err(|_| "a client panicked")??;
            for (start, took) in all {
                let over = start + Duration::from_secs_f64(took / 1e3);
                if over >= from && start <= to {
                    within.push(took);
                } else {
                    others.push(took);
                }
            }
        }
        Ok([within, others])
    }
}
