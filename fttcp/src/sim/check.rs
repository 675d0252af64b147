// SPDX-License-Identifier: GPL-3.0-only
//! What must hold on the wire whatever happens: recomputed from the frames that enter and leave the logger, without
//! looking at the engine.
//!
//! * To a client: nothing is acknowledged that was not logged, the window's right edge and the timestamps never go
//!   back, no reset, no FIN before everything is said, no byte that the fault-free run would not have there, no masked
//!   value with one server's beginning and another's end, no data beyond the client's window.
//! * To a server: only to the active one, only on a connection that was begun there, only what the client has said, nothing
//!   acknowledged that no server sent.

mod answers;
mod asked;
mod logged;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::rc::Rc;

use super::truth::Truth;
use crate::frame::{Offload, PortId};
use crate::recovery::LEAST_ROOM;
use crate::wire::{Flags, Head, Segment, SeqNumber, locate};
use answers::Answers;
use asked::Asked;
use logged::Logged;

#[derive(Debug, Default)]
struct Flow {
    isn: Option<SeqNumber>,
    logged: Logged,
    fin: Option<u64>,
    /// What the server is told that the client has not said, if it was asked so.
    asked: Option<Asked>,
    /// What the client offered on its SYN, and the right edge of its window in the server's stream.
    client_scale: u8,
    client_right: u64,
    /// Everything below this the client has acknowledged.
    client_acked: u64,
    server_isn: Option<SeqNumber>,
    /// The SYN-ACKs that it was sent, each with its scale and timestamp. It takes one, and ignores all others.
    offers: Vec<(SeqNumber, Option<u8>, Option<u32>)>,
    /// It has answered one of them.
    heard: bool,
    /// What the client was sent.
    said: Logged,
    /// Position after the highest byte of it; acknowledged to it.
    sent: u64,
    acked: u64,
    scale: u8,
    right: Option<SeqNumber>,
    tsval: Option<u32>,
    /// The client was sent a SYN-ACK.
    answered: bool,
    /// The client was sent a FIN.
    ended: bool,
    /// It has been moved: segments are rewritten. Before that, the server's own windows pass, whose edge may go back
    /// by less than one step of the scale (smoltcp's does).
    moved: bool,
    /// How often the connections have been moved since.
    moves: i64,
    /// The bytes that were sent for each date, by its place; 0: not yet.
    dates: HashMap<usize, [u8; 29]>,
}

/// Which rules hold in a scenario, besides those that always do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Nothing goes backwards. Not so when the servers' links reorder: old segments pass as they are.
    pub(super) in_order: bool,
    /// Once moved, no right edge goes back, not even by rounding. Not so when windows are held.
    pub(super) exact: bool,
    /// Servers keep to the client's window. smoltcp sends a whole segment when it repeats what was cut by the window.
    pub(super) window: bool,
    /// What the servers say is what they would say without faults.
    pub(super) truth: bool,
    /// No connection ends early.
    pub(super) lasting: bool,
}

/// Watches the frames that enter and leave the logger.
#[derive(Debug)]
pub(super) struct Checker {
    truth: Rc<Truth>,
    flows: HashMap<SocketAddr, Flow>,
    rules: Rules,
    pub(super) violations: Vec<String>,
    /// Positions in dates at which what a server had said began or ended when it died, in any connection. The rest of
    /// such a date nobody knows: it comes from another server.
    pub(super) cuts: Vec<usize>,
    /// Where each connection was begun: a SYN was sent there.
    begun: HashSet<(PortId, SocketAddr)>,
    answers: Answers,
}

impl Checker {
    pub(super) fn new(truth: &Rc<Truth>, rules: Rules) -> Self {
        Self {
            truth: Rc::clone(truth),
            flows: HashMap::new(),
            rules,
            violations: Vec::new(),
            cuts: Vec::new(),
            begun: HashSet::new(),
            answers: Answers::default(),
        }
    }

    /// Every connection that is open is being moved.
    pub(super) fn failover(&mut self) {
        for flow in self.flows.values_mut() {
            flow.moved |= flow.answered;
            flow.moves += 1;
            let edges = flow.said.edges().map(|edge| edge as usize);
            let within =
                edges.filter(|&edge| edge > 0 && self.truth.dates_in(edge - 1, 2).count() > 0);
            self.cuts.extend(within);
        }
    }

    /// What the server is asked in the place of what the client said: how much of these bytes that is.
    fn asked(&mut self, client: SocketAddr, head: &Head, data: &[u8]) -> Result<usize, String> {
        let Some(flow) = self.flows.get_mut(&client) else {
            return Ok(0);
        };
        let Some(isn) = flow.isn else {
            return Ok(0);
        };
        if head.flags.has(Flags::SYN) {
            flow.asked = Asked::begin(head.seq + 1, isn, &self.truth);
        }
        match &mut flow.asked {
            Some(asked) if !data.is_empty() => asked.take((head.seq, data), isn, &self.truth),
            _ => Ok(0),
        }
    }

    fn violate(&mut self, what: String) {
        if self.violations.len() < 20 {
            self.violations.push(what);
        }
    }

    pub(super) fn sees_from_client(&mut self, frame: &mut [u8]) {
        let Ok(layout) = locate(frame) else {
            return;
        };
        let Ok(segment) = Segment::parse(frame, layout, &Offload::default()) else {
            return;
        };
        let head = *segment.head();
        let flow = self.flows.entry(layout.src).or_default();
        if head.flags.has(Flags::SYN) {
            if flow.isn != Some(head.seq) {
                *flow = Flow {
                    isn: Some(head.seq),
                    client_scale: head.options.window_scale.unwrap_or(0),
                    client_right: u64::from(head.window),
                    ..Flow::default()
                };
            }
            return;
        }
        let Some(isn) = flow.isn else {
            return;
        };
        let at = head.seq.position(isn, flow.logged.prefix());
        let end = at + segment.payload().len() as i64;
        if let Ok(end) = u64::try_from(end) {
            flow.logged.insert(at.max(0).unsigned_abs(), end);
            if head.flags.has(Flags::FIN) {
                flow.fin = Some(end);
            }
        }
        if head.flags.has(Flags::ACK) {
            flow.settle_offer(head.ack);
        }
        let ack = flow.server_isn.map(|isn| head.ack.position(isn, flow.sent));
        if let Some(Ok(ack)) = ack.map(u64::try_from)
            && head.flags.has(Flags::ACK)
        {
            let right = ack + (u64::from(head.window) << flow.client_scale);
            flow.client_right = flow.client_right.max(right);
            flow.client_acked = flow.client_acked.max(ack);
        }
    }

    pub(super) fn sees_from_server(&mut self, frame: &mut [u8], port: PortId) {
        let Ok(layout) = locate(frame) else {
            return;
        };
        if let Ok(segment) = Segment::parse(frame, layout, &Offload::default()) {
            let (head, len) = (segment.head(), segment.payload().len());
            self.answers.say(port, layout.dst, head, len);
        }
    }

    /// `passed`: the frame was not right when it came, and is passed on as it is.
    pub(super) fn sees_for_client(&mut self, frame: &mut [u8], passed: bool) {
        let Ok(layout) = locate(frame) else {
            return;
        };
        let (segment, client) = match Segment::parse(frame, layout, &Offload::default()) {
            Ok(segment) => (segment, layout.dst),
            Err(_) if passed => return,
            Err(error) => return self.violate(format!("sent a bad segment: {error}")),
        };
        let head = *segment.head();
        if !self.flows.contains_key(&client) {
            return self.violate(format!("segment to {client} from nowhere"));
        }
        let mut wrong = Vec::new();
        if let Some(flow) = self.flows.get_mut(&client)
            && let Some(isn) = flow.isn
        {
            if head.flags.has(Flags::RST) {
                // A server that has closed in the ordinary way answers late duplicates so.
                if self.rules.lasting && !(flow.ended && flow.fin.is_some()) {
                    wrong.push("was reset".to_owned());
                }
            } else {
                flow.acknowledgement(&head, isn, &mut wrong);
                flow.order(&head, self.rules, &mut wrong);
                if self.rules.truth {
                    let (data, truth) = (segment.payload(), &self.truth);
                    flow.data(&head, data, truth, self.rules.window, &mut wrong);
                }
            }
        }
        for what in wrong {
            self.violate(format!("{client}: {what}"));
        }
    }

    /// A frame for a server; `active`: the port of the one that is served.
    pub(super) fn sees_for_server(
        &mut self,
        frame: &mut [u8],
        (port, active): (PortId, PortId),
        passed: bool,
    ) {
        if port != active {
            return self.violate(format!("a frame for port {}, which is dark", port.0));
        }
        let Ok(layout) = locate(frame) else {
            return;
        };
        let client = layout.src;
        let segment = match Segment::parse(frame, layout, &Offload::default()) {
            Ok(segment) => segment,
            Err(_) if passed => return,
            Err(error) => return self.violate(format!("sent a bad segment: {error}")),
        };
        let head = *segment.head();
        let data = segment.payload();
        let made_up = match self.asked(client, &head, data) {
            Ok(made_up) => made_up,
            Err(what) => return self.violate(format!("{client}: {what}")),
        };
        if head.flags.has(Flags::SYN) {
            self.begun.insert((port, client));
        } else if self.rules.lasting
            && !head.flags.has(Flags::RST)
            && !self.begun.contains(&(port, client))
        {
            // A client may not have heard of an early end.
            let port = port.0;
            return self.violate(format!(
                "a segment from {client} for port {port}, where it was not begun"
            ));
        }
        if let Some(excess) = self.answers.excess(port, client, &head) {
            return self.violate(format!(
                "{client} acknowledges {excess} bytes that port {} did not say",
                port.0
            ));
        }
        let (seq, data) = (head.seq + made_up as u32, &data[made_up..]);
        let Some(flow) = self.flows.get(&client) else {
            return self.violate(format!("segment from {client}, which said nothing"));
        };
        let Some(isn) = flow.isn else {
            return;
        };
        let prefix = flow.logged.prefix();
        let at = seq.position(isn, prefix);
        let end = at + data.len() as i64;
        // A keep-alive may carry any byte in the place of one that is acknowledged.
        let old = data.len() <= 1 && end <= flow.acked.cast_signed();
        let skip = at.min(0).unsigned_abs() as usize;
        let at = at.max(0).unsigned_abs() as usize;
        let said = self
            .truth
            .requests
            .get(at..at + data.len() - skip.min(data.len()));
        if !old && !data.is_empty() && said != data.get(skip..) {
            let len = data.len();
            return self.violate(format!("{client} did not say the {len} bytes at {at}"));
        }
        let known = flow.logged.end().max(flow.fin.map_or(0, |fin| fin + 1));
        if !data.is_empty() && end > known.cast_signed() {
            return self.violate(format!(
                "{client} said {known} bytes, the server gets {end}"
            ));
        }
        if head.flags.has(Flags::FIN) && flow.fin.map(u64::cast_signed) != Some(end) {
            self.violate(format!(
                "FIN of {client} at {end}, its end is {:?}",
                flow.fin
            ));
        }
    }
}

impl Flow {
    fn settle_offer(&mut self, ack: SeqNumber) {
        let accepted = self.offers.iter().find(|(isn, ..)| *isn + 1 == ack);
        if let Some(&(isn, scale, stamp)) = accepted.filter(|_| !self.heard) {
            self.heard = true;
            if self.server_isn != Some(isn) {
                self.server_isn = Some(isn);
                self.tsval = stamp;
            }
            self.scale = scale.unwrap_or(0);
            if scale.is_none() {
                self.client_scale = 0;
            }
        }
    }

    fn acknowledgement(&mut self, head: &Head, isn: SeqNumber, wrong: &mut Vec<String>) {
        let stable = self.logged.prefix();
        let stable = stable + u64::from(self.fin == Some(stable));
        let acked = head.ack.position(isn, stable);
        if acked > stable.cast_signed() {
            wrong.push(format!("acknowledged {acked}, but only {stable} is logged"));
        }
        self.acked = self.acked.max(acked.max(0).unsigned_abs());
    }

    fn order(&mut self, head: &Head, rules: Rules, wrong: &mut Vec<String>) {
        let syn = head.flags.has(Flags::SYN);
        if syn {
            // Only a server that is dying may answer once more, otherwise.
            let known = self.offers.iter().any(|(isn, ..)| *isn == head.seq);
            if self.moved && !known {
                wrong.push("was sent another SYN-ACK than before".to_owned());
            }
            self.answered = true;
            if self.heard {
                return;
            }
            let scale = head.options.window_scale;
            let stamp = head.options.timestamps.map(|stamps| stamps.value);
            self.server_isn = Some(head.seq);
            self.scale = scale.unwrap_or(0);
            self.offers.push((head.seq, scale, stamp));
        }
        // What a server sends before its SYN-ACK, the client ignores.
        if !self.answered {
            return;
        }
        let scale = if syn { 0 } else { self.scale };
        let right = head.ack + (u32::from(head.window) << scale);
        let stamp = head.options.timestamps.map(|stamps| stamps.value);
        let slack = if self.moved && rules.exact {
            0
        } else {
            1 - (1 << scale)
        };
        if (rules.in_order || self.moved)
            && let Some(before) = self.right
            && !syn
            && right.ahead_of(before) < slack
        {
            let back = -right.ahead_of(before);
            wrong.push(format!("the window's right edge went back by {back}"));
        }
        if let (Some(before), Some(now)) = (self.tsval, stamp)
            && rules.in_order
            && !syn
            && now.wrapping_sub(before).cast_signed() < 0
        {
            wrong.push(format!("timestamp went back from {before} to {now}"));
        }
        if self.tsval.is_some() && stamp.is_none() {
            wrong.push("a segment lacks its timestamp".to_owned());
        }
        let further = self.right.is_none_or(|before| right.ahead_of(before) > 0);
        if !syn && further {
            self.right = Some(right);
        }
        self.tsval = stamp.or(self.tsval);
    }

    fn data(
        &mut self,
        head: &Head,
        data: &[u8],
        truth: &Truth,
        window: bool,
        wrong: &mut Vec<String>,
    ) {
        let Some(isn) = self.server_isn.filter(|_| !head.flags.has(Flags::SYN)) else {
            return;
        };
        let at = head.seq.position(isn, self.sent);
        let end = at + data.len() as i64;
        if head.flags.has(Flags::FIN) {
            self.ended = true;
            if end != truth.responses.len() as i64 {
                wrong.push(format!("the stream was ended at {end}"));
            }
        }
        // A probe asks for room with one byte; each replacement was told up to a step of the scale more, if it needed it
        // to say everything again, probes included.
        let spare = 1 + self.moves * (2 << self.client_scale);
        // One that was asked for the rest had room for a head, and may repeat what the client's window has cut since. No
        // client takes that.
        let spare = spare + self.asked.as_ref().map_or(0, |_| LEAST_ROOM as i64);
        if window && end > self.client_right.cast_signed() + spare {
            let right = self.client_right;
            wrong.push(format!("sent up to {end}, but the window ends at {right}"));
        }
        // A keep-alive may carry any byte in the place of one that is acknowledged.
        let old = data.len() == 1 && end <= self.client_acked.cast_signed();
        if data.is_empty() || old {
            return;
        }
        let skip = at.min(0).unsigned_abs() as usize;
        let (at, data) = (
            at.max(0).unsigned_abs() as usize,
            data.get(skip..).unwrap_or(&[]),
        );
        self.sent = self.sent.max(end.max(0).unsigned_abs());
        self.said.insert(at as u64, end.max(0).unsigned_abs());
        if let Some(byte) = truth.wrong_response(at, data) {
            wrong.push(format!("byte {byte} of the stream is wrong"));
        }
        for place in truth.dates_in(at, data.len()) {
            let known = self.dates.entry(place).or_insert([0; 29]);
            for (n, byte) in known.iter_mut().enumerate() {
                let Some(&got) = (place + n).checked_sub(at).and_then(|at| data.get(at)) else {
                    continue;
                };
                // What the client has, it does not take again.
                let known = ((place + n) as u64) < self.client_acked;
                if *byte != 0 && *byte != got && !known {
                    wrong.push(format!("byte {} was another before", place + n));
                }
                *byte = got;
            }
        }
    }
}
