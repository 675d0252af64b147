// SPDX-License-Identifier: GPL-3.0-only
//! Arbitrary lines of the control protocol: `scripts/fuzz control`. No line makes the logger panic;
//! what was understood is written as a line that means the same; a group that is taken is in the status.
#![no_main]

use fttcp::control::{Reply, Request};
use fttcp::engine::{Engine, EngineConfig, GroupPorts};
use fttcp::frame::PortId;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = serde_json::from_slice::<Reply>(data);
    let Ok(request) = serde_json::from_slice::<Request>(data) else {
        return;
    };
    let line = serde_json::to_string(&request).expect("a request has a form");
    let again: Request = serde_json::from_str(&line).expect("its own form");
    assert_eq!(again, request);
    if let Request::Protect { group } = request {
        let mut engine = Engine::new(EngineConfig::default());
        let standbys = (0..group.standbys.len() as u32).map(|at| PortId(at + 2));
        let ports = GroupPorts {
            north: PortId(0),
            active: PortId(1),
            standbys: standbys.collect(),
        };
        let name = group.name.clone();
        let taken = engine.add_group(group, ports).is_ok();
        assert_eq!(engine.status(Some(&name), true).len(), usize::from(taken));
    }
});
