// SPDX-License-Identifier: GPL-3.0-only
//! What else FTP servers are asked while they crash: lists, text, uploads that append, that go on where they had ended or
//! whose name the server chooses, transfers that are aborted, and commands that change folders. Every content is compared;
//! nothing is there twice.

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rxl_tests::netns::ftp::script::Script;
use rxl_tests::netns::ftp::{self, FtpServer};
use rxl_tests::netns::logger::Logger;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::topology::Topology;

type Outcome = Result<(), Box<dyn Error>>;

/// How many crashes each server goes through.
const CRASHES: &str = "FT_CRASHES";
const USUALLY: u64 = 3;
/// Files in the folder that is listed, with names so long that a list does not fit into what a client's kernel takes.
const MANY: usize = 2000;
/// Within such a time a session changes folders, files and names, and a bit longer.
const ROUND_US: u64 = 60_000;

fn house(server: FtpServer) -> Result<Topology, Box<dyn Error>> {
    let mut topology = Topology::build(ftp::layout([server, server]))?;
    topology.put("small", b"small")?;
    topology.put("big", &Random::new(7).bytes(1_500_000))?;
    let lines: String = (0..60_000).map(|line| format!("line {line}\n")).collect();
    topology.put("text", lines.as_bytes())?;
    let files = topology.folder().join("files");
    fs::create_dir(files.join("many"))?;
    for file in 0..MANY {
        topology.put(&format!("many/{file:0>60}"), b"")?;
    }
    for folder in ["in", "in/unique"] {
        let path = files.join(folder);
        fs::create_dir(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
    }
    topology.serve()?;
    topology.shape(60)?;
    Ok(topology)
}

fn crashes() -> u64 {
    let count = std::env::var(CRASHES).ok().and_then(|it| it.parse().ok());
    count.unwrap_or(USUALLY)
}

/// An error, and what the logger and the server have said.
fn told(topology: &Topology, error: &dyn Error) -> String {
    let log = topology.logger().map(Logger::log).unwrap_or_default();
    let [server, _] = topology.active_first().map(|it| it[0].log());
    format!("{error}\n{log}\n{server}")
}

/// Transfers of every kind are in the middle when their server dies.
fn transfers_go_on(server: FtpServer) -> Outcome {
    let mut random = Random::announced(&format!("{server:?}"));
    let mut topology = house(server)?;
    let renames = server == FtpServer::PureFtpd;
    let text = format!(
        "SEED = {}\nCRASHES = {}\nFILES = '{}'\nMLSD = {}\nRENAMES = {}\nMIXES = {}\n{}",
        random.number(),
        crashes(),
        topology.folder().join("files").display(),
        u8::from(server != FtpServer::Vsftpd),
        u8::from(renames),
        // pyftpdlib takes the file descriptor of a data connection that it had opened for its own when the session ends, and
        // reads no more from who has it then.
        u8::from(server != FtpServer::Pyftpdlib),
        include_str!("ftp_verbs/transfers.py")
    );
    let mut script = Script::start(&topology, server.login(), &text)?;
    for _ in 0..crashes() {
        script
            .wait_ready()
            .map_err(|error| told(&topology, &*error))?;
        topology.crash()?;
        // A client that does not read would never have everything.
        script.go_on()?;
        topology.wait_moved()?;
        topology.new_standby()?;
    }

    let finished = script.finish(&topology);
    finished.map_err(|error| told(&topology, &*error))?;

    let (counters, log) = topology.end_of_logger()?;
    let each = u64::from(renames);
    assert_eq!(
        (counters.diverged, counters.resumes_refused),
        (0, each * crashes()),
        "{log}"
    );
    // Of the file of which nobody knows how long it was, and of the one that is not there any more; and of the one that was
    // aborted, if that was said before the end.
    let lost = (1 + each) * crashes()..=(2 + each) * crashes();
    assert!(lost.contains(&counters.lost), "{}: {log}", counters.lost);
    Ok(())
}

/// Commands that must not be carried out twice are asked one after the other while their server dies.
fn commands_are_carried_out_once(server: FtpServer) -> Outcome {
    let mut random = Random::announced(&format!("{server:?}"));
    let mut topology = house(server)?;
    let text = format!(
        "CRASHES = {}\nFILES = '{}'\n{}",
        crashes(),
        topology.folder().join("files").display(),
        include_str!("ftp_verbs/commands.py")
    );
    let mut script = Script::start(&topology, server.login(), &text)?;
    for _ in 0..crashes() {
        script
            .wait_ready()
            .map_err(|error| told(&topology, &*error))?;
        // Not a wait for something: the moment of the fault is what is tried out.
        std::thread::sleep(Duration::from_micros(random.below(ROUND_US)));
        topology.crash()?;
        topology.wait_moved()?;
        topology.new_standby()?;
        script.go_on()?;
    }

    script.finish(&topology)?;

    let (counters, log) = topology.end_of_logger()?;
    assert_eq!((counters.diverged, counters.lost), (0, 0), "{log}");
    Ok(())
}

/// A client asks something while it uploads a file, and is answered; then its server dies.
fn upload_goes_on_behind_an_answer(server: FtpServer) -> Outcome {
    let mut topology = house(server)?;
    let text = format!(
        "content = open('{}', 'rb').read()
ftp.voidcmd('TYPE I')
stored = ftp.transfercmd('STOR in/up')
stored.sendall(content[:300000])
ftp.putcmd('NOOP')
answer = ftp.getline()
assert answer[:3] in ('200', '450', '500'), answer
pause()
stored.sendall(content[300000:])
stored.close()
end = ftp.voidresp()
assert end.startswith('226'), end
again = io.BytesIO()
ftp.retrbinary('RETR in/up', again.write)
assert again.getvalue() == content
ftp.quit()
",
        topology.folder().join("files/big").display()
    );
    let mut script = Script::start(&topology, server.login(), &text)?;
    script
        .wait_ready()
        .map_err(|error| told(&topology, &*error))?;
    topology.crash()?;
    script.go_on()?;
    topology.wait_moved()?;

    let finished = script.finish(&topology);
    finished.map_err(|error| told(&topology, &*error))?;

    let (counters, log) = topology.end_of_logger()?;
    assert_eq!((counters.diverged, counters.lost), (0, 0), "{log}");
    assert_eq!(counters.recovered, 2, "{log}");
    Ok(())
}

/// Each server with each of these.
macro_rules! servers {
    ($($name:ident $what:ident $server:ident;)*) => { $(
        #[test]
        fn $name() -> Outcome {
            $what(FtpServer::$server)
        }
    )* };
}

servers! {
    transfers_of_every_kind_go_on_after_vsftpd transfers_go_on Vsftpd;
    transfers_of_every_kind_go_on_after_pyftpdlib transfers_go_on Pyftpdlib;
    transfers_of_every_kind_go_on_after_proftpd transfers_go_on Proftpd;
    transfers_of_every_kind_go_on_after_pure_ftpd transfers_go_on PureFtpd;
    upload_goes_on_behind_an_answer_of_pyftpdlib upload_goes_on_behind_an_answer Pyftpdlib;
    upload_goes_on_behind_an_answer_of_proftpd upload_goes_on_behind_an_answer Proftpd;
    upload_goes_on_behind_an_answer_of_pure_ftpd upload_goes_on_behind_an_answer PureFtpd;
    commands_are_carried_out_once_around_vsftpd commands_are_carried_out_once Vsftpd;
    commands_are_carried_out_once_around_pyftpdlib commands_are_carried_out_once Pyftpdlib;
    commands_are_carried_out_once_around_proftpd commands_are_carried_out_once Proftpd;
    commands_are_carried_out_once_around_pure_ftpd commands_are_carried_out_once PureFtpd;
}
