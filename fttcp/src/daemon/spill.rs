// SPDX-License-Identifier: GPL-3.0-only
//! The spill file: one file for all connections, in chunks of one size. It has no name, so that nothing is left of it
//! when the logger ends, however it ends.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

use super::clock::log;
use crate::engine::{Chunk, Spill, Unreadable};

/// Bytes of a chunk.
const CHUNK: usize = 64 << 10;

/// Where the spill file is, and how large it may become.
#[derive(Clone, Debug)]
pub struct SpillOptions {
    /// A directory of a file system that knows files without names (`O_TMPFILE`).
    pub directory: PathBuf,
    /// Most bytes of the file.
    pub bytes: u64,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct SpillFile {
    file: File,
    directory: PathBuf,
    /// Most chunks.
    most: u32,
    /// How many chunks the file has had at once, and which of them are free.
    high: u32,
    free: Vec<u32>,
    /// The last write failed: that is said once.
    failing: bool,
}

impl SpillFile {
    pub(super) fn open(options: &SpillOptions) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::open(&options.directory, flags, Mode::RUSR | Mode::WUSR)?;
        let most = options.bytes / CHUNK as u64;
        Ok(Self {
            file: File::from(file),
            directory: options.directory.clone(),
            most: u32::try_from(most).unwrap_or(u32::MAX),
            high: 0,
            free: Vec::new(),
            failing: false,
        })
    }

    fn say(&self, what: &str, error: &io::Error) {
        log(format_args!(
            "cannot {what} the spill file in {}: {error}",
            self.directory.display()
        ));
    }
}

const fn place(chunk: u32) -> u64 {
    chunk as u64 * CHUNK as u64
}

impl Spill for SpillFile {
    fn chunk_bytes(&self) -> usize {
        CHUNK
    }

    fn store(&mut self, bytes: &[u8]) -> Option<Chunk> {
        let chunk = match self.free.last() {
            Some(&chunk) => chunk,
            None => Some(self.high).filter(|&high| high < self.most)?,
        };
        if let Err(error) = self.file.write_all_at(bytes, place(chunk)) {
            if !self.failing {
                self.say("write", &error);
            }
            self.failing = true;
            return None;
        }
        self.failing = false;
        if self.free.pop().is_none() {
            self.high += 1;
        }
        Some(Chunk(chunk))
    }

    fn load(&mut self, chunk: Chunk, at: usize, into: &mut [u8]) -> Result<(), Unreadable> {
        let read = self.file.read_exact_at(into, place(chunk.0) + at as u64);
        read.map_err(|error| {
            self.say("read", &error);
            Unreadable
        })
    }

    fn free(&mut self, chunk: Chunk) {
        self.free.push(chunk.0);
        if self.free.len() == self.high as usize {
            // The file system has its room back. If it does not take it, the chunks are used again all the same.
            let _ = self.file.set_len(0);
            self.free = Vec::new();
            self.high = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(chunks: u64) -> SpillFile {
        let options = SpillOptions {
            directory: std::env::temp_dir(),
            bytes: chunks * CHUNK as u64,
        };
        SpillFile::open(&options).expect("a file without a name can be made")
    }

    #[test]
    fn chunks_are_read_back_and_used_again_up_to_the_bound() {
        let mut spill = open(3);
        let chunks: Vec<Chunk> = (1..=3)
            .map(|byte| spill.store(&[byte; CHUNK]).expect("there is room"))
            .collect();
        assert_eq!(spill.store(&[4; CHUNK]), None);
        spill.free(chunks[1]);
        assert_eq!(spill.store(&[5; CHUNK]), Some(chunks[1]));
        for (chunk, byte) in chunks.iter().zip([1, 5, 3]) {
            let mut bytes = [0; 100];
            spill.load(*chunk, CHUNK - 100, &mut bytes).unwrap();
            assert_eq!(bytes, [byte; 100]);
        }
        for &chunk in &chunks {
            spill.free(chunk);
        }
        assert_eq!(spill.file.metadata().unwrap().len(), 0);
        assert!(spill.store(&[6; CHUNK]).is_some());
    }

    #[test]
    fn file_that_was_cut_is_unreadable() {
        let mut spill = open(1);
        let chunk = spill.store(&[1; CHUNK]).expect("there is room");
        spill.file.set_len(10).unwrap();
        assert_eq!(spill.load(chunk, 5, &mut [0; 10]), Err(Unreadable));
        assert_eq!(spill.load(chunk, 0, &mut [0; 10]), Ok(()));
    }

    #[test]
    fn device_that_takes_nothing_stores_nothing() {
        let mut spill = open(2);
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let file = std::mem::replace(&mut spill.file, full.expect("Linux has it"));
        assert_eq!(spill.store(&[1; CHUNK]), None);
        spill.file = file;
        assert_eq!(spill.store(&[1; CHUNK]), Some(Chunk(0)));
    }
}
