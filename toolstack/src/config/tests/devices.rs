// SPDX-License-Identifier: GPL-3.0-only
//! `vif` and `disk` specifications.

use super::*;

fn vif(text: &str) -> VifConfig {
    good(&format!("{LEAST}vif = [ '{text}' ]")).vifs.remove(0)
}

fn disk(text: &str) -> DiskConfig {
    good(&format!("{LEAST}disk = [ '{text}' ]")).disks.remove(0)
}

#[test]
fn vif_bridge_defaults_only_for_domain_0() {
    assert_eq!(vif("ip=1.2.3.4").bridge.as_deref(), Some("xenbr0"));
    assert_eq!(vif("backend=logger").bridge, None);
    let own = vif("backend=0,script=vif-route");
    assert_eq!((own.backend, own.bridge.as_deref()), (None, Some("xenbr0")));
    assert_eq!(
        own.script.as_deref(),
        Some(Path::new("/etc/xen/scripts/vif-route"))
    );
}

#[test]
fn vif_errors_point_at_the_option() {
    for (spec, message) in [
        (
            "mac=00:16:3e",
            "f:4:14: vif: mac: expected six bytes as in 00:16:3e:12:34:56, not \"00:16:3e\"",
        ),
        (
            "mac=01:00:5e:00:00:01",
            "f:4:14: vif: mac: expected the address of one interface (first byte even), multicast is for groups, not \
             \"01:00:5e:00:00:01\"",
        ),
        (
            "ip=1.2.3.4, brigde=br0",
            "f:4:22: vif: unknown option \"brigde\"; did you mean \"bridge\"?",
        ),
        (
            "rate=1Mb/s",
            "f:4:10: vif: \"rate\" is known to xl, not supported by rxl yet",
        ),
        (
            "untrusted",
            "f:4:10: vif: \"untrusted\" is known to xl, not supported by rxl yet",
        ),
        (
            "colo_sock_mirror_id=1",
            "f:4:10: vif: \"colo_sock_mirror_id\" is known to xl, not supported by rxl yet",
        ),
        (
            "devid=1",
            "f:4:16: vif: devid is the position in the list, 0 here, not \"1\"",
        ),
        (
            "type=ioemu",
            "f:4:15: vif: type=ioemu is for HVM guests, use type=vif",
        ),
        (
            "type=vfi",
            "f:4:15: vif: type: expected vif, not \"vfi\"; did you mean \"vif\"?",
        ),
        (
            "bridge=",
            "f:4:10: vif: bridge needs a value, as in bridge=...",
        ),
        (
            "bridge=a_very_long_bridge",
            "f:4:17: vif: bridge: expected an interface name of at most 15 characters without blanks and slashes, not \
             \"a_very_long_bridge\"",
        ),
    ] {
        assert_eq!(bad(&format!("vif = [ '{spec}' ]")), [message], "{spec}");
    }
    assert_eq!(
        warned("vif = [ 'ip=1.2.3.4,ip=1.2.3.5' ]"),
        ["f:4:21: warning: vif: ip is given again, the first is not used"]
    );
}

#[test]
fn disk_target_takes_the_rest_and_prefixes_are_taken_off() {
    assert_eq!(disk("vdev=xvda, target=/d,ro,").target, Path::new("/d,ro"));
    assert_eq!(disk("tap:aio:/d,xvda,w").target, Path::new("/d"));
    let drbd = disk("drbd:res0,xvda,w");
    assert_eq!(drbd.target, Path::new("res0"));
    assert_eq!(
        drbd.script.as_deref(),
        Some(Path::new("/etc/xen/scripts/block-drbd"))
    );
}

#[test]
fn disk_errors_point_at_the_option() {
    for (spec, message) in [
        (
            "/d.img,qcow2,xvda,w",
            "f:4:18: disk: format qcow2 needs QEMU as back-end, which rxl does not have yet; make it raw: qemu-img \
             convert -O raw OLD NEW",
        ),
        (
            "/d.img,rwa,xvda,w",
            "f:4:18: disk: format: expected raw or qcow2 or qcow or vhd or qed, not \"rwa\"; did you mean \"raw\"?",
        ),
        (
            "/d.img,raw,vda,w",
            "f:4:22: disk: vdev: expected a name as in xvda, xvda1, sda or hda, not \"vda\"",
        ),
        (
            "/d.img,raw,xvda,rx",
            "f:4:27: disk: access: expected ro or rw or r or w, not \"rx\"; did you mean \"ro\"?",
        ),
        (
            "/d.img,raw,xvda,r,x",
            "f:4:29: disk: \"x\" is one part too many after target, format, vdev and access",
        ),
        (
            "vdev=xvda,backendtype=qdisk,target=/d",
            "f:4:33: disk: backendtype qdisk is known to xl, not supported by rxl yet: use phy",
        ),
        (
            "vdev=xvda,fromat=raw,target=/d",
            "f:4:21: disk: unknown option \"fromat\"; did you mean \"format\"?",
        ),
        (
            "vdev=xvda",
            "f:4:10: disk: target is not given, as in \"vdev=xvda,target=/disk.img\"",
        ),
        (
            "target=/d",
            "f:4:10: disk: vdev is not given, as in \"vdev=xvda,target=/disk.img\"",
        ),
        (
            "fiel:/d,xvda,w",
            "f:4:11: disk: unknown prefix \"fiel:\"; did you mean \"file\"?",
        ),
        (
            "/d,raw,hdc:cdrom,r",
            "f:4:18: disk: a cdrom drive needs an HVM guest; attach the image with access=ro",
        ),
        (
            "vdev=xvda,no-discard,target=/d",
            "f:4:21: disk: \"no-discard\" is known to xl, not supported by rxl yet",
        ),
    ] {
        assert_eq!(bad(&format!("disk = [ '{spec}' ]")), [message], "{spec}");
    }
    assert_eq!(
        bad("disk = [ '/a,raw,xvda,w', '/b,raw,xvda,w' ]"),
        ["f:4:27: disk: another disk has the same vdev"]
    );
}
