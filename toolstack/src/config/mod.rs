// SPDX-License-Identifier: GPL-3.0-only
//! `xl.cfg` -> typed [`DomainConfig`].
//!
//! Who lives here: the grammar, the keys, disk and vif specifications, and the JSON form.
//! Who may call in: `cli` (reads files), `domain`, `device` and `supervise` (read the typed form).

mod types;

pub use types::{Action, DiskBackend, DiskConfig, DomainConfig, VifConfig};
