// SPDX-License-Identifier: GPL-3.0-only
//! An agent's stand-in, whose area is a memfd, and what the logger does with an area.

use std::fs::File;
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;

use rustix::cmsg_space;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown,
    SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, recv, send, sendmsg,
    shutdown, socket_with,
};

use super::Server;
use super::chain::{House, lines};

/// Bytes of the header, and its words.
pub(crate) const HEADER: u64 = 128;
pub(crate) const BYTES: usize = 1;
pub(crate) const RECORDS: usize = 2;
pub(crate) const ENDED: usize = 4;
pub(crate) const ORDER: usize = 5;
pub(crate) const TOLD: usize = 6;
pub(crate) const STATE: usize = 7;
pub(crate) const SIZE: usize = 9;
pub(crate) const WANT: usize = 10;
pub(crate) const TELLING: usize = 11;
/// Orders.
pub(crate) const LIVE: u64 = 1;
pub(crate) const REPLAY: u64 = 2;
/// States.
const WAITS: u64 = 1;
const REPLAYS: u64 = 2;

const PAGE: u64 = 4096;
/// First size: so small that it has to grow often.
pub(crate) const FIRST: u64 = 2 * PAGE;
/// As much as any program gets.
pub(crate) const MOST: u64 = 64 << 20;

const MAGIC: u64 = u64::from_le_bytes(*b"rxlwrap2");
const NEWS: u64 = 1;
const GROW: u64 = 2;
const GROWN: u64 = 3;
const REFUSED: u64 = 4;

fn message(kind: u64, value: u64) -> [u8; 16] {
    (u128::from(kind) | u128::from(value) << 64).to_le_bytes()
}

fn listening(path: &Path) -> OwnedFd {
    let _ = std::fs::remove_file(path);
    let kind = SocketType::SEQPACKET;
    let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None);
    let socket = socket.expect("a socket");
    bind(&socket, &SocketAddrUnix::new(path).expect("a short path")).expect("it is free");
    listen(&socket, 1).expect("it listens");
    socket
}

/// An agent that gives no area, but says these messages.
pub(crate) fn refusing(path: &Path, says: Vec<Vec<u8>>) {
    let socket = listening(path);
    std::thread::spawn(move || {
        let program = accept_with(&socket, SocketFlags::CLOEXEC).expect("a program");
        for message in says {
            send(&program, &message, SendFlags::NOSIGNAL).expect("it listens");
        }
        // Until the program has gone.
        let _ = recv(&program, &mut [0; 16], RecvFlags::empty());
    });
}

/// The messages of an agent that refuses because of `why`.
pub(crate) fn refusal(why: &str) -> Vec<Vec<u8>> {
    vec![message(REFUSED, 0).to_vec(), why.as_bytes().to_vec()]
}

struct Area {
    memory: File,
    most: u64,
    /// How long it is, and how often the program asked for more.
    size: Mutex<(u64, u64)>,
}

impl Area {
    fn word(&self, index: usize) -> u64 {
        let mut bytes = [0; 8];
        let read = self.memory.read_exact_at(&mut bytes, index as u64 * 8);
        read.expect("a header");
        u64::from_le_bytes(bytes)
    }

    fn put(&self, index: usize, value: u64) {
        let put = self
            .memory
            .write_all_at(&value.to_le_bytes(), index as u64 * 8);
        put.expect("a header");
    }

    /// Makes it at least so long if it may be; how long it is.
    fn grow(&self, wanted: u64, asked: bool) -> u64 {
        let mut size = self.size.lock().expect("no panic");
        size.1 += u64::from(asked);
        let new = wanted.next_multiple_of(PAGE).min(self.most);
        if new > size.0 {
            self.memory.set_len(new).expect("memory");
            size.0 = new;
            self.put(SIZE, new);
        }
        size.0
    }

    /// Serves a program until it has gone.
    fn serve(&self, program: impl AsFd) {
        let first = message(MAGIC, self.grow(0, false));
        let fds = [self.memory.as_fd()];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut with = SendAncillaryBuffer::new(&mut space);
        assert!(with.push(SendAncillaryMessage::ScmRights(&fds)));
        let sent = sendmsg(
            &program,
            &[IoSlice::new(&first)],
            &mut with,
            SendFlags::NOSIGNAL,
        );
        sent.expect("it waits for it");
        let mut asked = [0; 16];
        while let Ok((16, _)) = recv(&program, &mut asked, RecvFlags::empty()) {
            let asked = u128::from_le_bytes(asked);
            assert_eq!(asked as u64, GROW);
            let size = self.grow((asked >> 64) as u64, true);
            for kind in [NEWS, GROWN] {
                // It may have gone, or been left.
                let _ = send(&program, &message(kind, size), SendFlags::NOSIGNAL);
            }
        }
    }
}

/// The agent of one program.
pub(crate) struct Agent {
    path: PathBuf,
    area: Arc<Area>,
    program: Arc<OnceLock<OwnedFd>>,
    serves: JoinHandle<()>,
}

impl Agent {
    /// Listens at `path` for a program, which gets an area of at most `most` bytes.
    pub(crate) fn start(path: PathBuf, most: u64) -> Self {
        let memory = memfd_create("area", MemfdFlags::CLOEXEC).expect("memory");
        let area = Arc::new(Area {
            memory: memory.into(),
            most,
            size: Mutex::default(),
        });
        area.grow(FIRST, false);
        let program = Arc::<OnceLock<OwnedFd>>::default();
        let socket = listening(&path);
        let (its, area_of, known) = (socket, Arc::clone(&area), Arc::clone(&program));
        let serves = std::thread::spawn(move || {
            let accepted = accept_with(&its, SocketFlags::CLOEXEC).expect("a program");
            area_of.serve(known.get_or_init(|| accepted));
        });
        Self {
            path,
            area,
            program,
            serves,
        }
    }

    /// How a program is told of it.
    pub(crate) fn wrap(&self) -> String {
        format!("agent:{}", self.path.display())
    }

    /// Whether a program waits for its order.
    pub(crate) fn is_waited_at(&self) -> bool {
        self.word(0) == MAGIC && self.word(STATE) == WAITS
    }

    /// A word of the header.
    pub(crate) fn word(&self, index: usize) -> u64 {
        self.area.word(index)
    }

    /// How often the program has asked for more.
    pub(crate) fn asked(&self) -> u64 {
        self.area.size.lock().expect("no panic").1
    }

    /// Goes away.
    pub(crate) fn leave(&self) {
        let program = self.program.get().expect("it has come");
        shutdown(program, Shutdown::Both).expect("it is connected");
    }

    /// Waits until the program has gone.
    pub(crate) fn await_end(self) {
        self.serves.join().expect("no panic");
    }

    /// The logger rings.
    pub(crate) fn ring(&self) {
        let size = self.area.grow(self.word(WANT), false);
        let program = self.program.get().expect("it has come");
        match send(
            program,
            &message(NEWS, size),
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        ) {
            // News that was not taken yet is news enough.
            Ok(_) | Err(Errno::AGAIN | Errno::PIPE) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// The logger orders.
    pub(crate) fn order(&self, order: u64) {
        self.area.put(ORDER, order);
        self.ring();
    }

    /// The logger hands over the record of a dead program.
    fn hand_over(&self, of: &Agent) {
        let length = of.word(BYTES);
        let mut records = vec![0; usize::try_from(length).expect("a length")];
        let read = of.area.memory.read_exact_at(&mut records, HEADER);
        read.expect("its area is kept");
        self.area.put(WANT, HEADER + length + PAGE);
        self.ring();
        assert!(self.word(SIZE) >= HEADER + length + PAGE);
        let put = self.area.memory.write_all_at(&records, HEADER);
        put.expect("there is room");
        self.area.put(RECORDS, of.word(RECORDS));
        self.area.put(BYTES, length);
    }

    /// The logger begins to tell of clients.
    fn begin_to_tell(&self, text: &str) {
        self.area.put(TELLING, self.word(TOLD) + 1);
        let mut bytes = Vec::new();
        let length = text.len() as u64;
        bytes.write_all(&length.to_le_bytes()).expect("a vector");
        bytes.extend_from_slice(text.as_bytes());
        let at = (HEADER + self.word(BYTES)).next_multiple_of(8);
        let put = self.area.memory.write_all_at(&bytes, at);
        put.expect("there is room");
    }

    /// The logger tells which clients there are, and does not ring.
    fn tell(&self, clients: &[SocketAddrV4]) {
        self.begin_to_tell(&lines(clients));
        self.area.put(TOLD, self.word(TELLING));
    }
}

/// What happens at the failover.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failover {
    /// Nothing besides.
    Smooth,
    /// The logger begins to tell of clients anew when it gives the order.
    ToldAnew,
    /// The agent leaves when the order is given.
    AgentLeaves,
}

/// Servers whose records are in areas of agents.
pub(crate) struct Agents {
    folder: PathBuf,
    command: Box<dyn Fn() -> Command>,
    failover: Failover,
    /// One for each server.
    pub(crate) all: Vec<Agent>,
}

impl Agents {
    pub(crate) fn new(
        folder: PathBuf,
        failover: Failover,
        command: Box<dyn Fn() -> Command>,
    ) -> Self {
        Self {
            folder,
            command,
            failover,
            all: Vec::new(),
        }
    }

    /// The agent of the last server.
    pub(crate) fn last(&self) -> &Agent {
        self.all.last().expect("one was started")
    }
}

impl House for Agents {
    fn start(&mut self) -> Server {
        let path = self.folder.join(format!("{}.sock", self.all.len()));
        self.all.push(Agent::start(path, MOST));
        let agent = self.last();
        let begun = || agent.is_waited_at();
        let server = Server::start_unready((self.command)(), Some(&agent.wrap()), begun);
        if self.all.len() == 1 {
            agent.order(LIVE);
        }
        server
    }

    fn give(&mut self, clients: &[SocketAddrV4]) {
        let [.., from, to] = &self.all[..] else {
            panic!("there were not two servers")
        };
        to.hand_over(from);
        to.tell(clients);
        match self.failover {
            Failover::Smooth => to.order(REPLAY),
            Failover::ToldAnew => {
                to.begin_to_tell("127.");
                to.order(REPLAY);
                while to.word(STATE) != REPLAYS {}
                self.tell(clients);
            }
            Failover::AgentLeaves => {
                to.order(REPLAY);
                to.leave();
            }
        }
    }

    fn tell(&mut self, clients: &[SocketAddrV4]) {
        let agent = self.last();
        agent.tell(clients);
        agent.ring();
    }

    fn word(&self, index: usize) -> u64 {
        self.last().word(index)
    }
}
