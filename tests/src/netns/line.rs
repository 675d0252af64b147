// SPDX-License-Identifier: GPL-3.0-only
//! A bad line between two namespaces: frames are delayed, lost, overtaken by others, and doubled, by a seeded chance.
//!
//! This stands in for netem, which not every kernel has. [`Delay`] decides about frames and knows no clock or
//! interface; a thread in a namespace of its own takes frames from one interface to the other.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fttcp::datapath::DataPath;
use fttcp::frame::{Offload, Output, PortId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::PipeFlags;

use super::random::Random;
use super::space::{Space, join};

/// What a line does to frames, in each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// Frames lost, of a thousand.
    pub loss: u64,
    /// Frames that come late, so that others overtake them, of a thousand.
    pub late: u64,
    /// How much later those come.
    pub late_by: Duration,
    /// Frames that come twice, of a thousand.
    pub twice: u64,
    /// The way's length.
    pub delay: Duration,
    /// Frames that go in at the first end come out at the second with this VLAN tag, and without it on the way back.
    pub tag: Option<u16>,
    /// What the chances come from.
    pub seed: u64,
}

impl Fault {
    /// Loses `percent` of the frames and lets 2 % be overtaken, on a line of 1 ms.
    #[must_use]
    pub fn of_percent(percent: u64, seed: u64) -> Self {
        Self {
            loss: percent * 10,
            late: 20,
            late_by: Duration::from_millis(2),
            twice: 5,
            delay: Duration::from_millis(1),
            tag: None,
            seed,
        }
    }
}

/// Puts a VLAN tag (IEEE 802.1Q) into a frame.
fn put_tag(frame: &mut Vec<u8>, offload: &mut Offload, tag: u16) {
    let [high, low] = tag.to_be_bytes();
    frame.splice(12..12, [0x81, 0, high, low]);
    if let Some(partial) = &mut offload.partial_checksum {
        partial.start += 4;
    }
}

/// Takes it out; false: it is not there.
fn take_tag(frame: &mut Vec<u8>, offload: &mut Offload, tag: u16) -> bool {
    let [high, low] = tag.to_be_bytes();
    if frame.get(12..16) != Some(&[0x81, 0, high, low]) {
        return false;
    }
    frame.drain(12..16);
    if let Some(partial) = &mut offload.partial_checksum {
        partial.start -= 4;
    }
    true
}

/// What a line has done, both directions together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Frames that came.
    pub came: u64,
    /// Of these, lost.
    pub lost: u64,
    /// Of these, made late.
    pub late: u64,
    /// Of these, doubled.
    pub twice: u64,
}

/// The frames on their way in one direction.
#[derive(Debug)]
pub struct Delay<T> {
    fault: Fault,
    random: Random,
    waiting: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    frames: Vec<Option<T>>,
    free: Vec<usize>,
    done: Done,
}

impl<T: Clone> Delay<T> {
    /// An empty line.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            random: Random::new(fault.seed),
            waiting: BinaryHeap::new(),
            frames: Vec::new(),
            free: Vec::new(),
            done: Done::default(),
        }
    }

    /// A frame comes.
    pub fn push(&mut self, now: Instant, frame: T) {
        self.done.came += 1;
        if self.hit(self.fault.loss) {
            self.done.lost += 1;
            return;
        }
        let mut due = now + self.fault.delay;
        if self.hit(self.fault.late) {
            self.done.late += 1;
            due += self.fault.late_by;
        }
        if self.hit(self.fault.twice) {
            self.done.twice += 1;
            self.wait(due, frame.clone());
        }
        self.wait(due, frame);
    }

    fn hit(&mut self, chance: u64) -> bool {
        self.random.below(1000) < chance
    }

    fn wait(&mut self, due: Instant, frame: T) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.frames.push(None);
            self.frames.len() - 1
        });
        self.frames[slot] = Some(frame);
        // Frames that are due at the same time leave in the order in which they came.
        let order = self.done.came;
        self.waiting.push(Reverse((due, order, slot)));
    }

    /// The next frame that has arrived by `now`.
    pub fn pop(&mut self, now: Instant) -> Option<T> {
        let &Reverse((due, _, slot)) = self.waiting.peek()?;
        if due > now {
            return None;
        }
        self.waiting.pop();
        self.free.push(slot);
        self.frames[slot].take()
    }

    /// When the next frame arrives.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.waiting.peek().map(|&Reverse((due, ..))| due)
    }

    /// What was done to frames so far.
    #[must_use]
    pub const fn done(&self) -> Done {
        self.done
    }
}

#[derive(Debug, Default)]
struct Counts {
    came: AtomicU64,
    lost: AtomicU64,
    late: AtomicU64,
    twice: AtomicU64,
}

/// A line at work.
#[derive(Debug)]
pub struct Line {
    counts: Arc<Counts>,
    // Dropped first: the worker ends when its pipe is closed.
    alive: Option<OwnedFd>,
    worker: Option<JoinHandle<Result<Result<(), String>, String>>>,
    _space: Space,
}

impl Line {
    /// Joins two namespaces by a line; both ends are interfaces of the given names.
    ///
    /// # Errors
    /// What could not be made.
    pub fn between(a: (&Space, &str), b: (&Space, &str), fault: &Fault) -> Result<Self, String> {
        let space = Space::new("line")?;
        join(a, (&space, "near"))?;
        join((&space, "far"), b)?;
        for interface in ["near", "far"] {
            space.ip(&["link", "set", interface, "mtu", "9000"])?;
        }
        let (end, alive) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
            .map_err(|error| format!("no pipe: {error}"))?;
        let counts = Arc::new(Counts::default());
        let (theirs, fault) = (Arc::clone(&counts), *fault);
        let (ready, is_ready) = mpsc::channel();
        let worker = space.spawn(move || carry(&end, fault, &theirs, &ready))?;
        is_ready
            .recv()
            .map_err(|_| "the line did not start".to_owned())?;
        Ok(Self {
            counts,
            alive: Some(alive),
            worker: Some(worker),
            _space: space,
        })
    }

    /// What it has done so far.
    #[must_use]
    pub fn done(&self) -> Done {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Done {
            came: read(&self.counts.came),
            lost: read(&self.counts.lost),
            late: read(&self.counts.late),
            twice: read(&self.counts.twice),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.alive = None;
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

type Frame = (Vec<u8>, Offload);

fn carry(
    end: &OwnedFd,
    fault: Fault,
    counts: &Counts,
    ready: &mpsc::Sender<()>,
) -> Result<(), String> {
    let mut path = DataPath::new().map_err(|error| error.to_string())?;
    let mut open = |name| path.open(name).map_err(|error| error.to_string());
    let ports: [PortId; 2] = [open("near")?, open("far")?];
    let other = Fault {
        seed: !fault.seed,
        ..fault
    };
    let mut ways: [Delay<Frame>; 2] = [Delay::new(fault), Delay::new(other)];
    let _ = ready.send(());
    loop {
        let due = ways.iter().filter_map(Delay::due).min();
        let patience = due.map(|due| due.saturating_duration_since(Instant::now()));
        let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
        {
            let [Some(near), Some(far)] = ports.map(|port| path.descriptor(port)) else {
                return Err("an interface of the line was closed".to_owned());
            };
            let mut fds = [
                PollFd::new(&near, PollFlags::IN),
                PollFd::new(&far, PollFlags::IN),
                PollFd::new(end, PollFlags::IN),
            ];
            poll(&mut fds, patience.as_ref()).map_err(|error| error.to_string())?;
            if !fds[2].revents().is_empty() {
                return Ok(());
            }
        }
        for (from, way) in ways.iter_mut().enumerate() {
            path.receive(ports[from], |frame, mut offload, _| {
                let mut frame = frame.to_vec();
                let passes = match (fault.tag, from) {
                    (None, _) => true,
                    (Some(tag), 0) => {
                        put_tag(&mut frame, &mut offload, tag);
                        true
                    }
                    (Some(tag), _) => take_tag(&mut frame, &mut offload, tag),
                };
                if passes {
                    way.push(Instant::now(), (frame, offload));
                }
            });
            let now = Instant::now();
            while let Some((frame, offload)) = way.pop(now) {
                path.ports().transmit(ports[1 - from], &frame, &offload);
            }
        }
        let sum = |part: fn(Done) -> u64| ways.iter().map(|way| part(way.done())).sum();
        counts.came.store(sum(|done| done.came), Ordering::Relaxed);
        counts.lost.store(sum(|done| done.lost), Ordering::Relaxed);
        counts.late.store(sum(|done| done.late), Ordering::Relaxed);
        counts
            .twice
            .store(sum(|done| done.twice), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(fault: Fault, frames: u64) -> (Vec<u64>, Done) {
        let mut line = Delay::new(fault);
        let start = Instant::now();
        let mut out = Vec::new();
        for frame in 0..frames {
            let now = start + Duration::from_micros(100 * frame);
            line.push(now, frame);
            while let Some(frame) = line.pop(now) {
                out.push(frame);
            }
        }
        while let Some(due) = line.due() {
            out.extend(line.pop(due));
        }
        (out, line.done())
    }

    #[test]
    fn line_without_faults_keeps_every_frame_and_their_order() {
        let fault = Fault {
            delay: Duration::from_millis(1),
            ..Fault::default()
        };
        let (out, done) = through(fault, 1000);
        assert!(out.iter().copied().eq(0..1000));
        assert_eq!((done.came, done.lost, done.late), (1000, 0, 0));
    }

    #[test]
    fn faults_come_as_often_as_they_should_and_again_with_the_same_seed() {
        let fault = Fault::of_percent(5, 7);
        let (out, done) = through(fault, 10_000);
        assert!((400..600).contains(&done.lost), "{done:?}");
        assert!((120..280).contains(&done.late), "{done:?}");
        assert_eq!(out.len() as u64, 10_000 - done.lost + done.twice);
        let overtaken = out.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!(overtaken as u64 >= done.late / 2, "{overtaken}");
        assert_eq!(through(fault, 10_000), (out, done));
    }

    #[test]
    fn tag_is_taken_out_as_it_was_put_in_and_a_frame_without_it_does_not_pass() {
        let partial = fttcp::frame::PartialChecksum {
            start: 34,
            offset: 16,
        };
        let plain = Offload {
            partial_checksum: Some(partial),
            ..Offload::default()
        };
        let (mut frame, mut offload) = ((0..60).collect::<Vec<u8>>(), plain);
        put_tag(&mut frame, &mut offload, 77);
        assert_eq!(frame[11..17], [11, 0x81, 0, 0, 77, 12]);
        assert_eq!(offload.partial_checksum.unwrap().start, 38);
        assert!(!take_tag(&mut frame, &mut offload, 78));
        assert!(take_tag(&mut frame, &mut offload, 77));
        assert!(frame.iter().copied().eq(0..60));
        assert_eq!(offload, plain);
    }

    #[test]
    fn nothing_arrives_before_its_time() {
        let mut line = Delay::new(Fault {
            delay: Duration::from_millis(5),
            ..Fault::default()
        });
        let start = Instant::now();
        line.push(start, 1);
        assert_eq!(line.pop(start + Duration::from_millis(4)), None);
        assert_eq!(line.due(), Some(start + Duration::from_millis(5)));
        assert_eq!(line.pop(start + Duration::from_millis(5)), Some(1));
    }
}
