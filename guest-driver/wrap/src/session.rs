// SPDX-License-Identifier: GPL-3.0-only
//! What is recorded, and what comes back on replay: the rules without the calls.
//!
//! A replay never guesses: a program that asks for something else than the record has next has taken another way, and is
//! told so instead of being fed what it did not ask for. When the record is used up, the replay is over and the
//! program lives on with the real world.

use crate::record::{READY_MAX, READY_ROOM, Record, decode, encode_ready, put_pair};

/// Clocks that are told apart; see [`Record::Clock`].
const CLOCKS: usize = 18;
/// Of these, those that count from some start: monotonic ones and processor time (`clockid_t`).
const COUNTING: [usize; 6] = [1, 2, 3, 4, 6, 7];
/// One more than the last of them.
const AHEAD: usize = 8;
const UNKNOWN: i64 = i64::MIN;

/// Where records go. What is committed must become visible at once.
pub trait Log {
    /// Room for so many bytes behind what is committed.
    fn room(&mut self, bytes: usize) -> &mut [u8];

    /// The next record is in the first so many bytes of the room.
    fn commit(&mut self, bytes: usize);
}

/// Records.
#[derive(Debug)]
pub struct Recorder<L> {
    log: L,
    /// The list of the last wait: kept, so that no call allocates.
    list: Vec<u8>,
    clocks: [i64; CLOCKS],
    /// After a replay: what is added to a clock that must not go backwards; [`UNKNOWN`]: it was not looked at yet.
    ahead: [i64; AHEAD],
}

impl<L: Log> Recorder<L> {
    /// Nothing is recorded yet.
    pub const fn new(log: L) -> Self {
        Self {
            log,
            list: Vec::new(),
            clocks: [0; CLOCKS],
            ahead: [0; AHEAD],
        }
    }

    /// The program lives on behind a replay, whose records are in `log`. Its clocks do: one that counts from the start of the
    /// machine is not as far here as where the record was made.
    pub fn after(log: L, player: &Player<'_>) -> Self {
        let mut ahead = [0; AHEAD];
        for clock in COUNTING {
            ahead[clock] = UNKNOWN;
        }
        Self {
            log,
            list: Vec::new(),
            clocks: player.clocks,
            ahead,
        }
    }

    /// Appends a record.
    #[inline(always)]
    pub fn add(&mut self, record: &Record<'_>) {
        let length = record.encode(self.log.room(record.room()));
        self.log.commit(length);
    }

    /// A clock was read, in ns. What the program is to be told.
    pub fn clock(&mut self, clock: usize, now: i64) -> i64 {
        let Some(last) = self.clocks.get_mut(clock) else {
            return now;
        };
        let mut now = now;
        if let Some(ahead) = self.ahead.get_mut(clock) {
            if *ahead == UNKNOWN {
                *ahead = last.saturating_sub(now).max(0);
            }
            now = now.saturating_add(*ahead);
        }
        let delta = now.wrapping_sub(std::mem::replace(last, now));
        self.add(&Record::Clock {
            clock: clock as u64,
            delta,
        });
        now
    }

    /// These were ready, `most` of them at most.
    #[inline]
    pub fn ready(&mut self, result: i64, most: usize, pairs: impl Iterator<Item = (u64, u64)>) {
        if most <= READY_MAX {
            let length = encode_ready(result, pairs, self.log.room(READY_ROOM));
            self.log.commit(length);
        } else {
            self.many_ready(result, pairs);
        }
    }

    fn many_ready(&mut self, result: i64, pairs: impl Iterator<Item = (u64, u64)>) {
        let mut list = std::mem::take(&mut self.list);
        list.clear();
        for (which, events) in pairs {
            put_pair(&mut list, which, events);
        }
        self.add(&Record::Ready {
            result,
            list: &list,
        });
        self.list = list;
    }

    /// The log, to be changed.
    pub const fn log_mut(&mut self) -> &mut L {
        &mut self.log
    }

    /// The log.
    pub const fn log(&self) -> &L {
        &self.log
    }
}

/// Plays a record back.
#[derive(Debug)]
pub struct Player<'a> {
    records: &'a [u8],
    at: usize,
    number: u64,
    clocks: [i64; CLOCKS],
}

/// The program asks for something else than the record has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diverged(pub String);

impl<'a> Player<'a> {
    /// Plays `records` from their beginning.
    #[must_use]
    pub const fn new(records: &'a [u8]) -> Self {
        Self {
            records,
            at: 0,
            number: 0,
            clocks: [0; CLOCKS],
        }
    }

    /// Whether nothing is left.
    #[must_use]
    #[inline]
    pub const fn is_used_up(&self) -> bool {
        self.at >= self.records.len()
    }

    /// How many records were played.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The next record if `wanted` takes it, which gives what it wants of it; `None` when the record is used up.
    ///
    /// # Errors
    /// The next record is about something else, or cannot be read.
    pub fn next<T>(
        &mut self,
        asked: &str,
        wanted: impl FnOnce(Record<'a>) -> Option<T>,
    ) -> Result<Option<T>, Diverged> {
        let rest = self.records.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let number = self.number + 1;
        let Some((record, length)) = decode(rest) else {
            return Err(Diverged(format!("record {number} is damaged")));
        };
        if let Record::Stop { why } = record {
            let why = String::from_utf8_lossy(why);
            return Err(Diverged(format!(
                "the record ends at record {number}, because {why}"
            )));
        }
        let Some(value) = wanted(record) else {
            return Err(Diverged(format!(
                "at record {number} the program asks for {asked}, the record has {}",
                record.name()
            )));
        };
        self.at += length;
        self.number = number;
        Ok(Some(value))
    }

    /// What clock `clock` said, in ns.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn clock(&mut self, clock: usize) -> Result<Option<i64>, Diverged> {
        let delta = self.next("a clock", |record| match record {
            Record::Clock { clock: of, delta } if of == clock as u64 => Some(delta),
            _ => None,
        })?;
        Ok(delta.zip(self.clocks.get_mut(clock)).map(|(delta, last)| {
            *last = last.wrapping_add(delta);
            *last
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::pairs;

    #[derive(Default)]
    struct Memory {
        bytes: Vec<u8>,
        length: usize,
    }

    impl Log for Memory {
        fn room(&mut self, bytes: usize) -> &mut [u8] {
            self.bytes.resize(self.length + bytes, 0);
            &mut self.bytes[self.length..]
        }

        fn commit(&mut self, bytes: usize) {
            self.length += bytes;
        }
    }

    fn recorded(play: impl FnOnce(&mut Recorder<Memory>)) -> Vec<u8> {
        let mut recorder = Recorder::new(Memory::default());
        play(&mut recorder);
        let Memory { bytes, length } = recorder.log();
        bytes[..*length].to_vec()
    }

    fn read(fd: i64) -> impl Fn(Record<'_>) -> Option<i64> {
        move |record| match record {
            Record::Read { fd: of, result } if of == fd => Some(result),
            _ => None,
        }
    }

    #[test]
    fn clocks_come_back_each_by_itself_also_when_they_go_backwards() {
        let looks = [(0, 50), (1, 7), (0, 40), (17, 3), (1, 8), (0, i64::MAX)];
        let records = recorded(|r| {
            for &(clock, now) in &looks {
                assert_eq!(r.clock(clock, now), now);
            }
        });
        let mut player = Player::new(&records);
        for (clock, now) in looks {
            assert_eq!(player.clock(clock), Ok(Some(now)));
        }
        assert_eq!(player.clock(0), Ok(None));
    }

    /// Processes say so when time goes backwards; the time of day is everybody's.
    #[test]
    fn after_a_replay_clocks_go_on_and_never_back() {
        let records = recorded(|r| {
            r.clock(1, 5000);
            r.clock(0, 90);
        });
        let mut player = Player::new(&records);
        assert_eq!(
            (player.clock(1), player.clock(0)),
            (Ok(Some(5000)), Ok(Some(90)))
        );
        assert!(player.is_used_up());
        let mut recorder = Recorder::after(Memory::default(), &player);
        // This machine was started later: 5000 there is 70 here.
        assert_eq!(
            [recorder.clock(1, 70), recorder.clock(1, 100)],
            [5000, 5030]
        );
        assert_eq!(recorder.clock(0, 80), 80);
        // It was never looked at before.
        assert_eq!(recorder.clock(7, 3), 3);
        // A second replay knows nothing of all that.
        let Memory { bytes, length } = recorder.log();
        let all = [&records[..], &bytes[..*length]].concat();
        let mut again = Player::new(&all);
        let looks = [1, 0, 1, 1, 0].map(|clock| again.clock(clock).unwrap().unwrap());
        assert_eq!(looks, [5000, 90, 5000, 5030, 80]);
    }

    #[test]
    fn what_was_ready_comes_back_in_its_order_few_or_many() {
        for count in 0..2 * READY_MAX {
            let ready: Vec<_> = (0..count as u64).rev().map(|n| (n, 0x2011)).collect();
            let result = count as i64;
            let records = recorded(|r| r.ready(result, count, ready.iter().copied()));
            let mut player = Player::new(&records);
            let got = player.next("events", |record| match record {
                Record::Ready { result, list } => Some((result, pairs(list).collect::<Vec<_>>())),
                _ => None,
            });
            assert_eq!(got, Ok(Some((result, ready))));
        }
    }

    #[test]
    fn another_question_than_the_records_is_told_and_not_answered() {
        let records = recorded(|r| r.add(&Record::Read { fd: 5, result: 3 }));
        let mut player = Player::new(&records);
        let Err(Diverged(told)) = player.next("a read of descriptor 6", read(6)) else {
            panic!("it was answered");
        };
        assert_eq!(
            told,
            "at record 1 the program asks for a read of descriptor 6, the record has a read"
        );
        assert_eq!(player.next("a read", read(5)), Ok(Some(3)));
    }

    #[test]
    fn a_record_that_was_given_up_is_not_replayed_beyond_its_end() {
        let records = recorded(|r| r.add(&Record::Stop { why: b"of threads" }));
        let told = Player::new(&records).clock(0).unwrap_err();
        assert_eq!(told.0, "the record ends at record 1, because of threads");
    }
}
