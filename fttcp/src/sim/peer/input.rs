// SPDX-License-Identifier: GPL-3.0-only
//! What an arriving segment changes (RFC 9293 section 3.10.7, RFC 7323, RFC 5961), and what is wrong with it.

use super::Host;
use super::tcb::{Phase, Tcb};
use crate::frame::Time;
use crate::sim::frames::Arrival;
use crate::wire::{Flags, Head, SeqNumber};

/// Least and most time after which is sent again, in microseconds.
const RTO: std::ops::RangeInclusive<u64> = 200_000..=4_000_000;

impl Tcb {
    pub(super) fn arrive(&mut self, arrival: &Arrival, host: &mut Host, now: Time) {
        let head = &arrival.head;
        self.heard = now;
        if self.phase == Phase::Calling {
            self.answered(head, host, now);
            return;
        }
        if head.flags.has(Flags::SYN) {
            self.syn_again(head, now);
            return;
        }
        if head.flags.has(Flags::RST) {
            let at = head.seq.position(self.receiver.isn, self.receiver.next);
            if at == self.receiver.next.cast_signed() {
                // Nothing ends TIME-WAIT early (RFC 1337).
                if !self.is_over() {
                    self.phase = Phase::Gone;
                    // A replacement may be asked to begin again. Who has closed and has the other end's FIN, which waits for one
                    // acknowledgement more, is done and is told nothing (RFC 9293 section 3.10.7.4, CLOSING and LAST-ACK).
                    let done = self.sender.closed
                        && self.fin_received()
                        && self.sender.una >= self.data_end();
                    if self.caller && !done {
                        host.object(self.local.socket, "the connection was reset");
                    }
                }
            } else {
                self.receiver.at_once = true;
            }
            return;
        }
        if !head.flags.has(Flags::ACK) || self.is_old(head) {
            self.receiver.at_once = true;
            return;
        }
        self.object(arrival, host);
        let next = self.receiver.next;
        let at = head.seq.position(self.receiver.isn, next);
        let fin = head.flags.has(Flags::FIN);
        let end = at + arrival.data.len() as i64 + i64::from(fin);
        if end < next.cast_signed() || at > self.receiver.right.cast_signed() {
            self.receiver.at_once = true;
            self.received_twice(at, end);
            return;
        }
        if let Some(stamps) = head.options.timestamps
            && at <= next.cast_signed()
        {
            self.receiver.recent = stamps.value;
        }
        if !self.acknowledged(head, host, now) {
            return;
        }
        if end > at {
            self.take(at, &arrival.data, fin, host, now);
        }
    }

    fn answered(&mut self, head: &Head, host: &mut Host, now: Time) {
        let flags = head.flags;
        if !flags.has(Flags::ACK) || head.ack != self.sender.isn + 1 {
            if !flags.has(Flags::RST) {
                host.object(self.local.socket, "an answer to a SYN that was not sent");
            }
            return;
        }
        if flags.has(Flags::RST) {
            host.object(self.local.socket, "the connection was refused");
            self.phase = Phase::Gone;
            return;
        }
        if !flags.has(Flags::SYN) {
            return;
        }
        let options = &head.options;
        let unasked = (options.timestamps.is_some() && !self.stamps)
            || (options.sack_permitted && !self.sack)
            || (options.window_scale.is_some() && host.spec.habits.scale.is_none());
        if unasked {
            host.object(self.local.socket, "an option that was not offered");
        }
        self.agree(head);
        self.check_echo(head, host);
        self.phase = Phase::Open;
        self.sender.timer = None;
        self.sender.rto = self.first_rto(head, host, now);
        self.receiver.at_once = true;
    }

    fn first_rto(&self, head: &Head, host: &Host, now: Time) -> u64 {
        let trip = head.options.timestamps.map(|stamps| {
            let trip = host.clock(now).wrapping_sub(stamps.echo);
            u64::from(trip).saturating_mul(1000)
        });
        let rto = trip.map_or(self.sender.rto, |trip| trip.saturating_mul(3));
        rto.clamp(*RTO.start(), *RTO.end())
    }

    fn syn_again(&mut self, head: &Head, now: Time) {
        if self.phase == Phase::Called && !head.flags.has(Flags::ACK) {
            self.sender.timer = Some(now);
            return;
        }
        self.receiver.at_once = true;
    }

    /// From before the newest (PAWS).
    fn is_old(&self, head: &Head) -> bool {
        let stamps = head.options.timestamps.filter(|_| self.stamps);
        stamps.is_some_and(|stamps| {
            stamps
                .value
                .wrapping_sub(self.receiver.recent)
                .cast_signed()
                < 0
        })
    }

    fn check_echo(&self, head: &Head, host: &mut Host) {
        let Some(stamps) = head.options.timestamps.filter(|_| self.stamps) else {
            return;
        };
        let since = stamps.echo.wrapping_sub(self.clocks.0);
        if since > self.clocks.1.wrapping_sub(self.clocks.0) {
            let (echo, (first, last)) = (stamps.echo, self.clocks);
            let what = format!("echo {echo} of a timestamp not sent ({first} to {last})");
            host.object(self.local.socket, &what);
        }
    }

    /// What no TCP may send.
    fn object(&self, arrival: &Arrival, host: &mut Host) {
        let head = &arrival.head;
        let at = self.local.socket;
        if self.stamps && head.options.timestamps.is_none() {
            host.object(at, "a segment lacks its timestamps");
        }
        self.check_echo(head, host);
        // A replacement gets the segments that the first server allowed.
        if self.caller && arrival.data.len() > self.receiver.mss {
            let what = format!("{} bytes in a segment", arrival.data.len());
            host.object(at, &what);
        }
        if !arrival.sack.is_empty() && !self.sack {
            host.object(at, "SACK blocks that were not agreed on");
        }
        for &(from, to) in &arrival.sack {
            let place = |edge: SeqNumber| edge.position(self.sender.isn, self.sender.una);
            let (from, to) = (place(from), place(to));
            // A block below the acknowledgement is a D-SACK (RFC 2883), maybe of bytes from before a replay's start.
            if from >= to || to > self.sender.max.cast_signed() {
                let max = self.sender.max;
                let what = format!("SACK block {from} to {to}, sent were {max}");
                host.object(at, &what);
            }
        }
    }

    /// Takes the acknowledgement and the window. False: the segment is not acceptable.
    fn acknowledged(&mut self, head: &Head, host: &mut Host, now: Time) -> bool {
        let sender = &mut self.sender;
        let ack = head.ack.position(sender.isn, sender.una);
        let Ok(ack) = u64::try_from(ack) else {
            return self.phase == Phase::Open;
        };
        if ack > sender.max {
            // What a dying host had sent before, somebody may have got.
            if !(host.dying && self.phase == Phase::Called) {
                let what = format!("acknowledged {ack}, sent were {}", sender.max);
                host.object(self.local.socket, &what);
            }
            self.receiver.at_once = true;
            return false;
        }
        if self.phase == Phase::Called {
            self.phase = Phase::Open;
            sender.timer = None;
            sender.rto = sender.rto.clamp(*RTO.start(), *RTO.end());
        }
        let right = ack + (u64::from(head.window) << sender.scale);
        let opened = right > sender.right;
        sender.right = sender.right.max(right);
        if ack > sender.una {
            sender.una = ack;
            sender.next = sender.next.max(ack);
            sender.duplicates = 0;
            sender.timer = None;
            sender.window += sender.mss as u64;
            if let Some(stamps) = head.options.timestamps {
                let trip = u64::from(host.clock(now).wrapping_sub(stamps.echo));
                sender.rto = trip.saturating_mul(3000).clamp(*RTO.start(), *RTO.end());
            } else {
                sender.rto = 500_000;
            }
            if ack < sender.recover {
                self.repeat_first = true;
            }
            self.forget_acknowledged();
        } else if ack == sender.una && !opened && sender.next > sender.una {
            sender.duplicates += 1;
            if sender.duplicates == 3 && sender.una >= sender.recover {
                sender.recover = sender.max;
                sender.window = (sender.window / 2).max(2 * sender.mss as u64);
                self.repeat_first = true;
            }
        }
        true
    }

    fn received_twice(&mut self, from: i64, to: i64) {
        if let (Ok(from), Ok(to)) = (u64::try_from(from), u64::try_from(to))
            && from < to
        {
            self.receiver.twice = Some((from, to));
        }
    }

    /// Takes data and FIN, as far as the window reaches.
    fn take(&mut self, at: i64, data: &[u8], fin: bool, host: &Host, now: Time) {
        let receiver = &mut self.receiver;
        let known = receiver.next.cast_signed();
        let end = at + data.len() as i64 + i64::from(fin);
        if end <= known {
            receiver.at_once = true;
            self.received_twice(at, end);
            return;
        }
        let skip = (known - at).clamp(0, data.len() as i64);
        let from = (at + skip).unsigned_abs();
        let room = receiver.right.saturating_sub(from);
        let data = &data[skip as usize..];
        let fits = &data[..data.len().min(room as usize)];
        if fin && fits.len() == data.len() {
            receiver.fin = Some(from + data.len() as u64);
        }
        if fits.is_empty() && !fin {
            receiver.at_once = true;
            self.received_twice(at, at + skip);
            return;
        }
        receiver.owed += 1;
        if from == receiver.next {
            receiver.inbox.extend_from_slice(fits);
            receiver.next += fits.len() as u64;
            receiver.at_once |= !receiver.beyond.is_empty();
            while let Some(piece) = receiver.beyond.first_entry()
                && *piece.key() <= receiver.next
            {
                let (at, bytes) = piece.remove_entry();
                let known = (receiver.next - at) as usize;
                if let Some(new) = bytes.get(known..) {
                    receiver.inbox.extend_from_slice(new);
                    receiver.next += new.len() as u64;
                }
            }
        } else if !fits.is_empty() {
            receiver.newest = from;
            receiver.at_once = true;
            let kept = receiver.beyond.entry(from).or_default();
            if kept.len() < fits.len() {
                *kept = fits.to_vec();
            }
        }
        if receiver.fin == Some(receiver.next) {
            receiver.next += 1;
            receiver.right = receiver.right.max(receiver.next);
            receiver.at_once = true;
        }
        if receiver.owed >= host.spec.habits.ack_every {
            receiver.at_once = true;
        } else if receiver.due.is_none() {
            receiver.due = Some(Time(now.0 + host.spec.habits.ack_delay_us));
        }
    }

    /// A router dropped a segment: the way is narrower. Believed only of something in flight (RFC 5927 section 4.1).
    pub(super) fn too_big(&mut self, seq: SeqNumber, mtu: u16) {
        let at = seq.position(self.sender.isn, self.sender.una);
        let flying = self.sender.una.cast_signed()..self.sender.max.cast_signed();
        let headers = if self.local.socket.is_ipv4() { 40 } else { 60 };
        let mss = usize::from(mtu).saturating_sub(headers);
        if flying.contains(&at) && mss < self.sender.mss && mss >= 64 {
            self.sender.mss = mss;
            self.sender.next = self.sender.una;
            self.sender.timer = None;
        }
    }
}
