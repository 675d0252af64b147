// SPDX-License-Identifier: GPL-3.0-only
//! Connections that the server opens because its client, on another one, has asked for it: FTP's data connections in active
//! mode. Which one a replacement means, the client's end tells: it was named for this one alone.

use super::places::Place;
use super::table::Key;
use super::{Ends, Engine};
use crate::frame::Output;
use crate::service::Link;
use crate::wire::Head;

impl Engine {
    /// The service of a connection that the server with this number opens, and who announced it. `None`: nobody.
    pub(super) fn opening_service(&mut self, key: &Key, number: u32) -> Option<(usize, Ends)> {
        let group = self.groups[key.group].as_ref()?;
        let place = Place::opening(key.client, key.server);
        let (by, _) = group.links.announced(place)?;
        let slot = self.table.find(&Key::of(key.group, by))?;
        let control = self.table.get(slot)?;
        let stands =
            control.link() == Some(Link::Opens(key.client)) && control.server_number == number;
        let service = control.service;
        self.table.schedule(slot);
        let group = self.groups[key.group].as_ref().filter(|_| stands)?;
        Some((group.announced_service(service)?, by))
    }

    /// The connection that was announced at this place and that waits to be opened again by a server with these options.
    pub(super) fn waiting_link(&mut self, key: &Key, head: &Head) -> Option<usize> {
        let group = self.groups[key.group].as_ref()?;
        let place = Place::opening(key.client, key.server);
        let came: Vec<Ends> = group.links.came(place).collect();
        came.into_iter().rev().find_map(|ends| {
            let slot = self.table.find(&Key::of(key.group, ends))?;
            let known = self.table.get(slot)?;
            let waits = known.awaits_opening() && known.suits(head);
            self.table.schedule(slot);
            waits.then_some(slot)
        })
    }

    /// The server will open nothing where `by` has announced it.
    pub(super) fn forget_unused(&mut self, index: usize, by: Ends, out: &mut dyn Output) {
        let group = self.groups[index].as_mut();
        if group.is_some_and(|group| group.links.forget_unused(by)) {
            self.announce_services(index, out);
        }
    }

    /// A connection that the server had opened is forgotten: so is where it was announced.
    pub(super) fn forget_opening(&mut self, index: usize, ends: Ends, out: &mut dyn Output) {
        let group = self.groups[index].as_mut();
        if group.is_some_and(|group| group.links.forget_place(ends)) {
            self.announce_services(index, out);
        }
    }
}
