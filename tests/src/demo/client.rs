// SPDX-License-Identifier: GPL-3.0-only
//! The client of the demo: a stock curl whose bytes are counted and time-stamped, and the moment of the crash.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sha2::{Digest, Sha256};

use super::DemoRun;

/// What to download, and when to make the server die.
#[derive(Clone, Debug)]
pub struct Download {
    /// The command that runs curl and lets it write the file to standard output.
    pub curl: Vec<String>,
    /// Size that the file must have.
    pub file_bytes: u64,
    /// sha256 that it must have, in lower-case hexadecimal.
    pub sha256: String,
    /// The server is made to die when the client has received this many bytes; `None`: never.
    pub crash_at_bytes: Option<u64>,
    /// A client that has received nothing for this long is ended and counted as failed (exit code 137).
    pub patience: Duration,
}

/// Runs the download. `crash` is called once, when the client has received enough; it returns a line for the
/// timeline. The clock of all marks starts when curl is started; the second value is that moment in milliseconds
/// since the UNIX epoch.
pub fn run(
    download: &Download,
    crash: &mut dyn FnMut() -> Result<String, String>,
) -> Result<(DemoRun, u64), String> {
    let (program, args) = download
        .curl
        .split_first()
        .ok_or("no client command given")?;
    let mut run = DemoRun {
        file_bytes: download.file_bytes,
        ..DemoRun::default()
    };
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|e| e.to_string())?;
    let start = Instant::now();
    let seconds = move || start.elapsed().as_secs_f64();
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot start {program}: {e}"))?;
    let mut pipe = child.stdout.take().ok_or("curl has no standard output")?;
    run.mark(0.0, "start", "curl started");
    run.bytes_over_time.push((0.0, 0));

    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; 64 * 1024];
    let mut received = 0_u64;
    let mut waiting_for_crash = download.crash_at_bytes;
    loop {
        if !readable(&pipe, download.patience)? {
            run.mark(
                seconds(),
                "gave up",
                format!("no byte for {:?}", download.patience),
            );
            child.kill().map_err(|e| format!("cannot end curl: {e}"))?;
            break;
        }
        let count = pipe
            .read(&mut buffer)
            .map_err(|e| format!("cannot read from curl: {e}"))?;
        if count == 0 {
            break;
        }
        let now = seconds();
        hash.update(&buffer[..count]);
        received += count as u64;
        run.bytes_over_time.push((now, received));
        if waiting_for_crash.is_some_and(|at| received >= at) {
            waiting_for_crash = None;
            run.crash_at = seconds();
            run.crash_bytes = received;
            let detail = crash()?;
            run.mark(run.crash_at, "crash", detail);
        }
    }
    let status = child
        .wait()
        .map_err(|e| format!("cannot wait for curl: {e}"))?;
    run.curl_exit = status.code().unwrap_or(137);
    let digest = hash.finalize();
    let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    run.sha256_ok = received == download.file_bytes && hex == download.sha256;
    run.bytes_over_time.push((seconds(), received));
    run.mark(
        seconds(),
        "done",
        format!("curl exit {}, {received} bytes", run.curl_exit),
    );
    if waiting_for_crash.is_none() && download.crash_at_bytes.is_some() {
        run.client_gap = run.longest_gap_after(run.crash_at);
    }
    Ok((run, u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)))
}

/// Waits until `pipe` can be read or is at its end; false when `patience` ran out.
fn readable(pipe: &std::process::ChildStdout, patience: Duration) -> Result<bool, String> {
    let timeout =
        Timespec::try_from(patience).map_err(|e| format!("patience {patience:?}: {e}"))?;
    let mut fds = [PollFd::new(pipe, PollFlags::IN)];
    poll(&mut fds, Some(&timeout))
        .map(|n| n > 0)
        .map_err(|e| format!("cannot wait for curl: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn download(script: &str, crash_at_bytes: Option<u64>) -> Download {
        Download {
            curl: ["sh", "-c", script].map(str::to_owned).to_vec(),
            file_bytes: 5,
            // sha256 of "hello".
            sha256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824".to_owned(),
            crash_at_bytes,
            patience: Duration::from_millis(200),
        }
    }

    #[test]
    fn run_whole_file_is_accepted() {
        let (run, _) = run(&download("printf hello", None), &mut || {
            panic!("no crash asked")
        })
        .unwrap();
        assert_eq!((run.curl_exit, run.sha256_ok), (0, true));
    }

    #[test]
    fn run_wrong_bytes_are_refused() {
        let (run, _) = run(&download("printf hellO", None), &mut || {
            panic!("no crash asked")
        })
        .unwrap();
        assert!(!run.sha256_ok);
    }

    #[test]
    fn run_crash_is_called_once_at_its_byte() {
        let mut calls = 0;
        let (run, _) = run(
            &download("printf hel; printf lo; exit 18", Some(3)),
            &mut || {
                calls += 1;
                Ok("made to die".to_owned())
            },
        )
        .unwrap();
        assert_eq!(calls, 1);
        assert_eq!(run.curl_exit, 18);
        assert!(run.crash_bytes >= 3);
    }

    #[test]
    fn run_silent_client_is_ended() {
        let (run, _) = run(&download("exec sleep 30", None), &mut || Ok(String::new())).unwrap();
        assert_ne!(run.curl_exit, 0);
        assert!(run.events.iter().any(|e| e.name == "gave up"));
    }
}
