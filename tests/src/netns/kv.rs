// SPDX-License-Identifier: GPL-3.0-only
//! The kv demo: a small line protocol with session memory, to try the logger's definitions with. The definition is
//! fttcp/examples/kv.toml.
//!
//! | request | answer |
//! |---|---|
//! | `PING` | `PONG` |
//! | `GET key` | the value, or `-` |
//! | `SET key value`, `DEL key` | `OK` |
//! | `ADD key number` | the sum, which is the new value |
//! | `LIST` | all keys, a line each, then `END` |
//! | `USE space` | `OK`; from now on the keys are those of this space, until `RESET` |
//! | `RESET` | `OK` |
//! | `QUIT` | `BYE`, and the server closes |
//!
//! Each value is a file, so that a replacement that has the same folder has the same values.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Where it listens.
pub const PORT: u16 = 7000;
/// What it says on standard error when it does.
pub const READY: &str = "kv-server is listening";

/// One at a time changes values.
static CHANGES: Mutex<()> = Mutex::new(());

/// Serves the values in `folder` for ever.
///
/// # Errors
/// It cannot listen.
pub fn run(folder: &Path) -> std::io::Result<()> {
    let listener = TcpListener::bind(("::", PORT))?;
    eprintln!("{READY} at port {PORT}");
    for stream in listener.incoming().map_while(Result::ok) {
        let session = Session::new(folder);
        std::thread::spawn(move || session.serve(&stream));
    }
    Ok(())
}

struct Session {
    folder: PathBuf,
    space: String,
}

impl Session {
    fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            space: String::new(),
        }
    }

    fn serve(mut self, stream: &TcpStream) -> std::io::Result<()> {
        let mut stream_out = stream;
        for line in BufReader::new(stream).lines() {
            let line = line?;
            let answer = self.answer(&line);
            stream_out.write_all(answer.as_bytes())?;
            if answer == "BYE\n" {
                break;
            }
        }
        Ok(())
    }

    fn answer(&mut self, line: &str) -> String {
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap_or_default().to_ascii_uppercase();
        let (key, value) = (words.next().unwrap_or_default(), words.next());
        let _alone = CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
        let done = match verb.as_str() {
            "PING" => Ok("PONG".to_owned()),
            "GET" => Ok(self.value(key).unwrap_or("-".to_owned())),
            "SET" => self.set(key, value.unwrap_or_default()),
            "DEL" => {
                let _ = fs::remove_file(self.file(key));
                Ok("OK".to_owned())
            }
            "ADD" => {
                let number = |text: &str| text.parse::<i64>().unwrap_or(0);
                let old = self.value(key).map_or(0, |old| number(&old));
                let sum = (old + number(value.unwrap_or("1"))).to_string();
                self.set(key, &sum).map(|_| sum)
            }
            "LIST" => self.list(),
            "USE" | "RESET" => {
                key.clone_into(&mut self.space);
                Ok("OK".to_owned())
            }
            "QUIT" => Ok("BYE".to_owned()),
            _ => Ok("? PING, GET, SET, DEL, ADD, LIST, USE, RESET or QUIT".to_owned()),
        };
        done.unwrap_or_else(|error| format!("? {error}")) + "\n"
    }

    /// A key's file: both are plain words.
    fn file(&self, key: &str) -> PathBuf {
        let plain =
            |text: &str| -> String { text.chars().filter(char::is_ascii_alphanumeric).collect() };
        self.folder
            .join(format!("{}.{}", plain(&self.space), plain(key)))
    }

    fn value(&self, key: &str) -> Option<String> {
        fs::read_to_string(self.file(key)).ok()
    }

    fn set(&self, key: &str, value: &str) -> std::io::Result<String> {
        // A server that is killed here leaves the old value or the new one.
        let new = self.folder.join("new");
        fs::write(&new, value)?;
        fs::rename(new, self.file(key))?;
        Ok("OK".to_owned())
    }

    fn list(&self) -> std::io::Result<String> {
        let begin = format!("{}.", self.space);
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name().into_string().unwrap_or_default();
            keys.extend(name.strip_prefix(&begin).map(str::to_owned));
        }
        keys.sort();
        keys.push("END".to_owned());
        Ok(keys.join("\n"))
    }
}
