// SPDX-License-Identifier: GPL-3.0-only
//! The hypervisor trait by hand, without xenstore: makes, runs and destroys domains on the Xen it runs on.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use toolstack::config::TscMode;
use toolstack::error::{Code, Error, Result};
use toolstack::hypervisor::{
    BuildSpec, CreateSpec, GuestKind, Hypervisor, Trigger, XenHypervisor, check_images,
};
use toolstack::ids::{DomId, KiB};
use uuid::Uuid;

const USAGE: &str = "\
usage: hvprobe host | domains | ring
       hvprobe create pv|pvh KERNEL RAMDISK|- MIB[:MAXMIB] [VCPUS] CMDLINE
       hvprobe run|pause|unpause|destroy|vcpus|nmi|power ID
RAMDISK - means none; `create` leaves the domain paused, `run` unpauses it";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match probe(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hvprobe: {error}");
            ExitCode::from(error.code.exit())
        }
    }
}

fn probe(words: &[&str]) -> Result<()> {
    let xen = XenHypervisor::open()?;
    match words {
        ["host"] => println!("{:#?}", xen.host()?),
        ["domains"] => {
            for domain in xen.domains()? {
                println!("{domain:?}");
            }
        }
        ["ring"] => print!("{}", String::from_utf8_lossy(&xen.console_ring(false)?)),
        ["create", kind, kernel, ramdisk, memory, cmdline] => {
            create(&xen, &wish(kind, kernel, ramdisk, memory, "1", cmdline)?)?;
        }
        ["create", kind, kernel, ramdisk, memory, vcpus, cmdline] => {
            create(&xen, &wish(kind, kernel, ramdisk, memory, vcpus, cmdline)?)?;
        }
        ["pause", id] => xen.pause(number(id)?)?,
        ["unpause" | "run", id] => xen.unpause(number(id)?)?,
        ["destroy", id] => xen.destroy(number(id)?)?,
        ["nmi", id] => xen.trigger(number(id)?, Trigger::Nmi, 0)?,
        ["power", id] => xen.trigger(number(id)?, Trigger::Power, 0)?,
        ["vcpus", id] => {
            for vcpu in xen.vcpus(number(id)?)? {
                println!("{vcpu:?}");
            }
        }
        _ => return Err(usage("the arguments")),
    }
    eprintln!("{} library calls", xen.calls());
    Ok(())
}

/// What is asked for, with ports still to be made.
fn wish(
    kind: &str,
    kernel: &str,
    ramdisk: &str,
    memory: &str,
    vcpus: &str,
    cmdline: &str,
) -> Result<BuildSpec> {
    let (start, most) = memory.split_once(':').unwrap_or((memory, memory));
    let mib = |text: &str| text.parse().map(KiB::from_mib).map_err(|_| usage(text));
    let kind = match kind {
        "pv" => GuestKind::Pv,
        "pvh" => GuestKind::Pvh,
        other => return Err(usage(other)),
    };
    Ok(BuildSpec {
        kind,
        kernel: PathBuf::from(kernel),
        ramdisk: (ramdisk != "-").then(|| PathBuf::from(ramdisk)),
        cmdline: cmdline.to_owned(),
        memory: mib(start)?,
        max_memory: mib(most)?,
        vcpus: vcpus.parse().map_err(|_| usage(vcpus))?,
        store_port: Default::default(),
        store_domain: DomId::DOM0,
        console_port: Default::default(),
        console_domain: DomId::DOM0,
    })
}

/// Makes and fills the domain, or leaves nothing behind.
fn create(xen: &XenHypervisor, wish: &BuildSpec) -> Result<()> {
    check_images(wish)?;
    let id = xen.create(&CreateSpec {
        kind: wish.kind,
        uuid: Uuid::new_v4(),
        max_vcpus: wish.vcpus,
        max_memory: KiB(wish.memory.0 + 1024),
        max_grant_frames: 64,
        max_maptrack_frames: 1024,
        max_event_channels: 1023,
        paging_pool: KiB(1024 * u64::from(wish.vcpus) + 2 * wish.max_memory.mib() * 4),
        tsc_mode: TscMode::Default,
    })?;
    let build = || {
        let store_port = xen.alloc_unbound(id, wish.store_domain)?;
        let console_port = xen.alloc_unbound(id, wish.console_domain)?;
        xen.build(
            id,
            &BuildSpec {
                store_port,
                console_port,
                ..wish.clone()
            },
        )
    };
    match build() {
        Ok(built) => {
            println!("domain {id}: {built:?}");
            Ok(())
        }
        Err(mut error) => {
            if let Err(left) = xen.destroy(id) {
                error.leftovers.push(left.to_string());
            }
            Err(error)
        }
    }
}

fn number(text: &str) -> Result<DomId> {
    text.parse().map(DomId).map_err(|_| usage(text))
}

fn usage(text: &str) -> Error {
    Error::new(Code::Usage, "understand", text, "it is not as below").hint(USAGE)
}
