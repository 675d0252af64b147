// SPDX-License-Identifier: GPL-3.0-only
//! curl over TLS through the logger: it works as without, is known for what it is, and not protected.

use std::error::Error;

use fttcp::control::{GroupSpec, ServiceSpec};
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::process::Running;
use rxl_tests::netns::service::listens;
use rxl_tests::netns::topology::{GROUP, SERVER, Topology};

type Outcome = Result<(), Box<dyn Error>>;

const PORT: u16 = 443;

/// OpenSSL's own server of web pages, with a certificate that it signed itself.
fn serve(topology: &Topology) -> Result<Running, String> {
    let server = topology.servers()[0];
    let file = |name: &str| topology.folder().join(name).display().to_string();
    let (key, certificate) = (file("key.pem"), file("certificate.pem"));
    let made = ["-keyout", key.as_str(), "-out", &certificate];
    let request = [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=web",
    ];
    server.run("openssl", &[request.as_slice(), &made].concat())?;
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
