// SPDX-License-Identifier: GPL-3.0-only
//! The orders' work. Each job runs in a thread of its own: a disk that does not answer stops neither the heartbeat nor a
//! thaw.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_settime};
use toolstack::guest::{Seed, Verb};

use crate::agent::Job;
use crate::mounts::path_of;
use xen_sys::guest_ioctl;

use crate::memory;

/// A clock that is off by less stays: a step does more harm.
const CLOCK_OFF: Duration = Duration::from_millis(100);
/// The generator's device.
const RANDOM: &str = "/dev/random";

/// Who does the work: the kernel, or a test's stand-in.
pub trait Worker: Clone + Send + 'static {
    /// Does `job` and says what came of it: `KEY=VALUE` words, or what failed.
    fn perform(&self, job: &Job) -> Result<String, String>;

    /// The mounts that can be frozen now, in the order of freezing.
    fn mounts(&self) -> Vec<String>;
}

/// The kernel that this program runs on. Clones share what is frozen.
#[derive(Clone, Debug, Default)]
pub struct Kernel {
    /// Root directories of the mounts that are frozen: held open, so that a thaw needs no path.
    held: Arc<Mutex<Vec<(String, File)>>>,
}

impl Worker for Kernel {
    fn perform(&self, job: &Job) -> Result<String, String> {
        match job {
            Job::Freeze(mounts) => self.freeze(mounts),
            Job::Thaw(also) => self.thaw(also),
            Job::Other(verb) => other(verb),
        }
    }

    fn mounts(&self) -> Vec<String> {
        // Without /proc nothing can be frozen, and the answer to the order says so.
        let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        crate::mounts::freezable(&text)
    }
}

impl Kernel {
    fn held(&self) -> MutexGuard<'_, Vec<(String, File)>> {
        // A push or a drain cannot be cut in half by a panic.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn freeze(&self, mounts: &[String]) -> Result<String, String> {
        let began = Instant::now();
        // All are opened first: below a frozen file system an open may have to wait.
        let opened: Result<Vec<_>, String> = mounts.iter().map(|mount| open(mount)).collect();
        for (mount, root) in mounts.iter().zip(opened?) {
            // Not under the lock: it waits for the disk, and a thaw must not wait for it.
            match guest_ioctl::freeze(&root) {
                Ok(()) => self.held().push((mount.clone(), root)),
                Err(error) => {
                    let undone = match self.thaw(&[]) {
                        Ok(_) => "what had been frozen is thawed".to_owned(),
                        Err(why) => why,
                    };
                    return Err(format!("{mount}: cannot be frozen: {error}; {undone}"));
                }
            }
        }
        Ok(format!(
            "frozen={} took_ms={}",
            mounts.join(","),
            began.elapsed().as_millis()
        ))
    }

    /// Thaws what is held, and `also`, the last frozen first.
    fn thaw(&self, also: &[String]) -> Result<String, String> {
        let mut held: Vec<(String, File)> = std::mem::take(&mut *self.held());
        for mount in also {
            held.push((mount.clone(), open(mount)?));
        }
        let (mut thawed, mut failed) = (0, Vec::new());
        for (mount, root) in held.into_iter().rev() {
            match guest_ioctl::thaw(&root) {
                Ok(()) => thawed += 1,
                // Not frozen (any more): somebody else has thawed it.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                Err(error) => {
                    failed.push(format!("{mount}: cannot be thawed: {error}"));
                    self.held().push((mount, root));
                }
            }
        }
        if failed.is_empty() {
            Ok(format!("thawed={thawed}"))
        } else {
            Err(failed.join("; "))
        }
    }
}

fn open(mount: &str) -> Result<File, String> {
    File::open(path_of(mount)).map_err(|e| format!("{mount}: cannot be opened: {e}"))
}

fn other(verb: &Verb) -> Result<String, String> {
    match verb {
        Verb::Flush => {
            let began = Instant::now();
            rustix::fs::sync();
            Ok(format!("took_ms={}", began.elapsed().as_millis()))
        }
        Verb::Reclaim { bytes } => memory::reclaim(*bytes),
        Verb::Reseed(Seed(bytes)) => reseed(bytes).map_err(|e| format!("{RANDOM}: {e}")),
        Verb::Clock { unix } => set_clock(*unix),
        Verb::Hints => memory::hints(),
        Verb::Quiesce { .. } | Verb::Thaw => Err("this is no work by itself".into()),
    }
}

fn reseed(seed: &[u8]) -> io::Result<String> {
    let random = File::open(RANDOM)?;
    guest_ioctl::add_entropy(&random, seed)?;
    guest_ioctl::reseed(&random)?;
    Ok(format!("bytes={}", seed.len()))
}

fn set_clock(unix: Duration) -> Result<String, String> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let (off, sign) = if now < unix {
        (unix - now, "-")
    } else {
        (now - unix, "")
    };
    let step = off > CLOCK_OFF;
    if step {
        let time = Timespec {
            tv_sec: i64::try_from(unix.as_secs()).map_err(|_| "no clock goes that far")?,
            tv_nsec: unix.subsec_nanos().into(),
        };
        clock_settime(ClockId::Realtime, time)
            .map_err(|e| format!("the clock cannot be set: {e}"))?;
    }
    let stepped = if step { "yes" } else { "no" };
    Ok(format!(
        "off_ms={sign}{} stepped={stepped}",
        off.as_millis()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_right_stays() {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let said = set_clock(unix).unwrap();
        assert!(said.ends_with(" stepped=no"), "{said}");
    }

    #[test]
    fn what_cannot_be_frozen_is_named_and_nothing_stays_frozen() {
        let kernel = Kernel::default();
        let told = kernel
            .perform(&Job::Freeze(vec!["/proc".into()]))
            .unwrap_err();
        assert!(told.starts_with("/proc: cannot be frozen: "), "{told}");
        assert_eq!(
            kernel.perform(&Job::Thaw(Vec::new())),
            Ok("thawed=0".into())
        );
        let told = kernel
            .perform(&Job::Freeze(vec!["/none".into()]))
            .unwrap_err();
        assert!(told.starts_with("/none: cannot be opened: "), "{told}");
    }
}
