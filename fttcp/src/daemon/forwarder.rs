// SPDX-License-Identifier: GPL-3.0-only
//! Engine and data path together: what comes in goes to the engine, what the engine sends goes out.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::clock::{Clock, log};
use super::epoll::{Epoll, Token};
use crate::control::PortStatus;
use crate::datapath::{DataPath, OpenError, Received};
use crate::engine::{Engine, EngineConfig};
use crate::frame::PortId;

/// The part of the daemon that forwards frames and that requests act on.
#[derive(Debug)]
pub(super) struct Forwarder {
    pub(super) clock: Clock,
    pub(super) datapath: DataPath,
    pub(super) engine: Engine,
    epoll: Rc<Epoll>,
}

impl Forwarder {
    /// A forwarder without groups, whose ports will be watched by `epoll`.
    pub(super) fn new(epoll: Rc<Epoll>, limits: EngineConfig) -> io::Result<Self> {
        let datapath = DataPath::new()?;
        epoll.watch(datapath.changes(), Token::Links)?;
        Ok(Self {
            clock: Clock::start(),
            datapath,
            engine: Engine::new(limits),
            epoll,
        })
    }

    /// Opens an interface and waits for its frames.
    pub(super) fn open(&mut self, interface: &str) -> Result<PortId, OpenError> {
        let port = self.datapath.open(interface)?;
        let watched = match self.datapath.descriptor(port) {
            Some(descriptor) => self.epoll.watch(descriptor, Token::Port(port)),
            None => Ok(()),
        };
        watched.map(|()| port).map_err(|source| {
            self.abandon(port);
            OpenError::Failed {
                action: "wait for frames of",
                interface: interface.to_owned(),
                source,
            }
        })
    }

    /// Closes an interface and says what went through it.
    pub(super) fn close(&mut self, port: PortId, why: &str) {
        if let Some(status) = &self.abandon(port) {
            log(Totals { status, why });
        }
    }

    /// Closes an interface without a word.
    pub(super) fn abandon(&mut self, port: PortId) -> Option<PortStatus> {
        // The socket may live on for a moment, but must not wake the loop.
        self.epoll.forget(self.datapath.descriptor(port)?);
        self.datapath.close(port)
    }

    /// Takes the frames that wait at `port`.
    pub(super) fn receive(&mut self, port: PortId) {
        let (engine, now) = (&mut self.engine, self.clock.now());
        let received = self.datapath.receive(port, |frame, offload, ports| {
            engine.handle_frame(now, port, frame, offload, ports);
        });
        match received {
            // What is left wakes the loop again, after the other ports have had their turn.
            Received::More | Received::All => {}
            Received::Down => {
                let interface = self.datapath.interface(port).unwrap_or_default();
                log(format_args!(
                    "interface {interface} was set down; it is used again when it is up"
                ));
            }
        }
    }

    /// Closes the ports whose interfaces were removed, as a domain's is when the domain ends. One that comes by the
    /// same name later is another: it is used when it is asked for.
    pub(super) fn look_at_links(&mut self) {
        for port in self.datapath.removed() {
            self.close(port, "was removed");
            if let Some(group) = self.engine.remove_standby(port) {
                log(format_args!("group {group}: has a standby less"));
            }
        }
    }

    /// Lets the engine do what has become due.
    pub(super) fn handle_timeout(&mut self) {
        let Some(due) = self.engine.next_timeout() else {
            return;
        };
        let now = self.clock.now();
        if due <= now {
            self.engine.handle_timeout(now, self.datapath.ports());
        }
    }

    /// How long until the engine has something to do; `None`: it waits for frames only.
    pub(super) fn patience(&self) -> Option<Duration> {
        Some(self.engine.next_timeout()?.since(self.clock.now()))
    }

    /// Logs what the engine has to say.
    pub(super) fn say_events(&mut self) {
        while let Some(event) = self.engine.poll_event() {
            log(event);
        }
    }

    /// Logs the totals of every open interface.
    pub(super) fn say_totals(&mut self) {
        for status in &self.datapath.status() {
            log(Totals {
                status,
                why: "was open",
            });
        }
    }
}

struct Totals<'a> {
    status: &'a PortStatus,
    why: &'a str,
}

impl fmt::Display for Totals<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PortStatus {
            interface,
            received,
            sent,
            receive_drops,
            send_drops,
        } = self.status;
        write!(
            f,
            "interface {interface} {}: {received} frames received, {sent} sent, lost {receive_drops} on the way in \
             and {send_drops} on the way out",
            self.why
        )
    }
}
