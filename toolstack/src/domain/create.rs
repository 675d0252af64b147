// SPDX-License-Identifier: GPL-3.0-only
//! Making a domain.
//!
//! The steps, each of which happens whole or not at all: checks that touch nothing; the journal entry; the domain in Xen
//! together with its name and nodes in one transaction; event channels; memory and kernel; the nodes that say
//! what was built; hot-plug; the configuration for `xl`; unpause. What undoes them all is [`teardown`].

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::capture::open_image;
use super::checks::{self, SLACK};
use super::journal::{Entry, OpenEntry, Operation};
use super::names::Survey;
use super::teardown::{Doomed, teardown};
use super::{Host, skeleton, userdata};
use crate::config::DomainConfig;
use crate::device::{Device, Kind, nodes, vdev};
use crate::error::{Code, Error, Result};
use crate::hypervisor::{BuildSpec, Built, CreateSpec};
use crate::ids::{DomId, KiB, Port};
use crate::store::{Request, StoreExt};

/// Grant table limit in frames: Xen's default (`opt_max_grant_frames`).
const GRANT_FRAMES: u32 = 64;
/// Maptrack limit in frames: Xen's default (`opt_max_maptrack_frames`).
const MAPTRACK_FRAMES: u32 = 1024;
/// Highest event channel port: libxl's default.
const EVENT_CHANNELS: u32 = 1023;

/// How a domain is to be made.
#[derive(Clone, Copy)]
pub struct CreateOptions<'a> {
    /// Leave it paused.
    pub paused: bool,
    /// Set from elsewhere (a signal handler): stop at the next step and undo all.
    pub cancel: &'a AtomicBool,
    /// Told of each step, a present participle: `"building"`.
    pub progress: Option<&'a dyn Fn(&str)>,
    /// Instead of kernel and ramdisk: the image of a domain of the same configuration, its name and handle aside, that
    /// [`super::capture`] has made.
    pub image: Option<&'a Path>,
}

impl std::fmt::Debug for CreateOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreateOptions")
            .field("paused", &self.paused)
            .finish_non_exhaustive()
    }
}

impl CreateOptions<'_> {
    /// A step begins: says so, unless the operator has had enough.
    fn step(&self, config: &DomainConfig, what: &str) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            let cause = format!("interrupted before {what}; everything is undone");
            return Err(Error::new(Code::Interrupted, OP, &config.name, cause));
        }
        if let Some(tell) = self.progress {
            tell(what);
        }
        Ok(())
    }
}

const OP: &str = "create the domain";

/// Makes the domain that `config` describes and returns its number.
///
/// # Errors
/// What went wrong first; by then everything is undone, or `leftovers` says what is not (and the journal keeps it
/// for [`super::recover`]).
pub fn create(
    host: &Host<'_>,
    config: &DomainConfig,
    options: &CreateOptions<'_>,
) -> Result<DomId> {
    options.step(config, "checking")?;
    checks::without_touching(host, config, options.image)?;
    let entry = OpenEntry::create(
        &host.places.journal,
        &Entry {
            operation: Operation::Create,
            owner: host.places.owner,
            name: config.name.clone(),
            uuid: config.uuid,
            domain: None,
        },
    )?;
    let mut made = Doomed {
        id: None,
        uuid: config.uuid,
    };
    match steps(host, config, options, &mut made) {
        Ok(id) => match entry.close() {
            Ok(()) => Ok(id),
            // An open entry would let a later recovery take the domain away.
            Err(error) => Err(undone(host, &made, error)),
        },
        Err(error) => {
            let error = undone(host, &made, error);
            if !error.leftovers.is_empty() {
                return Err(error);
            }
            // Nothing is left to do, so an entry that stays does no harm; the first error is the one to tell.
            let _ = entry.close();
            Err(error)
        }
    }
}

/// Takes away what was made; what cannot be taken away is added to `error`.
fn undone(host: &Host<'_>, made: &Doomed, mut error: Error) -> Error {
    if let Some(id) = made.id {
        error.leftovers = teardown(host, made).iter().map(Error::to_string).collect();
        error.domain = error.domain.or(Some(id));
    }
    error
}

fn steps(
    host: &Host<'_>,
    config: &DomainConfig,
    options: &CreateOptions<'_>,
    made: &mut Doomed,
) -> Result<DomId> {
    options.step(config, "naming")?;
    let named = name(host, config, made)?;
    let id = named.id;

    options.step(config, "building")?;
    let (ports, built) = build(host, config, &named, options.image)?;
    let mut requests = skeleton::second(id, config, ports.store, &built);
    requests.extend(nodes::console(
        id,
        DomId::DOM0,
        ports.console,
        built.console_frame,
    ));
    // Last: xenstored and xenconsoled look at the nodes when they hear of it.
    requests.push(Request::Introduce {
        domain: id,
        frame: built.store_frame,
        port: ports.store,
    });
    host.store.all(&requests)?;

    if !named.devices.is_empty() {
        options.step(config, "plugging devices")?;
        host.plug.plug(host.store, &named.devices, options.cancel)?;
    }
    userdata::write(&host.places.userdata, id, config)?;
    options.step(config, "starting")?;
    if !options.paused {
        host.hv.unpause(id)?;
    }
    Ok(id)
}

/// What the first transaction settles.
struct Named {
    id: DomId,
    devices: Vec<Device>,
    store_domain: DomId,
    console_domain: DomId,
}

/// Makes the empty domain and writes its nodes, in the transaction that has found its name free.
fn name(host: &Host<'_>, config: &DomainConfig, made: &mut Doomed) -> Result<Named> {
    host.store.transaction(|tx| {
        let survey = Survey::take(host.hv, tx)?;
        let before = made.id;
        survey.free_name(OP, &config.name)?;
        let mut backends = Vec::new();
        for vif in &config.vifs {
            backends.push(match &vif.backend {
                Some(backend) => survey.backend(backend)?,
                None => DomId::DOM0,
            });
        }
        // After a conflict the domain is there already.
        let id = match before {
            Some(id) => id,
            None => {
                survey.free_uuid(OP, &config.name, config.uuid)?;
                host.hv
                    .create(&create_spec(config))
                    .map_err(|error| about(config, error))?
            }
        };
        made.id = Some(id);

        let mut requests = skeleton::first(id, config);
        // A driver domain's front-end must copy what it sends: the pages are often not its own.
        let trusted = !config.driver_domain;
        let mut devices = Vec::new();
        for (devid, (vif, backend)) in (0..).zip(config.vifs.iter().zip(backends)) {
            requests.extend(nodes::vif(id, backend, devid, vif, trusted));
            devices.push(Device::new(id, Kind::Vif, devid, backend));
        }
        for disk in &config.disks {
            requests.extend(nodes::vbd(id, DomId::DOM0, config.kind, disk)?);
            devices.push(Device::new(
                id,
                Kind::Vbd,
                vdev::number(&disk.vdev)?,
                DomId::DOM0,
            ));
        }
        tx.all(&requests)?;
        Ok(Named {
            id,
            devices,
            store_domain: survey.store_domain,
            console_domain: survey.console_domain,
        })
    })
}

/// The two event channels that every guest has, the guest's ends.
struct Ports {
    store: Port,
    console: Port,
}

fn build(
    host: &Host<'_>,
    config: &DomainConfig,
    named: &Named,
    image: Option<&Path>,
) -> Result<(Ports, Built)> {
    let store = host.hv.alloc_unbound(named.id, named.store_domain)?;
    let console = host.hv.alloc_unbound(named.id, named.console_domain)?;
    let spec = BuildSpec {
        store_port: store,
        store_domain: named.store_domain,
        console_port: console,
        console_domain: named.console_domain,
        ..checks::build_spec(config)
    };
    let built = match image {
        None => host.hv.build(named.id, &spec)?,
        Some(path) => host.hv.restore(named.id, &spec, &open_image(path)?)?,
    };
    Ok((Ports { store, console }, built))
}

fn create_spec(config: &DomainConfig) -> CreateSpec {
    CreateSpec {
        kind: config.kind,
        uuid: config.uuid,
        max_vcpus: config.max_vcpus,
        max_memory: KiB(config.memory.0.saturating_add(SLACK.0)),
        max_grant_frames: GRANT_FRAMES,
        max_maptrack_frames: MAPTRACK_FRAMES,
        max_event_channels: EVENT_CHANNELS,
        paging_pool: checks::paging_pool(config),
        tsc_mode: config.tsc_mode,
    }
}

/// Names the domain in an error of a call that does not know it.
fn about(config: &DomainConfig, mut error: Error) -> Error {
    error.object.clone_from(&config.name);
    error
}
