// SPDX-License-Identifier: GPL-3.0-only
//! Where a server's record is: in a file of this host, or in memory that another domain grants.
//!
//! The file is read and written, not mapped: one whose other end makes it shorter must not end the logger. Granted memory is
//! copied for a like reason (`area`).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::area::Area;
use super::header::{HEADER, Header, RECORDS, word};

/// See the module's text.
#[derive(Debug)]
pub(super) enum Place {
    /// A file, which may not be there yet.
    File { path: PathBuf, file: Option<File> },
    /// Memory of the server's domain, if that grants any yet.
    Granted(Option<Area>),
}

impl Place {
    /// `None`: nobody has begun a record here yet. Of granted memory there is a header from the beginning.
    pub(super) fn header(&mut self) -> io::Result<Option<Header>> {
        match self {
            Self::File { path, file } => {
                let file = match open(path, file) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    other => other?,
                };
                let mut bytes = [0; HEADER as usize];
                match file.read_exact_at(&mut bytes, 0) {
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                    other => other?,
                }
                Ok(Some(Header::parse(&bytes)).filter(|header| header.begun))
            }
            Self::Granted(None) => Ok(None),
            Self::Granted(Some(area)) => area.header().map(Some),
        }
    }

    pub(super) fn read(&mut self, at: u64, into: &mut [u8]) -> io::Result<()> {
        match self {
            Self::File { path, file } => open(path, file)?.read_exact_at(into, at),
            Self::Granted(Some(area)) => area.read(at, into),
            Self::Granted(None) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn write(&mut self, at: u64, from: &[u8]) -> io::Result<()> {
        match self {
            Self::File { path, file } => open(path, file)?.write_all_at(from, at),
            Self::Granted(Some(area)) => area.write(at, from),
            Self::Granted(None) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn put(&mut self, word: u64, value: u64) -> io::Result<()> {
        self.write(word * 8, &value.to_le_bytes())
    }

    /// Its program is to look. Who waits at a file is told by the kernel that it was written.
    pub(super) fn ring(&self) {
        if let Self::Granted(Some(area)) = self {
            area.ring();
        }
    }

    /// Room that a record of so many bytes and these clients take; a file has it.
    pub(super) fn needs(record: usize, clients: &BTreeSet<SocketAddr>) -> u64 {
        clients_at(record as u64) + 8 + text(clients).len() as u64
    }

    /// Tells for the `times`th time which clients there are, behind a record of `bytes`.
    pub(super) fn tell(
        &mut self,
        clients: &BTreeSet<SocketAddr>,
        bytes: u64,
        times: u64,
    ) -> io::Result<()> {
        let text = text(clients);
        match self {
            Self::File { path, .. } => {
                let mut name = path.clone().into_os_string();
                name.push(".clients");
                let mut new = name.clone();
                new.push(".new");
                fs::write(&new, text)?;
                fs::rename(new, name)?;
            }
            Self::Granted(_) => {
                self.put(word::TELLING, times)?;
                // A program that records by now writes where the text would be; it has looked at the word before.
                let records = |header: Header| header.begun && header.state == RECORDS;
                if !self.header()?.is_some_and(records) {
                    let length = (text.len() as u64).to_le_bytes();
                    self.write(clients_at(bytes), &[&length, text.as_bytes()].concat())?;
                }
            }
        }
        self.put(word::TOLD, times)
    }

    /// What it is, for messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File { path, .. } => path.display().to_string(),
            Self::Granted(None) => "memory that its domain grants".to_owned(),
            Self::Granted(Some(area)) => format!("memory of domain {}", area.place.domain),
        }
    }
}

/// Where the clients' text is in granted memory: its length, then it.
const fn clients_at(record: u64) -> u64 {
    (HEADER + record).next_multiple_of(8)
}

fn text(clients: &BTreeSet<SocketAddr>) -> String {
    let mut text = String::new();
    for client in clients {
        let _ = writeln!(text, "{client}");
    }
    text
}

fn open<'a>(path: &PathBuf, file: &'a mut Option<File>) -> io::Result<&'a File> {
    match file {
        Some(file) => Ok(file),
        none => Ok(none.insert(OpenOptions::new().read(true).write(true).open(path)?)),
    }
}
