// SPDX-License-Identifier: GPL-3.0-only
//! What a scenario does to servers: they die, they are given up, they come back.

use super::Death;
use super::logger::Logger;
use super::path::Sent;
use super::world::{GROUP, NORTH, Place, Target, World};
use crate::engine::EngineError;
use crate::frame::PortId;

/// How long the operator waits for a standby when there is none, in microseconds.
const WAIT_US: u64 = 1000;

impl World<'_> {
    /// The next server in line dies, if its time has come.
    pub(super) fn crash_if_due(&mut self, event: u64) {
        let Some(&crash) = self.scenario.crashes.get(self.crashed) else {
            return;
        };
        let Some(&port) = self
            .line
            .get(self.crashed)
            .filter(|_| event >= crash.at_event)
        else {
            return;
        };
        self.crashed += 1;
        if crash.death == Death::Silent {
            self.silence(port);
        } else {
            let place = &mut self.places[port.0 as usize - 1];
            if place.end.is_some() {
                self.kill(port, crash.death);
                self.run_server(port);
            } else {
                // Nothing has reached it yet, and nothing will be answered.
                place.silent = true;
            }
        }
        self.push(crash.detect_us, Target::Failover, Vec::new());
    }

    fn kill(&mut self, port: PortId, death: Death) {
        self.note_violations(port);
        if let Some(end) = &mut self.places[port.0 as usize - 1].end {
            end.die(death);
        }
    }

    fn silence(&mut self, port: PortId) {
        self.places[port.0 as usize - 1].silent = true;
        let gone = Target::Engine(port);
        self.queue.retain(|entry| entry.0.2 != gone);
    }

    pub(super) fn fail_over(&mut self, logger: &mut Logger, sent: &mut Sent) {
        match logger.failover(self.now, GROUP, sent) {
            Ok(dead) => {
                self.places[dead.0 as usize - 1].silent = true;
                self.failed += 1;
                self.active = self.line[self.failed];
                self.checker.failover();
                if let Some(after) = self.scenario.rejoin_us {
                    self.push(after, Target::Rejoin(dead), Vec::new());
                }
            }
            Err(EngineError::NoStandby(_)) => self.push(WAIT_US, Target::Failover, Vec::new()),
            Err(error) => panic!("{error}"),
        }
    }

    /// A dead server is made anew, on its old port, and is the last standby now.
    pub(super) fn rejoin(&mut self, logger: &mut Logger, sent: &mut Sent, port: PortId) {
        assert_ne!(port, NORTH);
        self.note_violations(port);
        let number = self.next_number();
        self.places[port.0 as usize - 1] = Place {
            end: None,
            number,
            silent: false,
            wake: None,
        };
        let (here, from) = (Target::Server(port), Target::Engine(port));
        self.queue
            .retain(|entry| entry.0.2 != here && entry.0.2 != from);
        logger.add_standby(self.now, GROUP, port, sent);
        self.line.push(port);
    }
}
