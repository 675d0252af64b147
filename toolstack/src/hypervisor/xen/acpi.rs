// SPDX-License-Identifier: GPL-3.0-only
//! ACPI tables of a PVH guest: RSDP -> XSDT -> FADT -> DSDT, and XSDT -> MADT.
//!
//! libxenguest loads tables but makes none (for `xl`, libxl makes them with Xen's libacpi). A PVH guest has no
//! chip set, so the tables say little: hardware-reduced ACPI, and one local APIC for each vCPU, by which
//! the guest finds and starts its processors. Left out, because there is nothing behind them:
//!
//! * FACS, PM1 and GPE blocks, PM timer: not there with hardware-reduced ACPI; Xen emulates none of them for PVH.
//! * I/O APIC and interrupt overrides in the MADT: a PVH guest takes its interrupts as event channels.
//! * `_S5` and the sleep registers, power and sleep buttons: the toolstack asks for shutdown through xenstore, and a
//!   guest powers off by the hypercall, or by halting its last vCPU.
//! * HPET, SRAT, SLIT, MCFG: no HPET, no virtual NUMA, no PCI.

use acpi_tables::Aml;
use acpi_tables::aml::{Device, Name, Path, Scope};
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::madt::{EnabledStatus, LocalInterruptController, MADT, ProcessorLocalApic};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use xen_sys::LoadedTable;

use super::memory_map::{ACPI_BASE, PAGE};

const OEM_ID: [u8; 6] = *b"RXL   ";
const OEM_TABLE_ID: [u8; 8] = *b"PVH     ";
const OEM_REVISION: u32 = 1;

/// Where every vCPU's local APIC answers.
const LAPIC_ADDRESS: u32 = 0xfee0_0000;

/// Bytes of an empty table: its header.
const HEADER: u32 = 36;

/// Revision of the DSDT from which on AML integers have 64 bits.
const DSDT_REVISION: u8 = 2;

/// FADT boot flags (`IAPC_BOOT_ARCH`): do not probe for a VGA adapter.
const NO_VGA: u16 = 1 << 2;
/// FADT boot flags: there is no CMOS clock.
const NO_CMOS_RTC: u16 = 1 << 5;

/// The usual system control interrupt. No event ever comes by it, but Linux sets up the one that is named, and 0
/// would be the timer's.
const SCI: u16 = 9;

/// Where the RSDP goes for a kernel that does not take its address from the start info: the end of the range
/// below 1 MiB that ACPI has kernels search.
const LOW_RSDP: u64 = 0x10_0000 - 64;

/// The tables for a guest with `vcpus`, the RSDP first as libxenguest wants it.
///
/// `rsdp_anywhere` says that the kernel follows the start info (`XENFEAT_linux_rsdp_unrestricted`); older Linux
/// searches the last KiB below 1 MiB.
pub(super) fn tables(vcpus: u32, rsdp_anywhere: bool) -> Vec<LoadedTable> {
    let mut blob = Blob::default();
    let dsdt = blob.place(&dsdt(vcpus));
    let fadt = blob.place(&fadt(dsdt));
    let madt = blob.place(&madt(vcpus));
    let mut xsdt = XSDT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    xsdt.add_entry(fadt);
    xsdt.add_entry(madt);
    let xsdt = blob.place(&bytes(&xsdt));

    let after = (ACPI_BASE + blob.0.len() as u64).next_multiple_of(PAGE);
    let rsdp = LoadedTable {
        addr: if rsdp_anywhere { after } else { LOW_RSDP },
        data: bytes(&Rsdp::new(OEM_ID, xsdt)),
    };
    vec![
        rsdp,
        LoadedTable {
            addr: ACPI_BASE,
            data: blob.0,
        },
    ]
}

/// Tables laid one after the other from [`ACPI_BASE`] on.
#[derive(Default)]
struct Blob(Vec<u8>);

impl Blob {
    /// Appends a table at the next multiple of 16; returns its guest-physical address.
    fn place(&mut self, table: &[u8]) -> u64 {
        self.0.resize(self.0.len().next_multiple_of(16), 0);
        let addr = ACPI_BASE + self.0.len() as u64;
        self.0.extend_from_slice(table);
        addr
    }
}

fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}

/// One processor device for each vCPU; its `_UID` is what the MADT calls it.
fn dsdt(vcpus: u32) -> Vec<u8> {
    let mut aml = Vec::new();
    for vcpu in 0..vcpus {
        let hid = Name::new("_HID".into(), &"ACPI0007");
        let uid = Name::new("_UID".into(), &vcpu);
        let name = format!("C{vcpu:03X}");
        Device::new(Path::new(&name), vec![&hid, &uid]).to_aml_bytes(&mut aml);
    }
    let scope = Scope::raw(Path::new("_SB_"), aml);
    let mut table = Sdt::new(
        *b"DSDT",
        HEADER,
        DSDT_REVISION,
        OEM_ID,
        OEM_TABLE_ID,
        OEM_REVISION,
    );
    table.append_slice(&scope);
    table.as_slice().to_vec()
}

fn fadt(dsdt: u64) -> Vec<u8> {
    let mut fadt = FADTBuilder::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION)
        .dsdt_64(dsdt)
        .flag(Flags::HwReducedAcpi)
        .flag(Flags::Wbinvd)
        // Set means: no button in fixed hardware.
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton);
    fadt.iapc_boot_arch = (NO_VGA | NO_CMOS_RTC).into();
    fadt.sci_int = SCI.into();
    bytes(&fadt.finalize())
}

/// All vCPUs are enabled: those that start off line are told so through xenstore (`cpu/N/availability`).
fn madt(vcpus: u32) -> Vec<u8> {
    let lapics = LocalInterruptController::Address(LAPIC_ADDRESS);
    let mut madt = MADT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION, lapics);
    for vcpu in 0..vcpus {
        // Both fit: there are at most 128 vCPUs, and Xen numbers their local APICs by twos.
        let [uid, ..] = vcpu.to_le_bytes();
        let [apic_id, ..] = (2 * vcpu).to_le_bytes();
        madt.add_structure(ProcessorLocalApic::new(
            uid,
            apic_id,
            EnabledStatus::Enabled,
        ));
    }
    bytes(&madt)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tables: &[LoadedTable], addr: u64) -> &[u8] {
        let table = &tables[1];
        let bytes = &table.data[(addr - table.addr) as usize..];
        &bytes[..u32_of(&bytes[4..]) as usize]
    }

    fn u32_of(bytes: &[u8]) -> u32 {
        u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"))
    }

    fn u64_of(bytes: &[u8]) -> u64 {
        u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
    }

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    #[test]
    fn chain_from_rsdp_reaches_every_table_with_right_checksums() {
        let tables = tables(3, true);
        let rsdp = &tables[0].data;
        assert_eq!(&rsdp[..8], b"RSD PTR ");
        assert_eq!((sum(&rsdp[..20]), sum(rsdp)), (0, 0));

        let xsdt = at(&tables, u64_of(&rsdp[24..]));
        assert_eq!(&xsdt[..4], b"XSDT");
        let fadt = at(&tables, u64_of(&xsdt[36..]));
        assert_eq!(&fadt[..4], b"FACP");
        let madt = at(&tables, u64_of(&xsdt[44..]));
        assert_eq!(&madt[..4], b"APIC");
        let dsdt = at(&tables, u64_of(&fadt[140..]));
        assert_eq!(&dsdt[..4], b"DSDT");
        for table in [xsdt, fadt, madt, dsdt] {
            assert_eq!(sum(table), 0);
        }
    }

    #[test]
    fn fadt_is_hardware_reduced_without_legacy_devices() {
        let tables = tables(1, true);
        let xsdt = at(&tables, u64_of(&tables[0].data[24..]));
        let fadt = at(&tables, u64_of(&xsdt[36..]));
        assert_ne!(u32_of(&fadt[112..]) & (1 << 20), 0);
        assert_eq!(
            u16::from_le_bytes([fadt[109], fadt[110]]),
            NO_VGA | NO_CMOS_RTC
        );
    }

    #[test]
    fn madt_numbers_local_apics_by_twos_up_to_the_last() {
        let madt = madt(128);
        assert_eq!(madt.len(), 44 + 128 * 8);
        let last = &madt[madt.len() - 8..];
        // Type 0, length 8, vCPU 127, APIC 254, enabled.
        assert_eq!(last, [0, 8, 127, 254, 1, 0, 0, 0]);
    }

    #[test]
    fn dsdt_has_a_processor_for_each_vcpu() {
        let dsdt = dsdt(128);
        let hits = dsdt
            .windows(8)
            .filter(|window| window == b"ACPI0007")
            .count();
        assert_eq!(hits, 128);
        assert_eq!(u32_of(&dsdt[4..]) as usize, dsdt.len());
    }

    #[test]
    fn rsdp_is_low_for_kernels_that_search_for_it() {
        assert_eq!(tables(1, false)[0].addr, 0xf_ffc0);
        let anywhere = tables(1, true);
        assert_eq!(anywhere[0].addr % PAGE, 0);
        assert!(anywhere[0].addr >= anywhere[1].addr + anywhere[1].data.len() as u64);
    }
}
