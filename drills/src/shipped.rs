// SPDX-License-Identifier: GPL-3.0-only
//! The drills that come with the program, so that it needs no other file.

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../shipped/", $name, ".toml")))),+]
    };
}

/// Their names and files.
pub const SHIPPED: [(&str, &str); 14] = files![
    "proxy-crash-under-load",
    "ftp-crash-mid-upload",
    "rolling-upgrade",
    "upgrade-rollback",
    "crash-during-upgrade",
    "web-hang",
    "web-repeated-crash",
    "logger-restart",
    "lab-crash-under-load",
    "lab-rolling-upgrade",
    "lab-hang",
    "lab-operations",
    "lab-repeated-crash",
    "lab-repeated-crash-pvh",
];

/// The file of a shipped drill.
#[must_use]
pub fn shipped(name: &str) -> Option<&'static str> {
    SHIPPED
        .iter()
        .find(|(it, _)| *it == name)
        .map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    #[test]
    fn shipped_drills_are_called_as_their_files_and_every_file_is_shipped() {
        for (name, text) in SHIPPED {
            let plan = Plan::parse(name, text).unwrap();
            assert_eq!(plan.name, name);
            assert!(!plan.faults.is_empty());
        }
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/shipped")).unwrap();
        assert_eq!(files.count(), SHIPPED.len());
    }
}
