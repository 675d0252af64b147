// SPDX-License-Identifier: GPL-3.0-only
//! A page of words that the logger's domain copies from and to, and a bell:
//!
//! | word | | by |
//! |---|---|---|
//! | 0 | `rxlcomt1` | agent |
//! | 1 | the newest number that is wanted | logger |
//! | 2 | the newest that is done | agent |
//! | 3 | the newest that has failed | agent |
//! | 4 | word 1 with all bits turned: Xen copies bytes, and a number of which only some are there is none | logger |

use std::io;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use toolstack::guest::COMMIT;
use toolstack::store::Store;
use xen_sys::grants::SharedWords;

use crate::grants::hypervisor::{Bell, Hypervisor, PAGE, Pages};
use crate::grants::node;
use crate::say;

const MAGIC: u64 = u64::from_le_bytes(*b"rxlcomt1");

/// Words of the page.
mod word {
    pub(super) const MAGIC: usize = 0;
    pub(super) const WANTED: usize = 1;
    pub(super) const DONE: usize = 2;
    pub(super) const FAILED: usize = 3;
    pub(super) const CHECK: usize = 4;
}

/// See the module's text. When it is dropped, the node goes, then the page.
pub(super) struct Page<H: Hypervisor, S: Store> {
    store: S,
    bell: H::Bell,
    words: SharedWords,
    _pages: H::Pages,
    /// The newest number that is dealt with.
    last: u64,
}

impl<H: Hypervisor, S: Store> Page<H, S> {
    /// Grants a page to the domain behind network interface `vif` and tells it. What stands in `store` is of an agent that was
    /// killed, whose page is gone.
    ///
    /// # Errors
    /// What is missing.
    pub(super) fn offer(hypervisor: &H, store: S, vif: u32) -> Result<Self, String> {
        node::withdraw(&store, COMMIT)?;
        let logger = node::logger(&store, vif)?;
        let mut pages = hypervisor.pages()?;
        let bell = hypervisor.bell(logger)?;
        let grefs = pages.add(logger, 1)?;
        let words = SharedWords::map(&pages, 0, PAGE as usize)
            .map_err(|e| format!("a granted page cannot be mapped: {e}"))?;
        words.store(word::MAGIC, MAGIC);
        let gref = grefs.first().copied().unwrap_or_default();
        node::publish(&store, COMMIT, logger, gref, bell.port())?;
        Ok(Self {
            store,
            bell,
            words,
            _pages: pages,
            last: 0,
        })
    }

    /// The number that is wanted, if it is a new one.
    fn wanted(&self) -> Option<u64> {
        let wanted = self.words.load(word::WANTED);
        let whole = self.words.load(word::CHECK) == !wanted;
        Some(wanted).filter(|&wanted| whole && wanted > self.last)
    }

    /// Serves until `stop` can be read.
    ///
    /// # Errors
    /// The bell does not work any more.
    pub(super) fn serve(
        &mut self,
        stop: impl AsFd,
        flush: impl Fn() -> Result<String, String>,
    ) -> io::Result<()> {
        loop {
            let mut fds = [
                PollFd::new(&stop, PollFlags::IN),
                PollFd::new(&self.bell, PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if !fds[0].revents().is_empty() {
                return Ok(());
            }
            // Before the number is read: what comes later rings again.
            if !self.bell.heard()? {
                continue;
            }
            let Some(wanted) = self.wanted() else {
                continue;
            };
            self.last = wanted;
            match flush() {
                Ok(_) => self.words.store(word::DONE, wanted),
                Err(why) => {
                    say(&format!("commit: data cannot be brought to disk: {why}"));
                    self.words.store(word::FAILED, wanted);
                }
            }
            self.bell.ring()?;
        }
    }
}

impl<H: Hypervisor, S: Store> Drop for Page<H, S> {
    fn drop(&mut self) {
        if let Err(why) = node::withdraw(&self.store, COMMIT) {
            say(&format!("commit: {why}"));
        }
    }
}
