// SPDX-License-Identifier: GPL-3.0-only
//! Stock clients, whose own words tell where they are when their server dies.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use fttcp::control::Outbound;
use rxl_tests::netns::process::Running;
use rxl_tests::netns::service::{Serves, listens};
use rxl_tests::netns::topology::{CLIENT, SERVER};
use rxl_tests::netns::web::origin::sum;

use super::house::{House, Outcome};

/// Of the file that is put.
const FILE: usize = 3_000_000;
/// The far end of a tunnel.
const PORT: u16 = 8443;
/// Longest time of a client; one that takes longer hangs.
const PATIENCE: &str = "30";

/// What curl says of the answer, and of the file on the server: it must be the one that was put.
fn is_put(house: &House, curl: Child, content: &[u8]) -> Outcome {
    let out = curl.wait_with_output()?;
    let said = String::from_utf8_lossy(&out.stdout);
    let log = house.topology.logger()?.log();
    assert!(out.status.success(), "{}: {said}\n{log}", out.status);
    // A proxy's origin tells what it was; else the file is there.
    if !said.contains(&sum(content)) {
        let path = house.topology.folder().join("files/put");
        assert!(fs::read(path)? == content, "{said}");
    }
    Ok(())
}

fn curl(house: &House, words: &[&str]) -> Command {
    let mut command = house.topology.client().command("curl");
    command.args(["-sSv", "--fail", "--max-time", PATIENCE]);
    command.args(words).arg(format!("http://{SERVER}/put"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The server dies when curl has heard that it may go on.
pub(crate) fn curl_waits(house: &mut House) -> Outcome {
    let content = house.random.bytes(FILE);
    let file = house.topology.folder().join("body");
    fs::write(&file, &content)?;
    let path = file.to_string_lossy();
    let expect = [
        "-H",
        "Expect: 100-continue",
        "--expect100-timeout",
        PATIENCE,
    ];
    let mut child = curl(house, &[&["-T", &*path], &expect[..]].concat())
        .stdin(Stdio::null())
        .spawn()?;
    let stderr = child.stderr.take().ok_or("no standard error")?;
    let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
    let heard = lines.any(|line| line.starts_with("< HTTP/1.1 100 "));
    assert!(heard, "curl was not told to go on");
    house.kill()?;
    lines.for_each(drop);
    is_put(house, child, &content)?;
    let counters = house.topology.wait_moved()?.counters;
    assert_eq!((counters.diverged, counters.lost), (0, 0));
    assert!(counters.recovered > 0);
    Ok(())
}

/// The server dies when curl has sent the half of what it does not know the length of.
pub(crate) fn curl_in_chunks(house: &mut House) -> Outcome {
    let content = house.random.bytes(FILE);
    let chunked = [
        "-T",
        "-",
        "-H",
        "Transfer-Encoding: chunked",
        "-H",
        "Expect:",
    ];
    let mut child = curl(house, &chunked).stdin(Stdio::piped()).spawn()?;
    let mut stderr = child.stderr.take().ok_or("no standard error")?;
    let reader = std::thread::spawn(move || stderr.read_to_end(&mut Vec::new()));
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    let (first, rest) = content.split_at(FILE / 2);
    stdin.write_all(first)?;
    // What lies in the pipe and in curl has not been sent.
    house
        .topology
        .wait_logged(first.len() as u64 - (256 << 10))?;
    house.kill()?;
    stdin.write_all(rest)?;
    drop(stdin);
    reader.join().map_err(|_| "the reader panicked")??;
    is_put(house, child, &content)?;
    let counters = house.topology.wait_moved()?.counters;
    assert_eq!((counters.diverged, counters.lost), (0, 0));
    assert!(counters.recovered > 0);
    Ok(())
}

/// A TLS client speaks through a proxy with a TLS server, line by line; the proxy dies in between.
pub(crate) fn tls_in_a_tunnel(serves: Serves) -> Outcome {
    let house = House::new(serves, "", Outbound::Keep)?;
    let folder = house.topology.folder();
    let (key, cert) = (folder.join("key"), folder.join("cert"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args(["-nodes", "-subj", "/CN=web", "-days", "1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()?;
    assert!(made.status.success(), "{made:?}");
    let client = house.topology.client();
    let mut server = client.command("openssl");
    server.args([
        "s_server",
        "-quiet",
        "-rev",
        "-accept",
        &PORT.to_string(),
        "-key",
    ]);
    server.arg(&key).arg("-cert").arg(&cert);
    let server = Running::probe("openssl", server, || listens(client, PORT))?;

    let mut command = client.command("timeout");
    command.args([PATIENCE, "openssl", "s_client", "-quiet", "-proxy"]);
    command.args([
        &format!("{SERVER}:80"),
        "-connect",
        &format!("{CLIENT}:{PORT}"),
    ]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    let mut stdout = BufReader::new(child.stdout.take().ok_or("no standard output")?);
    let mut reversed = |text: &str| -> std::io::Result<String> {
        stdin.write_all(format!("{text}\n").as_bytes())?;
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        Ok(line)
    };
    assert_eq!(reversed("before")?, "erofeb\n");
    house.kill()?;
    let after = reversed("after").unwrap_or_default();
    drop(stdin);
    let status = child.wait()?;
    let log = house.topology.logger()?.log();
    // The proxy's connection to the far end is TLS, which is not protected: the replacement opens another, on which the far end
    // has other keys.
    assert_eq!(after, "", "{log}");
    let hung = status.code() == Some(124);
    assert!(!status.success() && !hung, "{status}\n{log}");
    assert!(log.contains("not protected: it speaks TLS"), "{log}");
    house
        .topology
        .wait_told("a reason", |log| log.contains(": reset: "))?;
    drop(server);
    Ok(())
}
