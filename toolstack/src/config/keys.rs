// SPDX-License-Identifier: GPL-3.0-only
//! What is known about each key, and the nearest known word to a mistyped one.

use super::key_table::KEYS;

/// The form of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A number, decimal, `0x` hexadecimal or `0` octal, as in C.
    Number,
    /// 0 is false, any other number is true.
    Boolean,
    /// A list of strings.
    List,
    /// A string or a list of strings.
    TextOrList,
}

impl Kind {
    /// For tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::List => "list",
            Self::TextOrList => "string or list",
        }
    }
}

/// What rxl does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Does what `xl.cfg(5)` says.
    Supported,
    /// Accepted with these values (numbers as text; `[]` is the empty list), which ask for what rxl does anyway.
    /// Another value is an error.
    Only(&'static [&'static str]),
    /// Accepted with a warning: on the guests that rxl makes it has no effect under xl either.
    NoEffect,
    /// An error: without it the guest would not be what the file asks for.
    Unsupported,
}

/// One key of `xl.cfg(5)` of Xen 4.17.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Form of its value.
    pub kind: Kind,
    /// What rxl does with it.
    pub status: Status,
    /// What it is, or why it has no effect, or what to do instead.
    pub note: &'static str,
}

/// The key called `name`.
#[must_use]
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// `; did you mean "..."?` for the candidate most like `word`, or nothing if none is like it.
pub(super) fn suggestion<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    did_you_mean(nearest(word, candidates))
}

/// The question after an unknown word.
pub(super) fn did_you_mean(candidate: Option<&str>) -> String {
    candidate
        .map(|candidate| format!("; did you mean \"{candidate}\"?"))
        .unwrap_or_default()
}

/// The candidate most like `word`: a third of the letters may differ.
fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let allowed = match word.chars().count() {
        0 | 1 => 0,
        count => (count / 3).max(1),
    };
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::osa_distance(&word, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// The nearest known key, those that rxl supports first.
pub(super) fn nearest_key(word: &str) -> Option<&'static str> {
    let supported = |key: &&Key| key.status == Status::Supported;
    nearest(word, KEYS.iter().filter(supported).map(|key| key.name))
        .or_else(|| nearest(word, KEYS.iter().map(|key| key.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_names_are_unique() {
        let mut names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn suggestion_is_nearest_or_nothing() {
        assert_eq!(nearest_key("memroy"), Some("memory"));
        assert_eq!(nearest_key("Memory"), Some("memory"));
        assert_eq!(nearest_key("vfi"), Some("vif"));
        assert_eq!(nearest_key("spiceprt"), Some("spiceport"));
        assert_eq!(nearest_key("entirely_else"), None);
        assert_eq!(nearest_key("x"), None);
    }
}
