// SPDX-License-Identifier: GPL-3.0-only
//! Dom0 as the tests see it: guests to make, traces to compare.

use rxl_tests::lab::{BOOT_SECONDS, Lab, Ran};

/// A guest's configuration, as text of an `xl.cfg`.
pub(crate) struct Guest {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) vcpus: u32,
    /// More lines of configuration.
    pub(crate) more: &'static str,
}

impl Guest {
    pub(crate) fn new(name: &'static str, kind: &'static str) -> Self {
        Self {
            name,
            kind,
            vcpus: 1,
            more: "",
        }
    }

    pub(crate) fn config(&self) -> String {
        format!(
            "name = \"{}\"\ntype = \"{}\"\nkernel = \"/lab/guest/vmlinux\"\nramdisk = \"/lab/guest/initrd.img\"\n\
             cmdline = \"console=hvc0 random.trust_cpu=on quiet rxl.role=idle\"\nmemory = 160\nvcpus = {}\n\
             tsc_mode = \"native\"\n{}\n",
            self.name, self.kind, self.vcpus, self.more
        )
    }
}

/// The lab with no guest in it.
pub(crate) struct Dom0 {
    pub(crate) lab: Lab,
}

impl Dom0 {
    /// Boots the lab or uses the one that runs, and removes what guests a failed test may have left.
    pub(crate) fn clean() -> Self {
        let dom0 = Self {
            lab: Lab::up().expect("the lab runs"),
        };
        // A group that a failed test has left would make new members.
        dom0.run("rxl ft unprotect www");
        // One that has crashed may go, and come again under another number, while this looks.
        dom0.ok(
            "timeout 60 bash -c 'while ids=$(xl list | tail -n +3 | tr -s \" \" | cut -d \" \" -f 2); [ -n \"$ids\" ]; do \
             for id in $ids; do xl destroy $id; done; done; true'",
        );
        dom0
    }

    /// Runs a script in Dom0; a failure of it is a failure of the test.
    pub(crate) fn ok(&self, script: &str) -> String {
        self.lab.ok(script).unwrap_or_else(|e| self.fail(&e))
    }

    pub(crate) fn run(&self, script: &str) -> Ran {
        self.lab.run(script).unwrap_or_else(|e| self.fail(&e))
    }

    /// Fails the test. A Dom0 that does not answer any more is examined, and ended: the next test gets another.
    fn fail(&self, error: &str) -> ! {
        if self.lab.run("true").is_ok() {
            panic!("{error}");
        }
        let seen = self.lab.examine().unwrap_or_else(|e| e);
        let down = self.lab.down();
        panic!("{error}\n{seen}\n{down:?}");
    }

    /// Writes a guest's configuration to `/root/NAME.cfg` in Dom0 and removes its old console log.
    pub(crate) fn write(&self, guest: &Guest) -> String {
        let path = format!("/root/{}.cfg", guest.name);
        self.ok(&format!(
            "rm -f /var/log/xen/console/guest-{}.log; cat > {path} <<'END'\n{}END\n",
            guest.name,
            guest.config()
        ));
        path
    }

    /// Creates a guest and waits until it has booted.
    pub(crate) fn boot(&self, guest: &Guest) {
        let path = self.write(guest);
        self.ok(&format!("rxl create {path}"));
        self.wait_ready(guest.name);
    }

    pub(crate) fn wait_ready(&self, name: &str) {
        self.lab
            .wait_console(name, "rxl-guest: ready", BOOT_SECONDS)
            .unwrap_or_else(|e| self.fail(&e));
    }

    /// Types a line at a guest's console, without quotes in it.
    pub(crate) fn type_line(&self, name: &str, line: &str) {
        self.ok(&format!(
            "printf '%s\\r' '{line}' > $(xenstore-read /local/domain/$(rxl domid {name})/console/tty)"
        ));
    }

    /// Everything that a create may leave behind: the whole store with its permissions, the domains that Xen knows, the
    /// loop devices, the bridge's ports, the stored configurations and the journal. Not the two folders of the store that
    /// hold what there is of all guests: the first guest since Dom0's start makes them, and they stay.
    pub(crate) fn traces(&self) -> String {
        self.ok(
            "xenstore-ls -f -p | grep -v -E '^/(libxl|vm) = '; xl list | awk '{print $1, $2}'; losetup -a; ls /sys/class/net/xenbr0/brif; \
             ls /var/lib/xen; ls /run/rxl/journal 2>/dev/null || true",
        )
    }

    /// Waits, by watching the domain list through `rxl`, until no domain has this name. The wait is Xen's event, not a
    /// time: `rxl shutdown -w` on a domain that ends returns when it is gone.
    pub(crate) fn wait_gone(&self, name: &str) {
        let script = format!(
            "timeout 60 bash -c 'exec {{fd}}< <(exec xenstore-watch @releaseDomain); pid=$!; \
             while read -r _ <&$fd; do rxl domid {name} >/dev/null 2>&1 || break; done; kill $pid'"
        );
        let ran = self.run(&script);
        assert_eq!(
            ran.code,
            0,
            "{name} is still there: {}",
            self.ok("rxl list")
        );
    }

    /// Waits, by Xen's event, until all domains that were destroyed are gone. One whose memory somebody still maps never is.
    pub(crate) fn wait_no_dying(&self) {
        let dying = "rxl list | awk 'NR > 1 && $5 ~ /d/'";
        let ran = self.run(&format!(
            "timeout 60 bash -c 'exec {{fd}}< <(exec xenstore-watch @releaseDomain); pid=$!; \
             while read -r _ <&$fd; do [ -n \"$({})\" ] || break; done; kill $pid'",
            dying.replace('\'', "'\\''")
        ));
        assert_eq!(
            ran.code,
            0,
            "a domain does not die: {}",
            self.ok("rxl list")
        );
    }
}

/// Asserts that two texts are equal, and shows the lines that are not.
#[track_caller]
pub(crate) fn assert_same(before: &str, after: &str, what: &str) {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let gone: Vec<_> = old.iter().filter(|l| !new.contains(l)).collect();
    let come: Vec<_> = new.iter().filter(|l| !old.contains(l)).collect();
    assert!(
        gone.is_empty() && come.is_empty(),
        "{what}\n  gone: {gone:#?}\n  new: {come:#?}"
    );
}
