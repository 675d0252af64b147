// SPDX-License-Identifier: GPL-3.0-only
//! Declared groups, from the socket to a simulated host.

use std::time::Instant;

use super::*;
use crate::guest;
use crate::store::memory::MemoryStore;
use crate::store::{StoreExt, UNINTERRUPTED, XsPath};
use crate::supervise::plan::{GroupPlan, Image, OnFailure, StandbyMode};

#[test]
fn declared_group_is_made_and_mends_itself() {
    let world = World::new();
    world.create(&world.config("logger", None));
    let plan = GroupPlan {
        name: "www".into(),
        logger: "logger".into(),
        north: "eth0".into(),
        services: Vec::new(),
        wrap: false,
        outbound: fttcp::control::Outbound::Pass,
        member: Image {
            source: "web.cfg".into(),
            config: Box::new(world.config("web", Some("logger"))),
            devid: 0,
        },
        standby: None,
        standbys: 1,
        mode: StandbyMode::Paused,
        ready_after_ms: 1,
        boot_timeout_ms: 60_000,
        heartbeat_ms: None,
        progress_ms: None,
        silence_ms: None,
        request_ms: None,
        on_failure: OnFailure::Failover,
        keep_for_autopsy: false,
        most_failovers: 9,
        within_ms: 60_000,
    };
    let mut events = world.follow();
    world
        .call(&Request::FtApply {
            plan: Box::new(plan),
        })
        .unwrap();
    until(&mut events, EventKind::GroupComplete);
    let paused = |id: u16| {
        let info = world.backend.hv.domain(DomId(id)).unwrap();
        info.map(|info| info.state.paused)
    };
    assert_eq!((paused(2), paused(3)), (Some(false), Some(true)));
    // The one that sleeps has an agent.
    let home = XsPath::domain(DomId(3));
    let beat = (home.join(guest::HEARTBEAT), "1".to_owned());
    world.backend.store.write_all(&[beat]).unwrap();
    // By hand, while the old server lives: it is stopped, and the new one wakes.
    let order = Request::FtFailover {
        group: "www".into(),
        reason: "drill".into(),
    };
    world.call(&order).unwrap();
    let agent = |wanted: &str| {
        let order = answer_order(&world.backend.store, &home);
        assert_eq!(order.verb.name(), wanted);
    };
    agent("clock");
    agent("reseed");
    until(&mut events, EventKind::GroupComplete);
    assert_eq!((paused(3), paused(4)), (Some(false), Some(true)));
    world.backend.hv.vanish(DomId(3)).unwrap();
    world.backend.store.fire_release();
    until(&mut events, EventKind::GroupComplete);
    assert_eq!((paused(2), paused(4)), (None, Some(false)));
    let Reply::Groups { groups } = world
        .call(&Request::FtStatus {
            group: Some("www".into()),
            connections: false,
        })
        .unwrap()
    else {
        panic!("not groups");
    };
    let state = &groups[0].state;
    let active = state.active.as_ref().map(|member| member.name.as_str());
    assert_eq!((active, state.failovers), (Some("web-3"), 2));
    let asked = world.backend.asked.lock().unwrap();
    let joins = asked
        .iter()
        .filter(|it| matches!(it, control::Request::AddStandby { .. }));
    assert_eq!(joins.count(), 3);
    drop(asked);
    let group = GroupConfig {
        name: "www".into(),
        service: "web-3".into(),
        standbys: Vec::new(),
        logger: "logger".into(),
        north: "eth0".into(),
        services: Vec::new(),
        ft: true,
        outbound: fttcp::control::Outbound::Pass,
    };
    let refused = world.call(&Request::FtProtect { group }).unwrap_err();
    assert_eq!(refused.code, Code::Exists);
}

/// Does what an agent does with its next order, which has to come.
fn answer_order(store: &MemoryStore, home: &XsPath) -> guest::Order {
    let [order, answer] = [guest::ORDER, guest::ANSWER].map(|node| home.join(node));
    let done = store.read_text(&answer).unwrap().unwrap_or_default();
    let look = |store: &MemoryStore| -> Result<Option<guest::Order>, Error> {
        let text = store.read_text(&order)?.unwrap_or_default();
        let order = text.parse::<guest::Order>().ok();
        Ok(order.filter(|order| !done.starts_with(&order.id)))
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    let order = store.wait_for(&order, deadline, &UNINTERRUPTED, look);
    let order = order.unwrap().expect("an order");
    let said = guest::Answer {
        id: order.id.clone(),
        result: Ok(String::new()),
    };
    store.write_all(&[(answer, said.to_string())]).unwrap();
    order
}
