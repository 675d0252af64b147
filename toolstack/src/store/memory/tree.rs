// SPDX-License-Identifier: GPL-3.0-only
//! The tree of the in-memory store: nodes, permissions and what each request does to them.
//!
//! Follows xenstored's rules (`docs/misc/xenstore.txt`, `tools/xenstore/xenstored_core.c`): a new node inherits its
//! parent's permissions, an unprivileged maker owns what it makes, removing a missing node below an existing
//! parent succeeds, and making or removing a child counts as a change of the parent.

use std::collections::BTreeMap;

use super::super::types::{Errno, Permission, Reply, Request, XsPath};
use crate::ids::DomId;

/// Longest payload of one message (`XENSTORE_PAYLOAD_MAX`).
const PAYLOAD_MAX: usize = 4096;
/// Longest absolute path (`XENSTORE_ABS_PATH_MAX`).
const PATH_MAX: usize = 3072;

/// One node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Vec<u8>,
    pub(super) perms: Vec<Permission>,
    generation: u64,
}

/// What a request changed, for watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The node.
    pub(super) path: String,
    /// Its new value; `None` after a removal.
    pub(super) value: Option<Vec<u8>>,
    /// Told to watches on exactly this node only: it went with a parent that was removed.
    pub(super) exact: bool,
    /// Its permissions before: who could read it is told, also if it is gone or can be read no more.
    pub(super) before: Vec<Permission>,
}

/// Nodes that a transaction has looked at, with the generation that it saw (`None`: the node was missing).
pub(super) type Seen = BTreeMap<String, Option<u64>>;

/// All nodes by absolute path.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) nodes: BTreeMap<String, Node>,
    generation: u64,
}

/// Makes a path absolute for a caller in `who`, and checks it.
pub(super) fn absolute(who: DomId, path: &XsPath) -> Result<String, Errno> {
    let text = path.as_str();
    let full = if text.starts_with('/') {
        text.to_owned()
    } else {
        format!("/local/domain/{who}/{text}")
    };
    let shape = full == "/" || (!full.ends_with('/') && !full.contains("//"));
    let letters = full
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-/_@".contains(&b));
    if text.is_empty() || !shape || !letters || full.len() > PATH_MAX {
        return Err(errno("EINVAL"));
    }
    Ok(full)
}

/// The path above `path`; `None` for the root.
fn parent(path: &str) -> Option<&str> {
    match path.rfind('/') {
        Some(0) if path.len() > 1 => Some("/"),
        Some(at) if at > 0 => Some(&path[..at]),
        _ => None,
    }
}

/// An error by name.
pub(super) fn errno(name: &str) -> Errno {
    Errno(name.to_owned())
}

#[derive(Clone, Copy)]
enum Right {
    Read,
    Write,
    Own,
}

/// Whether `who` may read what has these permissions.
pub(super) fn may_read(who: DomId, perms: &[Permission]) -> bool {
    allowed(who, perms, Right::Read)
}

fn allowed(who: DomId, perms: &[Permission], right: Right) -> bool {
    let Some(owner) = perms.first() else {
        return who == DomId::DOM0;
    };
    if who == DomId::DOM0 || who == owner.domain {
        return true;
    }
    let entry = perms[1..].iter().find(|p| p.domain == who).unwrap_or(owner);
    match right {
        Right::Read => entry.read,
        Right::Write => entry.write,
        Right::Own => false,
    }
}

impl Tree {
    /// A tree with nothing but the root, owned by Dom0.
    pub(super) fn new() -> Self {
        let root = Node {
            value: Vec::new(),
            perms: vec![Permission::owner(DomId::DOM0)],
            generation: 0,
        };
        Self {
            nodes: BTreeMap::from([("/".to_owned(), root)]),
            generation: 0,
        }
    }

    /// Whether every node in `seen` still is as it was seen.
    pub(super) fn unchanged(&self, seen: &Seen) -> bool {
        seen.iter()
            .all(|(path, generation)| self.generation_of(path) == *generation)
    }

    /// May `who` read `path`? A missing node is judged by its nearest parent, as watches are.
    pub(super) fn readable(&self, who: DomId, path: &str) -> bool {
        let mut at = path;
        loop {
            if let Some(node) = self.nodes.get(at) {
                return allowed(who, &node.perms, Right::Read);
            }
            match parent(at) {
                Some(up) => at = up,
                None => return who == DomId::DOM0,
            }
        }
    }

    fn generation_of(&self, path: &str) -> Option<u64> {
        self.nodes.get(path).map(|node| node.generation)
    }

    fn note(&self, seen: &mut Seen, path: &str) {
        if !seen.contains_key(path) {
            seen.insert(path.to_owned(), self.generation_of(path));
        }
    }

    /// Carries out a request of `who` that concerns nodes. Notes what it looked at in `seen` and what it changed in
    /// `changes`.
    pub(super) fn apply(
        &mut self,
        who: DomId,
        request: &Request,
        seen: &mut Seen,
        changes: &mut Vec<Change>,
    ) -> Result<Reply, Errno> {
        match request {
            Request::Read(path) => {
                let path = absolute(who, path)?;
                let node = self.get(who, &path, Right::Read, seen)?;
                Ok(Reply::Value(node.value.clone()))
            }
            Request::Directory(path) => {
                let path = absolute(who, path)?;
                self.get(who, &path, Right::Read, seen)?;
                Ok(Reply::Names(self.children(&path)))
            }
            Request::GetPerms(path) => {
                let path = absolute(who, path)?;
                let node = self.get(who, &path, Right::Read, seen)?;
                Ok(Reply::Perms(node.perms.clone()))
            }
            Request::Write(path, value) => {
                if path.as_str().len() + 1 + value.len() > PAYLOAD_MAX {
                    return Err(errno("E2BIG"));
                }
                let path = absolute(who, path)?;
                self.write(who, &path, value, seen, changes)
            }
            Request::Mkdir(path) => {
                let path = absolute(who, path)?;
                if self.nodes.contains_key(&path) {
                    self.get(who, &path, Right::Write, seen)?;
                    return Ok(Reply::Done);
                }
                self.write(who, &path, &[], seen, changes)
            }
            Request::Rm(path) => {
                let path = absolute(who, path)?;
                self.remove(who, &path, seen, changes)
            }
            Request::SetPerms(path, perms) => {
                let path = absolute(who, path)?;
                let owner = self.get(who, &path, Right::Own, seen)?.perms[0].domain;
                match perms.first() {
                    None => return Err(errno("EINVAL")),
                    Some(first) if who != DomId::DOM0 && first.domain != owner => {
                        return Err(errno("EPERM"));
                    }
                    Some(_) => {}
                }
                let before = self.perms(&path);
                self.touch(&path, |node| node.perms.clone_from(perms));
                changes.push(Change {
                    before,
                    ..self.changed(&path)
                });
                Ok(Reply::Done)
            }
            Request::Introduce { .. } | Request::Release(_) => Err(errno("EINVAL")),
        }
    }

    fn get(&self, who: DomId, path: &str, right: Right, seen: &mut Seen) -> Result<&Node, Errno> {
        self.note(seen, path);
        let Some(node) = self.nodes.get(path) else {
            // As xenstored: who may not read the parent does not learn that the node is missing.
            let known = self.readable(who, path);
            return Err(errno(if known { "ENOENT" } else { "EACCES" }));
        };
        if allowed(who, &node.perms, right) {
            Ok(node)
        } else {
            Err(errno("EACCES"))
        }
    }

    fn children(&self, path: &str) -> Vec<String> {
        let prefix = if path == "/" {
            "/".to_owned()
        } else {
            format!("{path}/")
        };
        self.nodes
            .range(prefix.clone()..)
            .map(|(name, _)| name)
            .take_while(|name| name.starts_with(&prefix))
            .map(|name| &name[prefix.len()..])
            .filter(|name| !name.is_empty() && !name.contains('/'))
            .map(str::to_owned)
            .collect()
    }

    fn touch(&mut self, path: &str, change: impl FnOnce(&mut Node)) {
        self.generation += 1;
        if let Some(node) = self.nodes.get_mut(path) {
            node.generation = self.generation;
            change(node);
        }
    }

    fn changed(&self, path: &str) -> Change {
        Change {
            path: path.to_owned(),
            value: self.nodes.get(path).map(|node| node.value.clone()),
            exact: false,
            before: Vec::new(),
        }
    }

    fn perms(&self, path: &str) -> Vec<Permission> {
        let node = self.nodes.get(path);
        node.map(|node| node.perms.clone()).unwrap_or_default()
    }

    fn write(
        &mut self,
        who: DomId,
        path: &str,
        value: &[u8],
        seen: &mut Seen,
        changes: &mut Vec<Change>,
    ) -> Result<Reply, Errno> {
        if self.nodes.contains_key(path) {
            self.get(who, path, Right::Write, seen)?;
            self.touch(path, |node| node.value = value.to_vec());
        } else {
            self.make(who, path, seen)?;
            self.touch(path, |node| node.value = value.to_vec());
        }
        changes.push(self.changed(path));
        Ok(Reply::Done)
    }

    /// Makes `path` and its missing parents.
    fn make(&mut self, who: DomId, path: &str, seen: &mut Seen) -> Result<(), Errno> {
        self.note(seen, path);
        let mut missing = vec![path.to_owned()];
        let mut at = path;
        let mut perms = loop {
            at = parent(at).ok_or_else(|| errno("EINVAL"))?;
            self.note(seen, at);
            match self.nodes.get(at) {
                Some(node) if allowed(who, &node.perms, Right::Write) => break node.perms.clone(),
                Some(_) => return Err(errno("EACCES")),
                None => missing.push(at.to_owned()),
            }
        };
        if who != DomId::DOM0 {
            perms[0].domain = who;
        }
        let base = at.to_owned();
        self.touch(&base, |_| {});
        for name in missing {
            self.generation += 1;
            let node = Node {
                value: Vec::new(),
                perms: perms.clone(),
                generation: self.generation,
            };
            self.nodes.insert(name, node);
        }
        Ok(())
    }

    fn remove(
        &mut self,
        who: DomId,
        path: &str,
        seen: &mut Seen,
        changes: &mut Vec<Change>,
    ) -> Result<Reply, Errno> {
        let up = parent(path).ok_or_else(|| errno("EINVAL"))?.to_owned();
        match self.get(who, path, Right::Write, seen) {
            Ok(_) => {}
            Err(e) if e.is_missing() && self.nodes.contains_key(&up) => return Ok(Reply::Done),
            Err(e) => return Err(e),
        }
        let below = format!("{path}/");
        let gone: Vec<String> = self
            .nodes
            .range(below.clone()..)
            .map(|(name, _)| name)
            .take_while(|name| name.starts_with(&below))
            .cloned()
            .collect();
        self.note(seen, &up);
        self.touch(&up, |_| {});
        let before = self.perms(path);
        self.nodes.remove(path);
        changes.push(Change {
            before,
            ..self.changed(path)
        });
        for name in gone {
            self.note(seen, &name);
            let before = self.perms(&name);
            self.nodes.remove(&name);
            changes.push(Change {
                path: name,
                value: None,
                exact: true,
                before,
            });
        }
        Ok(Reply::Done)
    }
}
