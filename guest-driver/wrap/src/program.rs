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
    /// Some of `descriptors`, each in the one place where it can be: a server asks with every request.
    near: Near,
}

/// See [`Known::near`].
#[derive(Debug)]
struct Near([Option<((i32, u64), i32)>; Self::PLACES]);

impl Default for Near {
    fn default() -> Self {
        Self([None; Self::PLACES])
    }
}

impl Near {
    const PLACES: usize = 64;

    /// Pointers differ in their middle bits, descriptors in their last ones.
    #[inline]
    const fn place((_, data): (i32, u64)) -> usize {
        ((data ^ data >> 6 ^ data >> 12) % Self::PLACES as u64) as usize
    }

    #[inline]
    const fn get(&self, key: (i32, u64)) -> Option<i32> {
        match self.0[Self::place(key)] {
            Some(((epoll, data), fd)) if epoll == key.0 && data == key.1 => Some(fd),
            _ => None,
        }
    }

    const fn put(&mut self, key: (i32, u64), fd: i32) {
        self.0[Self::place(key)] = Some((key, fd));
    }

    const fn remove(&mut self, key: (i32, u64)) {
        if self.get(key).is_some() {
            self.0[Self::place(key)] = None;
        }
    }
}

impl Known {
    /// The class of `fd`, if it is known.
    #[must_use]
    #[inline]
    pub fn noted(&self, fd: i32) -> Option<Class> {
        *self.classes.get(usize::try_from(fd).ok()?)?
    }

    /// Notes the class of `fd`, which has this `st_mode`; `None`: there is none.
    pub fn class(&mut self, fd: i32, mode: Option<u32>) -> Class {
        let Some(mode) = mode else {
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
            self.near.remove((epoll, old));
        }
        self.descriptors.insert((epoll, data), fd);
        self.near.put((epoll, data), fd);
    }

    /// The descriptor that was registered with `data`.
    #[must_use]
    #[inline]
    pub fn descriptor(&self, epoll: i32, data: u64) -> Option<i32> {
        let near = self.near.get((epoll, data));
        near.or_else(|| self.far(epoll, data))
    }

    #[cold]
    fn far(&self, epoll: i32, data: u64) -> Option<i32> {
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
    fn a_class_is_known_until_the_descriptor_is_closed() {
        let mut known = Known::default();
        assert_eq!(known.noted(5), None);
        assert_eq!(known.class(5, Some(libc::S_IFSOCK)), Class::Stream);
        assert_eq!(known.noted(5), Some(Class::Stream));
        known.note(5, None);
        assert_eq!(known.noted(5), None);
        assert_eq!(known.class(5, Some(libc::S_IFREG)), Class::Plain);
        assert_eq!(known.class(6, Some(libc::S_IFCHR)), Class::Device);
        assert_eq!(known.class(7, Some(0)), Class::Device);
        assert_eq!(known.class(-1, None), Class::Plain);
        assert_eq!(known.noted(-1), None);
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

    #[test]
    fn all_descriptors_are_known_near_or_far() {
        let mut known = Known::default();
        let all = || (0..500).flat_map(|fd| [3, 4].map(|epoll| (epoll, fd)));
        let data = |fd: i32, round: u64| 0x7f00_0000 + u64::from(fd.unsigned_abs()) * 320 + round;
        for round in [0, 1] {
            for (epoll, fd) in all() {
                known.register(epoll, fd, data(fd, round));
            }
            for (epoll, fd) in all() {
                assert_eq!(known.descriptor(epoll, data(fd, round)), Some(fd));
                assert_eq!(known.descriptor(epoll, data(fd, 1 - round)), None);
            }
        }
    }
}
