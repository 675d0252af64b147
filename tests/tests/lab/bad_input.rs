// SPDX-License-Identifier: GPL-3.0-only
//! Bad input: one clear error that names the object, the right exit code, and no trace in Xen or xenstore.

use crate::dom0::{Dom0, Guest, assert_same};
use crate::emulator::despite_emulator;

/// A configuration, the exit code it must lead to, and words that the error must contain.
struct Case {
    what: &'static str,
    config: String,
    code: i32,
    words: &'static [&'static str],
}

fn cases() -> Vec<Case> {
    let good = Guest::new("bad", "pv").config();
    let case = |what, config: String, code, words| Case {
        what,
        config,
        code,
        words,
    };
    vec![
        case(
            "unknown key",
            good.clone() + "memroy = 12\n",
            2,
            &["bad.cfg:10:1", "memroy", "memory"],
        ),
        case(
            "bad value",
            good.replace("memory = 160", "memory = \"much\""),
            2,
            &["bad.cfg:6:", "memory"],
        ),
        case(
            "bad action",
            good.clone() + "on_crash = \"distroy\"\n",
            2,
            &["on_crash", "distroy", "destroy"],
        ),
        case(
            "unfinished list",
            good.clone() + "vif = [ 'bridge=xenbr0'\n",
            2,
            &["bad.cfg:"],
        ),
        case(
            "kernel missing",
            good.replace("/lab/guest/vmlinux", "/lab/guest/vmlinus"),
            3,
            &["/lab/guest/vmlinus"],
        ),
        case(
            "kernel is none",
            good.replace("/lab/guest/vmlinux", "/etc/hostname"),
            3,
            &["/etc/hostname"],
        ),
        case(
            "ramdisk missing",
            good.replace("/lab/guest/initrd.img", "/lab/guest/none.img"),
            3,
            &["/lab/guest/none.img"],
        ),
        case(
            "too little memory",
            good.replace("memory = 160", "memory = 24"),
            3,
            &["memory", "at least"],
        ),
        case(
            "too much memory",
            good.replace("memory = 160", "memory = 9000000"),
            3,
            &["memory"],
        ),
        case(
            "bridge missing",
            good.clone() + "vif = ['bridge=xenbr7']\n",
            3,
            &["xenbr7", "xenbr0"],
        ),
        case(
            "backend missing",
            good.clone() + "vif = ['backend=nobody']\n",
            3,
            &["nobody"],
        ),
        case(
            "disk missing",
            good.clone() + "disk = ['/lab/no.img,raw,xvda,r']\n",
            3,
            &["/lab/no.img"],
        ),
    ]
}

fn leaves_no_trace(kind: &str) {
    let dom0 = Dom0::clean();
    for case in cases() {
        let config = case
            .config
            .replace("type = \"pv\"", &format!("type = \"{kind}\""));
        dom0.ok(&format!("cat > /root/bad.cfg <<'END'\n{config}END\n"));
        let before = dom0.traces();
        let ran = dom0.run("rxl create /root/bad.cfg");
        assert_eq!(ran.code, case.code, "{}: {}", case.what, ran.stderr);
        for word in case.words {
            assert!(
                ran.stderr.contains(word),
                "{}: no \"{word}\" in: {}",
                case.what,
                ran.stderr
            );
        }
        assert!(
            !ran.stderr.contains("panicked"),
            "{}: {}",
            case.what,
            ran.stderr
        );
        assert_same(&before, &dom0.traces(), case.what);
    }
}

#[test]
fn lab_bad_input_leaves_no_trace_pv() {
    leaves_no_trace("pv");
}

#[test]
fn lab_bad_input_leaves_no_trace_pvh() {
    despite_emulator(|| leaves_no_trace("pvh"));
}

#[test]
fn lab_name_taken_leaves_first_domain_alone() {
    let dom0 = Dom0::clean();
    let path = dom0.write(&Guest::new("bad", "pv"));
    dom0.ok(&format!("rxl create -p {path}"));
    let before = dom0.traces();
    let ran = dom0.run(&format!("rxl create {path}"));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("bad") && ran.stderr.contains("name"),
        "{}",
        ran.stderr
    );
    assert_same(
        &before,
        &dom0.traces(),
        "a second create under a taken name",
    );
    dom0.ok("rxl destroy bad");
}

#[test]
fn lab_unknown_domain_and_usage_have_their_exit_codes() {
    let dom0 = Dom0::clean();
    for (command, code, word) in [
        ("rxl destroy nobody", 3, "nobody"),
        ("rxl pause nobody", 3, "nobody"),
        ("rxl domid nobody", 3, "nobody"),
        ("rxl destory web", 2, "destroy"),
        ("rxl create", 2, "FILE"),
        (
            "rxl create /root/no-such-file.cfg",
            2,
            "/root/no-such-file.cfg",
        ),
        ("rxl sysrq", 2, "DOMAIN"),
        ("rxl ft failover nogroup", 3, "nogroup"),
    ] {
        let ran = dom0.run(command);
        assert_eq!(ran.code, code, "{command}: {}", ran.stderr);
        assert!(
            ran.stderr.contains(word),
            "{command}: no \"{word}\" in: {}",
            ran.stderr
        );
    }
}
