// SPDX-License-Identifier: GPL-3.0-only
//! FTP clients that pause where a test wants to do something: Python programs over ftplib.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::netns::disk::readable;
use crate::netns::topology::{SERVER, Topology};

type Outcome = Result<(), Box<dyn Error>>;

/// A Python program in the client's namespace, which says `ready` and waits for a line wherever it calls `pause()`.
#[derive(Debug)]
pub struct Script {
    child: Child,
}

impl Script {
    /// Starts it behind a prologue: the session `ftp`, and `session()`, which opens another one.
    ///
    /// # Errors
    /// Python is not installed.
    pub fn start(
        topology: &Topology,
        (user, password): (&str, &str),
        text: &str,
    ) -> Result<Self, Box<dyn Error>> {
        let text = format!(
            "import ftplib, io, socket, sys
def pause():
    print('ready', flush=True)
    sys.stdin.readline()
def session():
    ftp = ftplib.FTP('{SERVER}', timeout=10)
    ftp.login('{user}', '{password}')
    return ftp
ftp = session()
{text}"
        );
        let mut command = topology.client().command("python3");
        command.arg("-c").arg(text);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.stderr(Stdio::piped()).spawn()?;
        Ok(Self { child })
    }

    /// Waits until it pauses.
    ///
    /// # Errors
    /// It ended instead: what it said.
    pub fn wait_ready(&mut self) -> Outcome {
        let stdout = self.child.stdout.as_mut().ok_or("no standard output")?;
        let mut line = String::new();
        BufReader::with_capacity(1, stdout).read_line(&mut line)?;
        if line == "ready\n" {
            Ok(())
        } else {
            Err(self.error().into())
        }
    }

    /// Whether it pauses, or ends, within this time.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn pauses_within(&self, time: Duration) -> Result<bool, Box<dyn Error>> {
        let stdout = self.child.stdout.as_ref().ok_or("no standard output")?;
        Ok(readable(stdout, time)?)
    }

    /// Lets it go on behind its pause.
    ///
    /// # Errors
    /// It has ended.
    pub fn go_on(&mut self) -> Outcome {
        let stdin = self.child.stdin.as_mut().ok_or("no standard input")?;
        Ok(stdin.write_all(b"\n")?)
    }

    fn error(&mut self) -> String {
        let stderr = self.child.stderr.take();
        stderr.map_or_else(String::new, |it| {
            std::io::read_to_string(it).unwrap_or_default()
        })
    }

    /// It must end with success.
    ///
    /// # Errors
    /// It failed: what it and the logger said.
    pub fn finish(mut self, topology: &Topology) -> Outcome {
        self.child.stdin = None;
        let error = self.error();
        let status = self.child.wait()?;
        if status.success() {
            return Ok(());
        }
        Err(format!("{status}: {error}\n{}", topology.logger()?.log()).into())
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
