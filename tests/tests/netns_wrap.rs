// SPDX-License-Identifier: GPL-3.0-only
//! Servers that no plug-in knows, whose every answer has the time, randomness and a pid in it, under the north side wrap: what
//! they could not compute rides to the logger ahead of their answers, and a replacement remembers having given them.

use std::error::Error;
use std::time::{Duration, Instant};

use fttcp::control::{GroupSpec, ServiceSpec, WrapStatus};
use rustix::process::Signal;
use rxl_tests::netns::bpf_folder::BpfFolder;
use rxl_tests::netns::chain::{Answers, Chain, Client, Language, PORT};
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::logger::Logger;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::topology::{GROUP, Topology};
use rxl_tests::netns::victim::End;

type Outcome = Result<(), Box<dyn Error>>;

/// Clients that stay.
const CLIENTS: usize = 4;
/// Servers that are killed in the long tests.
const CRASHES: usize = 25;

fn layout(language: Language, wrapped: bool) -> Layout {
    Layout {
        chain: Some(Chain {
            language,
            wrapped,
            limit: None,
        }),
        group: Some(GroupSpec {
            services: vec![ServiceSpec::new(PORT, "opaque")],
            ..GroupSpec::default()
        }),
        ..Layout::default()
    }
}

fn house(language: Language, wrapped: bool) -> Result<Topology, Box<dyn Error>> {
    let mut topology = Topology::build(layout(language, wrapped))?;
    topology.serve()?;
    Ok(topology)
}

fn wrap_status(topology: &Topology) -> Result<WrapStatus, Box<dyn Error>> {
    let status = topology.logger()?.status(GROUP)?;
    Ok(status.wrap.ok_or("the logger knows of no records")?)
}

fn connected(topology: &Topology) -> Result<Vec<Client>, String> {
    (0..CLIENTS)
        .map(|_| Client::connect(topology.client()))
        .collect()
}

/// Each client asks; a client that comes and goes asks too.
fn round(
    topology: &Topology,
    clients: &mut [Client],
    answers: &mut Answers,
    random: &mut Random,
    mut meanwhile: impl FnMut() -> Result<(), String>,
) -> Result<(), String> {
    let mut passing = match random.below(3) {
        0 => Some(Client::connect(topology.client())?),
        _ => None,
    };
    for client in clients.iter_mut().chain(&mut passing) {
        let length = random.below(200) as usize;
        client.say(&"x".repeat(length))?;
    }
    meanwhile()?;
    for client in clients.iter_mut().chain(&mut passing) {
        answers.add(client.hear()?)?;
    }
    Ok(())
}

fn crashes(language: Language) -> Outcome {
    let mut topology = house(language, true)?;
    let mut random = Random::announced("wrap");
    let mut answers = Answers::default();
    let mut clients = connected(&topology)?;
    let mut took = Vec::new();
    for crash in 0..CRASHES {
        for _ in 0..random.below(8) {
            quiet_round(&topology, &mut clients, &mut answers, &mut random)?;
        }
        let delay = Duration::from_micros(random.below(1500));
        round(&topology, &mut clients, &mut answers, &mut random, || {
            // Not a wait for something: the moment of the fault is what is tried out.
            spin(delay);
            topology.end(End::Killed)
        })
        .map_err(|error| with_log(&topology, &format!("crash {crash}: {error}")))?;
        let failover = topology.wait_moved()?.failover;
        took.extend(failover.and_then(|failover| failover.done_us));
        topology.new_standby()?;
    }
    took.sort_unstable();
    quiet_round(&topology, &mut clients, &mut answers, &mut random)?;
    let status = wrap_status(&topology)?;
    let (counters, log) = topology.end_of_logger()?;
    println!(
        "{} answers of {} processes after {CRASHES} crashes, failovers took {} us (the longest {} us); {status:?}",
        answers.count(),
        answers.processes(),
        took[took.len() / 2],
        took[took.len() - 1]
    );
    assert_eq!((counters.lost, counters.diverged), (0, 0), "{log}");
    assert_eq!(
        (status.handed, status.missing),
        (CRASHES as u64, 0),
        "{log}"
    );
    answers.check()?;
    assert!(answers.processes() > CRASHES / 2, "{log}");
    Ok(())
}

#[test]
fn server_in_c_remembers_all_that_was_said_by_those_that_were_killed() -> Outcome {
    crashes(Language::C)
}

#[test]
fn server_in_python_remembers_all_that_was_said_by_those_that_were_killed() -> Outcome {
    crashes(Language::Python)
}

/// A round in which nothing happens.
fn quiet_round(
    topology: &Topology,
    clients: &mut [Client],
    answers: &mut Answers,
    random: &mut Random,
) -> Result<(), String> {
    let done = round(topology, clients, answers, random, || Ok(()));
    done.map_err(|error| with_log(topology, &error))
}

/// An error, and what the logger says.
fn with_log(topology: &Topology, error: &str) -> String {
    let log = topology.logger().map(Logger::log);
    format!("{error}\n{}", log.unwrap_or_default())
}

/// Each client asks, and hears the answer.
fn all_ask(clients: &mut [Client], answers: &mut Answers) -> Result<(), String> {
    for client in clients {
        client.say("all")?;
        answers.add(client.hear()?)?;
    }
    Ok(())
}

/// The standby stands still, or goes on.
fn standby(topology: &Topology, signal: Signal) -> Result<(), String> {
    let [_, standby] = topology.active_first();
    standby
        .iter()
        .try_for_each(|program| program.signal(signal))
}

/// The active server goes on.
fn active(topology: &Topology, signal: Signal) -> Result<(), String> {
    let [active, _] = topology.active_first();
    active.iter().try_for_each(|program| program.signal(signal))
}

fn spin(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

#[test]
fn replacement_that_dies_while_it_replays_is_replaced() -> Outcome {
    const TIMES: usize = 10;
    let mut topology = house(Language::C, true)?;
    let mut random = Random::announced("wrap");
    let mut answers = Answers::default();
    let mut clients = connected(&topology)?;
    for _ in 0..TIMES {
        for _ in 0..5 {
            quiet_round(&topology, &mut clients, &mut answers, &mut random)?;
        }
        standby(&topology, Signal::STOP)?;
        clients
            .iter_mut()
            .try_for_each(|client| client.say("both"))?;
        topology.end(End::Killed)?;
        topology.new_standby()?;
        // The one that stands still is the active server now.
        active(&topology, Signal::CONT)?;
        spin(Duration::from_micros(random.below(2500)));
        topology.end(End::Killed)?;
        for client in &mut clients {
            answers.add(client.hear()?)?;
        }
        topology.wait_moved()?;
        topology.new_standby()?;
    }
    let status = wrap_status(&topology)?;
    let (counters, log) = topology.end_of_logger()?;
    println!("{} answers; {status:?}", answers.count());
    assert_eq!((counters.lost, counters.diverged), (0, 0), "{log}");
    assert_eq!(
        (status.handed, status.missing),
        (2 * TIMES as u64, 0),
        "{log}"
    );
    answers.check()?;
    Ok(())
}

#[test]
fn client_that_leaves_during_the_replay_does_not_hold_it_up() -> Outcome {
    let mut topology = house(Language::C, true)?;
    let mut answers = Answers::default();
    let mut clients = connected(&topology)?;
    all_ask(&mut clients, &mut answers)?;
    all_ask(&mut clients, &mut answers)?;
    standby(&topology, Signal::STOP)?;
    topology.end(End::Killed)?;
    topology.take_over();
    clients.remove(1).reset()?;
    topology.wait_protected_at_most(CLIENTS as u64 - 1)?;
    active(&topology, Signal::CONT)?;
    all_ask(&mut clients, &mut answers)?;
    topology.wait_moved()?;
    let (counters, log) = topology.end_of_logger()?;
    let moved = (counters.recovered, counters.diverged);
    assert_eq!(moved, (CLIENTS as u64 - 1, 0), "{log}");
    answers.check()?;
    Ok(())
}

/// A house whose logger can be started again.
fn lasting_house(folder: &BpfFolder) -> Result<Topology, Box<dyn Error>> {
    let mut topology = Topology::build(Layout {
        logger: folder.options(),
        ..layout(Language::C, true)
    })?;
    topology.serve()?;
    Ok(topology)
}

#[test]
fn logger_that_is_killed_has_the_records_again() -> Outcome {
    let folder = BpfFolder::mount("wrap")?;
    let mut topology = lasting_house(&folder)?;
    let mut random = Random::announced("wrap");
    let mut answers = Answers::default();
    let mut clients = connected(&topology)?;
    for servers in 1..=3 {
        for _ in 0..5 {
            quiet_round(&topology, &mut clients, &mut answers, &mut random)?;
        }
        topology.kill_logger()?;
        topology.start_logger()?;
        quiet_round(&topology, &mut clients, &mut answers, &mut random)?;
        topology.end(End::Killed)?;
        quiet_round(&topology, &mut clients, &mut answers, &mut random)?;
        topology.wait_moved()?;
        topology.new_standby()?;
        assert_eq!(answers.processes(), servers + 1);
    }
    let (counters, log) = topology.end_of_logger()?;
    assert_eq!((counters.lost, counters.diverged), (0, 0), "{log}");
    answers.check()?;
    Ok(())
}

/// Both die at once: connections that were being moved are lost, as they would be without a logger. But nothing is said twice to
/// a program that remembers it.
#[test]
fn logger_that_is_killed_in_the_middle_of_a_failover_does_nothing_twice() -> Outcome {
    let folder = BpfFolder::mount("wrap-twice")?;
    let mut topology = lasting_house(&folder)?;
    let mut answers = Answers::default();
    let mut clients = connected(&topology)?;
    for _ in 0..5 {
        all_ask(&mut clients, &mut answers)?;
    }
    standby(&topology, Signal::STOP)?;
    topology.end(End::Killed)?;
    // All its connections are made, but it has not read from them.
    let handshakes = || topology.logger()?.status(GROUP);
    while handshakes()?
        .failover
        .is_none_or(|it| it.first_handshake_us.is_none())
    {}
    topology.take_over();
    topology.kill_logger()?;
    topology.start_logger()?;
    active(&topology, Signal::CONT)?;
    for client in &mut clients {
        // It may be lost, or moved by the second logger; it gets no answer that is not its own.
        if client.say("more").is_ok()
            && let Ok(answer) = client.hear()
        {
            answers.add(answer)?;
        }
    }
    let mut late = Client::connect(topology.client())?;
    late.say("late")?;
    answers.add(late.hear()?)?;
    let (counters, log) = topology.end_of_logger()?;
    assert!(counters.lost > 0 && counters.diverged == 0, "{log}");
    answers.check()?;
    Ok(())
}

#[test]
fn when_the_record_is_full_the_service_goes_on_and_a_replacement_begins_anew() -> Outcome {
    let mut layout = layout(Language::C, true);
    layout.chain.as_mut().ok_or("no server")?.limit = Some(8192);
    let mut topology = Topology::build(layout)?;
    topology.serve()?;
    let mut answers = Answers::default();
    let mut clients = connected(&topology)?;
    for _ in 0..100 {
        all_ask(&mut clients, &mut answers)?;
    }
    answers.check()?;
    let status = wrap_status(&topology)?;
    assert!(status.ended && status.kept == 0, "{status:?}");
    topology.end(End::Killed)?;
    for client in &mut clients {
        assert!(client.say("more").and_then(|()| client.hear()).is_err());
    }
    let mut client = Client::connect(topology.client())?;
    client.say("anew")?;
    let mut answers = Answers::default();
    answers.add(client.hear()?)?;
    let status = wrap_status(&topology)?;
    let (counters, log) = topology.end_of_logger()?;
    assert_eq!((status.handed, status.missing), (0, 1), "{log}");
    assert_eq!(counters.diverged, CLIENTS as u64, "{log}");
    assert!(log.contains("the record of vif1 has ended"), "{log}");
    Ok(())
}

/// What the tests above are worth: without the wrap no replacement says the same again.
#[test]
fn without_the_wrap_connections_do_not_survive() -> Outcome {
    let mut topology = house(Language::C, false)?;
    let mut answers = Answers::default();
    let mut clients = connected(&topology)?;
    all_ask(&mut clients, &mut answers)?;
    topology.end(End::Killed)?;
    for client in &mut clients {
        assert!(client.say("more").and_then(|()| client.hear()).is_err());
    }
    let (counters, log) = topology.end_of_logger()?;
    assert_eq!(
        (counters.diverged, counters.recovered),
        (CLIENTS as u64, 0),
        "{log}"
    );
    Ok(())
}

/// What a number of requests costs.
struct Counted {
    /// That the logger sees.
    frames: u64,
    /// Before and after them, if there are records.
    wraps: Option<[WrapStatus; 2]>,
}

/// One client asks 500 times, and waits for each answer.
fn counted(wrapped: bool) -> Result<Counted, Box<dyn Error>> {
    const REQUESTS: u64 = 500;
    let mut topology = Topology::build(Layout {
        logger: ["--datapath", "packet"].map(str::to_owned).to_vec(),
        ..layout(Language::C, wrapped)
    })?;
    topology.serve()?;
    let mut client = Client::connect(topology.client())?;
    let frames = |topology: &Topology| -> Result<u64, String> {
        let ports = topology.logger()?.hello()?.ports;
        Ok(ports.iter().map(|port| port.received).sum())
    };
    let mut before = (0, None);
    for number in 0..=REQUESTS {
        if number == 1 {
            before = (frames(&topology)?, wrap_status(&topology).ok());
        }
        client.say("x")?;
        client.hear()?;
    }
    let frames = frames(&topology)? - before.0;
    let wraps = before.1.zip(wrap_status(&topology).ok());
    println!("wrapped: {wrapped}, {REQUESTS} requests, {frames} frames; {wraps:?}");
    let wraps = wraps.map(<[WrapStatus; 2]>::from);
    Ok(Counted { frames, wraps })
}

#[test]
fn records_need_no_frame_and_no_call_of_their_own() -> Outcome {
    let bare = counted(false)?;
    let wrapped = counted(true)?;
    assert!(bare.wraps.is_none());
    let [before, after] = wrapped.wraps.ok_or("no records")?;
    // A request and its answer, each of which acknowledges what was before it; now and then a timer does.
    assert!((1000..1100).contains(&bare.frames), "{}", bare.frames);
    assert!((1000..1100).contains(&wrapped.frames), "{}", wrapped.frames);
    let records = after.records - before.records;
    // What was ready, the read, two clocks, randomness, the pid, the write; that comes with what is next.
    assert!((3490..3510).contains(&records), "{records}");
    assert!(after.looks - before.looks <= wrapped.frames, "{after:?}");
    assert_eq!(after.calls, before.calls);
    assert_eq!(after.bytes, after.kept);
    Ok(())
}
