// SPDX-License-Identifier: GPL-3.0-only
//! The agent's unit under Debian's own systemd, in a guest: it starts, is started again when it is killed, and the guest ends
//! when it is told to.

use rxl_tests::lab::Lab;

use crate::dom0::Dom0;

const NAME: &str = "debian";

/// A Debian with systemd. Its kernel's modules and the agent come with the initial ramdisk.
const CONFIG: &str = "name = 'debian'\ntype = 'pv'\nkernel = '/lab/guest/vmlinux'\nramdisk = '/lab/guest/initrd.img'\n\
    cmdline = 'console=hvc0 random.trust_cpu=on quiet rxl.role=systemd'\nmemory = 256\ntsc_mode = 'native'\n\
    disk = ['format=raw,vdev=xvda,access=ro,target=/lab/systemd/root.img']\n";

/// How long systemd may take to start, in seconds.
const BOOT: u32 = 240;

/// Types a line at the guest's console, and waits for what it makes the guest say.
fn ask(dom0: &Dom0, line: &str, answer: &str) {
    dom0.type_line(NAME, line);
    dom0.lab
        .wait_console(NAME, answer, 120)
        .unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn lab_systemd_runs_the_agent() {
    Lab::up_with(&["systemd"]).unwrap_or_else(|error| panic!("{error}"));
    let dom0 = Dom0::clean();
    let log = format!("/var/log/xen/console/guest-{NAME}.log");
    dom0.ok(&format!(
        "rm -f {log}; cat > /root/{NAME}.cfg <<'END'\n{CONFIG}END\nrxl create /root/{NAME}.cfg"
    ));
    // The agent's first beat is a change of the store.
    let beat = "/local/domain/$(rxl domid debian)/data/rxl/heartbeat";
    let ran = dom0.run(&format!(
        "timeout {BOOT} sh -c 'until xenstore-read {beat} >/dev/null 2>&1; do xenstore-watch -n 2 {beat} >/dev/null; done'"
    ));
    assert_eq!(ran.code, 0, "{}", dom0.ok(&format!("tail -n 40 {log}")));
    dom0.ok(&format!("rxl guest {NAME} status --timeout 90"));

    ask(&dom0, "echo shell-$((6*7))", "shell-42");
    // ExecStartPre has loaded what programs under the wrap need.
    ask(
        &dom0,
        "grep -c -e xen_gntalloc -e xen_evtchn /proc/modules | sed s/^/modules-/",
        "modules-2",
    );
    ask(
        &dom0,
        "systemctl kill -s KILL rxl-guest; echo killed-$((6*7))",
        "killed-42",
    );
    // systemd starts it again after a second: the new one beats, and answers.
    ask(
        &dom0,
        "until systemctl show -p NRestarts rxl-guest | grep -qw 1 && systemctl is-active rxl-guest; do sleep 1; done; echo again-$((6*7))",
        "again-42",
    );
    dom0.ok(&format!("rxl guest {NAME} flush --timeout 90"));
    dom0.ok(&format!("rxl shutdown -w {NAME}"));
    dom0.wait_no_dying();
}
