// SPDX-License-Identifier: GPL-3.0-only
//! The daemon of a driver domain, `rxl-devd`: what `xl devd` is for other driver domains, plus the way to `ftlogger`.
//!
//! Who lives here: [`Daemon`] (what to do at each event, without waiting for anything), `vifs` (plugging back-ends),
//! `requests` (carrying Dom0's requests to `ftlogger`), `grants` (telling it what service domains grant), `ports`
//! (the kernel's interfaces), `run` (the loop that waits), `socket` (news of `ftlogger`'s start).
//! Who may call in: the binary `rxl-devd`. It runs in a minimal root file system: no libxen, no tools, no files of its own.

mod grants;
mod ports;
mod requests;
mod run;
mod socket;
mod vifs;

pub use ports::{LinuxPorts, Plan, Ports};
pub use requests::{Forward, Socket};
pub use run::{check, run};

use std::time::Instant;

use grants::{Grants, Kind};

use crate::device::relay::{REQUEST_DIR, VERSION_NODE};
use crate::error::{Code, Error, Result};
use crate::ids::DomId;
use crate::store::{Request, Store, StoreExt, Watch, WatchEvent, XsPath};

/// Version that the daemon publishes.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

const VIF_TOKEN: &str = "vif";
const REQUEST_TOKEN: &str = "request";

/// The daemon's state. It waits for nothing: [`run`] tells it what has happened.
#[derive(Debug)]
pub struct Daemon<'a, S: ?Sized, P, F> {
    store: &'a S,
    domain: DomId,
    ports: P,
    forward: F,
    vifs: vifs::Vifs,
    grants: [Grants; 2],
    /// Something below the back-ends' directory, or an interface, has changed.
    look_at_vifs: bool,
    /// What a domain grants, or who has interfaces here, may have changed.
    look_at_grants: bool,
    /// A request may be there.
    look_at_requests: bool,
}

/// The number of the domain that this store connection belongs to.
pub fn own_domain<S: Store + ?Sized>(store: &S) -> Result<DomId> {
    let node = XsPath::new("domid");
    let text = store.read_text(&node)?;
    text.as_deref()
        .and_then(|t| t.trim().parse().ok())
        .map(DomId)
        .ok_or_else(|| {
            let cause = text.map_or_else(
                || "the node is missing".to_owned(),
                |text| format!("{text:?} is not a domain's number"),
            );
            Error::new(Code::Store, "find this domain's number", "domid", cause)
        })
}

impl<'a, S: Store + ?Sized, P: Ports, F: Forward> Daemon<'a, S, P, F> {
    /// Sets the watches and tells that the daemon is ready.
    pub fn start(store: &'a S, ports: P, forward: F) -> Result<Self> {
        let domain = own_domain(store)?;
        let home = XsPath::domain(domain);
        for (path, token) in [("backend/vif", VIF_TOKEN), (REQUEST_DIR, REQUEST_TOKEN)] {
            let watch = Watch {
                path: home.join(path),
                token: token.to_owned(),
            };
            store.watch(&watch)?;
        }
        store.request(Request::write(home.join(VERSION_NODE), VERSION))?;
        log(&format!("version {VERSION} is ready in domain {domain}"));
        Ok(Self {
            store,
            domain,
            ports,
            forward,
            vifs: vifs::Vifs::default(),
            grants: Kind::ALL.map(Grants::new),
            look_at_vifs: true,
            look_at_grants: true,
            look_at_requests: true,
        })
    }

    /// A watch event has come.
    pub fn on_event(&mut self, event: &WatchEvent) {
        match event.token.as_str() {
            VIF_TOKEN => self.look_at_vifs = true,
            REQUEST_TOKEN => self.look_at_requests = true,
            token if Kind::ALL.iter().any(|kind| kind.token() == token) => {
                self.look_at_grants = true;
            }
            _ => {}
        }
    }

    /// The kernel's interfaces have changed.
    pub const fn on_links(&mut self) {
        self.look_at_vifs = true;
    }

    /// `ftlogger` has made its socket: it may be another one than before.
    pub fn on_logger(&mut self) {
        self.grants.iter_mut().for_each(Grants::forget_told);
        self.look_at_grants = true;
    }

    /// Whether `ftlogger` was not there to be told something.
    #[must_use]
    pub fn waits_for_logger(&self) -> bool {
        self.grants.iter().any(Grants::pending)
    }

    /// `ftlogger` may listen now.
    pub const fn try_logger(&mut self) {
        self.look_at_grants = true;
    }

    /// Does everything that there is to do. Events that come while the store is asked for something are queued in the client,
    /// where poll does not see them; none is left there.
    pub fn settle(&mut self) -> Result<()> {
        loop {
            while let Some(event) = self.store.next_event(Some(Instant::now()))? {
                self.on_event(&event);
            }
            if !self.work()? {
                return Ok(());
            }
        }
    }

    /// Does everything that the events since the last call ask for. Says whether that was anything.
    pub fn work(&mut self) -> Result<bool> {
        let asked = self.look_at_vifs || self.look_at_grants || self.look_at_requests;
        // Interfaces first: a request may name one that has just come. Then grants: it may be about
        // servers that have some.
        if std::mem::take(&mut self.look_at_vifs) {
            self.vifs.look(self.store, self.domain, &mut self.ports)?;
            self.look_at_grants = true;
        }
        let again = self.look_at_requests && self.waits_for_logger();
        if std::mem::take(&mut self.look_at_grants) || again {
            let interfaces = self.vifs.interfaces();
            for grants in &mut self.grants {
                grants.look(self.store, interfaces, &mut self.forward)?;
            }
        }
        if std::mem::take(&mut self.look_at_requests) {
            requests::look(self.store, self.domain, &mut self.forward)?;
        }
        Ok(asked)
    }

    /// Tells that the daemon is no longer there.
    pub fn stop(&mut self) -> Result<()> {
        let version = XsPath::domain(self.domain).join(VERSION_NODE);
        self.store.remove_all(&[version])?;
        log("stopped");
        Ok(())
    }
}

/// One line for people, on standard error.
fn log(line: &str) {
    eprintln!("rxl-devd: {line}");
}

#[cfg(test)]
mod tests;
