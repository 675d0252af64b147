// SPDX-License-Identifier: GPL-3.0-only
//! A socket (`SOCK_SEQPACKET`) at which a logger on this host asks with a number as text, and hears `NUMBER ok` or
//! `NUMBER error TEXT`. For services in containers and namespaces, which have no domain of their own.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};

use super::flush;
use crate::jobs::Worker;

/// A logger that is slow or gone is never waited for.
const SENDING: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// Who asks, and the newest number for which nothing was done yet.
struct Logger {
    socket: OwnedFd,
    wanted: Option<u64>,
    gone: bool,
}

impl Logger {
    /// Takes all that was asked.
    fn hear(&mut self) {
        loop {
            let mut bytes = [0; 32];
            match recv(&self.socket, &mut bytes, RecvFlags::DONTWAIT) {
                Ok((length @ 1.., _)) => {
                    let text = std::str::from_utf8(&bytes[..length]).unwrap_or_default();
                    match text.trim().parse() {
                        Ok(number) => self.wanted = self.wanted.max(Some(number)),
                        // It does not speak as a logger does.
                        Err(_) => self.gone = true,
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Ok(_) | Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
    }

    fn answer(&mut self, done: &Result<String, String>) {
        let Some(number) = self.wanted.take() else {
            return;
        };
        let text = match done {
            Ok(how) => format!("{number} ok {how}"),
            Err(why) => format!("{number} error {why}"),
        };
        self.gone |= send(&self.socket, text.as_bytes(), SENDING).is_err();
    }
}

/// Serves all who come to `listener`, which does not block, until `stop` can be read.
///
/// # Errors
/// The socket does not work any more.
pub(crate) fn serve(listener: &OwnedFd, stop: impl AsFd, worker: &impl Worker) -> io::Result<()> {
    let mut loggers: Vec<Logger> = Vec::new();
    loop {
        let mut fds = vec![
            PollFd::new(&stop, PollFlags::IN),
            PollFd::new(listener, PollFlags::IN),
        ];
        fds.extend(
            loggers
                .iter()
                .map(|it| PollFd::new(&it.socket, PollFlags::IN)),
        );
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if !fds[0].revents().is_empty() {
            return Ok(());
        }
        drop(fds);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match accept_with(listener, flags) {
            Ok(socket) => loggers.push(Logger {
                socket,
                wanted: None,
                gone: false,
            }),
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => {}
            Err(errno) => return Err(errno.into()),
        }
        loggers.iter_mut().for_each(Logger::hear);
        if loggers.iter().any(|it| it.wanted.is_some()) {
            let done = flush(worker);
            loggers.iter_mut().for_each(|it| it.answer(&done));
        }
        loggers.retain(|it| !it.gone);
    }
}
