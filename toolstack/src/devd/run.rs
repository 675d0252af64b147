// SPDX-License-Identifier: GPL-3.0-only
//! The loop of the daemon: waits for xenstore, for the kernel's interfaces, for a signal to stop.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use super::socket::SocketNews;
use super::{Daemon, LinuxPorts, Socket, own_domain};
use crate::device::netlink::LinkNews;
use crate::error::{Code, Error, Result};
use crate::store::XsClient;

/// How long after it has made its socket `ftlogger` may take to listen at it, and how often that is tried meanwhile: the one
/// is news, the other is not.
const LISTENS: Duration = Duration::from_secs(2);
const TRY_AGAIN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

/// Runs the daemon until SIGTERM or SIGINT. `socket` is where `ftlogger` listens.
pub fn run(socket: &Path) -> Result<()> {
    let (stop, stop_sender) = UnixStream::pair().map_err(|e| failed("make a socket pair", e))?;
    for signal in [SIGTERM, SIGINT] {
        let sender = stop_sender
            .try_clone()
            .map_err(|e| failed("make a socket pair", e))?;
        pipe::register(signal, sender).map_err(|e| failed("catch signals", e))?;
    }
    let store = XsClient::open()?;
    // Subscribed before the first look: an interface that comes later makes news.
    let news = LinkNews::subscribe()?;
    let socket_news = SocketNews::subscribe(socket)?;
    let mut made: Option<Instant> = None;
    let ports = LinuxPorts::open()?;
    let mut daemon = Daemon::start(&store, ports, Socket(socket.to_owned()))?;
    loop {
        daemon.settle()?;
        let mut fds = [
            PollFd::new(&store, PollFlags::IN),
            PollFd::new(&news, PollFlags::IN),
            PollFd::new(&socket_news, PollFlags::IN),
            PollFd::new(&stop, PollFlags::IN),
        ];
        made = made.filter(|at| daemon.waits_for_logger() && at.elapsed() < LISTENS);
        match poll(&mut fds, made.map(|_| &TRY_AGAIN)) {
            Ok(0) => daemon.try_logger(),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(failed("wait for events", errno)),
        }
        let [_, links, logger, stopped] = fds.map(|fd| !fd.revents().is_empty());
        if stopped {
            return daemon.stop();
        }
        if links {
            news.take();
            daemon.on_links();
        }
        if logger && socket_news.take() {
            daemon.on_logger();
            made = Some(Instant::now());
        }
    }
}

/// Looks whether the daemon could run here, and tells what it would do.
pub fn check(socket: &Path) -> Result<String> {
    let store = XsClient::open()?;
    let domain = own_domain(&store)?;
    LinkNews::subscribe()?;
    SocketNews::subscribe(socket)?;
    let logger = match UnixStream::connect(socket) {
        Ok(_) => "answers".to_owned(),
        Err(e) => format!("does not answer yet ({e})"),
    };
    Ok(format!(
        "domain {domain}: xenstore and rtnetlink answer; ftlogger at {} {logger}",
        socket.display()
    ))
}

fn failed(op: &str, error: impl std::fmt::Display) -> Error {
    Error::new(Code::System, op, "rxl-devd", error)
}
