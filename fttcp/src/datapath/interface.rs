// SPDX-License-Identifier: GPL-3.0-only
//! Opening an interface of the logger: from a name to a socket that is ready, or an error that says what is there.

use std::fs;
use std::io;

use super::packet_socket::PacketSocket;

/// Why an interface could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none of that name.
    #[error("interface {interface:?} does not exist here; there are: {existing}")]
    Missing {
        /// The name asked for.
        interface: String,
        /// The names of those that exist.
        existing: String,
    },
    /// It is open already.
    #[error("interface {interface:?} is in use by a group already; an interface serves one group")]
    InUse {
        /// The name asked for.
        interface: String,
    },
    /// It does not carry Ethernet frames.
    #[error(
        "interface {interface:?} is not an Ethernet interface; the logger forwards Ethernet frames only"
    )]
    NotEthernet {
        /// The name asked for.
        interface: String,
    },
    /// The user may not.
    #[error(
        "no permission to open interface {interface:?}: packet sockets need CAP_NET_RAW and CAP_NET_ADMIN (root)"
    )]
    NotPermitted {
        /// The name asked for.
        interface: String,
    },
    /// Anything else.
    #[error("cannot {action} interface {interface:?}: {source}")]
    Failed {
        /// What was tried.
        action: &'static str,
        /// The name asked for.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Every protocol. Such a socket sees a frame before the kernel's program does.
pub(super) const ALL: [u16; 1] = [libc::ETH_P_ALL as u16];

/// The protocols of the frames that the kernel's program may leave to us; such a socket sees what it leaves, no more.
pub(super) const PUNTED: [u16; 6] = [
    libc::ETH_P_IP as u16,
    libc::ETH_P_IPV6 as u16,
    libc::ETH_P_ARP as u16,
    libc::ETH_P_8021Q as u16,
    libc::ETH_P_8021AD as u16,
    libc::ETH_P_QINQ1 as u16,
];

/// Opens the interface `name` with a socket for each protocol, sets it up and promiscuous, and keeps the logger's own
/// IPv6 off it. The sockets, and the interface's index.
pub(super) fn open(name: &str, protocols: &[u16]) -> Result<(Vec<PacketSocket>, u32), OpenError> {
    let failed = |action| {
        move |source: io::Error| match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => OpenError::NotPermitted {
                interface: name.to_owned(),
            },
            // A name that is too long is the name of none, too.
            Some(libc::ENODEV | libc::ENXIO | libc::ENAMETOOLONG) => OpenError::Missing {
                interface: name.to_owned(),
                existing: existing(),
            },
            _ => OpenError::Failed {
                action,
                interface: name.to_owned(),
                source,
            },
        }
    };
    let mut sockets = Vec::with_capacity(protocols.len());
    let mut index = 0;
    for protocol in protocols {
        let mut socket = PacketSocket::new().map_err(failed("make a packet socket for"))?;
        index = socket.find(name).map_err(failed("find"))?;
        // Before it is set up, or the kernel would announce an address of its own on the wire.
        disable_ipv6(name).map_err(failed("turn off IPv6 of"))?;
        socket.bind(name, *protocol).map_err(failed("bind to"))?;
        if !socket.is_ethernet().map_err(failed("look at"))? {
            return Err(OpenError::NotEthernet {
                interface: name.to_owned(),
            });
        }
        sockets.push(socket);
    }
    Ok((sockets, index))
}

fn disable_ipv6(name: &str) -> io::Result<()> {
    match fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1") {
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// The names of the interfaces of this network namespace.
fn existing() -> String {
    let table = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let names: Vec<&str> = table
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0.trim()))
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_missing_interface_names_it_and_those_that_exist() {
        for name in ["no-such-if", "", "a/b", "a-name-that-is-longer-than-any"] {
            let error = open(name, &ALL).unwrap_err().to_string();
            let permitted = !error.contains("no permission");
            assert!(error.contains(&format!("{name:?}")), "{error}");
            assert!(!permitted || error.contains("lo"), "{error}");
        }
    }

    #[test]
    fn existing_lists_loopback() {
        assert!(existing().split(", ").any(|name| name == "lo"));
    }
}
