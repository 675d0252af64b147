// SPDX-License-Identifier: GPL-3.0-only
//! Tests that need a network of their own: the test program runs itself again in a fresh network namespace, which
//! ends with that process.

use std::process::Command;

const INSIDE: &str = "RXL_TEST_IN_NAMESPACE";

/// Runs the rest of the test called `name` (its full path) in a network namespace of its own: true inside, where the
/// test goes on; false outside, when it has passed there, or when this user may not make namespaces.
pub(crate) fn in_namespace(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("{name}: needs root, not run");
        return false;
    }
    let program = std::env::current_exe().expect("the test program has a path");
    let output = Command::new("unshare")
        .arg("--net")
        .arg(program)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "in its namespace:\n{text}{complaint}"
    );
    assert!(
        text.contains("1 passed"),
        "no test is called {name}:\n{text}"
    );
    false
}

/// Runs `ip` with these arguments.
pub(crate) fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .expect("ip runs");
    assert!(status.success(), "ip {arguments}");
}
