// SPDX-License-Identifier: GPL-3.0-only
//! The kernel of a service VM is upgraded, and that is undone, while stock clients fetch files all the time: from the Linux that
//! Debian had before to the one that it has now, and back.

use rxl_tests::lab::Lab;
use rxl_tests::lab::servers::house::{self, FOLDER};
use rxl_tests::lab::servers::stock::Stock;

use super::clients::Clients;
use super::{build, counters};
use crate::declared::{self, active, end, last_event, wait_event, with_logger};
use crate::dom0::Dom0;

/// The version of Linux that the active server runs, by its own words.
fn kernel(dom0: &Dom0) -> String {
    let log = format!("/var/log/xen/console/guest-{}.log", active(dom0));
    let said = dom0.ok(&format!("sed -n 's/.*rxl-guest: ready, Linux //p' {log}"));
    said.trim().to_owned()
}

#[test]
fn lab_servers_kernel_is_upgraded_and_back_under_stock_clients() {
    Lab::up_with(&["servers", "older"]).unwrap_or_else(|error| panic!("{error}"));
    let dom0 = with_logger();
    let stock = Stock::Nginx;
    let house = build(&dom0, stock);
    // One initial ramdisk with the modules of both kernels.
    dom0.ok(&format!(
        "cat /lab/guest/initrd.img /lab/older/modules.img >{FOLDER}/initrd.img"
    ));
    for (name, kernel) in [
        ("server", "/lab/older/vmlinux"),
        ("new", "/lab/guest/vmlinux"),
    ] {
        let guest = house::guest(stock, "pv")
            .replace("'server'", &format!("'{name}'"))
            .replace("/lab/guest/initrd.img", &format!("{FOLDER}/initrd.img"))
            .replace("/lab/guest/vmlinux", kernel);
        dom0.ok(&format!(
            "cat > /root/demo/{name}.cfg <<'END'\n{guest}END\n"
        ));
    }
    declared::apply(&dom0, &house::group(stock));
    let older = dom0.ok("cat /lab/older/version").trim().to_owned();
    assert_eq!(kernel(&dom0), older);
    let clients = Clients::begin(&dom0, stock);
    clients.go_on(1);

    let since = last_event(&dom0);
    dom0.ok("rxl ft upgrade www --to /root/demo/new.cfg --drain 2s --rollback-for 2h --no-wait");
    print!("{}", wait_event(&dom0, since, "upgrade-moved"));
    clients.go_on(1);
    let newer = kernel(&dom0);
    assert!(!newer.is_empty() && newer != older, "{newer}");

    let since = last_event(&dom0);
    dom0.ok("rxl ft rollback www --no-wait");
    print!("{}", wait_event(&dom0, since, "upgrade-undone"));
    clients.go_on(1);
    assert_eq!(kernel(&dom0), older);

    let rounds = clients.end();
    let counters = counters(&dom0);
    let counts: Vec<_> = rounds.iter().map(|(it, count)| (it.name, count)).collect();
    println!("{older} to {newer} and back: rounds: {counts:?}; {counters}");
    assert_eq!(
        (counters["lost"].as_u64(), counters["diverged"].as_u64()),
        (Some(0), Some(0)),
        "{counters}\n{}",
        clients.story()
    );
    end(&dom0);
    dom0.wait_no_dying();
    house.clear().unwrap_or_else(|e| panic!("{e}"));
}
