// SPDX-License-Identifier: GPL-3.0-only
//! News of `ftlogger`'s start: its socket is made anew each time.

use std::ffi::OsString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};

use crate::error::{Code, Error, Result};

/// A subscription, for who polls.
#[derive(Debug)]
pub(super) struct SocketNews {
    inotify: OwnedFd,
    /// The socket's name in its folder.
    name: OsString,
}

impl SocketNews {
    /// Subscribes to the folder of `socket`, which need not be there yet itself.
    pub(super) fn subscribe(socket: &Path) -> Result<Self> {
        let failed = |cause: &dyn std::fmt::Display| {
            let object = socket.display().to_string();
            Error::new(Code::System, "watch for ftlogger's socket", object, cause)
                .hint("give --socket a path in a folder that exists")
        };
        let name = socket
            .file_name()
            .ok_or_else(|| failed(&"it is no path of a file"))?
            .to_owned();
        let folder = match socket.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let open = || {
            let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            inotify::add_watch(
                &inotify,
                folder,
                WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR,
            )?;
            rustix::io::Result::Ok(inotify)
        };
        let inotify = open().map_err(|errno| failed(&errno))?;
        Ok(Self { inotify, name })
    }

    /// Takes all news that have come; whether the socket has been made since the last time.
    pub(super) fn take(&self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        let mut made = false;
        // An error is "no more".
        while let Ok(event) = reader.next() {
            let name = event.file_name().map(std::ffi::CStr::to_bytes);
            // No name: news were lost, of whatever.
            made |= name.is_none_or(|name| name == self.name.as_bytes());
        }
        made
    }
}

impl AsFd for SocketNews {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn socket_that_is_made_is_news_and_other_files_are_not() {
        let folder = std::env::temp_dir().join(format!("rxl-devd-news-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("ftlogger.sock");
        let news = SocketNews::subscribe(&path).unwrap();
        assert!(!news.take());
        std::fs::write(folder.join("journal"), "").unwrap();
        assert!(!news.take());
        for _ in 0..2 {
            drop(UnixListener::bind(&path).unwrap());
            assert!(news.take());
            assert!(!news.take());
            std::fs::remove_file(&path).unwrap();
        }
        std::fs::remove_dir_all(&folder).unwrap();
        let error = SocketNews::subscribe(&path).unwrap_err().to_string();
        assert!(error.contains("--socket"), "{error}");
    }
}
