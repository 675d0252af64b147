// SPDX-License-Identifier: GPL-3.0-only
//! The domain's configuration where `xl list -l` looks for it: libxl's user data, in libxl's JSON.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use uuid::Uuid;

use super::skeleton::kind_word;
use crate::config::{Action, DomainConfig};
use crate::device::nodes::mac_text;
use crate::error::{Code, Error, Result};
use crate::ids::DomId;

/// Writes the configuration; the file appears whole or not at all.
pub(super) fn write(directory: &Path, id: DomId, config: &DomainConfig) -> Result<()> {
    let name = format!("userdata-d.{id}.{}.libxl-json", config.uuid.hyphenated());
    let path = directory.join(&name);
    // A name that `remove` finds too.
    let temporary = directory.join(format!("{name}.new"));
    // libxl reads it as a C string and wants the terminator in the file.
    let text = format!("{:#}\n\0", libxl_json(config));
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&temporary, text))
        .and_then(|()| fs::rename(&temporary, &path))
        .map_err(|error| failed("write the domain's configuration", &path, &error))
}

/// Removes every piece of user data of the domain.
pub(super) fn remove(directory: &Path, uuid: Uuid) -> Result<()> {
    let op = "remove the domain's configuration";
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|error| failed(op, directory, &error))?,
    };
    let mark = format!(".{}.", uuid.hyphenated());
    for entry in entries {
        let entry = entry.map_err(|error| failed(op, directory, &error))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !(name.starts_with("userdata-") && name.contains(&mark)) {
            continue;
        }
        let path: PathBuf = entry.path();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(op, &path, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn failed(op: &str, path: &Path, cause: &io::Error) -> Error {
    Error::new(Code::System, op, path.display().to_string(), cause)
}

/// The configuration as libxl 4.17 spells it (`libxl_types.idl`); what is left out has libxl's default.
fn libxl_json(config: &DomainConfig) -> Value {
    let kind = kind_word(config.kind);
    let disks: Vec<Value> = config
        .disks
        .iter()
        .map(|disk| {
            json!({
                "pdev_path": disk.target,
                "vdev": disk.vdev,
                "backend": "phy",
                "format": "raw",
                "readwrite": i32::from(disk.writable),
            })
        })
        .collect();
    let nics: Vec<Value> = (0..)
        .zip(&config.vifs)
        .map(|(devid, vif): (u32, _)| {
            let optional = [
                ("bridge", vif.bridge.clone()),
                ("backend_domname", vif.backend.clone()),
                ("ip", vif.ip.clone()),
                ("ifname", vif.vifname.clone()),
                (
                    "script",
                    vif.script.as_ref().map(|path| path.display().to_string()),
                ),
            ];
            let mut nic = json!({ "devid": devid, "mac": mac_text(vif.mac), "nictype": "vif" });
            for (key, value) in optional {
                if let Some(value) = value {
                    nic[key] = Value::String(value);
                }
            }
            nic
        })
        .collect();
    let online: Vec<u32> = (0..config.vcpus).collect();
    let mut build = json!({
        "max_vcpus": config.max_vcpus,
        "avail_vcpus": online,
        "max_memkb": config.max_memory,
        "target_memkb": config.memory,
        "device_model_version": "qemu_xen",
        "kernel": config.kernel,
        "cmdline": config.cmdline,
        "tsc_mode": config.tsc_mode,
        format!("type.{kind}"): {},
    });
    if let Some(ramdisk) = &config.ramdisk {
        build["ramdisk"] = json!(ramdisk);
    }
    let mut domain = json!({
        "c_info": {
            "type": kind,
            "name": config.name,
            "uuid": config.uuid.hyphenated().to_string(),
        },
        "b_info": build,
        "on_poweroff": action_word(config.on_poweroff),
        "on_reboot": action_word(config.on_reboot),
        "on_crash": action_word(config.on_crash),
    });
    if config.driver_domain {
        domain["c_info"]["driver_domain"] = json!("True");
    }
    if !disks.is_empty() {
        domain["disks"] = Value::Array(disks);
    }
    if !nics.is_empty() {
        domain["nics"] = Value::Array(nics);
    }
    domain
}

const fn action_word(action: Action) -> &'static str {
    match action {
        Action::Destroy => "destroy",
        Action::Restart => "restart",
        Action::RenameRestart => "restart_rename",
        Action::Preserve => "preserve",
    }
}
