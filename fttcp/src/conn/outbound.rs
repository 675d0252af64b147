// SPDX-License-Identifier: GPL-3.0-only
//! Connections that the server opened: FTP's active data connection, a proxy's connection to its origin (trap 35).
//!
//! Such a connection is one whose SYN came from the active server. The roles stay: `client` is the peer in the north,
//! whose bytes are logged; `server` is the service, whose bytes are recorded for comparison. Only who opens differs:
//!
//! * The server's SYN gives its half, the peer's SYN-ACK the other. A connection whose peer has not answered when the
//!   server dies is forgotten, and the peer reset: the replacement opens its own.
//! * A replacement cannot be made to open a connection; it is waited for ([`crate::recovery`], `answer`). Its SYN does
//!   not go north: the logger answers with the peer's SYN-ACK as it was (initial sequence number, MSS, window scale,
//!   SACK, timestamps), and replay, comparison and hand-over are those of any connection.
//! * The replacement may speak from another port: it is rewritten in both directions ([`Outbound::south_port`]).
//! * Which one it opens shows only when it has said something. Until then the choice is provisional, and another
//!   connection may take over what the logger has said in the peer's name: then the peer's initial sequence number and
//!   clock are not its own for the replacement, and are mapped as well ([`Connection::peer_deltas`]). If it is none of
//!   those that are known, the peer is asked then (`late`).
//! * A connection that is over may be needed again: a service that is replayed from the start asks its origin again, or
//!   opens its data connections again, and must hear the same. Its streams are kept ([`Outbound::over`]) as long as a
//!   client's connection lives that is older than its end; nothing of its retelling reaches the peer.
//!
//! One that another connection has announced ([`Outbound::linked`]) is what its announcer says, as one that the client
//! opens: there is no choice, it may go on in the middle, and when it is over, nobody is told of it again.
//!
//! Such connections are never handed to a data path's fast path: what a segment means depends on `over`, on the
//! provisional choice and on the port.

use serde::{Deserialize, Serialize};

use super::late::Told;
use super::{Connection, Context, Orphan, Path, Sent, State, Verdict, Verifier, prepare_syn};
use crate::engine::Event;
use crate::frame::Time;
use crate::wire::{Address, Flags, OptionsRepr, Segment, SegmentRepr, SeqNumber};

/// What only connections have that the server opened.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outbound {
    /// Counted in the order of opening.
    pub(crate) serial: u64,
    /// To be moved at a failover; else the peer is reset then (`re-issue`).
    pub(crate) keep: bool,
    /// Another connection has announced it: what that says, becomes of it.
    pub(crate) linked: bool,
    /// The present server's port.
    pub(crate) south_port: u16,
    /// Added to the peer's sequence numbers, and to its timestamps, for the present server.
    pub(crate) seq_delta: u32,
    pub(crate) ts_delta: u32,
    /// It ended at this time. It can only be told again to a replacement; the peer is told nothing more.
    pub(crate) over: Option<Time>,
    /// What the server was told in the name of a peer that has still to be asked.
    pub(crate) told: Option<Box<Told>>,
    /// The engine's history knows that it is over.
    #[serde(skip)]
    pub(crate) in_history: bool,
}

/// What a replacement was told in the name of one connection, for another to take over.
#[derive(Debug)]
pub(crate) struct Adopted {
    pub(crate) map: super::Mapping,
    pub(crate) south_port: u16,
    /// The peer's initial sequence number and newest timestamp, as told.
    pub(crate) isn: SeqNumber,
    pub(crate) tsval: u32,
    /// The options, as told; of timestamps only whether there are any.
    pub(crate) told: OptionsRepr,
    /// Right edge of the replacement's receive window.
    pub(crate) right: u64,
}

impl Connection {
    /// From the server's SYN. The peer will see it come from `port`.
    pub(crate) fn opened_by_server(
        group: usize,
        service: usize,
        segment: &Segment<'_>,
        port: u16,
        outbound: Outbound,
        cx: &Context<'_>,
    ) -> Self {
        let head = *segment.head();
        let layout = *segment.layout();
        let mut connection = Self::new(group, service, segment, cx);
        let mut server = layout.src;
        server.set_port(port);
        let mut path = Path::of(&segment.ethernet(), layout.dst, server);
        std::mem::swap(&mut path.client.mac, &mut path.server.mac);
        connection.path = path;
        connection.client.isn = SeqNumber(0);
        connection.client.options = OptionsRepr::default();
        connection.client.tsval = 0;
        connection.client.right = 0;
        connection.server.isn = head.seq;
        connection.server.options = head.options;
        connection.server.tsval = head.options.timestamps.map_or(0, |stamps| stamps.value);
        connection.server.right = u64::from(head.window);
        connection.intake.note(0, u64::from(head.window));
        connection.outbound = Some(Box::new(outbound));
        connection
    }

    /// A SYN of the peer: its answer to the server's, once or again.
    pub(super) fn peer_syn(&mut self, segment: &mut Segment<'_>, cx: &mut Context<'_>) -> Verdict {
        match self.state {
            State::Opening if !segment.head().flags.has(Flags::ACK) => {
                self.state = State::Established;
                self.unprotect("both ends opened it at the same time", cx);
                Verdict::Forward
            }
            State::Opening => {
                prepare_syn(segment, cx);
                let head = *segment.head();
                if head.flags.has(Flags::RST) || head.ack != self.server.isn + 1 {
                    return Verdict::Forward;
                }
                self.ecn = self.ecn.answered(head.flags);
                self.client.isn = head.seq;
                self.client.options = head.options;
                self.client.tsval = head.options.timestamps.map_or(0, |stamps| stamps.value);
                self.client.right = u64::from(head.window);
                let mss = usize::from(head.options.mss.unwrap_or(536));
                if !cx.sampled() {
                    self.sent = Sent::full(Verifier::block_for(mss.saturating_sub(12)));
                }
                let late = self.opening_late();
                self.state = State::Established;
                if late {
                    return self.answered_late(cx);
                }
                Verdict::Forward
            }
            // The server's acknowledgement was lost, and its present TCP knows nothing of this SYN-ACK.
            State::Established if self.map.is_none() => Verdict::Forward,
            State::Established | State::Recovering => {
                self.ack_client(cx);
                Verdict::Drop
            }
            State::Closed => Verdict::Forward,
            State::Orphaned => Verdict::Drop,
        }
    }

    /// The peer refused the connection.
    pub(super) fn refused(&mut self) {
        self.protected = false;
        self.state = State::Closed;
    }

    /// The server opened it, and another connection had announced it.
    pub(crate) fn is_linked(&self) -> bool {
        self.outbound.as_ref().is_some_and(|it| it.linked)
    }

    /// It is only there to be told again.
    pub(crate) fn over(&self) -> bool {
        self.outbound
            .as_ref()
            .is_some_and(|outbound| outbound.over.is_some())
    }

    /// It is over: keeps its streams if a replacement may need them. Says whether they are kept.
    pub(crate) fn retire(&mut self, cx: &Context<'_>) -> bool {
        let next = self.server.next();
        match &mut self.outbound {
            Some(outbound) if outbound.keep && !outbound.linked && self.protected => {
                outbound.over.get_or_insert(cx.now);
            }
            _ => return false,
        }
        // Nothing can be missed any more.
        self.server.una = next;
        self.client.acked = self.client.acked.max(self.stable());
        self.sent.prune(next, &cx.service.masks);
        true
    }

    /// It will not be needed again.
    pub(crate) fn leave_history(&mut self) {
        if let Some(outbound) = &mut self.outbound {
            outbound.over = None;
            outbound.keep = false;
        }
        self.recovery = None;
        if self.state == State::Recovering {
            self.state = State::Orphaned;
        }
        self.forget_streams();
    }

    /// With `re-issue`, nothing is replayed: what the peer has said need not be kept.
    pub(super) fn forget_reissued(&mut self) {
        let reissued = self
            .outbound
            .as_ref()
            .is_some_and(|outbound| !outbound.keep);
        if reissued && !self.log.has_gap() {
            self.log.clear();
            self.causes.clear();
        }
    }

    /// Its server is dead; see [`Connection::orphan`].
    pub(super) fn orphan_outbound(&mut self, cx: &mut Context<'_>) -> Orphan {
        let (ends, keep) = (
            self.ends(),
            self.outbound.as_ref().is_some_and(|it| it.keep),
        );
        let ended = self.server.fin.is_some_and(|fin| self.server.una > fin)
            && self.client.fin.is_some_and(|fin| self.stable() > fin);
        let open = matches!(self.state, State::Established | State::Recovering);
        if ended && open && !self.over() && self.retire(cx) {
            // Only the peer's FIN may have to be acknowledged yet.
            cx.counters.closed += 1;
            self.hold = None;
            self.ack_client(cx);
        }
        match self.state {
            _ if self.over() => Orphan::Retell,
            State::Opening => {
                self.take_syn_back(cx);
                Orphan::Forget
            }
            State::Established | State::Recovering if self.protected && keep => Orphan::Move,
            State::Established | State::Recovering => {
                if self.hold.take().is_some() {
                    cx.counters.swallowed_closes += 1;
                }
                self.reset_client(cx);
                if keep {
                    cx.counters.lost += 1;
                    let reason = "it was not protected when its server died";
                    cx.events.push(Event::Lost { ends, reason });
                } else {
                    cx.counters.reissued += 1;
                    cx.events.push(Event::Reissued { ends });
                }
                Orphan::Forget
            }
            State::Closed | State::Orphaned => Orphan::Forget,
        }
    }

    /// The replacement does not know this server's SYN, nor the answer to it.
    pub(super) fn take_syn_back(&self, cx: &mut Context<'_>) {
        cx.send_north(&SegmentRepr {
            src: self.path.server,
            dst: self.path.client,
            tags: self.path.tags(),
            seq: self.server.isn + 1,
            ack: SeqNumber(0),
            flags: Flags::RST,
            window: 0,
            urgent: 0,
            options: OptionsRepr::default(),
            payload: &[],
        });
    }

    /// The port from which the present server speaks.
    pub(crate) fn south_port(&self) -> u16 {
        let port = self.path.server.socket.port();
        self.outbound
            .as_ref()
            .map_or_else(|| self.south_port.unwrap_or(port), |it| it.south_port)
    }

    /// The server's end as its present incarnation has it.
    pub(crate) fn present_server(&self) -> Address {
        let mut server = self.path.server;
        server.socket.set_port(self.south_port());
        server
    }

    /// What is added to the peer's sequence numbers and timestamps for the present server.
    pub(crate) fn peer_deltas(&self) -> (u32, u32) {
        self.outbound
            .as_ref()
            .map_or((0, 0), |outbound| (outbound.seq_delta, outbound.ts_delta))
    }

    /// The client's initial sequence number as the present server knows it.
    pub(crate) fn present_client_isn(&self) -> SeqNumber {
        self.client.isn + self.peer_deltas().0
    }
}
