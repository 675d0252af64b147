// SPDX-License-Identifier: GPL-3.0-only
//! A hypervisor for tests: files of memory in place of granted pages, socket pairs in place of event channels, made-up numbers.
//! The test is the logger: it reads pages by their grefs and has the other end of each bell.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::fs::{MemfdFlags, memfd_create};
use toolstack::ids::DomId;
use toolstack::store::memory::MemoryStore;
use toolstack::store::{Permission, Request, StoreExt, XsPath};

use super::hypervisor::{Bell, Hypervisor, PAGE, Pages};

/// The domain of the agent.
pub(crate) const GUEST: DomId = DomId(7);

/// A domain's directories as `rxl create` makes them, network interface 0 aside.
pub(crate) fn store() -> MemoryStore {
    let store = MemoryStore::new();
    let home = XsPath::domain(GUEST);
    let (data, domid) = (home.join("data"), home.join("domid"));
    let readable = vec![Permission::owner(DomId::DOM0), Permission::read(GUEST)];
    let requests = [
        Request::Mkdir(home.clone()),
        Request::SetPerms(home, readable),
        Request::Mkdir(data.clone()),
        Request::SetPerms(data, vec![Permission::owner(GUEST)]),
        Request::write(domid, GUEST),
    ];
    store.all(&requests).unwrap();
    store
}

/// The hypervisor. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fake {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Why there are no pages.
    broken: Option<String>,
    /// How many more pages can be granted, if not all that are asked for.
    left: Option<usize>,
    last: u32,
    /// By gref: for whom, in which file, where.
    granted: BTreeMap<u32, (u16, Arc<File>, u64)>,
    /// By port: the logger's end.
    bells: BTreeMap<u32, UnixStream>,
}

impl Fake {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    /// There are no pages, and this is why.
    pub(crate) fn break_down(&self, why: &str) {
        self.shared().broken = Some(why.to_owned());
    }

    /// Only so many pages can be granted from now on.
    pub(crate) fn allow(&self, pages: usize) {
        self.shared().left = Some(pages);
    }

    /// How many pages are granted now.
    pub(crate) fn granted(&self) -> usize {
        self.shared().granted.len()
    }

    /// The domain to which the page is granted, if it is.
    pub(crate) fn granted_to(&self, gref: u32) -> Option<u16> {
        self.shared().granted.get(&gref).map(|(domain, ..)| *domain)
    }

    fn read(&self, gref: u32, offset: usize, into: &mut [u8]) {
        let shared = self.shared();
        let (_, file, at) = &shared.granted[&gref];
        file.read_exact_at(into, at + offset as u64).unwrap();
    }

    /// Word `index` of a page, as the logger copies it.
    pub(crate) fn word(&self, gref: u32, index: usize) -> u64 {
        let mut bytes = [0; 8];
        self.read(gref, index * 8, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// The 4 bytes at `offset` of a page.
    pub(crate) fn half(&self, gref: u32, offset: usize) -> u32 {
        let mut bytes = [0; 4];
        self.read(gref, offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// Writes word `index` of a page, as the logger does.
    pub(crate) fn put_word(&self, gref: u32, index: usize, value: u64) {
        let shared = self.shared();
        let (_, file, at) = &shared.granted[&gref];
        let at = at + index as u64 * 8;
        file.write_all_at(&value.to_le_bytes(), at).unwrap();
    }

    /// All pages of the area whose directory has this root.
    pub(crate) fn pages_of(&self, root: u32) -> Vec<u32> {
        let count = usize::try_from(self.word(root, 1)).unwrap();
        let gref = |page| {
            let leaf = self.half(root, 64 + 4 * (page / 1024));
            self.half(leaf, 4 * (page % 1024))
        };
        (0..count).map(gref).collect()
    }

    /// The logger's end of a bell: a byte is a ring. Its reads wait.
    pub(crate) fn bind(&self, port: u32) -> UnixStream {
        self.shared().bells.remove(&port).unwrap()
    }
}

impl Hypervisor for Fake {
    type Pages = FakePages;
    type Bell = FakeBell;

    fn pages(&self) -> Result<FakePages, String> {
        if let Some(why) = self.shared().broken.clone() {
            return Err(why);
        }
        let file = File::from(memfd_create("pages", MemfdFlags::CLOEXEC).unwrap());
        Ok(FakePages {
            hypervisor: self.clone(),
            file: Arc::new(file),
            grefs: Vec::new(),
        })
    }

    fn bell(&self, _logger: u16) -> Result<FakeBell, String> {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut shared = self.shared();
        shared.last += 1;
        let port = shared.last;
        shared.bells.insert(port, far);
        Ok(FakeBell { port, near })
    }
}

/// A file of memory whose pages have numbers.
#[derive(Debug)]
pub(crate) struct FakePages {
    hypervisor: Fake,
    file: Arc<File>,
    grefs: Vec<u32>,
}

impl AsFd for FakePages {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Pages for FakePages {
    fn add(&mut self, logger: u16, count: u32) -> Result<Vec<u32>, String> {
        let mut shared = self.hypervisor.shared();
        if let Some(left) = &mut shared.left {
            let rest = left.checked_sub(count as usize);
            *left = rest.ok_or_else(|| format!("no room for {count} more pages"))?;
        }
        let first = self.grefs.len() as u64;
        let size = (first + u64::from(count)) * PAGE;
        self.file.set_len(size).map_err(|e| e.to_string())?;
        let mut added = Vec::new();
        for page in first..first + u64::from(count) {
            shared.last += 1;
            let gref = shared.last;
            let place = (logger, Arc::clone(&self.file), page * PAGE);
            shared.granted.insert(gref, place);
            added.push(gref);
        }
        self.grefs.extend(&added);
        Ok(added)
    }
}

impl Drop for FakePages {
    fn drop(&mut self) {
        let mut shared = self.hypervisor.shared();
        for gref in &self.grefs {
            shared.granted.remove(gref);
        }
    }
}

/// One end of a socket pair.
#[derive(Debug)]
pub(crate) struct FakeBell {
    port: u32,
    near: UnixStream,
}

impl AsFd for FakeBell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.near.as_fd()
    }
}

impl Bell for FakeBell {
    fn port(&self) -> u32 {
        self.port
    }

    fn ring(&self) -> io::Result<()> {
        (&self.near).write_all(&[1])
    }

    fn heard(&self) -> io::Result<bool> {
        match (&self.near).read(&mut [0; 64]) {
            Ok(length) => Ok(length > 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}
