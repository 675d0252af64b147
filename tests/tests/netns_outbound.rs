// SPDX-License-Identifier: GPL-3.0-only
//! Real kernels and stock programs: services that open connections themselves die in the middle of a transfer. Neither
//! their clients nor the far ends of those connections notice.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fttcp::control::Outbound;
use rxl_tests::demo::client;
use rxl_tests::netns::demo::Served;
use rxl_tests::netns::ftp::FtpServer;
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::service::Serves;
use rxl_tests::netns::topology::{CLIENT, CLIENT6, GROUP, SERVER, SERVER6, Topology};
use rxl_tests::netns::victim::End;

type Outcome = Result<(), Box<dyn Error>>;

/// Size of a file; what one burst of a server takes is a small part of it.
const FILE: u64 = 6 << 20;
/// The client's line, in Mbit/s: a download takes about 100 ms.
const LINE: u32 = 500;
/// How often each server dies.
const RUNS: u64 = 6;
const ORIGIN_PORT: u16 = 8080;

fn house(serves: Serves, outbound: Outbound) -> Result<Topology, String> {
    let topology = Topology::build(Layout {
        serves,
        outbound,
        ..Layout::default()
    })?;
    topology.shape(LINE)?;
    Ok(topology)
}

/// An origin in the client's namespace: answers each connection's one request with the same file.
struct Origin {
    requests: Arc<AtomicUsize>,
}

impl Origin {
    fn start(topology: &Topology, content: Vec<u8>) -> Result<Self, String> {
        // Of both families.
        let listen = || TcpListener::bind(("::", ORIGIN_PORT));
        let listener = topology.client().enter(listen)?;
        let listener = listener.map_err(|error| format!("the origin cannot listen: {error}"))?;
        let requests = Arc::new(AtomicUsize::new(0));
        let (counter, content) = (Arc::clone(&requests), Arc::new(content));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (counter, content) = (Arc::clone(&counter), Arc::clone(&content));
                std::thread::spawn(move || serve(&stream, &counter, &content));
            }
        });
        Ok(Self { requests })
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: &TcpStream, requests: &AtomicUsize, content: &[u8]) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && line != "\r\n" {
        line.clear();
    }
    if line != "\r\n" {
        return Ok(());
    }
    requests.fetch_add(1, Ordering::SeqCst);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(content)
}

/// The proxy's address and the file's, of IPv4 or IPv6.
fn through_proxy(v6: bool) -> (String, String) {
    let (server, client) = if v6 {
        (format!("[{SERVER6}]"), format!("[{CLIENT6}]"))
    } else {
        (SERVER.to_owned(), CLIENT.to_owned())
    };
    (
        format!("http://{server}:80"),
        format!("http://{client}:{ORIGIN_PORT}/file"),
    )
}

/// One download, its server ended when the client has `at` bytes; the exit code of curl and whether the file is right.
fn download(
    topology: &Topology,
    file: &Served,
    curl: &[&str],
    at: u64,
    end: End,
) -> Result<(i32, bool), String> {
    let mut download = file.download(topology, Some(at));
    let address = download.curl.pop().ok_or("no address")?;
    download
        .curl
        .extend(curl.iter().map(|&word| word.to_owned()));
    if curl.is_empty() {
        download.curl.push(address);
    }
    let (run, _) = client::run(&download, &mut || {
        topology.end(end)?;
        Ok(String::new())
    })?;
    Ok((run.curl_exit, run.sha256_ok))
}

#[test]
fn trap_35_download_through_a_proxy_that_dies_asks_the_origin_once() -> Outcome {
    let mut random = Random::announced("trap_35_download_through_a_proxy_that_dies");
    let mut moved = 0;
    for run in 0..RUNS {
        let mut topology = house(Serves::Proxy, Outbound::Keep)?;
        let file = Served::new(&topology, "file", FILE, run)?;
        let origin = Origin::start(&topology, Random::new(run).bytes(FILE as usize))?;
        topology.serve()?;
        let at = 1 + random.below(FILE - 1);
        let end = [End::Killed, End::Unplugged, End::Destroyed][run as usize / 2 % 3];
        let (proxy, address) = through_proxy(run % 2 == 1);

        // The origin has the client's own address: curl would connect to it by itself.
        let words = ["--noproxy", "", "--proxy", &proxy, &address];
        let (exit, right) = download(&topology, &file, &words, at, end)?;

        let counters = topology.wait_moved()?.counters;
        let log = topology.stop_logger()?;
        assert_eq!(
            (exit, right),
            (0, true),
            "run {run}, {end:?} at {at}:\n{log}"
        );
        assert_eq!(origin.requests(), 1, "run {run}, {end:?} at {at}:\n{log}");
        assert_eq!((counters.diverged, counters.lost), (0, 0), "{log}");
        moved += counters.recovered;
    }
    // Each time the client's, and the origin's unless it was over and was only told again; none if the client had all.
    assert!(
        moved >= RUNS / 2,
        "{moved} connections moved in {RUNS} runs"
    );
    Ok(())
}

#[test]
fn trap_35_download_through_a_proxy_that_dies_with_re_issue_asks_the_origin_again() -> Outcome {
    for v6 in [false, true] {
        let mut topology = house(Serves::Proxy, Outbound::ReIssue)?;
        let file = Served::new(&topology, "file", FILE, 1)?;
        let origin = Origin::start(&topology, Random::new(1).bytes(FILE as usize))?;
        topology.serve()?;
        let (proxy, address) = through_proxy(v6);
        let words = ["--noproxy", "", "--proxy", &proxy, &address];

        let (exit, right) = download(&topology, &file, &words, FILE / 2, End::Unplugged)?;

        let counters = topology.wait_moved()?.counters;
        let log = topology.stop_logger()?;
        assert_eq!((exit, right), (0, true), "{log}");
        // Once for each server that got the client's request: both, unless the client had all by then.
        assert_eq!(origin.requests() as u64, 1 + counters.recovered, "{log}");
        // The origin's connection may have been over.
        assert!(counters.reissued <= 1 && counters.lost == 0, "{log}");
    }
    Ok(())
}

#[test]
fn trap_35_active_ftp_download_survives_the_end_of_its_server() -> Outcome {
    let mut random = Random::announced("trap_35_active_ftp_download");
    let mut moved = 0;
    for run in 0..RUNS {
        let mut topology = house(Serves::Ftp(FtpServer::Vsftpd), Outbound::Keep)?;
        let file = Served::new(&topology, "file", FILE, run)?;
        topology.serve()?;
        let at = 1 + random.below(FILE - 1);
        let end = [End::Unplugged, End::Destroyed][run as usize % 2];
        let address = format!("ftp://{SERVER}/file");

        let words = ["--ftp-port", "-", "--disable-eprt", &address];
        let (exit, right) = download(&topology, &file, &words, at, end)?;

        let counters = topology.wait_moved()?.counters;
        let log = topology.stop_logger()?;
        assert_eq!(
            (exit, right),
            (0, true),
            "run {run}, {end:?} at {at}:\n{log}"
        );
        assert_eq!((counters.diverged, counters.lost), (0, 0), "{log}");
        moved += counters.recovered;
    }
    // Each time the control connection, and the data connection unless it was over and was only told again.
    assert!(
        moved >= RUNS / 2,
        "{moved} connections moved in {RUNS} runs"
    );
    Ok(())
}

#[test]
fn server_may_open_no_connection_under_forbid() -> Outcome {
    for v6 in [false, true] {
        let mut topology = house(Serves::Proxy, Outbound::Forbid)?;
        let file = Served::new(&topology, "file", FILE, 1)?;
        let origin = Origin::start(&topology, Random::new(1).bytes(FILE as usize))?;
        topology.serve()?;
        let (proxy, address) = through_proxy(v6);
        let words = ["--fail", "--noproxy", "", "--proxy", &proxy, &address];

        let (exit, _) = download(&topology, &file, &words, FILE, End::Alive)?;

        let counters = topology.logger()?.status(GROUP)?.counters;
        let log = topology.stop_logger()?;
        assert_eq!((exit, origin.requests()), (22, 0), "{log}");
        assert!(
            counters.forbidden > 0 && log.contains("outbound = forbid"),
            "{log}"
        );
    }
    Ok(())
}
