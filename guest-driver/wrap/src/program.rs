// SPDX-License-Identifier: GPL-3.0-only
//! What is known of the program: what its descriptors are, and what it registered with epoll.

use std::collections::BTreeMap;

/// What becomes of reads from a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A file or folder: it is there in the replay too, and is not recorded.
    Plain,
    /// A socket or pipe: lengths are recorded, the bytes come again.
    Stream,
    /// A connection that a client opened: as a stream, but what was heard may be kept too.
    Connection,
    /// A device, timer, counter: its bytes are recorded.
    Device,
}

/// Descriptors and epoll registrations.
#[derive(Debug, Default)]
pub struct Known {
    classes: Vec<Option<Class>>,
    /// What the program gave for a descriptor: `epoll_event.data` differs from run to run when it is a pointer.
    data: BTreeMap<(i32, i32), u64>,
    descriptors: BTreeMap<(i32, u64), i32>,
}

impl Known {
    /// The class of `fd`; `mode` gives its `st_mode` if it is not known yet.
    pub fn class(&mut self, fd: i32, mode: impl FnOnce() -> Option<u32>) -> Class {
        let Ok(index) = usize::try_from(fd) else {
            return Class::Plain;
        };
        if let Some(Some(class)) = self.classes.get(index) {
            return *class;
        }
        let Some(mode) = mode() else {
            return Class::Plain;
        };
        let class = match mode & libc::S_IFMT {
            libc::S_IFSOCK | libc::S_IFIFO => Class::Stream,
            libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK => Class::Plain,
            _ => Class::Device,
        };
        self.note(fd, Some(class));
        class
    }

    /// `fd` is now of this class; `None`: closed, or something else.
    pub fn note(&mut self, fd: i32, class: Option<Class>) {
        let Ok(index) = usize::try_from(fd) else {
            return;
        };
        if index >= self.classes.len() {
            self.classes.resize(index + 1, None);
        }
        self.classes[index] = class;
    }

    /// `fd` was registered at `epoll` with `data`.
    pub fn register(&mut self, epoll: i32, fd: i32, data: u64) {
        if let Some(old) = self.data.insert((epoll, fd), data)
            && self.descriptors.get(&(epoll, old)) == Some(&fd)
        {
            self.descriptors.remove(&(epoll, old));
        }
        self.descriptors.insert((epoll, data), fd);
    }

    /// The descriptor that was registered with `data`.
    #[must_use]
    pub fn descriptor(&self, epoll: i32, data: u64) -> Option<i32> {
        self.descriptors.get(&(epoll, data)).copied()
    }

    /// What `fd` was registered with.
    #[must_use]
    pub fn data(&self, epoll: i32, fd: i32) -> Option<u64> {
        self.data.get(&(epoll, fd)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_looked_up_once_until_the_descriptor_is_closed() {
        let mut known = Known::default();
        assert_eq!(known.class(5, || Some(libc::S_IFSOCK)), Class::Stream);
        assert_eq!(
            known.class(5, || panic!("it was known already")),
            Class::Stream
        );
        known.note(5, None);
        assert_eq!(known.class(5, || Some(libc::S_IFREG)), Class::Plain);
        assert_eq!(known.class(6, || Some(libc::S_IFCHR)), Class::Device);
        assert_eq!(known.class(7, || Some(0)), Class::Device);
        assert_eq!(known.class(-1, || None), Class::Plain);
    }

    #[test]
    fn a_pointer_that_is_used_again_belongs_to_the_last_descriptor() {
        let mut known = Known::default();
        known.register(3, 7, 0xaaaa);
        known.register(3, 8, 0xbbbb);
        assert_eq!(known.descriptor(3, 0xaaaa), Some(7));
        // 7 was closed, its memory serves 8 now.
        known.register(3, 8, 0xaaaa);
        assert_eq!(
            (known.descriptor(3, 0xaaaa), known.data(3, 8)),
            (Some(8), Some(0xaaaa))
        );
        assert_eq!(known.descriptor(3, 0xbbbb), None);
        known.register(3, 7, 0xcccc);
        assert_eq!(known.descriptor(3, 0xaaaa), Some(8));
    }
}
