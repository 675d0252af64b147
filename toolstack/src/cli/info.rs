// SPDX-License-Identifier: GPL-3.0-only
//! The text of `rxl info`: one fact a line, under xl's names and in xl's order.

use rustix::system::Uname;
use serde_json::Value;

use crate::hypervisor::HostInfo;
use crate::ids::KiB;

/// The facts, name and value.
pub(super) fn facts(host: &HostInfo, uname: &Uname) -> Vec<(&'static str, String)> {
    let HostInfo {
        xen_major,
        xen_minor,
        xen_extra,
        ..
    } = host;
    let node = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let mib = |memory: KiB| memory.mib().to_string();
    let hw_caps: Vec<_> = host.hw_caps.iter().map(|w| format!("{w:08x}")).collect();
    vec![
        ("host", node(uname.nodename())),
        ("release", node(uname.release())),
        ("version", node(uname.version())),
        ("machine", node(uname.machine())),
        ("nr_cpus", host.nr_cpus.to_string()),
        ("max_cpu_id", host.max_cpu_id.to_string()),
        ("nr_nodes", host.nr_nodes.to_string()),
        ("cores_per_socket", host.cores_per_socket.to_string()),
        ("threads_per_core", host.threads_per_core.to_string()),
        (
            "cpu_mhz",
            format!("{}.{:03}", host.cpu_khz / 1000, host.cpu_khz % 1000),
        ),
        ("hw_caps", hw_caps.join(":")),
        ("virt_caps", host.virt_caps.join(" ")),
        ("total_memory", mib(host.total_memory)),
        (
            "free_memory",
            mib(KiB(host
                .free_memory
                .0
                .saturating_sub(host.outstanding_claims.0))),
        ),
        ("outstanding_claims", mib(host.outstanding_claims)),
        ("xen_major", xen_major.to_string()),
        ("xen_minor", xen_minor.to_string()),
        ("xen_extra", xen_extra.clone()),
        ("xen_version", format!("{xen_major}.{xen_minor}{xen_extra}")),
        ("xen_caps", host.xen_caps.clone()),
        ("xen_scheduler", host.scheduler.clone()),
        ("xen_pagesize", host.page_size.to_string()),
        ("xen_changeset", host.xen_changeset.clone()),
        ("xen_commandline", host.xen_commandline.clone()),
        ("xen_compiled", host.xen_compiled.clone()),
        ("xend_config_format", "4".to_owned()),
    ]
}

/// All facts with their names, or the values of those whose name begins with `only`.
pub(super) fn text(facts: &[(&'static str, String)], only: Option<&str>) -> String {
    match only {
        None => facts
            .iter()
            // Xen ends its list of guest types with a blank, and xl prints it as it is.
            .map(|(name, value)| match *name {
                "xen_caps" => format!("{name:<23}: {value} \n"),
                _ => format!("{name:<23}: {value}\n"),
            })
            .collect(),
        Some(only) => facts
            .iter()
            .filter(|(name, _)| name.starts_with(only))
            .map(|(_, value)| format!("{value}\n"))
            .collect(),
    }
}

/// A fact in JSON: a number where it is one.
pub(super) fn json_value(value: &str) -> Value {
    value
        .parse::<u64>()
        .map_or_else(|_| Value::from(value), Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_the_columns_of_xl() {
        let facts = [
            ("host", "a".to_owned()),
            ("xen_caps", "xen-3.0-x86_64".to_owned()),
            ("xend_config_format", "4".to_owned()),
        ];
        assert_eq!(
            text(&facts, None),
            "host                   : a\n\
             xen_caps               : xen-3.0-x86_64 \n\
             xend_config_format     : 4\n"
        );
        assert_eq!(text(&facts, Some("xend")), "4\n");
        assert_eq!(text(&facts, Some("none")), "");
    }
}
