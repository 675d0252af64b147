// SPDX-License-Identifier: GPL-3.0-only
//! A server that dies of a line: `deadly-server FOLDER` answers each line that it is told, as one of FTP on port 21 and of the
//! kv demo (fttcp/examples/kv.toml) on port 7000. The line that ends with ` die` kills it, of a file that it is to store as well.
//! Each such line is added to the file `died` in the folder.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rxl_tests::netns::kv::PORT;
use rxl_tests::netns::web::origin::READY;

/// What one of its protocols says.
#[derive(Clone, Copy)]
struct Words {
    port: u16,
    greeting: &'static str,
    answer: fn(&str) -> &'static str,
}

const FTP: u16 = 21;

const PROTOCOLS: [Words; 2] = [
    Words {
        port: FTP,
        greeting: "220 here\r\n",
        answer: |line| {
            if line.starts_with("USER") {
                "230 in\r\n"
            } else {
                "200 done\r\n"
            }
        },
    },
    Words {
        port: PORT,
        greeting: "",
        answer: |_| "OK\n",
    },
];

/// Reads lines to their end, and dies of one that is deadly.
fn survive(lines: impl BufRead, folder: &Path, mut live: impl FnMut(&str) -> Said) -> Said {
    for line in lines.lines() {
        let line = line?;
        if line.ends_with(" die") {
            let died = folder.join("died");
            let mut died = File::options().append(true).create(true).open(died)?;
            died.write_all(format!("{line}\n").as_bytes())?;
            std::process::abort();
        }
        live(&line)?;
    }
    Ok(())
}

type Said = std::io::Result<()>;

/// Where the next file comes to, as PASV's answer tells it.
fn passive(stream: &TcpStream) -> std::io::Result<(TcpListener, String)> {
    let here = match stream.local_addr()?.ip() {
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4),
        ip @ IpAddr::V4(_) => ip,
    };
    let listener = TcpListener::bind(SocketAddr::new(here, 0))?;
    let [high, low] = listener.local_addr()?.port().to_be_bytes();
    let host = here.to_string().replace('.', ",");
    Ok((listener, format!("227 Passive ({host},{high},{low})\r\n")))
}

fn talk(words: Words, mut stream: &TcpStream, folder: &Path) -> Said {
    stream.write_all(words.greeting.as_bytes())?;
    let mut file = None;
    survive(BufReader::new(stream), folder, |line| {
        if words.port == FTP && line == "PASV" {
            let (listener, answer) = passive(stream)?;
            file = Some(listener);
            return stream.write_all(answer.as_bytes());
        }
        let Some(listener) = file.take_if(|_| line.starts_with("STOR ")) else {
            return stream.write_all((words.answer)(line).as_bytes());
        };
        stream.write_all(b"150 go on\r\n")?;
        let (content, _) = listener.accept()?;
        survive(BufReader::new(content), folder, |_| Ok(()))?;
        stream.write_all(b"226 stored\r\n")
    })
}

fn serve(words: Words, listener: &TcpListener, folder: &Path) {
    for stream in listener.incoming().map_while(Result::ok) {
        let folder = folder.to_owned();
        std::thread::spawn(move || talk(words, &stream, &folder));
    }
}

fn run(folder: &Path) -> std::io::Result<()> {
    let listeners: std::io::Result<Vec<_>> = PROTOCOLS
        .iter()
        .map(|words| Ok((*words, TcpListener::bind(("::", words.port))?)))
        .collect();
    let listeners = listeners?;
    eprintln!("{READY}");
    std::thread::scope(|scope| {
        for (words, listener) in &listeners {
            scope.spawn(move || serve(*words, listener, folder));
        }
    });
    Ok(())
}

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("deadly-server: give the folder in which it is to tell of what it died");
        return ExitCode::from(2);
    };
    match run(&PathBuf::from(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("deadly-server: {error}");
            ExitCode::FAILURE
        }
    }
}
