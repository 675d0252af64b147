// SPDX-License-Identifier: GPL-3.0-only
//! One connection of a scripted end. Positions are those of `crate::conn`: 0 is the first byte after the SYN, and a FIN
//! counts as one position after the last byte.

use std::collections::BTreeMap;

use super::Host;
use crate::frame::Time;
use crate::sim::app::Socket;
use crate::sim::frames::Arrival;
use crate::wire::{Address, Head, SeqNumber};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A SYN is sent.
    Calling,
    /// A SYN-ACK is sent.
    Called,
    Open,
    /// Nothing is known of it any more.
    Gone,
}

/// The sender's half.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) isn: SeqNumber,
    /// Acknowledged, to be sent next, highest that was ever sent.
    pub(super) una: u64,
    pub(super) next: u64,
    pub(super) max: u64,
    /// Right edge of the other end's window.
    pub(super) right: u64,
    /// Bytes from `kept` on: a few that are acknowledged already, the unacknowledged, the unsent.
    pub(super) bytes: Vec<u8>,
    pub(super) kept: u64,
    /// The program has closed.
    pub(super) closed: bool,
    pub(super) window: u64,
    pub(super) duplicates: u32,
    /// Until this is acknowledged, each partial acknowledgement repeats what follows it (RFC 6582).
    pub(super) recover: u64,
    pub(super) rto: u64,
    pub(super) timer: Option<Time>,
    /// Shift of the other end's window, most data that it takes in a segment.
    pub(super) scale: u8,
    pub(super) mss: usize,
}

/// The receiver's half.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) isn: SeqNumber,
    pub(super) next: u64,
    /// Right edge of the window that was offered.
    pub(super) right: u64,
    pub(super) inbox: Vec<u8>,
    pub(super) beyond: BTreeMap<u64, Vec<u8>>,
    pub(super) fin: Option<u64>,
    pub(super) scale: u8,
    /// Most data in a segment, as it was told.
    pub(super) mss: usize,
    pub(super) recent: u32,
    /// What was received twice last.
    pub(super) twice: Option<(u64, u64)>,
    /// Where the last segment beyond a gap was.
    pub(super) newest: u64,
    /// Segments since the last acknowledgement; when it is due; that it is due now.
    pub(super) owed: u32,
    pub(super) due: Option<Time>,
    pub(super) at_once: bool,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Tcb {
    pub(super) local: Address,
    pub(super) remote: Address,
    pub(super) phase: Phase,
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    /// Agreed on.
    pub(super) stamps: bool,
    pub(super) sack: bool,
    pub(super) scaled: bool,
    /// First and last value of its own clock that it sent.
    pub(super) clocks: (u32, u32),
    /// It owes a reset.
    pub(super) resets: bool,
    /// What is not acknowledged is to be repeated at once.
    pub(super) repeat_first: bool,
    /// When it will ask whether the other end is there.
    pub(super) keep_alive: Option<Time>,
    /// The other end closed first: nothing is left after the last acknowledgement.
    passive: bool,
    /// It began the connection.
    pub(super) caller: bool,
    pub(super) heard: Time,
    pub(super) capacity: usize,
}

/// Bytes of acknowledged data that are kept for retransmissions that overlap.
const MEMORY: usize = 40;

impl Tcb {
    fn new(local: Address, remote: Address, isn: SeqNumber, host: &Host, now: Time) -> Self {
        let spec = &host.spec;
        let headers = if local.socket.is_ipv4() { 40 } else { 60 };
        let mss = usize::from(spec.mtu) - headers;
        let clock = host.clock(now);
        Self {
            local,
            remote,
            phase: Phase::Calling,
            sender: Sender {
                isn,
                una: 0,
                next: 0,
                max: 0,
                right: 0,
                bytes: Vec::new(),
                kept: 0,
                closed: false,
                window: 10 * mss as u64,
                duplicates: 0,
                recover: 0,
                rto: 500_000,
                timer: Some(now),
                scale: 0,
                mss,
            },
            receiver: Receiver {
                isn: SeqNumber(0),
                next: 0,
                right: 0,
                inbox: Vec::new(),
                beyond: BTreeMap::new(),
                fin: None,
                scale: spec.habits.scale.unwrap_or(0),
                mss,
                recent: 0,
                twice: None,
                newest: 0,
                owed: 0,
                due: None,
                at_once: false,
            },
            stamps: spec.timestamps,
            sack: spec.habits.sack,
            scaled: spec.habits.scale.is_some(),
            clocks: (clock, clock),
            resets: false,
            repeat_first: false,
            keep_alive: None,
            passive: false,
            caller: true,
            heard: now,
            capacity: spec.buffer,
        }
    }

    /// Begins a connection.
    pub(super) fn call(
        local: Address,
        remote: Address,
        isn: SeqNumber,
        host: &Host,
        now: Time,
    ) -> Self {
        Self::new(local, remote, isn, host, now)
    }

    /// Answers a SYN.
    pub(super) fn called(syn: &Arrival, isn: SeqNumber, host: &Host, now: Time) -> Self {
        let mut tcb = Self::new(syn.to, syn.from, isn, host, now);
        tcb.phase = Phase::Called;
        tcb.caller = false;
        tcb.agree(&syn.head);
        tcb
    }

    /// Takes the other end's SYN.
    pub(super) fn agree(&mut self, head: &Head) {
        self.receiver.isn = head.seq;
        let options = &head.options;
        self.stamps &= options.timestamps.is_some();
        self.sack &= options.sack_permitted;
        self.receiver.recent = options.timestamps.map_or(0, |stamps| stamps.value);
        self.scaled &= options.window_scale.is_some();
        self.sender.scale = options.window_scale.filter(|_| self.scaled).unwrap_or(0);
        if !self.scaled {
            self.receiver.scale = 0;
        }
        let offered = usize::from(options.mss.unwrap_or(536));
        self.sender.mss = self.sender.mss.min(offered);
        self.sender.right = u64::from(head.window);
    }

    /// Position after everything that the program has handed over, without FIN.
    pub(super) fn data_end(&self) -> u64 {
        self.sender.kept + self.sender.bytes.len() as u64
    }

    /// Everything below `una` is acknowledged.
    pub(super) fn forget_acknowledged(&mut self) {
        let sender = &mut self.sender;
        let keep = sender.una.saturating_sub(MEMORY as u64).max(sender.kept);
        let gone = (keep - sender.kept) as usize;
        // Moving the rest costs: only when it is worth it.
        if gone > 4096 || gone >= sender.bytes.len() / 2 {
            let gone = gone.min(sender.bytes.len());
            sender.bytes.drain(..gone);
            sender.kept += gone as u64;
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    pub(super) const fn is_gone(&self) -> bool {
        matches!(self.phase, Phase::Gone)
    }

    pub(super) fn fin_acknowledged(&self) -> bool {
        self.sender.closed && self.sender.una > self.data_end()
    }

    pub(super) fn fin_received(&self) -> bool {
        self.receiver
            .fin
            .is_some_and(|fin| self.receiver.next > fin)
    }

    /// Both directions are closed.
    pub(super) fn is_over(&self) -> bool {
        self.is_gone() || (self.fin_acknowledged() && self.fin_received())
    }

    /// The end that was told of the close first forgets it when the last acknowledgement comes; the other waits
    /// (TIME-WAIT), here until the end of the run.
    pub(super) fn forget_if_over(&mut self) {
        if self.passive && self.is_over() && self.receiver.inbox.is_empty() {
            self.phase = Phase::Gone;
        }
    }

    pub(super) fn shut(&mut self) {
        if !self.sender.closed {
            self.sender.closed = true;
            self.passive = self.fin_received();
        }
    }

    pub(super) fn reset(&mut self) {
        // TIME-WAIT is the kernel's, not the program's.
        self.resets = !self.is_over();
    }
}

impl Socket for Tcb {
    fn send(&mut self, bytes: &[u8]) -> usize {
        if self.sender.closed || !self.is_open() {
            return 0;
        }
        let waiting = (self.data_end() - self.sender.una) as usize;
        let room = self.capacity.saturating_sub(waiting).min(bytes.len());
        self.sender.bytes.extend_from_slice(&bytes[..room]);
        room
    }

    fn receive(&mut self, most: usize, into: &mut Vec<u8>) {
        let inbox = &mut self.receiver.inbox;
        let len = most.min(inbox.len());
        if len == inbox.len() {
            into.append(inbox);
        } else {
            into.extend(inbox.drain(..len));
        }
    }

    fn unread(&self) -> usize {
        self.receiver.inbox.len()
    }

    fn ended(&self) -> bool {
        self.fin_received() && self.receiver.inbox.is_empty()
    }

    fn close(&mut self) {
        self.shut();
    }
}
