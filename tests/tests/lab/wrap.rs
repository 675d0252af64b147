// SPDX-License-Identifier: GPL-3.0-only
//! A server under the north side wrap on real Xen: its record is in memory that its domain grants to the logger, and whoever
//! replaces it remembers all that it has said. The server is that of tests/netns_wrap.rs: each of its answers has the time,
//! randomness and a digest of all answers before it.

use rxl_tests::netns::chain::Answers;
use rxl_tests::netns::random::Random;
use serde_json::Value;

use crate::declared::{
    self, active, end, last_event, story, wait_complete, wait_event, with_logger,
};
use crate::dom0::Dom0;
use crate::emulator::despite_emulator;

/// Servers that are destroyed; of PVH guests one, since the lab's are slow and frail.
const CRASHES: u64 = 3;
/// Answers before and after each crash.
const SOME: usize = 40;

const GROUP: &str = "[[service]]\nport = 7100\nwrap = true\n[member]\nconfig = 'chain.cfg'\n\
                     [standby]\nready-after = '0s'\nboot-timeout = '4min'\n[detection]\nheartbeat = '30s'\n";

/// Clients that stay, and some that come and go. Each asks, then each hears its answer, until that is enough.
const CLIENTS: &str = r#"import os, random, socket, sys, time
random.seed(int(sys.argv[1]))

def connect():
    client = socket.create_connection(("10.77.0.10", 7100), timeout=300)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client, client.makefile("rb")

staying = [connect() for _ in range(4)]
with open("/root/answers", "wb", buffering=0) as answers:
    while not os.path.exists("/root/enough"):
        passing = [connect()] if random.randrange(3) == 0 else []
        for client, _ in staying + passing:
            client.sendall(b"x" * random.randrange(200) + b"\n")
        for client, incoming in staying + passing:
            answer = incoming.readline()
            if not answer.endswith(b"\n"):
                sys.exit(f"a connection ended after {answer!r}")
            answers.write(answer)
        for client, incoming in passing:
            incoming.close()
            client.close()
        time.sleep(0.1)
"#;

/// Dom0 with a logger and a group of wrapped servers, one of which stands by.
fn with_chain(kind: &str) -> Dom0 {
    let dom0 = with_logger();
    let config = format!(
        "name = 'chain'\ntype = '{kind}'\nkernel = '/lab/guest/vmlinux'\nramdisk = '/lab/guest/initrd.img'\n\
         cmdline = 'console=hvc0 random.trust_cpu=on quiet rxl.role=chain rxl.ip=10.77.0.10/24'\nmemory = 160\n\
         tsc_mode = 'native'\nvif = ['mac=00:16:3e:77:00:10,backend=logger']\non_crash = 'destroy'\n"
    );
    dom0.ok(&format!(
        "cat > /root/demo/chain.cfg <<'END'\n{config}END\n"
    ));
    declared::apply(&dom0, GROUP);
    dom0
}

/// The clients' process in Dom0.
struct Clients<'a>(&'a Dom0);

impl<'a> Clients<'a> {
    fn begin(dom0: &'a Dom0) -> Self {
        let seed = Random::announced("lab wrap").number();
        dom0.ok(&format!(
            "cd /root; rm -f answers enough ended; mkfifo ended; cat >clients.py <<'END'\n{CLIENTS}END\n: >answers; \
             (python3 clients.py {seed} 2>clients.log; echo $? >ended) >/dev/null 2>&1 &"
        ));
        Self(dom0)
    }

    /// Waits for some more answers.
    fn go_on(&self) {
        let heard = self.0.ok(&format!(
            "cd /root; all=$(($(wc -l <answers)+{SOME})); timeout 300 tail -n +1 -f answers | head -n $all | wc -l; echo $all"
        ));
        let mut numbers = heard.lines();
        let (heard, wanted) = (numbers.next(), numbers.next());
        assert_eq!(heard, wanted, "{}", self.story());
    }

    /// Waits for their end; what they have heard.
    fn end(&self) -> Answers {
        let code = self
            .0
            .ok("touch /root/enough; timeout 300 cat /root/ended || echo none");
        assert_eq!(code.trim(), "0", "{}", self.story());
        let mut answers = Answers::default();
        for line in self.0.ok("cat /root/answers").split_inclusive('\n') {
            answers
                .add(line.to_owned())
                .unwrap_or_else(|error| panic!("{error}\n{}", self.story()));
        }
        answers
    }

    fn story(&self) -> String {
        let own = "cat /root/clients.log; wc -l /root/answers; \
                   for log in /var/log/xen/console/guest-chain-*.log; do echo \"--- $log\"; tail -n 12 $log; done";
        self.0.run(own).stdout + &story(self.0)
    }
}

/// Destroys the server in the middle of what it does; returns when its replacement has answered.
fn crash(dom0: &Dom0, clients: &Clients<'_>) {
    let (server, since) = (active(dom0), last_event(dom0));
    dom0.ok(&format!("rxl destroy {server}"));
    print!("{}", wait_event(dom0, since, "failover-acknowledged"));
    clients.go_on();
    assert_ne!(active(dom0), server);
}

/// What the logger says of the group, printed.
fn status(dom0: &Dom0) -> Value {
    let text = dom0.ok("rxl ft status www --json");
    let groups: Value = serde_json::from_str(&text).expect("rxl ft status prints JSON");
    let status = groups[0]["logger"].clone();
    let count = |name: &str| status["wrap"][name].as_u64().unwrap_or(0);
    println!(
        "{} looks, {} copies, {} records, {} bytes, {} calls; {} handed over, {} missing; {} held, {} bells; the last failover took {} us",
        count("looks"),
        count("copies"),
        count("records"),
        count("bytes"),
        count("calls"),
        count("handed"),
        count("missing"),
        count("held"),
        count("bells"),
        status["failover"]["done_us"]
    );
    status
}

/// Ends clients and group, and judges: each answer was given by somebody who remembers all answers before it, nothing was lost,
/// at least `handed` replacements got a record and none was without one, and no domain is left that cannot die.
fn conclude(dom0: &Dom0, clients: &Clients<'_>, handed: u64) {
    let answers = clients.end();
    let status = status(dom0);
    println!("{} answers", answers.count());
    answers
        .check()
        .unwrap_or_else(|error| panic!("{error}\n{}", clients.story()));
    let of = |part: &str, name: &str| status[part][name].as_u64();
    assert!(of("wrap", "handed") >= Some(handed), "{status}");
    assert_eq!(of("wrap", "missing"), Some(0), "{status}");
    let lost = (of("counters", "lost"), of("counters", "diverged"));
    assert_eq!(lost, (Some(0), Some(0)), "{status}");
    dom0.wait_no_dying();
    end(dom0);
    dom0.wait_no_dying();
}

fn replacements_remember(kind: &str, crashes: u64) {
    let dom0 = with_chain(kind);
    let clients = Clients::begin(&dom0);
    for _ in 0..crashes {
        clients.go_on();
        crash(&dom0, &clients);
        wait_complete(&dom0);
    }
    conclude(&dom0, &clients, crashes);
}

#[test]
fn lab_wrapped_pv_servers_remember_what_those_before_them_said() {
    replacements_remember("pv", CRASHES);
}

#[test]
fn lab_wrapped_pvh_servers_remember_what_those_before_them_said() {
    despite_emulator(|| replacements_remember("pvh", 1));
}

/// Kills a daemon of the logger, which is started again.
fn kill(dom0: &Dom0, daemon: &str) {
    dom0.type_line("logger", &format!("kill -KILL $(pidof {daemon})"));
    let told = format!("{daemon} ended with code");
    dom0.lab
        .wait_console("logger", &told, 120)
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn lab_wrap_outlives_daemons_of_the_logger_that_are_killed() {
    let dom0 = with_chain("pv");
    dom0.type_line("logger", "");
    let clients = Clients::begin(&dom0);
    clients.go_on();
    kill(&dom0, "ftlogger");
    // Frames of such a group go through its process: it is back, and has what the answers depend on.
    clients.go_on();
    kill(&dom0, "rxl-devd");
    // The answer comes by way of it.
    status(&dom0);
    clients.go_on();
    crash(&dom0, &clients);
    wait_complete(&dom0);
    conclude(&dom0, &clients, 1);
}
