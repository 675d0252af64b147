// SPDX-License-Identifier: GPL-3.0-only
//! Arbitrary group files: `scripts/fuzz group_file`. Nothing panics; what is wrong has a place, a cause and a hint; what is right
//! has a plan that the supervisor can keep and read again.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use toolstack::supervise::group_file::parse;
use toolstack::supervise::plan::GroupPlan;

/// A folder with the configuration that files may name.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("rxl-fuzz-{}", std::process::id()));
    let config = "name = 'web'\nkernel = '/boot/vmlinuz'\nmemory = 64\n\
                  vif = ['mac=00:16:3e:00:00:10,backend=logger']\n";
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("web.cfg"), config).expect("a file");
    folder
});

fuzz_target!(|text: &str| {
    match parse("a.toml", text, &FOLDER) {
        Ok(plan) => {
            let kept = serde_json::to_string(&plan).expect("it can be written");
            let again: GroupPlan = serde_json::from_str(&kept).expect("it can be read");
            assert_eq!(again, plan);
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            assert!(errors.iter().all(|error| !error.cause.is_empty()));
        }
    }
});
