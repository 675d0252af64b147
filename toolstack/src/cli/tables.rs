// SPDX-License-Identifier: GPL-3.0-only
//! The tables of `list`, `vcpu-list`, `network-list`, `block-list` and `uptime`: data to text, with the columns of
//! xl 4.17 to the byte, so that scripts that cut them go on working.

use serde::Serialize;

use crate::device::list::{VbdInfo, VifInfo};
use crate::domain::DomainSummary;
use crate::hypervisor::{RunState, ShutdownReason, VcpuInfo};
use crate::ids::DomId;

/// What xl prints for a domain without a name.
pub(super) const NO_NAME: &str = "(null)";

/// `rxl list`; `verbose` adds UUID, reason code and security label.
pub(super) fn domains(rows: &[DomainSummary], verbose: bool) -> String {
    let mut text =
        String::from("Name                                        ID   Mem VCPUs\tState\tTime(s)");
    if verbose {
        text += "   UUID                            Reason-Code\tSecurity Label";
    }
    text.push('\n');
    for row in rows {
        let name = row.name.as_deref().unwrap_or(NO_NAME);
        text += &format!(
            "{name:<40} {:>5} {:>5} {:>5}     {}  {:>8.1}",
            row.id,
            row.memory.mib(),
            row.vcpus,
            state(row.state),
            seconds(row.cpu_time_ns)
        );
        if verbose {
            let reason = row
                .state
                .shutdown
                .map_or_else(|| "-".to_owned(), |r| format!("{:x}", reason_code(r)));
            text += &format!(" {} {reason:>8} {:>16}", row.uuid.hyphenated(), "-");
        }
        text.push('\n');
    }
    text
}

/// The six state letters.
pub(super) fn state(state: RunState) -> String {
    let letter = |on, letter| if on { letter } else { '-' };
    [
        letter(state.running, 'r'),
        letter(state.blocked, 'b'),
        letter(state.paused, 'p'),
        letter(state.shutdown.is_some(), 's'),
        state.shutdown.map_or('-', reason_letter),
        letter(state.dying, 'd'),
    ]
    .iter()
    .collect()
}

const fn reason_letter(reason: ShutdownReason) -> char {
    match reason {
        ShutdownReason::Poweroff => '-',
        ShutdownReason::Reboot => 'r',
        ShutdownReason::Suspend => 's',
        ShutdownReason::Crash => 'c',
        ShutdownReason::Watchdog => 'w',
        ShutdownReason::SoftReset => 'S',
        ShutdownReason::Other(_) => '?',
    }
}

/// The number in Xen's headers (`SHUTDOWN_*`).
const fn reason_code(reason: ShutdownReason) -> u8 {
    match reason {
        ShutdownReason::Poweroff => 0,
        ShutdownReason::Reboot => 1,
        ShutdownReason::Suspend => 2,
        ShutdownReason::Crash => 3,
        ShutdownReason::Watchdog => 4,
        ShutdownReason::SoftReset => 5,
        ShutdownReason::Other(code) => code,
    }
}

/// Seconds, rounded through single precision as xl does, or the last digit may differ.
fn seconds(ns: u64) -> f64 {
    f64::from(ns as f32) / 1e9
}

/// Something of a domain, and the domain.
#[derive(Debug, Serialize)]
pub(super) struct Row<T> {
    /// The domain's number.
    pub(super) domid: DomId,
    /// The domain's name.
    pub(super) name: String,
    /// The thing.
    #[serde(flatten)]
    pub(super) item: T,
}

/// `rxl vcpu-list`; `cpus` is the number of processors that affinities are told for.
pub(super) fn vcpus(rows: &[Row<VcpuInfo>], cpus: u32) -> String {
    let mut text = format!(
        "{:<32} {:>5} {:>5} {:>5} {:>5} {:>9} {}\n",
        "Name", "ID", "VCPU", "CPU", "State", "Time(s)", "Affinity (Hard / Soft)"
    );
    for Row { domid, name, item } in rows {
        let vcpu = item;
        let place = if vcpu.online {
            let letter = |on, letter| if on { letter } else { '-' };
            let running = letter(vcpu.running, 'r');
            format!(
                "{:>5} {running:>3}{}- ",
                vcpu.cpu,
                letter(vcpu.blocked, 'b')
            )
        } else {
            format!("{:>5} {:>3}-p ", '-', '-')
        };
        text += &format!(
            "{name:<32} {domid:>5} {:>5}{place}{:>9.1}  {} / {}\n",
            vcpu.vcpu,
            seconds(vcpu.cpu_time_ns),
            ranges(&vcpu.hard_affinity, cpus),
            ranges(&vcpu.soft_affinity, cpus)
        );
    }
    text
}

/// A set of processors below `cpus`: `all`, `none`, or ranges as in `0-2,5`.
fn ranges(set: &[u32], cpus: u32) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &cpu in set.iter().filter(|&&cpu| cpu < cpus) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => runs.push((cpu, cpu)),
        }
    }
    match runs.as_slice() {
        [] => "none".to_owned(),
        [(0, last)] if last + 1 == cpus => "all".to_owned(),
        runs => {
            let runs: Vec<_> = runs
                .iter()
                .map(|(first, last)| match last - first {
                    0 => first.to_string(),
                    _ => format!("{first}-{last}"),
                })
                .collect();
            runs.join(",")
        }
    }
}

/// `rxl network-list`.
pub(super) fn networks(rows: &[Row<VifInfo>]) -> String {
    let mut text = format!(
        "{:<3} {:<2} {:<17} {:<6} {:<5} {:<6} {:>5}/{:<5} {:<30}\n",
        "Idx", "BE", "Mac Addr.", "handle", "state", "evt-ch", "tx-", "rx-ring-ref", "BE-path"
    );
    for Row { item: vif, .. } in rows {
        text += &format!(
            "{:<3} {:<2} {}{:>6} {:>5} {:>6} {:>5}/{:<11} {:<30}\n",
            vif.devid,
            vif.backend,
            vif.mac,
            vif.devid,
            number(vif.state),
            number(vif.event_channel.map(|port| port.0)),
            number(vif.tx_ring_ref),
            number(vif.rx_ring_ref),
            vif.backend_path
        );
    }
    text
}

/// `rxl block-list`.
pub(super) fn blocks(rows: &[Row<VbdInfo>]) -> String {
    let mut text = format!(
        "{:<5} {:<3} {:<6} {:<5} {:<6} {:<8} {:<30}\n",
        "Vdev", "BE", "handle", "state", "evt-ch", "ring-ref", "BE-path"
    );
    for Row { item: vbd, .. } in rows {
        text += &format!(
            "{:<5} {:<3} {:<6} {:<5} {:<6} {:<8} {:<30}\n",
            vbd.devid,
            vbd.backend,
            vbd.frontend,
            number(vbd.state),
            number(vbd.event_channel.map(|port| port.0)),
            number(vbd.ring_ref),
            vbd.backend_path
        );
    }
    text
}

/// -1 stands for what the guest has not written.
fn number(value: Option<u32>) -> i64 {
    value.map_or(-1, i64::from)
}

/// How long a domain has been running.
#[derive(Debug, Serialize)]
pub(super) struct Uptime {
    /// Seconds.
    pub(super) seconds: u64,
}

/// `rxl uptime`.
pub(super) fn uptimes(rows: &[Row<Uptime>]) -> String {
    let mut text = format!("{:<33} {:>4} {}\n", "Name", "ID", "Uptime");
    for Row { domid, name, item } in rows {
        let seconds = item.seconds;
        let days = match seconds / 86_400 {
            0 => String::new(),
            1 => "1 day, ".to_owned(),
            days => format!("{days} days, "),
        };
        let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
        text += &format!(
            "{name:<33} {domid:>4} {days}{hours:>2}:{minutes:02}:{:02}\n",
            seconds % 60
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::hypervisor::GuestKind;
    use crate::ids::{KiB, Port};

    const STOPPED: RunState = RunState {
        running: false,
        blocked: false,
        paused: false,
        shutdown: None,
        dying: false,
    };

    fn domain(id: u16, name: Option<&str>, state: RunState) -> DomainSummary {
        DomainSummary {
            id: DomId(id),
            name: name.map(str::to_owned),
            uuid: Uuid::from_u128(0x3d1b_6b4f_65b5_4ad5_8a2a_5a2a_9c1c_6a10),
            kind: Some(GuestKind::Pv),
            state,
            memory: KiB(163_840),
            max_memory: KiB(164_864),
            vcpus: 1,
            cpu_time_ns: 12_345_000_000,
        }
    }

    fn row<T>(item: T) -> Row<T> {
        Row {
            domid: DomId(5),
            name: "web".to_owned(),
            item,
        }
    }

    #[test]
    fn domains_have_the_columns_of_xl() {
        let running = RunState {
            running: true,
            ..STOPPED
        };
        let crashed = RunState {
            shutdown: Some(ShutdownReason::Crash),
            ..STOPPED
        };
        let rows = [
            domain(0, Some("Domain-0"), running),
            domain(12, None, crashed),
        ];
        assert_eq!(
            domains(&rows, false),
            "Name                                        ID   Mem VCPUs\tState\tTime(s)\n\
             Domain-0                                     0   160     1     r-----      12.3\n\
             (null)                                      12   160     1     ---sc-      12.3\n"
        );
        assert!(
            domains(&rows, true)
                .ends_with("12.3 3d1b6b4f-65b5-4ad5-8a2a-5a2a9c1c6a10        3                -\n")
        );
    }

    #[test]
    fn state_letters() {
        let ended = |reason| RunState {
            shutdown: Some(reason),
            paused: true,
            ..STOPPED
        };
        assert_eq!(state(STOPPED), "------");
        assert_eq!(state(ended(ShutdownReason::Poweroff)), "--ps--");
        assert_eq!(state(ended(ShutdownReason::Reboot)), "--psr-");
        assert_eq!(state(ended(ShutdownReason::Suspend)), "--pss-");
        assert_eq!(state(ended(ShutdownReason::Watchdog)), "--psw-");
        assert_eq!(state(ended(ShutdownReason::SoftReset)), "--psS-");
        assert_eq!(state(ended(ShutdownReason::Other(9))), "--ps?-");
        let dying = RunState {
            blocked: true,
            dying: true,
            ..STOPPED
        };
        assert_eq!(state(dying), "-b---d");
    }

    #[test]
    fn vcpus_have_the_columns_of_xl() {
        let vcpu = VcpuInfo {
            vcpu: 0,
            cpu: 3,
            online: true,
            blocked: true,
            running: false,
            cpu_time_ns: 1_250_000_000,
            hard_affinity: vec![0, 1, 2, 3],
            soft_affinity: vec![0, 2, 3],
        };
        let offline = VcpuInfo {
            vcpu: 1,
            online: false,
            soft_affinity: vec![],
            ..vcpu.clone()
        };
        assert_eq!(
            vcpus(&[row(vcpu), row(offline)], 4),
            "Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)\n\
             web                                  5     0    3   -b-       1.2  all / 0,2-3\n\
             web                                  5     1    -   --p       1.2  all / none\n"
        );
    }

    #[test]
    fn ranges_of_processors() {
        assert_eq!(ranges(&[], 4), "none");
        assert_eq!(ranges(&[0], 1), "all");
        assert_eq!(ranges(&[0], 4), "0");
        assert_eq!(ranges(&[1, 2, 3], 4), "1-3");
        assert_eq!(ranges(&[0, 1, 3, 9], 4), "0-1,3");
        assert_eq!(ranges(&[0, 1, 2, 3, 4, 5], 4), "all");
    }

    #[test]
    fn networks_have_the_columns_of_xl() {
        let vif = VifInfo {
            devid: 0,
            backend: DomId(0),
            mac: "00:16:3e:00:00:01".to_owned(),
            state: Some(4),
            event_channel: None,
            tx_event_channel: Some(Port(21)),
            tx_ring_ref: Some(768),
            rx_ring_ref: Some(769),
            backend_path: "/local/domain/0/backend/vif/5/0".to_owned(),
            bridge: None,
        };
        assert_eq!(
            networks(&[row(vif)]),
            "Idx BE Mac Addr.         handle state evt-ch   tx-/rx-ring-ref BE-path                       \n\
             0   0  00:16:3e:00:00:01     0     4     -1   768/769         /local/domain/0/backend/vif/5/0\n"
        );
    }

    #[test]
    fn blocks_have_the_columns_of_xl() {
        let vbd = VbdInfo {
            devid: 51712,
            vdev: Some("xvda".to_owned()),
            backend: DomId(0),
            frontend: DomId(5),
            state: Some(4),
            event_channel: Some(Port(18)),
            ring_ref: Some(8),
            backend_path: "/local/domain/0/backend/vbd/5/51712".to_owned(),
            target: None,
            writable: true,
        };
        assert_eq!(
            blocks(&[row(vbd)]),
            "Vdev  BE  handle state evt-ch ring-ref BE-path                       \n\
             51712 0   5      4     18     8        /local/domain/0/backend/vbd/5/51712\n"
        );
    }

    #[test]
    fn uptimes_have_the_columns_of_xl() {
        let rows = [59, 3_661, 90_000, 180_000].map(|seconds| row(Uptime { seconds }));
        assert_eq!(
            uptimes(&rows),
            "Name                                ID Uptime\n\
             web                                  5  0:00:59\n\
             web                                  5  1:01:01\n\
             web                                  5 1 day,  1:00:00\n\
             web                                  5 2 days,  2:00:00\n"
        );
    }
}
