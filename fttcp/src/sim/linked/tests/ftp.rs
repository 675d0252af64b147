// SPDX-License-Identifier: GPL-3.0-only
//! Crash at every event of FTP sessions, in both modes: the client hears each reply once and has every file, and so has the
//! server; nothing is known of the policy for connections that the server opens.

use super::super::ftp::{Client, Mode, Server};
use super::*;

fn files() -> Vec<Transfer> {
    let file = |up, id, len| Transfer { up, id, len };
    vec![file(false, 1, 9000), file(true, 2, 7000), file(false, 3, 0)]
}

type Apps = Vec<Box<dyn App>>;
type Clients = fn(&mut Host) -> Apps;
type Servers = fn(&mut Host, usize) -> Apps;

fn client(host: &mut Host, mode: Mode) -> Apps {
    vec![Box::new(Client::new(host, mode, files()))]
}

fn server(host: &mut Host, mode: Mode, index: usize) -> Apps {
    vec![Box::new(Server::new(host, mode, index))]
}

fn session(mode: Mode) -> Scenario {
    let (client, server): (Clients, Servers) = match mode {
        Mode::Passive => (
            |host| client(host, Mode::Passive),
            |host, index| server(host, Mode::Passive, index),
        ),
        Mode::Active => (
            |host| client(host, Mode::Active),
            |host, index| server(host, Mode::Active, index),
        ),
        Mode::Early => (
            |host| client(host, Mode::Early),
            |host, index| server(host, Mode::Early, index),
        ),
    };
    Scenario {
        outbound: Outbound::Pass,
        control: "ftp",
        ..scenario(client, server)
    }
}

#[test]
fn trap_35_ftp_session_in_active_mode_whose_server_crashes_at_any_event() {
    crash_everywhere(&session(Mode::Active), Death::Silent);
}

#[test]
fn trap_35_ftp_session_in_active_mode_whose_servers_kernel_closes_at_any_event() {
    crash_everywhere(&session(Mode::Active), Death::Closes);
}

#[test]
fn trap_35_ftp_session_in_active_mode_whose_servers_kernel_resets_at_any_event() {
    crash_everywhere(&session(Mode::Active), Death::Resets);
}

#[test]
fn trap_35_ftp_server_that_opens_before_it_answers_crashes_at_any_event() {
    crash_everywhere(&session(Mode::Early), Death::Silent);
}

#[test]
fn ftp_session_in_passive_mode_whose_server_crashes_at_any_event() {
    crash_everywhere(&session(Mode::Passive), Death::Silent);
}

#[test]
fn trap_35_ftp_session_in_active_mode_is_the_same_under_other_policies() {
    for outbound in [Outbound::Keep, Outbound::ReIssue] {
        let base = Scenario {
            outbound,
            ..session(Mode::Active)
        };
        let fault_free = clean(&base);
        for at in (0..fault_free.events).step_by(7) {
            assert_same(&base, &fault_free, &[(at, Death::Silent)]);
        }
    }
}

#[test]
fn trap_35_ftp_sessions_whose_servers_crash_twice() {
    for mode in [Mode::Active, Mode::Early, Mode::Passive] {
        crash_in_pairs(&session(mode));
    }
}

#[test]
fn durable_ftp_session_whose_server_crashes_at_any_event() {
    for mode in [Mode::Passive, Mode::Active] {
        let base = Scenario {
            durable: true,
            ..session(mode)
        };
        crash_everywhere(&base, Death::Silent);
        crash_everywhere(&base, Death::Closes);
        let counters = clean(&base).counters;
        assert_eq!((counters.commits, counters.commits_not_durable), (1, 0));
    }
}

#[test]
fn durable_ftp_session_whose_servers_crash_twice() {
    crash_in_pairs(&Scenario {
        durable: true,
        ..session(Mode::Passive)
    });
}

/// The control: what the other tests forbid does happen to sessions of which the logger knows nothing.
#[test]
fn crash_in_the_middle_of_an_opaque_session_is_seen_by_its_client() {
    let base = Scenario {
        control: "opaque",
        ..session(Mode::Active)
    };
    let fault_free = clean(&base);
    let mut changed = 0;
    for at in 0..fault_free.events {
        let faulty = Scenario {
            crashes: vec![(at, Death::Silent)],
            ..base
        };
        changed += u64::from(run(&faulty).results != fault_free.results);
    }
    assert!(
        changed * 3 > fault_free.events,
        "{changed} of {}",
        fault_free.events
    );
}
