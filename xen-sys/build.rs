// SPDX-License-Identifier: GPL-3.0-only
//! Makes the bindings to libxenctrl, libxenguest and libxentoollog from the installed headers, and links the
//! libraries. The interface of libxenctrl changes with every Xen release, so the bindings are made from the
//! headers of the release that is linked, never kept in the tree.

#[cfg(feature = "xen")]
mod bindings {
    use std::env;
    use std::panic::{self, AssertUnwindSafe};
    use std::path::PathBuf;
    use std::process::exit;

    /// Functions that `src/` calls; everything else stays out, so that the build is quick.
    const FUNCTIONS: &[&str] = &[
        "vsnprintf",
        "xtl_log",
        "xc_interface_(open|close)",
        "xc_(physinfo|version|sched_id|readconsolering|get_cpumap_size)",
        "xc_domain_(create|destroy|pause|unpause|shutdown|getinfolist|max_vcpus|setmaxmem)",
        "xc_domain_(send_trigger|set_memmap_limit|set_memory_map|set_tsc_info)",
        "xc_(hvm_param_set|set_paging_mempool_size|evtchn_alloc_unbound|cpuid_apply_policy)",
        "xc_vcpu_(getinfo|getaffinity)",
        "xc_dom_(loginit|allocate|release|kernel_file|module_file|boot_xen_init|parse_image)",
        "xc_dom_(mem_init|boot_mem_init|build_image|boot_image|gnttab_init|translated)",
        "xc_dom_(guest_os|feature_get)",
        "xc_domain_(save|restore)",
    ];

    /// Constants that `src/` uses.
    const CONSTANTS: &[&str] = &[
        "XENVER_.*",
        "XEN_DOMCTL_CDF_.*",
        "XEN_DOMCTL_SENDTRIGGER_.*",
        "XEN_DOMINF_.*",
        "XEN_SYSCTL_PHYSCAP_.*",
        "XEN_VCPUAFFINITY_(HARD|SOFT)",
        "XEN_X86_EMU_(LAPIC|PM)",
        "XEN_SCHEDULER_.*",
        "XENFEAT_linux_rsdp_unrestricted",
        "XEN_ALTP2M_disabled",
        "HVM_PARAM_(TIMER_MODE|ALTP2M|ACPI_S_STATE)",
        "HVMPTM_.*",
        "X86_HVM_.*SPECIAL.*",
        "MAX_ACPI_MODULES",
        "XC_STREAM_PLAIN",
    ];

    /// Types that no listed function mentions by itself.
    const TYPES: &[&str] = &[
        "xen_(extraversion|compile_info|capabilities_info|changeset_info|commandline)_t",
        "xentoollog_.*",
    ];

    /// See the head of the file.
    pub(crate) fn make() {
        println!("cargo:rerun-if-changed=build.rs");
        println!("cargo:rerun-if-changed=wrapper.h");
        for library in ["xenctrl", "xenguest", "xentoollog"] {
            println!("cargo:rustc-link-lib=dylib={library}");
        }
        let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("bindings.rs");
        if let Err(cause) = generate(&out) {
            eprintln!("xen-sys: cannot make the bindings to Xen's control libraries: {cause}");
            eprintln!("  hint: apt-get install libxen-dev libclang-dev clang");
            exit(1);
        }
    }

    /// Runs bindgen; a missing libclang makes it panic, which is turned into a message here.
    fn generate(out: &PathBuf) -> Result<(), String> {
        let mut builder = bindgen::Builder::default()
            .header("wrapper.h")
            .default_enum_style(bindgen::EnumVariation::Consts)
            .prepend_enum_name(false)
            .layout_tests(false)
            .generate_comments(false)
            .derive_default(true);
        for name in FUNCTIONS {
            builder = builder.allowlist_function(name);
        }
        for name in CONSTANTS {
            builder = builder.allowlist_var(name);
        }
        for name in TYPES {
            builder = builder.allowlist_type(name);
        }
        let bindings = panic::catch_unwind(AssertUnwindSafe(|| builder.generate()))
            .map_err(|_| "libclang is not installed".to_owned())?
            .map_err(|cause| cause.to_string())?;
        bindings
            .write_to_file(out)
            .map_err(|cause| format!("{}: {cause}", out.display()))
    }
}

fn main() {
    #[cfg(feature = "xen")]
    bindings::make();
}
