// SPDX-License-Identifier: GPL-3.0-only
//! The journal's files: PATH, PATH.old while PATH only continues it, PATH.new until the first one is complete, and
//! PATH.lock, held as long as the process lives; and PATH.starts, how many processes in a row did not live long.
//!
//! Records are written with write(2): once that returns, they survive the process. Nothing waits for a disk; the
//! files belong on a tmpfs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, fstatfs};
use rustix::time::{ClockId, clock_gettime};

use super::starts::{self, Starts};
use super::{JournalError, Log, Replay, frame};
use crate::engine::Image;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Another process has it.
    #[error("journal {path} belongs to another ftlogger that runs; give this one another --journal", path = path.display())]
    InUse {
        /// The journal.
        path: PathBuf,
    },
    /// What stands in it cannot be restored.
    #[error(
        "journal {path} cannot be restored: {source}; it is kept as {kept}, and the connections in it are not protected any more; \
         its groups are, as far as they could be read",
        path = path.display(), kept = kept.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: JournalError,
        /// Where it is now.
        kept: PathBuf,
    },
    /// It seems to end whoever takes it in.
    #[error(
        "journal {path}: {most} loggers in a row ended soon after they took it in; it is kept as {kept}, and the connections in it are \
         not protected any more; its groups are", path = path.display(), most = starts::MOST, kept = kept.display()
    )]
    Deadly {
        /// The file.
        path: PathBuf,
        /// Where it is now.
        kept: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {action} journal {path}: {source}; --journal none does without", path = path.display())]
    Failed {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The files of a running logger's journal.
#[derive(Debug)]
pub struct JournalFile {
    path: PathBuf,
    lock: File,
    file: Option<File>,
    /// The first journal of this process is being written, beside what the process before has left.
    first: bool,
    failed: bool,
    failure: Option<FileError>,
}

/// File systems whose files are in memory (`TMPFS_MAGIC` and `RAMFS_MAGIC` of `linux/magic.h`).
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Only its owner may read it: it holds what clients have sent.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the files tell together; or which of them cannot be used.
fn restore(files: &[(PathBuf, Vec<u8>)]) -> Result<Image, (PathBuf, JournalError)> {
    let mut replay = Replay::new();
    for (path, bytes) in files {
        let read = replay.read(bytes);
        read.map_err(|error| (path.clone(), error))?;
    }
    let last = files.last().map(|(path, _)| path.clone());
    replay
        .finish()
        .map_err(|error| (last.unwrap_or_default(), error))
}

/// The groups that the files tell of, as far as they can be read.
fn groups(files: &[(PathBuf, Vec<u8>)]) -> Option<Image> {
    let mut replay = Replay::of_groups();
    for (_, bytes) in files {
        if replay.read(bytes).is_err() {
            break;
        }
    }
    replay
        .finish()
        .ok()
        .filter(|image| image.groups().next().is_some())
}

impl JournalFile {
    /// Takes possession of the journal at `path`, and reads what a process before has left there; `None`: nothing.
    ///
    /// What cannot be restored is put aside, as PATH.bad, and [`Self::take_failure`] tells of it: the next start would
    /// fare no better with it. So is what many starts in a row have not outlived for long. The groups in it are
    /// restored all the same: no frame passes between interfaces of which the logger knows no group.
    ///
    /// # Errors
    /// It belongs to a running process, or the file system refuses.
    pub fn open(path: &Path) -> Result<(Self, Option<Image>), FileError> {
        let failed = |action| {
            let path = path.to_owned();
            move |source| FileError::Failed {
                action,
                path,
                source,
            }
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed("make the folder of"))?;
        }
        let lock = create(&beside(path, ".lock")).map_err(failed("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| FileError::InUse {
            path: path.to_owned(),
        })?;
        let mut journal = Self {
            path: path.to_owned(),
            lock,
            file: None,
            first: true,
            failed: false,
            failure: None,
        };
        let mut files = Vec::new();
        for path in [beside(path, ".old"), path.to_owned()] {
            if let Some(bytes) = read(&path).map_err(failed("read"))? {
                files.push((path, bytes));
            }
        }
        if files.is_empty() {
            return Ok((journal, None));
        }
        if !journal.count_start().map_err(failed("count starts of"))? {
            journal.put_aside()?;
            journal.failure = Some(FileError::Deadly {
                path: path.to_owned(),
                kept: beside(path, ".bad"),
            });
            return Ok((journal, groups(&files)));
        }
        let image = match restore(&files) {
            Ok(image) => Some(image),
            Err((bad, source)) => {
                journal.put_aside()?;
                journal.failure = Some(FileError::Unusable {
                    kept: beside(&bad, ".bad"),
                    path: bad,
                    source,
                });
                groups(&files)
            }
        };
        Ok((journal, image))
    }

    /// Whether another process may take in what is there.
    fn count_start(&self) -> io::Result<bool> {
        let path = beside(&self.path, ".starts");
        let now = clock_gettime(ClockId::Boottime).tv_sec;
        let before = read(&path)?
            .and_then(|text| String::from_utf8(text).ok()?.parse::<Starts>().ok())
            .unwrap_or_default();
        let starts = before.another(now.try_into().unwrap_or_default());
        match starts {
            Some(starts) => fs::write(&path, starts.to_string())?,
            None => fs::remove_file(&path)?,
        }
        Ok(starts.is_some())
    }

    /// The process ends, and not of what it took in.
    pub fn ended_in_order(&self) {
        let _ = fs::remove_file(beside(&self.path, ".starts"));
    }

    /// Whether its files are written to a disk, which nobody waits for and which still takes time from those who write.
    #[must_use]
    pub fn is_on_disk(&self) -> bool {
        fstatfs(&self.lock).is_ok_and(|system| !IN_MEMORY.contains(&system.f_type))
    }

    /// What its files take, in KiB.
    #[must_use]
    pub fn kib(&self) -> u64 {
        let files = ["", ".old", ".new"].map(|suffix| beside(&self.path, suffix));
        let bytes = files.map(|path| fs::metadata(path).map_or(0, |file| file.len()));
        bytes.iter().sum::<u64>().div_ceil(1024)
    }

    /// Does what the engine asks for. After a failure nothing more is written, and nothing is left that would be
    /// taken for the present state.
    pub fn log(&mut self, log: Log<'_>) {
        if self.failed {
            return;
        }
        let done = match log {
            Log::Begin => self.begin(),
            Log::Records(records) => self.append(records),
            Log::Complete => self.complete(),
        };
        if let Err(source) = done {
            self.remove();
            self.failed = true;
            self.failure = Some(FileError::Failed {
                action: "write",
                path: self.path.clone(),
                source,
            });
        }
    }

    /// Why nothing is written any more, or what was found could not be restored; told once.
    pub fn take_failure(&mut self) -> Option<FileError> {
        self.failure.take()
    }

    /// Keeps what was found where no start looks for it.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn put_aside(&self) -> Result<(), FileError> {
        for suffix in [".old", ""] {
            let path = beside(&self.path, suffix);
            match fs::rename(&path, beside(&path, ".bad")) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(FileError::Failed {
                        action: "put aside",
                        path,
                        source,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Leaves nothing to restore.
    pub fn remove(&mut self) {
        self.file = None;
        for suffix in ["", ".old", ".new"] {
            let _ = fs::remove_file(beside(&self.path, suffix));
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        let path = if self.first {
            beside(&self.path, ".new")
        } else {
            fs::rename(&self.path, beside(&self.path, ".old"))?;
            self.path.clone()
        };
        let mut file = create(&path)?;
        file.write_all(&frame::header())?;
        self.file = Some(file);
        Ok(())
    }

    fn append(&mut self, records: &[u8]) -> io::Result<()> {
        self.file
            .as_mut()
            .map_or(Ok(()), |file| file.write_all(records))
    }

    fn complete(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.first) {
            fs::rename(beside(&self.path, ".new"), &self.path)?;
        }
        match fs::remove_file(beside(&self.path, ".old")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Time;
    use crate::journal::{Kind, Writer};

    /// A folder of one test's own, which goes with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("ftl-journal-{}-{name}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn tick(time: u64) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.put(Kind::Tick, &Time(time), &[]).unwrap();
        writer.bytes().to_vec()
    }

    fn taken(path: &Path) -> Option<Time> {
        let (_, image) = JournalFile::open(path).unwrap();
        image.map(|image| image.taken)
    }

    #[test]
    fn journal_is_whole_at_every_step_of_being_replaced() {
        let folder = Folder::new("steps");
        let path = folder.0.join("journal");
        let (mut journal, image) = JournalFile::open(&path).unwrap();
        assert!(image.is_none());
        let second = JournalFile::open(&path).unwrap_err().to_string();
        assert!(second.contains("runs"), "{second}");
        let steps: [(Log<'_>, Option<u64>); 6] = [
            (Log::Begin, None),
            (Log::Records(&tick(1)), None),
            (Log::Complete, Some(1)),
            (Log::Begin, Some(1)),
            (Log::Records(&tick(2)), Some(2)),
            (Log::Complete, Some(2)),
        ];
        for (step, known) in steps {
            journal.log(step);
            assert!(journal.kib() > 0);
            // As another process would find it: the lock is that of the descriptor.
            let mut replay = Replay::new();
            let mut found = false;
            for suffix in [".old", ""] {
                if let Some(bytes) = read(&beside(&path, suffix)).unwrap() {
                    found = true;
                    replay.read(&bytes).unwrap();
                }
            }
            let image = replay.finish().unwrap();
            assert_eq!(found.then_some(image.taken), known.map(Time), "{step:?}");
        }
        drop(journal);
        assert_eq!(taken(&path), Some(Time(2)));
        let (mut journal, _) = JournalFile::open(&path).unwrap();
        journal.remove();
        drop(journal);
        assert_eq!(taken(&path), None);
    }

    #[test]
    fn journal_of_which_loggers_die_is_put_aside() {
        let folder = Folder::new("deadly");
        let path = folder.0.join("journal");
        let (mut journal, _) = JournalFile::open(&path).unwrap();
        for step in [Log::Begin, Log::Records(&tick(4)), Log::Complete] {
            journal.log(step);
        }
        drop(journal);
        assert_eq!(taken(&path), Some(Time(4)));
        JournalFile::open(&path).unwrap().0.ended_in_order();
        for _ in 0..starts::MOST {
            assert_eq!(taken(&path), Some(Time(4)));
        }
        let (mut journal, image) = JournalFile::open(&path).unwrap();
        assert!(image.is_none());
        let told = journal.take_failure().unwrap().to_string();
        let bad = beside(&path, ".bad");
        assert!(told.contains(bad.to_str().unwrap()), "{told}");
        assert!(fs::read(&bad).unwrap().ends_with(&tick(4)));
        for step in [Log::Begin, Log::Records(&tick(5)), Log::Complete] {
            journal.log(step);
        }
        drop(journal);
        assert_eq!(taken(&path), Some(Time(5)));
    }

    #[test]
    fn damaged_journal_is_put_aside_and_the_next_start_is_none_the_worse() {
        let folder = Folder::new("damaged");
        fs::create_dir_all(&folder.0).unwrap();
        let path = folder.0.join("journal");
        fs::write(beside(&path, ".old"), frame::header()).unwrap();
        fs::write(&path, b"not a journal at all").unwrap();
        let (mut journal, image) = JournalFile::open(&path).unwrap();
        assert!(image.is_none());
        let told = journal.take_failure().unwrap().to_string();
        assert!(told.contains("not a journal"), "{told}");
        let bad = beside(&path, ".bad");
        assert!(told.contains(bad.to_str().unwrap()), "{told}");
        assert_eq!(fs::read(&bad).unwrap(), b"not a journal at all");
        for step in [Log::Begin, Log::Records(&tick(3)), Log::Complete] {
            journal.log(step);
        }
        assert!(journal.take_failure().is_none());
        drop(journal);
        assert_eq!(taken(&path), Some(Time(3)));
    }
}
