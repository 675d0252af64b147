// SPDX-License-Identifier: GPL-3.0-only
//! Where the bytes go: xenstored's socket, or the kernel's `/dev/xen/xenbus`.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::super::wire::{HEADER, PAYLOAD_MAX};
use crate::error::{Code, Error, Result};

/// Sockets of xenstored, in the order tried.
const SOCKETS: [&str; 2] = ["/run/xenstored/socket", "/var/run/xenstored/socket"];
/// The kernel's device, in the order tried.
const DEVICES: [&str; 2] = ["/dev/xen/xenbus", "/proc/xen/xenbus"];

/// A file to talk through.
#[derive(Debug)]
pub(super) struct Transport {
    file: OwnedFd,
    /// The kernel's device takes one whole message per write, never blocks for it, and has no `POLLOUT`. It sends the message
    /// later, out of a buffer that the next write fills again (`xenbus_dev_request_and_reply`): only one may be under way.
    device: bool,
}

/// Bytes to be written: pieces that a device must get whole.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pieces: VecDeque<Vec<u8>>,
    /// Bytes of the first piece that are written.
    done: usize,
    /// A device has a message under way.
    under_way: bool,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// An answer has come.
    pub(super) const fn answered(&mut self) {
        self.under_way = false;
    }
}

/// What ended a wait.
#[derive(Debug)]
pub(super) enum Woken {
    /// These bytes came.
    Bytes(Vec<u8>),
    /// A signal came.
    Signal,
    /// The deadline has passed, or there is room to write.
    Nothing,
}

impl Transport {
    pub(super) fn open() -> Result<Self> {
        if let Some(path) = std::env::var_os("XENSTORED_PATH") {
            let path = PathBuf::from(path);
            return Self::connect(&path)
                .map_err(|errno| unreachable_store(&path.display().to_string(), errno));
        }
        let mut worst = None;
        for path in SOCKETS.map(Path::new) {
            match Self::connect(path) {
                Ok(transport) => return Ok(transport),
                Err(errno) => note(&mut worst, path, errno),
            }
        }
        for path in DEVICES.map(Path::new) {
            let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
            match rustix::fs::open(path, flags, Mode::empty()) {
                Ok(file) => return Ok(Self { file, device: true }),
                Err(errno) => note(&mut worst, path, errno),
            }
        }
        let (path, errno) = worst.unwrap_or_else(|| (SOCKETS[0].to_owned(), Errno::NOENT));
        Err(unreachable_store(&path, errno))
    }

    fn connect(path: &Path) -> Result<Self, Errno> {
        let address = SocketAddrUnix::new(path)?;
        let file = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::net::connect(&file, &address)?;
        rustix::io::ioctl_fionbio(&file, true)?;
        Ok(Self {
            file,
            device: false,
        })
    }

    pub(super) fn socket(file: OwnedFd) -> Result<Self> {
        rustix::io::ioctl_fionbio(&file, true)
            .map_err(|errno| unreachable_store("the given socket", errno))?;
        Ok(Self {
            file,
            device: false,
        })
    }

    /// Longest message, header included. Linux's device has 4096 bytes for both (`struct xenbus_file_priv`).
    pub(super) const fn message_max(&self) -> usize {
        if self.device {
            PAYLOAD_MAX
        } else {
            HEADER + PAYLOAD_MAX
        }
    }

    /// Frames as pieces: one each for a device, one for all on a socket.
    pub(super) fn queue(&self, frames: Vec<Vec<u8>>) -> Queue {
        let pieces = if self.device || frames.is_empty() {
            frames.into()
        } else {
            VecDeque::from([frames.concat()])
        };
        Queue {
            pieces,
            ..Queue::default()
        }
    }

    /// Writes what can be written, waits for something to read (or room to write) until `deadline`, reads it.
    pub(super) fn step(
        &self,
        queue: &mut Queue,
        deadline: Option<Instant>,
    ) -> Result<Woken, String> {
        self.write(queue)?;
        let mut wanted = PollFlags::IN;
        if !queue.is_empty() && !self.device {
            wanted |= PollFlags::OUT;
        }
        let timeout = deadline.map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let mut fds = [PollFd::new(&self.file, wanted)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => return Ok(Woken::Nothing),
            Err(Errno::INTR) => return Ok(Woken::Signal),
            Ok(_) => {}
            Err(errno) => return Err(format!("poll: {errno}")),
        }
        let ready = fds[0].revents();
        if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return self.read().map(Woken::Bytes);
        }
        Ok(Woken::Nothing)
    }

    fn write(&self, queue: &mut Queue) -> Result<(), String> {
        while let Some(piece) = queue.pieces.front() {
            if self.device && queue.under_way {
                return Ok(());
            }
            match rustix::io::write(&self.file, &piece[queue.done..]) {
                Ok(count) => queue.done += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(format!("writing to it: {errno}")),
            }
            if queue.done >= piece.len() {
                queue.pieces.pop_front();
                queue.done = 0;
                queue.under_way = true;
            }
        }
        Ok(())
    }

    fn read(&self) -> Result<Vec<u8>, String> {
        let mut buffer = vec![0; 16 * 1024];
        match rustix::io::read(&self.file, &mut buffer[..]) {
            Ok(0) if !self.device => Err("it closed the connection".to_owned()),
            Ok(count) => {
                buffer.truncate(count);
                Ok(buffer)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Vec::new()),
            Err(errno) => Err(format!("reading from it: {errno}")),
        }
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Keeps the most telling failure: no right beats nobody listening beats not there.
fn note(worst: &mut Option<(String, Errno)>, path: &Path, errno: Errno) {
    let weight = |e: Errno| match e {
        Errno::ACCESS | Errno::PERM => 2,
        Errno::NOENT => 0,
        _ => 1,
    };
    if worst
        .as_ref()
        .is_none_or(|(_, old)| weight(errno) > weight(*old))
    {
        *worst = Some((path.display().to_string(), errno));
    }
}

fn unreachable_store(path: &str, errno: Errno) -> Error {
    let (code, hint) = match errno {
        Errno::ACCESS | Errno::PERM => (Code::Denied, "run this as root"),
        Errno::NOENT => (
            Code::Store,
            "this must run in a Xen domain; in the control domain, start xenstored first",
        ),
        _ => (
            Code::Store,
            "is xenstored running? (systemctl status xenstored)",
        ),
    };
    Error::new(code, "connect to xenstored", path, errno).hint(hint)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair(device: bool) -> (Transport, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        near.set_nonblocking(true).unwrap();
        let file = near.into();
        (Transport { file, device }, far)
    }

    fn arrived(far: &mut UnixStream) -> Vec<u8> {
        let mut buffer = [0; 64];
        let count = far.read(&mut buffer).unwrap_or(0);
        buffer[..count].to_vec()
    }

    #[test]
    fn device_gets_one_message_at_a_time() {
        let (transport, mut far) = pair(true);
        let mut queue = transport.queue(vec![b"first".to_vec(), b"second".to_vec()]);
        for _ in 0..2 {
            transport.step(&mut queue, Some(Instant::now())).unwrap();
        }
        assert_eq!(arrived(&mut far), b"first");
        queue.answered();
        transport.step(&mut queue, Some(Instant::now())).unwrap();
        assert_eq!(arrived(&mut far), b"second");
        assert!(queue.is_empty());
    }

    #[test]
    fn socket_gets_all_messages_at_once() {
        let (transport, mut far) = pair(false);
        let mut queue = transport.queue(vec![b"first".to_vec(), b"second".to_vec()]);
        transport.step(&mut queue, Some(Instant::now())).unwrap();
        assert_eq!(arrived(&mut far), b"firstsecond");
    }

    #[test]
    fn unreachable_socket_is_named_with_a_hint() {
        let errno = Transport::connect(Path::new("/none/such")).unwrap_err();
        let error = unreachable_store("/none/such", errno);
        assert_eq!(
            (error.code, error.object.as_str()),
            (Code::Store, "/none/such")
        );
        assert!(error.hint.is_some());
        assert_eq!(unreachable_store("/x", Errno::ACCESS).code, Code::Denied);
    }
}
