// SPDX-License-Identifier: GPL-3.0-only
//! Clients beside servers that do as they are told, over loopback.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::thread;

use super::*;
use crate::plan::Plan;

fn client(runs: &str, work: &str, address: SocketAddr, content: &[u8]) -> Client {
    let text = format!(
        "name = \"x\"\ntext = \"\"\nduration = \"1s\"\n[service]\nruns = \"{runs}\"\n\
         [[load]]\n{work}\nconnections = 1\nsize = \"1B\"\n"
    );
    let plan = Plan::parse("x", &text).unwrap();
    Client {
        number: 0,
        load: plan.loads[0].clone(),
        file: File {
            name: "file".to_owned(),
            content: Arc::new(content.to_vec()),
        },
        target: Target {
            runs: plan.service.runs,
            address,
            url: format!("http://{address}/"),
            uploads: PathBuf::from("/nonexistent"),
            patience: plan.stage.client_patience(),
        },
    }
}

/// One request to a server that answers each request on its one connection with the next of `answers`, and then closes.
fn outcomes(answers: Vec<&'static str>) -> Vec<Outcome> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = answers.len();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(&stream).lines();
        for answer in answers {
            while !lines.next().unwrap().unwrap().is_empty() {}
            (&stream).write_all(answer.as_bytes()).unwrap();
        }
    });
    let (tell, _told) = channel();
    let shared = Shared::new();
    let mut watch = Watch::new(&shared, &tell, 0);
    let mut http = client("web", "do = \"download\"", address, b"hello").requests();
    let outcomes = (0..count).map(|_| http.request(&mut watch)).collect();
    server.join().unwrap();
    outcomes
}

#[test]
fn requests_over_one_connection_are_compared_byte_by_byte() {
    let seen = outcomes(vec![
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelLo",
    ]);
    assert_eq!(
        seen,
        [
            Outcome::Good,
            Outcome::Corrupt("byte 3 of 5 differs".into())
        ]
    );
}

#[test]
fn every_bad_end_is_told() {
    let one = |answer| outcomes(vec![answer]).remove(0);
    let failed = |text: &str| Outcome::Failed(text.to_owned());
    assert_eq!(
        one("HTTP/1.1 502 Bad Gateway\r\n\r\n"),
        failed("status 502")
    );
    let part = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel";
    assert_eq!(
        one(part),
        failed("the connection was closed after 3 of 5 bytes")
    );
    assert_eq!(
        one(""),
        failed("the connection was closed before an answer")
    );
    let short = one("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhell");
    assert!(matches!(short, Outcome::Corrupt(_)), "{short:?}");
}

#[test]
fn commands_are_judged_by_exit_code_and_output() {
    let address = "127.0.0.1:1".parse().unwrap();
    let one = |line: &str| {
        let work = format!("do = \"command\"\ncommand = \"{line}\"");
        let (tell, _told) = channel();
        let shared = Shared::new();
        let mut requests = client("web", &work, address, b"hello").requests();
        requests.request(&mut Watch::new(&shared, &tell, 0))
    };
    assert_eq!(one("printf hello"), Outcome::Good);
    assert_eq!(one("test {url} = http://127.0.0.1:1/file"), Outcome::Good);
    assert_eq!(
        one("printf hell"),
        Outcome::Corrupt("exit code 0 after 4 of 5 bytes".into())
    );
    assert_eq!(
        one("printf hello; exit 18"),
        Outcome::Failed("exit code 18 after 5 of 5 bytes".into())
    );
    assert!(matches!(one("printf hellO"), Outcome::Corrupt(_)));
}

#[test]
fn pauses_are_told_from_the_last_byte_on() {
    let (tell, told) = channel();
    let shared = Shared::new();
    let mut watch = Watch::new(&shared, &tell, 7);
    let start = watch.begin();
    // The pause that is to be seen.
    thread::sleep(watch::LEAST);
    watch.moved(3);
    watch.end(true);
    let Ok(Input::Sample(Sample::Pause {
        client: 7,
        start: from,
        end,
    })) = told.try_recv()
    else {
        panic!("no pause told");
    };
    assert!(from == start && end - from >= watch::LEAST);
    assert_eq!(shared.bytes.load(Ordering::Relaxed), 3);
}
