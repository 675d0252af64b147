// SPDX-License-Identifier: GPL-3.0-only
//! The records of the servers' north side wraps: copied before what depends on them is sent on, and handed to a replacement.
//!
//! A wrap (guest-driver/wrap) writes what its program could not compute into a file that is memory, and publishes it before
//! the `send` that depends on it. So when a frame of that server is here, its records are there: they are copied, and then
//! the frame is sent on. That is the output commit, without a message and without a wait. The copy is the logger's own, and
//! is what counts when the server is dead: of a dead server's file nothing is believed.
//!
//! The header's words are told in `guest-driver/wrap/src/record.rs`. The file is read and written, not mapped: one whose other
//! end makes it shorter must not end the logger.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::clock::log;
use crate::control::{GroupSpec, WrapStatus};
use crate::frame::PortId;
use crate::service::KINDS;

/// As in the wrap's `record`.
const MAGIC: u64 = u64::from_le_bytes(*b"rxlwrap2");
const HEADER: u64 = 128;
const BYTES: u64 = 1;
const RECORDS: u64 = 2;
const ORDER: u64 = 5;
const TOLD: u64 = 6;
const LIVE: u64 = 1;
const REPLAY: u64 = 2;
const WAITS: u64 = 1;
const REPLAYS: u64 = 2;

/// Longest record that is kept of one server, in bytes: as long as a wrap's gets unless it is told otherwise.
const MAX_BYTES: u64 = 64 << 20;

/// The words of a record's header that the logger reads.
#[derive(Clone, Copy, Debug)]
struct Header {
    bytes: u64,
    records: u64,
    calls: u64,
    ended: bool,
    order: u64,
    told: u64,
    state: u64,
    generation: u64,
}

impl Header {
    /// `None`: nobody has begun a record here yet.
    fn read(file: &File) -> io::Result<Option<Self>> {
        let mut bytes = [0; HEADER as usize];
        match file.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let word = |index: usize| {
            let word = bytes
                .chunks_exact(8)
                .nth(index)
                .and_then(|it| it.first_chunk());
            word.map_or(0, |word| u64::from_le_bytes(*word))
        };
        Ok((word(0) == MAGIC).then(|| Self {
            bytes: word(1),
            records: word(2),
            calls: word(3),
            ended: word(4) != 0,
            order: word(5),
            told: word(6),
            state: word(7),
            generation: word(8),
        }))
    }
}

/// One server's record.
#[derive(Debug)]
struct Server {
    port: PortId,
    group: String,
    interface: String,
    path: PathBuf,
    file: Option<File>,
    /// Of the program whose record is copied; 0: none yet.
    generation: u64,
    copy: Vec<u8>,
    records: u64,
    calls: u64,
    ended: bool,
    /// It replays, and knows these clients.
    told: Option<BTreeSet<SocketAddr>>,
    /// How often clients were told.
    times: u64,
}

impl Server {
    fn open(&mut self) -> io::Result<&File> {
        if self.file.is_none() {
            let file = OpenOptions::new().read(true).write(true).open(&self.path)?;
            self.file = Some(file);
        }
        self.file
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn header(&mut self) -> io::Result<Option<Header>> {
        match self.open() {
            Ok(file) => Header::read(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn put(&mut self, word: u64, value: u64) -> io::Result<()> {
        self.open()?.write_all_at(&value.to_le_bytes(), word * 8)
    }

    /// Copies what is new; how many records and bytes that were.
    fn take(&mut self) -> io::Result<(u64, u64)> {
        let nothing = Ok((0, 0));
        let Some(header) = self.header()? else {
            return nothing;
        };
        if header.state == WAITS || (self.ended && header.generation == self.generation) {
            return nothing;
        }
        if header.generation != self.generation {
            // Another program, with another record.
            (self.generation, self.ended) = (header.generation, false);
            self.copy = Vec::new();
            self.records = 0;
        }
        self.calls = header.calls;
        let have = self.copy.len();
        let new = header.bytes.saturating_sub(have as u64);
        let too_long = header.bytes > MAX_BYTES;
        if header.ended || too_long {
            let why = if too_long {
                "it is too long"
            } else {
                "its program says so"
            };
            log(format_args!(
                "group {}: the record of {} has ended, because {why}: a replacement will begin anew",
                self.group, self.interface
            ));
            self.ended = true;
            self.copy = Vec::new();
            return nothing;
        }
        if new == 0 {
            return nothing;
        }
        self.copy.resize(header.bytes as usize, 0);
        let Self { file, copy, .. } = self;
        let read = file.as_ref().map_or(Ok(()), |file| {
            file.read_exact_at(&mut copy[have..], HEADER + have as u64)
        });
        if let Err(error) = read {
            self.copy.truncate(have);
            return Err(error);
        }
        let records = header.records.saturating_sub(self.records);
        self.records = header.records;
        Ok((records, new))
    }

    /// Tells the program which clients there are.
    fn tell(&mut self, clients: BTreeSet<SocketAddr>) -> io::Result<()> {
        let mut text = String::new();
        for client in &clients {
            let _ = writeln!(text, "{client}");
        }
        let mut name = self.path.clone().into_os_string();
        name.push(".clients");
        let mut new = name.clone();
        new.push(".new");
        fs::write(&new, text)?;
        fs::rename(new, name)?;
        self.told = Some(clients);
        self.times += 1;
        self.put(TOLD, self.times)
    }
}

/// The records of all groups.
#[derive(Debug, Default)]
pub(super) struct Wraps {
    servers: Vec<Server>,
    totals: BTreeMap<String, WrapStatus>,
}

/// Why a group's servers cannot be wrapped as it says.
pub(super) fn check(spec: &GroupSpec) -> Result<(), String> {
    let (group, Some(path)) = (&spec.name, &spec.wrap) else {
        return Ok(());
    };
    // A program that is replayed from its beginning must be told all that it was told.
    if let Some(service) = spec.services.iter().find(|it| it.kind != KINDS[0]) {
        let (port, kind) = (service.port, &service.kind);
        return Err(format!(
            "group {group}: port {port}: servers with a wrap are replayed from their beginning, which {kind} is not; give \
             {} as its kind, or leave out wrap",
            KINDS[0]
        ));
    }
    let fits = path.starts_with('/') && path.matches("{}").count() == 1;
    fits.then_some(()).ok_or_else(|| {
        format!(
            "group {group}: wrap = {path}: expected an absolute path with {{}} once, for the server's interface, \
             such as /run/rxl/{{}}.record"
        )
    })
}

impl Wraps {
    /// The record of the server behind `interface`, whose frames come at `port`, is where `template` says.
    pub(super) fn watch(&mut self, group: &str, template: &str, interface: &str, port: PortId) {
        self.totals.entry(group.to_owned()).or_default();
        self.servers.push(Server {
            port,
            group: group.to_owned(),
            interface: interface.to_owned(),
            path: template.replace("{}", interface).into(),
            file: None,
            generation: 0,
            copy: Vec::new(),
            records: 0,
            calls: 0,
            ended: false,
            told: None,
            times: 0,
        });
    }

    /// The interface is closed.
    pub(super) fn forget(&mut self, port: PortId) {
        self.servers.retain(|server| server.port != port);
    }

    /// The group has ended.
    pub(super) fn forget_group(&mut self, group: &str) {
        self.servers.retain(|server| server.group != group);
        self.totals.remove(group);
    }

    /// Frames of the server at `port` have come: what they depend on is copied.
    pub(super) fn commit(&mut self, port: PortId) {
        let Some(server) = self.servers.iter_mut().find(|server| server.port == port) else {
            return;
        };
        let Some(totals) = self.totals.get_mut(&server.group) else {
            return;
        };
        totals.looks += 1;
        match server.take() {
            Ok((0, 0)) => {}
            Ok((records, bytes)) => {
                totals.copies += 1;
                totals.records += records;
                totals.bytes += bytes;
            }
            Err(error) => {
                log(format_args!(
                    "group {}: cannot read the record of {} in {}: {error}; a replacement will begin anew",
                    server.group,
                    server.interface,
                    server.path.display()
                ));
                (server.ended, server.copy) = (true, Vec::new());
            }
        }
    }

    fn find(&mut self, group: &str, interface: &str) -> Option<&mut Server> {
        let mut servers = self.servers.iter_mut();
        servers.find(|server| server.group == group && server.interface == interface)
    }

    /// Gives the record of the server behind `from` to the program behind `to`, which waits: everything but the order to
    /// begin. It is given before the connections are moved, so that a logger that is killed meanwhile can give the order
    /// when it is started again.
    pub(super) fn give(&mut self, group: &str, from: &str, to: &str) {
        let Some(source) = self.find(group, from) else {
            return;
        };
        let usable = !source.ended && source.generation != 0;
        let (copy, records) = (std::mem::take(&mut source.copy), source.records);
        let Some(target) = self.find(group, to) else {
            return;
        };
        let mut give = || {
            let Some(header) = target
                .header()?
                .filter(|it| it.state == WAITS && it.order == 0)
            else {
                return Ok(false);
            };
            if !usable {
                return Ok(false);
            }
            target.open()?.write_all_at(&copy, HEADER)?;
            target.put(RECORDS, records)?;
            target.put(BYTES, copy.len() as u64)?;
            target.generation = header.generation;
            Ok::<_, io::Error>(true)
        };
        match give() {
            Ok(true) => (target.copy, target.records) = (copy, records),
            // Whether the failover takes place is not known yet.
            Ok(false) => {
                if let Some(source) = self.find(group, from) {
                    source.copy = copy;
                }
            }
            Err(error) => log(format_args!(
                "group {group}: cannot write the record for {to} into {}: {error}; it will begin anew",
                target.path.display()
            )),
        }
    }

    /// Orders the program behind `to`, if it waits, to begin: with the record that it was given, and these clients.
    pub(super) fn order(&mut self, group: &str, to: &str, clients: BTreeSet<SocketAddr>) {
        let Some(target) = self.find(group, to) else {
            return;
        };
        let count = clients.len();
        let order = || {
            let Some(header) = target
                .header()?
                .filter(|it| it.state == WAITS && it.order == 0)
            else {
                return Ok(None);
            };
            if header.bytes == 0 {
                target.put(ORDER, LIVE)?;
                return Ok(Some(0));
            }
            target.tell(clients)?;
            target.put(ORDER, REPLAY)?;
            Ok::<_, io::Error>(Some(header.records))
        };
        let done = order();
        let Some(totals) = self.totals.get_mut(group) else {
            return;
        };
        match done {
            Ok(Some(0)) => {
                totals.missing += 1;
                log(format_args!(
                    "group {group}: there is no record for {to}: its program begins anew"
                ));
            }
            Ok(Some(records)) => {
                totals.handed += 1;
                log(format_args!(
                    "group {group}: {to} replays {records} records, with {count} connections that come again"
                ));
            }
            Ok(None) => {
                totals.missing += 1;
                log(format_args!(
                    "group {group}: no program at {to} waits for a record"
                ));
            }
            Err(error) => log(format_args!(
                "group {group}: cannot tell {to} of its record: {error}"
            )),
        }
    }

    /// After a restart of the logger: whether the program behind `interface` has its order yet to get. One that replays is told
    /// its clients again.
    pub(super) fn resume(
        &mut self,
        group: &str,
        interface: &str,
        clients: impl FnOnce() -> BTreeSet<SocketAddr>,
    ) -> bool {
        let Some(server) = self.find(group, interface) else {
            return false;
        };
        let Ok(Some(header)) = server.header() else {
            return false;
        };
        let begins = header.state == WAITS && header.order == REPLAY;
        if begins || header.state == REPLAYS {
            server.times = header.told;
            if let Err(error) = server.tell(clients()) {
                log(format_args!(
                    "group {group}: cannot tell {interface} which clients there are: {error}"
                ));
            }
        }
        header.state == WAITS && header.order == 0
    }

    /// Orders the program behind `to`, if it waits, to begin anew.
    pub(super) fn order_live(&mut self, group: &str, to: &str) {
        let Some(target) = self.find(group, to) else {
            return;
        };
        let waits = target.header().ok().flatten();
        if waits.is_some_and(|it| it.state == WAITS && it.order == 0)
            && let Err(error) = target.put(ORDER, LIVE)
        {
            log(format_args!(
                "group {group}: cannot tell {to} to begin: {error}"
            ));
        }
    }

    /// Clients that have gone are told to programs that replay. `living` gives those of a group.
    pub(super) fn follow(&mut self, living: impl Fn(&str) -> BTreeSet<SocketAddr>) {
        for server in &mut self.servers {
            let Some(told) = &server.told else {
                continue;
            };
            let living: BTreeSet<_> = living(&server.group).intersection(told).copied().collect();
            let changed = living.len() < told.len();
            let state = match server.header() {
                Ok(Some(header)) => header.state,
                _ => 0,
            };
            if state != WAITS && state != REPLAYS {
                server.told = None;
                log(format_args!(
                    "group {}: {} has replayed its record",
                    server.group, server.interface
                ));
            } else if changed && let Err(error) = server.tell(living) {
                log(format_args!(
                    "group {}: cannot tell {} which clients have gone: {error}",
                    server.group, server.interface
                ));
            }
        }
    }

    /// The totals of a group, if its servers have wraps.
    pub(super) fn status(&self, group: &str, active: &str) -> Option<WrapStatus> {
        let totals = *self.totals.get(group)?;
        let mut servers = self.servers.iter();
        let server = servers.find(|it| it.group == group && it.interface == active);
        Some(server.map_or(totals, |server| WrapStatus {
            kept: server.copy.len() as u64,
            calls: server.calls,
            ended: server.ended,
            ..totals
        }))
    }
}
