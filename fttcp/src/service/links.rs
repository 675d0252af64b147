// SPDX-License-Identifier: GPL-3.0-only
//! Connections that belong together: one, such as FTP's control connection, tells of others what their own bytes do not.

use std::net::Ipv4Addr;

use crate::engine::Ends;

/// How a connection is linked with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The client is about to open another to this port of the same server. If the server named an address as well, only
    /// its own counts: with any other it speaks of another host.
    Expects(Option<Ipv4Addr>, u16),
    /// It was announced by this one.
    To(Ends),
}

/// What a connection's bytes told that is not of it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Its next linked connection is expected there ([`Link::Expects`]); or none is any more.
    Expects(Option<(Option<Ipv4Addr>, u16)>),
    /// The server has done what the linked connection was opened for, or has given it up: it may close that.
    Over,
    /// From here on they are encrypted: no replacement could go on with them.
    Encrypted,
}
