// SPDX-License-Identifier: GPL-3.0-only
//! Which data path is used, and why.

use std::fmt;
use std::io;
use std::str::FromStr;

use super::fast::{FastPath, FastSettings};
use super::packet_socket::PacketSocket;

/// The fast path's name.
pub(super) const BPF: &str = "tc-bpf+af-packet";
/// The name of the data path without it.
pub(super) const PACKET: &str = "af-packet+vnet-hdr";

/// What the operator wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The fast path if this machine can, else packet sockets.
    #[default]
    Auto,
    /// The fast path, or nothing.
    Bpf,
    /// Packet sockets only.
    Packet,
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "bpf" => Ok(Self::Bpf),
            "packet" => Ok(Self::Packet),
            _ => Err(format!("{text:?} is none of auto, bpf, packet")),
        }
    }
}

/// How a data path is to be made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which.
    pub choice: Choice,
    /// How the fast path is set, if it is used.
    pub fast: FastSettings,
}

/// Makes the fast path, or says why there is none.
pub(super) fn choose(settings: &Settings) -> io::Result<(Option<FastPath>, Option<String>)> {
    if settings.choice == Choice::Packet {
        return Ok((None, None));
    }
    let made = FastPath::start(&settings.fast).and_then(|mut fast| fast.probe().map(|()| fast));
    match made {
        Ok(fast) => Ok((Some(fast), None)),
        Err(error) if settings.choice == Choice::Bpf => Err(io::Error::other(error)),
        Err(error) => Ok((None, Some(error.to_string()))),
    }
}

/// What this machine can do, and what would be chosen.
#[derive(Clone, Debug)]
pub struct Capabilities {
    /// Why the fast path cannot be used; `None`: it can.
    pub bpf: Option<String>,
    /// The same of packet sockets, which both need.
    pub packet: Option<String>,
}

/// Tries both data paths, without an interface of anyone's.
#[must_use]
pub fn capabilities(fast: &FastSettings) -> Capabilities {
    let packet = PacketSocket::new().err().map(|error| error.to_string());
    let bpf = match FastPath::start(fast) {
        Ok(mut fast) => {
            let failed = fast.probe().err().map(|error| error.to_string());
            fast.remove();
            failed
        }
        Err(error) => Some(error.to_string()),
    };
    Capabilities { bpf, packet }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chosen = match (&self.packet, &self.bpf) {
            (Some(_), _) => "none: both need packet sockets",
            (None, None) => BPF,
            (None, Some(_)) => PACKET,
        };
        writeln!(f, "data path   {chosen}")?;
        for (name, takes, failed) in [
            (
                BPF,
                "forwards in the kernel; hands over what is unusual; copies out client data and heads of answers",
                &self.bpf,
            ),
            (
                PACKET,
                "whole super-segments (TCP over IPv4 and IPv6, UDP), unfinished checksums, VLAN tags",
                &self.packet,
            ),
        ] {
            writeln!(f, "\n{name}\n  takes     {takes}")?;
            match failed {
                None => writeln!(f, "  usable    yes: tried just now")?,
                Some(error) => writeln!(f, "  usable    no: {error}")?,
            }
        }
        Ok(())
    }
}
