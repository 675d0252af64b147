// SPDX-License-Identifier: GPL-3.0-only
//! `rxl console`: the terminal joined to the domain's console, byte for byte, until the escape character.
//!
//! xenconsoled serves the console at a pseudo-terminal. The operator's terminal is put into raw mode, so that Ctrl-C
//! goes to the guest, and put back however this ends: a guard restores it, and signals that would end the process are
//! turned into bytes in a pipe that the loop also reads.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::failure::Failure;
use super::verbs::ConsoleArgs;
use crate::domain::{self, Host};
use crate::error::{Code, Error, Result};

/// Ctrl-], as in xl and telnet.
pub(super) const ESCAPE: u8 = 0x1d;

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The operator typed the escape character, or the input is over.
    Left,
    /// The domain's end of the console is gone.
    Closed,
    /// A signal asks the process to end.
    Signal,
}

/// `^X` for Ctrl-X, or one ASCII character.
pub(super) fn parse_escape(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [b'^', letter @ (b'@'..=b'_' | b'a'..=b'z')] => Ok(letter & 0x1f),
        [byte] if byte.is_ascii() => Ok(*byte),
        _ => Err("expected ^ and a letter, as in ^A, or one ASCII character".to_owned()),
    }
}

/// `rxl console`.
pub(super) fn attach(host: &Host<'_>, args: &ConsoleArgs) -> Result<(), Failure> {
    let (id, name) = domain::resolve(host, &args.domain)?;
    let tty = open(&domain::console_tty(host, id)?)?;
    join(&tty, &name, args.escape)
}

/// Opens a console's pseudo-terminal without making it the process's own terminal.
pub(super) fn open(path: &Path) -> Result<File> {
    let flags = i32::try_from(OFlags::NOCTTY.bits()).unwrap_or(0);
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|e| {
            Error::new(
                Code::System,
                "open the console",
                path.display().to_string(),
                e,
            )
        })
}

/// Joins the standard streams to `tty`, the console of the domain called `name`.
pub(super) fn join(tty: &File, name: &str, escape: u8) -> Result<(), Failure> {
    let failed = |e: io::Error| Error::new(Code::System, "use the console", name, e);
    let (signals, told) = UnixStream::pair().map_err(failed)?;
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
        let told = told.try_clone().map_err(failed)?;
        signal_hook::low_level::pipe::register(signal, told).map_err(failed)?;
    }
    let (stdin, mut stdout) = (io::stdin(), io::stdout());
    let end = {
        let _far = Raw::enter(tty.as_fd()).map_err(failed)?;
        let _near = Raw::enter(stdin.as_fd()).map_err(failed)?;
        relay(stdin.as_fd(), &mut stdout, tty, signals.as_fd(), escape).map_err(failed)?
    };
    match end {
        End::Left => {}
        End::Closed => writeln!(io::stderr(), "\nrxl console: {name}: the domain has ended")?,
        End::Signal => {
            let error = Error::new(
                Code::Interrupted,
                "use the console",
                name,
                "told to end by a signal",
            );
            return Err(error.into());
        }
    }
    if stdin.is_terminal() {
        writeln!(stdout)?;
    }
    Ok(())
}

/// A terminal in raw mode, as long as this lives. Something that is no terminal is left alone.
struct Raw<'a> {
    fd: BorrowedFd<'a>,
    before: Option<Termios>,
}

impl<'a> Raw<'a> {
    fn enter(fd: BorrowedFd<'a>) -> io::Result<Self> {
        let before = match tcgetattr(fd) {
            Ok(before) => before,
            Err(Errno::NOTTY | Errno::INVAL) => return Ok(Self { fd, before: None }),
            Err(error) => return Err(error.into()),
        };
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(fd, OptionalActions::Now, &raw)?;
        Ok(Self {
            fd,
            before: Some(before),
        })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Nothing can be done about a terminal that is gone.
            let _ = tcsetattr(self.fd, OptionalActions::Now, before);
        }
    }
}

/// Carries bytes both ways until something ends it. Waits for input, never turns in circles.
fn relay(
    input: BorrowedFd<'_>,
    output: &mut dyn Write,
    tty: &File,
    signals: BorrowedFd<'_>,
    escape: u8,
) -> io::Result<End> {
    let mut buffer = [0; 4096];
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(tty.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(input, PollFlags::IN),
            PollFd::from_borrowed_fd(signals, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            result => result?,
        };
        let [from_tty, from_input, from_signals] = fds.map(|fd| !fd.revents().is_empty());
        if from_tty {
            let mut far = tty;
            match far.read(&mut buffer) {
                Ok(0) => return Ok(End::Closed),
                // What a pseudo-terminal says when its other end is closed.
                Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                    return Ok(End::Closed);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(count) => {
                    output.write_all(&buffer[..count])?;
                    output.flush()?;
                }
            }
        }
        if from_signals {
            return Ok(End::Signal);
        }
        if from_input {
            let count = match rustix::io::read(input, &mut buffer) {
                Err(Errno::INTR) => continue,
                result => result?,
            };
            let typed = &buffer[..count];
            let kept = typed.iter().position(|&byte| byte == escape);
            let mut far = tty;
            far.write_all(&typed[..kept.unwrap_or(count)])?;
            if kept.is_some() || count == 0 {
                return Ok(End::Left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    struct Desk {
        keyboard: UnixStream,
        guest: UnixStream,
        signal: UnixStream,
        input: UnixStream,
        signals: UnixStream,
        tty: File,
    }

    fn desk() -> Desk {
        let pair = || UnixStream::pair().unwrap();
        let ((keyboard, input), (guest, tty), (signal, signals)) = (pair(), pair(), pair());
        Desk {
            keyboard,
            guest,
            signal,
            input,
            signals,
            tty: File::from(OwnedFd::from(tty)),
        }
    }

    fn run(desk: &Desk) -> (End, Vec<u8>) {
        let mut screen = Vec::new();
        let end = relay(
            desk.input.as_fd(),
            &mut screen,
            &desk.tty,
            desk.signals.as_fd(),
            ESCAPE,
        );
        (end.unwrap(), screen)
    }

    #[test]
    fn relay_carries_both_ways_and_stops_at_escape() {
        let mut desk = desk();
        desk.guest.write_all(b"login: ").unwrap();
        desk.keyboard.write_all(b"root\r\x1dmore").unwrap();
        let (end, screen) = run(&desk);
        assert_eq!((end, screen.as_slice()), (End::Left, b"login: ".as_slice()));
        let mut typed = [0; 16];
        let count = desk.guest.read(&mut typed).unwrap();
        assert_eq!(&typed[..count], b"root\r");
    }

    #[test]
    fn relay_ends_when_domain_ends() {
        let mut desk = desk();
        desk.guest.write_all(b"bye").unwrap();
        drop(std::mem::replace(
            &mut desk.guest,
            UnixStream::pair().unwrap().0,
        ));
        assert_eq!(run(&desk), (End::Closed, b"bye".to_vec()));
    }

    #[test]
    fn relay_ends_at_signal_and_at_end_of_input() {
        let mut desk = desk();
        desk.signal.write_all(b"x").unwrap();
        assert_eq!(run(&desk).0, End::Signal);
        let mut desk = self::desk();
        drop(std::mem::replace(
            &mut desk.keyboard,
            UnixStream::pair().unwrap().0,
        ));
        assert_eq!(run(&desk).0, End::Left);
    }

    #[test]
    fn escape_forms() {
        assert_eq!(parse_escape("^]"), Ok(ESCAPE));
        assert_eq!(parse_escape("^A"), Ok(1));
        assert_eq!(parse_escape("^a"), Ok(1));
        assert_eq!(parse_escape("~"), Ok(b'~'));
        assert_eq!(parse_escape("^"), Ok(b'^'));
        for wrong in ["", "ab", "^1", "é"] {
            assert!(parse_escape(wrong).is_err(), "{wrong}");
        }
    }
}
