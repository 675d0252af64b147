// SPDX-License-Identifier: GPL-3.0-only
//! Real interfaces in a namespace of their own.

use super::*;
use crate::device::testing::{in_namespace, ip};

fn plan(bridge: Option<&str>) -> Plan {
    Plan {
        interface: "vif5.0".into(),
        rename: None,
        bridge: bridge.map(str::to_owned),
        mac: [0xfe, 0, 3, 0, 5, 0],
    }
}

#[test]
fn interface_comes_up_with_its_own_address_and_without_ipv6() {
    if !in_namespace("devd::ports::tests::interface_comes_up_with_its_own_address_and_without_ipv6")
    {
        return;
    }
    ip("link add vif5.0 type veth peer name far");
    ip("link set far up");
    let mut ports = LinuxPorts::open().unwrap();
    assert!(ports.exists("vif5.0").unwrap());
    assert!(!ports.exists("vif6.0").unwrap());
    // Only Dom0 has this bridge.
    assert_eq!(ports.set_up(&plan(Some("xenbr0"))).unwrap(), None);
    let mut netlink = Netlink::open().unwrap();
    let link = netlink.link("vif5.0").unwrap().unwrap();
    assert_eq!((link.up, link.master), (true, None));
    assert_eq!(link.mac, [0xfe, 0, 3, 0, 5, 0]);
    if let Ok(text) = std::fs::read_to_string("/proc/sys/net/ipv6/conf/vif5.0/disable_ipv6") {
        assert_eq!(text.trim(), "1");
    }
}

#[test]
fn interface_goes_onto_a_bridge_that_is_here() {
    if !in_namespace("devd::ports::tests::interface_goes_onto_a_bridge_that_is_here") {
        return;
    }
    ip("link add lan mtu 1400 type bridge");
    ip("link add vif5.0 type veth peer name far");
    let mut ports = LinuxPorts::open().unwrap();
    let renamed = Plan {
        rename: Some("web0".into()),
        ..plan(Some("lan"))
    };
    assert_eq!(ports.set_up(&renamed).unwrap().as_deref(), Some("lan"));
    let mut netlink = Netlink::open().unwrap();
    let bridge = netlink.link("lan").unwrap().unwrap();
    let link = netlink.link("web0").unwrap().unwrap();
    assert_eq!(
        (link.master, link.mtu, link.up),
        (Some(bridge.index), 1400, true)
    );
    let error = ports.set_up(&plan(None)).unwrap_err();
    assert_eq!(error.object, "vif5.0");
}
