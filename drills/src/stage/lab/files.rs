// SPDX-License-Identifier: GPL-3.0-only
//! What a drill puts into Dom0: configurations of the domains, the group file, and the disk with the files of its loads.

use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::load::File;
use crate::plan::{Act, Guests, Plan};

/// The group, and the first word of all domains of a drill.
pub(super) const GROUP: &str = "drill";
pub(super) const LOGGER: &str = "drill-logger";
/// Where the service is, behind Dom0's bridge.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 80);
pub(super) const PORT: u16 = 80;
/// The drill's folder in Dom0.
pub(super) const FOLDER: &str = "/root/rxl-drill";

/// As for the service in namespaces.
const BUFFER: u32 = 16 << 20;
/// Boots in emulation beside other work take minutes at worst.
const BOOT_TIMEOUT: Duration = Duration::from_secs(240);
/// How long after its network is up a member counts as ready; its agent is asked besides.
const READY_AFTER: Duration = Duration::from_secs(2);

/// The first lines of every guest's configuration.
fn guest(name: &str, kind: Guests, ramdisk: &str, role: &str, memory: u32) -> String {
    let kind = kind.name();
    format!(
        "name = \"{name}\"\ntype = \"{kind}\"\nkernel = \"/lab/guest/vmlinux\"\nramdisk = \"/lab/{ramdisk}/initrd.img\"\n\
         cmdline = \"console=hvc0 random.trust_cpu=on quiet rxl.role={role}\"\nmemory = {memory}\nvcpus = 1\n\
         tsc_mode = \"native\"\non_crash = \"destroy\"\n"
    )
}

/// The logger's configuration.
pub(super) fn logger() -> String {
    guest(LOGGER, Guests::Pv, "logger", "logger", 160)
        + "vif = [ \"mac=00:16:3e:77:00:72,bridge=xenbr0\" ]\ndriver_domain = 1\n"
}

/// The configuration of a version of the servers, from 1. Versions have different names and sizes.
pub(super) fn server(version: u32, kind: Guests) -> String {
    let role = format!("web rxl.ip={ADDRESS}/24");
    let memory = if version % 2 == 1 { 160 } else { 176 };
    guest(&format!("drill-v{version}"), kind, "guest", &role, memory)
        + &format!(
            "vif = [ \"mac=00:16:3e:77:00:80,backend={LOGGER}\" ]\n\
             disk = [ \"format=raw,vdev=xvda,access=ro,target={FOLDER}/files.img\" ]\n"
        )
}

/// The group file. docs/service-groups.md tells its form.
pub(super) fn group(plan: &Plan) -> String {
    let service = &plan.service;
    // Its words are the same in JSON and in TOML.
    let outbound = serde_json::to_string(&service.outbound).unwrap_or_default();
    let mut text = format!("name = \"{GROUP}\"\nlogger = \"{LOGGER}\"\noutbound = {outbound}\n");
    if service.protected {
        let _ = writeln!(
            text,
            "[[service]]\nport = {PORT}\nkind = \"{}\"\nmask = [\"Date\"]\nbuffer = {BUFFER}",
            service.kind
        );
    }
    let _ = writeln!(
        text,
        "[member]\nconfig = \"v1.cfg\"\n[standby]\nready-after = \"{}s\"\nboot-timeout = \"{}s\"\n\
         [policy]\nmost-failovers = 100",
        READY_AFTER.as_secs(),
        BOOT_TIMEOUT.as_secs()
    );
    let wakes = |act: &Act| matches!(act, Act::Hang(_, Some(_)));
    if plan.faults.iter().any(|fault| wakes(&fault.act)) {
        text += "keep-for-autopsy = true\n";
    }
    if let Some(hang) = plan.detect.hang {
        let _ = writeln!(
            text,
            "[detection]\ntcp-silence = \"{}ms\"",
            hang.as_millis()
        );
        // What has no requests cannot be asked for answers (docs/service-groups.md).
        if service.protected && service.kind != "opaque" {
            let _ = writeln!(text, "request-progress = \"{}ms\"", hang.as_millis());
        }
    }
    text
}

/// Makes `folder` with a disk in it on which all files are; where that is. Whoever calls removes the folder.
pub(super) fn disk(files: &[File], folder: &Path) -> Result<PathBuf, String> {
    let inside = folder.join("files");
    let cannot = |what: &Path, error| format!("cannot write {}: {error}", what.display());
    fs::create_dir_all(&inside).map_err(|error| cannot(&inside, error))?;
    let mut bytes = 0;
    for file in files {
        let path = inside.join(&file.name);
        fs::write(&path, &*file.content).map_err(|error| cannot(&path, error))?;
        bytes += file.content.len();
    }
    let image = folder.join("files.img");
    // Tables of the file system take a part.
    let size = (bytes + bytes / 16).div_ceil(1 << 20) + 4;
    let made = Command::new("mke2fs")
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .args([
            "-q",
            "-t",
            "ext4",
            "-b",
            "4096",
            "-m",
            "0",
            "-O",
            "^has_journal,^resize_inode",
            "-d",
        ])
        .args([&inside, &image])
        .arg(format!("{size}M"))
        .output()
        .map_err(|error| format!("cannot start mke2fs: {error}; install e2fsprogs"))?;
    if made.status.success() {
        return Ok(image);
    }
    let said = String::from_utf8_lossy(&made.stderr);
    Err(format!(
        "mke2fs cannot make {}: {}",
        image.display(),
        said.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = r#"
name = "x"
text = "x"
stage = "lab"
duration = "40s"
[service]
runs = "web"
outbound = "re-issue"
[[load]]
do = "download"
connections = 1
size = "1MiB"
[[fault]]
do = "hang"
at = "1s"
wakes_after = "20s"
[detect]
hang = "4s"
"#;

    #[test]
    fn group_file_says_what_the_plan_says() {
        let mut plan = Plan::parse("x", PLAN).unwrap();
        let text = group(&plan);
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table["outbound"].as_str(), Some("re-issue"));
        assert_eq!(table["service"][0]["kind"].as_str(), Some("http"));
        for sign in ["tcp-silence", "request-progress"] {
            assert_eq!(table["detection"][sign].as_str(), Some("4000ms"));
        }
        assert_eq!(table["policy"]["keep-for-autopsy"].as_bool(), Some(true));
        plan.service.protected = false;
        let table: toml::Table = group(&plan).parse().unwrap();
        assert!(!table.contains_key("service"), "{table:?}");
    }

    #[test]
    fn versions_have_one_address_and_different_names() {
        let (one, two) = (server(1, Guests::Pv), server(2, Guests::Pvh));
        assert!(one.contains("type = \"pv\"") && two.contains("type = \"pvh\""));
        assert!(one.contains("name = \"drill-v1\"") && two.contains("name = \"drill-v2\""));
        let mac = |text: &str| {
            text.lines()
                .find(|line| line.starts_with("vif"))
                .map(str::to_owned)
        };
        assert_eq!(mac(&one), mac(&two));
        assert_ne!(mac(&one), mac(&logger()));
    }
}
