// SPDX-License-Identifier: GPL-3.0-only
//! Xen in memory, for tests: deterministic, every call a fault point.
//!
//! It counts memory as Xen does (what a domain has is not free) and hands out numbers in order. It does not run guests: a
//! test plays them with [`SimHypervisor::end`]. xenstored's `@releaseDomain` is the test's to fire, as the real one is
//! fired by xenstored and not by Xen.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::{
    BuildSpec, Built, CreateSpec, DomainInfo, HostInfo, Hypervisor, RunState, ShutdownReason,
    Trigger, VcpuInfo,
};
use crate::error::{Code, Error, Result};
use crate::ids::{DomId, Gfn, KiB, Port};

/// How the image of a simulated domain begins; the rest is its memory in KiB.
const IMAGE: &str = "simulated ";

/// Which calls fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Faults {
    #[default]
    None,
    /// Only this call.
    At(u64),
    /// This call and all later ones: the caller is as good as dead.
    From(u64),
}

#[derive(Debug)]
struct Domain {
    info: DomainInfo,
    pauses: u32,
    /// Memory for hardware page tables, beside `info.memory`.
    pool: KiB,
    next_port: u32,
    built: bool,
    triggers: Vec<(Trigger, u32)>,
}

#[derive(Debug)]
struct World {
    domains: BTreeMap<DomId, Domain>,
    total: KiB,
    free: KiB,
    next_id: u16,
    calls: u64,
    faults: Faults,
}

/// A Xen in memory. Shared between threads by reference or in an `Arc`.
#[derive(Debug)]
pub struct SimHypervisor {
    world: Mutex<World>,
}

impl SimHypervisor {
    /// A host with `total` memory, of which `dom0` belongs to the control domain, the only one.
    #[must_use]
    pub fn new(total: KiB, dom0: KiB) -> Self {
        let control = Domain {
            info: DomainInfo {
                id: DomId::DOM0,
                uuid: Uuid::nil(),
                hvm_container: false,
                state: RunState {
                    running: true,
                    ..idle()
                },
                memory: dom0,
                max_memory: dom0,
                online_vcpus: 1,
                max_vcpu_id: 0,
                cpu_time_ns: 0,
            },
            pauses: 0,
            pool: KiB(0),
            next_port: 1,
            built: true,
            triggers: Vec::new(),
        };
        Self {
            world: Mutex::new(World {
                domains: BTreeMap::from([(DomId::DOM0, control)]),
                total,
                free: KiB(total.0.saturating_sub(dom0.0)),
                next_id: 1,
                calls: 0,
                faults: Faults::None,
            }),
        }
    }

    /// Calls made so far, failed ones included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.world().calls
    }

    /// Lets call number `n` fail, counted from 1 as [`SimHypervisor::calls`] counts; it has no effect.
    pub fn fail_call(&self, n: u64) {
        self.world().faults = Faults::At(n);
    }

    /// Lets call number `n` and every later one fail, until [`SimHypervisor::mend`].
    pub fn fail_from(&self, n: u64) {
        self.world().faults = Faults::From(n);
    }

    /// Lets every call from now on fail, until [`SimHypervisor::mend`].
    pub fn cut_off(&self) {
        let mut world = self.world();
        world.faults = Faults::From(world.calls + 1);
    }

    /// Whether every call fails from now on.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        let world = self.world();
        matches!(world.faults, Faults::From(n) if world.calls >= n)
    }

    /// Forgets all faults.
    pub fn mend(&self) {
        self.world().faults = Faults::None;
    }

    /// Memory in the free heap.
    #[must_use]
    pub fn free(&self) -> KiB {
        self.world().free
    }

    /// Plays a guest that ends by itself: powers off, reboots, crashes.
    ///
    /// # Errors
    /// `Code::NotFound`.
    pub fn end(&self, id: DomId, reason: ShutdownReason) -> Result<()> {
        self.world().get("end", id)?.info.state.shutdown = Some(reason);
        Ok(())
    }

    /// Takes a domain away, as another toolstack would.
    ///
    /// # Errors
    /// `Code::NotFound`.
    pub fn vanish(&self, id: DomId) -> Result<()> {
        self.world().remove(id)
    }

    /// What was sent to a domain with [`Hypervisor::trigger`].
    ///
    /// # Errors
    /// `Code::NotFound`.
    pub fn triggers(&self, id: DomId) -> Result<Vec<(Trigger, u32)>> {
        Ok(self.world().get("look at", id)?.triggers.clone())
    }

    fn world(&self) -> MutexGuard<'_, World> {
        // A test that panicked elsewhere has said so already; every call leaves the world whole.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call: counts it, and fails it if it is its turn.
    fn call(&self, op: &str, object: impl std::fmt::Display) -> Result<MutexGuard<'_, World>> {
        let mut world = self.world();
        world.calls += 1;
        let fails = match world.faults {
            Faults::None => false,
            Faults::At(n) => world.calls == n,
            Faults::From(n) => world.calls >= n,
        };
        if fails {
            let cause = format!("injected fault at call {}", world.calls);
            return Err(Error::new(Code::Hypercall, op, object.to_string(), cause));
        }
        Ok(world)
    }

    fn call_on(&self, op: &str, id: DomId) -> Result<MutexGuard<'_, World>> {
        self.call(op, format!("domain {id}"))
            .map_err(|error| error.domain(id))
    }
}

const fn idle() -> RunState {
    RunState {
        running: false,
        blocked: false,
        paused: false,
        shutdown: None,
        dying: false,
    }
}

impl World {
    fn get(&mut self, op: &str, id: DomId) -> Result<&mut Domain> {
        self.domains.get_mut(&id).ok_or_else(|| {
            let cause = "no such domain (ESRCH)";
            Error::new(Code::NotFound, op, format!("domain {id}"), cause).domain(id)
        })
    }

    fn take(&mut self, op: &str, object: String, amount: KiB) -> Result<()> {
        let Some(left) = self.free.0.checked_sub(amount.0) else {
            let cause = format!("{amount} KiB wanted, {} KiB free (ENOMEM)", self.free);
            return Err(Error::new(Code::Resources, op, object, cause));
        };
        self.free = KiB(left);
        Ok(())
    }

    fn remove(&mut self, id: DomId) -> Result<()> {
        self.get("destroy the domain", id)?;
        if let Some(gone) = self.domains.remove(&id) {
            self.free = KiB(self.free.0 + gone.info.memory.0 + gone.pool.0);
        }
        Ok(())
    }
}

impl Hypervisor for SimHypervisor {
    fn host(&self) -> Result<HostInfo> {
        let world = self.call("ask for the host's facts", "the host")?;
        Ok(HostInfo {
            xen_major: 4,
            xen_minor: 17,
            xen_extra: ".0-sim".into(),
            xen_caps: "xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_64".into(),
            xen_changeset: String::new(),
            xen_commandline: String::new(),
            xen_compiled: String::new(),
            scheduler: "credit2".into(),
            page_size: 4096,
            nr_cpus: 1,
            max_cpu_id: 0,
            nr_nodes: 1,
            cores_per_socket: 1,
            threads_per_core: 1,
            cpu_khz: 1_000_000,
            hw_caps: [0; 8],
            virt_caps: vec!["pv".into(), "hvm".into(), "hap".into()],
            total_memory: world.total,
            free_memory: world.free,
            scrub_memory: KiB(0),
            outstanding_claims: KiB(0),
        })
    }

    fn domains(&self) -> Result<Vec<DomainInfo>> {
        let world = self.call("list the domains", "the host")?;
        Ok(world
            .domains
            .values()
            .map(|domain| domain.info.clone())
            .collect())
    }

    fn domain(&self, id: DomId) -> Result<Option<DomainInfo>> {
        let world = self.call_on("look at the domain", id)?;
        Ok(world.domains.get(&id).map(|domain| domain.info.clone()))
    }

    fn create(&self, spec: &CreateSpec) -> Result<DomId> {
        let op = "create the domain";
        let mut world = self.call(op, spec.uuid)?;
        world.take(op, spec.uuid.to_string(), spec.paging_pool)?;
        let id = DomId(world.next_id);
        world.next_id += 1;
        let info = DomainInfo {
            id,
            uuid: spec.uuid,
            hvm_container: spec.kind != super::GuestKind::Pv,
            state: RunState {
                paused: true,
                ..idle()
            },
            memory: KiB(0),
            max_memory: spec.max_memory,
            online_vcpus: 0,
            max_vcpu_id: spec.max_vcpus.saturating_sub(1),
            cpu_time_ns: 0,
        };
        let domain = Domain {
            info,
            pauses: 1,
            pool: spec.paging_pool,
            next_port: 1,
            built: false,
            triggers: Vec::new(),
        };
        world.domains.insert(id, domain);
        Ok(id)
    }

    fn alloc_unbound(&self, id: DomId, _remote: DomId) -> Result<Port> {
        let op = "allocate an event channel";
        let mut world = self.call_on(op, id)?;
        let domain = world.get(op, id)?;
        let port = Port(domain.next_port);
        domain.next_port += 1;
        Ok(port)
    }

    fn build(&self, id: DomId, spec: &BuildSpec) -> Result<Built> {
        let op = "build the domain";
        let mut world = self.call_on(op, id)?;
        let max = world.get(op, id)?.info.max_memory;
        if spec.memory > max {
            let cause = format!("{} KiB are more than its limit of {max} KiB", spec.memory);
            return Err(Error::new(Code::Resources, op, format!("domain {id}"), cause).domain(id));
        }
        world.take(op, format!("domain {id}"), spec.memory)?;
        let domain = world.get(op, id)?;
        domain.info.memory = spec.memory;
        domain.info.online_vcpus = 1;
        domain.built = true;
        let top = spec.memory.pages();
        Ok(Built {
            store_frame: Gfn(top.saturating_sub(2)),
            console_frame: Gfn(top.saturating_sub(1)),
        })
    }

    fn save(&self, id: DomId, mut to: &File) -> Result<()> {
        let op = "save the domain's memory";
        let mut world = self.call_on(op, id)?;
        let info = &world.get(op, id)?.info;
        if info.state.shutdown != Some(ShutdownReason::Suspend) {
            let cause = "it has not suspended itself";
            return Err(Error::new(Code::State, op, format!("domain {id}"), cause).domain(id));
        }
        // As good as its pages, which the simulated domain does not have.
        write!(to, "{IMAGE}{}", info.memory)
            .map_err(|error| Error::new(Code::System, op, format!("domain {id}"), error).domain(id))
    }

    fn restore(&self, id: DomId, spec: &BuildSpec, mut from: &File) -> Result<Built> {
        let op = "give the domain the memory of an image";
        let mut text = String::new();
        let whole = from.read_to_string(&mut text).is_ok()
            && text.strip_prefix(IMAGE) == Some(&spec.memory.to_string());
        if !whole {
            drop(self.call_on(op, id)?);
            let cause = "the image is damaged, or of another domain";
            return Err(Error::new(Code::State, op, format!("domain {id}"), cause).domain(id));
        }
        self.build(id, spec)
    }

    fn pause(&self, id: DomId) -> Result<()> {
        let op = "pause the domain";
        let mut world = self.call_on(op, id)?;
        let domain = world.get(op, id)?;
        domain.pauses += 1;
        domain.info.state.paused = true;
        Ok(())
    }

    fn unpause(&self, id: DomId) -> Result<()> {
        let op = "unpause the domain";
        let mut world = self.call_on(op, id)?;
        let domain = world.get(op, id)?;
        if !domain.built {
            let cause = "it has no vCPU state yet (EINVAL)";
            return Err(Error::new(Code::State, op, format!("domain {id}"), cause).domain(id));
        }
        domain.pauses = domain.pauses.saturating_sub(1);
        domain.info.state.paused = domain.pauses > 0;
        Ok(())
    }

    fn destroy(&self, id: DomId) -> Result<()> {
        self.call_on("destroy the domain", id)?.remove(id)
    }

    fn remote_shutdown(&self, id: DomId, reason: ShutdownReason) -> Result<()> {
        let op = "shut the domain down";
        self.call_on(op, id)?.get(op, id)?.info.state.shutdown = Some(reason);
        Ok(())
    }

    fn trigger(&self, id: DomId, trigger: Trigger, vcpu: u32) -> Result<()> {
        let op = "send a trigger";
        self.call_on(op, id)?
            .get(op, id)?
            .triggers
            .push((trigger, vcpu));
        Ok(())
    }

    fn vcpus(&self, id: DomId) -> Result<Vec<VcpuInfo>> {
        let op = "list the vCPUs";
        let mut world = self.call_on(op, id)?;
        let info = &world.get(op, id)?.info;
        let (highest, online) = (info.max_vcpu_id, info.online_vcpus);
        Ok((0..=highest)
            .map(|vcpu| VcpuInfo {
                vcpu,
                cpu: 0,
                online: vcpu < online,
                blocked: true,
                running: false,
                cpu_time_ns: 0,
                hard_affinity: vec![0],
                soft_affinity: vec![0],
            })
            .collect())
    }

    fn set_max_mem(&self, id: DomId, max: KiB) -> Result<()> {
        let op = "set the memory limit";
        self.call_on(op, id)?.get(op, id)?.info.max_memory = max;
        Ok(())
    }

    fn console_ring(&self, _clear: bool) -> Result<Vec<u8>> {
        self.call("read Xen's log", "the host").map(|_| Vec::new())
    }
}
