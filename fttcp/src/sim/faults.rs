// SPDX-License-Identifier: GPL-3.0-only
//! What a scenario does to servers: they die, they are given up, they come back.

use super::Death;
use super::logger::{Logger, Step};
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
        let swapped = self.scenario.upgrade.is_some_and(|plan| plan.new_dies) && self.crashed < 2;
        let port = if swapped {
            self.line[1 - self.crashed]
        } else {
            port
        };
        self.crashed += 1;
        self.dying.push_back(port);
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

    /// Does the next step of the upgrade, if its time has come.
    pub(super) fn upgrade_if_due(&mut self, event: u64, logger: &mut Logger, sent: &mut Sent) {
        let Some(plan) = self.scenario.upgrade else {
            return;
        };
        let to = self.line[1];
        let steps = [
            (Some(plan.at_event), Step::Begin(to, plan.drain_us)),
            (plan.rollback_at, Step::Rollback),
            (plan.finish_at, Step::Finish),
        ];
        while let Some((at, step)) = steps.get(self.steps)
            && at.is_none_or(|at| event >= at)
        {
            self.steps += 1;
            if at.is_some() {
                // The operator does not know yet who has died, and is refused what cannot be.
                let _ = logger.planned(self.now, GROUP, *step, sent);
                if *step != Step::Finish {
                    self.lights(logger);
                }
                self.take_sent(sent, false);
                self.lights(logger);
            }
        }
    }

    fn lights(&mut self, logger: &Logger) {
        let [active, left] = logger.lit();
        self.active = active.unwrap_or(self.active);
        self.left = left;
    }

    fn server_died(&mut self, logger: &mut Logger, sent: &mut Sent) {
        let Some(port) = self.dying.pop_front() else {
            return;
        };
        match logger.server_died(self.now, (GROUP, port), sent) {
            Ok(_) | Err(EngineError::NoSuchServer { .. }) => {
                self.places[port.0 as usize - 1].silent = true;
                self.lights(logger);
            }
            Err(error) => panic!("{error}"),
        }
    }

    pub(super) fn fail_over(&mut self, logger: &mut Logger, sent: &mut Sent) {
        if self.scenario.upgrade.is_some() {
            return self.server_died(logger, sent);
        }
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
