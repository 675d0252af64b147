// SPDX-License-Identifier: GPL-3.0-only
//! A stock nginx: the server that is killed.

use std::fs;
use std::path::{Path, PathBuf};

use super::process::Running;
use super::recipe::{Place, Recipe};
use super::space::Space;

/// nginx logs this once it listens; the kernel answers connections from then on.
const LISTENING: &str = "getrlimit(RLIMIT_NOFILE)";

/// A running nginx: one process, so that killing it kills all of it.
#[derive(Debug)]
pub struct Nginx {
    process: Running,
    prefix: PathBuf,
}

impl Nginx {
    /// Starts nginx in `space`, serving the files below `root` on port 80. `prefix` is its own folder, which is made;
    /// `more`: further lines for its server block.
    ///
    /// # Errors
    /// nginx is not installed, or did not start: what it said.
    pub fn start(space: &Space, root: &Path, prefix: &Path, more: &str) -> Result<Self, String> {
        let failed = |error| format!("cannot write below {}: {error}", prefix.display());
        fs::create_dir_all(prefix).map_err(failed)?;
        let path = prefix.join("nginx.conf");
        fs::write(&path, config(80, root, prefix, more)).map_err(failed)?;
        let mut command = space.command("nginx");
        command.arg("-p").arg(prefix).arg("-c").arg(&path);
        command.args(["-e", "stderr"]);
        let process = Running::start("nginx", command, LISTENING)?;
        Ok(Self {
            process,
            prefix: prefix.to_owned(),
        })
    }

    /// The process, to watch it and to kill it.
    #[must_use]
    pub const fn process(&self) -> &Running {
        &self.process
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.prefix);
    }
}

/// How it is started, on this port; `more`: further lines for its server block.
#[must_use]
pub fn recipe(port: u16, place: &Place<'_>, more: &str) -> Recipe {
    let prefix = place.prefix.display().to_string();
    let words = ["nginx", "-p", &prefix, "-e", "stderr", "-c"];
    Recipe::new(
        port,
        place,
        &words,
        config(port, place.files, place.prefix, more),
    )
}

fn config(port: u16, root: &Path, prefix: &Path, more: &str) -> String {
    let (root, prefix) = (root.display(), prefix.display());
    format!(
        "daemon off;
master_process off;
pid {prefix}/pid;
error_log stderr notice;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000;
    large_client_header_buffers 8 64k;
    client_body_temp_path {prefix}/body;
    proxy_temp_path {prefix}/proxy;
    fastcgi_temp_path {prefix}/fastcgi;
    uwsgi_temp_path {prefix}/uwsgi;
    scgi_temp_path {prefix}/scgi;
    server {{
        listen {port} backlog=4096;
        listen [::]:{port} ipv6only=on backlog=4096;
        root {root};
        {more}
    }}
}}
"
    )
}
