// SPDX-License-Identifier: GPL-3.0-only
//! Reports of a small record.

use super::*;
use crate::engine::{Kind, verdict::Better};

/// A record with one of everything; its name would spoil XML.
pub(crate) fn record() -> Record {
    let judged = |what: &str, met| Judged {
        what: what.to_owned(),
        wanted: "none".to_owned(),
        seen: "3".to_owned(),
        met,
    };
    Record {
        format: FORMAT,
        drill: "a<b".to_owned(),
        text: "It & that.".to_owned(),
        stage: "netns".to_owned(),
        protected: true,
        quick: false,
        started_ms: 0,
        timed: vec!["pages".to_owned()],
        seconds: 4.0,
        facts: vec!["Linux 6.1".to_owned()],
        met: false,
        expectations: vec![judged("failed requests", false), judged("others", true)],
        figures: vec![
            Figure {
                name: "failed requests".to_owned(),
                value: Some(3.0),
                unit: String::new(),
                better: Better::Never,
            },
            Figure {
                name: "gap, longest".to_owned(),
                value: Some(41.5),
                unit: "ms".to_owned(),
                better: Better::Less,
            },
        ],
        incidents: vec![Incident {
            what: "crash".to_owned(),
            at: 1.0,
            over: Some(1.02),
            recovered: 4,
            lost: 0,
            gaps: vec![0.0, 41.5],
            longest: Some((0.99, 1.0315)),
        }],
        events: vec![Event {
            at: 1.0,
            kind: Kind::Fault,
            name: "crash".to_owned(),
            detail: "<it dies>".to_owned(),
        }],
        buckets: vec![
            Bucket {
                bytes: 1 << 20,
                good: 10,
                p50: Some(1.0),
                p95: Some(2.0),
                p99: Some(30.0),
                ..Bucket::default()
            },
            Bucket {
                at: 0.1,
                failed: 3,
                ..Bucket::default()
            },
        ],
        file: "name = \"a<b\"".to_owned(),
    }
}

#[test]
fn json_is_read_again() {
    let dir = std::env::temp_dir().join(format!("rxl-drill-report-{}", std::process::id()));
    record().write(&dir, "").unwrap();
    let read = Record::read(&dir.join("report.json")).unwrap();
    let page = fs::read_to_string(dir.join("report.html")).unwrap();
    let other = Record::read(&dir.join("report.xml")).unwrap_err();
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!(read, record());
    assert!(
        other.contains("is no report of a drill") && other.contains("give a report.json"),
        "{other}"
    );
    // Nothing is fetched from anywhere.
    assert!(
        !page.contains("http://") && !page.contains("https://") && !page.contains("src="),
        "{page}"
    );
}

#[test]
fn page_shows_verdict_gap_and_expectations_and_spoils_no_html() {
    let page = html::page(&record());
    for text in [
        "a&lt;b",
        "It &amp; that.",
        "expectations NOT met",
        "✗ fail",
        "✓ pass",
        "crash, gap 42 ms",
        "&lt;it dies&gt;",
    ] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
    assert!(!page.contains("<it dies>") && !page.contains("NaN"));
    assert!(page.contains("3 failed, 0 cut, 0 corrupt"));
}

#[test]
fn junit_has_a_test_for_each_expectation() {
    let xml = junit::suite(&record());
    assert!(
        xml.contains("<testsuite name=\"drill a&lt;b\" tests=\"2\" failures=\"1\""),
        "{xml}"
    );
    assert!(
        xml.contains("name=\"failed requests\"><failure message=\"expected none, seen 3\"/>"),
        "{xml}"
    );
    assert!(xml.contains("name=\"others\"/>"), "{xml}");
}

#[test]
fn summary_says_what_failed() {
    let text = record().summary();
    assert!(
        text.starts_with("FAIL  failed requests  none  3\nok    others"),
        "{text}"
    );
    assert!(
        text.contains("a<b: NOT every expectation is met\ngap, longest: 41.5 ms"),
        "{text}"
    );
}
