// SPDX-License-Identifier: GPL-3.0-only
//! Stock web servers and proxies behind the logger, stock clients before it, and crashes at random points: every file
//! is whole, no client hangs, and nothing is posted twice. `FT_CRASHES`: how often the server of each pair dies (1).

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use fttcp::control::Outbound;
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::service::Serves;
use rxl_tests::netns::topology::{CLIENT, GROUP, SERVER, Topology};
use rxl_tests::netns::web::client::{Client, Job, Way, ab_is_content};
use rxl_tests::netns::web::origin::{Origin, PORT};
use rxl_tests::netns::web::{REVERSE, WebServer};

type Outcome = Result<(), Box<dyn Error>>;

/// The client's line, in Mbit/s: a client is at work for some hundred milliseconds.
const LINE: u32 = 200;
/// Lengths of the files.
const FILES: [usize; 6] = [9000, 1, 300_000, 0, 1_500_000, 3_000_000];
/// Of the package.
const PACKAGE: usize = 1_500_000;
/// For how many seconds nothing may come to a client.
const SILENCE: u32 = 30;
/// So many more crashes are tried if none has hit a connection: what hits nobody shows nothing.
const MORE: u32 = 30;
/// From one crash to the next, of the time that a client takes: so they are spread over it, and soon one is while it is connected.
const STEP: f64 = 0.618;
/// How often `ab` asks.
const ASKED: u32 = 600;
const CLIENTS: [Client; 5] = [
    Client::Curl,
    Client::Wget,
    Client::Aria,
    Client::Requests,
    Client::Ab,
];

/// A house with clients at work.
struct House {
    topology: Topology,
    way: Way,
    origin: Option<Origin>,
    random: Random,
    files: Vec<String>,
    rounds: u32,
    /// What was posted, and what the client heard.
    heard: BTreeMap<String, String>,
}

impl House {
    fn new(serves: Serves, nginx: &'static str, way: Way) -> Result<Self, Box<dyn Error>> {
        let mut topology = Topology::build(Layout {
            serves,
            nginx,
            kind: "http",
            outbound: Outbound::ReIssue,
            ..Layout::default()
        })?;
        let mut random = Random::announced(&format!("{serves:?} {way:?}"));
        let mut files = Vec::new();
        for (index, length) in FILES.into_iter().enumerate() {
            let name = format!("file{index}");
            topology.put(&name, &random.bytes(length))?;
            topology.age(&name)?;
            files.push(name);
        }
        let origin = match way {
            Way::Server => None,
            Way::Reverse | Way::Proxy | Way::ClosingProxy => Some(Origin::start(&topology)?),
        };
        repository(&topology, &mut random)?;
        topology.serve()?;
        topology.shape(LINE)?;
        Ok(Self {
            topology,
            way,
            origin,
            random,
            files,
            rounds: 0,
            heard: BTreeMap::new(),
        })
    }

    /// Starts a client; the folder for what it fetches is made.
    fn begin(&mut self, client: Client) -> Result<Child, Box<dyn Error>> {
        self.rounds += 1;
        let out = self.out();
        fs::create_dir_all(&out)?;
        let space = self.topology.client();
        let round = self.rounds.to_string();
        let job = Job {
            way: self.way,
            out: &out,
            round: &round,
            files: &self.files,
            silence: SILENCE,
            requests: ASKED,
        };
        let mut command = client.command(space, &job);
        Ok(command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?)
    }

    fn out(&self) -> std::path::PathBuf {
        self.topology.folder().join(format!("out{}", self.rounds))
    }

    /// The client has ended: it must be content, and have everything.
    fn end(&mut self, client: Client, child: Child) -> Outcome {
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&stdout).into_owned();
        let errors = String::from_utf8_lossy(&stderr);
        let log = || -> Result<String, String> { Ok(self.topology.logger()?.log()) };
        if !status.success() {
            let text = format!("{client:?}: {status}: {said}{errors}\n{}", log()?);
            return Err(text.into());
        }
        let out = self.out();
        match client {
            Client::Ab if !ab_is_content(&said, ASKED) => {
                return Err(format!("ab: {said}\n{}", log()?).into());
            }
            Client::Ab => {}
            Client::Apt => same(&out, &self.topology.folder().join("files/repo"), "big.deb")?,
            _ => {
                let files = self.topology.folder().join("files");
                for file in &self.files {
                    same(&out, &files, file)
                        .map_err(|error| format!("{client:?}: {error}\n{said}"))?;
                }
            }
        }
        for line in said.lines() {
            if let ["posted", path, heard] = line.split(' ').collect::<Vec<_>>()[..] {
                self.heard.insert(path.to_owned(), heard.to_owned());
            }
        }
        fs::remove_dir_all(out)?;
        Ok(())
    }

    /// How long the client takes when nothing dies.
    fn undisturbed(&mut self, client: Client) -> Result<Duration, Box<dyn Error>> {
        let start = Instant::now();
        let child = self.begin(client)?;
        self.end(client, child)?;
        Ok(start.elapsed())
    }

    /// The client's server dies somewhere on the way, and the next.
    fn disturbed(&mut self, client: Client, crashes: u32) -> Outcome {
        let usual = self.undisturbed(client)?;
        let mut part = self.random.below(1000) as f64 / 1000.0;
        let (mut moved, mut tried) = (0, 0);
        while tried < crashes || moved == 0 && tried < crashes + MORE {
            tried += 1;
            let child = self.begin(client)?;
            // The fault's time, which is left to chance.
            std::thread::sleep(usual.mul_f64(part));
            part = (part + STEP).fract();
            let teller = self.topology.victim()?.kill()?;
            teller.join().map_err(|_| "the teller panicked")??;
            self.end(client, child)?;
            let failover = self.topology.wait_moved()?.failover.ok_or("no failover")?;
            moved += failover.recovered;
            self.topology.renew_standby()?;
        }
        println!("{client:?}: {usual:?}, {tried} crashes, {moved} connections moved");
        assert!(moved > 0, "{client:?}: no crash hit a connection");
        Ok(())
    }

    /// What the logger has counted, and the origin.
    fn judge(mut self) -> Outcome {
        let counters = self.topology.logger()?.status(GROUP)?.counters;
        let log = self.topology.stop_logger()?;
        let cut_off = self.heard.values().filter(|heard| *heard != "200").count() as u64;
        assert_eq!(counters.diverged, 0, "{log}");
        assert_eq!(counters.poisoned, 0, "{log}");
        assert_eq!(counters.lost, cut_off, "{:?}\n{log}", self.heard);
        let posts = self.origin.map(|origin| origin.posts()).unwrap_or_default();
        for (path, heard) in &self.heard {
            let count = posts.get(path).copied().unwrap_or(0);
            match heard.as_str() {
                "200" => assert_eq!(count, 1, "{path}"),
                "502" | "broken" => assert!(count <= 1, "{path}: {count}"),
                other => panic!("{path}: {other}\n{log}"),
            }
        }
        println!(
            "{} moved, {} posted, {cut_off} of them cut off ({} with an error reply)",
            counters.recovered,
            self.heard.len(),
            counters.error_replies
        );
        Ok(())
    }
}

fn same(out: &Path, files: &Path, name: &str) -> Result<(), String> {
    let read = |path: &Path| {
        fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    // apt names a package's file otherwise.
    let got = match name {
        "big.deb" => "big_1_all.deb",
        other => other,
    };
    if read(&out.join(got))? == read(&files.join(name))? {
        Ok(())
    } else {
        Err(format!("{name} is another"))
    }
}

/// A repository with one package; apt does not look into it.
fn repository(topology: &Topology, random: &mut Random) -> Outcome {
    use rxl_tests::netns::demo::hex;
    use sha2::{Digest, Sha256};
    let folder = topology.folder().join("files/repo");
    fs::create_dir_all(&folder)?;
    let package = random.bytes(PACKAGE);
    fs::write(folder.join("big.deb"), &package)?;
    let digest = hex(&Sha256::digest(&package));
    let index = format!(
        "Package: big\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: big\nFilename: ./big.deb\nSize: {PACKAGE}\nSHA256: {digest}\n"
    );
    fs::write(folder.join("Packages"), index)?;
    Ok(())
}

fn crashes() -> u32 {
    let number = std::env::var("FT_CRASHES").ok();
    number.and_then(|it| it.parse().ok()).unwrap_or(1)
}

fn pairs(serves: Serves, nginx: &'static str, way: Way) -> Outcome {
    let mut house = House::new(serves, nginx, way)?;
    for client in CLIENTS {
        house.disturbed(client, crashes())?;
    }
    if matches!(way, Way::Proxy | Way::ClosingProxy) {
        house.disturbed(Client::Apt, crashes())?;
    }
    house.judge()
}

#[test]
fn nginx_dies_under_every_client() -> Outcome {
    pairs(Serves::Web, "", Way::Server)
}

#[test]
fn apache_dies_under_every_client() -> Outcome {
    pairs(Serves::Http(WebServer::Apache), "", Way::Server)
}

#[test]
fn nginx_before_an_origin_dies_under_every_client() -> Outcome {
    pairs(Serves::Web, REVERSE, Way::Reverse)
}

#[test]
fn haproxy_dies_under_every_client() -> Outcome {
    pairs(Serves::Http(WebServer::Haproxy), "", Way::Reverse)
}

#[test]
fn squid_dies_under_every_client() -> Outcome {
    pairs(Serves::Http(WebServer::Squid), "", Way::Proxy)
}

#[test]
fn tinyproxy_dies_under_every_client() -> Outcome {
    pairs(Serves::Proxy, "", Way::ClosingProxy)
}

/// tinyproxy closes behind each answer without a word of it, and curl makes its next request on the same connection.
#[test]
fn closes_that_a_proxy_does_not_announce_do_not_hold_clients_up() -> Outcome {
    const REQUESTS: usize = 60;
    let house = House::new(Serves::Proxy, "", Way::Proxy)?;
    let address = format!("http://{CLIENT}:{PORT}/file1");
    let mut curl = house.topology.client().command("curl");
    let proxy = format!("http://{SERVER}:80");
    curl.args(["-sSf", "--noproxy", "", "--proxy", &proxy]);
    for _ in 0..REQUESTS {
        curl.args(["-o", "/dev/null", &address]);
    }
    let start = Instant::now();
    let out = curl.output()?;
    let took = start.elapsed();
    assert!(out.status.success(), "{out:?}");
    // A few are held, to learn that they are meant; all of them would take 15 seconds.
    let hold = Duration::from_millis(250);
    assert!(took < hold * REQUESTS as u32 / 3, "{took:?}");
    println!("{REQUESTS} requests in {took:?}");
    Ok(())
}
