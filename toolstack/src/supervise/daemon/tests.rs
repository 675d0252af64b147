// SPDX-License-Identifier: GPL-3.0-only
//! The daemon from its socket to a simulated host and a simulated logger.

mod groups;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

use fttcp::control;
use uuid::Uuid;

use super::*;
use crate::config::{Action as OnEnd, DomainConfig, TscMode, VifConfig};
use crate::device::Device;
use crate::domain::{self, CreateOptions, Host, HotPlug, Owner, Places};
use crate::hypervisor::sim::SimHypervisor;
use crate::hypervisor::{
    BuildSpec, Built, CreateSpec, DomainInfo, GuestKind, HostInfo, Hypervisor, ShutdownReason,
    Trigger, VcpuInfo,
};
use crate::ids::{KiB, Port};
use crate::store::memory::MemoryStore;
use crate::store::{Store, StoreExt};
use crate::supervise::backend::Connection;
use crate::supervise::client::{Replies, call_at, stream_at};
use crate::supervise::proto::{EventKind, GroupConfig, Request};

/// The hypervisor that all connections share.
struct SharedHypervisor(Arc<SimHypervisor>);

impl Hypervisor for SharedHypervisor {
    fn host(&self) -> Result<HostInfo> {
        self.0.host()
    }
    fn domains(&self) -> Result<Vec<DomainInfo>> {
        self.0.domains()
    }
    fn domain(&self, id: DomId) -> Result<Option<DomainInfo>> {
        self.0.domain(id)
    }
    fn create(&self, spec: &CreateSpec) -> Result<DomId> {
        self.0.create(spec)
    }
    fn alloc_unbound(&self, id: DomId, remote: DomId) -> Result<Port> {
        self.0.alloc_unbound(id, remote)
    }
    fn build(&self, id: DomId, spec: &BuildSpec) -> Result<Built> {
        self.0.build(id, spec)
    }
    fn save(&self, id: DomId, to: &File) -> Result<()> {
        self.0.save(id, to)
    }
    fn restore(&self, id: DomId, spec: &BuildSpec, from: &File) -> Result<Built> {
        self.0.restore(id, spec, from)
    }
    fn pause(&self, id: DomId) -> Result<()> {
        self.0.pause(id)
    }
    fn unpause(&self, id: DomId) -> Result<()> {
        self.0.unpause(id)
    }
    fn destroy(&self, id: DomId) -> Result<()> {
        self.0.destroy(id)
    }
    fn remote_shutdown(&self, id: DomId, reason: ShutdownReason) -> Result<()> {
        self.0.remote_shutdown(id, reason)
    }
    fn trigger(&self, id: DomId, trigger: Trigger, vcpu: u32) -> Result<()> {
        self.0.trigger(id, trigger, vcpu)
    }
    fn vcpus(&self, id: DomId) -> Result<Vec<VcpuInfo>> {
        self.0.vcpus(id)
    }
    fn set_max_mem(&self, id: DomId, max: KiB) -> Result<()> {
        self.0.set_max_mem(id, max)
    }
    fn console_ring(&self, clear: bool) -> Result<Vec<u8>> {
        self.0.console_ring(clear)
    }
}

/// Devices that need no plugging.
struct NoPlug;

impl HotPlug for NoPlug {
    fn check(&self, _config: &DomainConfig) -> Result<()> {
        Ok(())
    }
    /// The guests' drivers connect at once.
    fn plug(&self, store: &dyn Store, devices: &[Device], _cancel: &AtomicBool) -> Result<()> {
        let states = devices
            .iter()
            .map(|device| (device.frontend_path().join("state"), "4".to_owned()));
        store.write_all(&states.collect::<Vec<_>>())
    }
    fn unplug(&self, _store: &dyn Store, _devices: &[Device]) -> Result<()> {
        Ok(())
    }
}

/// A host and a logger that remembers what it was asked.
struct SimBackend {
    hv: Arc<SimHypervisor>,
    store: MemoryStore,
    directory: PathBuf,
    asked: Mutex<Vec<control::Request>>,
}

impl Backend for SimBackend {
    fn open(&self) -> Result<Connection> {
        Ok(Connection {
            hv: Box::new(SharedHypervisor(Arc::clone(&self.hv))),
            store: Box::new(self.store.connect(DomId::DOM0)),
        })
    }

    fn host<'a>(&self, connection: &'a Connection) -> Host<'a> {
        Host {
            hv: connection.hv.as_ref(),
            store: connection.store.as_ref(),
            plug: &NoPlug,
            places: Places {
                journal: self.directory.join("journal"),
                userdata: self.directory.join("userdata"),
                images: self.directory.join("images"),
                owner: Owner::this_process(),
            },
        }
    }

    fn logger(
        &self,
        _store: &dyn Store,
        _logger: DomId,
        request: &control::Request,
    ) -> Result<control::Reply> {
        self.asked.lock().unwrap().push(request.clone());
        Ok(control::Reply::Done)
    }
}

/// A daemon on a simulated host.
struct World {
    backend: Arc<SimBackend>,
    settings: Settings,
    daemon: Option<Daemon>,
}

impl World {
    fn new() -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!("rxld-{}-{serial}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("kernel"), [0x1f, 0x8b, 0, 0, 0, 0, 0, 0]).unwrap();
        let mut world = Self {
            settings: Settings {
                socket: directory.join("socket"),
                state: directory.join("groups.json"),
                lock: directory.join("lock"),
            },
            backend: Arc::new(SimBackend {
                hv: Arc::new(SimHypervisor::new(KiB::from_mib(4096), KiB::from_mib(512))),
                store: MemoryStore::new(),
                directory,
                asked: Mutex::default(),
            }),
            daemon: None,
        };
        world.start();
        world
    }

    fn start(&mut self) {
        let backend: Arc<dyn Backend> = self.backend.clone();
        self.daemon = Some(Daemon::start(self.settings.clone(), &backend).unwrap());
    }

    fn stop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.stopper().stop();
            daemon.join().unwrap();
            // Wakes the thread that waits for it.
            self.backend.store.fire_release();
        }
    }

    fn config(&self, name: &str, backend: Option<&str>) -> DomainConfig {
        let vif = backend.map(|backend| VifConfig {
            mac: [0, 0x16, 0x3e, 0, 0, 1],
            bridge: None,
            backend: Some(backend.to_owned()),
            ip: None,
            script: None,
            vifname: None,
        });
        DomainConfig {
            name: name.to_owned(),
            uuid: Uuid::new_v4(),
            kind: GuestKind::Pv,
            kernel: self.backend.directory.join("kernel"),
            ramdisk: None,
            cmdline: String::new(),
            memory: KiB::from_mib(64),
            max_memory: KiB::from_mib(64),
            vcpus: 1,
            max_vcpus: 1,
            vifs: vif.into_iter().collect(),
            disks: Vec::new(),
            on_poweroff: OnEnd::Destroy,
            on_reboot: OnEnd::Restart,
            on_crash: OnEnd::Destroy,
            driver_domain: false,
            tsc_mode: TscMode::Default,
        }
    }

    fn create(&self, config: &DomainConfig) -> DomId {
        let connection = self.backend.open().unwrap();
        let cancel = AtomicBool::new(false);
        let options = CreateOptions {
            paused: false,
            cancel: &cancel,
            progress: None,
            image: None,
        };
        domain::create(&self.backend.host(&connection), config, &options).unwrap()
    }

    fn call(&self, request: &Request) -> Result<Reply> {
        call_at(&self.settings.socket, request)
    }

    fn follow(&self) -> Replies {
        let request = Request::Events {
            since: 0,
            follow: true,
        };
        stream_at(&self.settings.socket, &request).unwrap()
    }

    /// A logger, a service and a standby; the service is watched, the group protected.
    fn protected(&self) -> (DomId, DomId) {
        self.create(&self.config("logger", None));
        let web = self.config("web", Some("logger"));
        let active = self.create(&web);
        let standby = self.create(&self.config("web-standby", Some("logger")));
        self.call(&Request::Watch {
            domid: active,
            config: Box::new(web),
        })
        .unwrap();
        let group = GroupConfig {
            name: "web".into(),
            service: "web".into(),
            standbys: vec!["web-standby".into()],
            logger: "logger".into(),
            north: "eth0".into(),
            services: Vec::new(),
            ft: true,
            outbound: fttcp::control::Outbound::Pass,
        };
        self.call(&Request::FtProtect { group }).unwrap();
        (active, standby)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
        // Under the system's directory for temporary files; what cannot be removed is left to it.
        let _ = std::fs::remove_dir_all(&self.backend.directory);
    }
}

/// Reads events until one is of `kind`; returns the kinds of all.
fn until(events: &mut Replies, kind: EventKind) -> Vec<EventKind> {
    let mut kinds = Vec::new();
    for reply in events {
        let Reply::Events { events } = reply.unwrap() else {
            panic!("not events");
        };
        kinds.extend(events.iter().map(|event| event.kind));
        if kinds.contains(&kind) {
            break;
        }
    }
    kinds
}

#[test]
fn crash_of_the_active_domain_reaches_the_logger_and_the_corpse_is_destroyed() {
    let world = World::new();
    let (active, standby) = world.protected();
    let mut events = world.follow();
    until(&mut events, EventKind::GroupProtected);
    world.backend.hv.end(active, ShutdownReason::Crash).unwrap();
    world.backend.store.fire_release();
    let kinds = until(&mut events, EventKind::DomainDestroyed);
    for kind in [EventKind::DomainCrashed, EventKind::FailoverSent] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    let asked = world.backend.asked.lock().unwrap().clone();
    let control::Request::Protect { group } = &asked[0] else {
        panic!("{asked:?}");
    };
    assert_eq!(group.active, format!("vif{active}.0"));
    assert_eq!(group.standbys, [format!("vif{standby}.0")]);
    let reason = format!("domain {active} (web) crashed");
    assert_eq!(
        asked[1],
        control::Request::Failover {
            group: "web".into(),
            reason
        }
    );
    assert_eq!(asked.len(), 2);
    assert!(world.backend.hv.domain(active).unwrap().is_none());
}

#[test]
fn reboot_of_a_watched_domain_makes_it_again_under_a_new_number() {
    let world = World::new();
    let config = world.config("web", None);
    let old = world.create(&config);
    world
        .call(&Request::Watch {
            domid: old,
            config: Box::new(config),
        })
        .unwrap();
    let mut events = world.follow();
    world.backend.hv.end(old, ShutdownReason::Reboot).unwrap();
    world.backend.store.fire_release();
    until(&mut events, EventKind::DomainRestarted);
    let Reply::Domains { domains } = world.call(&Request::List).unwrap() else {
        panic!("not domains");
    };
    assert_eq!(domains.len(), 1);
    assert_ne!(domains[0].domid, old);
    assert!(world.backend.hv.domain(domains[0].domid).unwrap().is_some());
    assert!(world.backend.hv.domain(old).unwrap().is_none());
}

#[test]
fn domain_that_ended_before_it_was_watched_is_acted_upon() {
    let world = World::new();
    let config = world.config("web", None);
    let id = world.create(&config);
    world.backend.hv.end(id, ShutdownReason::Poweroff).unwrap();
    let mut events = world.follow();
    world
        .call(&Request::Watch {
            domid: id,
            config: Box::new(config),
        })
        .unwrap();
    until(&mut events, EventKind::DomainDestroyed);
    assert!(world.backend.hv.domain(id).unwrap().is_none());
}

#[test]
fn group_survives_a_restart_of_the_daemon_and_a_death_in_between() {
    let mut world = World::new();
    let (active, _) = world.protected();
    world.stop();
    world.backend.hv.vanish(active).unwrap();
    world.start();
    let mut events = world.follow();
    until(&mut events, EventKind::FailoverAcknowledged);
    let Reply::Groups { groups } = world
        .call(&Request::FtStatus {
            group: Some("web".into()),
            connections: false,
        })
        .unwrap()
    else {
        panic!("not groups");
    };
    assert_eq!(groups[0].state.failovers, 1);
    let active = groups[0].state.active.as_ref();
    assert_eq!(
        active.map(|member| member.name.as_str()),
        Some("web-standby")
    );
}

#[test]
fn failover_by_hand_is_answered_when_the_logger_has_taken_it() {
    let world = World::new();
    world.protected();
    let order = Request::FtFailover {
        group: "web".into(),
        reason: "drill".into(),
    };
    assert_eq!(world.call(&order).unwrap(), Reply::Done);
    let last = world.backend.asked.lock().unwrap().last().cloned();
    let expected = control::Request::Failover {
        group: "web".into(),
        reason: "drill".into(),
    };
    assert_eq!(last, Some(expected));
    assert_eq!(world.call(&order).unwrap_err().code, Code::State);
    world
        .call(&Request::FtUnprotect {
            group: "web".into(),
        })
        .unwrap();
    let gone = world
        .call(&Request::FtUnprotect {
            group: "web".into(),
        })
        .unwrap_err();
    assert_eq!(gone.code, Code::NotFound);
}

#[test]
fn protect_refuses_a_domain_that_is_not_behind_the_logger() {
    let world = World::new();
    world.create(&world.config("logger", None));
    world.create(&world.config("web", None));
    let group = GroupConfig {
        name: "web".into(),
        service: "web".into(),
        standbys: Vec::new(),
        logger: "logger".into(),
        north: "eth0".into(),
        services: Vec::new(),
        ft: true,
        outbound: fttcp::control::Outbound::Pass,
    };
    let error = world.call(&Request::FtProtect { group }).unwrap_err();
    assert_eq!((error.code, error.domain), (Code::State, Some(DomId(2))));
    assert_eq!(world.backend.asked.lock().unwrap().len(), 0);
}

#[test]
fn second_daemon_refuses_and_a_stopped_one_leaves_no_socket() {
    let mut world = World::new();
    let backend: Arc<dyn Backend> = world.backend.clone();
    let refused = Daemon::start(world.settings.clone(), &backend).unwrap_err();
    assert_eq!(refused.code, Code::State);
    let Reply::Status { status } = world.call(&Request::Status).unwrap() else {
        panic!("not a status");
    };
    assert_eq!(status.pid, std::process::id());
    world.stop();
    assert!(!world.settings.socket.exists());
    assert_eq!(world.call(&Request::Status).unwrap_err().code, Code::State);
}

#[test]
fn nonsense_on_the_socket_is_answered_with_an_error() {
    use std::io::{BufRead, BufReader, Write};
    let world = World::new();
    let mut socket = std::os::unix::net::UnixStream::connect(&world.settings.socket).unwrap();
    socket.write_all(b"{\"op\":\"fly\"}\n").unwrap();
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line).unwrap();
    assert!(line.contains("\"code\":\"usage\""), "{line}");
}
