// SPDX-License-Identifier: GPL-3.0-only
//! The clients in Dom0, all at the same time: each fetches and stores in rounds, and looks whether it has got the right bytes,
//! until that is enough. What fails, it does not try again.

use std::fmt::Write;

use rxl_tests::lab::servers::house::{FOLDER, INSIDE};
use rxl_tests::lab::servers::stock::Stock;

use super::visitors::{self, ROUND, Visitor};
use crate::declared::story;
use crate::dom0::Dom0;

/// Each client's rounds.
pub(super) type Rounds = Vec<(Visitor, u32)>;

/// A client's life: its name, the mark of a round, and how many clients there are. One that is fast waits for the others: they
/// would have little of the processors beside it, and what it stores would fill the server's disk.
const LIFE: &str = r#"cd "/data/clients/$1" || exit
trap 'echo all >>../ended' EXIT
together() {
    exec {lines}< <(exec tail -n +1 -f ../ended)
    : "$(grep -m"$2" -xE "$1|all" <&$lines)"
    kill $!
    exec {lines}<&-
}
round=0
until [ -e /data/enough ]; do
    [ $round -lt 3 ] || together $((round - 2)) "$3"
    round=$((round + 1))
    rm -rf out
    mkdir out
    sed "s/$2/$round/g" round >now
    bash now >said 2>&1
    ended=$?
    grep '^posted ' said >>posted
    if [ $ended != 0 ] || ! (cd out && sha256sum --quiet -c ../sums) >>said 2>&1; then
        echo "failed in round $round: $(tail -c 1500 said | tr '\n' '|')" >>rounds
        exit 1
    fi
    echo "round $round" >>rounds
    echo $round >>../ended
done
echo ended >>rounds
"#;

/// How long a client may take to its next word, in seconds: more than the clients' own patience.
const PATIENCE: u32 = 300;

pub(super) struct Clients<'a> {
    dom0: &'a Dom0,
    all: Vec<Visitor>,
}

impl<'a> Clients<'a> {
    pub(super) fn begin(dom0: &'a Dom0, stock: Stock) -> Self {
        let all = visitors::of(stock);
        let mut script = format!(
            "cd {FOLDER}/common; mkdir clients; : >clients/ended; cat >life <<'END'\n{LIFE}END\n"
        );
        for Visitor {
            name,
            round,
            fetches,
            ..
        } in &all
        {
            let _ = write!(
                script,
                "mkdir -p clients/{name}; cat >clients/{name}/round <<'END'\n{round}\nEND\n: >clients/{name}/rounds; \
                 sha256sum /dev/null >clients/{name}/sums\n"
            );
            for (file, got) in fetches {
                let _ = writeln!(
                    script,
                    "sha256sum <files/{file} | sed 's|-$|{got}|' >>clients/{name}/sums"
                );
            }
        }
        for Visitor { name, .. } in &all {
            let _ = writeln!(
                script,
                "{INSIDE} bash /data/life {name} {ROUND} {} </dev/null >/dev/null 2>&1 & echo $! >>{FOLDER}/pids",
                all.len()
            );
        }
        dom0.ok(&script);
        Self { dom0, all }
    }

    /// Waits until each client has ended so many more rounds.
    pub(super) fn go_on(&self, rounds: u32) {
        let ended: Vec<u32> = self.all.iter().map(|it| self.ended(it)).collect();
        for (visitor, ended) in self.all.iter().zip(ended) {
            self.wait(visitor, &format!("round {}", ended + rounds));
        }
    }

    /// How many rounds a client has ended.
    fn ended(&self, visitor: &Visitor) -> u32 {
        let path = format!("{FOLDER}/common/clients/{}/rounds", visitor.name);
        let count = self.dom0.ok(&format!("grep -c '^round' {path} || true"));
        count.trim().parse().expect("grep counts")
    }

    /// Waits until a client says this.
    fn wait(&self, visitor: &Visitor, word: &str) {
        let path = format!("{FOLDER}/common/clients/{}/rounds", visitor.name);
        let ran = self.dom0.run(&format!(
            "exec {{fd}}< <(exec tail -n +1 -f {path}); pid=$!; \
             timeout {PATIENCE} grep -m1 -E '^(failed.*|{word})$' <&$fd; rc=$?; kill $pid; exit $rc"
        ));
        let said = ran.stdout.trim();
        assert!(
            said == word,
            "{} hangs or failed: {said}\n{}",
            visitor.name,
            self.story()
        );
    }

    /// Waits for their end; their rounds.
    pub(super) fn end(&self) -> Rounds {
        self.dom0.ok(&format!("touch {FOLDER}/common/enough"));
        for visitor in &self.all {
            self.wait(visitor, "ended");
        }
        let rounds = self.all.iter().map(|it| (it.clone(), self.ended(it)));
        rounds.collect()
    }

    /// What was posted, and what the client heard.
    pub(super) fn heard(&self) -> Vec<(String, String)> {
        let told = self
            .dom0
            .ok(&format!("cat {FOLDER}/common/clients/*/posted"));
        let word = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
            ["posted", path, heard] => (path.to_owned(), heard.to_owned()),
            _ => panic!("posted: {line}"),
        };
        told.lines().map(word).collect()
    }

    /// What helps to understand a failure.
    pub(super) fn story(&self) -> String {
        let own = format!(
            "cd {FOLDER}/common/clients; tail -n 3 */rounds; tail -n 5 */said; \
             for log in /var/log/xen/console/guest-server-*.log; do echo \"--- $log\"; grep -v 127.0.0.1 $log | tail -n 60; done; \
             rxl ft status www --connections; rxl ft status www --json; "
        );
        self.dom0.run(&own).stdout + &story(self.dom0)
    }
}
