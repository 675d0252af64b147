// SPDX-License-Identifier: GPL-3.0-only
//! Transfers by FTP (RFC 959), in extended passive mode (RFC 2428), in one session for as long as it lives.

use std::fs;

use super::line::Line;
use super::watch::Watch;
use super::{Client, Requests, Target, compare};
use crate::engine::Outcome;
use crate::plan::Work;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    control: Option<Line>,
    uploads: usize,
}

/// A reply: its code and its last line.
type Reply = (u16, String);

impl Session {
    pub(super) const fn new(client: Client) -> Self {
        Self {
            client,
            control: None,
            uploads: 0,
        }
    }

    fn transfer(&mut self, watch: &mut Watch<'_>) -> Result<Outcome, String> {
        let mut control = match self.control.take() {
            Some(control) => control,
            None => log_in(&self.client.target, watch)?,
        };
        let (code, text) = command(&mut control, "EPSV", watch)?;
        let port = text.split('|').nth(3).and_then(|port| port.parse().ok());
        let outcome = match port.filter(|_| code == 229) {
            None => Outcome::Failed(format!("no passive port: {code} {text}")),
            Some(port) => {
                let data = Line::connect(&self.client.target, port, watch);
                let upload = self.client.load.work == Work::Upload;
                if upload {
                    self.upload(&mut control, data, watch)?
                } else {
                    self.download(&mut control, data, watch)?
                }
            }
        };
        if self.client.load.keep_alive {
            self.control = Some(control);
        } else {
            command(&mut control, "QUIT", watch)?;
        }
        Ok(outcome)
    }

    fn download(
        &self,
        control: &mut Line,
        data: Result<Line, String>,
        watch: &mut Watch<'_>,
    ) -> Result<Outcome, String> {
        let file = &self.client.file;
        let first = command(control, &format!("RETR {}", file.name), watch)?;
        let mut done = 0;
        let mut wrong = None;
        let mut receive = |data: &mut Line| -> Result<(), String> {
            loop {
                let came = data.some()?;
                let count = came.len();
                if count == 0 {
                    return Ok(());
                }
                if let Err(found) = compare(came, &file.content, done) {
                    wrong.get_or_insert(found);
                }
                data.consume(count);
                done += count;
                watch.moved(count);
            }
        };
        let received = data.and_then(|mut data| receive(&mut data));
        let (code, text) = last_reply(control, first, watch)?;
        let all = file.content.len();
        Ok(match (wrong, received) {
            (Some(wrong), _) => wrong,
            (None, Ok(())) if code == 226 && done == all => Outcome::Good,
            (None, _) if code == 226 => {
                Outcome::Corrupt(format!("{done} of {all} bytes were said to be all"))
            }
            (None, broke) => cut(code, &text, done, all, broke.err().as_deref()),
        })
    }

    fn upload(
        &mut self,
        control: &mut Line,
        data: Result<Line, String>,
        watch: &mut Watch<'_>,
    ) -> Result<Outcome, String> {
        let content = &self.client.file.content;
        self.uploads += 1;
        let name = format!("up-{}-{}", self.client.number, self.uploads);
        let first = command(control, &format!("STOR in/{name}"), watch)?;
        let mut done = 0;
        let mut send = |mut data: Line| -> Result<(), String> {
            while done < content.len() {
                // Small enough that a pause shows.
                let part = &content[done..content.len().min(done + 64 * 1024)];
                let count = data.send_some(part)?;
                done += count;
                watch.moved(count);
            }
            data.finish()
        };
        let sent = data.and_then(&mut send);
        let (code, text) = last_reply(control, first, watch)?;
        let path = self.client.target.uploads.join(name);
        if code != 226 {
            // What is left of it is nobody's.
            let _ = fs::remove_file(path);
            let why = sent.err();
            return Ok(cut(code, &text, done, content.len(), why.as_deref()));
        }
        let stored = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()));
        let _ = fs::remove_file(&path);
        Ok(match stored {
            Ok(stored) if stored == **content => Outcome::Good,
            Ok(stored) => Outcome::Corrupt(format!(
                "{} bytes are stored of an upload of {}, {}",
                stored.len(),
                content.len(),
                compare(&stored, content, 0)
                    .err()
                    .map_or("no other".to_owned(), |it| format!("{it:?}"))
            )),
            Err(error) => Outcome::Corrupt(format!("an upload is not there: {error}")),
        })
    }
}

impl Requests for Session {
    fn request(&mut self, watch: &mut Watch<'_>) -> Outcome {
        self.transfer(watch).unwrap_or_else(Outcome::Failed)
    }
}

fn cut(code: u16, text: &str, done: usize, all: usize, why: Option<&str>) -> Outcome {
    let why = why.map_or(String::new(), |why| format!(" ({why})"));
    let text = format!("after {done} of {all} bytes: {code} {text}{why}");
    // 4xx: it did not happen, and may be tried again (RFC 959, section 4.2).
    if (400..500).contains(&code) {
        Outcome::Cut(text)
    } else {
        Outcome::Failed(text)
    }
}

fn log_in(target: &Target, watch: &mut Watch<'_>) -> Result<Line, String> {
    let mut control = Line::connect(target, target.address.port(), watch)?;
    let greeting = reply(&mut control, watch)?;
    if greeting.0 != 220 {
        return Err(format!("not welcome: {} {}", greeting.0, greeting.1));
    }
    if command(&mut control, "USER anonymous", watch)?.0 == 331 {
        command(&mut control, "PASS drill@", watch)?;
    }
    let (code, text) = command(&mut control, "TYPE I", watch)?;
    if code == 200 {
        Ok(control)
    } else {
        Err(format!("cannot log in: {code} {text}"))
    }
}

fn command(control: &mut Line, line: &str, watch: &mut Watch<'_>) -> Result<Reply, String> {
    control.send(format!("{line}\r\n").as_bytes())?;
    reply(control, watch)
}

/// The reply that ends a transfer; the first one was `first`.
fn last_reply(control: &mut Line, first: Reply, watch: &mut Watch<'_>) -> Result<Reply, String> {
    if (100..200).contains(&first.0) {
        reply(control, watch)
    } else {
        Ok(first)
    }
}

fn reply(control: &mut Line, watch: &mut Watch<'_>) -> Result<Reply, String> {
    loop {
        let line = control.line()?.ok_or("the session was closed")?;
        // Lines between the first and the last of a long reply are not told.
        if let Some((code, text)) = line.split_once(' ')
            && code.len() == 3
            && let Ok(code) = code.parse()
        {
            watch.moved(0);
            return Ok((code, text.to_owned()));
        }
    }
}
