// SPDX-License-Identifier: GPL-3.0-only
//! What the logger tells of itself, its groups and their connections.

use serde::{Deserialize, Serialize};

use super::{GroupSpec, UpgradeStatus};

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
    /// What the journal takes, in KiB; `None`: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal_kib: Option<u64>,
    /// Totals of each open interface.
    #[serde(default)]
    pub ports: Vec<PortStatus>,
    /// Totals of the fast path, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fast: Option<FastTotals>,
}

/// How long an active server has been silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Time since the logger's process saw a frame of it, in ms. Segments that the fast path forwards do not count.
    pub heard_ms: u64,
    /// How often it was asked since then (for its hardware address, in the name of a client), and did not answer. 0 if there
    /// is no connection in whose name to ask: then nothing is known.
    pub asked: u32,
    /// For how long some client has waited for an answer, as its protocol tells, while no client was answered anything, in
    /// ms. Clients that do not read do not count.
    #[serde(default)]
    pub owed_ms: u64,
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
    /// The upgrade under way or last done.
    #[serde(default)]
    pub upgrade: Option<UpgradeStatus>,
    /// What the north side wraps of its servers have recorded, if they have any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrap: Option<WrapStatus>,
    /// Connections known now, if they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<ConnectionStatus>,
}

/// What was taken of the records of a group's servers, since it was set up. No frame is sent for it, and none waits for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WrapStatus {
    /// Records copied.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Times that a record was looked at, because frames of its server had come and were about to be sent on.
    pub looks: u64,
    /// Of these, times that there was something new.
    pub copies: u64,
    /// Times that a record was handed to a replacement.
    pub handed: u64,
    /// Times that there was none to hand over: the replacement began anew.
    pub missing: u64,
    /// Bytes of the active server's record that are kept.
    pub kept: u64,
    /// System calls that recording has cost the active server's program.
    pub calls: u64,
    /// The active server's recording has ended before its program.
    pub ended: bool,
    /// Times that frames were held back, because what they depend on could not be read: of a domain that dies.
    pub held: u64,
    /// Times that an agent has rung, for a record in memory that its domain grants.
    pub bells: u64,
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
    /// Connections that could not be moved for another reason (the replacement refused, time was up, or a request must not
    /// be made twice).
    pub lost: u64,
    /// Of those, connections whose client was told so by an error reply (502 of HTTP); the others were reset.
    pub error_replies: u64,
    /// Connections given up because the same request was under way each time that a server died (`poison_deaths`).
    pub poisoned: u64,
    /// Bytes of the servers' streams on protected connections; of what the fast path forwards, as far as was looked at.
    pub said_bytes: u64,
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
    /// Answers that passed when what they tell of was on the server's disk (`durable`).
    #[serde(default)]
    pub commits: u64,
    /// How long they have waited for that, all together, in microseconds.
    #[serde(default)]
    pub commits_waited_us: u64,
    /// Answers that passed though it was not known to be there: the time was up, it failed, or nobody could be asked.
    #[serde(default)]
    pub commits_not_durable: u64,
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
    /// Connections of which the rest is their clients' matter: nothing more can be said before they acknowledge what they
    /// were sent, as with any server. A failover that waits for nothing else is done.
    #[serde(default)]
    pub waiting: u64,
    /// The first fabricated handshake was answered by the replacement.
    pub first_handshake_us: Option<u64>,
    /// The first byte that no client had been sent before left the logger.
    pub first_new_byte_us: Option<u64>,
    /// The last connection was handed over or given up, or waits for its client.
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
