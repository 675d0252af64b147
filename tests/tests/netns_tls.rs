// SPDX-License-Identifier: GPL-3.0-only
//! curl over TLS through the logger, from the start or asked for within FTP: it works as without, is known for what it is,
//! and not protected.

use std::error::Error;
use std::fs;

use fttcp::control::{GroupSpec, ServiceSpec};
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::process::Running;
use rxl_tests::netns::service::listens;
use rxl_tests::netns::topology::{GROUP, SERVER, Topology};

type Outcome = Result<(), Box<dyn Error>>;

const PORT: u16 = 443;

/// Where a key is, and a certificate that it signed itself.
fn certificate(topology: &Topology) -> Result<[String; 2], String> {
    let file = |name: &str| topology.folder().join(name).display().to_string();
    let (key, certificate) = (file("key.pem"), file("certificate.pem"));
    let made = ["-keyout", key.as_str(), "-out", &certificate];
    let request = [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=web",
    ];
    topology
        .client()
        .run("openssl", &[request.as_slice(), &made].concat())?;
    Ok([key, certificate])
}

/// OpenSSL's own server of web pages.
fn serve(topology: &Topology) -> Result<Running, String> {
    let server = topology.servers()[0];
    let [key, certificate] = certificate(topology)?;
    let mut command = server.command("openssl");
    command.args(["s_server", "-accept", "443", "-www", "-quiet"]);
    command.args(["-key", &key, "-cert", &certificate]);
    Running::probe("openssl s_server", command, || listens(server, PORT))
}

#[test]
fn tls_is_passed_on_unprotected_told_once_and_counted() -> Outcome {
    let mut topology = Topology::build(Layout {
        group: Some(GroupSpec {
            services: vec![ServiceSpec::new(PORT, "http")],
            ..GroupSpec::default()
        }),
        ..Layout::default()
    })?;
    let server = serve(&topology)?;
    for _ in 0..3 {
        let url = format!("https://{SERVER}/");
        let page = topology
            .client()
            .run("curl", &["--silent", "--show-error", "--insecure", &url])?;
        assert!(page.contains("Cipher"), "{page}");
    }

    let counters = topology.logger()?.status(GROUP)?.counters;
    drop(server);
    let log = topology.stop_logger()?;
    assert_eq!((counters.tls, counters.unprotected), (3, 3), "{log}");
    assert_eq!(log.matches("it speaks TLS").count(), 1, "{log}");
    Ok(())
}

/// vsftpd that lets anonymous users come over TLS too.
fn serve_ftps(topology: &Topology) -> Result<Running, Box<dyn Error>> {
    let server = topology.servers()[0];
    let [key, certificate] = certificate(topology)?;
    let config = format!(
        "listen=YES
background=NO
anonymous_enable=YES
no_anon_password=YES
anon_root={}
ssl_enable=YES
allow_anon_ssl=YES
require_ssl_reuse=NO
ssl_ciphers=HIGH
rsa_private_key_file={key}
rsa_cert_file={certificate}
seccomp_sandbox=NO
isolate_network=NO
secure_chroot_dir=/var/run/vsftpd/empty
",
        topology.folder().join("files").display()
    );
    let path = topology.folder().join("vsftpd.conf");
    fs::write(&path, config)?;
    let mut command = server.command("vsftpd");
    command.arg(&path);
    Ok(Running::probe("vsftpd", command, || listens(server, 21))?)
}

#[test]
fn ftps_is_passed_on_unprotected_and_told() -> Outcome {
    let mut topology = Topology::build(Layout {
        group: Some(GroupSpec {
            services: vec![ServiceSpec::new(21, "ftp")],
            ..GroupSpec::default()
        }),
        ..Layout::default()
    })?;
    topology.put("file", &[7; 300_000])?;
    let server = serve_ftps(&topology)?;
    let url = format!("ftp://{SERVER}/file");
    let got = topology.folder().join("got").display().to_string();
    let secure = [
        "-sS",
        "--max-time",
        "10",
        "--noproxy",
        "*",
        "-o",
        &got,
        &url,
    ];
    topology
        .client()
        .run("curl", &[["--ssl-reqd", "-k"].as_slice(), &secure].concat())?;

    assert!(fs::read(&got)? == [7; 300_000]);
    let counters = topology.logger()?.status(GROUP)?.counters;
    assert_eq!((counters.unprotected, counters.lost), (1, 0));
    // Another session of the same server, without TLS, is protected.
    fs::remove_file(&got)?;
    topology.client().run("curl", &secure)?;
    assert!(fs::read(&got)? == [7; 300_000]);
    let counters = topology.logger()?.status(GROUP)?.counters;
    drop(server);
    let log = topology.stop_logger()?;
    assert_eq!((counters.unprotected, counters.lost), (1, 0), "{log}");
    assert!(log.contains("its streams are encrypted"), "{log}");
    Ok(())
}
