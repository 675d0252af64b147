// SPDX-License-Identifier: GPL-3.0-only
//! The demo's failover on PV and PVH service VMs, by the death of the domain and by a crash of its kernel.

use rxl_tests::demo::lab::{Crash, Kind, LabDemo, facts};
use rxl_tests::demo::report::Report;

use crate::dom0::Dom0;
use crate::emulator::despite_emulator;

fn download_survives(kind: Kind, crash: Crash, protections: &[bool]) {
    let dom0 = Dom0::clean();
    let demo = LabDemo { kind, crash };
    let runs = protections
        .iter()
        .map(|&protected| demo.run(&dom0.lab, protected, &|line| println!("  {line}")))
        .collect::<Result<Vec<_>, _>>()
        .unwrap_or_else(|e| panic!("{e}"));
    let report = Report::new("lab", facts(&dom0.lab).expect("Dom0 answers"), runs);
    println!("{}", report.text());
    assert!(report.holds(), "{}", report.text());
}

#[test]
fn lab_download_survives_destroy_of_pv_server() {
    download_survives(Kind::Pv, Crash::Destroy, &[false, true]);
}

#[test]
fn lab_download_survives_kernel_crash_of_pvh_server() {
    despite_emulator(|| download_survives(Kind::Pvh, Crash::Sysrq, &[true]));
}
