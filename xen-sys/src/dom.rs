// SPDX-License-Identifier: GPL-3.0-only
//! libxenguest's domain builder: memory, kernel, page tables and start information of a new domain.
//!
//! The methods mirror the `xc_dom_*` chain one to one; their order is the caller's business (it follows
//! libxl's), and libxenguest checks it.

use std::ffi::{CStr, CString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;

use crate::consts::MAX_TABLES;
use crate::ctl::Xenctrl;
use crate::error::XenError;
use crate::raw;

/// What the domain was made as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// Paravirtual.
    Pv,
    /// HVM container (PVH).
    Hvm,
}

/// What the builder must know about the domain besides its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DomSettings {
    /// vCPUs it may have.
    pub max_vcpus: u32,
    /// The guest's port to xenconsoled.
    pub console_port: u32,
    /// The domain that xenconsoled runs in.
    pub console_domid: u16,
    /// The guest's port to xenstored.
    pub store_port: u32,
    /// The domain that xenstored runs in.
    pub store_domid: u16,
}

/// Where the memory of an HVM container lies. Addresses in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HvmLayout {
    /// Pages to populate; fewer than the layout holds means populate on demand.
    pub target_pages: u64,
    /// End of the memory below the hole.
    pub lowmem_end: u64,
    /// End of the memory above 4 GiB; 0 if there is none.
    pub highmem_end: u64,
    /// Start of the hole.
    pub mmio_start: u64,
    /// Size of the hole, which ends at 4 GiB.
    pub mmio_size: u64,
}

/// One range of the guest's memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct E820Entry {
    /// First byte.
    pub addr: u64,
    /// Length in bytes.
    pub size: u64,
    /// 1 RAM, 2 reserved, 3 ACPI tables.
    pub kind: u32,
}

/// Bytes that the builder puts at a guest-physical address: an ACPI table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedTable {
    /// Where.
    pub addr: u64,
    /// What.
    pub data: Vec<u8>,
}

/// Frames of the two rings, as xenstored and xenconsoled want them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frames {
    /// xenstore ring.
    pub store: u64,
    /// Console ring.
    pub console: u64,
}

/// One build in progress; dropping it frees what libxenguest holds in this process, nothing in the domain.
#[derive(Debug)]
pub struct DomBuilder<'a> {
    ctl: &'a Xenctrl,
    dom: NonNull<raw::xc_dom_image>,
    /// Kept alive because the image points into it.
    tables: Vec<LoadedTable>,
    /// Kept alive because the image points to it.
    memory_map: Vec<raw::e820entry>,
}

impl<'a> DomBuilder<'a> {
    /// Starts a build (`xc_dom_allocate`).
    ///
    /// # Errors
    /// `EINVAL`: the command line contains a NUL. `ENOMEM`.
    pub fn new(ctl: &'a Xenctrl, container: Container, cmdline: &str) -> Result<Self, XenError> {
        let cmdline = c_string("xc_dom_allocate", cmdline.as_bytes())?;
        let mut dom = ctl.call_ptr("xc_dom_allocate", |xch| {
            // SAFETY: the command line is copied by the call; no features are requested beyond the kernel's own.
            unsafe {
                raw::xc_dom_loginit(xch);
                raw::xc_dom_allocate(xch, cmdline.as_ptr(), std::ptr::null())
            }
        })?;
        // SAFETY: just allocated and not shared.
        unsafe { dom.as_mut() }.container_type = match container {
            Container::Pv => raw::XC_DOM_PV_CONTAINER,
            Container::Hvm => raw::XC_DOM_HVM_CONTAINER,
        };
        Ok(Self {
            ctl,
            dom,
            tables: Vec::new(),
            memory_map: Vec::new(),
        })
    }

    /// Maps the kernel image (`xc_dom_kernel_file`).
    ///
    /// # Errors
    /// The file cannot be read, or is too large.
    pub fn kernel_file(&mut self, path: &Path) -> Result<(), XenError> {
        let path = c_string("xc_dom_kernel_file", path.as_os_str().as_bytes())?;
        self.step("xc_dom_kernel_file", |dom| {
            // SAFETY: dom is this build's image; the path is read during the call only.
            unsafe { raw::xc_dom_kernel_file(dom, path.as_ptr()) }
        })
    }

    /// Maps the initial ramdisk (`xc_dom_module_file`).
    ///
    /// # Errors
    /// The file cannot be read, or is too large.
    pub fn module_file(&mut self, path: &Path) -> Result<(), XenError> {
        let path = c_string("xc_dom_module_file", path.as_os_str().as_bytes())?;
        self.step("xc_dom_module_file", |dom| {
            // SAFETY: dom is this build's image; the path is read during the call; a module needs no command line.
            unsafe { raw::xc_dom_module_file(dom, path.as_ptr(), std::ptr::null::<c_char>()) }
        })
    }

    /// Ports, peers and number of vCPUs. The memory is claimed before it is populated, so that a build fails at
    /// once if the host has not enough.
    pub fn settings(&mut self, settings: &DomSettings) {
        let dom = self.image();
        dom.claim_enabled = 1;
        dom.max_vcpus = settings.max_vcpus;
        dom.console_evtchn = settings.console_port;
        dom.console_domid = settings.console_domid.into();
        dom.xenstore_evtchn = settings.store_port;
        dom.xenstore_domid = settings.store_domid.into();
    }

    /// Memory layout of an HVM container without device model.
    pub fn hvm_layout(&mut self, layout: &HvmLayout) {
        let dom = self.image();
        dom.target_pages = layout.target_pages;
        dom.lowmem_end = layout.lowmem_end;
        dom.highmem_end = layout.highmem_end;
        dom.mmio_start = layout.mmio_start;
        dom.mmio_size = layout.mmio_size;
        dom.vga_hole_size = 0;
        dom.device_model = false;
    }

    /// Ties the build to a domain and asks Xen what guests it can run (`xc_dom_boot_xen_init`).
    ///
    /// # Errors
    /// What libxenguest gives.
    pub fn boot_xen_init(&mut self, domid: u16) -> Result<(), XenError> {
        let xch = self.ctl.as_ptr();
        self.step("xc_dom_boot_xen_init", |dom| {
            // SAFETY: dom is this build's image, xch the open handle that it was allocated with.
            unsafe { raw::xc_dom_boot_xen_init(dom, xch, domid.into()) }
        })
    }

    /// Reads the kernel's Xen notes (`xc_dom_parse_image`).
    ///
    /// # Errors
    /// Not a kernel that Xen can start in this container.
    pub fn parse_image(&mut self) -> Result<(), XenError> {
        // SAFETY: dom is this build's image.
        self.step("xc_dom_parse_image", |dom| unsafe {
            raw::xc_dom_parse_image(dom)
        })
    }

    /// The guest's operating system, as its kernel's note says; empty if it says nothing. Only after `parse_image`.
    #[must_use]
    pub fn guest_os(&self) -> String {
        // SAFETY: the call returns a pointer into the image's parsed notes, NUL-terminated, or NULL.
        unsafe {
            let os = raw::xc_dom_guest_os(self.dom.as_ptr());
            if os.is_null() {
                String::new()
            } else {
                CStr::from_ptr(os).to_string_lossy().into_owned()
            }
        }
    }

    /// Whether the kernel's note advertises a `XENFEAT_*` number. Only after `parse_image`.
    #[must_use]
    pub fn has_feature(&self, feature: u32) -> bool {
        // SAFETY: reads the image's parsed notes.
        unsafe { raw::xc_dom_feature_get(self.dom.as_ptr(), feature) }
    }

    /// Gives the builder ACPI tables to load; the first must be the RSDP, whose address goes into the start info.
    ///
    /// # Errors
    /// `E2BIG`: more tables than libxenguest takes.
    pub fn load_tables(&mut self, tables: Vec<LoadedTable>) -> Result<(), XenError> {
        if tables.len() > MAX_TABLES {
            return Err(XenError::before(
                "acpi_modules",
                libc::E2BIG,
                "too many tables",
            ));
        }
        self.tables = tables;
        // SAFETY: this build's image; the data it is pointed to is owned by `self` and not changed any more.
        let dom = unsafe { self.dom.as_mut() };
        for (module, table) in dom.acpi_modules.iter_mut().zip(&mut self.tables) {
            module.guest_addr_out = table.addr;
            module.length = u32::try_from(table.data.len()).unwrap_or(u32::MAX);
            module.data = table.data.as_mut_ptr();
        }
        Ok(())
    }

    /// Memory map for the start info of an HVM container.
    pub fn memory_map(&mut self, map: &[E820Entry]) {
        self.memory_map = to_raw_e820(map);
        // SAFETY: this build's image; the entries are owned by `self` and not changed any more.
        let dom = unsafe { self.dom.as_mut() };
        dom.e820 = self.memory_map.as_mut_ptr();
        dom.e820_entries = u32::try_from(self.memory_map.len()).unwrap_or(u32::MAX);
    }

    /// Says how much memory the guest sees, in MiB (`xc_dom_mem_init`).
    ///
    /// # Errors
    /// What libxenguest gives.
    pub fn mem_init(&mut self, mib: u32) -> Result<(), XenError> {
        // SAFETY: dom is this build's image.
        self.step("xc_dom_mem_init", |dom| unsafe {
            raw::xc_dom_mem_init(dom, mib)
        })
    }

    /// Claims and populates the memory (`xc_dom_boot_mem_init`).
    ///
    /// # Errors
    /// `ENOMEM`: the host has not enough.
    pub fn boot_mem_init(&mut self) -> Result<(), XenError> {
        // SAFETY: dom is this build's image.
        self.step("xc_dom_boot_mem_init", |dom| unsafe {
            raw::xc_dom_boot_mem_init(dom)
        })
    }

    /// Copies kernel, ramdisk and tables in, lays out page tables (`xc_dom_build_image`).
    ///
    /// # Errors
    /// They do not fit.
    pub fn build_image(&mut self) -> Result<(), XenError> {
        // SAFETY: dom is this build's image; tables and memory map that it points to are alive.
        self.step("xc_dom_build_image", |dom| unsafe {
            raw::xc_dom_build_image(dom)
        })
    }

    /// Fills the start info and sets the first vCPU's registers (`xc_dom_boot_image`).
    ///
    /// # Errors
    /// What libxenguest gives.
    pub fn boot_image(&mut self) -> Result<(), XenError> {
        // SAFETY: dom is this build's image; tables and memory map that it points to are alive.
        self.step("xc_dom_boot_image", |dom| unsafe {
            raw::xc_dom_boot_image(dom)
        })
    }

    /// Grants the two rings to their daemons (`xc_dom_gnttab_init`).
    ///
    /// # Errors
    /// What libxenguest gives.
    pub fn gnttab_init(&mut self) -> Result<(), XenError> {
        // SAFETY: dom is this build's image.
        self.step("xc_dom_gnttab_init", |dom| unsafe {
            raw::xc_dom_gnttab_init(dom)
        })
    }

    /// The rings' frames: guest frames of an HVM container, machine frames of a PV guest. Only after the build.
    ///
    /// # Errors
    /// `ERANGE`: the build did not place the rings.
    pub fn frames(&self) -> Result<Frames, XenError> {
        // SAFETY: this build's image; the call reads its container type.
        let translated = unsafe { raw::xc_dom_translated(self.dom.as_ptr()) };
        // SAFETY: this build's image, not changed while the reference lives.
        let dom = unsafe { self.dom.as_ref() };
        let frame = |pfn: u64| {
            if translated {
                return Ok(pfn);
            }
            if dom.pv_p2m.is_null() || pfn >= dom.p2m_size {
                return Err(XenError::before(
                    "xc_dom_p2m",
                    libc::ERANGE,
                    "no frame for a ring",
                ));
            }
            // SAFETY: pv_p2m has p2m_size entries and pfn is below that.
            Ok(unsafe { *dom.pv_p2m.add(pfn as usize) })
        };
        Ok(Frames {
            store: frame(dom.xenstore_pfn)?,
            console: frame(dom.console_pfn)?,
        })
    }

    fn image(&mut self) -> &mut raw::xc_dom_image {
        // SAFETY: owned by `self`, allocated by libxenguest, freed in Drop only.
        unsafe { self.dom.as_mut() }
    }

    fn step(
        &self,
        name: &'static str,
        call: impl FnOnce(*mut raw::xc_dom_image) -> c_int,
    ) -> Result<(), XenError> {
        self.ctl.call(name, |_| match call(self.dom.as_ptr()) {
            // xc_dom_* may fail with positive numbers too.
            0 => 0,
            _ => -1,
        })?;
        Ok(())
    }
}

impl Drop for DomBuilder<'_> {
    fn drop(&mut self) {
        // SAFETY: allocated in `new`, released only here; tables and memory map are dropped after it.
        unsafe { raw::xc_dom_release(self.dom.as_ptr()) };
    }
}

/// The same memory map as the C side spells it.
pub(crate) fn to_raw_e820(map: &[E820Entry]) -> Vec<raw::e820entry> {
    map.iter()
        .map(|entry| raw::e820entry {
            addr: entry.addr,
            size: entry.size,
            type_: entry.kind,
        })
        .collect()
}

fn c_string(call: &'static str, bytes: &[u8]) -> Result<CString, XenError> {
    CString::new(bytes).map_err(|_| XenError::before(call, libc::EINVAL, "the text contains a NUL"))
}
