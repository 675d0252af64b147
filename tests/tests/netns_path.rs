// SPDX-License-Identifier: GPL-3.0-only
//! The logger as a path: frames come through it as through a wire, and it stands what happens to interfaces.

use std::error::Error;
use std::net::UdpSocket;
use std::time::Duration;

use fttcp::control::{GroupSpec, Request};
use fttcp::datapath::DataPath;
use fttcp::frame::{Offload, Output, PartialChecksum, PortId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rxl_tests::demo::client;
use rxl_tests::netns::demo::Served;
use rxl_tests::netns::http::Connection;
use rxl_tests::netns::random::Random;
use rxl_tests::netns::topology::{CLIENT, GROUP, Middle, NORTH, SERVER, SERVER6, Topology};

type Outcome = Result<(), Box<dyn Error>>;

/// To the servers' address, from one that no kernel here has.
const ADDRESSES: [u8; 12] = [2, 0, 0, 0, 0x77, 2, 2, 0, 0, 0, 0x77, 9];

/// A frame and what is left to devices to do to it.
type Frame = (Vec<u8>, Offload);

#[test]
fn download_through_the_logger_is_whole() -> Outcome {
    download_is_whole(SERVER)
}

#[test]
fn download_over_ipv6_is_whole_and_its_super_segments_pass() -> Outcome {
    download_is_whole(&format!("[{SERVER6}]"))
}

fn download_is_whole(server: &str) -> Outcome {
    let mut topology = Topology::new(Middle::Protected)?;
    let file = Served::new(&topology, "file", 32 << 20, 11)?;
    topology.serve()?;
    let mut download = file.download(&topology, None);
    let address = download.curl.last_mut().ok_or("no address")?;
    *address = format!("http://{server}/{}", file.name);

    let (run, _) = client::run(&download, &mut || Ok(String::new()))?;

    assert_eq!(run.curl_exit, 0);
    assert!(run.sha256_ok);
    assert_eq!(topology.kernel_drops()?, 0);
    let status = topology.logger()?.status(GROUP)?;
    let hello = topology.logger()?.hello()?;
    let fast = hello.fast.unwrap_or_default();
    let frames = status.counters.frames + fast.forwarded;
    assert!(frames > 100, "{:?} {fast:?}", status.counters);
    let ports = hello.ports;
    let lost: u64 = ports.iter().map(|p| p.receive_drops + p.send_drops).sum();
    assert_eq!(lost, 0, "{ports:?}");
    Ok(())
}

#[test]
fn frames_of_every_kind_come_out_as_they_went_in() -> Outcome {
    let topology = Topology::new(Middle::Protected)?;
    let [server, _] = topology.servers();
    let sent = frames();
    let mut expected = sent.clone();
    let receiver = server.enter(|| open("eth0"))??;
    topology.client().enter(move || -> Result<(), String> {
        let (mut path, port) = open("eth0")?;
        for (frame, offload) in &sent {
            path.ports().transmit(port, frame, offload);
        }
        assert_eq!(path.status()[0].send_drops, 0);
        Ok(())
    })??;

    let mut received = receive(receiver, expected.len())?;

    // Those that the kernel forwards by itself may overtake those that the logger must look at.
    received.sort_by(|(a, _), (b, _)| a.cmp(b));
    expected.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert!(received == expected, "frames were changed");
    Ok(())
}

fn open(interface: &str) -> Result<(DataPath, PortId), String> {
    let mut path = DataPath::new().map_err(|error| error.to_string())?;
    let port = path.open(interface).map_err(|error| error.to_string())?;
    Ok((path, port))
}

/// Frames: unknown, short, tagged once and twice, and a tagged
/// super-segment whose checksum is left to the device.
fn frames() -> Vec<Frame> {
    let frame = |behind: &[u8], length: usize| {
        let mut frame = [&ADDRESSES, behind].concat();
        let filled = frame.len();
        frame.extend((filled..length).map(|i| i as u8));
        frame
    };
    let plain = Offload::default();
    let (tag, ip, tcp) = ([0x81, 0, 0x20, 7], [8, 0], 4 + 14 + 20);
    let header = [
        &tag[..],
        &ip,
        &[0x45, 0],
        &20_020_u16.to_be_bytes(),
        &[0, 1, 0, 0, 64, 6, 0, 0],
    ]
    .concat();
    let mut segment = frame(&header, 4 + 14 + 20_020);
    segment[tcp + 12] = 5 << 4;
    segment[tcp + 13] = 0x10;
    let partial = PartialChecksum {
        start: tcp as u16,
        offset: 16,
    };
    let offload = Offload {
        partial_checksum: Some(partial),
        gso_size: Some(1400),
        ..plain
    };
    vec![
        (frame(&[0x88, 0xb5], 14), plain),
        (frame(&[0x88, 0xb5], 1514), plain),
        (frame(&[0x81, 0, 0x20, 7, 0x88, 0xb5], 60), plain),
        (
            frame(&[0x88, 0xa8, 0, 9, 0x81, 0, 0x20, 7, 0x88, 0xb5], 1000),
            plain,
        ),
        (segment, offload),
    ]
}

/// The frames that arrive until there are `count` of the kinds that [`frames`] makes.
fn receive(open: (DataPath, PortId), count: usize) -> Result<Vec<Frame>, Box<dyn Error>> {
    let (mut path, port) = open;
    let mut frames = Vec::new();
    let patience = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    while frames.len() < count {
        let descriptor = path.descriptor(port).ok_or("the port was closed")?;
        if poll(
            &mut [PollFd::new(&descriptor, PollFlags::IN)],
            Some(&patience),
        )? == 0
        {
            return Err(format!("only {} frames came", frames.len()).into());
        }
        path.receive(port, |frame, offload, _| {
            // The kernels at both ends may say something of their own.
            if frame[..12] == ADDRESSES {
                frames.push((frame.to_vec(), offload));
            }
        });
    }
    Ok(frames)
}

#[test]
fn jumbo_frames_and_fragments_pass() -> Outcome {
    let topology = Topology::new(Middle::Protected)?;
    let [server, _] = topology.servers();
    for (space, interface) in [
        (topology.client(), "eth0"),
        (server, "eth0"),
        (topology.middle(), NORTH),
        (topology.middle(), "vif1"),
    ] {
        space.ip(&["link", "set", interface, "mtu", "9000"])?;
    }
    let echo = server.enter(|| UdpSocket::bind((SERVER, 9)))??;
    let client = topology.client().enter(|| UdpSocket::bind((CLIENT, 0)))??;
    for socket in [&echo, &client] {
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    }
    let mut buffer = vec![0; 65_536];
    // Whole in one frame, and in fragments.
    for size in [1, 1472, 8972, 20_000, 60_000] {
        let message = Random::new(size as u64).bytes(size);
        client.send_to(&message, (SERVER, 9))?;
        let (length, from) = echo.recv_from(&mut buffer)?;
        assert!(buffer[..length] == message, "{size} bytes on the way there");
        echo.send_to(&message, from)?;
        let length = client.recv(&mut buffer)?;
        assert!(buffer[..length] == message, "{size} bytes on the way back");
    }
    Ok(())
}

#[test]
fn standby_is_kept_dark() -> Outcome {
    let topology = Topology::new(Middle::Protected)?;
    let [active, standby] = topology.servers();
    // Broadcasts need no answer of anyone else to be sent, and nothing stops them but the logger.
    let to = "10.77.0.255:9";
    let client = topology
        .client()
        .enter(|| UdpSocket::bind(("0.0.0.0", 9)))??;
    client.set_read_timeout(Some(Duration::from_secs(10)))?;
    for (space, message) in [(standby, "dark"), (active, "light")] {
        let socket = space.enter(|| UdpSocket::bind((SERVER, 0)))??;
        socket.set_broadcast(true)?;
        socket.send_to(message.as_bytes(), to)?;
    }
    let mut buffer = [0; 16];
    let length = client.recv(&mut buffer)?;
    assert_eq!(&buffer[..length], b"light");
    Ok(())
}

#[test]
fn protect_with_a_missing_interface_is_refused_whole() -> Outcome {
    let topology = Topology::new(Middle::Protected)?;
    topology.middle().ip(&[
        "link", "add", "spare", "type", "veth", "peer", "name", "other",
    ])?;
    let group = |name: &str, active: &str| Request::Protect {
        group: GroupSpec {
            name: name.to_owned(),
            north: "spare".to_owned(),
            active: active.to_owned(),
            ..GroupSpec::default()
        },
    };
    let logger = topology.logger()?;

    let missing = logger.request(&group("other", "vif9")).unwrap_err();
    assert!(
        missing.contains("\"vif9\"") && missing.contains("vif1"),
        "{missing}"
    );
    let used = logger.request(&group("other", "vif1")).unwrap_err();
    assert!(used.contains("\"vif1\" is in use"), "{used}");
    let taken = logger.request(&group(GROUP, "vif9")).unwrap_err();
    assert!(!taken.is_empty());
    // Nothing stayed open after the refusals.
    let open: Vec<String> = logger
        .hello()?
        .ports
        .into_iter()
        .map(|p| p.interface)
        .collect();
    assert_eq!(open, [NORTH, "vif1", "vif2"]);
    Ok(())
}

#[test]
fn interface_that_goes_away_is_closed_and_the_logger_lives() -> Outcome {
    let mut topology = Topology::new(Middle::Protected)?;
    topology.put("file", b"still here")?;
    topology.serve()?;

    // A standby that dies: its interface goes away under the logger.
    topology.middle().ip(&["link", "delete", "vif2"])?;
    topology.wait_closed("vif2")?;

    let mut connection = Connection::open(topology.client(), 80)?;
    connection.ask("file", &[])?;
    assert_eq!(connection.answer()?.body, b"still here");
    let standbys = topology.logger()?.status(GROUP)?.spec.standbys;
    assert!(standbys.is_empty(), "{standbys:?}");
    let log = topology.stop_logger()?;
    assert!(log.contains("vif2 was removed"), "{log}");
    Ok(())
}

#[test]
fn interface_set_down_and_up_is_used_again() -> Outcome {
    let mut topology = Topology::new(Middle::Protected)?;
    topology.put("file", b"back again")?;
    topology.serve()?;

    topology.middle().ip(&["link", "set", NORTH, "down"])?;
    topology.middle().ip(&["link", "set", NORTH, "up"])?;

    let mut connection = Connection::open(topology.client(), 80)?;
    connection.ask("file", &[])?;
    assert_eq!(connection.answer()?.body, b"back again");
    Ok(())
}
