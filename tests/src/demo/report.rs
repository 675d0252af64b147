// SPDX-License-Identifier: GPL-3.0-only
//! The demo's claims, and its report: text for the terminal, `report.json`, `report.html`.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::DemoRun;
use super::svg::{chart, escape};

/// A whole demo: where it ran, the runs, and what they prove.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `"lab"` (real Xen in software emulation) or `"netns"`.
    pub place: String,
    /// What was in use, one line each: Xen's and the kernel's version, the servers.
    pub facts: Vec<String>,
    /// The control run first.
    pub runs: Vec<DemoRun>,
    /// What was claimed, and whether it holds.
    pub claims: Vec<Claim>,
}

/// One thing that the demo claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// The claim, a sentence.
    pub text: String,
    /// Whether the run bears it out.
    pub holds: bool,
    /// What was seen.
    pub seen: String,
}

impl Report {
    /// A report of `runs`, with the claims checked.
    #[must_use]
    pub fn new(place: &str, facts: Vec<String>, runs: Vec<DemoRun>) -> Self {
        let claims = runs.iter().flat_map(claims).collect();
        Self {
            place: place.to_owned(),
            facts,
            runs,
            claims,
        }
    }

    /// Whether every claim holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.claims.is_empty() && self.claims.iter().all(|c| c.holds)
    }

    /// The timelines and claims for a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for run in &self.runs {
            let _ = writeln!(text, "\n{}", run.title);
            for event in &run.events {
                let _ = writeln!(
                    text,
                    "  {:>9.3} s  {:<22} {}",
                    event.at, event.name, event.detail
                );
            }
            if let Some(gap) = run.client_gap.filter(|_| run.protected) {
                let _ = writeln!(
                    text,
                    "  longest pause for the client after the crash: {gap:.3} s"
                );
            }
        }
        text.push('\n');
        for claim in &self.claims {
            let _ = writeln!(
                text,
                "{}  {} ({})",
                if claim.holds { "ok  " } else { "FAIL" },
                claim.text,
                claim.seen
            );
        }
        text
    }

    /// Writes `report.json` and `report.html` into `dir`, which is made if it is missing.
    pub fn write(&self, dir: &Path) -> Result<(), String> {
        let fail = |path: &Path, e: std::io::Error| format!("cannot write {}: {e}", path.display());
        std::fs::create_dir_all(dir).map_err(|e| fail(dir, e))?;
        let json = serde_json::to_string_pretty(self).map_err(|e| e.to_string())?;
        for (name, content) in [("report.json", json), ("report.html", self.html())] {
            let path = dir.join(name);
            std::fs::write(&path, content).map_err(|e| fail(&path, e))?;
        }
        Ok(())
    }

    fn html(&self) -> String {
        let verdict = if self.holds() {
            "every claim holds"
        } else {
            "a claim failed"
        };
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>rxl demo: {verdict}</title>\n\
             <style>body{{font-family:sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}}\
             table{{border-collapse:collapse;margin:.5rem 0 1.5rem}}td,th{{padding:.25rem .7rem;border-bottom:1px solid #ddd;\
             text-align:left;vertical-align:top}}td.n{{text-align:right;font-variant-numeric:tabular-nums}}\
             .ok{{color:#00693e}}.fail{{color:#b00020;font-weight:bold}}li{{margin:.15rem 0}}</style></head><body>\n\
             <h1>A server dies, the download goes on: {verdict}</h1>\n"
        );
        page.push_str("<ul>\n");
        for fact in &self.facts {
            let _ = writeln!(page, "<li>{}</li>", escape(fact));
        }
        page.push_str("</ul>\n");
        page.push_str(&chart(&self.runs));
        page.push_str("<h2>Claims</h2>\n<table><tr><th></th><th>claim</th><th>seen</th></tr>\n");
        for claim in &self.claims {
            let (class, word) = if claim.holds {
                ("ok", "holds")
            } else {
                ("fail", "fails")
            };
            let _ = writeln!(
                page,
                "<tr><td class=\"{class}\">{word}</td><td>{}</td><td>{}</td></tr>",
                escape(&claim.text),
                escape(&claim.seen)
            );
        }
        page.push_str("</table>\n");
        for run in &self.runs {
            let _ = writeln!(
                page,
                "<h2>{}</h2>\n<table><tr><th>seconds</th><th>event</th><th></th></tr>",
                escape(&run.title)
            );
            for event in &run.events {
                let _ = writeln!(
                    page,
                    "<tr><td class=\"n\">{:.3}</td><td>{}</td><td>{}</td></tr>",
                    event.at,
                    escape(&event.name),
                    escape(&event.detail)
                );
            }
            page.push_str("</table>\n");
        }
        page.push_str("</body></html>\n");
        page
    }
}

fn claims(run: &DemoRun) -> Vec<Claim> {
    let percent = run.crash_bytes as f64 * 100.0 / run.file_bytes.max(1) as f64;
    let mut claims = vec![Claim {
        text: format!(
            "{}: the server died in the middle of the download",
            run.title
        ),
        holds: run.crash_bytes > 0 && run.crash_bytes < run.file_bytes,
        seen: format!(
            "at {} of {} bytes, {percent:.0} %",
            run.crash_bytes, run.file_bytes
        ),
    }];
    if run.protected {
        claims.push(Claim {
            text: format!("{}: curl ends with exit code 0", run.title),
            holds: run.curl_exit == 0,
            seen: format!("exit code {}", run.curl_exit),
        });
        claims.push(Claim {
            text: format!("{}: the file has the right sha256", run.title),
            holds: run.sha256_ok,
            seen: if run.sha256_ok {
                "equal".into()
            } else {
                "different".into()
            },
        });
        let recovered = run.failover.as_ref().map_or(0, |f| f.recovered);
        claims.push(Claim {
            text: format!(
                "{}: the logger moved the connection to the standby",
                run.title
            ),
            holds: recovered >= 1,
            seen: format!("{recovered} recovered"),
        });
    } else {
        claims.push(Claim {
            text: format!("{}: curl fails (18: partial file, or 56: reset)", run.title),
            holds: matches!(run.curl_exit, 18 | 56) && !run.sha256_ok,
            seen: format!("exit code {}", run.curl_exit),
        });
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> DemoRun {
        DemoRun {
            title: "with FT-TCP".into(),
            protected: true,
            file_bytes: 100,
            crash_bytes: 40,
            sha256_ok: true,
            failover: Some(fttcp::control::FailoverStatus {
                recovered: 1,
                ..Default::default()
            }),
            ..DemoRun::default()
        }
    }

    #[test]
    fn claims_of_good_runs_hold() {
        let control = DemoRun {
            protected: false,
            curl_exit: 56,
            sha256_ok: false,
            ..good()
        };
        assert!(Report::new("netns", vec![], vec![control, good()]).holds());
    }

    #[test]
    fn claims_fail_for_each_thing_that_goes_wrong() {
        let bad = [
            DemoRun {
                curl_exit: 18,
                ..good()
            },
            DemoRun {
                sha256_ok: false,
                ..good()
            },
            DemoRun {
                failover: None,
                ..good()
            },
            DemoRun {
                crash_bytes: 0,
                ..good()
            },
            DemoRun {
                protected: false,
                curl_exit: 0,
                ..good()
            },
        ];
        for run in bad {
            assert!(
                !Report::new("netns", vec![], vec![run.clone()]).holds(),
                "{run:?}"
            );
        }
    }

    #[test]
    fn no_runs_prove_nothing() {
        assert!(!Report::new("netns", vec![], vec![]).holds());
    }
}
