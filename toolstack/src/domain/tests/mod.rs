// SPDX-License-Identifier: GPL-3.0-only
//! Operations on a simulated host: what they leave, what they cost, and that nothing stays behind after a failure or a kill at
//! any step.

mod faults;
mod images;
mod operations;
mod race;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use uuid::Uuid;

use super::{CreateOptions, Host, HotPlug, Owner, Places, create};
use crate::config::{Action, DiskBackend, DiskConfig, DomainConfig, TscMode, VifConfig};
use crate::device::{Device, hotplug};
use crate::error::{Code, Error, Result};
use crate::hypervisor::GuestKind;
use crate::hypervisor::sim::SimHypervisor;
use crate::ids::{DomId, KiB};
use crate::store::Store;
use crate::store::memory::MemoryStore;

/// No process has this number: it is above the kernel's limit.
const NOBODY: Owner = Owner {
    pid: u32::MAX,
    started: 1,
};

/// A simulated host with directories of its own.
struct World {
    hv: Arc<SimHypervisor>,
    store: MemoryStore,
    plug: SimPlug,
    directory: PathBuf,
}

impl World {
    fn new() -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!("rxl-domain-{}-{serial}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(directory.join("userdata")).unwrap();
        std::fs::create_dir_all(directory.join("journal")).unwrap();
        // As small as a file can be that the loader takes for a kernel: a gzip magic says nothing about sizes.
        std::fs::write(directory.join("kernel"), [0x1f, 0x8b, 0, 0, 0, 0, 0, 0]).unwrap();
        std::fs::write(directory.join("disk"), [0; 4096]).unwrap();
        Self {
            hv: Arc::new(SimHypervisor::new(KiB::from_mib(4096), KiB::from_mib(1024))),
            store: MemoryStore::new(),
            plug: SimPlug::default(),
            directory,
        }
    }

    /// The host, as a process sees it that will be dead when somebody looks at its journal.
    fn host(&self) -> Host<'_> {
        Host {
            hv: &*self.hv,
            store: &self.store,
            plug: &self.plug,
            places: Places {
                journal: self.directory.join("journal"),
                userdata: self.directory.join("userdata"),
                images: self.directory.join("images"),
                owner: NOBODY,
            },
        }
    }

    fn config(&self, name: &str) -> DomainConfig {
        DomainConfig {
            name: name.to_owned(),
            uuid: Uuid::new_v4(),
            kind: GuestKind::Pvh,
            kernel: self.directory.join("kernel"),
            ramdisk: None,
            cmdline: "console=hvc0".into(),
            memory: KiB::from_mib(128),
            max_memory: KiB::from_mib(128),
            vcpus: 1,
            max_vcpus: 2,
            vifs: Vec::new(),
            disks: Vec::new(),
            on_poweroff: Action::Destroy,
            on_reboot: Action::Restart,
            on_crash: Action::Destroy,
            driver_domain: false,
            tsc_mode: TscMode::Default,
        }
    }

    /// A configuration with a vif and a disk.
    fn full_config(&self, name: &str) -> DomainConfig {
        let vif = VifConfig {
            mac: [0, 0x16, 0x3e, 0, 0, 1],
            bridge: Some("xenbr0".into()),
            backend: None,
            ip: None,
            script: None,
            vifname: None,
        };
        let disk = DiskConfig {
            target: self.directory.join("disk"),
            vdev: "xvda".into(),
            writable: true,
            backend: DiskBackend::Phy,
            script: None,
        };
        DomainConfig {
            vifs: vec![vif],
            disks: vec![disk],
            ..self.config(name)
        }
    }

    fn create(&self, config: &DomainConfig) -> Result<DomId> {
        let cancel = AtomicBool::new(false);
        let options = CreateOptions {
            paused: false,
            cancel: &cancel,
            progress: None,
            image: None,
        };
        create(&self.host(), config, &options)
    }

    /// All that there is to see of the world: nodes, domains, free memory, what is plugged, files.
    fn snapshot(&self) -> Vec<String> {
        let mut lines = self.store.dump();
        let numbers: Vec<u16> = (0..100)
            .filter(|number| self.hv.triggers(DomId(*number)).is_ok())
            .collect();
        lines.push(format!("domains {numbers:?}"));
        lines.push(format!("free {}", self.hv.free()));
        lines.push(format!("plugged {}", self.plug.plugged.get()));
        lines.push(format!("watches {}", self.store.watches()));
        for name in ["journal", "userdata"] {
            lines.push(format!("{name} {:?}", files(&self.directory.join(name))));
        }
        lines
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Under the system's directory for temporary files; what cannot be removed is left to it.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    all.sort();
    all
}

/// Hot-plug that only counts. Like the real one it works through the store, where the fault points are.
#[derive(Default)]
struct SimPlug {
    plugged: Cell<i32>,
    fails: Cell<bool>,
}

impl HotPlug for SimPlug {
    fn check(&self, _config: &DomainConfig) -> Result<()> {
        Ok(())
    }

    fn plug(&self, store: &dyn Store, devices: &[Device], _cancel: &AtomicBool) -> Result<()> {
        for device in devices {
            if self.fails.get() {
                let object = device.interface();
                return Err(Error::new(
                    Code::System,
                    "plug the device",
                    object,
                    "injected",
                ));
            }
            self.plugged.set(self.plugged.get() + 1);
            hotplug::connected(store, device)?;
        }
        Ok(())
    }

    fn unplug(&self, _store: &dyn Store, _devices: &[Device]) -> Result<()> {
        self.plugged.set(0);
        Ok(())
    }
}
