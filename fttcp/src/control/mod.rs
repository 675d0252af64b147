// SPDX-License-Identifier: GPL-3.0-only
//! The protocol between the toolstack and the logger: one JSON object a line, a request and its reply.
//!
//! Who lives here: the messages ([`Request`], [`Reply`] and what they carry). Who may call in: the `ftlogger` daemon
//! (serves it on a UNIX socket) and the toolstack (speaks it through the driver domain's daemon, which relays
//! between xenstore and that socket). Unknown fields are ignored, so that either end may be newer.

pub mod client;
mod define;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Version of the protocol, in [`Hello`]. Raised when an old peer would misunderstand a new message.
pub const VERSION: u32 = 1;

/// Where `ftlogger` listens unless told otherwise.
pub const SOCKET: &str = "/run/ftlogger.sock";

/// What the toolstack asks. Serialised as `{"op": "...", ...}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Request {
    /// Who is there. Reply: [`Reply::Hello`].
    Hello,
    /// Starts forwarding for a group, and protecting its connections if its spec says so. Reply: [`Reply::Done`].
    Protect {
        /// The group.
        group: GroupSpec,
    },
    /// Ends a group: its interfaces are closed, its connections are forgotten. Reply: [`Reply::Done`].
    Unprotect {
        /// The group's name.
        group: String,
    },
    /// Adds a standby's interface to a group. Reply: [`Reply::Done`].
    AddStandby {
        /// The group's name.
        group: String,
        /// The interface towards the standby.
        interface: String,
    },
    /// Closes the active server's interface and moves every connection to the first standby. The reply,
    /// [`Reply::Done`], is sent at once; progress is in [`Reply::Status`].
    Failover {
        /// The group's name.
        group: String,
        /// Why, for the log: `"domain 5 died"`.
        reason: String,
    },
    /// The state of all groups. Reply: [`Reply::Status`].
    Status {
        /// Only this group.
        group: Option<String>,
        /// With one entry per connection.
        connections: bool,
    },
}

/// A service group as the logger sees it: one way north, one active server, standbys that are kept dark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSpec {
    /// Its name.
    pub name: String,
    /// The interface towards the clients.
    pub north: String,
    /// The interface towards the active server.
    pub active: String,
    /// The interfaces towards the standbys, in the order in which they take over.
    #[serde(default)]
    pub standbys: Vec<String>,
    /// The TCP services to protect. With none, frames are forwarded and a failover only moves the path:
    /// connections break, as they do without FT-TCP.
    #[serde(default)]
    pub services: Vec<ServiceSpec>,
    /// What becomes of TCP connections that the server itself opens towards the north.
    #[serde(default)]
    pub outbound: Outbound,
    /// Bounds and manner of their protection; its `address` and `port` do not count.
    #[serde(default = "ServiceSpec::outbound")]
    pub outbound_service: ServiceSpec,
}

impl Default for GroupSpec {
    /// No interfaces and no services; connections opened by the server pass.
    fn default() -> Self {
        Self {
            name: String::new(),
            north: String::new(),
            active: String::new(),
            standbys: Vec::new(),
            services: Vec::new(),
            outbound: Outbound::default(),
            outbound_service: ServiceSpec::outbound(),
        }
    }
}

/// What becomes of connections that the service opens: FTP's active data connections, a proxy's to its origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outbound {
    /// They pass and nothing is known of them; a failover leaves the peer with half a connection. The default: it costs
    /// nothing, it is what a toolstack expects that does not know this field, and only the operator knows whether the
    /// service, replayed, opens the same connections again.
    #[default]
    Pass,
    /// Both streams are recorded. At a failover the peer is kept alive until the replacement opens the connection
    /// again, which then goes on: the peer sees one connection and each byte once.
    Keep,
    /// At a failover the peer is reset; what the replacement opens reaches the peer as a new connection. For peers that
    /// may be asked twice.
    #[serde(alias = "reissue")]
    ReIssue,
    /// The server may open none: each attempt is reset and counted.
    Forbid,
}

/// How much of a server's stream is remembered, to compare a replacement's with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// Sampled where the data path can forward in the kernel, else full.
    #[default]
    Auto,
    /// A digest of every byte; every byte passes through the logger's process.
    Full,
    /// The beginning of each answer and eight bytes of every 16 KiB. The rest may be forwarded in the kernel.
    Sampled,
}

/// What becomes of a connection when a client's bytes do not fit in its stable buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFull {
    /// It goes on, and is no longer protected.
    #[default]
    Unprotect,
    /// The client is told a window that fits in the buffer, which opens again when the plug-in gives up logged bytes.
    /// Only for plug-ins that do ([`crate::service::Service::truncates`]): any other client would wait for ever.
    Hold,
    /// It is reset.
    Reset,
}

/// One protected TCP service of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// The server's address; `None`: every address.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// The server's port.
    pub port: u16,
    /// The service plug-in: one of [`crate::service::KINDS`], or the name in `definition`.
    pub kind: String,
    /// The definition of the kind, if it is told in a file: the file's text ([`crate::service::Defined`]).
    #[serde(default)]
    pub definition: Option<String>,
    /// Header fields whose values may differ between the sent and the regenerated stream, compared without
    /// regard to case: `"Date"`. Their lengths must agree.
    #[serde(default)]
    pub mask: Vec<String>,
    /// Most client bytes logged for one connection.
    #[serde(default = "default_buffer")]
    pub buffer_bytes: u32,
    /// Most bytes of a connection's log in the logger's spill file (`ftlogger --spill`), beside those in memory, which
    /// `buffer_bytes` then bounds. 0: none.
    #[serde(default)]
    pub spill_bytes: u64,
    /// What becomes of a connection whose buffer is full.
    #[serde(default)]
    pub on_full: OnFull,
    /// How long a FIN or RST of the server is held back for news of its death, in ms. A close that the client began
    /// is not held.
    #[serde(default = "default_hold")]
    pub fin_hold_ms: u32,
    /// How a replacement's stream is compared with what had been sent.
    #[serde(default)]
    pub verify: Verify,
    /// Most bytes that either end may be offered in one segment: the MSS options of SYN and SYN-ACK are lowered to
    /// it. For a path whose MTU is lower than the ends' and whose routers do not say so. `None`: as the ends say.
    #[serde(default)]
    pub mss_clamp: Option<u16>,
}

impl ServiceSpec {
    /// How connections opened by the server are protected unless told otherwise. A peer sends files, not requests: the
    /// log has more room.
    #[must_use]
    pub fn outbound() -> Self {
        Self {
            buffer_bytes: 64 << 20,
            verify: Verify::Full,
            ..Self::new(0, "opaque")
        }
    }

    /// A service of this kind at `port` of every address, with the defaults of the protocol.
    #[must_use]
    pub fn new(port: u16, kind: &str) -> Self {
        Self {
            address: None,
            port,
            kind: kind.to_owned(),
            definition: None,
            mask: Vec::new(),
            buffer_bytes: default_buffer(),
            spill_bytes: 0,
            on_full: OnFull::default(),
            fin_hold_ms: default_hold(),
            verify: Verify::default(),
            mss_clamp: None,
        }
    }
}

const fn default_buffer() -> u32 {
    1 << 20
}

const fn default_hold() -> u32 {
    250
}

/// What the logger answers. Serialised as `{"reply": "...", ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// Who is here.
    Hello(Hello),
    /// It was done.
    Done,
    /// It could not be done; nothing changed.
    Error {
        /// What failed, on which object, why.
        message: String,
    },
    /// The state of the groups.
    Status {
        /// One entry per group.
        groups: Vec<GroupStatus>,
    },
}

/// The logger's introduction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the logger.
    pub version: u32,
    /// `ftlogger 0.1.0`.
    pub software: String,
    /// The data path in use.
    pub datapath: String,
    /// Memory that the process uses (resident set), in KiB.
    pub memory_kib: u64,
    /// Totals of each open interface.
    #[serde(default)]
    pub ports: Vec<PortStatus>,
    /// Totals of the fast path, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fast: Option<FastTotals>,
}

/// Totals of the fast path, the kernel's program at the ports: frames; a super-segment counts as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FastTotals {
    /// Sent on.
    pub forwarded: u64,
    /// Left to the logger.
    pub punted: u64,
    /// Dropped because their bytes could not be copied out and no logger was there; TCP repeats them.
    pub ring_full: u64,
    /// Dropped because they came from closed ports.
    pub closed: u64,
    /// Dropped because no logger was there.
    pub unattended: u64,
    /// Forwarded unprotected because no logger was there.
    pub unprotected: u64,
}

/// Totals of one interface since it was opened, in frames; a super-segment counts as one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatus {
    /// The interface's name.
    pub interface: String,
    /// Frames received.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
    /// Frames lost on the way in: the queue was full, or the frame could not be described.
    pub receive_drops: u64,
    /// Frames lost on the way out: the queue was full, or the interface down.
    pub send_drops: u64,
}

/// One group's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// As it was set up; `active` and `standbys` are kept up to date.
    pub spec: GroupSpec,
    /// Totals since the group was set up.
    pub counters: Counters,
    /// The failover under way or last done.
    pub failover: Option<FailoverStatus>,
    /// Connections known now, if they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<ConnectionStatus>,
}

/// Totals of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Connections that are protected now.
    pub protected: u64,
    /// Connections that were protected and have ended in the ordinary way.
    pub closed: u64,
    /// Connections seen that could not be protected (began before the group; signed segments; buffer full).
    pub unprotected: u64,
    /// Of these, connections that speak TLS.
    pub tls: u64,
    /// Connections moved to a replacement, counted once per failover.
    pub recovered: u64,
    /// Of those, connections whose replacement was asked only for the rest of a response.
    pub resumed: u64,
    /// Times that a replacement did not give the rest of a response that it was asked for, so that everything was replayed.
    pub resumes_refused: u64,
    /// Connections reset because the replacement's output differed from what had been sent.
    pub diverged: u64,
    /// Connections reset for another reason (the replacement refused, time was up).
    pub lost: u64,
    /// Client bytes in the stable buffers now.
    pub logged_bytes: u64,
    /// Memory used now for bytes that are kept: logged, beyond gaps, regenerated and not yet passed on.
    pub memory_bytes: u64,
    /// Bytes that logs take in the spill file now.
    pub spilled_bytes: u64,
    /// Times that the spill file did not take a part of a log, because it was full or failed.
    pub spill_full: u64,
    /// Connections that lost their protection, or were lost while they were moved, because the spill file could not be
    /// read.
    pub spill_unreadable: u64,
    /// Times that bytes could not be logged because their connection's buffer was full.
    pub full_buffers: u64,
    /// Times that bytes could not be logged because the memory of all connections was used up.
    pub full_memory: u64,
    /// Of both, connections that lost their protection (`on_full`: `unprotect`).
    pub full_unprotected: u64,
    /// Of both, connections that were reset (`on_full`: `reset`).
    pub full_reset: u64,
    /// Of both, segments that were neither passed on nor acknowledged (`on_full`: `hold`, and while a connection is
    /// moved).
    pub full_held: u64,
    /// Times that a client was told a smaller window than its server's, so that its bytes fit in the buffer.
    pub windows_held: u64,
    /// Half-open connections, and such that were only passed on, that were forgotten because there were too many.
    pub evicted: u64,
    /// Times that a log was cut because the service no longer needed its beginning.
    pub truncations: u64,
    /// Segments of clients that repeated bytes differently; the bytes that came first were put in their place.
    pub conflicts: u64,
    /// Frames forwarded.
    pub frames: u64,
    /// Frames dropped because they were malformed, dark, or from a closed interface.
    pub dropped: u64,
    /// FIN and RST segments of a dead server that were swallowed.
    pub swallowed_closes: u64,
    /// ICMP errors dropped because what they quote was not in flight, or because their connection had no server then.
    #[serde(default)]
    pub icmp_dropped: u64,
    /// Connections opened by the server and reset at a failover, as `outbound = re-issue` says.
    #[serde(default)]
    pub reissued: u64,
    /// SYNs of the server that were refused, as `outbound = forbid` says.
    #[serde(default)]
    pub forbidden: u64,
    /// IP fragments dropped: they overlap, their datagram was not complete in time, or there was no room for them.
    #[serde(default)]
    pub fragments_dropped: u64,
}

/// How a failover went. Times are in microseconds since the logger was told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverStatus {
    /// Counted from 1 in each group.
    pub number: u32,
    /// As the request said.
    pub reason: String,
    /// When it was told, in ms since the UNIX epoch (logger's clock).
    pub told_at_ms: u64,
    /// Connections to move.
    pub connections: u64,
    /// Connections moved so far.
    pub recovered: u64,
    /// Connections given up so far.
    pub lost: u64,
    /// The first fabricated handshake was answered by the replacement.
    pub first_handshake_us: Option<u64>,
    /// The first byte that no client had been sent before left the logger.
    pub first_new_byte_us: Option<u64>,
    /// The last connection was handed over or given up.
    pub done_us: Option<u64>,
    /// Server bytes regenerated and discarded.
    pub discarded_bytes: u64,
    /// Client bytes replayed.
    pub replayed_bytes: u64,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionStatus {
    /// `address:port` of the client.
    pub client: String,
    /// `address:port` of the server.
    pub server: String,
    /// The server opened it.
    #[serde(default)]
    pub outbound: bool,
    /// The state of the machine: `established`, `recovering` ...
    pub state: String,
    /// What is added to the server's sequence numbers for the client (0 before any failover).
    pub delta_seq: u32,
    /// Client bytes logged.
    pub logged_bytes: u64,
    /// Server bytes sent to the client, from the start of the connection.
    pub sent_bytes: u64,
    /// Server bytes acknowledged by the client.
    pub acked_bytes: u64,
    /// Failovers survived.
    pub failovers: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_without_outbound_passes_and_both_spellings_of_re_issue_are_read() {
        let read = |outbound: &str| {
            let text = format!(r#"{{"name":"g","north":"n","active":"a"{outbound}}}"#);
            serde_json::from_str::<GroupSpec>(&text).unwrap().outbound
        };
        assert_eq!(read(""), Outbound::Pass);
        assert_eq!(read(r#","outbound":"keep""#), Outbound::Keep);
        assert_eq!(read(r#","outbound":"re-issue""#), Outbound::ReIssue);
        assert_eq!(read(r#","outbound":"reissue""#), Outbound::ReIssue);
        assert_eq!(read(r#","outbound":"forbid""#), Outbound::Forbid);
    }
}
