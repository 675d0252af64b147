// SPDX-License-Identifier: GPL-3.0-only
//! An upload of some MiB, whose server dies in the middle, to a service of which nothing is said but its kind.

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use fttcp::control::{GroupSpec, ServiceSpec};
use rxl_tests::netns::ftp::FtpServer;
use rxl_tests::netns::ftp::script::Script;
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::service::Serves;
use rxl_tests::netns::topology::Topology;

type Outcome = Result<(), Box<dyn Error>>;

const LENGTH: usize = 9 << 20;
/// So much is said when the server dies.
const BEFORE: usize = 6 << 20;

#[test]
fn upload_of_some_mib_is_whole_with_the_defaults() -> Outcome {
    let mut topology = Topology::build(Layout {
        serves: Serves::Ftp(FtpServer::Vsftpd),
        group: Some(GroupSpec {
            services: vec![ServiceSpec::new(21, "ftp")],
            ..GroupSpec::default()
        }),
        ..Layout::default()
    })?;
    let content = Random::new(3).bytes(LENGTH);
    let sent = topology.folder().join("sent");
    fs::write(&sent, &content)?;
    let into = topology.folder().join("files/in");
    fs::create_dir(&into)?;
    fs::set_permissions(&into, fs::Permissions::from_mode(0o777))?;
    topology.serve()?;
    let text = format!(
        "said = 0
def count(block):
    global said
    if said < {BEFORE} <= said + len(block):
        pause()
    said += len(block)
with open('{}', 'rb') as file:
    told = ftp.storbinary('STOR in/up', file, callback=count)
assert told.startswith('226'), told
assert ftp.pwd() == '/'
ftp.quit()
",
        sent.display()
    );
    let mut script = Script::start(&topology, FtpServer::Vsftpd.login(), &text)?;
    script.wait_ready()?;

    topology.crash()?;
    script.go_on()?;
    script.finish(&topology)?;

    assert!(fs::read(into.join("up"))? == content, "another file");
    let failover = topology.wait_moved()?.failover.ok_or("no failover")?;
    let (counters, log) = topology.end_of_logger()?;
    // The session, and its upload.
    assert_eq!((failover.recovered, failover.lost), (2, 0), "{log}");
    assert_eq!((counters.full_buffers, counters.diverged), (0, 0), "{log}");
    Ok(())
}
