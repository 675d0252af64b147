// SPDX-License-Identifier: GPL-3.0-only
//! What a logger has read and not kept yet, the next one finds again.

use super::*;

fn read(path: &mut FastPath) -> Vec<Vec<u8>> {
    let mut read = Vec::new();
    path.records(&mut |record| read.push(record.data.to_vec()));
    read
}

#[test]
fn what_was_read_comes_again_at_the_next_logger_until_it_is_released() {
    let mut bench = Bench::new("release");
    let key = &keys()[0];
    let state = FlowState {
        flags: flag::LOG,
        client_right: 1 << 20,
        server_right: 1 << 20,
        ..FlowState::default()
    };
    assert!(bench.path.offload(key, &state));
    let mut tcp = vec![0; 20];
    tcp[..2].copy_from_slice(&key.client.port().to_be_bytes());
    tcp[2..4].copy_from_slice(&key.server.port().to_be_bytes());
    tcp[12..14].copy_from_slice(&[5 << 4, 0x18]);
    tcp.extend(b"said");
    let mut frame = in_frame(key.client, key.server, &tcp);
    leave_checksum(&mut frame);
    assert_eq!(bench.pass(Side::North, &frame).0, Verdict::Forward);

    let said = [b"said".to_vec()];
    assert_eq!(read(&mut bench.path), said);
    assert_eq!(read(&mut bench.path), [] as [Vec<u8>; 0]);
    let mut taken = bench.path.reclaim(key).expect("it has it");
    assert_eq!(bench.path.reclaim(key), None);

    let settings = bench.path.settings.clone();
    let mut next = FastPath::start(&settings).expect("the maps are there");
    assert_eq!(read(&mut next), said);
    taken.flags |= flag::PUNTED;
    assert_eq!(next.reclaim(key), Some(taken));
    next.release();

    let mut last = FastPath::start(&settings).expect("the maps are there");
    assert_eq!(read(&mut last), [] as [Vec<u8>; 0]);
    assert_eq!(last.connections(), []);
}
