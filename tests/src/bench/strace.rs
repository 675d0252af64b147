// SPDX-License-Identifier: GPL-3.0-only
//! Counts what a toolstack command asks of xenstored and of Xen, from the log of strace: the same reading for `rxl` and
//! for its peer `xl`.

use std::collections::HashMap;

/// What one command did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Times that the command wrote to xenstored and then waited for an answer: round trips.
    pub flights: u64,
    /// Hypercalls made through the privcmd device.
    pub hypercalls: u64,
    /// System calls of any kind that the log holds.
    pub syscalls: u64,
}

/// The options for strace that [`count`] needs: all threads and children, and the paths of descriptors.
pub const STRACE: &str = "strace -f -y -qq -s 0";

/// What a descriptor that leads to xenstored did last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Wrote,
    Read,
}

/// Reads a log of [`STRACE`]. Descriptors of xenstored are known by the socket that was connected to its path, since
/// strace shows a socket's number only.
#[must_use]
pub fn count(log: &str) -> Counts {
    let mut counts = Counts::default();
    let mut store: HashMap<String, Last> = HashMap::new();
    let mut unfinished: HashMap<&str, String> = HashMap::new();
    for line in log.lines() {
        let Some((thread, rest)) = split_thread(line) else {
            continue;
        };
        let joined;
        let call = if let Some(start) = rest.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, start.to_owned());
            continue;
        } else if let Some((_, end)) = rest
            .split_once(" resumed>")
            .filter(|_| rest.starts_with("<... "))
        {
            let Some(start) = unfinished.remove(thread) else {
                continue;
            };
            joined = start + end;
            joined.as_str()
        } else {
            rest
        };
        let Some((name, arguments)) = call.split_once('(') else {
            continue;
        };
        let failed = call
            .rsplit_once(" = ")
            .is_none_or(|(_, result)| result.starts_with('-'));
        counts.syscalls += 1;
        let descriptor = arguments
            .split([',', ')'])
            .next()
            .unwrap_or_default()
            .to_owned();
        match name {
            "connect" if arguments.contains("xenstored/socket") && !failed => {
                store.insert(descriptor, Last::Read);
            }
            "close" => {
                store.remove(&descriptor);
            }
            "write" | "writev" | "sendmsg" | "sendto" if !failed => {
                if let Some(last) = store.get_mut(&descriptor) {
                    counts.flights += u64::from(*last == Last::Read);
                    *last = Last::Wrote;
                }
            }
            "read" | "readv" | "recvmsg" | "recvfrom" if !failed => {
                if let Some(last) = store.get_mut(&descriptor) {
                    *last = Last::Read;
                }
            }
            // IOCTL_PRIVCMD_HYPERCALL is _IOC(_IOC_NONE, 'P', 0, sizeof(struct privcmd_hypercall)).
            "ioctl"
                if arguments.contains("_IOC(_IOC_NONE, 0x50, 0,")
                    || arguments.contains("IOCTL_PRIVCMD_HYPERCALL") =>
            {
                counts.hypercalls += 1;
            }
            _ => {}
        }
    }
    counts
}

/// Splits the thread's number from a line; without `-f` having seen a second thread there may be none.
fn split_thread(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let line = line.strip_prefix("[pid").map_or(line, str::trim_start);
    let digits = line.find(|c: char| !c.is_ascii_digit())?;
    let (thread, rest) = line.split_at(digits);
    Some((thread, rest.trim_start_matches([']', ' '])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_request_by_request_is_one_flight_each() {
        let log = r#"
101 connect(7<socket:[55]>, {sa_family=AF_UNIX, sun_path="/run/xenstored/socket"}, 110) = 0
101 write(7<socket:[55]>, ""..., 16) = 16
101 write(7<socket:[55]>, ""..., 8) = 8
101 read(7<socket:[55]>, ""..., 16) = 16
101 read(7<socket:[55]>, ""..., 3) = 3
101 write(7<socket:[55]>, ""..., 16) = 16
101 read(7<socket:[55]>, ""..., 16) = 16
101 write(1</dev/null>, ""..., 4) = 4
"#;
        assert_eq!(
            count(log),
            Counts {
                flights: 2,
                hypercalls: 0,
                syscalls: 8
            }
        );
    }

    #[test]
    fn count_pipelined_requests_are_one_flight_and_again_is_no_answer() {
        let log = r#"
101 connect(7<s>, {sun_path="/var/run/xenstored/socket"}, 110) = 0
101 write(7<s>, ""..., 4000) = 4000
101 read(7<s>, 0x7f, 16) = -1 EAGAIN (Resource temporarily unavailable)
101 write(7<s>, ""..., 100) = 100
101 read(7<s>, ""..., 4096) = 200
"#;
        assert_eq!(count(log).flights, 1);
    }

    #[test]
    fn count_calls_cut_in_two_by_another_thread_are_joined() {
        let log = r#"
101 connect(7<s>, {sun_path="/run/xenstored/socket"}, 110) = 0
101 write(7<s>, ""..., 16) = 16
102 read(7<s>,  <unfinished ...>
101 futex(0x1, FUTEX_WAIT) = 0
102 <... read resumed>""..., 16) = 16
101 write(7<s>, ""..., 16) = 16
"#;
        assert_eq!(count(log).flights, 2);
    }

    #[test]
    fn count_hypercalls_by_their_ioctl() {
        let log = "9 ioctl(4</dev/xen/privcmd>, _IOC(_IOC_NONE, 0x50, 0, 0x30), 0x7ffd) = 0\n\
                   9 ioctl(4</dev/xen/privcmd>, _IOC(_IOC_NONE, 0x50, 0x4, 0x20), 0x7ffd) = 0\n";
        assert_eq!(
            count(log),
            Counts {
                flights: 0,
                hypercalls: 1,
                syscalls: 2
            }
        );
    }
}
