// SPDX-License-Identifier: GPL-3.0-only
//! The interfaces that the kernel's netback makes, one for each vif served here.

use std::io;
use std::path::PathBuf;

use crate::device::netlink::{Change, Netlink};
use crate::error::{Code, Error, Result};

/// How to set up an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The kernel's name for it, `vif5.0`.
    pub interface: String,
    /// A name to give it.
    pub rename: Option<String>,
    /// Bridge to put it on, if this domain has one of that name.
    pub bridge: Option<String>,
    /// Its own address. netback gives all its interfaces the same one, and a bridge would take that for its own.
    pub mac: [u8; 6],
}

/// What can be done with interfaces.
pub trait Ports {
    /// Is there an interface of this name now?
    fn exists(&mut self, name: &str) -> Result<bool>;
    /// Sets up an interface that exists and brings it up. Tells the bridge that it is on.
    fn set_up(&mut self, plan: &Plan) -> Result<Option<String>>;
}

/// The interfaces of this kernel.
#[derive(Debug)]
pub struct LinuxPorts {
    netlink: Netlink,
}

impl LinuxPorts {
    /// Connects to the kernel.
    pub fn open() -> Result<Self> {
        Ok(Self {
            netlink: Netlink::open()?,
        })
    }
}

impl Ports for LinuxPorts {
    fn exists(&mut self, name: &str) -> Result<bool> {
        Ok(self.netlink.link(name)?.is_some())
    }

    fn set_up(&mut self, plan: &Plan) -> Result<Option<String>> {
        let Some(link) = self.netlink.link(&plan.interface)? else {
            let why = "it went away again";
            return Err(Error::new(
                Code::NotFound,
                "set up the interface",
                &plan.interface,
                why,
            ));
        };
        // A bridge that only Dom0 has is named for Dom0's sake.
        let bridge = match &plan.bridge {
            Some(name) => self.netlink.link(name)?.filter(|found| found.bridge),
            None => None,
        };
        // Before it is up: an interface that comes up with IPv6 sends packets of its own to the guest.
        without_ipv6(&plan.interface)?;
        let change = Change {
            name: plan.rename.clone(),
            master: bridge.as_ref().map(|b| b.index),
            mtu: bridge.as_ref().map(|b| b.mtu),
            mac: Some(plan.mac),
            arp: Some(false),
            up: None,
        };
        self.netlink.change(&link, &change)?;
        self.netlink.change(
            &link,
            &Change {
                up: Some(true),
                ..Change::default()
            },
        )?;
        Ok(bridge.map(|b| b.name))
    }
}

/// Turns IPv6 off on an interface. A kernel without IPv6 has nothing to turn off.
fn without_ipv6(interface: &str) -> Result<()> {
    let path = PathBuf::from("/proc/sys/net/ipv6/conf")
        .join(interface)
        .join("disable_ipv6");
    match std::fs::write(&path, "1") {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::new(
            Code::System,
            "turn IPv6 off",
            path.display().to_string(),
            e,
        )),
    }
}

#[cfg(test)]
mod tests;
