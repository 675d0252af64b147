// SPDX-License-Identifier: GPL-3.0-only
//! A report as build servers read it: JUnit's XML, an expectation being a test.

use std::fmt::Write;

use rxl_tests::demo::svg::escape;

use super::Record;

pub(super) fn suite(record: &Record) -> String {
    let failures = record.expectations.iter().filter(|it| !it.met).count();
    let name = escape(&record.drill);
    let counts = format!(
        "tests=\"{}\" failures=\"{failures}\" errors=\"0\" time=\"{:.3}\"",
        record.expectations.len(),
        record.seconds
    );
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n<testsuite name=\"drill {name}\" {counts}>\n"
    );
    xml.push_str("<properties>\n");
    for figure in &record.figures {
        if let Some(value) = figure.value {
            let named = escape(&figure.name);
            let _ = writeln!(
                xml,
                "<property name=\"{named}\" value=\"{value} {}\"/>",
                escape(&figure.unit)
            );
        }
    }
    xml.push_str("</properties>\n");
    for it in &record.expectations {
        let what = escape(&it.what);
        let _ = write!(xml, "<testcase classname=\"drill.{name}\" name=\"{what}\"");
        if it.met {
            xml.push_str("/>\n");
        } else {
            let (wanted, seen) = (escape(&it.wanted), escape(&it.seen));
            let _ = writeln!(
                xml,
                "><failure message=\"expected {wanted}, seen {seen}\"/></testcase>"
            );
        }
    }
    xml.push_str("<system-out>");
    for event in &record.events {
        let _ = writeln!(
            xml,
            "{:9.3} s  {:<16} {}",
            event.at,
            escape(&event.name),
            escape(&event.detail)
        );
    }
    xml.push_str("</system-out>\n</testsuite>\n</testsuites>\n");
    xml
}
