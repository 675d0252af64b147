// SPDX-License-Identifier: GPL-3.0-only
//! Downloads by HTTP/1.1, from a server or through a proxy.

use super::line::Line;
use super::watch::Watch;
use super::{Client, Requests, compare};
use crate::engine::Outcome;
use crate::plan::Runs;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    request: Vec<u8>,
    connection: Option<Line>,
}

/// What stands before a body.
#[derive(Debug, Default, PartialEq, Eq)]
struct Head {
    status: u16,
    length: Option<u64>,
    closes: bool,
}

impl Http {
    pub(super) fn new(client: Client) -> Self {
        let url = format!("{}{}", client.target.url, client.file.name);
        let host = url.trim_start_matches("http://");
        let (host, path) = host.split_once('/').unwrap_or((host, ""));
        let asked = match client.target.runs {
            // A proxy is told where the file is.
            Runs::Proxy => url.clone(),
            Runs::Web | Runs::Ftp => format!("/{path}"),
        };
        let close = if client.load.keep_alive {
            ""
        } else {
            "Connection: close\r\n"
        };
        let request = format!("GET {asked} HTTP/1.1\r\nHost: {host}\r\n{close}\r\n").into_bytes();
        Self {
            client,
            request,
            connection: None,
        }
    }

    fn fetch(&mut self, watch: &mut Watch<'_>) -> Result<(), Outcome> {
        let mut line = match self.connection.take() {
            Some(line) => line,
            None => {
                let target = &self.client.target;
                Line::connect(target, target.address.port(), watch).map_err(Outcome::Failed)?
            }
        };
        line.send(&self.request).map_err(Outcome::Failed)?;
        let head = head(&mut line).map_err(Outcome::Failed)?;
        watch.moved(0);
        if head.status != 200 {
            return Err(Outcome::Failed(format!("status {}", head.status)));
        }
        let file = &self.client.file.content;
        if head
            .length
            .is_some_and(|length| length != file.len() as u64)
        {
            let text = format!("{:?} bytes of {} announced", head.length, file.len());
            return Err(Outcome::Corrupt(text));
        }
        let mut done = 0;
        while done < file.len() {
            let came = line.some().map_err(|error| cut(&error, done, file.len()))?;
            if came.is_empty() {
                return Err(cut("the connection was closed", done, file.len()));
            }
            let count = came.len().min(file.len() - done);
            compare(&came[..count], file, done)?;
            line.consume(count);
            done += count;
            watch.moved(count);
        }
        if self.client.load.keep_alive && !head.closes && head.length.is_some() {
            self.connection = Some(line);
        }
        Ok(())
    }
}

fn cut(why: &str, done: usize, all: usize) -> Outcome {
    Outcome::Failed(format!("{why} after {done} of {all} bytes"))
}

impl Requests for Http {
    fn request(&mut self, watch: &mut Watch<'_>) -> Outcome {
        self.fetch(watch).err().unwrap_or(Outcome::Good)
    }
}

fn head(line: &mut Line) -> Result<Head, String> {
    let ended = "the connection was closed before an answer";
    let first = line.line()?.ok_or(ended)?;
    let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
    let mut head = Head {
        status: status.ok_or_else(|| format!("no status line but {first:?}"))?,
        // A server of HTTP/1.0 closes unless it says otherwise.
        closes: first.starts_with("HTTP/1.0"),
        length: None,
    };
    loop {
        let field = line.line()?.ok_or(ended)?;
        let Some((name, value)) = field.split_once(':') else {
            break;
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => head.length = value.parse().ok(),
            "connection" => head.closes = value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    Ok(head)
}
