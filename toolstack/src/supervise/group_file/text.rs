// SPDX-License-Identifier: GPL-3.0-only
//! The form of a group file, as serde reads it. docs/service-groups.md tells what each key means.

use std::time::Duration;

use fttcp::control::{OnFull, Outbound, Verify};
use serde::Deserialize;
use toml::Spanned;

use crate::supervise::plan::OnFailure;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    pub(super) name: Spanned<String>,
    pub(super) logger: Spanned<String>,
    pub(super) north: Option<String>,
    #[serde(default)]
    pub(super) outbound: Outbound,
    #[serde(default, rename = "service")]
    pub(super) services: Vec<Spanned<ServiceText>>,
    pub(super) member: MemberText,
    #[serde(default)]
    pub(super) standby: StandbyText,
    #[serde(default)]
    pub(super) detection: DetectionText,
    #[serde(default)]
    pub(super) policy: PolicyText,
}

/// As the value of `--port`, and `wrap` and `durable`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ServiceText {
    pub(super) port: Spanned<u16>,
    pub(super) kind: Option<Spanned<String>>,
    pub(super) definition: Option<Spanned<String>>,
    pub(super) address: Option<std::net::IpAddr>,
    #[serde(default)]
    pub(super) mask: Vec<String>,
    pub(super) buffer: Option<u32>,
    pub(super) spill: Option<u64>,
    pub(super) hold: Option<u32>,
    pub(super) mss: Option<Spanned<u16>>,
    /// In one service it counts for all: their servers are replayed together.
    pub(super) wrap: Option<Spanned<bool>>,
    pub(super) durable: Option<Spanned<bool>>,
    #[serde(default)]
    pub(super) verify: Verify,
    #[serde(default)]
    pub(super) full: OnFull,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct MemberText {
    pub(super) config: Spanned<String>,
    #[serde(default)]
    pub(super) set: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct StandbyText {
    pub(super) count: Option<Spanned<u32>>,
    pub(super) mode: Option<Spanned<String>>,
    pub(super) config: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) set: Vec<String>,
    pub(super) ready_after: Option<Spanned<String>>,
    pub(super) boot_timeout: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct DetectionText {
    pub(super) heartbeat: Option<Spanned<String>>,
    pub(super) progress: Option<Spanned<String>>,
    pub(super) tcp_silence: Option<Spanned<String>>,
    pub(super) request_progress: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct PolicyText {
    #[serde(default)]
    pub(super) on_failure: OnFailure,
    #[serde(default)]
    pub(super) keep_for_autopsy: bool,
    pub(super) most_failovers: Option<Spanned<u32>>,
    pub(super) within: Option<Spanned<String>>,
}

/// A configuration file, and where it is named.
pub(super) struct Source<'a> {
    pub(super) table: &'a str,
    pub(super) config: &'a Spanned<String>,
    pub(super) set: &'a [String],
}

/// Reads `"500ms"`, `"5s"`, `"2min"`, `"1h"`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let number: u64 = digits.parse().ok()?;
    let ms = match text[digits.len()..].trim() {
        "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(ms).map(Duration::from_millis)
}
