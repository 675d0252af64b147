// SPDX-License-Identifier: GPL-3.0-only
//! Memory for the record of a wrapped program, granted to the logger's domain.
//!
//! A program under the north side wrap (`rxl-wrap`, `RXL_WRAP=agent:PATH`) connects to a socket and is sent a descriptor of
//! memory, the **area**, into which it writes its record. The logger, in a domain of its own, copies what it needs from
//! there and writes its orders there, without mapping it; an event channel, the **bell**, tells either end that something
//! is new. One program at a time. What a program leaves stays until the next one comes, since its last frames may still be
//! on their way.
//!
//! Who lives here: `message` (program and agent), `directory` and `area` (the memory's layout), `lender` (the area of the moment
//! and its bell), `server` (the loop, in a thread of its own).

mod area;
mod directory;
mod lender;
mod message;
mod server;

use std::fs::Permissions;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen};
use toolstack::store::Store;

use crate::grants::hypervisor::Hypervisor;
use crate::grants::xen;
use crate::say;
pub(crate) use area::PAGES_MAX;
use lender::Lender;
use server::Server;

/// Programs that wait to be accepted.
const BACKLOG: i32 = 8;

/// Where programs come, and who gets their records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The socket's path.
    pub socket: PathBuf,
    /// The logger is in the domain behind this network interface.
    pub vif: u32,
}

/// The server, while it runs. It ends when this is dropped: socket, node and bell go; a program that records goes on in
/// what it has.
#[derive(Debug)]
pub struct Wrapping {
    socket: PathBuf,
    stop: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Wrapping {
    /// Starts the server with Xen's devices. They are needed, and told to be missing, when a program comes.
    ///
    /// # Errors
    /// Nothing can listen at the socket's path.
    pub fn start<S: Store + Send + 'static>(options: &Options, store: S) -> io::Result<Self> {
        Self::start_on(options, store, xen::Xen)
    }

    fn start_on<H, S>(options: &Options, store: S, hypervisor: H) -> io::Result<Self>
    where
        H: Hypervisor + Send + 'static,
        S: Store + Send + 'static,
    {
        let listener = listen_at(&options.socket)?;
        let (stop, stopped) = UnixStream::pair()?;
        let vif = options.vif;
        let work = move || {
            let mut server = Server::new(listener, Lender::new(hypervisor, store, vif));
            if let Err(error) = server.serve(&stopped) {
                say(&format!("wrap: {error}; programs are not served any more"));
            }
        };
        Ok(Self {
            socket: options.socket.clone(),
            stop,
            thread: Some(std::thread::spawn(work)),
        })
    }
}

impl Drop for Wrapping {
    fn drop(&mut self) {
        // No program comes any more to a socket that nobody serves. Somebody may have removed it already.
        let _ = std::fs::remove_file(&self.socket);
        // Only a socket that is not connected could refuse.
        let _ = self.stop.shutdown(Shutdown::Both);
        if self
            .thread
            .take()
            .map(JoinHandle::join)
            .is_some_and(|ended| ended.is_err())
        {
            say("wrap: the thread has panicked");
        }
    }
}

/// Listens at `path`, in place of an agent that was killed.
pub(crate) fn listen_at(path: &Path) -> io::Result<OwnedFd> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    bind(&listener, &SocketAddrUnix::new(path)?)?;
    // Whoever connects takes the only place there is. Before anybody can: nobody listens yet.
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listen(&listener, BACKLOG)?;
    Ok(listener)
}

#[cfg(test)]
mod tests;
