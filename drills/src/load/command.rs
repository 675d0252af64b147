// SPDX-License-Identifier: GPL-3.0-only
//! A stock client, run by the shell: what it prints must be the file, and its exit code 0.

use std::io::Read;
use std::process::{self, Stdio};

use super::watch::Watch;
use super::{Client, Requests, compare};
use crate::engine::Outcome;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Command {
    client: Client,
    line: String,
}

impl Command {
    pub(super) fn new(client: Client, line: &str) -> Self {
        let url = format!("{}{}", client.target.url, client.file.name);
        let proxy = format!("http://{}", client.target.address);
        let line = line.replace("{url}", &url).replace("{proxy}", &proxy);
        Self { client, line }
    }

    fn run(&self, watch: &mut Watch<'_>) -> Result<Outcome, String> {
        let mut child = process::Command::new("sh")
            .args(["-c", &self.line])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start sh: {error}"))?;
        let mut pipe = child.stdout.take().ok_or("no standard output")?;
        let mut buffer = vec![0; 64 * 1024];
        let mut done = 0;
        let mut wrong = None;
        loop {
            let count = pipe.read(&mut buffer);
            let count = count.map_err(|error| format!("cannot read its output: {error}"))?;
            if count == 0 {
                break;
            }
            if let Err(found) = compare(&buffer[..count], &self.client.file.content, done) {
                wrong.get_or_insert(found);
            }
            done += count;
            watch.moved(count);
        }
        let status = child
            .wait()
            .map_err(|error| format!("cannot wait for it: {error}"))?;
        let all = self.client.file.content.len();
        Ok(match (status.code(), wrong) {
            (Some(0), Some(wrong)) => wrong,
            // It may have put the file somewhere else, and printed nothing.
            (Some(0), None) if done == all || done == 0 => Outcome::Good,
            (Some(0), None) => Outcome::Corrupt(format!("exit code 0 after {done} of {all} bytes")),
            (Some(code), _) => {
                Outcome::Failed(format!("exit code {code} after {done} of {all} bytes"))
            }
            (None, _) => Outcome::Failed(format!("{status}")),
        })
    }
}

impl Requests for Command {
    fn request(&mut self, watch: &mut Watch<'_>) -> Outcome {
        self.run(watch).unwrap_or_else(Outcome::Failed)
    }
}
