// SPDX-License-Identifier: GPL-3.0-only
//! `ftlogger` as its user meets it: help, errors, exit codes, and a daemon that starts and ends.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

fn ftlogger(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ftlogger"))
        .args(args)
        .output()
        .expect("ftlogger starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A path of this process's own for `name`.
fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("ftlogger-test-{}-{name}", std::process::id()))
}

/// A daemon without groups, which is told to end when the test does.
struct Daemon {
    child: Child,
    socket: PathBuf,
    log: BufReader<std::process::ChildStderr>,
}

impl Daemon {
    fn start(name: &str) -> Self {
        let socket = path(name);
        let mut child = Command::new(env!("CARGO_BIN_EXE_ftlogger"))
            .arg("--socket")
            .arg(&socket)
            .stderr(Stdio::piped())
            .spawn()
            .expect("ftlogger starts");
        let mut log = BufReader::new(child.stderr.take().expect("standard error"));
        let mut line = String::new();
        // First it says which data path it has, and why.
        while !line.contains("listening at") {
            let read = log.read_line(&mut line).expect("a line");
            assert!(read > 0, "it ended: {line}");
        }
        Self { child, socket, log }
    }

    fn pid(&self) -> Pid {
        let id = i32::try_from(self.child.id()).expect("a process number");
        Pid::from_raw(id).expect("not 0")
    }

    fn ask(&self, args: &[&str]) -> Output {
        let socket = self.socket.to_str().expect("plain path");
        ftlogger(&[&["--socket", socket], args].concat())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Asked to end it removes its maps from the BPF file system, which a kill would leave there.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(self.pid(), Signal::TERM);
            let _ = self.child.wait();
        }
        // The journal stays, for the next logger at this socket; there is none.
        let journal = self.socket.with_extension("journal");
        let lock = journal.with_extension("journal.lock");
        for file in [&self.socket, &journal, &lock] {
            let _ = fs::remove_file(file);
        }
    }
}

#[test]
fn help_example_of_a_group_is_right() {
    let help = text(&ftlogger(&["--help"]).stdout);
    let start = help.find("{ \"name\"").expect("an example");
    let end = start + help[start..].find("} ] }").expect("its end") + 5;
    let group: fttcp::control::GroupSpec =
        serde_json::from_str(&help[start..end]).expect("a group");
    assert_eq!(group.services[0].port, 80);
}

#[test]
fn unknown_flag_is_wrong_usage() {
    assert_eq!(ftlogger(&["--grupo", "x"]).status.code(), Some(2));
}

#[test]
fn group_file_errors_name_the_file_and_the_place() {
    let file = path("bad.json");
    fs::write(&file, "{ \"name\": \"web\", }").expect("written");
    for (name, cause) in [
        (file.as_path(), "line 1"),
        (Path::new("/none.json"), "No such file"),
    ] {
        let output = ftlogger(&["--group", name.to_str().expect("plain path")]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3));
        assert!(
            error.contains(&name.display().to_string()) && error.contains(cause),
            "{error}"
        );
    }
    fs::remove_file(file).expect("removed");
}

#[test]
fn definition_named_in_a_group_file_is_looked_for_beside_it() {
    let (file, definition) = (path("defined.json"), path("defined.toml"));
    let name = definition.file_name().and_then(|name| name.to_str());
    let kind = format!("@{}", name.expect("plain path"));
    let group = serde_json::json!({
        "name": "kv", "north": "no-such-if", "active": "nor-this-one",
        "services": [{ "port": 7000, "kind": kind }],
    });
    fs::write(&file, group.to_string()).expect("written");
    let kv = include_str!("../examples/kv.toml");
    for (contents, expected) in [
        (kv.to_owned(), "no-such-if"),
        (
            kv.replace("longest = 4096", "longest = 0"),
            "defined.toml, line 6: longest",
        ),
    ] {
        fs::write(&definition, contents).expect("written");
        let socket = path("defined");
        let socket = socket.to_str().expect("plain path");
        let group = file.to_str().expect("plain path");
        let output = ftlogger(&["--socket", socket, "--journal", "none", "--group", group]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    for file in [file, definition] {
        fs::remove_file(file).expect("removed");
    }
}

#[test]
fn status_without_a_logger_says_where_it_looked() {
    let output = ftlogger(&["--socket", "/none.sock", "status"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("/none.sock"), "{output:?}");
}

#[test]
fn status_and_failover_reach_the_running_logger() {
    let daemon = Daemon::start("status");
    let status = text(&daemon.ask(&["status"]).stdout);
    let (logger, groups) = status.split_once('\n').expect("two lines");
    assert!(logger.starts_with("ftlogger 0."), "{status}");
    assert!(logger.ends_with("journal 1 KiB"), "{status}");
    assert_eq!(groups, "no groups\n");
    assert_eq!(text(&daemon.ask(&["status", "--json"]).stdout), "[]\n");
    let refused = daemon.ask(&["failover", "web7"]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(text(&refused.stderr).contains("web7"), "{refused:?}");
}

#[test]
fn second_logger_at_the_same_socket_is_refused() {
    let daemon = Daemon::start("second");
    let second = daemon.ask(&[]);
    assert_eq!(second.status.code(), Some(3));
    assert!(text(&second.stderr).contains("runs already"), "{second:?}");
    assert_eq!(daemon.ask(&["status"]).status.code(), Some(0));
}

#[test]
fn termination_ends_it_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = Daemon::start("ends");
        kill_process(daemon.pid(), signal).expect("sent");
        assert!(daemon.child.wait().expect("ended").success());
        assert!(!daemon.socket.exists());
        let mut rest = String::new();
        daemon
            .log
            .read_to_string(&mut rest)
            .expect("its last lines");
        assert!(rest.contains("ending"), "{rest}");
    }
}

/// The tests run as root; where a path cannot be used, the reason is told and the next is taken.
#[test]
fn caps_tell_which_data_path_is_chosen_and_why() {
    let section = |text: &str, name: &str| -> String {
        let mut parts = text.split("\n\n");
        let part = parts.find(|part| part.starts_with(name));
        part.unwrap_or_else(|| panic!("no {name}: {text}"))
            .to_owned()
    };
    let all = ftlogger(&["caps"]);
    let said = text(&all.stdout);
    assert_eq!(all.status.code(), Some(0), "{said}{}", text(&all.stderr));
    assert!(
        section(&said, "af-packet").contains("usable    yes"),
        "{said}"
    );
    let fast = section(&said, "tc-bpf").contains("usable    yes");
    let chosen = if fast {
        "tc-bpf+af-packet"
    } else {
        "af-packet"
    };
    assert!(said.starts_with(&format!("data path   {chosen}")), "{said}");

    let without = ftlogger(&["--bpffs", "/proc/nonsense", "caps"]);
    let said = text(&without.stdout);
    assert_eq!(without.status.code(), Some(0), "{said}");
    assert!(said.starts_with("data path   af-packet"), "{said}");
    let why = "usable    no: no BPF file system at /proc/nonsense";
    assert!(section(&said, "tc-bpf").contains(why), "{said}");
}
