// SPDX-License-Identifier: GPL-3.0-only
//! The Internet checksum: whole (RFC 1071) and incremental (RFC 1624, equation 3).

/// One's complement sum of `data`, folded to 16 bits, not complemented. An odd last byte is padded with zero.
#[must_use]
pub fn sum(data: &[u8]) -> u16 {
    let mut total = 0u64;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        total += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    }
    let mut last = [0u8; 4];
    let rest = words.remainder();
    last[..rest.len()].copy_from_slice(rest);
    total += u64::from(u32::from_ne_bytes(last));
    // Byte order does not matter to the sum itself, only to its final reading (RFC 1071 section 2B).
    u16::from_be_bytes(fold(total).to_ne_bytes())
}

/// One's complement sum of sums.
#[must_use]
pub fn combine(sums: &[u16]) -> u16 {
    fold(sums.iter().map(|&value| u64::from(value)).sum())
}

fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// The checksum after `old` was replaced with `new` (of the same length): `~(~HC + ~m + m')`.
///
/// `odd`: the replaced bytes begin at an odd offset from the start of what is summed.
#[must_use]
pub fn update(check: u16, old: &[u8], new: &[u8], odd: bool) -> u16 {
    let (mut before, mut after) = (sum(old), sum(new));
    if odd {
        before = before.swap_bytes();
        after = after.swap_bytes();
    }
    !combine(&[!check, !before, after])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc_1624_example_gives_the_stated_checksum() {
        // RFC 1624 section 4: HC = 0xDD2F, m = 0x5555, m' = 0x3285, HC' = 0x0000.
        assert_eq!(update(0xDD2F, &[0x55, 0x55], &[0x32, 0x85], false), 0x0000);
    }

    proptest! {
        #[test]
        fn incremental_update_equals_recomputation(
            data in proptest::collection::vec(any::<u8>(), 1..200),
            at in any::<prop::sample::Index>(),
            new in proptest::collection::vec(any::<u8>(), 1..20),
        ) {
            let at = at.index(data.len());
            let len = new.len().min(data.len() - at);
            let mut edited = data.clone();
            edited[at..at + len].copy_from_slice(&new[..len]);
            let got = update(!sum(&data), &data[at..at + len], &new[..len], at % 2 == 1);
            let want = !sum(&edited);
            // 0x0000 and 0xffff are both zero in one's complement.
            prop_assert!(got == want || (got | want == 0xffff && got & want == 0));
        }

        #[test]
        fn sum_equals_pnet(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            // pnet's generic checksum skips one word; word 0 of a zeroed prefix costs nothing.
            let mut padded = vec![0u8; 2];
            padded.extend_from_slice(&data);
            prop_assert_eq!(!sum(&data), pnet_packet::util::checksum(&padded, 0));
        }
    }
}
