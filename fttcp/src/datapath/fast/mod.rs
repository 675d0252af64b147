// SPDX-License-Identifier: GPL-3.0-only
//! The fast path: a tc-BPF program at each port that forwards by itself (`bpf/fastpath.bpf.c`), and its maps.
//!
//! Who lives here: loading and attaching ([`FastPath`]), the maps' layouts (`maps`), the folder in which they outlive
//! us (`bpffs`). The program and its maps stay at work when the logger dies; the next one at the same control socket
//! takes the maps over and replaces the program without a gap. After an orderly end nothing is left.

mod bpffs;
mod clsact;
mod maps;
mod ring;
mod tables;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aya::maps::{Array, HashMap, MapData, PerCpuArray, RingBuf};
use aya::programs::links::Link;
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact,
};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType};
use aya::{Ebpf, EbpfLoader};

use crate::machine;
use maps::{FLOW, KEY};
use ring::Ring;

/// The compiled program.
static PROGRAM: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/fastpath.bpf.o"));

/// The program's place at an interface, by which the next logger finds it.
const PRIORITY: u16 = 1;
const HANDLE: TcHandle = TcHandle::new(0, 1);

/// What there is to choose.
#[derive(Clone, Debug)]
pub struct FastSettings {
    /// The BPF file system in which the maps are kept.
    pub bpffs: PathBuf,
    /// Whose they are: the control socket of the logger.
    pub socket: PathBuf,
    /// Size of the ring through which bytes are copied out; a power of two, at least 128 KiB.
    pub ring: u32,
    /// Whether connections to protected services are forwarded unprotected while no logger is there.
    pub fail_open: bool,
}

impl FastSettings {
    /// The smallest ring: the longest record must fit, and another.
    pub const MIN_RING: u32 = 128 << 10;
    /// The usual ring is at most this long ...
    const MOST_RING: u64 = 32 << 20;
    /// ... and this part of the memory that there is.
    const PART: u64 = 32;

    /// The usual choice for the logger that listens at `socket`.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            bpffs: bpffs::DEFAULT.into(),
            socket: socket.to_owned(),
            ring: Self::usual_ring(machine::memory()),
            fail_open: false,
        }
    }

    /// How long a ring is with so many bytes of memory. It takes what comes while the logger is busy: a quarter of a
    /// second at 1 Gbit/s, with 1 GiB.
    fn usual_ring(memory: u64) -> u32 {
        let most = (memory / Self::PART).clamp(u64::from(Self::MIN_RING), Self::MOST_RING);
        1 << most.ilog2()
    }
}

/// Why the fast path cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FastError {
    /// There is no place for its maps.
    #[error("no BPF file system at {path}: {source}", path = path.display())]
    NoFolder {
        /// Where it was looked for.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel does not take the maps or the program.
    #[error("the kernel refuses the program: {0}")]
    Refused(String),
    /// The program cannot be attached to an interface.
    #[error("the program cannot be attached (it needs sch_ingress and cls_bpf): {0}")]
    NotAttached(String),
}

/// The loaded program and its maps.
pub(super) struct FastPath {
    program: Ebpf,
    ports: HashMap<MapData, u32, [u32; 4]>,
    services: HashMap<MapData, [u32; 2], u32>,
    flows: HashMap<MapData, [u32; KEY], [u32; FLOW]>,
    control: Array<MapData, [u64; 2]>,
    stats: PerCpuArray<MapData, u64>,
    ring: Ring<RingBuf<MapData>>,
    /// Connections that were taken back, whose last state stays in the maps until it is in the journal.
    taken: Vec<[u32; KEY]>,
    dir: PathBuf,
    settings: FastSettings,
    known: BTreeMap<u32, Vec<u32>>,
    attended: Option<Instant>,
    look: Duration,
}

impl fmt::Debug for FastPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FastPath")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// What the kernel's verifier said last: which rule the program breaks. The whole is thousands of lines.
fn last_words(error: &io::Error, log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(12)..];
    format!("{error}; its verifier said last:\n{}", last.join("\n"))
}

const MAPS: [&str; 5] = ["ports", "services", "flows", "control", "stats"];

impl FastPath {
    /// Loads the program, with the maps of an earlier logger if there are any.
    pub(super) fn start(settings: &FastSettings) -> Result<Self, FastError> {
        let dir = bpffs::prepare(&settings.bpffs, &settings.socket).map_err(|source| {
            FastError::NoFolder {
                path: settings.bpffs.clone(),
                source,
            }
        })?;
        let mut path = Self::load(&dir, settings).or_else(|_| {
            // Maps of another version of the program.
            bpffs::remove(&dir);
            bpffs::prepare(&settings.bpffs, &settings.socket)
                .map_err(|error| FastError::Refused(error.to_string()))?;
            Self::load(&dir, settings).inspect_err(|_| bpffs::remove(&dir))
        })?;
        path.attend();
        Ok(path)
    }

    fn load(dir: &Path, settings: &FastSettings) -> Result<Self, FastError> {
        let mut loader = EbpfLoader::new();
        loader.map_max_entries("ring", settings.ring);
        for map in MAPS {
            loader.map_pin_path(map, dir.join(map));
        }
        // One of another size is another map.
        loader.map_pin_path("ring", dir.join(format!("ring{}", settings.ring)));
        let mut program = loader.load(PROGRAM).map_err(refused)?;
        for name in ["fastpath", "stop"] {
            classifier(&mut program, name)?
                .load()
                .map_err(|error| match error {
                    ProgramError::LoadError {
                        io_error,
                        verifier_log,
                    } => FastError::Refused(last_words(&io_error, &verifier_log.to_string())),
                    other => refused(other),
                })?;
        }
        let mut take = |name: &str| {
            program
                .take_map(name)
                .ok_or_else(|| FastError::Refused(format!("it has no map {name}")))
        };
        let ring = RingBuf::try_from(take("ring")?).map_err(refused)?;
        Ok(Self {
            ports: HashMap::try_from(take("ports")?).map_err(refused)?,
            services: HashMap::try_from(take("services")?).map_err(refused)?,
            flows: HashMap::try_from(take("flows")?).map_err(refused)?,
            control: Array::try_from(take("control")?).map_err(refused)?,
            stats: PerCpuArray::try_from(take("stats")?).map_err(refused)?,
            ring: Ring::new(ring, settings.ring)
                .map_err(|error| FastError::Refused(format!("its ring cannot be read: {error}")))?,
            taken: Vec::new(),
            dir: dir.to_owned(),
            settings: settings.clone(),
            known: BTreeMap::new(),
            attended: None,
            look: tables::FIRST_LOOK,
            program,
        })
    }

    /// Puts the program at the ingress of an interface, in the place of an earlier logger's if there is one.
    pub(super) fn attach(&mut self, interface: &str) -> Result<(), FastError> {
        let failed = |error: &dyn fmt::Display| FastError::NotAttached(error.to_string());
        // An error says that it is there already, or that the next step will fail too.
        let _ = qdisc_add_clsact(interface);
        let program = classifier(&mut self.program, "fastpath")?;
        let options = TcAttachOptions::Netlink(NlOptions {
            priority: PRIORITY,
            handle: HANDLE,
            classid: None,
        });
        let link = program
            .attach_with_options(interface, TcAttachType::Ingress, options)
            .or_else(|first| {
                let before = place(interface).map_err(|error| failed(&error))?;
                program
                    .attach_to_link(before)
                    .map_err(|_| failed(&Chain(&first)))
            })?;
        let link = program.take_link(link).map_err(|error| failed(&error))?;
        // Dropped, it would be detached, also when we end by a panic.
        std::mem::forget(link);
        Ok(())
    }

    /// Forgets the interface with the given index, which is gone.
    pub(super) fn forget(&mut self, index: u32) {
        let _ = self.ports.remove(&index);
    }

    /// Takes the program from the interface `name` with the given index, which may be gone.
    pub(super) fn detach(&mut self, name: &str, index: u32) {
        self.forget(index);
        if let Ok(link) = place(name) {
            let _ = link.detach();
        }
        let _ = clsact::remove(index);
    }

    /// Ends for good: the maps go, too. All interfaces must have been detached.
    pub(super) fn remove(self) {
        bpffs::remove(&self.dir);
    }

    /// Tries what an interface needs with one that every namespace has.
    pub(super) fn probe(&mut self) -> Result<(), FastError> {
        let loopback = rustix::net::netdevice::name_to_index(
            rustix::net::socket(
                rustix::net::AddressFamily::UNIX,
                rustix::net::SocketType::DGRAM,
                None,
            )
            .map_err(|error| FastError::NotAttached(error.to_string()))?,
            "lo",
        )
        .map_err(|error| FastError::NotAttached(error.to_string()))?;
        self.attach("lo")?;
        self.detach("lo", loopback);
        Ok(())
    }
}

fn classifier<'a>(program: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier, FastError> {
    program
        .program_mut(name)
        .ok_or_else(|| FastError::Refused(format!("it has no program {name}")))?
        .try_into()
        .map_err(|error: ProgramError| refused(error))
}

fn refused(error: impl std::error::Error) -> FastError {
    FastError::Refused(Chain(&error).to_string())
}

/// Where [`FastPath::attach`] puts the program.
fn place(interface: &str) -> io::Result<SchedClassifierLink> {
    SchedClassifierLink::attached(interface, TcAttachType::Ingress, PRIORITY, HANDLE, None)
}

/// An error with its causes.
struct Chain<'a>(&'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
