// SPDX-License-Identifier: GPL-3.0-only
//! What the kernel says about memory, and making some of it free.

use std::fmt::Write as _;
use std::fs;
use std::io;

/// Facts of `/proc/meminfo` that tell which pages a migration need not send, with the names they are told by.
const MEMINFO: [(&str, &str); 13] = [
    ("MemTotal", "total_kib"),
    ("MemFree", "free_kib"),
    ("MemAvailable", "available_kib"),
    ("Buffers", "buffers_kib"),
    ("Cached", "cached_kib"),
    ("Active(file)", "active_file_kib"),
    ("Inactive(file)", "inactive_file_kib"),
    ("AnonPages", "anon_kib"),
    ("Dirty", "dirty_kib"),
    ("Writeback", "writeback_kib"),
    ("SReclaimable", "slab_reclaimable_kib"),
    ("Unevictable", "unevictable_kib"),
    ("SwapFree", "swap_free_kib"),
];
/// Counters of `/proc/vmstat`: how fast pages get dirty, and how often a cache that was dropped was missed.
const VMSTAT: [&str; 6] = [
    "nr_dirtied",
    "nr_written",
    "pgfault",
    "pgmajfault",
    "workingset_refault_file",
    "pgsteal_kswapd",
];
/// cgroup v2's way to have so much memory reclaimed, coldest pages first (Linux 5.19).
const RECLAIM: &str = "/sys/fs/cgroup/memory.reclaim";
/// The way of kernels without it, or guests that have not mounted it: all clean caches.
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// How memory is used, as `KEY=VALUE` words.
///
/// # Errors
/// `/proc` is not mounted.
pub fn hints() -> Result<String, String> {
    let meminfo = read("/proc/meminfo")?;
    let vmstat = read("/proc/vmstat")?;
    Ok(told(&meminfo, &vmstat))
}

fn told(meminfo: &str, vmstat: &str) -> String {
    let mut text = String::new();
    for (name, key) in MEMINFO {
        if let Some(kib) = fact(meminfo, name) {
            let _ = write!(text, "{key}={kib} ");
        }
    }
    for name in VMSTAT {
        if let Some(count) = fact(vmstat, name) {
            let _ = write!(text, "{name}={count} ");
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// The number behind `name` in `NAME: NUMBER` or `NAME NUMBER` lines.
fn fact(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let found = words.next()?.trim_end_matches(':') == name;
        found.then(|| words.next()?.parse().ok()).flatten()
    })
}

/// Makes about `bytes` free. What it says: how much more is free now, and how much a balloon could take without hurting
/// (`MemFree`, less what the kernel keeps back for itself).
///
/// # Errors
/// The kernel refused.
pub fn reclaim(bytes: u64) -> Result<String, String> {
    let free = || read("/proc/meminfo").map(|text| fact(&text, "MemFree").unwrap_or(0));
    let before = free()?;
    // Dirty pages cannot be dropped.
    rustix::fs::sync();
    let how = match fs::write(RECLAIM, bytes.to_string()) {
        Ok(()) => "cgroup",
        // It found less than that; what it found is free now.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => "cgroup",
        Err(_) => {
            fs::write(DROP_CACHES, "3").map_err(|e| format!("{DROP_CACHES}: {e}"))?;
            "drop_caches"
        }
    };
    let after = free()?;
    let reserve = read("/proc/sys/vm/min_free_kbytes")?;
    let spare = after.saturating_sub(2 * reserve.trim().parse::<u64>().unwrap_or(0));
    Ok(format!(
        "freed_kib={} free_kib={after} spare_kib={spare} by={how}",
        after.saturating_sub(before)
    ))
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_words_by_the_names_promised() {
        let meminfo = "MemTotal:  1000 kB\nMemFree:   10 kB\nInactive(file):  5 kB\n";
        let vmstat = "nr_free_pages 3\npgfault 77\n";
        assert_eq!(
            told(meminfo, vmstat),
            "total_kib=1000 free_kib=10 inactive_file_kib=5 pgfault=77"
        );
    }

    #[test]
    fn hints_of_this_kernel_have_every_fact() {
        let text = hints().unwrap();
        assert_eq!(
            text.split(' ').count(),
            MEMINFO.len() + VMSTAT.len(),
            "{text}"
        );
        assert!(text.len() < 1000, "{text}");
    }
}
