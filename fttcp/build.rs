// SPDX-License-Identifier: GPL-3.0-only
//! Compiles the fast path's kernel program (`bpf/`) with clang; it becomes part of `ftlogger`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

const SOURCE: &str = "bpf/fastpath.bpf.c";

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-env-changed=CLANG");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("fastpath.bpf.o");
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let mut command = Command::new(&clang);
    command.args(["-O2", "-g", "-Wall", "-Wextra", "-Werror", "-target", "bpf"]);
    // Debian keeps <asm/types.h>, which <linux/types.h> needs, in a folder of the architecture's.
    let headers = format!("/usr/include/{arch}-linux-gnu");
    if Path::new(&headers).is_dir() {
        command.arg(format!("-I{headers}"));
    }
    command.args(["-c", SOURCE, "-o"]).arg(&out);
    let failed = match command.status() {
        Ok(status) if status.success() => return,
        Ok(status) => format!(
            "{clang} cannot compile fttcp/{SOURCE} ({status}; its messages are above). If it misses a header: \
             apt-get install libbpf-dev linux-libc-dev"
        ),
        Err(error) => format!(
            "cannot run {clang}, which compiles fttcp/{SOURCE}: {error}. Install it: apt-get install clang libbpf-dev, \
             or name another with the environment variable CLANG"
        ),
    };
    println!("cargo::error={failed}");
    exit(1);
}
