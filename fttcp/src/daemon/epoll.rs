// SPDX-License-Identifier: GPL-3.0-only
//! What the daemon waits on, each thing with the [`Token`] that names it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};

use super::server::Wants;
use crate::frame::PortId;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Signal,
    Listener,
    Links,
    Client(u32),
    /// A socket of a port.
    Port(PortId, u16),
    /// The ring of the fast path.
    Records,
    /// The agents of servers whose records are in memory that their domains grant.
    Bells,
    /// The socket of who brings a server's data to disk.
    Commit(u32),
    /// The agents that do so in other domains.
    CommitBells,
}

/// An epoll(7) instance, level-triggered. What is closed leaves it by itself.
#[derive(Debug)]
pub(super) struct Epoll {
    fd: OwnedFd,
}

/// Events taken with one system call.
const EVENTS: usize = 64;

impl Epoll {
    pub(super) fn new() -> io::Result<Self> {
        let fd = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { fd })
    }

    /// Wakes with `token` when `source` can be read.
    pub(super) fn watch(&self, source: impl AsFd, token: Token) -> io::Result<()> {
        Ok(epoll::add(&self.fd, source, token.data(), EventFlags::IN)?)
    }

    /// Wakes with `token` each time when `source` says so, whatever is left to be read.
    pub(super) fn watch_edge(&self, source: impl AsFd, token: Token) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::ET;
        Ok(epoll::add(&self.fd, source, token.data(), flags)?)
    }

    /// Wakes no more for `source`.
    pub(super) fn forget(&self, source: impl AsFd) {
        // Only what is not watched cannot be forgotten, and that is as well.
        let _ = epoll::delete(&self.fd, source);
    }

    /// Changes what a control client is waited on for.
    pub(super) fn rearm(&self, source: impl AsFd, token: Token, wants: Wants) -> io::Result<()> {
        let flags = match wants {
            Wants::Read => EventFlags::IN,
            Wants::Write => EventFlags::OUT,
            Wants::Closed => return Ok(()),
        };
        Ok(epoll::modify(&self.fd, source, token.data(), flags)?)
    }

    /// Waits until something happens or `patience` is over (`None`: for ever) and puts what happened into `tokens`.
    pub(super) fn wait(
        &self,
        tokens: &mut Vec<Token>,
        patience: Option<Duration>,
    ) -> io::Result<()> {
        let timeout = patience.and_then(|patience| Timespec::try_from(patience).ok());
        let mut events = Vec::with_capacity(EVENTS);
        match epoll::wait(&self.fd, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        tokens.extend(events.iter().map(|event| Token::of(event.data)));
        Ok(())
    }
}

impl Token {
    /// A kind in the upper half, a number in the lower one.
    fn data(self) -> EventData {
        let (kind, number) = match self {
            Self::Signal => (0, 0),
            Self::Listener => (1, 0),
            Self::Links => (2, 0),
            Self::Client(id) => (3, id),
            Self::Port(port, socket) => (4 | u64::from(socket) << 16, port.0),
            Self::Records => (5, 0),
            Self::Bells => (6, 0),
            Self::Commit(id) => (7, id),
            Self::CommitBells => (8, 0),
        };
        EventData::new_u64(u64::from(number) | kind << 32)
    }

    fn of(data: EventData) -> Self {
        let number = data.u64() as u32;
        match data.u64() >> 32 & 0xffff {
            0 => Self::Signal,
            1 => Self::Listener,
            2 => Self::Links,
            3 => Self::Client(number),
            5 => Self::Records,
            6 => Self::Bells,
            7 => Self::Commit(number),
            8 => Self::CommitBells,
            _ => Self::Port(PortId(number), (data.u64() >> 48) as u16),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_comes_back_from_its_data() {
        for token in [
            Token::Signal,
            Token::Listener,
            Token::Links,
            Token::Client(7),
            Token::Client(u32::MAX),
            Token::Port(PortId(0), 5),
            Token::Port(PortId(u32::MAX), u16::MAX),
            Token::Records,
            Token::Bells,
            Token::Commit(u32::MAX),
            Token::CommitBells,
        ] {
            assert_eq!(Token::of(token.data()), token);
        }
    }

    #[test]
    fn wait_without_events_ends_when_patience_is_over() {
        let mut tokens = Vec::new();
        let epoll = Epoll::new().unwrap();
        epoll
            .wait(&mut tokens, Some(Duration::from_micros(10)))
            .unwrap();
        assert!(tokens.is_empty());
    }
}
