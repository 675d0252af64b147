// SPDX-License-Identifier: GPL-3.0-only
//! What the house is made of: MTU, VLAN tag, congestion control, kernel parameters, a bad line, and which programs serve.

use std::path::PathBuf;

use fttcp::control::{GroupSpec, Outbound, Verify};
use fttcp::wire::MacAddr;

use super::chain::Chain;
use super::line::Fault;
use super::service::Serves;
use super::space::Space;
use super::topology::{CLIENT, Middle};

/// The MAC address of both servers.
pub const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0x77, 2]);

/// Kernel parameters by name, each with its value: see `Space::sysctl`.
pub type Parameters = &'static [(&'static str, &'static str)];

/// See the module's text. The default is the plain house with nginx.
#[derive(Clone, Debug)]
pub struct Layout {
    /// What stands between client and servers.
    pub middle: Middle,
    /// The line between client and logger; `None`: a pair of virtual interfaces without faults.
    pub line: Option<Fault>,
    /// MTU of every interface, in bytes; below 1280 there is no IPv6.
    pub mtu: Option<u32>,
    /// The VLAN tag that frames bear on their way through the logger. Lines at both sides put it in and take it out, as
    /// switches do with the ports of a VLAN.
    pub vlan: Option<u16>,
    /// Congestion control of both ends, as the kernel names it.
    pub congestion: Option<String>,
    /// Kernel parameters of the client's end.
    pub client_kernel: Parameters,
    /// Kernel parameters of the servers: the first server's, the second one's, and so by turns.
    pub server_kernels: [Parameters; 2],
    /// What the servers run.
    pub serves: Serves,
    /// What the second server runs, if it is another product.
    pub second: Option<Serves>,
    /// More lines for the configuration of nginx, in its server block; paths are relative to its own folder.
    pub nginx: &'static str,
    /// What becomes of connections that a server opens.
    pub outbound: Outbound,
    /// The program of [`super::storm`] to run on each server beside nginx.
    pub storm: Option<PathBuf>,
    /// The program of [`super::kv`] to run on each server beside nginx; both have one folder for it.
    pub kv: Option<PathBuf>,
    /// A program of [`super::chain`] to run on each server beside nginx.
    pub chain: Option<Chain>,
    /// The plug-in of the service at port 80.
    pub kind: &'static str,
    /// How what a replacement says is compared, unless `group` says it.
    pub verify: Verify,
    /// What the logger protects, and how; name and interfaces are filled in. `None`: ports 80 and 7, with much room.
    pub group: Option<GroupSpec>,
    /// Servers have agents that can be asked for their disks: [`super::disk`].
    pub disks: bool,
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
            client_kernel: &[],
            server_kernels: [&[], &[]],
            serves: Serves::Web,
            second: None,
            nginx: "",
            outbound: Outbound::Pass,
            storm: None,
            kv: None,
            chain: None,
            kind: "opaque",
            verify: Verify::Auto,
            group: None,
            disks: false,
            logger: Vec::new(),
        }
    }
}

impl Layout {
    /// The line at the clients' side, if there is to be one.
    #[must_use]
    pub fn north_line(&self) -> Option<Fault> {
        self.with_tag(self.line)
    }

    /// The line at each server's side, if there is to be one. It only sees to the tag.
    #[must_use]
    pub fn south_line(&self) -> Option<Fault> {
        self.with_tag(None)
    }

    fn with_tag(&self, line: Option<Fault>) -> Option<Fault> {
        let tag = self.vlan.map(|tag| Fault {
            tag: Some(tag),
            ..line.unwrap_or_default()
        });
        tag.or(line)
    }

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
        mac: Option<MacAddr>,
        [v4, v6]: [&str; 2],
    ) -> Result<(), String> {
        if let Some(MacAddr(bytes)) = mac {
            let mac = bytes.map(|byte| format!("{byte:02x}")).join(":");
            space.ip(&["link", "set", "eth0", "address", &mac])?;
        }
        self.prepare_path(space, "eth0")?;
        if self.line.is_some() {
            // A line loses frames as they are on a wire: no super-segment, which would be lost as a whole.
            space.ip(&["link", "set", "eth0", "gso_max_segs", "1"])?;
        }
        space.ip(&["address", "add", &format!("{v4}/24"), "dev", "eth0"])?;
        if v4 != CLIENT {
            // Whoever is not a neighbour is answered through the client.
            space.ip(&["route", "add", "default", "via", CLIENT])?;
        }
        let has_v6 = self.mtu.is_none_or(|mtu| mtu >= 1280);
        if has_v6 {
            // Without asking around whether another has it: the standby does.
            let v6 = format!("{v6}/64");
            space.ip(&["address", "add", &v6, "dev", "eth0", "nodad"])?;
        }
        if let Some(congestion) = &self.congestion {
            // By route: a namespace may not change its default to one that is not allowed to everybody.
            let route = ["route", "replace", "10.77.0.0/24", "dev", "eth0", "src", v4];
            space.ip(&[route.as_slice(), &["congctl", congestion]].concat())?;
            if has_v6 {
                let route = ["-6", "route", "replace", "fd77::/64", "dev", "eth0"];
                let kept = ["proto", "kernel", "metric", "256", "congctl", congestion];
                space.ip(&[route.as_slice(), &kept].concat())?;
            }
        }
        Ok(())
    }
}
