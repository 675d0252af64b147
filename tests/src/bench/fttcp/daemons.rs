// SPDX-License-Identifier: GPL-3.0-only
//! Other people's programs, with configurations of our own: HAProxy in the middle; a web proxy and an FTP server.

use std::fs;
use std::path::PathBuf;

use crate::netns::process::Running;
use crate::netns::service::listens;
use crate::netns::topology::{PROXY, SERVER, Topology};

/// HAProxy in `mode tcp`, from the proxy's address to the server's. It may splice, which costs it the least.
pub(in crate::bench) fn haproxy(topology: &Topology, ports: &[u16]) -> Result<Running, String> {
    let mut config = "global
    maxconn 4000
defaults
    mode tcp
    option splice-auto
    timeout connect 5s
    timeout client 60s
    timeout server 60s
"
    .to_owned();
    for port in ports {
        config += &format!(
            "listen port{port}\n    bind {PROXY}:{port} backlog 4096\n    server web {SERVER}:{port}\n"
        );
    }
    let path = put(topology, "haproxy.cfg", &config)?;
    let middle = topology.middle();
    let mut command = middle.command("haproxy");
    command.arg("-db").arg("-f").arg(path);
    Running::probe("haproxy", command, || {
        ports.iter().all(|port| listens(middle, *port))
    })
}

/// tinyproxy on the active server.
pub(in crate::bench) fn web_proxy(topology: &Topology, port: u16) -> Result<Running, String> {
    let config = format!(
        "Port {port}\nListen {SERVER}\nTimeout 60\nMaxClients 100\nLogLevel Critical\nViaProxyName \"bench\"\n"
    );
    let path = put(topology, "tinyproxy.conf", &config)?;
    let [server, _] = topology.servers();
    let mut command = server.command("tinyproxy");
    command.arg("-d").arg("-c").arg(path);
    Running::probe("tinyproxy", command, || listens(server, port))
}

/// vsftpd on the active server: anonymous, the files below `files`, passive connections at `passive` and the next
/// few ports.
pub(in crate::bench) fn ftp(
    topology: &Topology,
    port: u16,
    passive: [u16; 2],
) -> Result<Running, String> {
    let root = topology.folder().join("files");
    let config = format!(
        "listen=YES
background=NO
listen_address={SERVER}
listen_port={port}
anonymous_enable=YES
local_enable=NO
anon_root={}
no_anon_password=YES
connect_from_port_20=NO
pasv_min_port={}
pasv_max_port={}
xferlog_enable=NO
isolate_network=NO
",
        root.display(),
        passive[0],
        passive[1]
    );
    let path = put(topology, &format!("vsftpd-{port}.conf"), &config)?;
    let [server, _] = topology.servers();
    let mut command = server.command("vsftpd");
    command.arg(path);
    Running::probe("vsftpd", command, || listens(server, port))
}

fn put(topology: &Topology, name: &str, text: &str) -> Result<PathBuf, String> {
    let path = topology.folder().join(name);
    fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(path)
}
