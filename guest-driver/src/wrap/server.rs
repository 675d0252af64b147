// SPDX-License-Identifier: GPL-3.0-only
//! The loop: waits for programs at the socket, for the one that is wrapped, for the bell, and for the end.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, accept_with,
    recv, send, sendmsg, sockopt,
};
use toolstack::store::Store;

use super::lender::Lender;
use super::message::{LENGTH, Message, Outbox, refusal};
use crate::grants::hypervisor::Hypervisor;
use crate::say;

/// A socket that is slow or gone is never waited for.
const SENDING: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// The server.
pub(super) struct Server<H: Hypervisor, S: Store> {
    listener: OwnedFd,
    lender: Lender<H, S>,
    program: Option<Program>,
}

/// The program that is wrapped.
#[derive(Debug)]
struct Program {
    socket: OwnedFd,
    outbox: Outbox,
    /// For people.
    name: String,
}

impl<H: Hypervisor, S: Store> Server<H, S> {
    /// A server of nobody yet. `listener` does not block.
    pub(super) const fn new(listener: OwnedFd, lender: Lender<H, S>) -> Self {
        Self {
            listener,
            lender,
            program: None,
        }
    }

    /// Serves until `stop` can be read.
    ///
    /// # Errors
    /// The socket or the bell does not work any more.
    pub(super) fn serve(&mut self, stop: impl AsFd) -> io::Result<()> {
        while !self.wait(stop.as_fd())? {
            if let Some(size) = self.lender.hear()?
                && let Some(program) = &mut self.program
            {
                program.outbox.tell(size);
            }
            // Before the next one is let in: the last one may have gone in order to be followed by it.
            self.listen_to_program()?;
            self.let_in()?;
            self.talk_to_program();
        }
        Ok(())
    }

    /// Waits for something to do. Returns whether it is the end.
    fn wait(&self, stop: BorrowedFd<'_>) -> io::Result<bool> {
        let mut fds = vec![
            PollFd::from_borrowed_fd(stop, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        if let Some(bell) = self.lender.bell() {
            fds.push(PollFd::from_borrowed_fd(bell, PollFlags::IN));
        }
        if let Some(program) = &self.program {
            let unsent = program
                .outbox
                .first()
                .map_or(PollFlags::empty(), |_| PollFlags::OUT);
            fds.push(PollFd::new(&program.socket, PollFlags::IN | unsent));
        }
        match poll(&mut fds, None) {
            Ok(_) => Ok(!fds[0].revents().is_empty()),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes all that the program has said.
    fn listen_to_program(&mut self) -> io::Result<()> {
        while let Some(program) = &mut self.program {
            // One byte more than a message has: what is longer is none.
            let mut bytes = [0; LENGTH + 1];
            let length = match recv(&program.socket, &mut bytes, RecvFlags::DONTWAIT) {
                Ok((length, _)) => length,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                // It has gone without having read all that it was told.
                Err(_) => 0,
            };
            match Message::decode(&bytes[..length]) {
                Some(Message::Grow(wanted)) => program.outbox.answer(self.lender.grow(wanted)?),
                _ if length == 0 => self.part("has gone"),
                _ => self.part("does not speak as a wrapped program does"),
            }
        }
        Ok(())
    }

    /// The program is no longer served; what it has left stays.
    fn part(&mut self, why: &str) {
        if let Some(program) = self.program.take() {
            say(&format!("wrap: {} {why}", program.name));
        }
    }

    /// Accepts programs: one gets an area, others are refused.
    fn let_in(&mut self) -> io::Result<()> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        loop {
            match accept_with(&self.listener, flags) {
                Ok(socket) => self.welcome(socket),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn welcome(&mut self, socket: OwnedFd) {
        let name = sockopt::socket_peercred(&socket).map_or_else(
            |_| "a program".to_owned(),
            |who| format!("process {}", who.pid.as_raw_nonzero()),
        );
        let ready = match &self.program {
            Some(other) => Err(format!("{} is wrapped already; one at a time", other.name)),
            None => self.lender.lend(),
        };
        let sent = match ready {
            Ok((area, size)) => {
                say(&format!("wrap: {name} has come"));
                greet(&socket, area, size)
            }
            Err(why) => {
                say(&format!("wrap: {name} is refused: {why}"));
                // It may have gone already, and then needs no reason.
                let _ = refuse(&socket, &why);
                return;
            }
        };
        self.program = Some(Program {
            socket,
            outbox: Outbox::default(),
            name,
        });
        if sent.is_err() {
            self.part("has gone");
        }
    }

    /// Sends what the program is to know, as far as its socket takes it.
    fn talk_to_program(&mut self) {
        while let Some(program) = &mut self.program
            && let Some(message) = program.outbox.first()
        {
            match send(&program.socket, &message.encode(), SENDING) {
                Ok(_) => program.outbox.sent(),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => self.part("has gone"),
            }
        }
    }
}

/// Sends the area's descriptor and size.
fn greet(socket: &OwnedFd, area: BorrowedFd<'_>, size: u64) -> rustix::io::Result<()> {
    let descriptors = [area];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    rights.push(SendAncillaryMessage::ScmRights(&descriptors));
    let hello = Message::Hello(size).encode();
    sendmsg(socket, &[IoSlice::new(&hello)], &mut rights, SENDING).map(drop)
}

/// Sends why there is no area.
fn refuse(socket: &OwnedFd, why: &str) -> rustix::io::Result<()> {
    send(socket, &Message::Refused.encode(), SENDING)?;
    send(socket, refusal(why), SENDING).map(drop)
}
