// SPDX-License-Identifier: GPL-3.0-only
//! The area of the moment, its bell and its node: made for a program, kept after it, taken back for the next one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use toolstack::guest::WRAP;
use toolstack::store::Store;

use super::area::Area;
use super::directory::Directory;
use crate::grants::hypervisor::{Bell, Hypervisor};
use crate::grants::node;
use crate::say;

/// Lends areas, one at a time. When it is dropped, the node goes, then the area.
pub(super) struct Lender<H: Hypervisor, S: Store> {
    hypervisor: H,
    store: S,
    vif: u32,
    lent: Option<Lent<H>>,
}

struct Lent<H: Hypervisor> {
    area: Area<H::Pages>,
    bell: H::Bell,
}

impl<H: Hypervisor, S: Store> Lender<H, S> {
    /// Lends nothing yet. What stands in `store` is of an agent that was killed, whose area is gone.
    pub(super) fn new(hypervisor: H, store: S, vif: u32) -> Self {
        let mut lender = Self {
            hypervisor,
            store,
            vif,
            lent: None,
        };
        lender.take_back();
        lender
    }

    /// Makes a new area in place of the last one: its descriptor and its size.
    ///
    /// # Errors
    /// What is missing. If it is missing from the start, the last area stays.
    pub(super) fn lend(&mut self) -> Result<(BorrowedFd<'_>, u64), String> {
        let logger = node::logger(&self.store, self.vif)?;
        // Both while the last ones are still there: so the node's value differs from the last one, and whoever looks at the
        // node only now and then finds that another area is meant.
        let directory = Directory::new(self.hypervisor.pages()?, logger)?;
        let bell = self.hypervisor.bell(logger)?;
        self.take_back();
        let area = Area::new(self.hypervisor.pages()?, directory)?;
        node::publish(&self.store, WRAP, logger, area.root(), bell.port())?;
        let Lent { area, .. } = &*self.lent.insert(Lent { area, bell });
        Ok((area.as_fd(), area.size()))
    }

    fn take_back(&mut self) {
        if let Err(why) = node::withdraw(&self.store, WRAP) {
            say(&format!("wrap: {why}"));
        }
        self.lent = None;
    }

    /// The bell's descriptor: readable when the logger has rung.
    pub(super) fn bell(&self) -> Option<BorrowedFd<'_>> {
        self.lent.as_ref().map(|lent| lent.bell.as_fd())
    }

    /// Grows the area to `wanted` bytes if it can be, and tells the logger. Returns its size then.
    ///
    /// # Errors
    /// The bell does not work.
    pub(super) fn grow(&mut self, wanted: u64) -> io::Result<u64> {
        let Some(Lent { area, bell }) = &mut self.lent else {
            return Ok(0);
        };
        match area.grow(wanted) {
            Ok(true) => bell.ring()?,
            Ok(false) => {}
            Err(why) => say(&format!("wrap: the record's memory cannot grow: {why}")),
        }
        Ok(area.size())
    }

    /// If the logger has rung, grows the area to what it wants, and returns the size then.
    ///
    /// # Errors
    /// The bell does not work.
    pub(super) fn hear(&mut self) -> io::Result<Option<u64>> {
        let Some(Lent { area, bell }) = &self.lent else {
            return Ok(None);
        };
        if !bell.heard()? {
            return Ok(None);
        }
        let wanted = area.wanted();
        self.grow(wanted).map(Some)
    }
}

impl<H: Hypervisor, S: Store> Drop for Lender<H, S> {
    fn drop(&mut self) {
        self.take_back();
    }
}
