// SPDX-License-Identifier: GPL-3.0-only
//! Who is asked to bring to disk what a server has written: a stand-in for its agent that answers when a test says so.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with,
    bind, listen, recv, send, socket_with,
};

/// Where such agents listen, as a group's `commit` says it.
pub const PLACE: &str = "{}.commit";
/// How long `ftlogger` may take to ask.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module's text.
#[derive(Debug)]
pub struct Disk {
    listener: OwnedFd,
    logger: Option<OwnedFd>,
}

impl Disk {
    /// Listens for the server behind `interface`, in the house's folder.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn listen(folder: &Path, interface: &str) -> Result<Self, String> {
        let path = folder.join(PLACE.replace("{}", interface));
        // A server of that name may have been there before.
        let _ = fs::remove_file(&path);
        let listener = || {
            let (unix, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
            let listener = socket_with(unix, kind, SocketFlags::CLOEXEC, None)?;
            bind(&listener, &SocketAddrUnix::new(&path)?)?;
            listen(&listener, 4)?;
            Ok::<_, rustix::io::Errno>(listener)
        };
        let listener = listener().map_err(|errno| format!("{}: {errno}", path.display()))?;
        Ok(Self {
            listener,
            logger: None,
        })
    }

    /// Waits until it is asked: the number.
    ///
    /// # Errors
    /// It is not.
    pub fn asked(&mut self) -> Result<u64, String> {
        if self.logger.is_none() {
            if !readable(&self.listener, PATIENCE)? {
                return Err("nobody came to ask for a disk".to_owned());
            }
            let came = accept_with(&self.listener, SocketFlags::CLOEXEC);
            self.logger = Some(came.map_err(|errno| errno.to_string())?);
        }
        let logger = self.logger.as_ref().ok_or("nobody is here")?;
        if !readable(logger, PATIENCE)? {
            return Err("nothing is asked of a disk".to_owned());
        }
        let mut bytes = [0; 32];
        let (length, _) =
            recv(logger, &mut bytes, RecvFlags::empty()).map_err(|errno| errno.to_string())?;
        let text = String::from_utf8_lossy(&bytes[..length]);
        text.parse().map_err(|_| format!("{text:?} is no number"))
    }

    /// It is done.
    ///
    /// # Errors
    /// Nobody hears it.
    pub fn answer(&self, number: u64) -> Result<(), String> {
        let logger = self.logger.as_ref().ok_or("nobody has asked")?;
        let text = format!("{number} ok");
        send(logger, text.as_bytes(), SendFlags::NOSIGNAL)
            .map(drop)
            .map_err(|errno| errno.to_string())
    }
}

/// Whether there is something to be read from `fd` within this time.
///
/// # Errors
/// What the kernel said.
pub fn readable(fd: impl std::os::fd::AsFd, within: Duration) -> Result<bool, String> {
    let limit = Timespec::try_from(within).map_err(|error| error.to_string())?;
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    poll(&mut fds, Some(&limit))
        .map(|count| count > 0)
        .map_err(|errno| errno.to_string())
}
