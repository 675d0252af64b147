// SPDX-License-Identifier: GPL-3.0-only
//! Where a PVH guest's memory lies, and the E820 map that tells it so.
//!
//! Memory starts at 0 and leaves a hole below 4 GiB, in which the ACPI tables, the local APIC and the special pages
//! (the rings, among others) have their places. These places are libxl's, so that guests find what they are used to.

use xen_sys::{E820Entry, HvmLayout, consts};

use crate::ids::KiB;

/// Where the ACPI tables start; the hole starts here too. The same place as `libacpi`'s.
pub(super) const ACPI_BASE: u64 = 0xfc00_0000;

/// Bytes in a page.
pub(super) const PAGE: u64 = 4096;

const FOUR_GIB: u64 = 1 << 32;

const RAM: u32 = 1;
const RESERVED: u32 = 2;
const ACPI: u32 = 3;

/// Lays out `seen` of memory, of which `given` is there at the start. Less than is seen means populate on demand:
/// the guest's balloon driver must give the difference back before it is used.
pub(super) fn layout(given: KiB, seen: KiB) -> HvmLayout {
    let size = seen.mib() << 20;
    let above = size.saturating_sub(ACPI_BASE);
    HvmLayout {
        target_pages: KiB::from_mib(given.min(seen).mib()).pages(),
        lowmem_end: size.min(ACPI_BASE),
        highmem_end: if above == 0 { 0 } else { FOUR_GIB + above },
        mmio_start: ACPI_BASE,
        mmio_size: FOUR_GIB - ACPI_BASE,
    }
}

/// The map for a layout with ACPI tables at `tables` (address and length), in ascending order and without overlaps.
pub(super) fn e820(layout: &HvmLayout, tables: &[(u64, u64)]) -> Vec<E820Entry> {
    let special = (consts::HVM_END_SPECIAL_REGION - consts::HVM_NR_SPECIAL_PAGES) * PAGE;
    let mut taken: Vec<E820Entry> = tables
        .iter()
        .map(|(addr, length)| {
            let start = addr - addr % PAGE;
            let end = (addr + length).next_multiple_of(PAGE);
            E820Entry {
                addr: start,
                size: end - start,
                kind: ACPI,
            }
        })
        .collect();
    taken.push(E820Entry {
        addr: special,
        size: consts::HVM_NR_SPECIAL_PAGES * PAGE,
        kind: RESERVED,
    });
    taken.sort_by_key(|entry| entry.addr);

    let mut map = Vec::new();
    let mut ram_from = 0;
    for entry in taken {
        push_ram(&mut map, ram_from, entry.addr.min(layout.lowmem_end));
        ram_from = entry.addr + entry.size;
        map.push(entry);
    }
    push_ram(&mut map, ram_from, layout.lowmem_end);
    push_ram(&mut map, FOUR_GIB, layout.highmem_end);
    map
}

fn push_ram(map: &mut Vec<E820Entry>, start: u64, end: u64) {
    if start < end {
        map.push(E820Entry {
            addr: start,
            size: end - start,
            kind: RAM,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ram(map: &[E820Entry]) -> u64 {
        map.iter()
            .filter(|entry| entry.kind == RAM)
            .map(|entry| entry.size)
            .sum()
    }

    fn assert_ascending(map: &[E820Entry]) {
        for pair in map.windows(2) {
            assert!(pair[0].addr + pair[0].size <= pair[1].addr, "{pair:?}");
        }
    }

    #[test]
    fn small_guest_has_all_its_memory_at_zero() {
        let layout = layout(KiB::from_mib(128), KiB::from_mib(128));
        let map = e820(&layout, &[(ACPI_BASE, 5000), (ACPI_BASE + 2 * PAGE, 36)]);
        assert_ascending(&map);
        assert_eq!(
            map[0],
            E820Entry {
                addr: 0,
                size: 128 << 20,
                kind: RAM
            }
        );
        assert_eq!(
            map[1],
            E820Entry {
                addr: ACPI_BASE,
                size: 2 * PAGE,
                kind: ACPI
            }
        );
        assert_eq!(map[3].kind, RESERVED);
        assert_eq!(ram(&map), 128 << 20);
        assert_eq!(layout.highmem_end, 0);
    }

    #[test]
    fn low_rsdp_cuts_one_page_out_of_ram() {
        let layout = layout(KiB::from_mib(128), KiB::from_mib(128));
        let map = e820(&layout, &[(0x10_0000 - 64, 36), (ACPI_BASE, 100)]);
        assert_ascending(&map);
        assert_eq!(
            map[1],
            E820Entry {
                addr: 0xf_f000,
                size: PAGE,
                kind: ACPI
            }
        );
        assert_eq!(ram(&map), (128 << 20) - PAGE);
    }

    #[test]
    fn large_guest_continues_above_four_gib() {
        let layout = layout(KiB::from_mib(6144), KiB::from_mib(6144));
        let map = e820(&layout, &[(ACPI_BASE, 100)]);
        assert_ascending(&map);
        assert_eq!(ram(&map), 6144 << 20);
        assert_eq!(map.last().map(|entry| entry.addr), Some(FOUR_GIB));
        assert_eq!(layout.lowmem_end, ACPI_BASE);
        assert_eq!(layout.mmio_start + layout.mmio_size, FOUR_GIB);
    }

    #[test]
    fn balloon_target_is_populated_and_maximum_is_seen() {
        let layout = layout(KiB::from_mib(96), KiB::from_mib(160));
        assert_eq!(layout.target_pages, 96 * 256);
        assert_eq!(layout.lowmem_end, 160 << 20);
    }
}
