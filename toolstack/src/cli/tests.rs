// SPDX-License-Identifier: GPL-3.0-only
//! Verbs on a host in memory: what they print, what they do, how they fail.

use clap::Parser;
use uuid::Uuid;

use super::failure::Failure;
use super::verbs::{Cli, Options, Verb};
use super::{lifecycle, show};
use crate::config::TscMode;
use crate::domain::{Host, Owner, Places, PowerRequest};
use crate::hypervisor::sim::SimHypervisor;
use crate::hypervisor::{BuildSpec, CreateSpec, GuestKind, Hypervisor, ShutdownReason, Trigger};
use crate::ids::{DomId, KiB};
use crate::store::memory::MemoryStore;
use crate::store::{Request, StoreExt, XsPath};

struct World {
    hv: SimHypervisor,
    store: MemoryStore,
}

impl World {
    /// Dom0, and paused domains 1, 2, ... of these names.
    fn new(names: &[&str]) -> Self {
        let hv = SimHypervisor::new(KiB::from_mib(4096), KiB::from_mib(512));
        let store = MemoryStore::new();
        let mut requests = vec![Request::write(
            XsPath::new("/local/domain/0/name"),
            "Domain-0",
        )];
        for name in names {
            let id = hv
                .create(&CreateSpec {
                    kind: GuestKind::Pv,
                    uuid: Uuid::from_u128(0xabc),
                    max_vcpus: 2,
                    max_memory: KiB::from_mib(65),
                    max_grant_frames: 64,
                    max_maptrack_frames: 1024,
                    max_event_channels: 1023,
                    paging_pool: KiB(0),
                    tsc_mode: TscMode::Default,
                })
                .unwrap();
            let [store_port, console_port] =
                [0, 1].map(|_| hv.alloc_unbound(id, DomId::DOM0).unwrap());
            hv.build(
                id,
                &BuildSpec {
                    kind: GuestKind::Pv,
                    kernel: "/k".into(),
                    ramdisk: None,
                    cmdline: String::new(),
                    memory: KiB::from_mib(64),
                    max_memory: KiB::from_mib(64),
                    vcpus: 2,
                    store_port,
                    store_domain: DomId::DOM0,
                    console_port,
                    console_domain: DomId::DOM0,
                },
            )
            .unwrap();
            let domain = XsPath::domain(id);
            requests.push(Request::write(domain.join("name"), name));
            requests.push(Request::write(
                XsPath::new(format!("/libxl/{id}/type")),
                "pv",
            ));
        }
        store.all(&requests).unwrap();
        Self { hv, store }
    }

    fn host(&self) -> Host<'_> {
        Host {
            places: Places {
                journal: "/nonexistent/journal".into(),
                userdata: "/nonexistent/userdata".into(),
                images: "/nonexistent/images".into(),
                owner: Owner::this_process(),
            },
            ..Host::new(&self.hv, &self.store)
        }
    }

    /// Carries out a command line of a verb that only looks.
    fn show(&self, line: &str) -> Result<String, Failure> {
        let (options, verb) = command(line);
        let mut out = Vec::new();
        let host = self.host();
        match &verb {
            Verb::List(args) => show::list(&host, args, &options, &mut out),
            Verb::Domid(args) => show::domid(&host, args, &options, &mut out),
            Verb::Domname(args) => show::domname(&host, args, &options, &mut out),
            Verb::VcpuList(args) => show::vcpus(&host, args, &options, &mut out),
            Verb::NetworkList(args) => show::networks(&host, args, &options, &mut out),
            Verb::Info(args) => show::info(&host, args, &options, &mut out),
            Verb::Uptime(args) => show::uptime(&host, args, &options, &mut out),
            Verb::Dmesg(args) => show::dmesg(&host, args, &options, &mut out),
            verb => panic!("{verb:?} does not only look"),
        }?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn change(&self, line: &str) -> Result<(), Failure> {
        let host = self.host();
        match &command(line).1 {
            Verb::Pause(args) => lifecycle::pause(&host, &args.domain),
            Verb::Unpause(args) => lifecycle::unpause(&host, &args.domain),
            Verb::Trigger(args) => lifecycle::trigger(&host, args),
            Verb::Sysrq(args) => lifecycle::sysrq(&host, args),
            Verb::Shutdown(args) => lifecycle::end(&host, args, PowerRequest::Poweroff),
            verb => panic!("{verb:?} is not expected here"),
        }
    }

    fn node(&self, path: &str) -> Option<String> {
        self.store.read_text(&XsPath::new(path)).unwrap()
    }
}

fn command(line: &str) -> (Options, Verb) {
    let words = std::iter::once("rxl").chain(line.split_whitespace());
    let cli = Cli::try_parse_from(words).unwrap_or_else(|e| panic!("{line}: {e}"));
    (cli.options, cli.verb)
}

fn told(result: Result<impl std::fmt::Debug, Failure>) -> String {
    result.unwrap_err().prose("VERB")
}

#[test]
fn list_shows_all_or_one_as_table_or_json() {
    let world = World::new(&["web", "db"]);
    let all = world.show("list").unwrap();
    assert_eq!(all.lines().count(), 4);
    let one = world.show("list db").unwrap();
    assert!(one.lines().nth(1).unwrap().starts_with("db  "), "{one}");
    assert!(one.contains("--p---"), "{one}");
    let json: serde_json::Value =
        serde_json::from_str(&world.show("list --json web").unwrap()).unwrap();
    assert_eq!(json[0]["name"], "web");
    assert_eq!(json[0]["kind"], "pv");
    assert_eq!(json[0]["state"]["paused"], true);
    assert_eq!(json.as_array().unwrap().len(), 1);
    let long = world.show("list -l web").unwrap();
    let long: serde_json::Value = serde_json::from_str(&long).unwrap();
    assert_eq!(
        (long[0]["domid"].as_u64(), long[0]["config"].is_null()),
        (Some(1), true)
    );
}

#[test]
fn names_and_numbers_are_translated() {
    let world = World::new(&["web"]);
    assert_eq!(world.show("domid web").unwrap(), "1\n");
    assert_eq!(world.show("domname 1").unwrap(), "web\n");
    assert_eq!(world.show("domname 0").unwrap(), "Domain-0\n");
    let failure = world.show("domid wbe").unwrap_err();
    assert_eq!(failure.exit(), 3);
    assert!(
        failure
            .prose("domid")
            .starts_with("rxl domid: wbe: cannot find the domain: ")
    );
}

#[test]
fn vcpus_of_one_domain() {
    let world = World::new(&["web", "db"]);
    let text = world.show("vcpu-list db").unwrap();
    assert_eq!(text.lines().count(), 3);
    assert!(text.ends_with(" all / all\n"), "{text}");
}

#[test]
fn devices_of_a_domain_without_any_are_the_heading() {
    let world = World::new(&["web"]);
    assert_eq!(world.show("network-list web").unwrap().lines().count(), 1);
    assert_eq!(world.show("net web --json").unwrap(), "[]\n");
}

#[test]
fn info_all_one_and_unknown() {
    let world = World::new(&[]);
    assert!(
        world
            .show("info")
            .unwrap()
            .contains("\ntotal_memory           : 4096\n")
    );
    assert_eq!(world.show("info total").unwrap(), "4096\n");
    assert_eq!(
        world.show("info total --json").unwrap(),
        "{\n  \"total_memory\": 4096\n}\n"
    );
    assert_eq!(
        told(world.show("info colour")),
        "rxl VERB: colour: cannot show the fact: there is no fact of this name\n  hint: `rxl info` shows all of them"
    );
}

#[test]
fn dmesg_is_bytes_or_json() {
    let world = World::new(&[]);
    assert_eq!(world.show("dmesg -c").unwrap(), "");
    assert_eq!(world.show("dmesg --json").unwrap(), "{\"log\":\"\"}\n");
    world.hv.fail_call(world.hv.calls() + 1);
    assert_eq!(world.show("dmesg").unwrap_err().exit(), 3);
}

#[test]
fn uptime_leaves_out_domains_without_a_start() {
    let world = World::new(&["web"]);
    assert!(!world.show("uptime").unwrap().contains("web"));
    let start = XsPath::new(format!("/vm/{}/start_time", Uuid::from_u128(0xabc)));
    world.store.request(Request::write(start, "12.50")).unwrap();
    let text = world.show("uptime web").unwrap();
    assert!(text.contains("web ") && text.contains(" days, "), "{text}");
}

#[test]
fn pause_and_unpause() {
    let world = World::new(&["web"]);
    let paused = || world.hv.domain(DomId(1)).unwrap().unwrap().state.paused;
    world.change("unpause web").unwrap();
    assert!(!paused());
    world.change("pause 1").unwrap();
    assert!(paused());
}

#[test]
fn trigger_reaches_the_vcpu_or_says_which_there_are() {
    let world = World::new(&["web"]);
    world.change("trigger web nmi").unwrap();
    world.change("trigger web s3resume 1").unwrap();
    assert_eq!(
        world.hv.triggers(DomId(1)).unwrap(),
        [(Trigger::Nmi, 0), (Trigger::S3Resume, 1)]
    );
    let failure = world.change("trigger web nmi 7").unwrap_err();
    assert_eq!(failure.exit(), 2);
    assert_eq!(
        failure.prose("trigger"),
        "rxl trigger: web: cannot send a trigger to vCPU 7: it has 2 vCPUs, counted from 0"
    );
}

#[test]
fn sysrq_is_written_where_the_guest_looks() {
    let world = World::new(&["web"]);
    world.change("sysrq web c").unwrap();
    assert_eq!(
        world.node("/local/domain/1/control/sysrq").as_deref(),
        Some("c")
    );
}

#[test]
fn shutdown_asks_every_domain_that_runs_and_tells_of_the_others() {
    let world = World::new(&["web", "db"]);
    world.hv.end(DomId(2), ShutdownReason::Crash).unwrap();
    world.change("shutdown -a").unwrap();
    assert_eq!(
        world.node("/local/domain/1/control/shutdown").as_deref(),
        Some("poweroff")
    );
    assert_eq!(world.node("/local/domain/2/control/shutdown"), None);
    let failure = world.change("shutdown nobody db web").unwrap_err();
    let prose = failure.prose("shutdown");
    assert!(
        prose.contains("rxl shutdown: nobody: ") && prose.contains("it has shut down already"),
        "{prose}"
    );
}

#[test]
fn command_line_is_consistent_and_takes_beginnings_of_verbs() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
    assert!(matches!(command("li").1, Verb::List(_)));
    assert!(matches!(command("net web").1, Verb::NetworkList(_)));
    assert!(Cli::try_parse_from(["rxl", "d", "web"]).is_err());
    assert!(Cli::try_parse_from(["rxl", "shutdown"]).is_err());
    assert!(Cli::try_parse_from(["rxl", "shutdown", "-a", "web"]).is_err());
    for verb in Cli::command().get_subcommands() {
        let help = verb
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(
            help.contains("Example") || verb.has_subcommands(),
            "{} has no example in its help",
            verb.get_name()
        );
    }
}

#[test]
fn verbs_call_themselves_as_they_are_typed() {
    use clap::CommandFactory;
    for (line, name) in [
        ("create f", "create"),
        ("destroy a", "destroy"),
        ("shutdown a", "shutdown"),
        ("reboot a", "reboot"),
        ("pause a", "pause"),
        ("unpause a", "unpause"),
        ("list", "list"),
        ("console a", "console"),
        ("info", "info"),
        ("domid a", "domid"),
        ("domname 1", "domname"),
        ("trigger a nmi", "trigger"),
        ("sysrq a c", "sysrq"),
        ("dmesg", "dmesg"),
        ("network-list a", "network-list"),
        ("block-list a", "block-list"),
        ("vcpu-list", "vcpu-list"),
        ("uptime", "uptime"),
        ("recover", "recover"),
        ("ft unprotect g", "ft unprotect"),
        ("ft status", "ft status"),
        ("ft failover g", "ft failover"),
        ("ft events", "ft events"),
    ] {
        assert_eq!(command(line).1.name(), name);
        let verb = name.split(' ').next().unwrap();
        assert!(Cli::command().find_subcommand(verb).is_some(), "{verb}");
    }
}

#[test]
fn words_behind_drill_are_not_rxls() {
    let cli =
        Cli::try_parse_from(["rxl", "drill", "run", "x.toml", "--out", "y", "--json"]).unwrap();
    let Verb::Drill(args) = &cli.verb else {
        panic!("{:?}", cli.verb);
    };
    assert_eq!(args.words, ["run", "x.toml", "--out", "y", "--json"]);
    let cli = Cli::try_parse_from(["rxl", "--json", "drill", "--help"]).unwrap();
    let Verb::Drill(args) = &cli.verb else {
        panic!("{:?}", cli.verb);
    };
    assert!(cli.options.json && args.words == ["--help"]);
}
