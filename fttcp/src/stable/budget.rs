// SPDX-License-Identifier: GPL-3.0-only
//! One accountant over what all connections of an engine keep for their peers: logged bytes, ranges beyond a gap,
//! bytes of a server that are ahead, and what a recovery holds.
//!
//! A connection is told how much room there is before each of its turns ([`Account::room`]), and what it holds is
//! settled after it. It never takes more than that.

/// The total of all accounts.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: u64,
}

/// One connection's part.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    charged: u32,
    /// How many bytes the connection may add in this turn.
    pub(crate) room: u32,
}

impl Account {
    /// What the connection held when its account was last settled.
    pub(crate) const fn charged(&self) -> usize {
        self.charged as usize
    }
}

impl Budget {
    pub(crate) const fn new(limit: u64) -> Self {
        Self { limit, used: 0 }
    }

    /// Bytes charged to all accounts.
    pub(crate) const fn used(&self) -> u64 {
        self.used
    }

    /// Tells an account what there is room for.
    pub(crate) fn open(&self, account: &mut Account) {
        let room = self.limit.saturating_sub(self.used);
        account.room = u32::try_from(room).unwrap_or(u32::MAX);
    }

    /// The connection now holds so many bytes.
    pub(crate) fn settle(&mut self, account: &mut Account, holds: usize) {
        let holds = u32::try_from(holds).unwrap_or(u32::MAX);
        self.used = self.used - u64::from(account.charged) + u64::from(holds);
        account.charged = holds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_share_one_bound_and_give_back() {
        let mut budget = Budget::new(100);
        let (mut one, mut other) = (Account::default(), Account::default());
        budget.open(&mut one);
        assert_eq!(one.room, 100);
        budget.settle(&mut one, 70);
        budget.settle(&mut one, 60);
        budget.open(&mut other);
        assert_eq!((other.room, budget.used()), (40, 60));
        budget.settle(&mut other, 50);
        budget.open(&mut one);
        assert_eq!(one.room, 0);
        budget.settle(&mut one, 0);
        budget.settle(&mut other, 0);
        assert_eq!(budget.used(), 0);
    }
}
