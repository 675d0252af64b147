// SPDX-License-Identifier: GPL-3.0-only
//! What rxl does of xl 4.17: the verbs here, the keys of `xl.cfg` in `config`. docs/xl-parity.md is made from both;
//! a test compares it (`UPDATE=1 cargo test -p toolstack parity` writes it).

/// How far a verb of xl is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// As xl does it.
    Done,
    /// Done, with a remark.
    Mostly(&'static str),
    /// Not yet.
    Later,
}

/// One verb of xl.
#[derive(Clone, Copy, Debug)]
pub(super) struct XlVerb {
    /// As it is typed.
    pub(super) name: &'static str,
    /// How far it is done.
    pub(super) progress: Progress,
}

/// The verb that rxl does not have yet and `word` means: all of its name, or a beginning that no other has.
pub(super) fn later(word: &str) -> Option<&'static XlVerb> {
    let verb = match VERBS.iter().find(|verb| verb.name == word) {
        Some(verb) => verb,
        None => {
            let mut meant = VERBS.iter().filter(|verb| verb.name.starts_with(word));
            meant.next().filter(|_| meant.next().is_none())?
        }
    };
    Some(verb).filter(|verb| verb.progress == Progress::Later)
}

const fn done(name: &'static str) -> XlVerb {
    XlVerb {
        name,
        progress: Progress::Done,
    }
}

const fn mostly(name: &'static str, remark: &'static str) -> XlVerb {
    XlVerb {
        name,
        progress: Progress::Mostly(remark),
    }
}

const fn later_verb(name: &'static str) -> XlVerb {
    XlVerb {
        name,
        progress: Progress::Later,
    }
}

/// The verbs of xl 4.17 (`xl help`), in its order.
const VERBS: &[XlVerb] = &[
    mostly(
        "create",
        "rxld waits for the end of all domains, so there is no -F; -d is -v; no VNC (-V, -A)",
    ),
    later_verb("config-update"),
    mostly(
        "list",
        "-v and -l; the tables of -Z, -c and -n are not there; --json is new",
    ),
    mostly("destroy", "takes several domains; refuses Domain-0"),
    mostly("shutdown", "takes several domains"),
    mostly("reboot", "takes several domains"),
    later_verb("pci-attach"),
    later_verb("pci-detach"),
    later_verb("pci-list"),
    later_verb("pci-assignable-add"),
    later_verb("pci-assignable-remove"),
    later_verb("pci-assignable-list"),
    done("pause"),
    done("unpause"),
    mostly(
        "console",
        "the first PV console; -e sets the escape character",
    ),
    later_verb("vncviewer"),
    later_verb("save"),
    later_verb("migrate"),
    later_verb("restore"),
    later_verb("migrate-receive"),
    later_verb("dump-core"),
    later_verb("cd-insert"),
    later_verb("cd-eject"),
    later_verb("mem-max"),
    later_verb("mem-set"),
    later_verb("button-press"),
    mostly("vcpu-list", "--json is new"),
    later_verb("vcpu-pin"),
    later_verb("vcpu-set"),
    later_verb("vm-list"),
    mostly(
        "info",
        "--json is new; without -n, platform_params, sharing_*, free_cpus and build_id; the four cc_* lines are one, \
         xen_compiled",
    ),
    later_verb("sharing"),
    later_verb("sched-credit"),
    later_verb("sched-credit2"),
    later_verb("sched-rtds"),
    done("domid"),
    done("domname"),
    later_verb("rename"),
    done("trigger"),
    done("sysrq"),
    later_verb("debug-keys"),
    later_verb("set-parameters"),
    done("dmesg"),
    later_verb("top"),
    later_verb("network-attach"),
    mostly("network-list", "--json is new"),
    later_verb("network-detach"),
    later_verb("channel-list"),
    later_verb("block-attach"),
    mostly("block-list", "--json is new"),
    later_verb("block-detach"),
    later_verb("vtpm-attach"),
    later_verb("vtpm-list"),
    later_verb("vtpm-detach"),
    later_verb("vkb-attach"),
    later_verb("vkb-list"),
    later_verb("vkb-detach"),
    later_verb("vdispl-attach"),
    later_verb("vdispl-list"),
    later_verb("vdispl-detach"),
    later_verb("vsnd-attach"),
    later_verb("vsnd-list"),
    later_verb("vsnd-detach"),
    mostly("uptime", "--json is new; no -s"),
    later_verb("claims"),
    later_verb("cpupool-create"),
    later_verb("cpupool-list"),
    later_verb("cpupool-destroy"),
    later_verb("cpupool-rename"),
    later_verb("cpupool-cpu-add"),
    later_verb("cpupool-cpu-remove"),
    later_verb("cpupool-migrate"),
    later_verb("cpupool-numa-split"),
    later_verb("getenforce"),
    later_verb("setenforce"),
    later_verb("loadpolicy"),
    later_verb("remus"),
    mostly("devd", "a program of its own, rxl-devd"),
    later_verb("psr-hwinfo"),
    later_verb("psr-cmt-attach"),
    later_verb("psr-cmt-detach"),
    later_verb("psr-cmt-show"),
    later_verb("psr-cat-set"),
    later_verb("psr-cat-show"),
    later_verb("psr-mba-set"),
    later_verb("psr-mba-show"),
    later_verb("usbctrl-attach"),
    later_verb("usbctrl-detach"),
    later_verb("usbdev-attach"),
    later_verb("usbdev-detach"),
    later_verb("usb-list"),
    later_verb("qemu-monitor-command"),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory;

    use super::*;
    use crate::cli::verbs::Cli;
    use crate::config::{self, Status};

    /// docs/xl-parity.md.
    fn document() -> String {
        let mut text = String::from(
            "# rxl beside xl 4.17\n\nMade from the tables in `toolstack/src/cli/parity.rs` and \
             `toolstack/src/config/key_table.rs`; a test keeps it up to date. Do not edit it.\n\n",
        );
        let count = VERBS
            .iter()
            .filter(|verb| verb.progress != Progress::Later)
            .count();
        text += &format!(
            "## Verbs: {count} of {}\n\n| verb | status | remark |\n|---|---|---|\n",
            VERBS.len()
        );
        for verb in VERBS {
            let (status, remark) = match verb.progress {
                Progress::Done => ("done", ""),
                Progress::Mostly(remark) => ("done", remark),
                Progress::Later => ("later", ""),
            };
            text += &format!("| {} | {status} | {remark} |\n", verb.name);
        }
        text += "\nVerbs that xl does not have: `recover`, `ft protect`, `ft unprotect`, `ft status`, `ft failover`, \
                 `ft events`.\n\n";
        let keys = config::table();
        let supported = keys
            .iter()
            .filter(|key| key.status == Status::Supported)
            .count();
        text += &format!(
            "## Keys of xl.cfg: {supported} of {}\n\nAn unknown key is an error. A key that has no effect is passed \
             over with a warning. A key that is accepted with some values only, or not at all, is an error \
             otherwise: the guest would not be what the file asks for.\n\n| key | kind | status | remark |\n|---|---|---|---|\n",
            keys.len()
        );
        for key in keys {
            let status = match key.status {
                Status::Supported => "supported".to_owned(),
                Status::Only(values) => format!("only {}", values.join(" or ")),
                Status::NoEffect => "no effect".to_owned(),
                Status::Unsupported => "refused".to_owned(),
            };
            text += &format!(
                "| {} | {} | {status} | {} |\n",
                key.name,
                key.kind.name(),
                key.note
            );
        }
        text
    }

    #[test]
    fn parity_document_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/xl-parity.md");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, document()).unwrap();
        }
        let file = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            file == document(),
            "docs/xl-parity.md differs from the tables: run UPDATE=1 cargo test -p toolstack parity"
        );
    }

    #[test]
    fn parity_agrees_with_the_command_line() {
        let command = Cli::command();
        for verb in VERBS {
            let has = command.get_subcommands().any(|c| c.get_name() == verb.name);
            // devd is a program of its own.
            let expected = verb.progress != Progress::Later && verb.name != "devd";
            assert_eq!(has, expected, "{}", verb.name);
        }
    }

    #[test]
    fn later_knows_names_and_beginnings() {
        let name = |word| later(word).map(|verb| verb.name);
        assert_eq!(name("migrate"), Some("migrate"));
        assert_eq!(name("mig"), None);
        assert_eq!(name("remu"), Some("remus"));
        assert_eq!(name("destory"), None);
        assert_eq!(name("list"), None);
    }
}
