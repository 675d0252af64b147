// SPDX-License-Identifier: GPL-3.0-only
//! Connections that belong together: one, such as FTP's control connection, tells of others what their own bytes do not.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::engine::Ends;

/// How a connection is linked with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The client is about to open another to this port of the same server. If the server named an address as well, only
    /// its own counts: with any other it speaks of another host.
    Expects(Option<Ipv4Addr>, u16),
    /// The server is about to open another to this end. Only an end of this connection's own client counts: any other is of
    /// another host.
    Opens(SocketAddr),
    /// It was announced by this one.
    To(Ends),
}

/// What a connection's bytes told that is not of it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Its next linked connection is expected there ([`Link::Expects`]); or none is any more.
    Expects(Option<(Option<Ipv4Addr>, u16)>),
    /// Its next linked connection will be opened by the server ([`Link::Opens`]).
    Opens(SocketAddr),
    /// The server has done what the linked connection was opened for, or has given it up: it may close that.
    Over,
    /// After [`Service::linked_stands`]: the replacement expects that connection at this port of its own.
    Moved(u16),
    /// The replacement will not go on with what the linked connection is for.
    Lost,
    /// From here on they are encrypted: no replacement could go on with them.
    Encrypted,
}

/// How a linked connection stands whose server is dead. The default: it was announced, and has not come yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stands {
    /// The client has at least so much of the server's stream, and the rest can be compared from here on.
    pub from: u64,
    /// How much of it had left for the client.
    pub said: u64,
    /// How much the client has said.
    pub heard: u64,
}

/// How a linked connection goes on with a replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goes {
    /// The replacement says the server's stream from this position on.
    From(u64),
    /// It says it from the beginning, and is told all that the client said.
    Again,
}

/// What a replacement is told of the connections that a server had announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// It is asked for a port of its own ([`News::Moved`]).
    pub asks: bool,
    /// How the one goes on that is open. `None`: it does not.
    pub linked: Option<Goes>,
}
