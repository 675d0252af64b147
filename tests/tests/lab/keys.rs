// SPDX-License-Identifier: GPL-3.0-only
//! Configuration keys that the other tests do not use, seen in the guest, in Xen and by `xl`.

use crate::dom0::{Dom0, Guest, assert_same};
use crate::emulator::despite_emulator;

const UUID: &str = "12345678-1234-1234-1234-1234567890ab";

/// Two disks (a block device and a file), a script of our own for the interface, ballooning room, a fixed uuid.
fn keys_reach_the_guest(kind: &'static str) {
    let dom0 = Dom0::clean();
    dom0.ok(
        "truncate -s 8M /root/second.img; losetup /dev/loop7 2>/dev/null || losetup -r /dev/loop7 /lab/data/web.img; \
         printf '#!/bin/sh\\necho \"$@ $vif $XENBUS_PATH\" >> /root/script.log\\nip link set $vif master xenbr0 up\\n\
         [ $1 != online ] || xenstore-write $XENBUS_PATH/hotplug-status connected\\n' > /root/own-script; \
         chmod 755 /root/own-script; rm -f /root/script.log",
    );
    let before = dom0.traces();
    let path = dom0.write(&Guest {
        more: "maxmem = 256\nuuid = '12345678-1234-1234-1234-1234567890ab'\n\
               vif = ['bridge=xenbr0,script=/root/own-script']\n\
               disk = ['phy:/dev/loop7,xvda,r', 'format=raw,vdev=xvdb,access=rw,target=/root/second.img']\n",
        ..Guest::new("keys", kind)
    });
    dom0.ok(&format!("rxl create {path}"));
    dom0.wait_ready("keys");

    let id = dom0.ok("rxl domid keys").trim().to_owned();
    assert!(dom0.ok("xl list -v keys").contains(UUID));
    assert_eq!(
        dom0.ok(&format!(
            "xenstore-read /local/domain/{id}/memory/static-max"
        ))
        .trim(),
        "262144"
    );
    // 4 is XenbusStateConnected: the guest's driver uses the disk.
    let disks = dom0.ok("rxl block-list keys");
    for number in ["51712", "51728"] {
        let row = disks
            .lines()
            .find(|l| l.starts_with(number))
            .unwrap_or_else(|| panic!("no {number}: {disks}"));
        assert_eq!(row.split_whitespace().nth(3), Some("4"), "{disks}");
    }
    let config: serde_json::Value = serde_json::from_str(&dom0.ok("xl list -l keys"))
        .expect("xl reads our stored configuration");
    assert_eq!(config[0]["config"]["c_info"]["name"], "keys");

    dom0.ok("rxl destroy keys");
    let calls = dom0.ok("cat /root/script.log");
    assert!(
        calls
            .lines()
            .any(|l| l.starts_with("online") && l.contains(&format!("vif{id}.0"))),
        "{calls}"
    );
    assert_same(
        &before,
        &dom0.traces(),
        "rxl destroy left or took something",
    );
    dom0.ok("losetup -d /dev/loop7");
}

#[test]
fn lab_keys_reach_the_guest_pv() {
    keys_reach_the_guest("pv");
}

#[test]
fn lab_keys_reach_the_guest_pvh() {
    despite_emulator(|| keys_reach_the_guest("pvh"));
}
