// SPDX-License-Identifier: GPL-3.0-only
//! The time in a `Date` or `Last-Modified` field, in the one form that is made today (RFC 9110 section 5.6.7).

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Seconds since the UNIX epoch. `None`: it is no such date, or one before 1970.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let (_, rest) = text.trim().split_once(", ")?;
    let mut words = rest.split(' ');
    let day = number(words.next()?, 2)?;
    let month = words.next()?;
    let month = (1..).zip(MONTHS).find(|(_, name)| *name == month)?.0;
    let year = number(words.next()?, 4)?;
    let mut clock = words.next()?.split(':');
    let mut part = |most| number(clock.next()?, 2).filter(|&part| part <= most);
    let (hour, minute, second) = (part(23)?, part(59)?, part(60)?);
    let ends = words.next() == Some("GMT") && words.next().is_none() && clock.next().is_none();
    let sensible = ends && (1..=31).contains(&day) && year >= 1970;
    sensible.then(|| ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(digits: &str, len: usize) -> Option<u64> {
    let plain = digits.len() == len && digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

/// Days from 1970-01-01 to this one. A year is counted from March, so that the day of a leap year is its last.
const fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_seconds() {
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        let leap = seconds("Thu, 29 Feb 2024 12:00:00 GMT");
        assert_eq!(leap, Some(1_709_208_000));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "0",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(seconds(text), None, "{text:?}");
        }
    }
}
