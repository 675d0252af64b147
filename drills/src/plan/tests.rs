// SPDX-License-Identifier: GPL-3.0-only
//! Drill files, good ones and bad ones.

use super::*;

const GOOD: &str = r#"name = "web-crash"
text = "A web server dies."
duration = "8s"

[service]
runs = "web"
megabits = 400

[[load]]
do = "download"
connections = 4
size = "8MiB"

[[load]]
do = "command"
command = "curl -sf {url}"
connections = 1
size = "1KiB"
pause = "10ms"

[[fault]]
do = "crash"
at = "2s"
times = 3
every = "1s"

[[fault]]
do = "hang"
at_bytes = "64MiB"
wakes_after = "1s"

[detect]
hang = "500ms"

[expect]
gap_p99 = "250ms"
throughput = 0.8
"#;

fn wrong(change: &str, to: &str) -> String {
    assert!(GOOD.contains(change), "{change}");
    let text = GOOD.replacen(change, to, 1);
    Plan::parse("x.toml", &text).unwrap_err().to_string()
}

#[test]
fn example_of_the_documentation_is_a_drill() {
    let text = include_str!("../../../docs/drills.md");
    let (_, example) = text.split_once("## A drill file\n\n").unwrap();
    let lines = example.lines();
    let block = lines.take_while(|it| it.is_empty() || it.starts_with("    "));
    let example: String = block.map(|it| format!("{}\n", it.trim_start())).collect();
    let drill = Plan::parse("docs/drills.md", &example).unwrap();
    assert_eq!(drill.name, "my-drill");
    assert_eq!(drill.loads[0].connections, 8);
}

#[test]
fn good_file_is_read() {
    let plan = Plan::parse("x.toml", GOOD).unwrap();
    assert_eq!(
        (plan.stage, plan.service.kind.as_str()),
        (StageKind::Netns, "http")
    );
    assert_eq!(plan.loads[0].work, Work::Download);
    assert!(plan.loads[0].keep_alive);
    assert_eq!(plan.loads[1].pause, Duration::from_millis(10));
    let whens: Vec<When> = plan.faults.iter().map(|fault| fault.when).collect();
    let at = |seconds| When::At(Duration::from_secs(seconds));
    assert_eq!(whens, [at(2), at(3), at(4), When::Bytes(64 << 20)]);
    assert_eq!(plan.faults[0].act, Act::Crash(How::Destroy));
    assert_eq!(plan.expect.gap_p99, Some(Duration::from_millis(250)));
    assert_eq!((plan.expect.failed, plan.expect.throughput), (0, Some(0.8)));
}

#[test]
fn shortened_drill_has_its_faults_earlier() {
    let plan = Plan::parse("x.toml", GOOD).unwrap().shortened(0.5);
    assert_eq!(plan.duration, Duration::from_secs(4));
    assert_eq!(plan.faults[0].when, When::At(Duration::from_secs(1)));
    assert_eq!(plan.faults[3].when, When::Bytes(32 << 20));
    assert_eq!(
        plan.faults[3].act,
        Act::Hang(Still::Stop, Some(Duration::from_millis(500)))
    );
    assert_eq!(plan.expect.gap_p99, Some(Duration::from_millis(250)));
}

#[test]
fn errors_name_file_line_key_and_what_to_do() {
    assert_eq!(
        wrong("duration = \"8s\"", "duration = \"8\""),
        "x.toml:3: duration: invalid value: string \"8\", expected a time such as \"250ms\", \"2s\" or \"1.5min\""
    );
    assert_eq!(
        wrong("duration = \"8s\"\n", ""),
        "x.toml:1: `duration` is missing; add a line for it"
    );
    assert_eq!(
        wrong("megabits = 400", "megabits = 0"),
        "x.toml:7: megabits: nothing goes over a line of 0 Mbit/s"
    );
    assert_eq!(
        wrong("do = \"download\"", "do = \"upload\""),
        "x.toml:10: do: only services with runs = \"ftp\" take uploads"
    );
    assert_eq!(
        wrong("at = \"2s\"\n", ""),
        "x.toml:21: when? Add at = \"3s\" or at_bytes = \"20MiB\""
    );
    assert_eq!(
        wrong("[detect]\nhang = \"500ms\"", ""),
        "x.toml:27: nobody would notice; add [detect] with hang = \"500ms\""
    );
    let late = wrong("times = 3", "times = 30");
    assert!(
        late.starts_with("x.toml:23: at: the drill is over after 8s"),
        "{late}"
    );
}

#[test]
fn unknown_keys_and_values_are_told_with_what_there_is() {
    let key = wrong("runs = ", "run = ");
    assert!(
        key.starts_with("x.toml:6: run: unknown field `run`, expected one of `runs`"),
        "{key}"
    );
    let act = wrong("do = \"crash\"", "do = \"crush\"");
    assert!(
        act.starts_with("x.toml:22: do: unknown variant `crush`, expected one of `crash`"),
        "{act}"
    );
    let kind = wrong("runs = \"web\"", "runs = \"web\"\nkind = \"smtp\"");
    assert!(
        kind.starts_with("x.toml:7: kind: the logger has no such plug-in; take opaque"),
        "{kind}"
    );
}

#[test]
fn what_contradicts_itself_is_refused() {
    let both = wrong("at = \"2s\"", "at = \"2s\"\nat_bytes = \"1MiB\"");
    assert!(
        both.starts_with("x.toml:24: at_bytes: a fault has at or at_bytes"),
        "{both}"
    );
    let how = wrong("wakes_after = \"1s\"", "how = \"kill\"");
    assert!(how.contains("how: a server stands still by"), "{how}");
    let none = wrong("command = \"curl -sf {url}\"\n", "");
    assert!(none.contains("do: which command?"), "{none}");
    let twice = wrong("connections = 4", "connections = 0");
    assert!(twice.contains("connections: from 1 to 512"), "{twice}");
    let syntax = wrong("[expect]", "[expect");
    assert!(syntax.starts_with("x.toml:35: "), "{syntax}");
}

/// The good file for the lab, with one thing changed.
fn in_lab(change: &str, to: &str) -> Result<Plan, String> {
    let lab = GOOD.replace("[service]", "stage = \"lab\"\n[service]");
    let lab = lab.replace("megabits = 400\n", "");
    assert!(lab.contains(change), "{change}");
    Plan::parse("x.toml", &lab.replacen(change, to, 1)).map_err(|error| error.to_string())
}

#[test]
fn lab_drill_is_read_and_what_the_lab_cannot_do_is_refused() {
    let plan = in_lab("do = \"crash\"", "do = \"crash\"\nhow = \"panic\"").unwrap();
    assert_eq!(
        (plan.stage, plan.faults[0].act),
        (StageKind::Lab, Act::Crash(How::Panic))
    );
    let refused = |change, to| in_lab(change, to).unwrap_err();
    assert_eq!(
        refused("runs = \"web\"", "runs = \"proxy\""),
        "x.toml:7: runs: the lab's servers have nginx only; take runs = \"web\", or stage = \"netns\""
    );
    let line = refused("runs = \"web\"", "runs = \"web\"\nmegabits = 10");
    assert!(
        line.starts_with("x.toml:8: megabits: the lab's line"),
        "{line}"
    );
    let plan = in_lab("runs = \"web\"", "runs = \"web\"\nguests = \"pvh\"").unwrap();
    assert_eq!(plan.service.guests, Guests::Pvh);
    let hang = in_lab("do = \"crash\"", "do = \"hang\"").unwrap();
    assert_eq!(hang.faults[0].act, Act::Hang(Still::Pause, None));
    let stop = in_lab("do = \"crash\"", "do = \"hang\"\nhow = \"stop\"").unwrap();
    assert_eq!(stop.faults[0].act, Act::Hang(Still::Stop, None));
    let kill = refused("do = \"crash\"", "do = \"crash\"\nhow = \"kill\"");
    assert!(kill.contains("how: in the lab a server dies by"), "{kill}");
    let finish = refused("do = \"crash\"", "do = \"finish\"");
    assert!(finish.contains("lets the old version go"), "{finish}");
    let death = refused("hang = \"500ms\"", "hang = \"500ms\"\ndeath = \"10ms\"");
    assert!(
        death.contains("death: in the lab the supervisor"),
        "{death}"
    );
    let hang = refused("hang = \"500ms\"", "hang = \"100ms\"");
    assert!(
        hang.ends_with("hang: the supervisor takes 500ms or more"),
        "{hang}"
    );
    let large = refused("size = \"8MiB\"", "size = \"257MiB\"");
    assert!(
        large.contains("size: the files of all loads are more"),
        "{large}"
    );
}

#[test]
fn processes_are_no_guests_and_have_no_kernel_that_panics() {
    let guests = wrong("runs = \"web\"", "runs = \"web\"\nguests = \"pv\"");
    assert!(
        guests.contains("guests: in namespaces a server is a process"),
        "{guests}"
    );
    let panic = wrong("do = \"crash\"", "do = \"crash\"\nhow = \"panic\"");
    assert!(panic.contains("how: a process has no kernel"), "{panic}");
    let still = wrong("do = \"crash\"", "do = \"crash\"\nhow = \"stop\"");
    assert!(
        still.contains("how: that is how a server stands still"),
        "{still}"
    );
}
