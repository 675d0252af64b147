// SPDX-License-Identifier: GPL-3.0-only
//! `xl.cfg` -> typed [`DomainConfig`].
//!
//! Who lives here: the grammar, the keys, disk and vif specifications, and the JSON form.
//! Who may call in: `cli` (reads files), `domain`, `device` and `supervise` (read the typed form), `hypervisor` ([`TscMode`] only).
//!
//! Text goes downhill: `lexer` (words) -> `grammar` (settings) -> `fields` (typed access, key table) -> `read`, `vif`,
//! `disk` (the configuration). Every stage goes on after an error, so that one run tells all of them. Unlike xl,
//! which passes over keys that it does not know, an unknown key is an error.

mod disk;
mod fields;
mod grammar;
mod key_table;
mod keys;
mod lexer;
mod load;
mod options;
mod read;
mod source;
#[cfg(test)]
mod tests;
mod types;
mod vif;

pub use fields::table;
pub use keys::{Key, Kind, Status};
pub use load::{Invalid, Loaded, from_json, load, parse, to_json};
pub use source::{Diagnostic, MOST_ERRORS, Severity};
pub use types::{Action, DiskBackend, DiskConfig, DomainConfig, TscMode, VifConfig};
