// SPDX-License-Identifier: GPL-3.0-only
//! An agent in another domain, which grants a page of words to this one:
//!
//! | word | | by |
//! |---|---|---|
//! | 0 | `rxlcomt1` | agent |
//! | 1 | the newest number that is wanted | logger |
//! | 2 | the newest that is done | agent |
//! | 3 | the newest that has failed | agent |
//! | 4 | word 1 with all bits turned: Xen copies bytes, and a number of which only some are there is none | logger |
//!
//! The numbers in the page go on where a logger before this one stopped; the engine's begin anew.

use std::io;
use std::rc::Rc;

use xen_sys::grants::Piece;

use super::super::grants::{Bell, Copier};
use super::socket::Heard;
use crate::control::Grant;

const MAGIC: u64 = u64::from_le_bytes(*b"rxlcomt1");
/// Words that are read.
const READ: usize = 4;
/// The words that are written, as bytes from the beginning.
const WANTED: u16 = 8;
const CHECK: u16 = 32;
/// They are read twice until both are the same, so often at most.
const TRIES: usize = 8;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) grant: Grant,
    copier: Rc<dyn Copier>,
    bell: Option<Bell>,
    /// What is added to the engine's numbers, once that is known.
    base: Option<u64>,
    done: u64,
    failed: u64,
}

impl Page {
    pub(super) const fn new(grant: Grant, copier: Rc<dyn Copier>, bell: Option<Bell>) -> Self {
        Self {
            grant,
            copier,
            bell,
            base: None,
            done: 0,
            failed: 0,
        }
    }

    /// Whether this is the local port of its bell.
    pub(super) fn hears(&self, port: u32) -> bool {
        self.bell.as_ref().is_some_and(|bell| bell.has(port))
    }

    fn words(&self) -> io::Result<[u64; READ]> {
        let gref = self.grant.gref;
        for _ in 0..TRIES {
            let (mut one, mut two) = ([0; 8 * READ], [0; 8 * READ]);
            let [first, second] = [&mut one, &mut two].map(|into| Piece::Read {
                gref,
                offset: 0,
                into,
            });
            self.copier.copy(self.grant.domain, &mut [first, second])?;
            if one == two {
                let mut words = [0; READ];
                for (word, bytes) in words.iter_mut().zip(one.as_chunks().0) {
                    *word = u64::from_le_bytes(*bytes);
                }
                return Ok(words);
            }
        }
        Err(io::Error::other(
            "what its domain grants does not stand still",
        ))
    }

    /// Asks.
    pub(super) fn ask(&mut self, number: u64) -> io::Result<()> {
        let base = match self.base {
            Some(base) => base,
            None => {
                let [magic, wanted, done, failed] = self.words()?;
                if magic != MAGIC {
                    let what = "what its domain grants is no page to ask by";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
                (self.done, self.failed) = (done, failed);
                *self.base.insert(wanted.max(done).max(failed))
            }
        };
        let wanted = base.saturating_add(number);
        let gref = self.grant.gref;
        let write = |offset, from| Piece::Write { gref, offset, from };
        let (number, check) = (wanted.to_le_bytes(), (!wanted).to_le_bytes());
        let mut pieces = [write(WANTED, &number), write(CHECK, &check)];
        self.copier.copy(self.grant.domain, &mut pieces)?;
        if let Some(bell) = &self.bell {
            bell.ring();
        }
        Ok(())
    }

    /// What has been answered, in order.
    pub(super) fn hear(&mut self) -> io::Result<Vec<Heard>> {
        let Some(base) = self.base else {
            return Ok(Vec::new());
        };
        let [_, _, done, failed] = self.words()?;
        let mut heard = Vec::new();
        if failed > self.failed {
            let why = Err("its agent says so".to_owned());
            heard.push((failed.saturating_sub(base), why));
            self.failed = failed;
        }
        if done > self.done {
            heard.push((done.saturating_sub(base), Ok(())));
            self.done = done;
        }
        heard.retain(|(number, _)| *number > 0);
        heard.sort_by_key(|(number, _)| *number);
        Ok(heard)
    }
}
