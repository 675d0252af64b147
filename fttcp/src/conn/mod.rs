// SPDX-License-Identifier: GPL-3.0-only
//! One protected connection as a sans-IO state machine (the paper's south side wrap).
//!
//! All positions are offsets in a byte stream (0: the first byte after the SYN), in 64 bits; a FIN counts as one
//! position after the last byte. Client positions are the same on both sides of the logger. Server positions are
//! those that the client knows; [`Mapping`] tells how the present server numbers them.
//!
//! * `from_client`: what a client's segment changes; logging before forwarding.
//! * `from_server`: what a server's segment changes; hashing before forwarding; rewriting.
//! * `close`: a server's FIN and RST, which may be a crash.
//! * `icmp`: ICMP errors about its segments, and the path's MTU.
//! * `tls`: what cannot be moved because it is encrypted.
//! * `syn`: what is negotiated. `clock`: timestamps. `urgent`: where urgent data ended.
//! * `kick`: after it was moved, no end waits.
//! * `lifetime`: time-outs, the end of a connection, the death of its server.
//! * `offload`: a connection that the fast path forwards by itself.
//! * `outbound`: what differs if the server opened the connection; `client` is the peer then. `late`: if its peer is
//!   asked only after the server was answered.
//! * `farewell`: an error reply to a client whose connection cannot be moved.
//! * `emit`: segments that the logger makes itself.
//! * `planned`: its server is left while it lives.
//! * `linked`: what its plug-in is told of other connections, and tells of them.
//! * `uncommitted`: answers that wait until the server's disk has what they tell of.
//! * `window`: how much the client may send. `full`: what a connection may keep. `truncate`: what it need not keep any more.
//! * `image`: how it stands, for another process to go on with.
//! * `journaled`: what changes, for the journal.
//! * `sent`: what was sent, and whether a replacement says the same; `verify`: by a digest of every byte, `sketch`: by
//!   parts; `canon`: what does not count.
//!
//! Before any failover there is no mapping and segments pass untouched.

mod canon;
mod clock;
mod close;
mod context;
mod crowd;
mod emit;
mod farewell;
mod from_client;
mod from_server;
mod full;
mod hush;
mod icmp;
mod image;
mod intake;
mod journaled;
mod kick;
mod late;
mod lifetime;
mod linked;
mod offload;
mod outbound;
mod planned;
mod sent;
mod sketch;
mod syn;
mod tls;
mod truncate;
mod uncommitted;
mod unsaid;
mod urgent;
mod verify;
mod window;

use std::collections::VecDeque;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::engine::Ends;
use crate::frame::Time;
use crate::journal::Mark;
use crate::recovery::{Recovery, Suspect};
use crate::service::Service;
use crate::stable::{Account, StableBuffer};
use crate::wire::{Address, EthernetFrame, MacAddr, OptionsRepr, Segment, SeqNumber};

pub(crate) use canon::Masks;
pub(crate) use close::{Close, Hold};
pub(crate) use context::{Context, Desk, Progress, ProtectedService};
pub(crate) use from_client::FromClient;
pub(crate) use image::{FAR, Stored, StoredRef};
pub(crate) use intake::Intake;
pub(crate) use journaled::{SentDelta, SentMark};
pub(crate) use kick::Kick;
pub(crate) use lifetime::Orphan;
pub(crate) use linked::Withheld;
pub(crate) use outbound::{Adopted, Outbound};
pub(crate) use planned::Planned;
pub(crate) use sent::Sent;
pub(crate) use syn::{Ecn, Offer, prepare as prepare_syn};
pub(crate) use uncommitted::Uncommitted;
pub(crate) use unsaid::Unsaid;
pub(crate) use urgent::Urgent;
pub(crate) use verify::{Divergence, Verifier};

/// What becomes of the frame at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Forward,
    Drop,
    /// It is not forwarded: nothing was under way before it, and the connection is to be moved first.
    Move,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    /// The client's SYN has passed.
    Opening,
    /// The server's SYN-ACK has passed.
    Established,
    /// The server is dead, the replacement is being brought to where it was.
    Recovering,
    /// Closed in both directions, or reset; what still comes is passed on.
    Closed,
    /// Closed when its server died: the logger answers what still comes.
    Orphaned,
}

/// The hardware addresses and VLAN tags with which fabricated segments are sent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Path {
    pub(crate) client: Address,
    pub(crate) server: Address,
    tags: [u8; 8],
    tags_len: usize,
}

impl Path {
    pub(crate) fn tags(&self) -> &[u8] {
        &self.tags[..self.tags_len]
    }

    fn of(ethernet: &EthernetFrame<&[u8]>, client: SocketAddr, server: SocketAddr) -> Self {
        let end = |mac: MacAddr, socket| Address { mac, socket };
        let mut tags = [0; 8];
        let tags_len = ethernet.tags().len();
        tags[..tags_len].copy_from_slice(ethernet.tags());
        Self {
            client: end(ethernet.src(), client),
            server: end(ethernet.dst(), server),
            tags,
            tags_len,
        }
    }
}

/// The client's half.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ClientSide {
    pub(crate) isn: SeqNumber,
    pub(crate) options: OptionsRepr,
    /// Its newest timestamp.
    pub(crate) tsval: u32,
    /// Right edge of its receive window, in the server's stream; never retreats.
    pub(crate) right: u64,
    /// Where its FIN is.
    pub(crate) fin: Option<u64>,
    /// Highest position of its stream acknowledged to it.
    pub(crate) acked: u64,
    /// Position after the highest that it has sent, FIN included.
    pub(crate) next: u64,
    /// It has answered the SYN-ACK: it is there. Until then the connection is half-open.
    pub(crate) heard: bool,
}

/// The server's half, as the client knows it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ServerSide {
    pub(crate) isn: SeqNumber,
    pub(crate) options: OptionsRepr,
    /// SYN-ACKs with other sequence numbers that had passed before: until the client has answered one of them all, it is
    /// not known which it has got.
    pub(crate) offers: Vec<Offer>,
    /// The newest timestamp that the client was sent.
    pub(crate) tsval: u32,
    /// Right edge of the receive window that the client was told; never retreats.
    pub(crate) right: u64,
    /// Where the FIN is that the client was sent.
    pub(crate) fin: Option<u64>,
    /// The paper's `server_seq`: position after the last byte sent to the client.
    pub(crate) end: u64,
    /// Everything below is acknowledged by the client.
    pub(crate) una: u64,
}

impl ServerSide {
    /// Position after everything sent to the client, FIN included.
    pub(crate) fn next(&self) -> u64 {
        self.end + u64::from(self.fin.is_some())
    }
}

/// How the present server, a replacement, numbers things.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Mapping {
    /// Its initial sequence number, if it had said the stream from its beginning.
    pub(crate) isn: SeqNumber,
    /// The position at which it began.
    pub(crate) first: u64,
    /// So many bytes went before that, of which the client must not know: the head of an answer that is taken up.
    pub(crate) lead: u32,
    /// What its SYN-ACK offered.
    pub(crate) options: OptionsRepr,
    /// Added to its timestamps for the client.
    pub(crate) ts_delta: u32,
    /// Its first timestamp; a client's echo of a dead server's clock is raised to it.
    pub(crate) ts_first: u32,
    /// Its newest timestamp.
    pub(crate) ts_last: u32,
    /// Position after the highest that it has sent, FIN included.
    pub(crate) next: u64,
}

/// One connection.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Connection {
    pub(crate) group: usize,
    pub(crate) service: usize,
    /// The number of its server in the group.
    pub(crate) server_number: u32,
    /// If its server is or was left while it lives.
    pub(crate) planned: Planned,
    /// A planned move failed: it goes back, at once.
    #[serde(skip)]
    pub(crate) goes_back: bool,
    pub(crate) state: State,
    /// Logged and hashed, so that it can be moved.
    pub(crate) protected: bool,
    pub(crate) path: Path,
    pub(crate) client: ClientSide,
    pub(crate) server: ServerSide,
    /// In images and the journal apart from the rest, as all that may be large.
    #[serde(skip)]
    pub(crate) log: StableBuffer,
    /// From this client position on, the client had seen (acknowledged) this much of the server's stream: a replay
    /// keeps to the same order of cause and effect.
    #[serde(skip)]
    pub(crate) causes: VecDeque<(u64, u64)>,
    pub(crate) urgent: Urgent,
    #[serde(skip, default = "Sent::sampled")]
    pub(crate) sent: Sent,
    /// Where a replay of the server's stream begins; that of the client's begins with the log.
    pub(crate) replay_from: u64,
    pub(crate) ecn: Ecn,
    #[serde(with = "crate::service::stored")]
    pub(crate) plugin: Option<Box<dyn Service>>,
    pub(crate) map: Option<Mapping>,
    /// An attempt: begun again when an image is taken in.
    #[serde(skip)]
    pub(crate) recovery: Option<Box<Recovery>>,
    pub(crate) hold: Option<Hold>,
    /// The client is told no window beyond this.
    pub(crate) window_limit: u64,
    /// It was last told less than the server's window.
    pub(crate) window_held: bool,
    pub(crate) failovers: u32,
    /// Least MTU that a router towards the client has named.
    pub(crate) path_mtu: Option<u16>,
    /// Least MTU that was named on the way to a replacement while the logger fed it.
    pub(crate) server_mtu: Option<u16>,
    /// If the server opened it.
    pub(crate) outbound: Option<Box<Outbound>>,
    /// The present server's port, if the client opened it and it is another than the client knows.
    pub(crate) south_port: Option<u16>,
    /// Its present server believes that the client has closed, too.
    pub(crate) left: bool,
    /// Its client may lack something of the connection that its plug-in has announced.
    #[serde(skip)]
    pub(crate) linked_unfinished: bool,
    #[serde(skip)]
    pub(crate) withheld: Option<Box<Withheld>>,
    /// What a durable service has said and its client must not hear yet. Who takes an image in hears it again.
    #[serde(skip)]
    pub(crate) uncommitted: Option<Box<Uncommitted>>,
    /// A close is not told before this time: who is to explain it waits for a disk.
    #[serde(skip)]
    pub(crate) kept_open: Time,
    /// When it was seen first.
    pub(crate) opened: Time,
    /// What a replacement would be told of it was said after this time; nothing earlier, if it was cut.
    pub(crate) since: Time,
    /// When the SYN-ACK passed; `None` once it is answered, or when it was repeated.
    #[serde(skip)]
    pub(crate) answered: Option<Time>,
    /// The client's first round trip, in microseconds; 0: not known.
    pub(crate) round_trip_us: u32,
    pub(crate) kick: Option<Kick>,
    /// The request that its servers may have died of.
    pub(crate) suspect: Option<Box<Suspect>>,
    /// The last words, if it could not be moved.
    pub(crate) farewell: Option<Box<farewell::Farewell>>,
    #[serde(skip)]
    pub(crate) active: Time,
    /// What of it is in the journal.
    #[serde(skip)]
    pub(crate) mark: Mark,
    /// Its part of the memory that all connections share; kept by the table.
    #[serde(skip)]
    pub(crate) account: Account,
    /// Tells records of this connection from those of an earlier one in the same slot.
    pub(crate) generation: u32,
    /// The fast path has it.
    pub(crate) offloaded: bool,
    /// How many segments must pass before the fast path may have it.
    pub(crate) calm: u8,
    /// How many segments the fast path had forwarded when it was last asked.
    pub(crate) packets: u32,
    /// Whether its client is made to be quiet until the fast path has it.
    #[serde(skip)]
    hush: hush::Hush,
    /// What of the client's words the present server's program has read.
    #[serde(skip)]
    pub(crate) intake: Intake,
    /// When the table will look at this connection next; kept by the table.
    #[serde(skip)]
    pub(crate) wake: Option<Time>,
}

impl Connection {
    /// From the client's SYN.
    pub(crate) fn new(
        group: usize,
        service: usize,
        segment: &Segment<'_>,
        cx: &Context<'_>,
    ) -> Self {
        let head = segment.head();
        let layout = segment.layout();
        let mss = usize::from(head.options.mss.unwrap_or(536));
        let plugin = Some(cx.service.make.make());
        let sees_all = plugin.as_ref().is_some_and(|plugin| plugin.sees_all());
        let mut sent = if cx.sampled() || sees_all {
            Sent::sampled()
        } else {
            // Room for the timestamps option in the smallest segment.
            Sent::full(Verifier::block_for(mss.saturating_sub(12)))
        };
        // The server may speak first.
        sent.capture(plugin.as_ref().map_or(0, |plugin| plugin.capture()));
        Self {
            group,
            service,
            server_number: 0,
            planned: Planned::No,
            goes_back: false,
            state: State::Opening,
            protected: true,
            path: Path::of(&segment.ethernet(), layout.src, layout.dst),
            client: ClientSide {
                isn: head.seq,
                options: head.options,
                tsval: head.options.timestamps.map_or(0, |stamps| stamps.value),
                right: u64::from(head.window),
                fin: None,
                acked: 0,
                next: 0,
                heard: false,
            },
            server: ServerSide {
                isn: SeqNumber(0),
                options: OptionsRepr::default(),
                offers: Vec::new(),
                tsval: 0,
                right: 0,
                fin: None,
                end: 0,
                una: 0,
            },
            log: StableBuffer::default(),
            causes: VecDeque::new(),
            urgent: Urgent::default(),
            ecn: Ecn::of_syn(head.flags),
            sent,
            replay_from: 0,
            plugin,
            map: None,
            recovery: None,
            hold: None,
            window_limit: u64::MAX,
            window_held: false,
            failovers: 0,
            path_mtu: None,
            server_mtu: None,
            outbound: None,
            south_port: None,
            left: false,
            linked_unfinished: false,
            withheld: None,
            uncommitted: None,
            kept_open: Time(0),
            opened: cx.now,
            since: cx.now,
            answered: None,
            round_trip_us: 0,
            kick: None,
            suspect: None,
            farewell: None,
            active: cx.now,
            mark: Mark::default(),
            account: Account::default(),
            generation: 0,
            offloaded: false,
            calm: offload::AT_FIRST,
            hush: hush::Hush::default(),
            intake: Intake::default(),
            packets: 0,
            wake: None,
        }
    }

    /// A connection that is only passed on: its beginning was not seen, or it is signed.
    pub(crate) fn unknown(
        group: usize,
        service: usize,
        segment: &Segment<'_>,
        cx: &Context<'_>,
    ) -> Self {
        let mut connection = Self::new(group, service, segment, cx);
        connection.state = State::Established;
        connection.protected = false;
        connection.plugin = None;
        connection
    }

    pub(crate) const fn ends(&self) -> Ends {
        Ends {
            client: self.path.client.socket,
            server: self.path.server.socket,
        }
    }

    /// Both ends offered window scaling.
    pub(crate) const fn scaled(&self) -> bool {
        self.client.options.window_scale.is_some() && self.server.options.window_scale.is_some()
    }

    /// The scale of windows that the client announces.
    pub(crate) fn client_scale(&self) -> u8 {
        self.client
            .options
            .window_scale
            .filter(|_| self.scaled())
            .unwrap_or(0)
    }

    /// The scale by which the present server reads windows: none if it has not agreed to scaling.
    pub(crate) fn scale_for_present(&self) -> u8 {
        let refused = self
            .map
            .is_some_and(|map| map.options.window_scale.is_none());
        if refused { 0 } else { self.client_scale() }
    }

    /// The scale by which the client reads windows.
    pub(crate) fn server_scale(&self) -> u8 {
        self.server
            .options
            .window_scale
            .filter(|_| self.scaled())
            .unwrap_or(0)
    }

    /// The scale of windows that the present server announces.
    pub(crate) fn present_scale(&self) -> u8 {
        self.map.map_or_else(
            || self.server_scale(),
            |map| {
                map.options
                    .window_scale
                    .filter(|_| self.scaled())
                    .unwrap_or(0)
            },
        )
    }

    /// The initial sequence number of the present server.
    pub(crate) fn present_isn(&self) -> SeqNumber {
        self.map.map_or(self.server.isn, |map| map.isn)
    }

    /// What is added to the present server's sequence numbers for the client (the paper's `delta_seq`).
    pub(crate) fn delta_seq(&self) -> u32 {
        self.server.isn.0.wrapping_sub(self.present_isn().0)
    }

    /// Everything of the client below this is logged without a gap, its FIN included (the paper's `stable_seq`).
    pub(crate) fn stable(&self) -> u64 {
        let stable = self.log.stable();
        stable + u64::from(self.client.fin == Some(stable))
    }

    /// Timestamps were negotiated.
    pub(crate) const fn stamped(&self) -> bool {
        self.client.options.timestamps.is_some() && self.server.options.timestamps.is_some()
    }
}
