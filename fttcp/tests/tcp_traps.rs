// SPDX-License-Identifier: GPL-3.0-only
//! Where TCP trips up whoever rewrites its segments, what the logger does about it, and the tests that show it.
//!
//! docs/tcp-traps.md is made from the table here and from the names of tests (`trap_NN_what_is_right`) in the sources.
//! A test compares it (`UPDATE=1 cargo test -p fttcp --test tcp_traps` writes it) and fails if a trap has no test.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

struct Trap {
    number: u8,
    title: &'static str,
    sources: &'static str,
    answer: &'static str,
}

const fn trap(
    number: u8,
    title: &'static str,
    sources: &'static str,
    answer: &'static str,
) -> Trap {
    Trap {
        number,
        title,
        sources,
        answer,
    }
}

const TRAPS: &[Trap] = &[
    trap(
        1,
        "A replacement's clock looks old to the client",
        "RFC 7323 3.2, 5",
        "Timestamps are shifted so that the first of a replacement is newer than the last that the client saw.",
    ),
    trap(
        2,
        "Timestamps once negotiated must be in every segment",
        "RFC 7323 3.2",
        "The fabricated SYN offers them as the client did, fabricated segments carry them; a replacement that does not \
         agree is not used.",
    ),
    trap(
        3,
        "Echoed timestamps of a dead server's clock",
        "RFC 7323 4, 3522, 5682",
        "Echoes are shifted back; one from before the move becomes the replacement's first.",
    ),
    trap(
        4,
        "SACK blocks quote the other numbering",
        "RFC 2018, 2883",
        "Both edges of the client's blocks are shifted, D-SACK included. The server's blocks are about the client's bytes, \
         whose numbers are the same on both sides, and everything of them is logged before it is forwarded.",
    ),
    trap(
        5,
        "The replacement scales its window otherwise",
        "RFC 7323 2, 9293 3.8.6",
        "Windows are scaled anew, rounded so that the right edge never retreats, at most 65535; both ways, if the \
         replacement does not scale at all.",
    ),
    trap(
        6,
        "The window sum of FT-TCP runs over 16 bits",
        "RFC 9293 3.1",
        "The window is computed from stream positions of 64 bits, and cut to what the field holds.",
    ),
    trap(
        7,
        "Held acknowledgements look like a loss",
        "RFC 5681 3.2",
        "The logger is on the path and logs before it forwards, so acknowledgements are not held; its own are not equal \
         three times, unless a segment was dropped.",
    ),
    trap(
        8,
        "Acknowledgements must not go back",
        "RFC 9293 3.4",
        "What was acknowledged is kept for each connection and is the least that is said.",
    ),
    trap(
        9,
        "MSS and path MTU are lost with the server",
        "RFC 1191, 8201, 5927, 6691",
        "The fabricated SYN has the client's MSS, lowered to the path's MTU if a router has named one; what is named \
         later is told at hand-over. ICMP errors quote the numbers that their receiver knows, and count only if what they \
         quote is in flight. A replacement that takes less than was announced has this told to the client. A service may \
         set `mss_clamp`.",
    ),
    trap(
        10,
        "Super-segments and checksums that are left to a device",
        "virtio 1.2 5.1.6, RFC 1624",
        "Offload state goes with the frame; a partial checksum is left alone, others are updated incrementally.",
    ),
    trap(
        11,
        "Packets are merged and cut on the way",
        "-",
        "Everything is logged and compared by stream position, never by packet.",
    ),
    trap(
        12,
        "A connection gains or loses ECN midway",
        "RFC 3168, 9768",
        "The replacement is offered ECN if the dead server had agreed to it, else not. AccECN is taken out of the SYN. A \
         replacement that does not agree any more is used all the same: marks on the client's data then go unanswered.",
    ),
    trap(
        13,
        "Fast Open binds a connection to one server's secret",
        "RFC 7413",
        "The option is taken out of SYN and SYN-ACK. Data in a SYN is logged before it is forwarded.",
    ),
    trap(
        14,
        "Options that a rewriter cannot honour",
        "RFC 8684, 8547, 5925, 2385",
        "MPTCP, TCP-ENO and the experiments are taken out of SYN and SYN-ACK. Signed flows pass unprotected and are \
         counted. Options that are not known become NOPs once the server is another.",
    ),
    trap(
        15,
        "Challenge acknowledgements and forged resets",
        "RFC 5961",
        "Only a reset at the next expected byte is believed, and nothing out of window changes any state. What the client \
         answers while the connection is moved does not reach the replacement.",
    ),
    trap(
        16,
        "A dying kernel closes its connections",
        "RFC 9293 3.10",
        "FIN and RST of a server that the protocol does not announce are held for `fin_hold_ms`; at its death they are \
         forgotten.",
    ),
    trap(
        17,
        "Half-closed connections and those that both ends close",
        "RFC 9293 3.6",
        "A FIN is a position in its stream and is replayed after the data. A connection that is over is not opened again: \
         the logger answers what still comes.",
    ),
    trap(
        18,
        "The replacement has no TIME-WAIT",
        "RFC 1337, 6191",
        "The mapping is kept for 2 MSL (60 s) after the last FIN; a SYN with another number begins a new connection.",
    ),
    trap(
        19,
        "SYNs are repeated",
        "RFC 9293 3.8.1",
        "A repeated SYN changes nothing; that of a moved connection is answered by the logger, an unanswered one goes to \
         the replacement.",
    ),
    trap(
        20,
        "SYN cookies: a server without state",
        "RFC 4987 3.6",
        "Connections are logged from the SYN. A replacement that has said nothing gets the last segment of the handshake \
         again. Without timestamps a cookie holds neither scaling nor SACK: windows are then told in bytes, and the client's \
         SACK blocks mean nothing to the replacement.",
    ),
    trap(
        21,
        "Initial numbers cannot be foreseen, numbers wrap",
        "RFC 6528, 9293 3.4",
        "They are read from the SYN-ACK; all arithmetic is modular, positions have 64 bits.",
    ),
    trap(
        22,
        "Segments overlap, with other bytes perhaps",
        "RFC 9293 3.10.7.4",
        "What came first is kept; a repetition that contradicts it is counted, and corrected on its way to the server.",
    ),
    trap(
        23,
        "Windows that are closed while the server is away",
        "RFC 9293 3.8.6.1, 6429",
        "Probes are answered. At hand-over the client is told the replacement's window, and again until it is heard.",
    ),
    trap(
        24,
        "Timers have backed off during the outage",
        "RFC 6298 5, 5681 3.2",
        "What was logged is acknowledged at once. At hand-over both ends are told where they are; a client of which a \
         segment was dropped gets three equal acknowledgements.",
    ),
    trap(
        25,
        "The fabricated handshake has no round trip",
        "RFC 6298 2",
        "Its last segment leaves after the client's own first round trip, at most 100 ms. What the replacement measures \
         while it says again what had been said is still the logger.",
    ),
    trap(
        26,
        "Keep-alives",
        "RFC 9293 3.8.4",
        "They stay one byte before the next after mapping; the logger answers while the server is away.",
    ),
    trap(
        27,
        "The urgent mark",
        "RFC 6093",
        "The pointer is relative and passes; its position is logged, and a replay sets it there. Marks of the server are \
         not regenerated.",
    ),
    trap(
        28,
        "IPv6 and VLANs",
        "RFC 8200, 4861",
        "Hop-by-hop and destination options are read over, other extension headers pass untouched with what follows. \
         Flow labels pass; fabricated segments have none. Tags are kept. The replacement learns the client's address by a \
         solicitation in its name.",
    ),
    trap(
        29,
        "IP fragments",
        "RFC 791, 8200 4.5, 5722, 6864",
        "Those of a protected address are put together within 1 MiB and 30 s, judged as one segment, and taken apart \
         again; overlaps spoil the packet. Fabricated segments have DF.",
    ),
    trap(
        30,
        "Connection trackers see one side only",
        "-",
        "On either side of the logger a tracker sees one connection in order. The logger itself works below the IP layer, \
         where Linux tracks nothing; with `br_netfilter` on the same host, exempt its ports (`nft ... notrack`).",
    ),
    trap(
        31,
        "The order in which connections are accepted",
        "-",
        "Connections are opened again in the order in which they began. The service may still accept them in another, \
         when their round trips differ: a service whose answers depend on it across connections is not deterministic.",
    ),
    trap(
        32,
        "Clocks go half around",
        "RFC 7323 5.5",
        "The oldest timestamp that is mapped follows the replacement's clock; after a silence of 2147 s any is newer, as \
         for Linux, whose clock may count microseconds.",
    ),
    trap(
        33,
        "Tail loss probes look like duplicates",
        "RFC 8985",
        "Logging and comparing are by position: a repetition is forwarded and counts once.",
    ),
    trap(
        34,
        "A corrupt segment is logged as stable",
        "RFC 9293 3.1",
        "The checksum is verified before anything is believed, unless the kernel has done so; what fails passes untouched.",
    ),
    trap(
        35,
        "Connections that the server opens",
        "RFC 959",
        "The group's `outbound` policy: kept (the replacement's connect() is answered by the logger), issued again, \
         forbidden, or passed on unprotected. FTP's in active mode go on as their session says.",
    ),
];

/// The numbers in a test's name: `trap_13_and_14_what` has two.
fn numbers(name: &str) -> Vec<u8> {
    let mut numbers = Vec::new();
    let mut words = name.split('_').skip(1);
    while let Some(number) = words.next().and_then(|word| word.parse().ok()) {
        numbers.push(number);
        if words.next() != Some("and") {
            break;
        }
    }
    numbers
}

/// The tests named after traps below a folder, each with the file that has it.
fn find(root: &Path, folder: &Path, found: &mut BTreeMap<u8, Vec<(String, String)>>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                find(root, &path, found);
            }
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        let file = path.strip_prefix(root).unwrap_or(&path).display();
        for line in text.lines() {
            let Some(rest) = line.trim_start().strip_prefix("fn trap_") else {
                continue;
            };
            let name = rest.split('(').next().unwrap_or_default();
            let name = format!("trap_{name}");
            for number in numbers(&name) {
                let tests = found.entry(number).or_default();
                tests.push((name.clone(), file.to_string()));
            }
        }
    }
}

fn tests() -> BTreeMap<u8, Vec<(String, String)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = BTreeMap::new();
    for folder in ["fttcp/src", "fttcp/tests", "tests"] {
        find(&root, &root.join(folder), &mut found);
    }
    for tests in found.values_mut() {
        tests.sort();
        tests.dedup();
    }
    found
}

fn document() -> String {
    let found = tests();
    let mut text = String::from(
        "# Traps of TCP for a rewriter\n\nMade from the table in `fttcp/tests/tcp_traps.rs` and from the names of tests; \
         a test keeps it up to date (`UPDATE=1 cargo test -p fttcp --test tcp_traps`). Do not edit it.\n\n\
         | | trap | sources | what rxl does | tests |\n|---|---|---|---|---|\n",
    );
    for trap in TRAPS {
        let tests = found.get(&trap.number).map_or(&[][..], Vec::as_slice);
        let names: Vec<String> = tests.iter().map(|(name, _)| format!("`{name}`")).collect();
        text += &format!(
            "| {} | {} | {} | {} | {} |\n",
            trap.number,
            trap.title,
            trap.sources,
            trap.answer,
            names.join(", ")
        );
    }
    text += "\nWhere the tests are:\n\n";
    let mut files = BTreeMap::<&str, usize>::new();
    for (_, file) in found.values().flatten() {
        *files.entry(file).or_default() += 1;
    }
    for (file, count) in files {
        text += &format!("* `{file}`: {count}\n");
    }
    text
}

#[test]
fn every_trap_has_a_test_and_every_such_test_a_trap() {
    let found = tests();
    let missing: Vec<u8> = (1..=35).filter(|at| !found.contains_key(at)).collect();
    assert_eq!(missing, [], "traps without a test");
    let listed: Vec<u8> = TRAPS.iter().map(|trap| trap.number).collect();
    assert_eq!(listed, (1..=35).collect::<Vec<u8>>());
    let unknown: Vec<&u8> = found.keys().filter(|at| !listed.contains(at)).collect();
    assert!(
        unknown.is_empty(),
        "tests of traps that are not listed: {unknown:?}"
    );
}

#[test]
fn document_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tcp-traps.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, document()).unwrap();
    }
    let file = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        file == document(),
        "docs/tcp-traps.md is not up to date: run UPDATE=1 cargo test -p fttcp --test tcp_traps"
    );
}

#[test]
fn numbers_are_read_from_names() {
    assert_eq!(numbers("trap_09_mss_is_clamped"), [9]);
    assert_eq!(numbers("trap_13_and_14_become_nops"), [13, 14]);
    assert_eq!(numbers("trap_04_and_more"), [4]);
    assert_eq!(numbers("trap_door"), []);
}
