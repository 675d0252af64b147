// SPDX-License-Identifier: GPL-3.0-only
//! Orders and answers as text: `ID VERB ARGS` and `ID ok|error TEXT`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Longest text of an answer in bytes: xenstored lets a guest's node have 2048 with its permissions.
const TEXT_MAX: usize = 1800;
/// Longest time that file systems may be kept frozen.
const HOLD_MAX: Duration = Duration::from_secs(600);
/// Most bytes of a seed: what one `RNDADDENTROPY` of the kernel's pool of 256 bits can use, twice.
const SEED_MAX: usize = 64;

/// What Dom0 wants the agent to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Names the order in its answer; the agent carries out no ID twice.
    pub id: String,
    /// What is to be done.
    pub verb: Verb,
}

/// The orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Write file systems out and freeze them (`FIFREEZE`).
    Quiesce {
        /// After this time the agent thaws by itself; at most 600 s.
        hold: Duration,
        /// Mount points, as [`mount_word`] writes them; none: all that can be frozen.
        mounts: Vec<String>,
    },
    /// Thaw what was frozen.
    Thaw,
    /// Write dirty pages to the disks.
    Flush,
    /// Make this much memory free, out of caches.
    Reclaim {
        /// How much.
        bytes: u64,
    },
    /// Mix fresh randomness into the kernel's generator and have it used from now on.
    Reseed(Seed),
    /// Set the clock if it is off by more than 100 ms.
    Clock {
        /// The time now, since the UNIX epoch.
        unix: Duration,
    },
    /// Tell how memory is used.
    Hints,
}

/// Random bytes, 1 to 64. They are secret: `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(pub Vec<u8>);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seed({} bytes)", self.0.len())
    }
}

/// A text that is no order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("order {id} is not understood: {why}")]
pub struct Malformed {
    /// The order's ID, for the answer; its first word.
    pub id: String,
    /// What is wrong.
    pub why: String,
}

impl Verb {
    /// The word for it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Quiesce { .. } => "quiesce",
            Self::Thaw => "thaw",
            Self::Flush => "flush",
            Self::Reclaim { .. } => "reclaim",
            Self::Reseed(_) => "reseed",
            Self::Clock { .. } => "clock",
            Self::Hints => "hints",
        }
    }

    fn parse(words: &[&str]) -> Result<Self, String> {
        let (name, args) = words
            .split_first()
            .ok_or("expected an ID and a verb".to_owned())?;
        let one = |what: &str| match args {
            [one] => Ok(*one),
            _ => Err(format!("{name} takes {what}")),
        };
        let none = |verb: Self| match args {
            [] => Ok(verb),
            _ => Err(format!("{name} takes no argument")),
        };
        match *name {
            "quiesce" => {
                let (hold, mounts) = args
                    .split_first()
                    .ok_or("quiesce takes a time in ms, then mounts".to_owned())?;
                let hold = Duration::from_millis(number(hold)?);
                if hold.is_zero() || hold > HOLD_MAX {
                    return Err(format!("quiesce takes 1 to {} ms", HOLD_MAX.as_millis()));
                }
                let mounts = mounts.iter().map(|&mount| mount.to_owned()).collect();
                Ok(Self::Quiesce { hold, mounts })
            }
            "thaw" => none(Self::Thaw),
            "flush" => none(Self::Flush),
            "hints" => none(Self::Hints),
            "reclaim" => Ok(Self::Reclaim {
                bytes: number(one("a number of bytes")?)?,
            }),
            "reseed" => one("hexadecimal digits").and_then(seed).map(Self::Reseed),
            "clock" => Ok(Self::Clock {
                unix: Duration::from_nanos(number(one("ns since the UNIX epoch")?)?),
            }),
            other => Err(format!("this agent does not know the verb {other:?}")),
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Quiesce { hold, mounts } => {
                write!(f, " {}", hold.as_millis())?;
                mounts.iter().try_for_each(|mount| write!(f, " {mount}"))
            }
            Self::Reclaim { bytes } => write!(f, " {bytes}"),
            Self::Reseed(Seed(bytes)) => {
                f.write_str(" ")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Clock { unix } => write!(f, " {}", unix.as_nanos()),
            Self::Thaw | Self::Flush | Self::Hints => Ok(()),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.verb)
    }
}

impl FromStr for Order {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let id = words.first().copied().unwrap_or_default().to_owned();
        match Verb::parse(words.get(1..).unwrap_or_default()) {
            Ok(verb) => Ok(Self { id, verb }),
            Err(why) => Err(Malformed { id, why }),
        }
    }
}

fn number(word: &str) -> Result<u64, String> {
    word.parse()
        .map_err(|_| format!("{word:?} is not a number"))
}

fn seed(word: &str) -> Result<Seed, String> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let digits: Option<Vec<u32>> = word.as_bytes().iter().map(digit).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0);
    let bytes: Option<Vec<u8>> = digits.and_then(|digits| {
        let pairs = digits.chunks_exact(2);
        pairs
            .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok())
            .collect()
    });
    match bytes {
        Some(bytes) if (1..=SEED_MAX).contains(&bytes.len()) => Ok(Seed(bytes)),
        // The word is not repeated: it may be most of a secret.
        _ => Err(format!(
            "reseed takes 1 to {SEED_MAX} bytes as pairs of hexadecimal digits"
        )),
    }
}

/// A mount point as one word, the way `/proc/self/mountinfo` writes it: blanks, line ends and backslashes in octal.
#[must_use]
pub fn mount_word(path: &str) -> String {
    let mut word = String::new();
    for letter in path.chars() {
        match letter {
            ' ' | '\t' | '\n' | '\\' => word.push_str(&format!("\\{:03o}", u32::from(letter))),
            other => word.push(other),
        }
    }
    word
}

/// What the agent says to an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The order's ID.
    pub id: String,
    /// `KEY=VALUE` words, or why it failed.
    pub result: Result<String, String>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, text) = match &self.result {
            Ok(text) => ("ok", text),
            Err(text) => ("error", text),
        };
        let text = text.replace(['\n', '\r'], " ");
        let text = &text[..text.floor_char_boundary(TEXT_MAX)];
        write!(f, "{} {word} {text}", self.id)
    }
}

impl FromStr for Answer {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, ' ');
        let id = parts.next().filter(|id| !id.is_empty()).ok_or(())?;
        let word = parts.next().ok_or(())?;
        let text = parts.next().unwrap_or_default().to_owned();
        let result = match word {
            "ok" => Ok(text),
            "error" => Err(text),
            _ => return Err(()),
        };
        Ok(Self {
            id: id.to_owned(),
            result,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_they_are_written() {
        let verbs = [
            Verb::Quiesce {
                hold: Duration::from_millis(2500),
                mounts: vec!["/".into(), mount_word("/my data")],
            },
            Verb::Thaw,
            Verb::Flush,
            Verb::Reclaim { bytes: 1 << 40 },
            Verb::Reseed(Seed(vec![0, 0x7f, 0xff])),
            Verb::Clock {
                unix: Duration::from_nanos(1_795_296_243_123_456_789),
            },
            Verb::Hints,
        ];
        for verb in verbs {
            let order = Order {
                id: "a1".into(),
                verb,
            };
            assert_eq!(order.to_string().parse(), Ok(order));
        }
    }

    #[test]
    fn orders_that_are_none_keep_their_id_and_say_why() {
        let told = |text: &str| {
            let Malformed { id, why } = text.parse::<Order>().unwrap_err();
            assert_eq!(id, text.split(' ').next().unwrap_or_default());
            why
        };
        assert_eq!(told(""), "expected an ID and a verb");
        assert_eq!(
            told("7 dance"),
            "this agent does not know the verb \"dance\""
        );
        assert_eq!(told("7 thaw now"), "thaw takes no argument");
        assert_eq!(told("7 quiesce"), "quiesce takes a time in ms, then mounts");
        assert_eq!(told("7 quiesce 0"), "quiesce takes 1 to 600000 ms");
        assert_eq!(told("7 quiesce 600001 /"), told("7 quiesce 0"));
        assert_eq!(told("7 reclaim many"), "\"many\" is not a number");
        assert_eq!(told("7 reclaim"), "reclaim takes a number of bytes");
        assert_eq!(told("7 clock -1"), "\"-1\" is not a number");
        for bad in ["abc", "xy", "é0", &"00".repeat(65)] {
            let why = told(&format!("7 reseed {bad}"));
            assert!(why.starts_with("reseed takes 1 to 64 bytes"), "{why}");
        }
    }

    #[test]
    fn a_seed_is_not_shown() {
        let order: Order = "7 reseed 0badc0de".parse().unwrap();
        assert!(!format!("{order:?}").contains("173"), "{order:?}");
        assert!(format!("{order:?}").contains("Seed(4 bytes)"), "{order:?}");
    }

    #[test]
    fn answers_are_one_line_short_and_read_back() {
        let answer = Answer {
            id: "7".into(),
            result: Err("no\nline".into()),
        };
        assert_eq!(answer.to_string(), "7 error no line");
        let long = Answer {
            id: "7".into(),
            result: Ok("ä".repeat(2000)),
        };
        assert!(long.to_string().len() < 2000);
        assert_eq!(
            "7 ok a=1 b=2".parse(),
            Ok(Answer {
                id: "7".into(),
                result: Ok("a=1 b=2".into())
            })
        );
        for bad in ["", "7", "7 maybe x"] {
            assert_eq!(bad.parse::<Answer>(), Err(()));
        }
    }
}
