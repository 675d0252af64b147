// SPDX-License-Identifier: GPL-3.0-only
//! What a scripted end sends when.

use super::Host;
use super::tcb::{Phase, Tcb};
use crate::frame::Time;
use crate::sim::frames::Out;
use crate::wire::{Flags, SeqNumber};

/// Longest time after which is sent again, in microseconds.
const MAX_RTO: u64 = 4_000_000;

impl Tcb {
    /// Sends everything that may be sent now.
    pub(super) fn output(&mut self, host: &mut Host, now: Time) {
        if self.resets {
            self.emit(
                Flags::RST.with(Flags::ACK),
                self.sender.next,
                &[],
                host,
                now,
            );
            self.phase = Phase::Gone;
        }
        let due = self.sender.timer.is_some_and(|timer| timer <= now);
        match self.phase {
            Phase::Calling | Phase::Called if due => self.send_syn(host, now),
            Phase::Calling | Phase::Called | Phase::Gone => {}
            Phase::Open => {
                if due {
                    self.time_out(host, now);
                }
                self.send_data(host, now);
                self.keep_alive(host, now);
                self.acknowledge(host, now);
            }
        }
    }

    fn send_syn(&mut self, host: &mut Host, now: Time) {
        let flags = if self.phase == Phase::Called {
            Flags::SYN.with(Flags::ACK)
        } else {
            Flags::SYN
        };
        let mut options = vec![2, 4];
        options.extend((self.receiver.mss as u16).to_be_bytes());
        if self.scaled {
            options.extend([1, 3, 3, self.receiver.scale]);
        }
        if self.sack {
            options.extend([1, 1, 4, 2]);
        }
        self.stamp(&mut options, host, now);
        let window = self.capacity.min(host.spec.habits.window).min(65_535);
        self.receiver.right = self.receiver.right.max(window as u64);
        let ack = if self.phase == Phase::Called {
            self.receiver.isn + 1
        } else {
            SeqNumber(0)
        };
        let out = Out {
            src: self.local,
            dst: self.remote,
            seq: self.sender.isn,
            ack,
            flags,
            window: window as u16,
            urgent: None,
            options: &options,
            data: &[],
        };
        host.outgoing.push_back(out.frame());
        self.sender.timer = Some(Time(now.0 + self.sender.rto));
        self.sender.rto = (self.sender.rto * 2).min(MAX_RTO);
    }

    fn stamp(&mut self, options: &mut Vec<u8>, host: &Host, now: Time) {
        if self.stamps {
            self.clocks.1 = host.clock(now);
            options.extend([1, 1, 8, 10]);
            options.extend(self.clocks.1.to_be_bytes());
            options.extend(self.receiver.recent.to_be_bytes());
        }
    }

    /// Most data in the next segment.
    fn room(&self, host: &mut Host) -> usize {
        let habits = &host.spec.habits;
        let stamps = if self.stamps { 12 } else { 0 };
        let most = (self.sender.mss - stamps).min(habits.segment).max(1);
        if habits.ragged > 0 && host.rng.permille(habits.ragged) {
            1 + host.rng.below(most as u64) as usize
        } else {
            most
        }
    }

    fn send_data(&mut self, host: &mut Host, now: Time) {
        if std::mem::take(&mut self.repeat_first) {
            self.repeat(host, now);
        }
        let end = self.data_end();
        let edge = self.sender.right.min(self.sender.una + self.sender.window);
        while self.sender.next < end.min(edge) {
            let at = self.sender.next;
            let len = self.room(host).min((end.min(edge) - at) as usize);
            let to = at + len as u64;
            let last = to == end && self.sender.closed && host.rng.permille(700);
            let flags = Flags::ACK.with(if to == end {
                Flags::PSH
            } else {
                Flags::default()
            });
            let flags = if last { flags.with(Flags::FIN) } else { flags };
            self.send_range(at, to, flags, host, now);
            self.sender.next = to + u64::from(last);
        }
        if self.sender.closed && self.sender.next == end {
            self.emit(Flags::ACK.with(Flags::FIN), end, &[], host, now);
            self.sender.next = end + 1;
        }
        self.sender.max = self.sender.max.max(self.sender.next);
        let waiting = self.sender.next > self.sender.una || self.sender.next < end;
        if waiting && self.sender.timer.is_none() {
            self.sender.timer = Some(Time(now.0 + self.sender.rto));
        } else if !waiting {
            self.sender.timer = None;
        }
    }

    fn send_range(&mut self, at: u64, to: u64, flags: Flags, host: &mut Host, now: Time) {
        let kept = self.sender.kept;
        let data = self.sender.bytes[(at - kept) as usize..(to - kept) as usize].to_vec();
        self.emit(flags, at, &data, host, now);
    }

    /// Sends the first segment that is not acknowledged again.
    fn repeat(&mut self, host: &mut Host, now: Time) {
        let (una, end) = (self.sender.una, self.data_end());
        if una >= end {
            if self.sender.closed && una == end && self.sender.max > end {
                self.emit(Flags::ACK.with(Flags::FIN), end, &[], host, now);
            }
            return;
        }
        let to = end.min(self.sender.max).min(una + self.room(host) as u64);
        if to > una {
            let at = self.overlap(una, to, host);
            self.send_range(at, to, Flags::ACK, host, now);
        }
    }

    /// Some way back into what is acknowledged already, within the size of a segment.
    fn overlap(&self, at: u64, to: u64, host: &mut Host) -> u64 {
        if !host.rng.permille(host.spec.habits.overlap) {
            return at;
        }
        let stamps = if self.stamps { 12 } else { 0 };
        let spare = (self.sender.mss - stamps).saturating_sub((to - at) as usize);
        let back = (at - self.sender.kept).min(spare as u64);
        at - host.rng.below(back + 1)
    }

    /// The timer: goes back to what is not acknowledged, or probes a closed window.
    fn time_out(&mut self, host: &mut Host, now: Time) {
        self.sender.timer = None;
        self.sender.rto = (self.sender.rto * 2).min(MAX_RTO);
        self.sender.duplicates = 0;
        let (una, end) = (self.sender.una, self.data_end());
        if self.sender.next > una {
            self.sender.recover = self.sender.max;
            self.sender.next = una;
            self.sender.window = self.sender.mss as u64;
            if una < end && una < self.sender.right {
                self.repeat_overlapping(host, now);
            }
        } else if una < end && self.sender.right <= una {
            // As Linux does, with nothing from before the window; or with the byte that comes next.
            if host.rng.permille(500) {
                self.emit(Flags::ACK, una.wrapping_sub(1), &[], host, now);
            } else {
                self.send_range(una, una + 1, Flags::ACK, host, now);
                self.sender.max = self.sender.max.max(una + 1);
            }
        }
    }

    fn repeat_overlapping(&mut self, host: &mut Host, now: Time) {
        if host.spec.habits.overlap > 0 {
            self.repeat(host, now);
        }
    }

    fn keep_alive(&mut self, host: &mut Host, now: Time) {
        let idle = self.sender.una == self.sender.max && self.sender.next == self.data_end();
        if self.keep_alive_due(host).is_some_and(|due| due <= now) && idle && !self.sender.closed {
            self.heard = now;
            // With a byte that the other end has already, or without.
            let garbage = [0x5a; 1];
            let data = &garbage[..host.rng.below(2) as usize];
            let at = self.sender.next.wrapping_sub(1);
            self.emit(Flags::ACK, at, data, host, now);
        }
        self.keep_alive = self
            .keep_alive_due(host)
            .filter(|_| idle && !self.sender.closed);
    }

    fn keep_alive_due(&self, host: &Host) -> Option<Time> {
        let every = host.spec.habits.keep_alive_us?;
        Some(Time(self.heard.0 + every))
    }

    fn acknowledge(&mut self, host: &mut Host, now: Time) {
        let opened = self.window_edge(host).saturating_sub(self.receiver.right);
        let closed = self.receiver.right == self.receiver.next && self.receiver.fin.is_none();
        let worth = (self.capacity as u64 / 2).min(self.receiver.mss as u64);
        let due = self.receiver.due.is_some_and(|due| due <= now);
        let update = opened > 0 && (closed || opened >= worth);
        if self.receiver.at_once || due || update {
            self.emit(Flags::ACK, self.sender.next, &[], host, now);
        }
    }

    /// How far the window could reach now.
    fn window_edge(&self, host: &Host) -> u64 {
        let free = self.capacity.saturating_sub(self.receiver.inbox.len());
        let most = (65_535 << self.receiver.scale).min(host.spec.habits.window);
        self.receiver.next + free.min(most) as u64
    }

    /// The window field. Its right edge never goes back.
    fn offer(&mut self, host: &Host) -> u16 {
        let receiver = &self.receiver;
        let edge = self.window_edge(host).max(receiver.right);
        let (room, scale) = (edge - receiver.next, receiver.scale);
        let mut field = room >> scale;
        if receiver.next + (field << scale) < receiver.right {
            field += 1;
        }
        let field = field.min(65_535);
        let edge = receiver.next + (field << scale);
        self.receiver.right = receiver.right.max(edge);
        field as u16
    }

    /// The blocks beyond a gap, the newest first, after what came twice (RFC 2018 section 4, RFC 2883).
    fn sack_blocks(&mut self) -> Vec<(u64, u64)> {
        let receiver = &mut self.receiver;
        let mut blocks: Vec<(u64, u64)> = Vec::new();
        for (&at, bytes) in &receiver.beyond {
            let to = at + bytes.len() as u64;
            match blocks.last_mut() {
                Some(last) if last.1 >= at => last.1 = last.1.max(to),
                _ => blocks.push((at, to)),
            }
        }
        let newest = receiver.newest;
        blocks.sort_by_key(|&(from, to)| !(from..to).contains(&newest));
        if let Some(twice) = receiver.twice.take() {
            blocks.insert(0, twice);
        }
        blocks.truncate(if self.stamps { 3 } else { 4 });
        blocks
    }

    fn emit(&mut self, flags: Flags, at: u64, data: &[u8], host: &mut Host, now: Time) {
        let mut options = Vec::with_capacity(40);
        self.stamp(&mut options, host, now);
        if self.sack && data.is_empty() && !flags.has(Flags::RST) {
            let blocks = self.sack_blocks();
            if !blocks.is_empty() {
                options.extend([1, 1, 5, 2 + 8 * blocks.len() as u8]);
                for edge in blocks.into_iter().flat_map(|(from, to)| [from, to]) {
                    options.extend(SeqNumber::at(self.receiver.isn, edge).0.to_be_bytes());
                }
            }
        }
        let urgent = !data.is_empty() && host.rng.permille(host.spec.habits.urgent);
        let out = Out {
            src: self.local,
            dst: self.remote,
            seq: SeqNumber::at(self.sender.isn, at),
            ack: SeqNumber::at(self.receiver.isn, self.receiver.next),
            flags,
            window: self.offer(host),
            urgent: urgent.then_some(data.len() as u16),
            options: &options,
            data,
        };
        host.outgoing.push_back(out.frame());
        self.receiver.owed = 0;
        self.receiver.due = None;
        self.receiver.at_once = false;
    }

    /// When it has something to do though nothing comes.
    pub(super) fn deadline(&self) -> Option<Time> {
        let timers = [self.sender.timer, self.receiver.due, self.keep_alive];
        timers.into_iter().flatten().min()
    }
}
