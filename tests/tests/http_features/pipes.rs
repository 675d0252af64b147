// SPDX-License-Identifier: GPL-3.0-only
//! Opaque pipes: what comes behind an upgrade, and in a tunnel.

use std::io;

use rxl_tests::netns::demo::hex;
use rxl_tests::netns::topology::CLIENT;
use rxl_tests::netns::web::origin::{NUMBERED, PORT, echo};
use rxl_tests::netns::web::talker::Talker;

use super::house::{House, check};

/// How often each end speaks.
const ROUNDS: usize = 3;
/// Most bytes that one says at a time.
const MOST: u64 = 30_000;

/// The fields of a WebSocket's request. No two have the same key (RFC 6455 section 4.1): by that a proxy's connections to one
/// origin are told from one another when its replacement opens them again.
fn upgrade_fields(house: &mut House) -> String {
    let key = hex(&house.random.bytes(11));
    format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}A==\r\n",
        &key[..21]
    )
}

/// Both ends speak in turn.
fn talk(house: &mut House, client: &mut Talker) -> io::Result<()> {
    for _ in 0..ROUNDS {
        let length = 2 + house.random.below(MOST) as usize;
        let said = house.random.bytes(length);
        client.say(&said)?;
        house.point()?;
        let mut heard = client.hear(length / 2)?;
        house.point()?;
        heard.extend(client.hear(length - length / 2)?);
        check(heard == echo(&said), || "the echo is another".to_owned())?;
        house.point()?;
    }
    Ok(())
}

/// Ends the exchange, and waits until nothing of it is left: of several connections to one origin, whose beginnings are alike,
/// this is not about which is which.
fn end(house: &House, client: Talker) -> io::Result<()> {
    drop(client);
    house.topology.wait_idle().map_err(io::Error::other)
}

fn upgrade(house: &mut House, mut client: Talker, path: &str) -> io::Result<()> {
    let fields = upgrade_fields(house);
    client.ask("GET", path, &fields)?;
    house.point()?;
    let head = client.head()?;
    check(head.starts_with("HTTP/1.1 101 "), || head)?;
    house.point()?;
    talk(house, &mut client)?;
    end(house, client)
}

/// A WebSocket to an origin that says the same to everybody.
pub(crate) fn websocket(house: &mut House) -> io::Result<()> {
    let client = house.client()?;
    upgrade(house, client, "/echo")
}

/// A WebSocket to an origin that says something else each time.
pub(crate) fn numbered_websocket(house: &mut House) -> io::Result<()> {
    let client = house.client()?;
    upgrade(house, client, NUMBERED)
}

fn connect(house: &mut House) -> io::Result<Talker> {
    let mut client = house.client()?;
    client.ask("CONNECT", &format!("{CLIENT}:{PORT}"), "")?;
    house.point()?;
    let head = client.head()?;
    check(head.split(' ').nth(1) == Some("200"), || head)?;
    house.point()?;
    Ok(client)
}

/// A tunnel to an origin that says the same to everybody.
pub(crate) fn tunnel(house: &mut House) -> io::Result<()> {
    let client = connect(house)?;
    upgrade(house, client, "/echo")
}

/// A tunnel to an origin that says something else each time.
pub(crate) fn numbered_tunnel(house: &mut House) -> io::Result<()> {
    let client = connect(house)?;
    upgrade(house, client, NUMBERED)
}
