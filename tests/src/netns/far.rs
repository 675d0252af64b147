// SPDX-License-Identifier: GPL-3.0-only
//! A client that is no neighbour: the house's client routes for it, says ICMP errors, and cuts packets into fragments.

use super::space::{Space, join};
use super::topology::{CLIENT, CLIENT6, Topology};

/// Its address.
pub const FAR: &str = "10.78.0.2";
/// Its other address.
pub const FAR6: &str = "fd78::2";
/// The router's addresses towards it.
const ROUTER: [&str; 2] = ["10.78.0.1", "fd78::1"];
/// With what the router asks for neighbours in the name of others (RFC 4861 section 7.2.2).
const LINK_LOCAL: &str = "fe80::1/64";
/// The router's interface towards it.
const LINK: &str = "far";

/// See the module's text.
#[derive(Debug)]
pub struct Far {
    space: Space,
}

impl Far {
    /// Puts it behind the client of `topology`, whose two servers learn the way to it.
    ///
    /// # Errors
    /// What could not be made.
    pub fn behind(topology: &Topology) -> Result<Self, String> {
        let (router, space) = (topology.client(), Space::new("far")?);
        join((router, LINK), (&space, "eth0"))?;
        for (at, interface, [v4, v6]) in [(router, LINK, ROUTER), (&space, "eth0", [FAR, FAR6])] {
            at.ip(&["address", "add", &format!("{v4}/24"), "dev", interface])?;
            let v6 = format!("{v6}/64");
            at.ip(&["address", "add", &v6, "dev", interface, "nodad"])?;
        }
        for interface in [LINK, "eth0"] {
            router.ip(&["address", "add", LINK_LOCAL, "dev", interface, "nodad"])?;
        }
        for (family, via) in ["-4", "-6"].iter().zip(ROUTER) {
            space.ip(&[family, "route", "add", "default", "via", via])?;
        }
        router.sysctls(&[
            ("net.ipv4.ip_forward", "1"),
            ("net.ipv6.conf.all.forwarding", "1"),
        ])?;
        for server in topology.servers() {
            // They have the other one: whoever is not a neighbour is answered through the client.
            server.ip(&["-6", "route", "add", "default", "via", CLIENT6])?;
        }
        space.await_link("eth0")?;
        Ok(Self { space })
    }

    /// Its namespace.
    #[must_use]
    pub const fn space(&self) -> &Space {
        &self.space
    }

    /// Makes the router's line to it narrow: whoever sends a longer packet that may not be cut gets an ICMP error.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn narrow_towards(topology: &Topology, mtu: u32) -> Result<(), String> {
        let mtu = mtu.to_string();
        topology
            .client()
            .ip(&["link", "set", LINK, "mtu", &mtu])
            .map(drop)
    }

    /// Makes the way from the router to the servers narrow, and lets packets of this client be cut there (RFC 791:
    /// without DF).
    ///
    /// # Errors
    /// What `ip` said.
    pub fn cut_from_here(&self, topology: &Topology, mtu: u32) -> Result<(), String> {
        self.space.sysctl("net.ipv4.ip_no_pmtu_disc", "1")?;
        let mtu = mtu.to_string();
        let route = [
            "route",
            "replace",
            "10.77.0.0/24",
            "dev",
            "eth0",
            "src",
            CLIENT,
        ];
        topology
            .client()
            .ip(&[route.as_slice(), &["mtu", "lock", &mtu]].concat())
            .map(drop)
    }
}

/// A counter of a namespace's network stack, by the name that `nstat` gives it.
///
/// # Errors
/// There is none of this name.
pub fn counter(space: &Space, name: &str) -> Result<u64, String> {
    let text = space.run("nstat", &["-a", "-s", "-z", "-j", name])?;
    let all: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    all["kernel"][name]
        .as_u64()
        .ok_or_else(|| format!("no {name}: {text}"))
}
