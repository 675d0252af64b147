// SPDX-License-Identifier: GPL-3.0-only
//! The `rxl` program as scripts see it, without Xen: exit codes, and what goes to which stream.

use std::path::PathBuf;
use std::process::{Command, Output};

fn rxl(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rxl"))
        .args(args)
        .output()
        .expect("rxl can be run")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A configuration file that is removed again.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rxl-test-{}-{name}", std::process::id()));
        std::fs::write(&path, text).expect("the temporary directory can be written");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("the temporary directory is text")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // A file left in the temporary directory is no reason to fail.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn help_is_on_stdout_and_wrong_usage_on_stderr() {
    let help = rxl(&["--help"]);
    assert_eq!((code(&help), stderr(&help)), (Some(0), String::new()));
    assert!(stdout(&help).contains("Exit codes:"));
    for (args, word) in [
        (&["destory", "web"][..], "'destroy'"),
        (&["create"], "<FILE>"),
        (&["sysrq"], "<DOMAIN>"),
        (&["trigger", "web", "nim"], "nmi"),
        (
            &[
                "ft",
                "protect",
                "www",
                "--service",
                "a",
                "--logger",
                "l",
                "--port",
                "http",
            ],
            "port number",
        ),
        (
            &["migrate", "web", "host"],
            "known to xl, not supported by rxl yet",
        ),
        (&[], "Usage:"),
    ] {
        let output = rxl(args);
        assert_eq!(code(&output), Some(2), "{args:?}");
        assert!(
            stderr(&output).contains(word),
            "{args:?}: {}",
            stderr(&output)
        );
        assert_eq!(stdout(&output), "", "{args:?}");
    }
}

#[test]
fn create_dry_run_prints_what_the_file_means() {
    let file = File::new(
        "good.cfg",
        "name = 'web'\nkernel = '/k'\nmemory = 64\nboot = 'c'\n",
    );
    let output = rxl(&["create", "-n", file.path(), "vcpus=3"]);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    let json: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("it is JSON");
    assert_eq!(
        (json["name"].as_str(), json["vcpus"].as_u64()),
        (Some("web"), Some(3))
    );
    assert!(stderr(&output).contains(":4:1: warning: boot: has no effect"));
    let quiet = rxl(&["create", "-q", "-n", "-f", file.path(), "vcpus=3"]);
    assert_eq!((code(&quiet), stderr(&quiet)), (Some(0), String::new()));
}

#[test]
fn create_with_bad_file_tells_all_errors_and_exits_2() {
    let file = File::new(
        "bad.cfg",
        "name = 'web'\nkernel = '/k'\nmemroy = 64\non_crash = 'distroy'\n",
    );
    let output = rxl(&["create", file.path()]);
    assert_eq!(code(&output), Some(2));
    let path = file.path();
    assert_eq!(
        stderr(&output),
        format!(
            "{path}:3:1: unknown key \"memroy\"; did you mean \"memory\"?\n    memroy = 64\n    ^^^^^^\n\
             {path}:4:12: on_crash: expected destroy, restart, rename-restart, preserve, not \"distroy\"; did you mean \
             \"destroy\"?\n    on_crash = 'distroy'\n               ^^^^^^^^^\n"
        )
    );
    let output = rxl(&["--json", "create", path]);
    let json: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("it is JSON");
    assert_eq!((code(&output), stderr(&output)), (Some(2), String::new()));
    assert_eq!(json["error"]["diagnostics"][1]["column"], 12);
}

#[test]
fn create_without_file_or_with_word_for_key_exits_2() {
    let none = rxl(&["create", "/nonexistent/web.cfg"]);
    assert_eq!(code(&none), Some(2));
    assert!(
        stderr(&none)
            .starts_with("rxl create: /nonexistent/web.cfg: cannot read the configuration: ")
    );
    let word = rxl(&["create", "a.cfg", "b.cfg"]);
    assert_eq!(code(&word), Some(2));
    assert!(stderr(&word).contains("b.cfg: cannot override a key: expected KEY=VALUE"));
}
