// SPDX-License-Identifier: GPL-3.0-only
//! What program and agent say to each other: messages of two words (u64, little-endian), the kind and its value. A refusal
//! is followed by a message of text. The program's side of this is `rxl-wrap`.

/// The agent's first message, with the descriptor: `rxlwrap2`; the value is the size of the area.
const HELLO: u64 = u64::from_le_bytes(*b"rxlwrap2");
const NEWS: u64 = 1;
const GROW: u64 = 2;
const SIZE: u64 = 3;
const REFUSED: u64 = 4;

/// Bytes of a message.
pub(super) const LENGTH: usize = 16;
/// Most bytes of a refusal's text.
const TEXT_MAX: usize = 200;

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// To the program, first: an area of this size comes with it.
    Hello(u64),
    /// To the program: look at the logger's words; the area has this size.
    News(u64),
    /// To the agent: the area should have this size at least.
    Grow(u64),
    /// To the program: the area has this size; the answer to [`Self::Grow`].
    Size(u64),
    /// To the program, in place of [`Self::Hello`]: there is no area; why comes as text.
    Refused,
}

impl Message {
    /// As it is sent.
    pub(super) fn encode(self) -> [u8; LENGTH] {
        let (kind, value) = match self {
            Self::Hello(size) => (HELLO, size),
            Self::News(size) => (NEWS, size),
            Self::Grow(wanted) => (GROW, wanted),
            Self::Size(size) => (SIZE, size),
            Self::Refused => (REFUSED, 0),
        };
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(&kind.to_le_bytes());
        bytes[8..].copy_from_slice(&value.to_le_bytes());
        bytes
    }

    /// The message that `bytes` are; `None` if they are none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, value) = bytes.split_at_checked(8)?;
        let value = u64::from_le_bytes(value.try_into().ok()?);
        match u64::from_le_bytes(kind.try_into().ok()?) {
            HELLO => Some(Self::Hello(value)),
            NEWS => Some(Self::News(value)),
            GROW => Some(Self::Grow(value)),
            SIZE => Some(Self::Size(value)),
            REFUSED => Some(Self::Refused),
            _ => None,
        }
    }
}

/// A refusal's text as it is sent: cut if it is too long.
pub(super) fn refusal(why: &str) -> &[u8] {
    &why.as_bytes()[..why.floor_char_boundary(TEXT_MAX)]
}

/// Messages for a program that has not read its older ones. It need not read while it runs, so that only what is true now is
/// kept, however often the bell rings.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    size: Option<u64>,
    news: Option<u64>,
}

impl Outbox {
    /// Answers that the area has `size`.
    pub(super) const fn answer(&mut self, size: u64) {
        self.size = Some(size);
    }

    /// Tells that something is new, in an area of `size`.
    pub(super) const fn tell(&mut self, size: u64) {
        self.news = Some(size);
    }

    /// The next message to send.
    pub(super) fn first(&self) -> Option<Message> {
        let answer = self.size.map(Message::Size);
        answer.or_else(|| self.news.map(Message::News))
    }

    /// The first message is sent.
    pub(super) const fn sent(&mut self) {
        if self.size.take().is_none() {
            self.news = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_two_little_endian_words() {
        let bytes = Message::Grow(0x0102).encode();
        assert_eq!(bytes, [2, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&Message::Hello(0).encode()[..8], b"rxlwrap2");
        for message in [
            Message::Hello(1 << 20),
            Message::News(7),
            Message::Grow(8),
            Message::Size(9),
            Message::Refused,
        ] {
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
    }

    #[test]
    fn other_bytes_are_no_message() {
        assert_eq!(Message::decode(&[]), None);
        assert_eq!(Message::decode(&[2; 7]), None);
        assert_eq!(Message::decode(&[2; 15]), None);
        assert_eq!(Message::decode(&[2; 17]), None);
        assert_eq!(Message::decode(&[9; 16]), None);
    }

    #[test]
    fn a_refusal_is_cut_between_characters() {
        assert_eq!(refusal("no"), b"no");
        assert_eq!(refusal(&"\u{e4}".repeat(150)).len(), 200);
        assert_eq!(refusal(&format!("a{}", "\u{e4}".repeat(150))).len(), 199);
    }

    #[test]
    fn an_outbox_keeps_the_last_of_each_kind_and_answers_first() {
        let mut outbox = Outbox::default();
        outbox.tell(1);
        outbox.tell(2);
        outbox.answer(2);
        assert_eq!(outbox.first(), Some(Message::Size(2)));
        outbox.sent();
        assert_eq!(outbox.first(), Some(Message::News(2)));
        outbox.sent();
        assert_eq!(outbox.first(), None);
    }
}
