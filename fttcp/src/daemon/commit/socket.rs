// SPDX-License-Identifier: GPL-3.0-only
//! An agent on this host: a socket (`SOCK_SEQPACKET`) at which it is sent a number as text, and answers `NUMBER ok` or
//! `NUMBER error TEXT`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};

/// Longest answer that is understood.
const LONGEST: usize = 512;
/// An agent that is slow or gone is never waited for.
const SENDING: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// Number, and whether it was done.
pub(super) type Heard = (u64, Result<(), String>);

/// See the module's text.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    open: Option<OwnedFd>,
    /// The newest number when the agent was lost last. It is asked the same once more, and not for ever.
    lost: Option<u64>,
}

impl Socket {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self {
            path,
            open: None,
            lost: None,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn connect(&self) -> io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(&self.path)?)?;
        Ok(socket)
    }

    /// Asks; `watch` is shown a socket whose answers are to be waited for.
    pub(super) fn ask(
        &mut self,
        number: u64,
        watch: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let text = number.to_string();
        if let Some(open) = &self.open {
            match send(open, text.as_bytes(), SENDING) {
                Ok(_) => return Ok(()),
                // It waits to be read that this one has gone.
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => self.open = None,
                Err(errno) => return Err(errno.into()),
            }
        }
        let socket = self.connect()?;
        send(&socket, text.as_bytes(), SENDING)?;
        watch(socket.as_fd())?;
        self.open = Some(socket);
        Ok(())
    }

    /// Takes all that was answered. If the agent has gone, it is open no more.
    pub(super) fn hear(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        while let Some(open) = &self.open {
            let mut bytes = [0; LONGEST];
            match recv(open, &mut bytes, RecvFlags::DONTWAIT) {
                Ok((1.., length)) => {
                    let text = String::from_utf8_lossy(&bytes[..length.min(LONGEST)]);
                    heard.extend(parse(&text));
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Ok(_) | Err(_) => self.open = None,
            }
        }
        if !heard.is_empty() {
            self.lost = None;
        }
        heard
    }

    /// The agent has gone, when `newest` was the newest number. Says whether it is to be asked that again.
    pub(super) fn lose(&mut self, newest: u64) -> bool {
        self.lost.replace(newest) != Some(newest)
    }
}

/// What an answer says; what makes no sense says nothing.
fn parse(text: &str) -> Option<Heard> {
    let (number, rest) = text.trim_end().split_once(' ')?;
    let number = number.parse().ok()?;
    match rest.split_once(' ').unwrap_or((rest, "")) {
        ("ok", _) => Some((number, Ok(()))),
        ("error", why) => Some((number, Err(why.to_owned()))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_nonsense_is_none() {
        assert_eq!(parse("7 ok"), Some((7, Ok(()))));
        assert_eq!(parse("7 ok took_ms=3\n"), Some((7, Ok(()))));
        let failed = (8, Err("no space left".to_owned()));
        assert_eq!(parse("8 error no space left"), Some(failed));
        for text in ["", "7", "ok 7", "-1 ok", "7 yes", "7  ok"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
