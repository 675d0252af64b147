// SPDX-License-Identifier: GPL-3.0-only
//! What is looked at before anything is touched, so that bad input leaves no trace.

use std::path::Path;

use super::Host;
use super::capture::open_image;
use crate::config::DomainConfig;
use crate::error::{Code, Error, Result};
use crate::hypervisor::{BuildSpec, GuestKind, check_images};
use crate::ids::{DomId, KiB, Port};

/// What a domain may have beyond its memory, for the toolstack's own accounting (`LIBXL_MAXMEM_CONSTANT`).
pub(super) const SLACK: KiB = KiB(1024);

/// Files, memory and devices of the host. Names are looked at later, in the transaction that takes one.
pub(super) fn without_touching(
    host: &Host<'_>,
    config: &DomainConfig,
    image: Option<&Path>,
) -> Result<()> {
    if config.kind == GuestKind::Hvm {
        let cause = "rxl does not create HVM guests yet";
        return Err(
            Error::new(Code::Usage, "create the domain", &config.name, cause)
                .hint("use type=\"pvh\" or \"pv\", or `xl create`"),
        );
    }
    match image {
        None => check_images(&build_spec(config))?,
        Some(path) => drop(open_image(path)?),
    }
    memory_is_free(host, config)?;
    host.plug.check(config)
}

fn memory_is_free(host: &Host<'_>, config: &DomainConfig) -> Result<()> {
    let needed = KiB(config
        .memory
        .0
        .saturating_add(paging_pool(config).0)
        .saturating_add(overhead(config.kind).0));
    let free = host.hv.host()?.free_memory;
    if needed <= free {
        return Ok(());
    }
    let cause = format!(
        "{} MiB are needed and {} MiB are free on the host",
        needed.0.div_ceil(1024),
        free.mib(),
    );
    Err(
        Error::new(Code::Resources, "create the domain", &config.name, cause)
            .hint("lower `memory`, end another domain, or give Dom0 less"),
    )
}

/// What Xen takes for a domain's own structures, as `xl` counts it.
const fn overhead(kind: GuestKind) -> KiB {
    match kind {
        GuestKind::Pv => KiB(1024),
        GuestKind::Pvh | GuestKind::Hvm => KiB(2048),
    }
}

/// Memory for hardware page tables, as libxl counts it (`libxl__get_required_paging_memory`): 256 pages for each
/// vCPU and one for each MiB. A PV guest's page tables are its own.
pub(super) fn paging_pool(config: &DomainConfig) -> KiB {
    if config.kind == GuestKind::Pv {
        return KiB(0);
    }
    let pages = 256 * u64::from(config.max_vcpus) + config.max_memory.mib();
    KiB(4 * pages)
}

/// What is to be built, as far as the configuration says; the event channels are not known yet.
pub(super) fn build_spec(config: &DomainConfig) -> BuildSpec {
    BuildSpec {
        kind: config.kind,
        kernel: config.kernel.clone(),
        ramdisk: config.ramdisk.clone(),
        cmdline: config.cmdline.clone(),
        memory: config.memory,
        max_memory: config.max_memory,
        vcpus: config.max_vcpus,
        store_port: Port(0),
        store_domain: DomId::DOM0,
        console_port: Port(0),
        console_domain: DomId::DOM0,
    }
}
