// SPDX-License-Identifier: GPL-3.0-only
//! What each request of the control protocol does.

use std::fs;

use super::clock::{log, wall_ms};
use super::commit;
use super::forwarder::Forwarder;
use super::wrap::{self, Lack};
use crate::control::{Grant, GroupSpec, Hello, Outbound, Reply, Request, VERSION};
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
                let mut groups = self.engine.status(group.as_deref(), connections);
                for group in &mut groups {
                    group.wrap = self.wraps.status(&group.spec.name, &group.spec.active);
                }
                return Reply::Status { groups };
            }
            Request::Protect { group } => self.protect(&group),
            Request::Unprotect { group } => self.unprotect(&group),
            Request::AddStandby { group, interface } => self.add_standby(&group, &interface),
            Request::RemoveStandby { group, interface } => self.remove_standby(&group, &interface),
            Request::WrapArea { interface, area } => self.set_area(&interface, area),
            Request::CommitPage { interface, page } => self.set_commit_page(&interface, page),
            Request::Probe { group } => {
                let now = self.clock.now();
                // What the kernel has forwarded counts.
                self.engine.refresh(now, self.datapath.ports());
                return match self.engine.probe(now, &group, self.datapath.ports()) {
                    Ok(silence) => Reply::Silence(silence),
                    Err(error) => Reply::Error {
                        message: error.to_string(),
                    },
                };
            }
            Request::Failover { group, reason } => self.failover(&group, &reason),
            Request::ServerDied {
                group,
                interface,
                reason,
            } => self.server_died(&group, &interface, &reason),
            Request::Upgrade {
                group,
                interface,
                drain_ms,
            } => self.upgrade(&group, &interface, drain_ms),
            Request::Rollback { group } => self.rollback(&group),
            Request::Finish { group } => self.finish(&group),
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
            journal_kib: self.datapath.ports().journal().map(|it| it.kib()),
            ports: self.datapath.status(),
            fast: self.datapath.fast_totals(),
        }
    }

    pub(super) fn protect(&mut self, spec: &GroupSpec) -> Result<(), String> {
        wrap::check(spec)?;
        commit::check(spec)?;
        let mut opened = Vec::new();
        let result = self.open_group(spec, &mut opened).and_then(|ports| {
            let text = describe(spec);
            self.engine
                .add_group(spec.clone(), ports.clone())
                .map_err(|error| error.to_string())?;
            self.watch_wraps(spec, &ports);
            self.commits.watch(spec);
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
        self.wraps.forget_group(group);
        self.commits.forget_group(group);
        for port in ports {
            self.close(port, "was closed");
        }
        Ok(())
    }

    fn add_standby(&mut self, group: &str, interface: &str) -> Result<(), String> {
        let port = self.open(interface).map_err(|error| error.to_string())?;
        let text = format!("group {group}: {interface} is its new standby");
        match self.engine.add_standby(group, interface.to_owned(), port) {
            Ok(()) => {
                log(text);
                if let Some(path) = self.spec(group).and_then(|spec| spec.wrap) {
                    self.wraps.watch(group, &path, interface, port);
                }
            }
            Err(error) => {
                self.abandon(port);
                return Err(error.to_string());
            }
        }
        Ok(())
    }

    fn remove_standby(&mut self, group: &str, interface: &str) -> Result<(), String> {
        let port = self
            .engine
            .standby(group, interface)
            .map_err(|error| error.to_string())?;
        if let Some(port) = port {
            self.engine.remove_standby(port);
            self.close(port, "was closed, it is no standby any more");
        }
        Ok(())
    }

    fn failover(&mut self, group: &str, reason: &str) -> Result<(), String> {
        let replaced = self.give_record(group, None);
        let now = self.clock.now();
        let ports = self.datapath.ports();
        let dead = self
            .engine
            .failover(now, wall_ms(), group, reason, ports)
            .map_err(|error| error.to_string())?;
        if replaced {
            self.order_replay(group);
        }
        self.close(dead, "was closed, its server is dead");
        Ok(())
    }
}

/// Servers that die, and servers that are left.
impl Forwarder {
    fn server_died(&mut self, group: &str, interface: &str, reason: &str) -> Result<(), String> {
        let replaced = self.give_record(group, Some(interface));
        let now = self.clock.now();
        let ports = self.datapath.ports();
        let dead = self
            .engine
            .server_died(now, wall_ms(), (group, interface), reason, ports)
            .map_err(|error| error.to_string())?;
        if replaced {
            self.order_replay(group);
        }
        self.close(dead, "was closed, its server is dead");
        Ok(())
    }

    fn upgrade(&mut self, group: &str, interface: &str, drain_ms: u32) -> Result<(), String> {
        let now = self.clock.now();
        let ports = self.datapath.ports();
        let begun = self.engine.upgrade(now, group, interface, drain_ms, ports);
        begun.map_err(|error| error.to_string())?;
        // Both servers live, each with a record of its own.
        self.wraps.order_live(group, interface);
        Ok(())
    }

    fn rollback(&mut self, group: &str) -> Result<(), String> {
        let now = self.clock.now();
        let begun = self.engine.rollback(now, group, self.datapath.ports());
        begun.map_err(|error| error.to_string())
    }

    fn finish(&mut self, group: &str) -> Result<(), String> {
        let now = self.clock.now();
        let left = self
            .engine
            .finish(now, group, self.datapath.ports())
            .map_err(|error| error.to_string())?;
        self.close(left, "was closed, its server has no connections any more");
        Ok(())
    }
}

/// What the servers' wraps have recorded.
impl Forwarder {
    fn spec(&self, group: &str) -> Option<GroupSpec> {
        let mut groups = self.engine.status(Some(group), false);
        groups.pop().map(|group| group.spec)
    }

    pub(super) fn watch_wraps(&mut self, spec: &GroupSpec, ports: &GroupPorts) {
        let Some(path) = &spec.wrap else {
            return;
        };
        let active = (&spec.active, &ports.active);
        for (interface, port) in spec.standbys.iter().zip(&ports.standbys).chain([active]) {
            self.wraps.watch(&spec.name, path, interface, *port);
        }
    }

    /// The active server of a group is dead, if it is the one at `dead`: what it had recorded goes to its replacement. Says
    /// whether that is to be ordered to begin.
    fn give_record(&mut self, group: &str, dead: Option<&str>) -> bool {
        let spec = self.spec(group).filter(|spec| spec.wrap.is_some());
        let Some(spec) = spec.filter(|spec| dead.is_none_or(|dead| dead == spec.active)) else {
            return false;
        };
        if let Some(standby) = spec.standbys.first() {
            self.wraps.give(group, &spec.active, standby);
        }
        true
    }

    /// The connections of a group are on their way to its active server, whose program may begin.
    fn order_replay(&mut self, group: &str) {
        if let Some(spec) = self.spec(group) {
            let clients = self.engine.clients(group);
            self.wraps.order(group, &spec.active, &clients);
        }
    }

    fn set_area(&mut self, interface: &str, area: Option<Grant>) -> Result<(), String> {
        let kept = self.wraps.set_area(interface, area);
        self.watch_bells();
        for group in self.wraps.groups_of(interface) {
            self.begin(&group, interface);
        }
        kept
    }

    /// The program behind `interface` may begin now, if it is the active server's.
    fn begin(&mut self, group: &str, interface: &str) {
        let active = self
            .spec(group)
            .is_some_and(|spec| spec.active == interface);
        match self.wraps.lacks(group, interface) {
            Lack::Record if active => self.order_replay(group),
            Lack::Order if active => self.wraps.order_live(group, interface),
            _ => {}
        }
    }

    /// Agents have rung: there may be room for what waits.
    pub(super) fn hear_bells(&mut self) {
        for (group, interface) in self.wraps.rung() {
            self.begin(&group, &interface);
        }
    }

    /// The logger before us may have been killed between two steps of a failover.
    pub(super) fn resume_replay(&mut self, spec: &GroupSpec) {
        let (wraps, engine) = (&mut self.wraps, &self.engine);
        if wraps.resume(&spec.name, &spec.active, || engine.clients(&spec.name)) {
            self.order_replay(&spec.name);
        }
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
    fn wraps_of_a_service_that_is_not_replayed_whole_or_of_no_file_are_refused() {
        let refused = |kind, wrap: &str| {
            let group = GroupSpec {
                wrap: Some(wrap.to_owned()),
                services: vec![crate::control::ServiceSpec::new(80, kind)],
                ..spec()
            };
            refusal(forwarder().execute(Request::Protect { group }))
        };
        assert!(refused("http", "/run/{}.record").contains("port 80"));
        assert!(refused("opaque", "/run/record").contains("/run/record"));
        // Only the interface is missing then.
        assert!(refused("opaque", "/run/{}.record").contains("no-such-if"));
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
