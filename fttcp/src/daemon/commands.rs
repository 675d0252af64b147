// SPDX-License-Identifier: GPL-3.0-only
//! What each request of the control protocol does.

use std::fs;

use super::clock::{log, wall_ms};
use super::forwarder::Forwarder;
use crate::control::{GroupSpec, Hello, Outbound, Reply, Request, VERSION};
use crate::engine::GroupPorts;
use crate::frame::PortId;

impl Forwarder {
    /// Does what `request` asks. After [`Reply::Error`] everything is as it was.
    pub(super) fn execute(&mut self, request: Request) -> Reply {
        let done = match request {
            Request::Hello => return Reply::Hello(self.hello()),
            Request::Status { group, connections } => {
                let now = self.clock.now();
                self.engine.refresh(now, self.datapath.ports());
                return Reply::Status {
                    groups: self.engine.status(group.as_deref(), connections),
                };
            }
            Request::Protect { group } => self.protect(group),
            Request::Unprotect { group } => self.unprotect(&group),
            Request::AddStandby { group, interface } => self.add_standby(&group, interface),
            Request::Failover { group, reason } => self.failover(&group, &reason),
        };
        self.announce();
        let now = self.clock.now();
        self.engine.sync_journal(now, self.datapath.ports());
        match done {
            Ok(()) => Reply::Done,
            Err(message) => {
                log(format_args!("refused: {message}"));
                Reply::Error { message }
            }
        }
    }

    fn hello(&mut self) -> Hello {
        Hello {
            version: VERSION,
            software: concat!("ftlogger ", env!("CARGO_PKG_VERSION")).to_owned(),
            datapath: self.datapath.name().to_owned(),
            memory_kib: resident_kib(),
            ports: self.datapath.status(),
            fast: self.datapath.fast_totals(),
        }
    }

    pub(super) fn protect(&mut self, spec: GroupSpec) -> Result<(), String> {
        let mut opened = Vec::new();
        let result = self.open_group(&spec, &mut opened).and_then(|ports| {
            let text = describe(&spec);
            self.engine
                .add_group(spec, ports)
                .map_err(|error| error.to_string())?;
            log(text);
            Ok(())
        });
        if result.is_err() {
            for port in opened {
                self.abandon(port);
            }
        }
        result
    }

    /// Opens the interfaces of a group one after the other; `opened` holds those that were opened, also after an error.
    fn open_group(
        &mut self,
        spec: &GroupSpec,
        opened: &mut Vec<PortId>,
    ) -> Result<GroupPorts, String> {
        let mut open = |interface: &str| {
            let port = self.open(interface).map_err(|error| error.to_string())?;
            opened.push(port);
            Ok::<_, String>(port)
        };
        Ok(GroupPorts {
            north: open(&spec.north)?,
            active: open(&spec.active)?,
            standbys: spec
                .standbys
                .iter()
                .map(|name| open(name))
                .collect::<Result<_, _>>()?,
        })
    }

    fn unprotect(&mut self, group: &str) -> Result<(), String> {
        let ports = self
            .engine
            .remove_group(self.clock.now(), group, self.datapath.ports())
            .map_err(|error| error.to_string())?;
        log(format_args!("group {group}: ended"));
        for port in ports {
            self.close(port, "was closed");
        }
        Ok(())
    }

    fn add_standby(&mut self, group: &str, interface: String) -> Result<(), String> {
        let port = self.open(&interface).map_err(|error| error.to_string())?;
        let text = format!("group {group}: {interface} is its new standby");
        match self.engine.add_standby(group, interface, port) {
            Ok(()) => log(text),
            Err(error) => {
                self.abandon(port);
                return Err(error.to_string());
            }
        }
        Ok(())
    }

    fn failover(&mut self, group: &str, reason: &str) -> Result<(), String> {
        let now = self.clock.now();
        let ports = self.datapath.ports();
        let dead = self
            .engine
            .failover(now, wall_ms(), group, reason, ports)
            .map_err(|error| error.to_string())?;
        self.close(dead, "was closed, its server is dead");
        Ok(())
    }
}

fn describe(spec: &GroupSpec) -> String {
    let services: Vec<String> = spec
        .services
        .iter()
        .map(|service| format!("{} ({})", service.port, service.kind))
        .collect();
    let protects = if services.is_empty() {
        "protects nothing".to_owned()
    } else {
        format!("protects TCP port {}", services.join(", "))
    };
    let opened = match spec.outbound {
        Outbound::Pass => "",
        Outbound::Keep => "; keeps connections that the server opens",
        Outbound::ReIssue => "; re-issues connections that the server opens",
        Outbound::Forbid => "; forbids connections that the server opens",
    };
    format!(
        "group {}: {} <-> {}, standby {}, {protects}{opened}",
        spec.name,
        spec.north,
        spec.active,
        if spec.standbys.is_empty() {
            "none".to_owned()
        } else {
            spec.standbys.join(", ")
        },
    )
}

/// The process's resident set in KiB (proc(5), `VmRSS` of `status`); 0 if it cannot be read.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::epoll::Epoll;
    use super::*;
    use crate::datapath::{Choice, FastSettings, Settings};
    use crate::engine::EngineConfig;

    fn forwarder() -> Forwarder {
        let settings = Settings {
            choice: Choice::Packet,
            fast: FastSettings::new("unused".as_ref()),
        };
        let epoll = Rc::new(Epoll::new().unwrap());
        Forwarder::new(epoll, EngineConfig::default(), &settings).unwrap()
    }

    fn spec() -> GroupSpec {
        GroupSpec {
            name: "web".into(),
            north: "no-such-if".into(),
            active: "nor-this-one".into(),
            ..GroupSpec::default()
        }
    }

    fn refusal(reply: Reply) -> String {
        match reply {
            Reply::Error { message } => message,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn protect_missing_interface_is_refused_and_leaves_nothing() {
        let mut forwarder = forwarder();
        let message = refusal(forwarder.execute(Request::Protect { group: spec() }));
        assert!(message.contains("no-such-if"), "{message}");
        assert!(forwarder.engine.status(None, false).is_empty());
        assert!(forwarder.datapath.status().is_empty());
    }

    #[test]
    fn requests_for_unknown_group_name_it() {
        let mut forwarder = forwarder();
        let group = || "web9".to_owned();
        for request in [
            Request::Unprotect { group: group() },
            Request::Failover {
                group: group(),
                reason: String::new(),
            },
        ] {
            let message = refusal(forwarder.execute(request));
            assert!(message.contains("web9"), "{message}");
        }
    }

    #[test]
    fn hello_tells_version_and_memory() {
        let Reply::Hello(hello) = forwarder().execute(Request::Hello) else {
            panic!("no hello");
        };
        assert_eq!(hello.version, VERSION);
        assert!(hello.memory_kib > 0);
    }
}
