// SPDX-License-Identifier: GPL-3.0-only
//! What HTTP has besides files: upgrades, tunnels, interim responses, HEAD, chunks with trailers both ways, pipelining. Real
//! servers and proxies die at points of such exchanges, and their clients are content. `FT_CRASHES`: at how many points of each
//! exchange (2).

mod http_features;

use fttcp::control::{Outbound, Verify};
use http_features::house::{Fate, House, Outcome};
use http_features::{messages, once, pipes, stock};
use rxl_tests::netns::layout::Layout;
use rxl_tests::netns::service::Serves;
use rxl_tests::netns::topology::CLIENT;
use rxl_tests::netns::web::origin::PORT;
use rxl_tests::netns::web::{REVERSE, WebServer};

const HAPROXY: Serves = Serves::Http(WebServer::Haproxy);
const SQUID: Serves = Serves::Http(WebServer::Squid);
const OWN: Serves = Serves::Own(env!("CARGO_BIN_EXE_http-server"));
/// nginx before the origin, for WebSockets.
const UPGRADES: &str = "location / { proxy_pass http://10.77.0.1:8080; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection Upgrade; proxy_read_timeout 600; }";
/// nginx takes what is put.
const TAKES: &str = "dav_methods PUT; client_max_body_size 0; keepalive_timeout 600;";

// Of what proxies ask, origins are asked again (`re-issue`): haproxy and squid keep connections to origins for other clients, and
// a replacement does not open those again. A pipe is its client's alone, and may be kept.

fn proxied() -> String {
    format!("http://{CLIENT}:{PORT}")
}

#[test]
fn websocket_through_nginx_goes_on() -> Outcome {
    let mut house = House::new(Serves::Web, UPGRADES, Outbound::Keep)?;
    house.disturb(Fate::GoesOn, pipes::websocket)?;
    house.disturb(Fate::GoesOn, pipes::numbered_websocket)?;
    Ok(())
}

#[test]
fn websocket_through_haproxy_goes_on() -> Outcome {
    let mut house = House::new(HAPROXY, "", Outbound::Keep)?;
    house.disturb(Fate::GoesOn, pipes::websocket)?;
    house.disturb(Fate::GoesOn, pipes::numbered_websocket)?;
    Ok(())
}

#[test]
fn websocket_whose_origin_is_asked_again_goes_on_if_that_says_the_same() -> Outcome {
    for outbound in [Outbound::ReIssue, Outbound::Pass] {
        let mut house = House::new(Serves::Web, UPGRADES, outbound)?;
        house.disturb(Fate::GoesOn, pipes::websocket)?;
        house.disturb(Fate::MayEnd, pipes::numbered_websocket)?;
    }
    Ok(())
}

#[test]
fn tunnel_through_squid_goes_on() -> Outcome {
    let mut house = House::new(SQUID, "", Outbound::Keep)?;
    house.disturb(Fate::GoesOn, pipes::tunnel)?;
    house.disturb(Fate::GoesOn, pipes::numbered_tunnel)?;
    Ok(())
}

#[test]
fn tunnel_through_tinyproxy_goes_on() -> Outcome {
    let mut house = House::new(Serves::Proxy, "", Outbound::Keep)?;
    house.disturb(Fate::GoesOn, pipes::tunnel)?;
    house.disturb(Fate::GoesOn, pipes::numbered_tunnel)?;
    Ok(())
}

#[test]
fn tunnel_whose_far_end_is_asked_again_goes_on_if_that_says_the_same() -> Outcome {
    for (serves, outbound) in [(SQUID, Outbound::ReIssue), (Serves::Proxy, Outbound::Pass)] {
        let mut house = House::new(serves, "", outbound)?;
        house.disturb(Fate::GoesOn, pipes::tunnel)?;
        house.disturb(Fate::MayEnd, pipes::numbered_tunnel)?;
    }
    Ok(())
}

#[test]
fn body_that_waits_for_leave_is_put_whole() -> Outcome {
    for (serves, nginx) in [(Serves::Web, TAKES), (HAPROXY, ""), (OWN, "")] {
        let mut house = House::new(serves, nginx, Outbound::ReIssue)?;
        house.disturb(Fate::GoesOn, messages::expectation)?;
    }
    Ok(())
}

#[test]
fn responses_to_head_are_followed_by_others() -> Outcome {
    for serves in [Serves::Web, Serves::Http(WebServer::Apache), HAPROXY] {
        let mut house = House::new(serves, "", Outbound::ReIssue)?;
        house.disturb(Fate::GoesOn, |house| messages::heads(house, ""))?;
    }
    let mut house = House::new(SQUID, "", Outbound::ReIssue)?;
    let base = proxied();
    house.disturb(Fate::GoesOn, |house| messages::heads(house, &base))?;
    Ok(())
}

#[test]
fn request_in_chunks_is_put_whole_with_its_trailer() -> Outcome {
    // haproxy gives no trailers of requests on.
    for (serves, nginx, kept) in [
        (Serves::Web, TAKES, false),
        (HAPROXY, "", false),
        (OWN, "", true),
    ] {
        let mut house = House::new(serves, nginx, Outbound::ReIssue)?;
        house.disturb(Fate::GoesOn, |house| messages::chunked_request(house, kept))?;
    }
    Ok(())
}

#[test]
fn response_in_chunks_is_whole_with_its_trailer() -> Outcome {
    let mut house = House::new(OWN, "", Outbound::ReIssue)?;
    house.disturb(Fate::GoesOn, messages::chunked_response)?;
    // haproxy makes chunks of its own, as large as what it has got by then.
    for (verify, fate) in [(Verify::Full, Fate::MayEnd), (Verify::Auto, Fate::MayBreak)] {
        let mut house = House::of(Layout {
            serves: HAPROXY,
            kind: "http",
            outbound: Outbound::ReIssue,
            verify,
            ..Layout::default()
        })?;
        house.disturb(fate, messages::chunked_response)?;
    }
    Ok(())
}

#[test]
fn pipelined_requests_are_answered_in_their_order() -> Outcome {
    for (serves, nginx) in [
        (Serves::Web, ""),
        (Serves::Http(WebServer::Apache), ""),
        (Serves::Web, REVERSE),
        (HAPROXY, ""),
        (OWN, ""),
    ] {
        let mut house = House::new(serves, nginx, Outbound::ReIssue)?;
        house.disturb(Fate::GoesOn, |house| messages::pipelined(house, ""))?;
    }
    let mut house = House::new(SQUID, "", Outbound::ReIssue)?;
    let base = proxied();
    house.disturb(Fate::GoesOn, |house| messages::pipelined(house, &base))?;
    Ok(())
}

#[test]
fn curl_that_waits_for_leave_puts_its_file() -> Outcome {
    for (serves, nginx) in [(Serves::Web, TAKES), (HAPROXY, "")] {
        let mut house = House::new(serves, nginx, Outbound::ReIssue)?;
        stock::curl_waits(&mut house)?;
    }
    Ok(())
}

#[test]
fn curl_that_does_not_know_its_files_length_puts_it_in_chunks() -> Outcome {
    for (serves, nginx) in [(Serves::Web, TAKES), (HAPROXY, "")] {
        let mut house = House::new(serves, nginx, Outbound::ReIssue)?;
        stock::curl_in_chunks(&mut house)?;
    }
    Ok(())
}

#[test]
fn tls_in_a_tunnel_ends_at_once_and_the_log_says_why() -> Outcome {
    for serves in [SQUID, Serves::Proxy] {
        stock::tls_in_a_tunnel(serves)?;
    }
    Ok(())
}

#[test]
fn post_among_pipelined_requests_is_not_made_twice() -> Outcome {
    for serves in [HAPROXY, OWN] {
        let mut house = House::new(serves, "", Outbound::ReIssue)?;
        once::pipelined_post(&mut house)?;
    }
    Ok(())
}

#[test]
fn post_that_waits_for_leave_is_not_made_twice() -> Outcome {
    let mut house = House::new(HAPROXY, "", Outbound::ReIssue)?;
    once::expected_post(&mut house)?;
    Ok(())
}

#[test]
fn post_behind_a_request_that_is_not_understood_is_not_made_twice() -> Outcome {
    let mut house = House::new(OWN, "", Outbound::ReIssue)?;
    once::post_behind_unclear(&mut house)
}
