// SPDX-License-Identifier: GPL-3.0-only
//! Arbitrary frames, ports, times and failovers through the engine: `scripts/fuzz engine`.
//!
//! Input: records of one byte of command, one byte of length, and the frame.
#![no_main]

use fttcp::control::{GroupSpec, ServiceSpec};
use fttcp::engine::{Engine, EngineConfig, GroupPorts};
use fttcp::frame::{Offload, Output, PortId, Time};
use libfuzzer_sys::fuzz_target;

struct Nowhere;

impl Output for Nowhere {
    fn transmit(&mut self, _: PortId, _: &[u8], _: &Offload) {}
}

fuzz_target!(|data: &[u8]| {
    let mut engine = Engine::new(EngineConfig::default());
    let spec = GroupSpec {
        name: "g".to_owned(),
        north: "n".to_owned(),
        active: "a".to_owned(),
        standbys: vec!["s".to_owned()],
        services: vec![ServiceSpec {
            mask: vec!["Date".to_owned()],
            buffer_bytes: 4096,
            ..ServiceSpec::new(80, "opaque")
        }],
        ..GroupSpec::default()
    };
    let ports = GroupPorts {
        north: PortId(0),
        active: PortId(1),
        standbys: vec![PortId(2)],
    };
    engine
        .add_group(spec, ports)
        .expect("a fresh engine takes a group");
    let (mut rest, mut now) = (data, Time(0));
    while let [command, len, tail @ ..] = rest {
        let (frame, next) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = next;
        now = Time(now.0 + u64::from(*command) * 1000);
        let offload = Offload {
            checksum_valid: true,
            ..Offload::default()
        };
        let port = PortId(u32::from(command % 3));
        engine.handle_frame(now, port, &mut frame.to_vec(), offload, &mut Nowhere);
        if *command == 255 {
            let _ = engine.failover(now, 0, "g", "", &mut Nowhere);
        }
        engine.handle_timeout(now, &mut Nowhere);
    }
});
