// SPDX-License-Identifier: GPL-3.0-only
//! Messages of every form: interim responses, responses without a body, chunks both ways, trailers, many at a time.

use std::{fs, io};

use rxl_tests::netns::web::origin::{CHUNKS, sum};
use rxl_tests::netns::web::talker::Answer;

use super::house::{House, LARGE, check};

/// Of what is put.
const BODY: usize = 50_000;
/// A trailer that is sent.
const TRAILER: &str = "Checked: yes\r\n";

fn is_file(answer: &Answer, content: &[u8]) -> io::Result<()> {
    let right = answer.status() == 200 && answer.body == content;
    check(right, || format!("another file: {}", answer.head))
}

/// What was put must have come whole: it is either the server's file now, or its origin's answer tells it.
fn is_put(house: &House, name: &str, body: &[u8], answer: &Answer) -> io::Result<()> {
    let right = match answer.status() {
        201 | 204 => fs::read(house.topology.folder().join("files").join(name))? == body,
        200 => String::from_utf8_lossy(&answer.body).contains(&sum(body)),
        _ => false,
    };
    check(right, || format!("not put: {answer:?}"))
}

/// A body that is sent when the server has said that it wants it.
pub(crate) fn expectation(house: &mut House) -> io::Result<()> {
    let body = house.random.bytes(BODY);
    let mut client = house.client()?;
    let fields = format!("Content-Length: {BODY}\r\nExpect: 100-continue\r\n");
    client.ask("PUT", "/put", &fields)?;
    house.point()?;
    let head = client.head()?;
    check(head.starts_with("HTTP/1.1 100 "), || head)?;
    house.point()?;
    client.say(&body[..BODY / 2])?;
    house.point()?;
    client.say(&body[BODY / 2..])?;
    house.point()?;
    let answer = client.answer("PUT")?;
    is_put(house, "put", &body, &answer)
}

/// Responses to HEAD, which announce bodies that do not come, among others. `base`: what stands before a path.
pub(crate) fn heads(house: &mut House, base: &str) -> io::Result<()> {
    let mut client = house.client()?;
    for _ in 0..2 {
        client.ask("HEAD", &format!("{base}/large"), "")?;
        house.point()?;
        let answer = client.answer("HEAD")?;
        let length = answer.field("Content-Length");
        let right = answer.status() == 200 && length == Some(&LARGE.to_string());
        check(right, || format!("another head: {}", answer.head))?;
        house.point()?;
        client.ask("GET", &format!("{base}/small"), "")?;
        house.point()?;
        is_file(&client.answer("GET")?, &house.small)?;
        client.ask("HEAD", &format!("{base}/nothing"), "")?;
        house.point()?;
        check(client.answer("HEAD")?.status() == 404, || {
            "what is not there was found".to_owned()
        })?;
    }
    Ok(())
}

/// A request in chunks, with a trailer. `kept`: the answer must tell that trailer.
pub(crate) fn chunked_request(house: &mut House, kept: bool) -> io::Result<()> {
    let body = house.random.bytes(BODY);
    let mut client = house.client()?;
    client.ask("PUT", "/put", "Transfer-Encoding: chunked\r\n")?;
    house.point()?;
    for chunk in body.chunks(BODY / 3) {
        client.say(format!("{:x};part=1\r\n", chunk.len()))?;
        client.say(chunk)?;
        client.say("\r\n")?;
        house.point()?;
    }
    client.say(format!("0\r\n{TRAILER}\r\n"))?;
    house.point()?;
    let answer = client.answer("PUT")?;
    is_put(house, "put", &body, &answer)?;
    let told = String::from_utf8_lossy(&answer.body).contains(TRAILER);
    check(!kept || told, || format!("no trailer: {answer:?}"))
}

/// A response in chunks, with a trailer, and another behind it.
pub(crate) fn chunked_response(house: &mut House) -> io::Result<()> {
    let mut client = house.client()?;
    for _ in 0..2 {
        client.ask("GET", &format!("{CHUNKS}large"), "TE: trailers\r\n")?;
        house.point()?;
        let head = client.head()?;
        check(head.contains("chunked"), || head)?;
        let (mut body, mut half) = (client.chunk()?, false);
        house.point()?;
        loop {
            let chunk = client.chunk()?;
            if chunk.is_empty() {
                break;
            }
            body.extend(chunk);
            if !half && body.len() > LARGE / 2 {
                half = true;
                house.point()?;
            }
        }
        house.point()?;
        let trailers = client.trailers()?;
        let right = body == house.large && trailers.eq_ignore_ascii_case(&sum(&body));
        check(right, || format!("another file: {trailers}"))?;
    }
    Ok(())
}

/// Requests that do not wait for their responses. `base`: what stands before a path.
pub(crate) fn pipelined(house: &mut House, base: &str) -> io::Result<()> {
    let mut client = house.client()?;
    let requests: String = ["small", "large", "small", "large", "small"]
        .map(|file| format!("GET {base}/{file} HTTP/1.1\r\nHost: web\r\n\r\n"))
        .concat();
    client.say(requests)?;
    house.point()?;
    for index in 0..5 {
        let head = client.head()?;
        house.point()?;
        let answer = client.body("GET", head)?;
        let content = if index % 2 == 0 {
            &house.small
        } else {
            &house.large
        };
        is_file(&answer, content)?;
        house.point()?;
    }
    Ok(())
}
