// SPDX-License-Identifier: GPL-3.0-only
//! The lab's processors are emulated, and now and then the emulator breaks those of PVH guests: Xen then reports a triple
//! fault, in one case of a guest whose registers were Xen's own (docs/lab.md, traps). No toolstack can make that, nor
//! survive it when it takes server and standby in one moment.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rxl_tests::lab::project;

/// How often a test that was broken so is begun again.
const AGAIN: usize = 4;

/// How many triple faults Xen has reported in this lab.
fn triple_faults() -> usize {
    let log = std::fs::read(project().join("target/lab/run/serial.log")).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    log.matches("Triple fault").count()
}

/// Does a test of PVH guests; if it fails, and Xen has reported a triple fault meanwhile, again. Any other failure is one.
pub(crate) fn despite_emulator(test: impl Fn()) {
    for _ in 0..AGAIN {
        let before = triple_faults();
        match catch_unwind(AssertUnwindSafe(&test)) {
            Ok(()) => return,
            Err(_) if triple_faults() > before => {
                println!("the emulator has broken a guest's processor; the test begins again");
            }
            Err(failed) => resume_unwind(failed),
        }
    }
    test();
}
