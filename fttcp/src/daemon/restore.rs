// SPDX-License-Identifier: GPL-3.0-only
//! Going on where a logger before us was when it died or was ended.

use std::path::Path;
use std::time::Instant;

use super::DaemonError;
use super::clock::log;
use super::forwarder::Forwarder;
use crate::control::GroupSpec;
use crate::engine::{GroupPorts, Image};
use crate::frame::PortId;
use crate::journal::file::JournalFile;

impl Forwarder {
    /// Takes over what the journal at `path` tells, and keeps it from now on.
    ///
    /// # Errors
    /// The journal belongs to another process, or the file system refuses.
    pub(super) fn restore(&mut self, path: &Path) -> Result<(), DaemonError> {
        let began = Instant::now();
        let (mut journal, image) = JournalFile::open(path)?;
        self.wraps.keep_areas(&path.with_extension("areas"));
        self.commits.keep_at(&path.with_extension("commits"));
        self.watch_bells();
        if let Some(unusable) = journal.take_failure() {
            log(format_args!("{unusable}"));
        }
        if journal.is_on_disk() {
            log(format_args!(
                "journal {} is on a disk, which makes uploads slower; --journal in a tmpfs (/run, /dev/shm) is as safe, since it \
                 is to survive this process only",
                path.display()
            ));
        }
        if let Some(image) = image {
            // The next start would fare no better with it.
            self.take_in(image, began)
                .or_else(|error| journal.put_aside().map_err(Into::into).and(Err(error)))?;
        }
        self.datapath.ports().set_journal(journal);
        Ok(())
    }

    /// Begins to write the journal. What the fast path holds of connections that are not known is given up.
    pub(super) fn start_journal(&mut self) {
        self.drop_leftovers();
        let now = self.clock.now();
        let ports = self.datapath.ports();
        if ports.journal().is_some() {
            self.engine.start_journal(now, ports);
        }
    }

    fn take_in(&mut self, image: Image, began: Instant) -> Result<(), DaemonError> {
        let specs: Vec<GroupSpec> = image.groups().cloned().collect();
        let mut opened = Vec::new();
        for spec in specs {
            opened.push(self.reopen(spec));
        }
        let now = self.clock.now();
        let open = |spec: &mut GroupSpec| {
            let known = opened.iter().find(|(known, _)| known.name == spec.name);
            known.map(|(known, ports)| {
                spec.standbys.clone_from(&known.standbys);
                ports.clone()
            })
        };
        let done = self.engine.import(now, image, open, self.datapath.ports());
        let imported = done.map_err(|error| DaemonError::Group {
            name: "from the journal".to_owned(),
            message: error.to_string(),
        })?;
        for (spec, ports) in &opened {
            log(format_args!("group {}: restored", spec.name));
            self.watch_wraps(spec, ports);
            self.commits.watch(spec);
            self.resume_replay(spec);
        }
        log(format_args!(
            "restored {} groups and {} connections from the journal in {} ms",
            imported.groups,
            imported.connections,
            began.elapsed().as_millis()
        ));
        Ok(())
    }

    /// Opens the interfaces of a group that was protected before. One of a server that has gone meanwhile is missed
    /// by the next failover only; a standby without interface leaves the group.
    fn reopen(&mut self, mut spec: GroupSpec) -> (GroupSpec, GroupPorts) {
        let north = self.reopen_one(&spec.name, &spec.north);
        let active = self.reopen_one(&spec.name, &spec.active);
        let mut standbys = Vec::new();
        for interface in std::mem::take(&mut spec.standbys) {
            match self.open(&interface) {
                Ok(port) => {
                    spec.standbys.push(interface);
                    standbys.push(port);
                }
                Err(error) => log(format_args!(
                    "group {}: has a standby less: {error}",
                    spec.name
                )),
            }
        }
        let ports = GroupPorts {
            north,
            active,
            standbys,
        };
        (spec, ports)
    }

    fn reopen_one(&mut self, group: &str, interface: &str) -> PortId {
        self.open(interface).unwrap_or_else(|error| {
            log(format_args!("group {group}: {error}"));
            self.datapath.reserve()
        })
    }
}
