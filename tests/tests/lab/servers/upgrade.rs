// SPDX-License-Identifier: GPL-3.0-only
//! An upgrade ends before a transfer does.

use rxl_tests::lab::Lab;
use rxl_tests::lab::servers::house::{self, FOLDER};
use rxl_tests::lab::servers::stock::{DOWN, Stock};
use rxl_tests::netns::ftp::FtpServer;
use rxl_tests::netns::topology::SERVER;

use super::{build, counters};
use crate::declared::{self, active, end, last_event, story, wait_event, with_logger};
use crate::download::{begin_download_of, downloading, end_download_of};

#[test]
fn lab_servers_transfer_that_outlasts_an_upgrade_goes_on_with_the_new_member() {
    Lab::up_with(&["servers"]).unwrap_or_else(|error| panic!("{error}"));
    let dom0 = with_logger();
    let stock = Stock::Ftp(FtpServer::Vsftpd);
    let house = build(&dom0, stock);
    for name in ["server", "new"] {
        let guest = house::guest(stock, "pv").replace("'server'", &format!("'{name}'"));
        dom0.ok(&format!(
            "cat > /root/demo/{name}.cfg <<'END'\n{guest}END\n"
        ));
    }
    declared::apply(&dom0, &house::group(stock));
    let old = active(&dom0);
    begin_download_of(&dom0, &format!("ftp://{SERVER}/{}", DOWN.0));

    let since = last_event(&dom0);
    dom0.ok("rxl ft upgrade www --to /root/demo/new.cfg --drain 1s --rollback-for 1s --no-wait");
    print!("{}", wait_event(&dom0, since, "upgrade-moved"));
    assert!(downloading(&dom0), "the download was too short");
    print!("{}", wait_event(&dom0, since, "upgrade-done"));
    assert!(downloading(&dom0), "the download was too short");
    let list = dom0.ok("rxl list");
    assert!(
        !list.contains(&old),
        "the old member is gone: {list}{}",
        story(&dom0)
    );
    end_download_of(
        &dom0,
        &format!("sha256sum <{FOLDER}/common/files/{}", DOWN.0),
    );

    let counters = counters(&dom0);
    println!("{counters}");
    let count = |name: &str| counters[name].as_u64().unwrap_or(u64::MAX);
    assert_eq!((count("lost"), count("diverged")), (0, 0), "{counters}");
    // The transfer, and its session.
    assert_eq!(count("recovered"), 2, "{counters}");
    end(&dom0);
    dom0.wait_no_dying();
    house.clear().unwrap_or_else(|e| panic!("{e}"));
}
