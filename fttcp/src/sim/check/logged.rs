// SPDX-License-Identifier: GPL-3.0-only
//! Which bytes of a stream have come, as ranges: for the checker, so it shares nothing with the stable buffer.

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Logged {
    /// Apart from each other, in order.
    ranges: Vec<(u64, u64)>,
}

impl Logged {
    /// Bytes from the start without a gap.
    pub(super) fn prefix(&self) -> u64 {
        self.ranges
            .first()
            .filter(|range| range.0 == 0)
            .map_or(0, |range| range.1)
    }

    /// Position after the highest byte.
    pub(super) fn end(&self) -> u64 {
        self.ranges.last().map_or(0, |range| range.1)
    }

    /// Where something begins or ends.
    pub(super) fn edges(&self) -> impl Iterator<Item = u64> {
        self.ranges.iter().flat_map(|&(from, to)| [from, to])
    }

    pub(super) fn insert(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        let first = self.ranges.partition_point(|range| range.1 < from);
        let last = self.ranges.partition_point(|range| range.0 <= to);
        let mut joined = (from, to);
        for range in &self.ranges[first..last] {
            joined = (joined.0.min(range.0), joined.1.max(range.1));
        }
        self.ranges.splice(first..last, [joined]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn insert_joins_what_touches() {
        let mut logged = Logged::default();
        logged.insert(4, 6);
        assert_eq!((logged.prefix(), logged.end()), (0, 6));
        logged.insert(0, 2);
        logged.insert(9, 12);
        assert_eq!((logged.prefix(), logged.end()), (2, 12));
        logged.insert(2, 4);
        assert_eq!(logged.prefix(), 6);
        logged.insert(1, 20);
        assert_eq!((logged.prefix(), logged.ranges.len()), (20, 1));
    }
}
