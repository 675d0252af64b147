// SPDX-License-Identifier: GPL-3.0-only
//! Uploads to a durable FTP service: the client is told that its file is stored when the server's disk has it, and once. The
//! disks are stand-ins that are done when a test says so; what a dead server had not brought to its own is lost.

use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use fttcp::control::{Counters, GroupSpec, ServiceSpec};
use rxl_tests::netns::disk::Disk;
use rxl_tests::netns::ftp::FtpServer;
use rxl_tests::netns::ftp::script::Script;
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::service::Serves;
use rxl_tests::netns::topology::{GROUP, Topology};

type Outcome = Result<(), Box<dyn Error>>;
type House = (Topology, Vec<u8>, [Disk; 2]);

/// So long nothing must happen: a server that was not acknowledged has repeated itself by then.
const QUIET: Duration = Duration::from_millis(700);
/// So soon something must.
const AT_ONCE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(10);
const LENGTH: usize = 1_500_000;

/// A house with a file to be stored, and the disks of its two servers.
fn house() -> Result<House, Box<dyn Error>> {
    let mut topology = Topology::build(Layout {
        serves: Serves::Ftp(FtpServer::Vsftpd),
        disks: true,
        group: Some(GroupSpec {
            services: vec![ServiceSpec {
                durable: true,
                buffer_bytes: 16 << 20,
                ..ServiceSpec::new(21, "ftp")
            }],
            ..GroupSpec::default()
        }),
        ..Layout::default()
    })?;
    let content = Random::new(9).bytes(LENGTH);
    topology.put("sent", &content)?;
    let into = topology.folder().join("files/in");
    fs::create_dir(&into)?;
    fs::set_permissions(&into, fs::Permissions::from_mode(0o777))?;
    let disks = [
        Disk::listen(topology.folder(), "vif1")?,
        Disk::listen(topology.folder(), "vif2")?,
    ];
    topology.serve()?;
    Ok((topology, content, disks))
}

/// A client that stores the file under each of these names, and pauses after each. It hears no reply twice.
fn client(topology: &Topology, names: &[&str]) -> Result<Script, Box<dyn Error>> {
    let sent = topology.folder().join("files/sent");
    let text = format!(
        "for name in {names:?}:
    with open('{}', 'rb') as file:
        told = ftp.storbinary('STOR in/' + name, file)
    assert told.startswith('226'), told
    pause()
    told = ftp.voidcmd('NOOP')
    assert told.startswith('200'), told
assert ftp.pwd() == '/'
ftp.quit()
",
        sent.display()
    );
    Script::start(topology, FtpServer::Vsftpd.login(), &text)
}

fn counters(topology: &Topology) -> Result<Counters, Box<dyn Error>> {
    Ok(topology.logger()?.status(GROUP)?.counters)
}

#[test]
fn client_is_told_that_its_file_is_stored_when_the_disk_has_it() -> Outcome {
    let (topology, content, [mut disk, _]) = house()?;
    let names = ["one", "two", "three"];
    let mut script = client(&topology, &names)?;
    let mut soonest = PATIENCE;
    for (index, name) in names.into_iter().enumerate() {
        let number = disk.asked()?;
        // The server has all of it.
        assert!(fs::read(topology.folder().join("files/in").join(name))? == content);
        if index == 0 {
            assert!(!script.pauses_within(QUIET)?, "it was told too early");
        }
        disk.answer(number)?;
        let answered = Instant::now();
        script.wait_ready()?;
        soonest = soonest.min(answered.elapsed());
        script.go_on()?;
    }
    script.finish(&topology)?;
    // One of them, at least, met no other work of this machine.
    assert!(soonest < AT_ONCE, "{soonest:?}");
    let counters = counters(&topology)?;
    assert_eq!((counters.commits, counters.commits_not_durable), (3, 0));
    assert!(counters.commits_waited_us >= 600_000, "{counters:?}");
    Ok(())
}

#[test]
fn file_of_a_server_that_dies_before_its_disk_has_it_is_stored_by_the_next() -> Outcome {
    let (topology, content, [mut disk, mut next]) = house()?;
    let mut script = client(&topology, &["up"])?;
    let stored = topology.folder().join("files/in/up");
    let asked = disk.asked()?;
    assert!(fs::read(&stored)? == content);

    topology.crash_losing(|| {
        let cut = File::options().write(true).open(&stored);
        let cut = cut.and_then(|file| file.set_len(LENGTH as u64 / 3));
        cut.map_err(|error| error.to_string())
    })?;
    let number = next.asked()?;
    assert!(fs::read(&stored)? == content);
    // The dead one's word counts for nothing; it may find nobody to hear it.
    let _ = disk.answer(asked);
    assert!(!script.pauses_within(QUIET)?, "it was told too early");
    next.answer(number)?;
    let answered = Instant::now();
    script.wait_ready()?;
    let took = answered.elapsed();
    script.go_on()?;
    script.finish(&topology)?;

    assert!(fs::read(&stored)? == content);
    assert!(took < PATIENCE / 10, "{took:?}");
    let counters = counters(&topology)?;
    assert_eq!((counters.commits, counters.commits_not_durable), (1, 0));
    assert_eq!((counters.lost, counters.diverged), (0, 0));
    Ok(())
}

#[test]
fn where_nobody_can_be_asked_clients_do_not_wait() -> Outcome {
    let (mut topology, content, disks) = house()?;
    drop(disks);
    for name in ["vif1.commit", "vif2.commit"] {
        fs::remove_file(topology.folder().join(name))?;
    }
    let mut script = client(&topology, &["up"])?;
    script.wait_ready()?;
    script.go_on()?;
    script.finish(&topology)?;
    assert!(fs::read(topology.folder().join("files/in/up"))? == content);
    let counters = counters(&topology)?;
    assert_eq!((counters.commits, counters.commits_not_durable), (0, 1));
    let log = topology.stop_logger()?;
    assert!(
        log.contains("there is nobody at vif1 who could be asked"),
        "{log}"
    );
    Ok(())
}
