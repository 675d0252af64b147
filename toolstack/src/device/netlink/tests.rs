// SPDX-License-Identifier: GPL-3.0-only
//! Real links in a namespace of their own.

use std::time::{Duration, Instant};

use super::super::testing::{in_namespace, ip};
use super::*;
use crate::store::UNINTERRUPTED;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[test]
fn links_are_found_changed_and_released() {
    if !in_namespace("device::netlink::tests::links_are_found_changed_and_released") {
        return;
    }
    ip("link add xenbr0 type bridge");
    ip("link add vif5.0 type veth peer name far");
    let mut netlink = Netlink::open().unwrap();
    assert_eq!(netlink.link("none").unwrap(), None);
    assert_eq!(netlink.bridges().unwrap(), ["xenbr0"]);

    let bridge = netlink.link("xenbr0").unwrap().unwrap();
    assert!(bridge.bridge);
    let link = netlink.link("vif5.0").unwrap().unwrap();
    assert!(!link.bridge && !link.up);
    let change = Change {
        name: Some("web0".into()),
        arp: Some(false),
        master: Some(bridge.index),
        mtu: Some(1400),
        mac: Some([2, 0, 0, 0, 0, 9]),
        up: None,
    };
    netlink.change(&link, &change).unwrap();
    netlink
        .change(
            &link,
            &Change {
                up: Some(true),
                ..Change::default()
            },
        )
        .unwrap();
    let changed = netlink.link("web0").unwrap().unwrap();
    let expected = Link {
        index: link.index,
        name: "web0".into(),
        bridge: false,
        master: Some(bridge.index),
        up: true,
        mtu: 1400,
        mac: vec![2, 0, 0, 0, 0, 9],
    };
    assert_eq!(changed, expected);

    assert!(netlink.release("web0").unwrap());
    let released = netlink.link("web0").unwrap().unwrap();
    assert_eq!((released.master, released.up), (None, false));
    assert!(!netlink.release("vif5.0").unwrap());
}

#[test]
fn refused_change_names_link_and_cause() {
    if !in_namespace("device::netlink::tests::refused_change_names_link_and_cause") {
        return;
    }
    ip("link add vif5.0 type veth peer name far");
    let mut netlink = Netlink::open().unwrap();
    let link = netlink.link("vif5.0").unwrap().unwrap();
    let change = Change {
        master: Some(link.index),
        ..Change::default()
    };
    let error = netlink.change(&link, &change).unwrap_err();
    assert_eq!(
        (error.code, error.object.as_str()),
        (Code::System, "vif5.0")
    );
}

#[test]
fn link_that_appears_later_is_waited_for() {
    if !in_namespace("device::netlink::tests::link_that_appears_later_is_waited_for") {
        return;
    }
    let maker = std::thread::spawn(|| {
        ip("link add other type bridge");
        ip("link add vif5.0 type veth peer name far");
    });
    let link = wait_for_link("vif5.0", soon(), &UNINTERRUPTED)
        .unwrap()
        .unwrap();
    assert_eq!(link.name, "vif5.0");
    maker.join().unwrap();
    let deadline = Instant::now() + Duration::from_millis(20);
    assert_eq!(
        wait_for_link("never", deadline, &UNINTERRUPTED).unwrap(),
        None
    );
}
