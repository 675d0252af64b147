// SPDX-License-Identifier: GPL-3.0-only
//! The demo's client, run where the client is (Dom0 in the lab): starts a stock curl, time-stamps its bytes, makes the
//! server die at the right byte, and prints what it recorded as JSON.
#![deny(unsafe_code)]

use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;
use rxl_tests::demo::client::{Download, run};

/// Downloads URL with curl and runs a command when a given number of bytes has arrived.
#[derive(Parser)]
struct Args {
    /// What to download.
    url: String,
    /// Size that the file must have, in bytes.
    #[arg(long)]
    file_bytes: u64,
    /// sha256 that the file must have.
    #[arg(long)]
    sha256: String,
    /// Run the crash command when this many bytes have arrived.
    #[arg(long, requires = "crash_command")]
    crash_at: Option<u64>,
    /// The command that makes the server die, run by sh.
    #[arg(long)]
    crash_command: Option<String>,
    /// Give up after this many seconds without a byte.
    #[arg(long, default_value_t = 120)]
    patience: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let download = Download {
        curl: [
            "curl",
            "--silent",
            "--show-error",
            "--no-buffer",
            "--keepalive-time",
            "5",
            &args.url,
        ]
        .map(str::to_owned)
        .to_vec(),
        file_bytes: args.file_bytes,
        sha256: args.sha256,
        crash_at_bytes: args.crash_at,
        patience: Duration::from_secs(args.patience),
    };
    let command = args.crash_command.unwrap_or_default();
    // The command runs beside the download: the client does not stop reading for it.
    let mut children = Vec::new();
    let result = run(&download, &mut || {
        let child = Command::new("sh").args(["-c", &command]).spawn();
        children.push(child.map_err(|e| format!("cannot start `{command}`: {e}"))?);
        Ok(command.clone())
    });
    let mut crash_failed = None;
    for child in &mut children {
        match child.wait() {
            Ok(status) if status.success() => {}
            Ok(status) => crash_failed = Some(format!("`{command}`: {status}")),
            Err(e) => crash_failed = Some(format!("`{command}`: {e}")),
        }
    }
    match (result, crash_failed) {
        (Ok((run, wall_ms)), None) => {
            match serde_json::to_string(&serde_json::json!({"run": run, "wall_ms": wall_ms})) {
                Ok(json) => {
                    println!("{json}");
                    ExitCode::SUCCESS
                }
                Err(e) => {
                    eprintln!("demo-client: cannot write the result: {e}");
                    ExitCode::from(3)
                }
            }
        }
        (Err(e), _) | (_, Some(e)) => {
            eprintln!("demo-client: {e}");
            ExitCode::from(3)
        }
    }
}
