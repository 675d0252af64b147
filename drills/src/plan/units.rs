// SPDX-License-Identifier: GPL-3.0-only
//! Times and sizes as drill files write them: `"250ms"`, `"64MiB"`.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// A time in a drill file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

/// A number of bytes in a drill file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

const TIMES: [(&str, f64); 4] = [("us", 1e-6), ("ms", 1e-3), ("min", 60.0), ("s", 1.0)];
const SIZES: [(&str, f64); 7] = [
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("B", 1.0),
];
/// Longer than any drill may last, and more than any may transfer.
const MOST: f64 = 1e15;

/// The number before one of the units, in the base unit; `None` if this is something else.
fn number(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let (digits, factor) = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))?;
    let value: f64 = digits.trim().parse().ok()?;
    let value = value * factor;
    (value.is_finite() && (0.0..MOST).contains(&value)).then_some(value)
}

fn time(text: &str) -> Option<Time> {
    number(text, &TIMES).map(|seconds| Time(Duration::from_secs_f64(seconds)))
}

fn size(text: &str) -> Option<Size> {
    number(text, &SIZES).map(|bytes| Size(bytes as u64))
}

/// Reads a string with a unit, and says how one looks if it is none.
struct Text<T> {
    expected: &'static str,
    read: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_str(Text {
            expected: "a time such as \"250ms\", \"2s\" or \"1.5min\"",
            read: time,
        })
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_str(Text {
            expected: "a number of bytes such as \"4KiB\", \"64MiB\" or \"100MB\"",
            read: size,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let ms = |text| time(text).map(|time| time.0.as_millis());
        assert_eq!(ms("250ms"), Some(250));
        assert_eq!(ms("1.5 s"), Some(1500));
        assert_eq!(ms("2min"), Some(120_000));
        for bad in ["", "3", "s", "-1s", "nans", "infs", "3 h"] {
            assert_eq!(ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_have_units() {
        let bytes = |text| size(text).map(|size| size.0);
        assert_eq!(bytes("4KiB"), Some(4096));
        assert_eq!(bytes("1.5MB"), Some(1_500_000));
        assert_eq!(bytes("17B"), Some(17));
        assert_eq!(bytes("17"), None);
    }
}
