// SPDX-License-Identifier: GPL-3.0-only
//! A server dies before it has answered a POST: the client hears that, and no other server gets the POST.

use std::io;

use rxl_tests::netns::topology::GROUP;
use rxl_tests::netns::victim::End;
use rxl_tests::netns::web::origin::asked;
use rxl_tests::netns::web::talker::{Talker, has_ended};

use super::house::{House, Outcome, check};

const POST: &str = "POST /once HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\n\r\nhello";

/// How often the origin, or the servers that are origins themselves, got the POST.
fn posts(house: &House) -> Result<usize, String> {
    let asked = asked(&house.topology)?;
    Ok(asked.iter().filter(|line| *line == "POST /once").count())
}

/// Says this to a server that stands still, which is given up then.
fn say_in_vain(house: &House, client: &mut Talker, text: &str) -> Outcome {
    let logged = house
        .topology
        .logger()?
        .totals(GROUP)?
        .counters
        .logged_bytes;
    let victim = house.topology.victim()?;
    victim.stop()?;
    client.say(text)?;
    house.topology.wait_logged(logged + text.len() as u64)?;
    victim.tell_end(End::Stopped)?;
    Ok(())
}

/// What the client hears is an error reply, and then the end, or just the end.
fn is_told(client: &mut Talker) -> io::Result<()> {
    match client.answer("POST") {
        Ok(answer) => {
            check(answer.status() == 502, || answer.head)?;
            let (rest, closed) = client.rest()?;
            check(rest.is_empty() && closed, || "more came".to_owned())
        }
        Err(error) if has_ended(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Three requests, of which the second must not be made twice. The first stands in the same way.
pub(crate) fn pipelined_post(house: &mut House) -> Outcome {
    let mut client = house.client()?;
    client.ask("GET", "/small", "")?;
    assert_eq!(client.answer("GET")?.body, house.small);
    let get = "GET /small HTTP/1.1\r\nHost: web\r\n\r\n";
    say_in_vain(house, &mut client, &format!("{get}{POST}{get}"))?;
    is_told(&mut client)?;
    assert_eq!(posts(house)?, 0);
    house.topology.renew_standby()?;
    // The others are not concerned.
    let mut other = house.client()?;
    other.ask("GET", "/small", "")?;
    assert_eq!(other.answer("GET")?.body, house.small);
    Ok(())
}

/// The server has said that it wants the body, has a half of it, and dies.
pub(crate) fn expected_post(house: &mut House) -> Outcome {
    let mut client = house.client()?;
    client.ask(
        "POST",
        "/once",
        "Content-Length: 50000\r\nExpect: 100-continue\r\n",
    )?;
    assert!(client.head()?.starts_with("HTTP/1.1 100 "));
    client.say(vec![b'x'; 25_000])?;
    house.kill()?;
    is_told(&mut client)?;
    // The dead server's connection to the origin has brought it there once.
    assert_eq!(posts(house)?, 1);
    assert_eq!(
        house.origin.posts().get("/once"),
        None,
        "it was never whole"
    );
    Ok(())
}

/// The server reads a request that the plug-in does not, and a POST behind it.
pub(crate) fn post_behind_unclear(house: &mut House) -> Outcome {
    let mut client = house.client()?;
    client.ask("GET", "/small", "X : y\r\n")?;
    assert_eq!(client.answer("GET")?.body, house.small);
    say_in_vain(house, &mut client, POST)?;
    is_told(&mut client)?;
    assert_eq!(posts(house)?, 0);
    let (counters, log) = house.topology.end_of_logger()?;
    assert_eq!((counters.lost, counters.recovered), (1, 0), "{log}");
    assert!(
        log.contains("a request that must not be made twice"),
        "{log}"
    );
    Ok(())
}
