// SPDX-License-Identifier: GPL-3.0-only
//! Scenarios in which everything depends on a seed. One of them alone, by the name of its test:
//! `FTTCP_SEED=17 cargo test -p fttcp --release lossy_smoltcp`, with its frames if `FTTCP_TRACE=1`; more of them, or
//! others: `FTTCP_SEEDS=100000` or `FTTCP_SEEDS=50000..60000` for each test.

use std::ops::Range;

use super::*;

/// Which TCPs are at the ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// smoltcp at both.
    Smoltcp,
    /// Scripted at both.
    Scripted,
    /// One of each.
    Mixed,
}

impl Family {
    pub(super) const ALL: [Self; 3] = [Self::Smoltcp, Self::Scripted, Self::Mixed];
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

fn lossy(rng: &mut Rng, delay_us: u64) -> Link {
    let often = |rng: &mut Rng, most| rng.below(most) * rng.below(2);
    let dark = rng.permille(100).then(|| Dark {
        from_us: rng.below(500_000),
        for_us: rng.below(700_000),
    });
    Link {
        delay_us,
        loss: often(rng, 60),
        duplicate: often(rng, 60),
        reorder: often(rng, 150),
        corrupt: often(rng, 60),
        dark,
        narrow: None,
    }
}

fn script(rng: &mut Rng) -> Script {
    let large = rng.permille(150);
    let most = if large { 50_000 } else { 5_000 };
    let requests = (0..=rng.below(4))
        .map(|index| Request {
            upload: rng.below(most) as usize * rng.below(2) as usize,
            download: rng.below(most) as usize,
            pause_us: if index > 0 && rng.permille(300) {
                rng.below(3_000_000)
            } else {
                0
            },
        })
        .collect();
    let slow = |rng: &mut Rng| {
        rng.permille(150).then(|| Slow {
            bytes: 500 + rng.below(4000) as usize,
            every_us: rng.below(60_000),
        })
    };
    Script {
        requests,
        chunk: 100 + rng.below(5000) as usize,
        closing: pick(
            rng,
            &[
                Closing::Client,
                Closing::Client,
                Closing::Half,
                Closing::Server,
                Closing::Both,
            ],
        ),
        reads: slow(rng),
        server_reads: slow(rng),
        ranges: Ranges::Unknown,
        method: "GET",
    }
}

fn habits(rng: &mut Rng, buffer: usize) -> Habits {
    let sometimes = |rng: &mut Rng, often, most| {
        let value = rng.below(most);
        rng.permille(often).then_some(value)
    };
    // Byte by byte, an answer takes longer than a run may.
    let window = sometimes(rng, 50, 3000).map_or(usize::MAX, |window| 16.max(1 + window as usize));
    // A step of the window must not be more than the window.
    let most = buffer.min(window).ilog2().saturating_sub(2).clamp(1, 10);
    Habits {
        isn_before_wrap: sometimes(rng, 300, 20_000).map(|before| before as u32),
        clock_before_wrap: sometimes(rng, 300, 1500).map(|before| before as u32),
        scale: sometimes(rng, 800, u64::from(most)).map(|scale| scale as u8),
        sack: rng.permille(700),
        window,
        segment: sometimes(rng, 200, 1400).map_or(usize::MAX, |most| 60 + most as usize),
        ragged: sometimes(rng, 300, 1000).unwrap_or(0),
        overlap: sometimes(rng, 300, 1000).unwrap_or(0),
        urgent: sometimes(rng, 200, 300).unwrap_or(0),
        ack_every: 1 + rng.below(6) as u32,
        ack_delay_us: rng.below(200_000),
        keep_alive_us: sometimes(rng, 200, 400_000).map(|every| 10_000 + every),
    }
}

/// The logger's restarts: none, one, or one at each event for a while.
fn restarts(rng: &mut Rng) -> Vec<u64> {
    let first = rng.below(300);
    match rng.below(10) {
        0..2 => vec![first],
        2 => (first..first + rng.below(50)).collect(),
        _ => Vec::new(),
    }
}

/// A scenario that differs with the seed in everything.
pub(super) fn chance(family: Family, seed: u64) -> Scenario {
    const DEATHS: [Death; 4] = [Death::Silent, Death::Closes, Death::Resets, Death::Hangs];
    const BUFFERS: [usize; 4] = [4 * 1024, 16 * 1024, 64 * 1024, 128 * 1024];
    let mut rng = Rng::new(seed);
    let rng = &mut rng;
    let mut at_event = 0;
    let crashes = (0..rng.below(5))
        .map(|_| {
            at_event += rng.below(120);
            Crash {
                at_event,
                death: pick(rng, &DEATHS),
                detect_us: rng.below(20_000),
            }
        })
        .collect();
    let timestamps = rng.permille(700);
    let stacks = match family {
        Family::Smoltcp => (Stack::Smoltcp, Stack::Smoltcp),
        Family::Scripted => (Stack::Scripted, Stack::Scripted),
        Family::Mixed if seed.is_multiple_of(2) => (Stack::Smoltcp, Stack::Scripted),
        Family::Mixed => (Stack::Scripted, Stack::Smoltcp),
    };
    let end = |rng: &mut Rng, stack| {
        let buffer = pick(rng, &BUFFERS);
        EndSpec {
            stack,
            buffer,
            timestamps,
            mtu: pick(rng, &[1500, 1500, 1500, 1300, 576]),
            habits: habits(rng, buffer),
        }
    };
    let client = end(rng, stacks.0);
    // Servers that replace each other agree to the same options; their buffers, scales and segments differ. A tiny
    // window behind a larger step of the first server's scale would be filled in vain.
    let mut first = end(rng, stacks.1);
    first.habits.window = usize::MAX;
    let further = |rng: &mut Rng| {
        let other = end(rng, stacks.1);
        EndSpec {
            habits: Habits {
                scale: first.habits.scale.and(other.habits.scale.or(Some(0))),
                sack: first.habits.sack,
                window: usize::MAX,
                ..other.habits.clone()
            },
            ..other
        }
    };
    let servers: Vec<_> = (0..3).map(|_| further(rng)).collect();
    let servers = std::iter::once(first.clone()).chain(servers).collect();
    let (to, from) = (200 + rng.below(20_000), 200 + rng.below(20_000));
    let from = if rng.permille(700) { to } else { from };
    let client_link = Wire {
        to: lossy(rng, to),
        from: lossy(rng, from),
    };
    let server_link = if rng.permille(500) {
        Wire::clean(50)
    } else {
        Wire {
            to: lossy(rng, 100),
            from: lossy(rng, 100),
        }
    };
    let whole = Link::clean(server_link.to.delay_us) == server_link.to;
    let shortcut = if whole {
        rng.permille(600)
    } else {
        // Drawn apart, so that the rest of the scenario does not depend on it.
        Rng::new(seed ^ 0x6661_7374).permille(300)
    };
    let shortcut = shortcut.then_some(20_000);
    let script = script(rng);
    // With its log cut behind the last exchange, a replacement does not know that it is to close.
    let waits = matches!(script.closing, Closing::Server | Closing::Both);
    let held = !waits && rng.permille(200);
    let kind = if held || !waits && rng.permille(300) {
        "exchange"
    } else {
        "opaque"
    };
    let mut scenario = Scenario {
        seed,
        connections: 1 + rng.below(3) as usize * usize::from(rng.permille(300)),
        script,
        client_link,
        server_link,
        crashes,
        rejoin_us: rng.permille(300).then(|| rng.below(50_000)),
        client,
        servers,
        trace: std::env::var_os("FTTCP_TRACE").is_some(),
        kind,
        // A request and an answer in one, at least.
        buffer_bytes: if held { 60_000 } else { 1 << 20 },
        spill: None,
        on_full: if held {
            OnFull::Hold
        } else {
            OnFull::Unprotect
        },
        shortcut,
        // A pause of a round trip is long enough in half of the runs.
        doze_us: if rng.permille(500) { 3000 } else { 5_000_000 },
        restarts: restarts(rng),
        v6: family == Family::Scripted && rng.permille(200),
        ..Scenario::default()
    };
    if family == Family::Scripted {
        narrow_ways(&mut scenario);
    }
    let killed = Rng::new(seed ^ 0x6a6f_7572).permille(500);
    scenario.journal = killed && !scenario.restarts.is_empty();
    scenario.trace = from_environment("FTTCP_TRACE").is_some();
    scenario
}

/// At some time, one of the ways becomes narrower. smoltcp's ends are spared: they do not heed ICMP.
fn narrow_ways(scenario: &mut Scenario) {
    // Drawn apart, so that the rest of the scenario does not depend on it.
    let mut rng = Rng::new(scenario.seed ^ 0x4d54_5500);
    if !rng.permille(250) {
        return;
    }
    // No router tells an IPv6 host of less (RFC 8200 section 5), nor does the logger believe it for IPv4.
    let mtus = if scenario.v6 {
        [1492, 1400, 1300, 1280]
    } else {
        [1492, 1280, 1006, 552]
    };
    let narrow = Narrow {
        from_us: rng.below(600_000),
        mtu: pick(&mut rng, &mtus),
    };
    let (client, server) = (&mut scenario.client_link, &mut scenario.server_link);
    let links = [
        &mut client.from,
        &mut client.to,
        &mut server.from,
        &mut server.to,
    ];
    for link in links {
        if rng.permille(400) {
            link.narrow = Some(narrow);
        }
    }
}

fn from_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The seeds that the environment asks for, or the first so many: fewer in a build for debugging.
fn seeds(usual: u64) -> Range<u64> {
    let number = |text: &str| text.parse::<u64>().expect("a seed is a number");
    if let Some(seed) = from_environment("FTTCP_SEED") {
        let seed = number(&seed);
        return seed..seed + 1;
    }
    match from_environment("FTTCP_SEEDS") {
        Some(asked) => match asked.split_once("..") {
            Some((from, to)) => number(from)..number(to),
            None => 0..number(&asked),
        },
        None if cfg!(debug_assertions) => 0..usual / 50,
        None => 0..usual,
    }
}

/// Says how to run the seed again, if the run itself panics.
struct Replay<'a>(&'a str, u64);

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.say();
        }
    }
}

impl Replay<'_> {
    fn say(&self) {
        let Self(test, seed) = self;
        println!("replay: FTTCP_SEED={seed} cargo test -p fttcp --release {test}");
    }
}

/// Runs the seeds of a shard of so many: `usual` of them in all shards together. All of them, also if one fails.
fn by_seed(test: &str, family: Family, shard: (u64, u64), usual: u64) {
    let scenario = |seed| chance(family, seed);
    by_seed_of(test, family, &scenario, shard, usual);
}

/// The same, with scenarios of another kind.
fn by_seed_of(
    test: &str,
    family: Family,
    scenario: &dyn Fn(u64) -> Scenario,
    (shard, shards): (u64, u64),
    usual: u64,
) {
    let (mut whole, mut cut_short) = (0, 0);
    let mut failed = Vec::new();
    for seed in seeds(usual).filter(|seed| seed % shards == shard) {
        let replay = Replay(test, seed);
        match judged(&scenario(seed)) {
            Ok(true) => whole += 1,
            Ok(false) => cut_short += 1,
            Err(wrong) => {
                replay.say();
                println!("{wrong}");
                failed.push(seed);
            }
        }
    }
    println!("{whole} runs compared, {cut_short} cut short by smoltcp");
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
    assert!(
        cut_short * 50 <= whole + 50,
        "{cut_short} of {whole} runs cut short"
    );
    assert!(family != Family::Scripted || cut_short == 0);
}

#[test]
fn lossy_smoltcp() {
    by_seed("lossy_smoltcp", Family::Smoltcp, (0, 1), 34_000);
}

#[test]
fn lossy_mixed() {
    by_seed("lossy_mixed", Family::Mixed, (0, 1), 30_000);
}

#[test]
fn lossy_scripted_even() {
    by_seed("lossy_scripted", Family::Scripted, (0, 2), 56_000);
}

#[test]
fn lossy_scripted_odd() {
    by_seed("lossy_scripted", Family::Scripted, (1, 2), 56_000);
}

/// A scenario in which long responses may be resumed, or their rest is refused.
fn long_response(family: Family, seed: u64) -> Scenario {
    const RANGES: [Ranges; 8] = [
        Ranges::Given,
        Ranges::Given,
        Ranges::Given,
        Ranges::Ignored,
        Ranges::OtherVersion,
        Ranges::OtherPart,
        Ranges::Closed,
        Ranges::Silent,
    ];
    let mut scenario = chance(family, seed);
    let mut rng = Rng::new(seed ^ 0x7261_6e67);
    let at = rng.below(scenario.script.requests.len() as u64) as usize;
    scenario.script.requests[at].upload = 0;
    scenario.script.requests[at].download = 80_000 + rng.below(200_000) as usize;
    scenario.script.ranges = pick(&mut rng, &RANGES);
    scenario.kind = "http";
    for crash in &mut scenario.crashes {
        crash.at_event *= 3;
    }
    scenario
}

/// Not with smoltcp: over a bad line, its timer may back off for longer than a replacement may take.
#[test]
fn resumed_scripted() {
    let family = Family::Scripted;
    let scenario = |seed| long_response(family, seed);
    by_seed_of("resumed_scripted", family, &scenario, (0, 1), 6000);
}
