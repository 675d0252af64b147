// SPDX-License-Identifier: GPL-3.0-only
//! Records as bytes: length, checksum, kind, contents. A file that ends in the middle of a record, as that of a
//! process that was killed while it wrote, ends before it.

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use super::Kind;
use crate::engine::IMAGE_VERSION;

/// What a journal begins with; the layout's version follows.
const MAGIC: [u8; 8] = *b"ftlogjnl";
/// Length and checksum, 32 bits each, little-endian.
const HEAD: usize = 8;

/// The bytes with which a journal begins.
pub(crate) fn header() -> [u8; 12] {
    let mut header = [0; 12];
    header[..8].copy_from_slice(&MAGIC);
    header[8..].copy_from_slice(&IMAGE_VERSION.to_le_bytes());
    header
}

/// Why a journal cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// It begins with something else.
    #[error("it is not a journal of ftlogger")]
    NotOne,
    /// Another version wrote it.
    #[error(
        "another version of ftlogger wrote it (layout {found}, this one knows {IMAGE_VERSION})"
    )]
    Version {
        /// The layout's version.
        found: u32,
    },
    /// A record is not as it was written.
    #[error("it is damaged at byte {at}: {what}")]
    Damaged {
        /// Where the record begins.
        at: usize,
        /// What is wrong.
        what: String,
    },
}

/// Appends records to a buffer.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Appends a record: `value` in postcard's form, and `tail` as it is. Returns the digest of both.
    ///
    /// # Errors
    /// [`Unwritable`]: `value` has no form, or the record would be too long; nothing was appended.
    pub(crate) fn put(
        &mut self,
        kind: Kind,
        value: &impl Serialize,
        tail: &[u8],
    ) -> Result<u64, Unwritable> {
        let start = self.bytes.len();
        self.bytes.extend([0; HEAD]);
        self.bytes.push(kind as u8);
        let written = postcard::to_extend(value, Appended(&mut self.bytes)).is_ok();
        self.bytes.extend_from_slice(tail);
        let len = u32::try_from(self.bytes.len() - start - HEAD);
        let (Ok(len), true) = (len, written) else {
            self.bytes.truncate(start);
            return Err(Unwritable);
        };
        let digest = xxh3_64(&self.bytes[start + HEAD..]);
        self.bytes[start..start + 4].copy_from_slice(&len.to_le_bytes());
        self.bytes[start + 4..start + HEAD].copy_from_slice(&(digest as u32).to_le_bytes());
        Ok(digest)
    }

    /// As [`Writer::put`], unless the digest is `known`.
    ///
    /// # Errors
    /// As [`Writer::put`].
    pub(crate) fn put_new(
        &mut self,
        kind: Kind,
        value: &impl Serialize,
        known: u64,
    ) -> Result<u64, Unwritable> {
        let start = self.bytes.len();
        let digest = self.put(kind, value, &[])?;
        if digest == known {
            self.bytes.truncate(start);
        }
        Ok(digest)
    }
}

/// A record could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unwritable;

/// Takes what is serialized to the end of a buffer.
struct Appended<'a>(&'a mut Vec<u8>);

impl Extend<u8> for Appended<'_> {
    fn extend<T: IntoIterator<Item = u8>>(&mut self, bytes: T) {
        self.0.extend(bytes);
    }
}

/// A record: where it begins, its kind, its contents.
pub(crate) type Found<'a> = (usize, u8, &'a [u8]);

/// Reads a journal record by record: kind and contents.
#[derive(Debug)]
pub(crate) struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, JournalError> {
        let whole = header();
        if bytes.len() < whole.len() && whole.starts_with(bytes) {
            // Killed while it began: nothing was written yet.
            return Ok(Self { bytes: &[], at: 0 });
        }
        let version = bytes
            .strip_prefix(&MAGIC)
            .and_then(|rest| rest.first_chunk());
        let found = u32::from_le_bytes(*version.ok_or(JournalError::NotOne)?);
        if found != IMAGE_VERSION {
            return Err(JournalError::Version { found });
        }
        Ok(Self {
            bytes,
            at: whole.len(),
        })
    }

    /// Where the record begins that was given last.
    pub(crate) fn damaged(at: usize, what: impl Into<String>) -> JournalError {
        JournalError::Damaged {
            at,
            what: what.into(),
        }
    }

    /// The next record with its place; `None`: the journal ends, perhaps in the middle of a record.
    pub(crate) fn next(&mut self) -> Result<Option<Found<'a>>, JournalError> {
        let at = self.at;
        let rest = &self.bytes[at.min(self.bytes.len())..];
        let Some((head, rest)) = rest.split_at_checked(HEAD) else {
            return Ok(None);
        };
        let number =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (len, sum) = (number(0) as usize, number(4));
        let Some(contents) = rest.get(..len) else {
            return Ok(None);
        };
        let whole = xxh3_64(contents) as u32 == sum;
        match contents.split_first() {
            Some((&kind, contents)) if whole => {
                self.at = at + HEAD + len;
                Ok(Some((at, kind, contents)))
            }
            // The last record, and not all of it reached the file.
            _ if len == rest.len() || rest.iter().all(|&byte| byte == 0) => Ok(None),
            _ => Err(Self::damaged(at, "its checksum is wrong")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> Vec<u8> {
        let mut writer = Writer::default();
        writer.put(Kind::Tick, &7_u64, b"").unwrap();
        let client = writer.put(Kind::Client, &(1_u32, 2_u64), b"bytes");
        client.unwrap();
        [&header()[..], writer.bytes()].concat()
    }

    fn count(bytes: &[u8]) -> Result<usize, JournalError> {
        let mut records = Records::new(bytes)?;
        let mut count = 0;
        while records.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn what_has_no_form_is_an_error_and_leaves_no_trace() {
        struct Formless;
        impl Serialize for Formless {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                (1_u64, "begun").serialize(serializer)?;
                Err(serde::ser::Error::custom("no form"))
            }
        }
        let mut writer = Writer::default();
        writer.put(Kind::Tick, &7_u64, b"").unwrap();
        let before = writer.bytes().to_vec();
        assert_eq!(writer.put(Kind::State, &Formless, b"tail"), Err(Unwritable));
        assert_eq!(writer.put_new(Kind::State, &Formless, 0), Err(Unwritable));
        assert_eq!(writer.bytes(), before);
    }

    #[test]
    fn torn_tail_ends_the_journal_before_it() {
        let bytes = journal();
        assert_eq!(count(&bytes), Ok(2));
        for len in 0..bytes.len() {
            assert!(count(&bytes[..len]).unwrap() < 2, "{len}");
        }
        let mut holed = bytes.clone();
        holed.extend([0; 100]);
        assert_eq!(count(&holed), Ok(2));
    }

    #[test]
    fn changed_byte_before_the_last_record_is_damage() {
        let bytes = journal();
        for at in 16..21 {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let error = count(&changed).unwrap_err();
            assert!(error.to_string().contains("byte 12"), "{error}");
        }
        assert_eq!(count(b"something else"), Err(JournalError::NotOne));
        let mut newer = bytes;
        newer[8] ^= 0x80;
        assert!(matches!(count(&newer), Err(JournalError::Version { .. })));
    }

    #[test]
    fn put_new_writes_only_what_is_new() {
        let mut writer = Writer::default();
        let digest = writer.put_new(Kind::Tick, &1_u64, 0).unwrap();
        let len = writer.bytes().len();
        assert_eq!(writer.put_new(Kind::Tick, &1_u64, digest), Ok(digest));
        assert_eq!(writer.bytes().len(), len);
        assert_ne!(writer.put_new(Kind::Tick, &2_u64, digest), Ok(digest));
    }
}
