// SPDX-License-Identifier: GPL-3.0-only
//! Byte strings in pieces of memory of their own, cut into cells: what lies there does not keep the pages of what was
//! freed around it. Thousands of connections that fall asleep one after the other would otherwise leave a heap full of holes, none
//! of which is a whole page that could be given back.

/// Bytes of a string in one cell; with the number of the next one it has 48.
const ROOM: usize = 44;
/// The number of no cell.
const NONE: u32 = u32::MAX;
/// Cells in a piece of memory.
const BLOCK: usize = 1024;

/// A string's place. It must be freed.
#[derive(Debug)]
pub(in super::super) struct Place {
    first: u32,
    length: u32,
}

impl Place {
    /// The string's length in bytes.
    pub(in super::super) const fn len(&self) -> usize {
        self.length as usize
    }
}

#[derive(Debug)]
struct Cell {
    bytes: [u8; ROOM],
    next: u32,
}

/// See the module's text.
#[derive(Debug)]
pub(in super::super) struct Cells {
    /// Each with room for [`BLOCK`] cells.
    blocks: Vec<Vec<Cell>>,
    /// Cells that there are, the free ones included.
    count: usize,
    /// The first of those that are free, in a chain.
    free: u32,
}

impl Default for Cells {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            count: 0,
            free: NONE,
        }
    }
}

impl Cells {
    /// Keeps a string; `None`: it is too long, or there are too many.
    pub(in super::super) fn put(&mut self, bytes: &[u8]) -> Option<Place> {
        let length = u32::try_from(bytes.len()).ok()?;
        if self.count + bytes.len().div_ceil(ROOM) >= NONE as usize {
            return None;
        }
        let mut first = NONE;
        // From its end on, so that each cell knows the next.
        for piece in bytes.chunks(ROOM).rev() {
            let mut cell = Cell {
                bytes: [0; ROOM],
                next: first,
            };
            cell.bytes[..piece.len()].copy_from_slice(piece);
            first = self.place(cell);
        }
        Some(Place { first, length })
    }

    fn place(&mut self, cell: Cell) -> u32 {
        if self.free == NONE {
            if self.count.is_multiple_of(BLOCK) {
                self.blocks.push(Vec::with_capacity(BLOCK));
            }
            self.blocks[self.count / BLOCK].push(cell);
            self.count += 1;
            return (self.count - 1) as u32;
        }
        let number = self.free;
        let place = &mut self.blocks[number as usize / BLOCK][number as usize % BLOCK];
        self.free = place.next;
        *place = cell;
        number
    }

    /// The string.
    pub(in super::super) fn get(&self, place: &Place) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(place.len());
        let mut number = place.first;
        while bytes.len() < place.len() {
            let cell = &self.blocks[number as usize / BLOCK][number as usize % BLOCK];
            let more = ROOM.min(place.len() - bytes.len());
            bytes.extend_from_slice(&cell.bytes[..more]);
            number = cell.next;
        }
        bytes
    }

    /// Forgets a string.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is freed has no place any more"
    )]
    pub(in super::super) fn free(&mut self, place: Place) {
        let mut number = place.first;
        while number != NONE {
            let cell = &mut self.blocks[number as usize / BLOCK][number as usize % BLOCK];
            let next = std::mem::replace(&mut cell.next, self.free);
            self.free = number;
            number = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn strings_stay_what_they_are_and_their_cells_are_used_again(
            strings in proptest::collection::vec((0_usize..300, any::<u8>(), any::<bool>()), 1..40)
        ) {
            let mut cells = Cells::default();
            let mut kept = Vec::new();
            let mut most = 0;
            for (length, byte, forget) in strings {
                let string: Vec<u8> = (0..length).map(|at| byte.wrapping_add(at as u8)).collect();
                let place = cells.put(&string).unwrap();
                prop_assert_eq!(place.len(), length);
                kept.push((string, place));
                let used = kept.iter().map(|(string, _)| string.len().div_ceil(ROOM)).sum();
                most = most.max(used);
                prop_assert_eq!(cells.count, most);
                if forget {
                    let (_, place) = kept.remove(usize::from(byte) % kept.len());
                    cells.free(place);
                }
                for (string, place) in &kept {
                    prop_assert_eq!(&cells.get(place), string);
                }
            }
        }
    }
}
