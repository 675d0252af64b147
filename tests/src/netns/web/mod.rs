// SPDX-License-Identifier: GPL-3.0-only
//! Web servers and proxies besides nginx and tinyproxy, an origin of our own (`origin`), stock clients
//! (`client`), and one of our own (`talker`). Each server is one process, so that killing it kills all of it.

pub mod client;
pub mod origin;
pub mod talker;

use std::path::Path;

use super::process::Running;
use super::recipe::{Place, Recipe};
use super::space::Space;
use super::topology::{CLIENT, SERVER};

/// A server on port 80.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebServer {
    /// apache2, which serves the files.
    Apache,
    /// squid, a proxy that keeps nothing.
    Squid,
    /// haproxy in its HTTP mode, before the origin.
    Haproxy,
}

/// nginx before the origin: lines for its server block.
pub const REVERSE: &str = "location = /alive { return 200; } location / { proxy_pass http://10.77.0.1:8080; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_read_timeout 600; }";

impl WebServer {
    /// Starts it in `space` and waits until it listens. `prefix` is its own folder, which is there.
    ///
    /// # Errors
    /// It is not installed, or did not start: what it said.
    pub fn start(self, space: &Space, files: &Path, prefix: &Path) -> Result<Running, String> {
        let place = Place {
            files,
            prefix,
            beside: Path::new(""),
            addresses: SERVER,
        };
        self.recipe(&place).start(space, prefix)
    }

    /// How it is started.
    #[must_use]
    pub fn recipe(self, place: &Place<'_>) -> Recipe {
        let (words, config): (&[&str], _) = match self {
            Self::Apache => (&["apache2", "-X", "-f"], apache(place.files, place.prefix)),
            Self::Squid => (&["squid", "-N", "-f"], squid(place.prefix)),
            Self::Haproxy => (&["haproxy", "-db", "-f"], haproxy()),
        };
        Recipe {
            open: true,
            ..Recipe::new(80, place, words, config)
        }
    }
}

/// Without a limit of requests its responses count down (`Keep-Alive: max=99`): a replacement, which is told only the
/// last requests, would say another number. With fewer threads than clients it closes connections that could be used again
/// now and then.
fn apache(files: &Path, prefix: &Path) -> String {
    let (files, prefix) = (files.display(), prefix.display());
    format!(
        "ServerRoot /usr/lib/apache2
ServerName web
LoadModule mpm_event_module modules/mod_mpm_event.so
LoadModule authz_core_module modules/mod_authz_core.so
Listen 80
PidFile {prefix}/pid
DefaultRuntimeDir {prefix}
Mutex pthread
ErrorLog {prefix}/error.log
User www-data
Group www-data
ServerLimit 1
ThreadLimit 256
ThreadsPerChild 256
MaxRequestWorkers 256
DocumentRoot {files}
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 600
Timeout 600
"
    )
}

/// What it says of itself in its responses depends on what it has seen before.
fn squid(prefix: &Path) -> String {
    let prefix = prefix.display();
    format!(
        "http_port 80
visible_hostname web
http_access allow all
cache deny all
pinger_enable off
pid_filename none
access_log none
cache_log {prefix}/cache.log
cache_store_log none
coredump_dir {prefix}
netdb_filename none
shutdown_lifetime 0 seconds
via off
forwarded_for delete
reply_header_access X-Cache deny all
reply_header_access X-Cache-Lookup deny all
max_filedescriptors 4096
"
    )
}

/// What haproxy and nginx answer themselves: a standby, which is dark, cannot ask the origin.
pub const ALIVE: &str = "/alive";

fn haproxy() -> String {
    let port = origin::PORT;
    format!(
        "global
    maxconn 1000
defaults
    mode http
    timeout connect 5s
    timeout client 600s
    timeout server 600s
frontend web
    bind :80
    monitor-uri {ALIVE}
    default_backend origin
backend origin
    server origin {CLIENT}:{port}
"
    )
}
