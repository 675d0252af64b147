// SPDX-License-Identifier: GPL-3.0-only
//! Arbitrary streams through the plug-in for Redis: `scripts/fuzz redis`. Input: [`fttcp_fuzz::streams`].
#![no_main]

use fttcp::service::Kinds;
use fttcp_fuzz::streams;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let kinds = Kinds::default();
    let [mut plugin, mut fresh] = [(); 2].map(|()| kinds.plugin("redis").expect("it is known"));
    streams(plugin.as_mut(), fresh.as_mut(), input);
});
