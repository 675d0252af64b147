// SPDX-License-Identifier: GPL-3.0-only
//! What all connections of a store in memory share: the tree, transactions, watches and the test's kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::super::types::{Errno, Permission, Reply, Request, Tx, Watch, WatchEvent, XsPath};
use super::Connection;
use super::tree::{Change, Seen, Tree, absolute, errno, may_read};
use crate::ids::DomId;

/// Rounds of reaction after which the kernel of a test counts as looping.
const REACTIONS_MAX: usize = 1000;

/// What a test's kernel does with a change: the node, its value, the requests that follow.
type Reaction = dyn FnMut(&XsPath, Option<&[u8]>) -> Vec<Request> + Send;

/// The test's kernel.
pub(super) struct Kernel(pub(super) Box<Reaction>);

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kernel")
    }
}

#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) connection: usize,
    tree: Tree,
    seen: Seen,
    requests: Vec<Request>,
}

#[derive(Debug)]
pub(super) struct Registered {
    pub(super) connection: usize,
    domain: DomId,
    watch: Watch,
    /// Absolute form of the watch's path.
    path: String,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) tree: Tree,
    pub(super) connections: Vec<Connection>,
    pub(super) transactions: BTreeMap<u32, Transaction>,
    pub(super) watches: Vec<Registered>,
    pub(super) introduced: BTreeSet<DomId>,
    pub(super) kernel: Option<Kernel>,
    /// Changes that the kernel has not been told of.
    untold: Vec<Change>,
    next_tx: u32,
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self {
            tree: Tree::new(),
            connections: Vec::new(),
            transactions: BTreeMap::new(),
            watches: Vec::new(),
            introduced: BTreeSet::new(),
            kernel: None,
            untold: Vec::new(),
            next_tx: 1,
        };
        let nodes = [
            ("/tool/xenstored", ""),
            ("/local/domain/0/domid", "0"),
            ("/local/domain/0/name", "Domain-0"),
            ("/vm", ""),
            ("/libxl", ""),
        ];
        for (path, value) in nodes {
            // These paths are valid and Dom0 may write anywhere.
            let _ = world.request(DomId::DOM0, &Request::write(XsPath::new(path), value));
        }
        world.untold.clear();
        world
    }

    pub(super) fn connect(&mut self) -> usize {
        self.connections.push(Connection::default());
        self.connections.len() - 1
    }

    pub(super) fn break_connection(&mut self, id: usize) {
        self.connections[id].broken = true;
        self.connections[id].events.clear();
        self.transactions.retain(|_, t| t.connection != id);
        self.watches.retain(|w| w.connection != id);
    }

    /// A request outside any transaction.
    pub(super) fn request(&mut self, who: DomId, request: &Request) -> Result<Reply, Errno> {
        match request {
            Request::Introduce { domain, .. } => {
                self.privileged(who)?;
                if self.introduced.insert(*domain) {
                    self.fire_special("@introduceDomain");
                }
                Ok(Reply::Done)
            }
            Request::Release(domain) => {
                self.privileged(who)?;
                if !self.introduced.remove(domain) {
                    return Err(errno("ENOENT"));
                }
                self.fire_special("@releaseDomain");
                Ok(Reply::Done)
            }
            _ => {
                let mut changes = Vec::new();
                let reply = self
                    .tree
                    .apply(who, request, &mut Seen::new(), &mut changes);
                self.publish(changes);
                reply
            }
        }
    }

    fn privileged(&self, who: DomId) -> Result<(), Errno> {
        if who == DomId::DOM0 {
            Ok(())
        } else {
            Err(errno("EACCES"))
        }
    }

    /// A request inside transaction `tx`.
    pub(super) fn request_in(
        &mut self,
        connection: usize,
        tx: Tx,
        who: DomId,
        request: &Request,
    ) -> Result<Reply, Errno> {
        let transaction = self
            .transactions
            .get_mut(&tx.0)
            .filter(|t| t.connection == connection)
            .ok_or_else(|| errno("ENOENT"))?;
        let mut changes = Vec::new();
        let reply = transaction
            .tree
            .apply(who, request, &mut transaction.seen, &mut changes)?;
        if !changes.is_empty() {
            transaction.requests.push(request.clone());
        }
        Ok(reply)
    }

    pub(super) fn begin(&mut self, connection: usize) -> Tx {
        let id = self.next_tx;
        self.next_tx += 1;
        let transaction = Transaction {
            connection,
            tree: self.tree.clone(),
            seen: Seen::new(),
            requests: Vec::new(),
        };
        self.transactions.insert(id, transaction);
        Tx(id)
    }

    pub(super) fn end(
        &mut self,
        connection: usize,
        tx: Tx,
        who: DomId,
        commit: bool,
    ) -> Result<(), Errno> {
        if self
            .transactions
            .get(&tx.0)
            .is_none_or(|t| t.connection != connection)
        {
            return Err(errno("ENOENT"));
        }
        let Some(transaction) = self.transactions.remove(&tx.0) else {
            return Err(errno("ENOENT"));
        };
        if !commit {
            return Ok(());
        }
        if !self.tree.unchanged(&transaction.seen) {
            return Err(errno("EAGAIN"));
        }
        let mut changes = Vec::new();
        for request in &transaction.requests {
            // Succeeded in the copy, and what it looked at is the same here.
            self.tree
                .apply(who, request, &mut Seen::new(), &mut changes)?;
        }
        self.publish(last_of_each(changes));
        Ok(())
    }

    pub(super) fn watch(
        &mut self,
        connection: usize,
        who: DomId,
        watch: &Watch,
    ) -> Result<(), Errno> {
        let path = if watch.path.as_str().starts_with('@') {
            watch.path.as_str().to_owned()
        } else {
            absolute(who, &watch.path)?
        };
        if self
            .watches
            .iter()
            .any(|w| w.connection == connection && w.watch == *watch)
        {
            return Err(errno("EEXIST"));
        }
        self.watches.push(Registered {
            connection,
            domain: who,
            watch: watch.clone(),
            path,
        });
        self.connections[connection].events.push_back(WatchEvent {
            path: watch.path.clone(),
            token: watch.token.clone(),
        });
        Ok(())
    }

    pub(super) fn unwatch(&mut self, connection: usize, watch: &Watch) -> Result<(), Errno> {
        let before = self.watches.len();
        self.watches
            .retain(|w| w.connection != connection || w.watch != *watch);
        if self.watches.len() == before {
            Err(errno("ENOENT"))
        } else {
            Ok(())
        }
    }

    pub(super) fn fire_special(&mut self, name: &str) {
        for registered in self.watches.iter().filter(|w| w.path == name) {
            self.connections[registered.connection]
                .events
                .push_back(WatchEvent {
                    path: XsPath::new(name),
                    token: registered.watch.token.clone(),
                });
        }
    }

    fn publish(&mut self, changes: Vec<Change>) {
        for change in &changes {
            for registered in &self.watches {
                let who = registered.domain;
                let knows =
                    || self.tree.readable(who, &change.path) || may_read(who, &change.before);
                if registered.covers(change) && knows() {
                    self.connections[registered.connection]
                        .events
                        .push_back(registered.event(&change.path));
                }
            }
        }
        self.untold.extend(changes);
    }

    /// Tells the kernel of every change and carries out its answers until it is quiet.
    pub(super) fn react(&mut self) {
        let Some(mut kernel) = self.kernel.take() else {
            self.untold.clear();
            return;
        };
        for _ in 0..REACTIONS_MAX {
            let changes = std::mem::take(&mut self.untold);
            if changes.is_empty() {
                break;
            }
            for change in changes {
                let path = XsPath::new(change.path);
                for request in (kernel.0)(&path, change.value.as_deref()) {
                    // A back-end whose directory has just been removed is refused, as in life.
                    let _ = self.request(DomId::DOM0, &request);
                }
            }
        }
        self.kernel = Some(kernel);
    }

    pub(super) fn dump(&self) -> Vec<String> {
        let line = |(path, node): (&String, &super::tree::Node)| {
            let perms: Vec<String> = node.perms.iter().map(Permission::to_string).collect();
            let value = String::from_utf8_lossy(&node.value);
            format!("{path} = {value:?} ({})", perms.join(","))
        };
        self.tree.nodes.iter().map(line).collect()
    }
}

/// In a transaction a node's changes show as one.
fn last_of_each(changes: Vec<Change>) -> Vec<Change> {
    let mut kept: Vec<Change> = Vec::new();
    for change in changes {
        kept.retain(|c| c.path != change.path);
        kept.push(change);
    }
    kept
}

impl Registered {
    fn covers(&self, change: &Change) -> bool {
        if change.exact {
            return change.path == self.path;
        }
        change.path == self.path
            || self.path == "/"
            || change
                .path
                .strip_prefix(&self.path)
                .is_some_and(|rest| rest.starts_with('/'))
    }

    /// The event for a change of `path`, told in the way the watch was set: relative for a relative watch.
    fn event(&self, path: &str) -> WatchEvent {
        let own = format!("/local/domain/{}/", self.domain);
        let relative = !self.watch.path.as_str().starts_with('/');
        let told = match path.strip_prefix(&own) {
            Some(rest) if relative => rest,
            _ => path,
        };
        WatchEvent {
            path: XsPath::new(told),
            token: self.watch.token.clone(),
        }
    }
}
