// SPDX-License-Identifier: GPL-3.0-only
//! A slow download from the lab's service VM by a client in Dom0, which goes on while a test does things to the server.

use crate::declared::story;
use crate::dom0::Dom0;

pub(crate) const URL: &str = "http://10.77.0.10/blob.bin";

/// A client that reads a few bytes at a time until it is told to make haste, however long what goes on meanwhile takes.
const READER: &str = r#"import os, sys, time
with open("/root/blob", "wb", buffering=0) as blob:
    while data := sys.stdin.buffer.read1(16384):
        blob.write(data)
        if not os.path.exists("/root/haste"):
            time.sleep(0.5)
"#;

/// Fetches it and says how curl ended.
const DOWNLOAD: &str =
    "curl -sS $1 2>curl.log | python3 reader.py; echo ${PIPESTATUS[0]} >code.new; mv code.new code";

/// Begins a download in the background, which goes on until [`end_download`], and returns when it has begun. One that a failed
/// test has left would write to the same files.
pub(crate) fn begin_download(dom0: &Dom0) {
    begin_download_of(dom0, URL);
}

/// The same, of something else.
pub(crate) fn begin_download_of(dom0: &Dom0, url: &str) {
    dom0.ok(&format!(
        "cd /root; [ ! -e download.pid ] || kill -KILL -- -$(cat download.pid) 2>/dev/null; rm -f blob code haste; \
         cat >reader.py <<'END'\n{READER}END\ncat >download.sh <<'END'\n{DOWNLOAD}\nEND\n\
         setsid bash download.sh {url} </dev/null >/dev/null 2>&1 & echo $! >/root/download.pid; \
         until [ -s /root/blob ]; do sleep 0.1; done"
    ));
}

pub(crate) fn downloading(dom0: &Dom0) -> bool {
    dom0.run("[ -e /root/code ]").code != 0
}

/// Waits for the end of the download, which must be right.
pub(crate) fn end_download(dom0: &Dom0) {
    end_download_of(dom0, "cat /lab/data/blob.sha256");
}

/// The same; this command prints what its SHA-256 must be.
pub(crate) fn end_download_of(dom0: &Dom0, sum: &str) {
    dom0.ok("touch /root/haste; for i in $(seq 3000); do [ -e /root/code ] && break; sleep 0.1; done; cat /root/code; rm -f /root/download.pid");
    let told = dom0.ok(&format!(
        "cat /root/code /root/curl.log; sha256sum </root/blob | cut -d' ' -f1; {sum} | cut -d' ' -f1"
    ));
    let lines: Vec<&str> = told.lines().collect();
    assert!(
        lines.len() == 3 && lines[0] == "0" && lines[1] == lines[2],
        "{told}{}",
        story(dom0)
    );
}
