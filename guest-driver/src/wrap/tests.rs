// SPDX-License-Identifier: GPL-3.0-only
//! The server with programs at its socket and the logger at its pages and bell; the store and the pages are stand-ins.

use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, connect, recv, recvmsg, send,
};
use toolstack::ids::DomId;
use toolstack::store::memory::MemoryStore;
use toolstack::store::{Reply, Request, StoreExt, XsPath};
use xen_sys::grants::SharedWords;

use super::message::Message;
use super::*;
use crate::grants::fake::{Fake, GUEST, store};

const LOGGER: u16 = 3;
const MIB: u64 = 1 << 20;
const SIZE: usize = 9;
const WANT: usize = 10;

/// A store, a hypervisor and a server between them.
struct World {
    store: MemoryStore,
    fake: Fake,
    options: Options,
    /// The last to be dropped must not be the server: it removes its socket.
    wrapping: Option<Wrapping>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.wrapping = None;
        let _ = std::fs::remove_dir(self.options.socket.parent().unwrap());
    }
}

fn add_vif(store: &MemoryStore) {
    let path = XsPath::domain(GUEST).join("device/vif/0/backend-id");
    store.write_all(&[(path, LOGGER.to_string())]).unwrap();
}

/// A world whose socket is in a directory named after `test`, which is not there yet.
fn world(test: &str) -> World {
    let (store, fake) = (store(), Fake::default());
    let directory = format!("rxl-wrap-{test}-{}", std::process::id());
    let socket = std::env::temp_dir().join(directory).join("wrap.sock");
    let options = Options { socket, vif: 0 };
    let wrapping = Wrapping::start_on(&options, store.connect(GUEST), fake.clone()).unwrap();
    World {
        store,
        fake,
        options,
        wrapping: Some(wrapping),
    }
}

impl World {
    /// What the logger's domain can read of the node: gref and port. It may not read the nodes above it, so that it is
    /// not told either that there is none.
    fn node(&self) -> Option<(u32, u32)> {
        let logger = self.store.connect(DomId(LOGGER));
        let node = XsPath::domain(GUEST).join("data/rxl/wrap");
        let replies = logger.batch(&[Request::Read(node)]).unwrap();
        let text = match &replies[0] {
            Ok(Reply::Value(value)) => String::from_utf8(value.clone()).unwrap(),
            Err(errno) if errno.0 == "EACCES" => return None,
            other => panic!("{other:?}"),
        };
        let (gref, port) = text.split_once(' ').unwrap();
        Some((gref.parse().unwrap(), port.parse().unwrap()))
    }

    /// A program that is given an area.
    fn program(&self) -> Program {
        let program = Program::connect(&self.options.socket);
        let (message, area) = program.hear();
        let Some(Message::Hello(size)) = message else {
            panic!("{message:?}");
        };
        let area = area.expect("the descriptor comes with the first message");
        Program {
            area: Some(area),
            size,
            ..program
        }
    }

    /// A program that is refused, and what it is told.
    fn refused(&self) -> String {
        let program = Program::connect(&self.options.socket);
        let (message, area) = program.hear();
        assert_eq!((message, area.is_some()), (Some(Message::Refused), false));
        let mut text = [0; 300];
        let (length, _) = recv(&program.socket, &mut text, RecvFlags::empty()).unwrap();
        let end = recv(&program.socket, &mut [0; 1], RecvFlags::empty()).unwrap();
        assert_eq!(end.0, 0, "the connection is closed behind the reason");
        String::from_utf8(text[..length].to_vec()).unwrap()
    }
}

/// The program's side of the socket.
struct Program {
    socket: OwnedFd,
    area: Option<OwnedFd>,
    size: u64,
}

impl Program {
    fn connect(path: &Path) -> Self {
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
        Self {
            socket,
            area: None,
            size: 0,
        }
    }

    /// Waits for the next message, and the descriptor that comes with it.
    fn hear(&self) -> (Option<Message>, Option<OwnedFd>) {
        let mut bytes = [0; 64];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let got = recvmsg(
            &self.socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut rights,
            RecvFlags::empty(),
        );
        let length = got.unwrap().bytes;
        let area = rights.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        (Message::decode(&bytes[..length]), area)
    }

    fn say(&self, bytes: &[u8]) {
        send(&self.socket, bytes, SendFlags::empty()).unwrap();
    }

    /// Asks for `wanted` bytes; the answer.
    fn grow(&self, wanted: u64) -> u64 {
        self.say(&Message::Grow(wanted).encode());
        match self.hear().0 {
            Some(Message::Size(size)) => size,
            other => panic!("{other:?}"),
        }
    }

    fn words(&self, size: u64) -> SharedWords {
        let area = self.area.as_ref().unwrap();
        SharedWords::map(area, 0, usize::try_from(size).unwrap()).unwrap()
    }
}

/// Waits until the agent has rung.
fn wait_for_bell(mut bell: &UnixStream) {
    bell.read_exact(&mut [0]).unwrap();
}

fn ring(mut bell: &UnixStream) {
    bell.write_all(&[1]).unwrap();
}

#[test]
fn what_the_program_writes_the_logger_finds_by_the_node() {
    let world = world("found");
    add_vif(&world.store);
    assert_eq!(world.node(), None);

    let program = world.program();

    assert_eq!(program.size, MIB);
    let words = program.words(MIB);
    let used = (0..words_in(MIB)).filter(|&word| words.load(word) != 0);
    assert_eq!(used.collect::<Vec<_>>(), [SIZE], "zero but for the size");
    words.store(0, 11);
    words.store(words_in(MIB) - 1, 12);
    let (root, _) = world.node().unwrap();
    let pages = world.fake.pages_of(root);
    assert_eq!(pages.len(), 256);
    assert_eq!(world.fake.word(pages[0], 0), 11);
    assert_eq!(world.fake.word(pages[0], SIZE), MIB);
    assert_eq!(world.fake.word(pages[255], 511), 12);
    for gref in [root, pages[0], pages[255]] {
        assert_eq!(world.fake.granted_to(gref), Some(LOGGER));
    }
}

fn words_in(size: u64) -> usize {
    usize::try_from(size / 8).unwrap()
}

#[test]
fn the_node_is_the_guests_and_only_the_logger_may_read_it() {
    let world = world("node");
    add_vif(&world.store);

    let _program = world.program();

    let (gref, port) = world.node().unwrap();
    let path = "/local/domain/7/data/rxl/wrap";
    let line = format!("{path} = \"{gref} {port}\" (n7,r3)");
    let dump = world.store.dump();
    assert!(dump.contains(&line), "{dump:#?}");
    let other = world.store.connect(DomId(5));
    assert!(other.read_text(&XsPath::new(path)).is_err());
}

#[test]
fn the_area_grows_for_the_program_and_the_logger_is_rung() {
    let world = world("grow");
    add_vif(&world.store);
    let program = world.program();
    let (root, port) = world.node().unwrap();
    let bell = world.fake.bind(port);

    assert_eq!(program.grow(MIB + 1), 2 * MIB);
    wait_for_bell(&bell);
    assert_eq!(world.fake.pages_of(root).len(), 512);
    program.words(2 * MIB).store(words_in(2 * MIB) - 1, 5);
    assert_eq!(world.fake.word(world.fake.pages_of(root)[511], 511), 5);

    assert_eq!(program.grow(64 * MIB), 64 * MIB);
    wait_for_bell(&bell);
    assert_eq!(world.fake.pages_of(root).len(), 16384);
    assert_eq!(program.words(64 * MIB).load(SIZE), 64 * MIB);
    assert_eq!(program.grow(64 * MIB + 1), 64 * MIB, "there is no more");
    assert_eq!(program.grow(MIB), 64 * MIB, "it never shrinks");
}

#[test]
fn a_program_that_cannot_have_more_is_told_what_it_has() {
    let world = world("full");
    add_vif(&world.store);
    let program = world.program();
    world.fake.allow(100);
    assert_eq!(program.grow(2 * MIB), MIB);
    assert_eq!(program.words(MIB).load(SIZE), MIB);
}

#[test]
fn the_loggers_ring_is_told_and_what_it_wants_is_done() {
    let world = world("bell");
    add_vif(&world.store);
    let program = world.program();
    let (root, port) = world.node().unwrap();
    let bell = world.fake.bind(port);

    ring(&bell);
    assert_eq!(program.hear().0, Some(Message::News(MIB)));

    let header = world.fake.pages_of(root)[0];
    world.fake.put_word(header, WANT, 3 * MIB);
    ring(&bell);
    assert_eq!(program.hear().0, Some(Message::News(3 * MIB)));
    wait_for_bell(&bell);
    assert_eq!(world.fake.pages_of(root).len(), 768);

    world.fake.put_word(header, WANT, u64::MAX);
    ring(&bell);
    assert_eq!(program.hear().0, Some(Message::News(3 * MIB)));
}

#[test]
fn a_program_that_reads_nothing_stops_nobody_and_hears_the_last_news() {
    let world = world("deaf");
    add_vif(&world.store);
    let program = world.program();
    let (root, port) = world.node().unwrap();
    let bell = world.fake.bind(port);
    let header = world.fake.pages_of(root)[0];
    // More than a socket takes; each is answered, so that each was heard by itself.
    for step in 1..64 {
        for _ in 0..20 {
            ring(&bell);
        }
        world.fake.put_word(header, WANT, (1 + step) * MIB);
        ring(&bell);
        wait_for_bell(&bell);
    }
    let mut told = 0;
    while told < 64 * MIB {
        let Some(Message::News(size)) = program.hear().0 else {
            panic!("something else than news");
        };
        assert!(size >= told);
        told = size;
    }
}

#[test]
fn one_program_at_a_time() {
    let world = world("second");
    add_vif(&world.store);
    let program = world.program();
    let node = world.node();
    let told = world.refused();
    let expected = format!(
        "process {} is wrapped already; one at a time",
        std::process::id()
    );
    assert_eq!(told, expected);
    assert_eq!(world.node(), node);
    assert_eq!(program.grow(2 * MIB), 2 * MIB, "the first one is served");
}

#[test]
fn what_a_program_leaves_stays_until_the_next_one_comes() {
    let world = world("next");
    add_vif(&world.store);
    let program = world.program();
    let (root, port) = world.node().unwrap();
    let bell = world.fake.bind(port);
    program.words(MIB).store(16, 99);
    drop(program);

    // It is served on: the bell is answered, whether the agent has seen the end of the program or not.
    let header = world.fake.pages_of(root)[0];
    world.fake.put_word(header, WANT, 2 * MIB);
    ring(&bell);
    wait_for_bell(&bell);
    assert_eq!(world.node(), Some((root, port)));
    assert_eq!(world.fake.word(header, 16), 99);

    let next = world.program();
    assert_eq!(next.words(MIB).load(16), 0);
    let (new_root, new_port) = world.node().unwrap();
    assert!(new_root != root && new_port != port);
    assert_eq!(world.fake.granted_to(root), None);
    assert_eq!(world.fake.granted_to(header), None);
    assert_eq!(
        world.fake.granted(),
        256 + 2,
        "nothing of the first is left"
    );
    assert_eq!((&bell).read(&mut [0]).unwrap(), 0, "its bell is gone");
}

#[test]
fn who_speaks_otherwise_is_no_longer_served() {
    let world = world("wrong");
    add_vif(&world.store);
    for wrong in [&b"hello"[..], &[2; 17], &Message::Size(1).encode()] {
        let program = world.program();
        program.say(wrong);
        let (length, _) = recv(&program.socket, &mut [0; 16], RecvFlags::empty()).unwrap();
        assert_eq!(length, 0, "{wrong:?}");
    }
}

#[test]
fn a_refusal_tells_what_is_missing() {
    let world = world("refused");
    assert_eq!(
        world.refused(),
        "no logger: network interface 0 has no back-end (device/vif/0/backend-id)"
    );
    add_vif(&world.store);
    world
        .fake
        .break_down("/dev/xen/gntalloc is missing: modprobe xen-gntalloc");
    assert_eq!(
        world.refused(),
        "/dev/xen/gntalloc is missing: modprobe xen-gntalloc"
    );
    assert_eq!(world.node(), None);
}

#[test]
fn too_few_pages_for_an_area_leave_nothing_behind() {
    let world = world("small");
    add_vif(&world.store);
    world.fake.allow(100);
    assert_eq!(world.refused(), "no room for 256 more pages");
    assert_eq!((world.fake.granted(), world.node()), (0, None));
}

#[test]
fn the_end_takes_socket_node_and_pages_away_and_the_program_keeps_its_memory() {
    let mut world = world("end");
    add_vif(&world.store);
    let program = world.program();
    let words = program.words(MIB);

    world.wrapping = None;

    assert!(!world.options.socket.exists());
    assert_eq!((world.fake.granted(), world.node()), (0, None));
    let (length, _) = recv(&program.socket, &mut [0; 16], RecvFlags::empty()).unwrap();
    assert_eq!(length, 0);
    words.store(20, 1);
}

#[test]
fn what_a_killed_agent_has_left_is_replaced() {
    let mut world = world("killed");
    add_vif(&world.store);
    world.wrapping = None;
    let directory = world.options.socket.parent().unwrap();
    std::fs::create_dir_all(directory).unwrap();
    std::fs::write(&world.options.socket, "").unwrap();
    let node = XsPath::domain(GUEST).join("data/rxl/wrap");
    world.store.write_all(&[(node, "1 2".into())]).unwrap();

    let guest = world.store.connect(GUEST);
    let next = Wrapping::start_on(&world.options, guest, world.fake.clone());
    world.wrapping = Some(next.unwrap());

    assert_eq!(world.node(), None);
    assert_eq!(world.program().size, MIB);
}

#[test]
fn only_its_owner_may_connect() {
    let world = world("mode");
    let mode = std::fs::metadata(&world.options.socket)
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
}
