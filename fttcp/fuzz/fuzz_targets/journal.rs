// SPDX-License-Identifier: GPL-3.0-only
//! Arbitrary records and images into an engine: `scripts/fuzz journal`.
//!
//! Input: a byte that says whether it is an image or a journal, then the image, or records of one byte of kind, two of
//! length, and the contents, whose checksums are made here: nothing else would get past them.
#![no_main]

use std::sync::LazyLock;

use fttcp::engine::{Engine, EngineConfig, GroupPorts, Image};
use fttcp::frame::{Offload, Output, PortId, Time};
use fttcp::journal::Replay;
use libfuzzer_sys::fuzz_target;
use xxhash_rust::xxh3::xxh3_64;

/// The layout's version, with which every image begins: the fuzzer would have to find it.
static VERSION: LazyLock<u8> =
    LazyLock::new(|| Engine::new(EngineConfig::default()).export(Time(0))[0]);

struct Nowhere;

impl Output for Nowhere {
    fn transmit(&mut self, _: PortId, _: &[u8], _: &Offload) {}
}

fn journal(mut data: &[u8]) -> Vec<u8> {
    let mut out = b"ftlogjnl".to_vec();
    out.extend(u32::from(*VERSION).to_le_bytes());
    while let [kind, low, high, rest @ ..] = data {
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let mut contents = vec![*kind];
        contents.extend_from_slice(&rest[..len]);
        out.extend((contents.len() as u32).to_le_bytes());
        out.extend((xxh3_64(&contents) as u32).to_le_bytes());
        out.extend(contents);
        data = &rest[len..];
    }
    out
}

fn image(data: &[u8]) -> Option<Image> {
    let (&which, data) = data.split_first()?;
    if which & 1 == 0 {
        return Image::parse(&[&[*VERSION], data].concat()).ok();
    }
    let mut replay = Replay::new();
    replay.read(&journal(data)).ok()?;
    replay.finish().ok()
}

fuzz_target!(|data: &[u8]| {
    let Some(image) = image(data) else {
        return;
    };
    let mut engine = Engine::new(EngineConfig::default());
    let mut ports = (0..).step_by(3).map(|first| GroupPorts {
        north: PortId(first),
        active: PortId(first + 1),
        standbys: vec![PortId(first + 2)],
    });
    let names: Vec<String> = image.groups().map(|group| group.name.clone()).collect();
    let taken = engine.import(
        Time(1_000_000),
        image,
        |spec| {
            spec.standbys = vec!["standby".to_owned()];
            ports.next()
        },
        &mut Nowhere,
    );
    if taken.is_ok() {
        engine.handle_timeout(Time(2_000_000), &mut Nowhere);
        for name in names {
            let _ = engine.failover(Time(3_000_000), 0, &name, "", &mut Nowhere);
        }
        engine.handle_timeout(Time(50_000_000), &mut Nowhere);
        let _ = engine.export(Time(50_000_000));
    }
});
