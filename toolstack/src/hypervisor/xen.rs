// SPDX-License-Identifier: GPL-3.0-only
//! The real hypervisor: [`Hypervisor`] through `xen-sys`, for PV and PVH guests on Xen 4.17.
//!
//! `create` makes and sets up a domain, `build` fills it, `image` does so from another one's image, `acpi` and `memory_map` say what a PVH guest finds,
//! `images` judges kernel and ramdisk beforehand, `decode` and `failure` translate Xen's answers.

mod acpi;
mod build;
mod create;
mod decode;
mod failure;
mod image;
mod images;
mod memory_map;

use std::cell::OnceCell;
use std::fs::File;

use xen_sys::{PhysInfo, XenError, Xenctrl, consts};

use self::failure::{fail, fail_domain};
pub use self::images::check_images;
use super::{
    BuildSpec, Built, CreateSpec, DomainInfo, HostInfo, Hypervisor, ShutdownReason, Trigger,
    VcpuInfo,
};
use crate::error::{Code, Error, Result};
use crate::ids::{DomId, KiB, Port};

/// Xen itself, reached through `/dev/xen/privcmd`.
#[derive(Debug)]
pub struct XenHypervisor {
    ctl: Xenctrl,
    /// Facts that do not change while the host runs are asked for once.
    phys: OnceCell<PhysInfo>,
}

impl XenHypervisor {
    /// Opens the hypervisor.
    ///
    /// # Errors
    /// `Code::Denied`: not root, not in Dom0, or not under Xen.
    pub fn open() -> Result<Self> {
        let op = "reach the hypervisor";
        let ctl = Xenctrl::open().map_err(|cause| failure::unreachable(op, &cause))?;
        let xen = Self {
            ctl,
            phys: OnceCell::new(),
        };
        // A guest can open the device too; the first privileged question tells whether we may rule.
        xen.phys()
            .map_err(|cause| failure::unreachable(op, &cause))?;
        Ok(xen)
    }

    /// Calls of libxenctrl and libxenguest made so far; one can be several hypercalls.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.ctl.calls()
    }

    /// Processors and capabilities; the memory figures are those of the first call.
    fn phys(&self) -> Result<&PhysInfo, XenError> {
        if let Some(phys) = self.phys.get() {
            return Ok(phys);
        }
        let phys = self.ctl.physinfo()?;
        Ok(self.phys.get_or_init(|| phys))
    }

    /// Whether Xen emulates power and sleep buttons for the domain; it ignores such a trigger silently otherwise.
    fn require_buttons(&self, id: DomId, op: &str) -> Result<()> {
        let record = self
            .ctl
            .domain(id.0)
            .map_err(|cause| fail_domain(op, id, &cause))?;
        match record {
            None => Err(failure::no_such_domain(op, id)),
            Some(record) if record.power_buttons => Ok(()),
            Some(_) => Err(Error::new(
                Code::State,
                op,
                failure::name(id),
                "a PV or PVH guest has no ACPI buttons",
            )
            .domain(id)
            .hint("ask the guest through xenstore: rxl shutdown")),
        }
    }
}

impl Hypervisor for XenHypervisor {
    fn host(&self) -> Result<HostInfo> {
        let ask = || {
            let versions = self.ctl.versions()?;
            let scheduler = self.ctl.scheduler()?;
            Ok((self.ctl.physinfo()?, versions, scheduler))
        };
        let (phys, versions, scheduler) =
            ask().map_err(|cause: XenError| fail("read the host's facts", "Xen", &cause))?;
        Ok(decode::host(&phys, versions, scheduler))
    }

    fn domains(&self) -> Result<Vec<DomainInfo>> {
        let records = self
            .ctl
            .domains()
            .map_err(|cause| fail("list the domains", "Xen", &cause))?;
        Ok(records.iter().map(decode::domain).collect())
    }

    fn domain(&self, id: DomId) -> Result<Option<DomainInfo>> {
        let record = self
            .ctl
            .domain(id.0)
            .map_err(|cause| fail_domain("read the domain's state", id, &cause))?;
        Ok(record.as_ref().map(decode::domain))
    }

    fn create(&self, spec: &CreateSpec) -> Result<DomId> {
        let phys = self
            .phys()
            .map_err(|cause| fail("read the host's facts", "Xen", &cause))?;
        create::create(&self.ctl, phys.capabilities, spec)
    }

    fn alloc_unbound(&self, id: DomId, remote: DomId) -> Result<Port> {
        self.ctl
            .alloc_unbound(id.0, remote.0)
            .map(Port)
            .map_err(|cause| fail_domain("allocate an event channel", id, &cause))
    }

    fn build(&self, id: DomId, spec: &BuildSpec) -> Result<Built> {
        build::build(&self.ctl, id, spec)
    }

    fn save(&self, id: DomId, to: &File) -> Result<()> {
        image::save(&self.ctl, id, to)
    }

    fn restore(&self, id: DomId, spec: &BuildSpec, from: &File) -> Result<Built> {
        image::restore(&self.ctl, id, spec, from)
    }

    fn pause(&self, id: DomId) -> Result<()> {
        self.ctl
            .pause(id.0)
            .map_err(|cause| fail_domain("pause the domain", id, &cause))
    }

    fn unpause(&self, id: DomId) -> Result<()> {
        let op = "unpause the domain";
        self.ctl.unpause(id.0).map_err(|cause| match cause.errno {
            failure::EINVAL => {
                Error::new(Code::State, op, failure::name(id), "it is not paused").domain(id)
            }
            _ => fail_domain(op, id, &cause),
        })
    }

    fn destroy(&self, id: DomId) -> Result<()> {
        self.ctl
            .destroy_domain(id.0)
            .map_err(|cause| fail_domain("destroy the domain", id, &cause))
    }

    fn remote_shutdown(&self, id: DomId, reason: ShutdownReason) -> Result<()> {
        self.ctl
            .remote_shutdown(id.0, reason.code())
            .map_err(|cause| fail_domain("shut the domain down", id, &cause))
    }

    fn trigger(&self, id: DomId, trigger: Trigger, vcpu: u32) -> Result<()> {
        let op = "send the trigger";
        let number = match trigger {
            Trigger::Nmi => consts::TRIGGER_NMI,
            Trigger::Reset => consts::TRIGGER_RESET,
            Trigger::Init => consts::TRIGGER_INIT,
            Trigger::Power => consts::TRIGGER_POWER,
            Trigger::Sleep => consts::TRIGGER_SLEEP,
            Trigger::S3Resume => {
                self.require_buttons(id, op)?;
                return self
                    .ctl
                    .resume_from_s3(id.0)
                    .map_err(|cause| fail_domain(op, id, &cause));
            }
        };
        if matches!(trigger, Trigger::Power | Trigger::Sleep) {
            self.require_buttons(id, op)?;
        }
        self.ctl.send_trigger(id.0, number, vcpu).map_err(|cause| {
            if failure::is_unsupported(&cause) {
                let why = "Xen does not know this trigger for this kind of guest";
                return Error::new(Code::State, op, failure::name(id), why).domain(id);
            }
            fail_domain(op, id, &cause)
        })
    }

    fn vcpus(&self, id: DomId) -> Result<Vec<VcpuInfo>> {
        let op = "read the domain's vCPUs";
        let ask = || {
            let Some(record) = self.ctl.domain(id.0)? else {
                return Ok(None);
            };
            let max_cpu = self.phys()?.max_cpu_id;
            let vcpus = (0..record
                .max_vcpu_id
                .map_or(0, |highest| highest.saturating_add(1)))
                .map(|vcpu| Ok(decode::vcpu(vcpu, &self.ctl.vcpu(id.0, vcpu)?, max_cpu)))
                .collect::<Result<Vec<_>, XenError>>()?;
            Ok(Some(vcpus))
        };
        ask()
            .map_err(|cause: XenError| fail_domain(op, id, &cause))?
            .ok_or_else(|| failure::no_such_domain(op, id))
    }

    fn set_max_mem(&self, id: DomId, max: KiB) -> Result<()> {
        self.ctl
            .set_max_mem(id.0, max.0)
            .map_err(|cause| fail_domain("change the memory limit", id, &cause))
    }

    fn console_ring(&self, clear: bool) -> Result<Vec<u8>> {
        self.ctl
            .console_ring(clear)
            .map_err(|cause| fail("read Xen's log", "Xen", &cause))
    }
}
