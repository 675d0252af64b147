// SPDX-License-Identifier: GPL-3.0-only
//! Typed access to the settings of a file: each wrong value is told once, with what was expected.

use std::ops::RangeInclusive;

use super::grammar::{Setting, Settings, Value};
use super::key_table::KEYS;
use super::keys::{self, Key, Kind, Status};
use super::lexer::Text;
use super::source::{Findings, Span};

/// The settings and what is said about them.
#[derive(Debug)]
pub(super) struct Fields<'a, 'f> {
    settings: &'a Settings,
    /// Known keys that an unknown one is most like: nothing more is said when they are missing.
    meant: Vec<&'static str>,
    /// Takes the messages.
    pub(super) findings: &'a mut Findings<'f>,
}

impl<'a, 'f> Fields<'a, 'f> {
    /// Checks every key against the table.
    pub(super) fn new(settings: &'a Settings, findings: &'a mut Findings<'f>) -> Self {
        let mut fields = Self {
            settings,
            meant: Vec::new(),
            findings,
        };
        for (name, setting) in settings {
            match keys::find(name) {
                Some(key) => fields.check(key, setting),
                None => fields.unknown(name, setting),
            }
        }
        fields
    }

    fn unknown(&mut self, name: &str, setting: &Setting) {
        let nearest = keys::nearest_key(name);
        self.meant.extend(nearest);
        let message = format!("unknown key \"{name}\"{}", keys::did_you_mean(nearest));
        self.findings.error(setting.name, message);
    }

    fn check(&mut self, key: &Key, setting: &Setting) {
        let Key { name, note, .. } = key;
        match key.status {
            Status::Supported => {}
            Status::Only(values) if values.iter().any(|v| means(key, &setting.value, v)) => {}
            Status::Only(values) => {
                let values: Vec<_> = values.iter().map(|v| shown(key, v)).collect();
                let message = format!(
                    "{name}: known to xl, not supported by rxl yet except as {}: {note}",
                    values.join(" or ")
                );
                self.findings.error(setting.value.span(), message);
            }
            Status::NoEffect => self
                .findings
                .warning(setting.name, format!("{name}: has no effect: {note}")),
            Status::Unsupported => self.findings.error(
                setting.name,
                format!("{name}: known to xl, not supported by rxl yet: {note}"),
            ),
        }
    }

    /// Where `key` was given.
    pub(super) fn place(&self, key: &str) -> Option<Span> {
        self.settings.get(key).map(|setting| setting.name)
    }

    /// The text of `key`, if it was given.
    pub(super) fn text(&mut self, key: &str) -> Option<&'a Text> {
        match &self.settings.get(key)?.value {
            Value::Text(text) => Some(text),
            Value::List(_, span) => {
                self.findings
                    .error(*span, format!("{key}: expected a single value, not a list"));
                None
            }
        }
    }

    /// The text of `key`, which must not be empty.
    pub(super) fn filled(&mut self, key: &str) -> Option<&'a Text> {
        let text = self.text(key)?;
        if text.value.is_empty() {
            self.findings
                .error(text.span, format!("{key}: must not be empty"));
            return None;
        }
        Some(text)
    }

    /// The number of `key`, within `range`; `what` completes "expected ...".
    pub(super) fn number(
        &mut self,
        key: &str,
        what: &str,
        range: &RangeInclusive<u64>,
    ) -> Option<u64> {
        let text = self.text(key)?;
        if self
            .settings
            .get(key)
            .is_some_and(|setting| setting.appended)
        {
            self.findings
                .error(text.span, format!("{key}: `+=` cannot add numbers"));
            return None;
        }
        let number = integer(&text.value).and_then(|n| u64::try_from(n).ok());
        if let Some(number) = number.filter(|n| range.contains(n)) {
            return Some(number);
        }
        let message = format!(
            "{key}: expected {what}, {} to {}, not \"{}\"",
            range.start(),
            range.end(),
            text.value.escape_debug()
        );
        self.findings.error(text.span, message);
        None
    }

    /// The truth of `key`: a number, 0 for false.
    pub(super) fn boolean(&mut self, key: &str) -> Option<bool> {
        let text = self.text(key)?;
        let number = integer(&text.value);
        if number.is_none() {
            let message = format!(
                "{key}: expected 0 or 1, not \"{}\"",
                text.value.escape_debug()
            );
            self.findings.error(text.span, message);
        }
        number.map(|n| n != 0)
    }

    /// The strings in the list of `key`; none if it was not given.
    pub(super) fn list(&mut self, key: &str) -> Vec<&'a Text> {
        let Some(setting) = self.settings.get(key) else {
            return Vec::new();
        };
        let items = match &setting.value {
            Value::List(items, _) => items,
            Value::Text(text) => {
                let message = format!("{key}: expected a list, as in {key} = [ \"...\" ]");
                self.findings.error(text.span, message);
                return Vec::new();
            }
        };
        let mut texts = Vec::new();
        for item in items {
            match item {
                Value::Text(text) => texts.push(text),
                Value::List(_, span) => self
                    .findings
                    .error(*span, format!("{key}: expected a string, not a list")),
            }
        }
        texts
    }

    /// Says that `key`, which is needed, was not given.
    pub(super) fn missing(&mut self, key: &str, advice: &str) {
        if !self.settings.contains_key(key) && !self.meant.contains(&key) {
            let start = Span {
                source: 0,
                start: 0,
                len: 0,
            };
            self.findings
                .error(start, format!("{key} is not given: {advice}"));
        }
    }
}

/// All keys with their status, for the manual.
#[must_use]
pub fn table() -> &'static [Key] {
    KEYS
}

/// A number as C's `strtol` with base 0 reads it, of the whole text.
pub(super) fn integer(text: &str) -> Option<i64> {
    let text = text.trim_start();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = if let Some(hex) = digits.strip_prefix("0x") {
        (16, hex)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, &digits[1..])
    } else {
        (10, digits)
    };
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let number = i64::from_str_radix(digits, radix).ok()?;
    Some(if negative { -number } else { number })
}

fn means(key: &Key, value: &Value, accepted: &str) -> bool {
    match value {
        Value::List(items, _) => items.is_empty() && accepted == "[]",
        Value::Text(text) => match (key.kind, integer(&text.value)) {
            (Kind::Boolean, Some(n)) => integer(accepted).is_some_and(|a| (a != 0) == (n != 0)),
            (_, Some(n)) => integer(accepted) == Some(n),
            (_, None) => text.value == accepted,
        },
    }
}

fn shown(key: &Key, value: &str) -> String {
    if value == "[]" || integer(value).is_some() {
        format!("{}={value}", key.name)
    } else {
        format!("{}=\"{value}\"", key.name)
    }
}

#[cfg(test)]
mod tests {
    use super::integer;

    #[test]
    fn integer_reads_as_strtol_does() {
        assert_eq!(integer("512"), Some(512));
        assert_eq!(integer(" 0x20"), Some(32));
        assert_eq!(integer("010"), Some(8));
        assert_eq!(integer("0"), Some(0));
        assert_eq!(integer("-3"), Some(-3));
        for wrong in [
            "",
            "08",
            "1m",
            "x",
            "--1",
            "-",
            "0x",
            "0x-1",
            "99999999999999999999",
        ] {
            assert_eq!(integer(wrong), None, "{wrong}");
        }
    }
}
