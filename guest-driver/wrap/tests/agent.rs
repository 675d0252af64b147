// SPDX-License-Identifier: GPL-3.0-only
//! Programs under the wrap whose records are in memory that an agent gives: they begin and go on at the logger's order, ask for
//! more memory, and do without an agent as far as they can.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use common::agent::{
    Agent, Agents, BYTES, ENDED, FIRST, Failover, LIVE, MOST, RECORDS, SIZE, STATE, refusal,
    refusing,
};
use common::chain::{Answers, House, goes_on};
use common::{Server, compiled, folder, own_address, python, wrapped};

fn chain(name: &str, failover: Failover) -> Agents {
    let folder = folder(name);
    let program = compiled("chain", &folder);
    Agents::new(folder, failover, Box::new(move || Command::new(&program)))
}

#[test]
fn a_server_in_c_goes_on_with_the_record_of_the_dead_one() {
    goes_on(&mut chain("agent-c", Failover::Smooth));
}

#[test]
fn a_server_in_python_goes_on_with_the_record_of_the_dead_one() {
    let command = || python("chain.py");
    let folder = folder("agent-python");
    goes_on(&mut Agents::new(
        folder,
        Failover::Smooth,
        Box::new(command),
    ));
}

#[test]
fn clients_are_not_read_while_the_logger_tells_them_anew() {
    goes_on(&mut chain("agent-anew", Failover::ToldAnew));
}

#[test]
fn a_replay_goes_on_when_the_agent_has_gone() {
    goes_on(&mut chain("agent-leaves", Failover::AgentLeaves));
}

#[test]
fn the_first_server_begins_at_its_order_and_records() {
    let mut house = chain("agent-live", Failover::Smooth);
    let server = house.start();
    let mut answers = Answers::default();
    answers.ask(&mut server.connect_at_last(own_address()), "first");
    answers.check();
    assert_eq!([house.word(STATE), house.word(ENDED)], [0, 0]);
    assert!(house.word(RECORDS) > 3);
}

#[test]
fn an_area_grows_while_it_is_recorded_and_before_a_record_is_given() {
    const LINES: usize = 500;
    let mut house = chain("agent-grows", Failover::Smooth);
    let from = own_address();
    let mut answers = Answers::default();
    let mut first = house.start();
    let mut client = first.connect_at_last(from);
    let what = "x".repeat(3000);
    let said: String = (0..LINES)
        .map(|_| answers.ask(&mut client, &what))
        .collect();
    first.kill();
    assert!(house.word(BYTES) > 1 << 20);
    assert!(house.last().asked() >= 7, "from 8 KiB to 1 MiB at least");

    let second = house.start();
    assert_eq!(house.word(SIZE), FIRST);
    house.give(&[from]);
    let mut client = second.connect_at_last(from);
    let mut speaks = client.try_clone().expect("a descriptor");
    let all = format!("{what}\n").repeat(LINES);
    let speaking = std::thread::spawn(move || speaks.write_all(all.as_bytes()));
    let mut again = vec![0; said.len()];
    client.read_exact(&mut again).expect("it answers as much");
    speaking.join().expect("no panic").expect("it reads");
    assert!(again == said.as_bytes(), "it says something else");
    // What it was given is a whole area: the next lines need more.
    for _ in 0..10 {
        answers.ask(&mut client, &what);
    }
    answers.check();
    assert_eq!(house.last().asked(), 1);
    assert_eq!([house.word(STATE), house.word(ENDED)], [0, 0]);
}

/// The server answers on when its record cannot grow. What it says of that.
fn cannot_grow(name: &str, most: u64, leave: bool) -> Vec<String> {
    let folder = folder(name);
    let agent = Agent::start(folder.join("sock"), most);
    let mut server = Server::start(
        Command::new(compiled("chain", &folder)),
        Some(&agent.wrap()),
    );
    agent.order(LIVE);
    let mut answers = Answers::default();
    let mut client = server.connect(own_address());
    answers.ask(&mut client, "at first");
    if leave {
        agent.leave();
    }
    answers.ask(&mut client, "in what there is");
    assert_eq!(agent.word(ENDED), 0);
    for _ in 0..5 {
        answers.ask(&mut client, &"x".repeat(3000));
    }
    answers.check();
    assert_eq!(agent.word(ENDED), 1);
    server.kill();
    server.wait().1
}

#[test]
fn a_recording_whose_agent_has_gone_ends_when_it_must_grow() {
    assert_eq!(
        cannot_grow("agent-gone", MOST, true),
        ["rxl-wrap: the agent has gone: the recording ends, the program goes on unwrapped"]
    );
}

#[test]
fn a_recording_that_gets_no_more_memory_ends() {
    assert_eq!(
        cannot_grow("agent-full", FIRST, false),
        ["rxl-wrap: the record is full: the recording ends, the program goes on unwrapped"]
    );
}

#[test]
fn a_program_that_waits_for_its_order_ends_with_its_agent() {
    let folder = folder("agent-no-order");
    let agent = Agent::start(folder.join("sock"), MOST);
    let mut server = Server::start(
        Command::new(compiled("chain", &folder)),
        Some(&agent.wrap()),
    );
    agent.leave();
    let told = "rxl-wrap: the agent has gone, and no order can come".to_owned();
    assert_eq!(server.wait(), (Some(71), vec![told]));
}

#[test]
fn descriptors_of_the_wrap_outlive_a_program_that_closes_all_and_end_with_it() {
    let folder = folder("agent-closes");
    let agent = Agent::start(folder.join("sock"), MOST);
    let command = Command::new(compiled("closes", &folder));
    let mut command = wrapped(command, Some(&agent.wrap()));
    let started = command.stdin(Stdio::piped()).spawn();
    let mut child = started.expect("it starts");
    let mut input = child.stdin.take().expect("piped");
    while !agent.is_waited_at() {}
    agent.order(LIVE);
    assert!(child.wait().expect("it is a child").success());
    assert!(agent.word(BYTES) > 400 * 256);
    assert_eq!([agent.word(RECORDS), agent.word(ENDED)], [400, 0]);
    // Its child lives, and has nothing of the area.
    agent.await_end();
    input.write_all(b"\n").expect("the child lives");
}

/// How a program ends that gets no area from what is at `path`.
fn refused(program: &Path, path: &Path) -> String {
    let wrap = format!("agent:{}", path.display());
    let ended = wrapped(Command::new(program), Some(&wrap)).output();
    let ended = ended.expect("it runs");
    assert_eq!(ended.status.code(), Some(71));
    assert!(ended.stdout.is_empty());
    let told = String::from_utf8(ended.stderr).expect("text");
    told.replace(&path.display().to_string(), "PATH")
}

#[test]
fn a_program_without_an_area_says_why_and_ends() {
    let folder = folder("agent-refuses");
    let program = compiled("threads", &folder);
    let path = folder.join("sock");
    let why = "another program is wrapped already";
    refusing(&path, refusal(why));
    assert_eq!(
        refused(&program, &path),
        format!("rxl-wrap: PATH: the agent refuses: {why}\n")
    );
    for says in [vec![0; 16], b"hello".to_vec()] {
        refusing(&path, vec![says]);
        let told = refused(&program, &path);
        assert_eq!(told, "rxl-wrap: PATH: this is no agent of rxl\n");
    }
    fs::remove_file(&path).expect("it was there");
    assert_eq!(
        refused(&program, &path),
        "rxl-wrap: PATH: the agent cannot be reached: errno 2\n"
    );
}
