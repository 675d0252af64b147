// SPDX-License-Identifier: GPL-3.0-only
//! What is to be protected, and how: groups and their services.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

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
    /// Where the servers' north side wraps keep their records: a file's path, with `{}` for the server's interface, or
    /// [`super::GRANTED`]. `None`: they run without.
    #[serde(default)]
    pub wrap: Option<String>,
    /// Who can be asked to bring to disk what a server has written: a socket's path, with `{}` for the server's interface, or
    /// [`super::GRANTED`]. `None`: nobody.
    #[serde(default)]
    pub commit: Option<String>,
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
            wrap: None,
            commit: None,
            outbound: Outbound::default(),
            outbound_service: ServiceSpec::outbound(),
        }
    }
}

/// What becomes of connections that the service opens, such as a proxy's to its origin. (FTP's data connections in active mode are the
/// business of the kind `ftp`, unless they are forbidden.)
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
    /// Most client bytes logged for one connection. 0: as many as is usual for its kind ([`Self::settled`]).
    #[serde(default)]
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
    /// After how many deaths of servers in a row with the same request under way, of which nothing came, that is not
    /// given to another server. 0: never.
    #[serde(default = "default_poison")]
    pub poison_deaths: u8,
    /// Answers that say that something was changed wait until what the server has written is on its disk
    /// ([`crate::service::Service::commits`]).
    #[serde(default)]
    pub durable: bool,
    /// How long such an answer waits at most, in ms. Then it passes, and is counted.
    #[serde(default = "default_commit")]
    pub commit_ms: u32,
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
            buffer_bytes: 0,
            spill_bytes: 0,
            on_full: OnFull::default(),
            fin_hold_ms: default_hold(),
            verify: Verify::default(),
            mss_clamp: None,
            poison_deaths: default_poison(),
            durable: false,
            commit_ms: default_commit(),
        }
    }

    /// The same, with what depends on its kind if nothing was said of it. A client of `ftp` sends files, of which a replacement
    /// must be told all; of any other, requests.
    #[must_use]
    pub(crate) fn settled(self) -> Self {
        let usual = if self.kind == "ftp" {
            16 << 20
        } else {
            1 << 20
        };
        Self {
            buffer_bytes: match self.buffer_bytes {
                0 => usual,
                told => told,
            },
            ..self
        }
    }
}

const fn default_poison() -> u8 {
    2
}

const fn default_commit() -> u32 {
    10_000
}

const fn default_hold() -> u32 {
    250
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffer_of_which_nothing_is_said_is_usual_for_its_kind() {
        let buffer = |kind: &str, more: &str| {
            let text = format!(r#"{{"port":1,"kind":"{kind}"{more}}}"#);
            let read = serde_json::from_str::<ServiceSpec>(&text).unwrap();
            read.settled().buffer_bytes
        };
        assert_eq!(buffer("http", ""), 1 << 20);
        assert_eq!(buffer("ftp", ""), 16 << 20);
        assert_eq!(buffer("ftp", r#","buffer_bytes":4096"#), 4096);
        assert_eq!(ServiceSpec::new(21, "ftp").settled().buffer_bytes, 16 << 20);
        assert_eq!(ServiceSpec::outbound().settled().buffer_bytes, 64 << 20);
    }

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
