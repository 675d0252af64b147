// SPDX-License-Identifier: GPL-3.0-only
//! How many starts in a row did not last. A journal can end whoever takes it in: it restores a state for which there is not
//! enough memory, or in which a fault of the program shows at once. Connections are lost with it; all of them wait as long
//! as one logger after the other dies of it.

use std::fmt;
use std::str::FromStr;

/// A start that comes so many seconds after the one before counts as the next one in a row.
const ROW: u64 = 30;
/// After so many starts in a row the journal is to be put aside.
pub(super) const MOST: u32 = 20;

/// What is known of the last start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Starts {
    /// Which one in a row it was.
    number: u32,
    /// When, in seconds since the machine was started.
    at: u64,
}

impl Starts {
    /// Another start; `None`: there were too many.
    pub(super) const fn another(self, now: u64) -> Option<Self> {
        // A machine that was started anew has an earlier time.
        let in_a_row = match now.checked_sub(self.at) {
            Some(since) => since <= ROW,
            None => false,
        };
        match (in_a_row, self.number) {
            (false, _) => Some(Self { number: 1, at: now }),
            (true, MOST..) => None,
            (true, before) => Some(Self {
                number: before + 1,
                at: now,
            }),
        }
    }
}

impl fmt::Display for Starts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.number, self.at)
    }
}

impl FromStr for Starts {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (number, at) = text.trim_end().split_once(' ').ok_or(())?;
        let (number, at) = (number.parse(), at.parse());
        number
            .and_then(|number| Ok(Self { number, at: at? }))
            .map_err(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_starts_in_a_row_are_counted() {
        let mut starts = Starts::default();
        for at in 0..u64::from(MOST) {
            starts = starts.another(1000 + at * ROW).unwrap();
            assert_eq!(starts.to_string().parse(), Ok(starts));
        }
        assert_eq!(starts.number, MOST);
        assert_eq!(starts.another(starts.at + ROW), None);
        for at in [starts.at + ROW + 1, 5] {
            assert_eq!(starts.another(at), Some(Starts { number: 1, at }));
        }
        for text in ["", "1", "x 2\n", "1 y\n"] {
            assert_eq!(text.parse::<Starts>(), Err(()));
        }
    }
}
