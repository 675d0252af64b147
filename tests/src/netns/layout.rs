// SPDX-License-Identifier: GPL-3.0-only
//! What the house is made of: MTU, VLAN tag, congestion control, a bad line, and which programs serve.

use std::path::PathBuf;

use fttcp::control::{GroupSpec, Outbound};

use super::line::Fault;
use super::service::Serves;
use super::space::Space;
use super::topology::Middle;

/// See the module's text. The default is the plain house with nginx.
#[derive(Clone, Debug)]
pub struct Layout {
    /// What stands between client and servers.
    pub middle: Middle,
    /// The line between client and logger; `None`: a pair of virtual interfaces without faults.
    pub line: Option<Fault>,
    /// MTU of every interface, in bytes; below 1280 there is no IPv6.
    pub mtu: Option<u32>,
    /// The VLAN tag that both ends use; the logger sees tagged frames.
    pub vlan: Option<u16>,
    /// Congestion control of both ends, as the kernel names it.
    pub congestion: Option<String>,
    /// What the servers run.
    pub serves: Serves,
    /// What becomes of connections that a server opens.
    pub outbound: Outbound,
    /// The program of [`super::storm`] to run on each server beside nginx.
    pub storm: Option<PathBuf>,
    /// What the logger protects, and how; name and interfaces are filled in. `None`: ports 80 and 7, with much room.
    pub group: Option<GroupSpec>,
    /// Options for `ftlogger`.
    pub logger: Vec<String>,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            middle: Middle::Protected,
            line: None,
            mtu: None,
            vlan: None,
            congestion: None,
            serves: Serves::Web,
            outbound: Outbound::Pass,
            storm: None,
            group: None,
            logger: Vec::new(),
        }
    }
}

impl Layout {
    /// Prepares an interface on the way between the ends.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn prepare_path(&self, space: &Space, interface: &str) -> Result<(), String> {
        self.mtu.map_or(Ok(()), |mtu| {
            let mtu = mtu.to_string();
            space.ip(&["link", "set", interface, "mtu", &mtu]).map(drop)
        })
    }

    /// Prepares an end of the path, whose interface is `eth0`: hardware and IP addresses, all that the layout says.
    ///
    /// # Errors
    /// What `ip` said, or what the kernel does not have.
    pub fn prepare_end(
        &self,
        space: &Space,
        mac: Option<&str>,
        [v4, v6]: [&str; 2],
    ) -> Result<(), String> {
        if let Some(mac) = mac {
            space.ip(&["link", "set", "eth0", "address", mac])?;
        }
        self.prepare_path(space, "eth0")?;
        if self.line.is_some() {
            // A line loses frames as they are on a wire: no super-segment, which would be lost as a whole.
            space.ip(&["link", "set", "eth0", "gso_max_segs", "1"])?;
        }
        let mut interface = "eth0".to_owned();
        if let Some(vlan) = self.vlan {
            let id = vlan.to_string();
            interface = format!("eth0.{vlan}");
            let link = ["link", "add", "link", "eth0", "name", &interface];
            space.ip(&[link.as_slice(), &["type", "vlan", "id", &id]].concat())?;
            space.ip(&["link", "set", &interface, "up"])?;
        }
        space.ip(&["address", "add", &format!("{v4}/24"), "dev", &interface])?;
        if self.mtu.is_none_or(|mtu| mtu >= 1280) {
            // Without asking around whether another has it: the standby does.
            let v6 = format!("{v6}/64");
            space.ip(&["address", "add", &v6, "dev", &interface, "nodad"])?;
        }
        if let Some(congestion) = &self.congestion {
            space.sysctl("net.ipv4.tcp_congestion_control", congestion)?;
        }
        Ok(())
    }
}
