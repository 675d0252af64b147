// SPDX-License-Identifier: GPL-3.0-only
//! Requests per second, as wrk counts them.

use super::house::{House, PAGE};

/// Requests per second for the small file over `seconds`: 32 connections, which are kept, or one for each request.
pub(super) fn requests(house: &House, seconds: u32, keep: bool) -> Result<f64, String> {
    let url = format!("http://{}/{PAGE}", house.address());
    let time = format!("{seconds}s");
    let mut args = vec!["-t", "2", "-c", "32", "-d", &time];
    if !keep {
        args.extend(["-H", "Connection: close"]);
    }
    args.push(&url);
    read(&house.topology.client().run("wrk", &args)?)
}

/// The rate in what wrk printed.
///
/// # Errors
/// A request failed, or this is not wrk's text.
fn read(text: &str) -> Result<f64, String> {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        line.map(str::trim)
    };
    for failure in ["Socket errors:", "Non-2xx or 3xx responses:"] {
        if let Some(what) = value(failure) {
            return Err(format!("wrk: {failure} {what}"));
        }
    }
    value("Requests/sec:")
        .and_then(|rate| rate.parse().ok())
        .ok_or_else(|| format!("wrk printed no rate: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_takes_the_rate_and_refuses_failures() {
        let good =
            "  64 requests in 1.00s, 79.25KB read\nRequests/sec:   1234.50\nTransfer/sec: 1KB\n";
        assert_eq!(read(good), Ok(1234.5));
        let bad = format!("  Socket errors: connect 0, read 3, write 0, timeout 0\n{good}");
        assert!(read(&bad).unwrap_err().contains("read 3"));
        assert!(read("").is_err());
    }
}
