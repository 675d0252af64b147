// SPDX-License-Identifier: GPL-3.0-only
//! Unmodified programs under the wrap: recorded, killed, and replayed with the same input in other pieces and another order,
//! they say the same bytes.

mod common;

use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpStream};
use std::path::Path;
use std::process::{Command, Output};

use common::{Server, compiled, folder, header, line, own_address, python, wrapped};

/// Requests of each client: so long that no read gets two of them, and one has to be read in two.
const ROUNDS: usize = 40;
const CLIENTS: usize = 3;

fn request(client: usize, round: usize) -> String {
    let length = [5, 30, 100][(client + round) % 3];
    format!("<{client}.{round}{}>", "x".repeat(length))
}

/// Each client asks in its turn; the answers of each. `warm` is called when each has been answered once.
fn in_turn(server: &Server, addresses: &[SocketAddrV4; CLIENTS], warm: impl Fn()) -> Vec<String> {
    let mut clients: Vec<_> = addresses
        .iter()
        .map(|&address| (server.connect(address), String::new()))
        .collect();
    for round in 0..ROUNDS {
        if round == 1 {
            warm();
        }
        for (client, (stream, answers)) in clients.iter_mut().enumerate() {
            stream
                .write_all(request(client, round).as_bytes())
                .expect("it reads");
            // An answer tells how much it was for: all of a request must be answered before the next one.
            let mut left = request(client, round).len();
            while left > 0 {
                let line = line(stream);
                let got = line
                    .split("got=")
                    .nth(1)
                    .and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
                left -= got.unwrap_or_else(|| panic!("an answer like {line:?}"));
                answers.push_str(&line);
            }
        }
    }
    clients.into_iter().map(|(_, answers)| answers).collect()
}

/// The last client comes first; each says all that it ever said, in pieces of `piece` bytes, without waiting.
fn at_once(
    server: &Server,
    addresses: &[SocketAddrV4; CLIENTS],
    piece: usize,
    expected: &[String],
) -> Vec<String> {
    let clients: Vec<TcpStream> = addresses
        .iter()
        .rev()
        .map(|&address| server.connect(address))
        .collect();
    for (client, mut stream) in (0..CLIENTS).rev().zip(&clients) {
        let all: String = (0..ROUNDS).map(|round| request(client, round)).collect();
        stream.set_nodelay(true).expect("an option");
        for piece in all.as_bytes().chunks(piece) {
            stream.write_all(piece).expect("it reads");
        }
    }
    let answers = clients
        .iter()
        .zip(expected.iter().rev())
        .map(|(mut stream, expected)| {
            let mut answers = vec![0; expected.len()];
            stream.read_exact(&mut answers).expect("it answers as much");
            stream.shutdown(Shutdown::Write).expect("it is there");
            String::from_utf8_lossy(&answers).into_owned()
        });
    let mut answers: Vec<String> = answers.collect();
    answers.reverse();
    answers
}

fn replays(name: &str, command: impl Fn(&Path) -> Command) {
    let folder = folder(name);
    let record = folder.join("record");
    let addresses: [SocketAddrV4; CLIENTS] = std::array::from_fn(|_| own_address());
    let start = |mode: Option<&str>| {
        let wrap = mode.map(|mode| format!("{mode}:{}", record.display()));
        Server::start(command(&folder), wrap.as_deref())
    };
    let calls_when_warm = Cell::new(0);
    let said = {
        // Killed at the end of this block, as by a crash: nothing is written at the end.
        let server = start(Some("record"));
        in_turn(&server, &addresses, || {
            calls_when_warm.set(header(&record)[2]);
        })
    };
    let [bytes, records, calls, given_up] = header(&record);
    let calls = calls - calls_when_warm.get();
    let requests = (ROUNDS * CLIENTS) as u64;
    println!(
        "{name}: {requests} requests, {records} records, {bytes} bytes, {calls} system calls more"
    );
    assert_eq!(given_up, 0);
    assert!(records > 5 * requests, "{records}");
    // What recording costs is one look at each new descriptor: none for a request.
    assert_eq!(calls, 0);
    // It depends on what was recorded: a run by itself says something else.
    assert_ne!(in_turn(&start(None), &addresses, || ()), said);
    for piece in [1, 17, 100_000] {
        let again = at_once(&start(Some("replay")), &addresses, piece, &said);
        for (client, (again, said)) in again.iter().zip(&said).enumerate() {
            assert_eq!(again, said, "client {client}, input in pieces of {piece}");
        }
    }
    // When the record is used up, the server lives on.
    let server = start(Some("replay"));
    at_once(&server, &addresses, 1000, &said);
    let mut late = server.connect(own_address());
    late.write_all(b"late").expect("it reads");
    assert!(line(&mut late).contains("got=4 late "));
}

#[test]
fn a_server_in_c_says_the_same_bytes_again() {
    replays("c", |folder| Command::new(compiled("loop", folder)));
}

#[test]
fn a_server_in_python_says_the_same_bytes_again() {
    replays("python", |_| python("loop.py"));
}

/// Output commit without a message: whoever shares the record's memory finds in it what an answer depends on when the answer
/// arrives.
#[test]
fn what_an_answer_depends_on_is_recorded_before_the_answer_comes() {
    let folder = folder("ahead");
    let record = folder.join("record");
    let wrap = format!("record:{}", record.display());
    let server = Server::start(Command::new(compiled("loop", &folder)), Some(&wrap));
    let mut stream = server.connect(own_address());
    for number in 0..200 {
        stream.write_all(b"x").expect("it reads");
        let answer = line(&mut stream);
        let [complete, ..] = header(&record);
        let bytes = fs::read(&record).expect("a record");
        let records = &bytes[128..128 + usize::try_from(complete).expect("a length")];
        // The last but one word before the pid is 4 bytes of randomness.
        let word = answer.split(' ').rev().nth(2).unwrap_or_default();
        let random = u32::from_str_radix(word, 16).unwrap_or_else(|_| panic!("{answer}"));
        let found = records.windows(4).any(|four| four == random.to_le_bytes());
        assert!(found, "answer {number} came before its records: {answer}");
    }
}

fn run(program: &Path, wrap: &str) -> Output {
    wrapped(Command::new(program), Some(wrap))
        .output()
        .expect("it runs")
}

#[test]
fn every_form_of_waiting_reading_and_writing_comes_back() {
    let folder = folder("calls");
    let program = compiled("calls", &folder);
    let record = folder.join("record").display().to_string();
    let first = run(&program, &format!("record:{record}"));
    let again = run(&program, &format!("replay:{record}"));
    let text = String::from_utf8_lossy(&first.stdout).into_owned();
    assert!(
        text.contains("readv 16 one| two one two ") && text.contains("filled "),
        "{text}"
    );
    assert_eq!(
        text,
        String::from_utf8_lossy(&again.stdout),
        "{}",
        String::from_utf8_lossy(&again.stderr)
    );
    let other = run(&program, &format!("record:{record}.2"));
    assert_ne!(other.stdout, first.stdout);
}

#[test]
fn a_second_thread_ends_the_recording_and_not_the_program() {
    let folder = folder("threads");
    let program = compiled("threads", &folder);
    let record = folder.join("record");
    let first = run(&program, &format!("record:{}", record.display()));
    assert_eq!(first.stdout, b"both threads have ended\n");
    assert!(first.status.success());
    let told = String::from_utf8_lossy(&first.stderr).into_owned();
    assert_eq!(
        told,
        "rxl-wrap: the program starts a second thread: the recording ends, the program goes on unwrapped\n"
    );
    assert_eq!(header(&record)[3], 1);
    let again = run(&program, &format!("replay:{}", record.display()));
    assert_eq!(again.status.code(), Some(70));
    assert!(again.stdout.is_empty());
}

#[test]
fn a_record_that_is_full_ends_the_recording_and_not_the_program() {
    let folder = folder("full");
    let record = folder.join("record");
    let mut command = Command::new(compiled("loop", &folder));
    command.env("RXL_WRAP_MAX", "4096");
    let wrap = format!("record:{}", record.display());
    let addresses: [SocketAddrV4; CLIENTS] = std::array::from_fn(|_| own_address());
    let server = Server::start(command, Some(&wrap));
    let said = in_turn(&server, &addresses, || ());
    let [bytes, _, _, given_up] = header(&record);
    assert_eq!(given_up, 1);
    assert!((3000..4096 - 128).contains(&bytes), "{bytes}");
    assert_eq!(fs::metadata(&record).expect("a record").len(), 4096);
    // As far as it goes it can be replayed; then the replay is ended rather than left to chance.
    let mut again = Server::start(
        Command::new(compiled("loop", &folder)),
        Some(&format!("replay:{}", record.display())),
    );
    let mut clients = addresses.map(|address| again.connect(address));
    for (number, client) in clients.iter_mut().enumerate() {
        let all: String = (0..ROUNDS).map(|round| request(number, round)).collect();
        client.write_all(all.as_bytes()).expect("it reads");
    }
    let (code, told) = again.wait();
    assert_eq!(code, Some(70));
    assert!(
        told[0].ends_with(", because the record is full"),
        "{told:?}"
    );
    for (client, said) in clients.iter_mut().zip(&said) {
        let mut answers = Vec::new();
        // The end may come as a reset, since input is left unread.
        let _ = client.read_to_end(&mut answers);
        assert!(said.as_bytes().starts_with(&answers));
    }
}

#[test]
fn another_program_than_the_recorded_one_is_told_and_ended() {
    let folder = folder("diverged");
    let (calls, threads) = (compiled("calls", &folder), compiled("threads", &folder));
    let record = folder.join("record").display().to_string();
    run(&calls, &format!("record:{record}"));
    let other = run(&threads, &format!("replay:{record}"));
    let told = String::from_utf8_lossy(&other.stderr).into_owned();
    assert_eq!(other.status.code(), Some(70), "{told}");
    assert_eq!(
        told,
        "rxl-wrap: the replay diverges: at record 1 the program asks for a clock, the record has a wait for events\n"
    );
}

#[test]
fn what_is_no_record_is_refused() {
    let folder = folder("refused");
    let program = compiled("threads", &folder);
    let text = folder.join("text");
    fs::write(&text, "no record").expect("written");
    for (wrap, told) in [
        (
            format!("replay:{}", text.display()),
            "this is no record of rxl-wrap",
        ),
        (
            "replay:/none/such".to_owned(),
            "/none/such: cannot be opened",
        ),
        (
            "tape:x".to_owned(),
            "expected record:FILE, replay:FILE, ring:FILE, standby:FILE or agent:SOCKET",
        ),
    ] {
        let ended = run(&program, &wrap);
        assert_eq!(ended.status.code(), Some(71), "{wrap}");
        assert!(
            String::from_utf8_lossy(&ended.stderr).contains(told),
            "{wrap}"
        );
    }
}
