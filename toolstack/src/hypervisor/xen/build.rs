// SPDX-License-Identifier: GPL-3.0-only
//! Filling an empty domain: memory, kernel, ramdisk, start information, first vCPU.
//!
//! The chain of libxenguest's steps, in libxl's order, for PV and PVH. When a step fails the domain is left as it is:
//! the caller made it and destroys it.
//!
//! `max_memory` above `memory`: a PVH guest sees all of `max_memory` and gets `memory` of it, populated on demand; a PV
//! guest gets `memory` and is told in its memory map that it may grow to `max_memory`. Both need their balloon driver.

use xen_sys::{Container, DomBuilder, DomSettings, HvmLayout, XenError, Xenctrl, consts};

use super::failure::{fail, fail_domain};
use super::images::{check_images, too_small_hint};
use super::memory_map::{e820, layout};
use super::{acpi, failure};
use crate::error::{Code, Error, Result};
use crate::hypervisor::{BuildSpec, Built, GuestKind};
use crate::ids::{DomId, Gfn, KiB};

const OP: &str = "build the domain";

/// Builds the domain; it stays paused.
pub(super) fn build(ctl: &Xenctrl, id: DomId, spec: &BuildSpec) -> Result<Built> {
    check_images(spec).map_err(|error| error.domain(id))?;
    let build = Build { ctl, id, spec };
    match spec.kind {
        GuestKind::Pv => build.pv(),
        GuestKind::Pvh => build.pvh(),
        GuestKind::Hvm => {
            let why = "HVM guests with a device model are not built by rxl";
            Err(Error::new(Code::Usage, OP, failure::name(id), why).domain(id))
        }
    }
}

struct Build<'a> {
    ctl: &'a Xenctrl,
    id: DomId,
    spec: &'a BuildSpec,
}

impl Build<'_> {
    fn pv(&self) -> Result<Built> {
        let (id, spec) = (self.id.0, self.spec);
        self.step(
            self.ctl
                .set_memmap_limit(id, spec.max_memory.max(spec.memory).0),
        )?;
        self.step(self.ctl.apply_cpu_policy(id))?;
        let mut dom = self.start(Container::Pv)?;
        self.parse(&mut dom)?;
        self.populate(&mut dom, spec.memory)?;
        self.finish(&mut dom)
    }

    fn pvh(&self) -> Result<Built> {
        let (id, spec) = (self.id.0, self.spec);
        self.step(self.ctl.apply_cpu_policy(id))?;
        let mut dom = self.start(Container::Hvm)?;
        let seen = spec.max_memory.max(spec.memory);
        let layout = layout(spec.memory, seen);
        dom.hvm_layout(&layout);
        self.parse(&mut dom)?;
        self.populate(&mut dom, seen)?;
        self.describe(&mut dom, &layout)?;
        self.finish(&mut dom)
    }

    /// Opens the builder with the files and the ports.
    fn start(&self, container: Container) -> Result<DomBuilder<'_>> {
        let spec = self.spec;
        let mut dom = self.step(DomBuilder::new(self.ctl, container, &spec.cmdline))?;
        let object = spec.kernel.display().to_string();
        dom.kernel_file(&spec.kernel)
            .map_err(|cause| fail("read the kernel", object, &cause).domain(self.id))?;
        if let Some(ramdisk) = &spec.ramdisk {
            let object = ramdisk.display().to_string();
            dom.module_file(ramdisk)
                .map_err(|cause| fail("read the ramdisk", object, &cause).domain(self.id))?;
        }
        dom.settings(&DomSettings {
            max_vcpus: spec.vcpus,
            console_port: spec.console_port.0,
            console_domid: spec.console_domain.0,
            store_port: spec.store_port.0,
            store_domid: spec.store_domain.0,
        });
        Ok(dom)
    }

    /// Reads the kernel's Xen notes. What fails here is the file's fault.
    fn parse(&self, dom: &mut DomBuilder<'_>) -> Result<()> {
        self.step(dom.boot_xen_init(self.id.0))?;
        dom.parse_image().map_err(|cause| {
            let (kind, option) = match self.spec.kind {
                GuestKind::Pv => ("PV", "CONFIG_XEN_PV"),
                _ => ("PVH", "CONFIG_PVH"),
            };
            let why = format!("the file named by kernel cannot start as a {kind} guest: {cause}");
            Error::new(Code::State, OP, self.spec.kernel.display().to_string(), why)
                .hint(format!("use a kernel built with {option}, or change type"))
                .domain(self.id)
        })
    }

    /// Claims and populates the memory. What fails here is nearly always that the host has not enough of it.
    fn populate(&self, dom: &mut DomBuilder<'_>, seen: KiB) -> Result<()> {
        let mib = u32::try_from(seen.mib()).unwrap_or(u32::MAX);
        self.step(dom.mem_init(mib))?;
        dom.boot_mem_init().map_err(|cause| self.no_memory(&cause))
    }

    fn no_memory(&self, cause: &XenError) -> Error {
        let mut error = fail(
            "populate the domain's memory",
            failure::name(self.id),
            cause,
        );
        let free = self
            .ctl
            .physinfo()
            .map(|phys| KiB(phys.free_pages.saturating_mul(4)));
        if let Ok(free) = free
            && free < self.spec.memory
        {
            error.code = Code::Resources;
            error = error.hint(format!(
                "the host has {} MiB free: set memory to less, or destroy a domain that is not needed",
                free.mib()
            ));
        }
        error.domain(self.id)
    }

    /// PVH: ACPI tables, and the memory map with them.
    fn describe(&self, dom: &mut DomBuilder<'_>, layout: &HvmLayout) -> Result<()> {
        let anywhere =
            dom.guest_os() != "linux" || dom.has_feature(consts::FEATURE_RSDP_UNRESTRICTED);
        let tables = acpi::tables(self.spec.vcpus, anywhere);
        let ranges: Vec<(u64, u64)> = tables
            .iter()
            .map(|table| (table.addr, table.data.len() as u64))
            .collect();
        let map = e820(layout, &ranges);
        self.step(dom.load_tables(tables))?;
        self.step(self.ctl.set_memory_map(self.id.0, &map))?;
        dom.memory_map(&map);
        Ok(())
    }

    fn finish(&self, dom: &mut DomBuilder<'_>) -> Result<Built> {
        dom.build_image().map_err(|cause| {
            let object = self.spec.kernel.display().to_string();
            let mut error = fail("fit kernel and ramdisk into memory", object, &cause);
            if error.code == Code::Hypercall {
                error.code = Code::Resources;
            }
            error.hint(too_small_hint(self.spec.memory)).domain(self.id)
        })?;
        self.step(dom.boot_image())?;
        self.step(dom.gnttab_init())?;
        let frames = self.step(dom.frames())?;
        Ok(Built {
            store_frame: Gfn(frames.store),
            console_frame: Gfn(frames.console),
        })
    }

    fn step<T>(&self, result: Result<T, XenError>) -> Result<T> {
        result.map_err(|cause| fail_domain(OP, self.id, &cause))
    }
}
