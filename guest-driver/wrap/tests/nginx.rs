// SPDX-License-Identifier: GPL-3.0-only
//! Stock nginx, one process, under the wrap: the same answers again, byte for byte, with dates, times and a process number that no
//! mask covers.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::path::Path;
use std::process::Command;

use common::{Server, folder, free_port, header, own_address};

const CLIENTS: usize = 4;
const REQUESTS: usize = 8;
/// nginx logs this once it listens.
const LISTENING: &str = "getrlimit(RLIMIT_NOFILE)";

fn start(folder: &Path, wrap: Option<&str>) -> Server {
    let port = free_port();
    let config = format!(
        "daemon off; master_process off; pid {0}/pid; error_log stderr notice;\n\
         events {{ worker_connections 64; }}\n\
         http {{ access_log off; sendfile on; client_body_temp_path {0}/t; proxy_temp_path {0}/t; \
         fastcgi_temp_path {0}/t; uwsgi_temp_path {0}/t; scgi_temp_path {0}/t;\n\
         server {{ listen 127.0.0.1:{port}; root {0};\n\
         add_header X-Id \"$msec $pid $connection $request_time\"; }} }}\n",
        folder.display()
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, config).expect("a configuration");
    let mut nginx = Command::new("nginx");
    nginx
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(&file)
        .args(["-e", "stderr"]);
    Server::start_at(port, nginx, wrap, LISTENING)
}

fn request(client: usize, number: usize) -> String {
    let path = if number.is_multiple_of(2) {
        "small"
    } else {
        "large"
    };
    let end = if number + 1 == REQUESTS {
        "close"
    } else {
        "keep-alive"
    };
    format!("GET /{path}?{client}.{number} HTTP/1.1\r\nHost: x\r\nConnection: {end}\r\n\r\n")
}

/// Every client asks its requests one behind the other without waiting, in pieces of `piece` bytes; the answers of each.
fn ask(server: &Server, addresses: &[SocketAddrV4; CLIENTS], piece: usize) -> Vec<Vec<u8>> {
    let clients: Vec<TcpStream> = addresses
        .iter()
        .map(|&address| server.connect(address))
        .collect();
    let asked = clients.into_iter().enumerate().map(|(client, mut stream)| {
        std::thread::spawn(move || {
            let all: String = (0..REQUESTS)
                .map(|number| request(client, number))
                .collect();
            stream.set_nodelay(true).expect("an option");
            for piece in all.as_bytes().chunks(piece) {
                stream.write_all(piece).expect("it reads");
            }
            let mut answers = Vec::new();
            stream.read_to_end(&mut answers).expect("it answers");
            answers
        })
    });
    let asked: Vec<_> = asked.collect();
    let joined = asked
        .into_iter()
        .map(|thread| thread.join().expect("answers"));
    joined.collect()
}

#[test]
fn nginx_gives_the_same_answers_again() {
    let folder = folder("nginx");
    fs::write(folder.join("small"), "small\n").expect("a file");
    fs::write(folder.join("large"), "0123456789abcde\n".repeat(100_000)).expect("a file");
    let record = folder.join("record");
    let addresses: [SocketAddrV4; CLIENTS] = std::array::from_fn(|_| own_address());
    let said = {
        let server = start(&folder, Some(&format!("record:{}", record.display())));
        ask(&server, &addresses, 40)
    };
    let [bytes, records, calls, given_up] = header(&record);
    println!("nginx: {records} records, {bytes} bytes, {calls} system calls more");
    assert_eq!(given_up, 0);
    assert!(
        said.iter()
            .all(|answers| answers.len() > REQUESTS / 2 * 1_600_000)
    );
    assert!(
        ask(&start(&folder, None), &addresses, 40) != said,
        "it depends on nothing that was recorded"
    );
    for piece in [7, 100_000] {
        let server = start(&folder, Some(&format!("replay:{}", record.display())));
        let again = ask(&server, &addresses, piece);
        for (client, (again, said)) in again.iter().zip(&said).enumerate() {
            let same = again.iter().zip(said).take_while(|(a, b)| a == b).count();
            let seen = |all: &[u8]| {
                String::from_utf8_lossy(&all[same.min(all.len())..(same + 80).min(all.len())])
                    .into_owned()
            };
            assert!(
                again == said,
                "client {client} from byte {same} on: {:?}, not {:?}",
                seen(again),
                seen(said)
            );
        }
    }
}
