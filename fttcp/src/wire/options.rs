// SPDX-License-Identifier: GPL-3.0-only
//! TCP options: reading one by one, and the set that the engine writes.

use serde::{Deserialize, Serialize};

use super::{WireError, be16, be32};

pub(super) mod kind {
    pub(crate) const END: u8 = 0;
    pub(crate) const NOP: u8 = 1;
    pub(crate) const MSS: u8 = 2;
    pub(crate) const WINDOW_SCALE: u8 = 3;
    pub(crate) const SACK_PERMITTED: u8 = 4;
    pub(crate) const SACK: u8 = 5;
    pub(crate) const TIMESTAMPS: u8 = 8;
    pub(crate) const MD5: u8 = 19;
    pub(crate) const AO: u8 = 29;
    pub(crate) const MPTCP: u8 = 30;
    pub(crate) const FAST_OPEN: u8 = 34;
    pub(crate) const ENO: u8 = 69;
    pub(crate) const EXPERIMENT_1: u8 = 253;
    pub(crate) const EXPERIMENT_2: u8 = 254;
}

/// The timestamps option (RFC 7323 section 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timestamps {
    /// TSval: the sender's clock.
    pub value: u32,
    /// TSecr: the peer's clock, echoed.
    pub echo: u32,
}

/// The blocks of one SACK option, still as bytes (8 each).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SackBlocks<'a>(pub &'a [u8]);

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpOption<'a> {
    /// Maximum segment size (RFC 9293 section 3.7.1).
    MaxSegmentSize(u16),
    /// Window scale (RFC 7323 section 2.2), at most 14.
    WindowScale(u8),
    /// SACK permitted (RFC 2018 section 2).
    SackPermitted,
    /// SACK blocks (RFC 2018 section 3).
    Sack(SackBlocks<'a>),
    /// Timestamps.
    Timestamps(Timestamps),
    /// Signed segment: TCP-MD5 (RFC 2385) or TCP-AO (RFC 5925).
    Signed,
    /// An option that must not be negotiated through a rewriter: TFO, MPTCP, ENO and the experiments.
    Stateful,
    /// Anything else.
    Unknown(u8),
}

/// Reads options one by one, each with its offset and length. NOPs are skipped; the first error ends it.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Options<'a> {
    /// Over the option bytes of a header.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn fail<T>(&mut self, error: WireError) -> Option<Result<T, WireError>> {
        self.at = self.bytes.len();
        Some(Err(error))
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<(std::ops::Range<usize>, TcpOption<'a>), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.bytes.get(self.at) == Some(&kind::NOP) {
            self.at += 1;
        }
        let code = *self.bytes.get(self.at)?;
        if code == kind::END {
            self.at = self.bytes.len();
            return None;
        }
        let Some(&len) = self.bytes.get(self.at + 1) else {
            return self.fail(WireError::Truncated);
        };
        let range = self.at..self.at + usize::from(len);
        if len < 2 {
            return self.fail(WireError::Malformed);
        }
        let Some(option) = self.bytes.get(range.clone()) else {
            return self.fail(WireError::Truncated);
        };
        let value = match (code, len) {
            (kind::MSS, 4) => TcpOption::MaxSegmentSize(be16(option, 2)),
            (kind::WINDOW_SCALE, 3) => TcpOption::WindowScale(option[2].min(14)),
            (kind::SACK_PERMITTED, 2) => TcpOption::SackPermitted,
            (kind::SACK, _) if len % 8 == 2 && len > 2 => TcpOption::Sack(SackBlocks(&option[2..])),
            (kind::TIMESTAMPS, 10) => TcpOption::Timestamps(Timestamps {
                value: be32(option, 2),
                echo: be32(option, 6),
            }),
            (
                kind::MSS
                | kind::WINDOW_SCALE
                | kind::SACK_PERMITTED
                | kind::SACK
                | kind::TIMESTAMPS,
                _,
            ) => {
                return self.fail(WireError::Malformed);
            }
            (kind::MD5 | kind::AO, _) => TcpOption::Signed,
            (
                kind::MPTCP | kind::FAST_OPEN | kind::ENO | kind::EXPERIMENT_1 | kind::EXPERIMENT_2,
                _,
            ) => TcpOption::Stateful,
            (other, _) => TcpOption::Unknown(other),
        };
        self.at = range.end;
        Some(Ok((range, value)))
    }
}

/// The options that the engine remembers and writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionsRepr {
    /// Maximum segment size.
    pub mss: Option<u16>,
    /// Window scale.
    pub window_scale: Option<u8>,
    /// SACK permitted.
    pub sack_permitted: bool,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
}

impl OptionsRepr {
    /// What of `options` the engine knows.
    ///
    /// # Errors
    /// An option is malformed.
    pub fn parse(options: Options<'_>) -> Result<Self, WireError> {
        let mut repr = Self::default();
        for option in options {
            match option?.1 {
                TcpOption::MaxSegmentSize(mss) => repr.mss = Some(mss),
                TcpOption::WindowScale(scale) => repr.window_scale = Some(scale),
                TcpOption::SackPermitted => repr.sack_permitted = true,
                TcpOption::Timestamps(timestamps) => repr.timestamps = Some(timestamps),
                TcpOption::Sack(_)
                | TcpOption::Signed
                | TcpOption::Stateful
                | TcpOption::Unknown(_) => {}
            }
        }
        Ok(repr)
    }

    /// Writes the options, padded with NOPs to a multiple of four bytes, in the order that Linux uses.
    pub fn emit(&self, out: &mut Vec<u8>) {
        if let Some(mss) = self.mss {
            out.extend([kind::MSS, 4]);
            out.extend(mss.to_be_bytes());
        }
        match (self.sack_permitted, self.timestamps) {
            (true, Some(_)) => out.extend([kind::SACK_PERMITTED, 2]),
            (true, None) => out.extend([kind::NOP, kind::NOP, kind::SACK_PERMITTED, 2]),
            (false, Some(_)) => out.extend([kind::NOP, kind::NOP]),
            (false, None) => {}
        }
        if let Some(timestamps) = self.timestamps {
            out.extend([kind::TIMESTAMPS, 10]);
            out.extend(timestamps.value.to_be_bytes());
            out.extend(timestamps.echo.to_be_bytes());
        }
        if let Some(scale) = self.window_scale {
            out.extend([kind::NOP, kind::WINDOW_SCALE, 3, scale]);
        }
    }

    /// The length that [`OptionsRepr::emit`] writes.
    #[must_use]
    pub const fn len(&self) -> usize {
        let mut len = 0;
        if self.mss.is_some() {
            len += 4;
        }
        if self.timestamps.is_some() {
            len += 12;
        } else if self.sack_permitted {
            len += 4;
        }
        if self.window_scale.is_some() {
            len += 4;
        }
        len
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn emitted_options_parse_back(
            mss in any::<Option<u16>>(),
            scale in proptest::option::of(0u8..=14),
            sack in any::<bool>(),
            stamps in any::<Option<(u32, u32)>>(),
        ) {
            let repr = OptionsRepr {
                mss,
                window_scale: scale,
                sack_permitted: sack,
                timestamps: stamps.map(|(value, echo)| Timestamps { value, echo }),
            };
            let mut bytes = Vec::new();
            repr.emit(&mut bytes);
            prop_assert_eq!(bytes.len(), repr.len());
            prop_assert_eq!(bytes.len() % 4, 0);
            prop_assert_eq!(OptionsRepr::parse(Options::new(&bytes)), Ok(repr));
        }

        #[test]
        fn arbitrary_option_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..=40)) {
            prop_assert!(Options::new(&bytes).count() <= 41);
        }
    }

    #[test]
    fn option_that_overruns_the_header_is_an_error() {
        assert_eq!(
            OptionsRepr::parse(Options::new(&[kind::MSS, 4, 5])),
            Err(WireError::Truncated)
        );
        assert_eq!(
            OptionsRepr::parse(Options::new(&[99, 0, 0, 0])),
            Err(WireError::Malformed)
        );
        assert_eq!(
            OptionsRepr::parse(Options::new(&[kind::TIMESTAMPS, 9, 0, 0, 0, 0, 0, 0, 0])),
            Err(WireError::Malformed)
        );
    }
}
