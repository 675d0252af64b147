// SPDX-License-Identifier: GPL-3.0-only
//! A report for people: one page that needs nothing else, light or dark as its reader likes.

use std::fmt::Write;

use rxl_tests::demo::svg::escape;

use super::chart::chart;
use super::{Record, short};
use crate::engine::{Kind, planned};

const STYLE: &str = "
:root{color-scheme:light dark;--bg:#fff;--card:#f6f7f9;--ink:#1b1f24;--soft:#5a6472;--line:#dde1e6;--blue:#0b62b8;
--area:#0b62b826;--green:#1a7f43;--red:#c62828;--gap:#c6282833;--p50:#1a7f43;--p95:#b26a00;--p99:#8e24aa}
@media(prefers-color-scheme:dark){:root{--bg:#14171b;--card:#1d2127;--ink:#e7eaee;--soft:#9aa5b3;--line:#323941;
--blue:#5aa9f5;--area:#5aa9f52e;--green:#5cc98a;--red:#ff7b72;--gap:#ff7b7240;--p50:#5cc98a;--p95:#e3a13c;--p99:#cf8ae6}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;background:var(--bg);color:var(--ink);
max-width:1080px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px}h2{font-size:18px;margin:34px 0 10px}
p{margin:0 0 12px;max-width:52rem}.soft{color:var(--soft)}
.head{display:flex;gap:16px;align-items:flex-start;justify-content:space-between;flex-wrap:wrap}
.badge{margin-bottom:10px;font-weight:650;border-radius:8px;padding:7px 14px;color:#fff;white-space:nowrap}
.badge.ok{background:#1a7f43}.badge.bad{background:#c62828}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:18px 0 8px}
.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:11px 14px}
.tile b{display:block;font-size:23px;font-weight:650;line-height:1.25;font-variant-numeric:tabular-nums}
.tile b small{font-size:14px;font-weight:500;color:var(--soft)}.tile span{color:var(--soft);font-size:13px}.tile.bad b{color:var(--red)}
.chart{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:10px 10px 4px}
svg{display:block;width:100%;height:auto}
svg text{font-size:12px;fill:var(--ink)}svg .tick{fill:var(--soft);font-size:11px}svg .panel{fill:var(--soft);font-size:12px}
svg text{paint-order:stroke;stroke:var(--card);stroke-width:3px;stroke-linejoin:round}
svg .event{font-weight:600}.event.fault{fill:var(--red)}.event.planned{fill:var(--blue)}
.grid{stroke:var(--line);stroke-width:1}.area{fill:var(--area)}.rate{fill:none;stroke:var(--blue);stroke-width:1.6}
path.p50,path.p95,path.p99{fill:none;stroke-width:1.6;stroke-linejoin:round}
path.p50{stroke:var(--p50)}path.p95{stroke:var(--p95)}path.p99{stroke:var(--p99)}
.dot.p50{fill:var(--p50)}.dot.p95{fill:var(--p95)}.dot.p99{fill:var(--p99)}
line.fault{stroke:var(--red);stroke-width:1.4}line.planned{stroke:var(--blue);stroke-width:1.4}.over{stroke:var(--green);stroke-width:1.4;stroke-dasharray:4 3}
.gap{fill:var(--gap)}.bad{fill:var(--red)}
.key{display:flex;flex-wrap:wrap;gap:4px 18px;color:var(--soft);font-size:13px;padding:2px 6px 8px 58px}
.key i{display:inline-block;width:18px;height:0;border-top:3px solid;vertical-align:middle;margin-right:6px}
.key i.box{height:11px;border:0;background:var(--gap)}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th{text-align:left;color:var(--soft);font-weight:500;font-size:13px}
td,th{padding:6px 12px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;white-space:nowrap}td.ok,td.no{white-space:nowrap}td.ok{color:var(--green);font-weight:600}td.no{color:var(--red);font-weight:700}
td.fault-name{color:var(--red);font-weight:600}td.planned-name{color:var(--blue);font-weight:600}td.over-name{color:var(--green);font-weight:600}
details{margin-top:28px}summary{cursor:pointer;color:var(--soft)}
pre{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px;overflow-x:auto;font-size:13px}
ul{margin:0;padding-left:18px;color:var(--soft)}
@media print{body{max-width:none}.chart,.tile{break-inside:avoid}}
";

const KEY: &str = "<div class=\"key\"><span><i style=\"color:var(--blue)\"></i>throughput</span>\
<span><i style=\"color:var(--p50)\"></i>latency p50</span><span><i style=\"color:var(--p95)\"></i>p95</span>\
<span><i style=\"color:var(--p99)\"></i>p99</span><span><i style=\"color:var(--red)\"></i>fault</span><span><i style=\"color:var(--blue)\"></i>upgrade</span>\
<span><i style=\"color:var(--green);border-top-style:dashed\"></i>over</span>\
<span><i class=\"box\"></i>longest gap of any client</span></div>\n";

/// The page.
pub(super) fn page(record: &Record) -> String {
    let name = escape(&record.drill);
    let (class, verdict) = if record.met {
        ("ok", "all expectations met")
    } else {
        ("bad", "expectations NOT met")
    };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>drill {name}: {verdict}</title><style>{STYLE}</style></head><body>\n\
         <div class=\"head\"><div><h1>{name}</h1><p class=\"soft\">{}</p></div>\
         <div class=\"badge {class}\">{verdict}</div></div>\n<p>{}</p>\n",
        escape(&place(record)),
        escape(&record.text)
    );
    tiles(&mut page, record);
    page.push_str("<h2>Timeline</h2>\n<div class=\"chart\">\n");
    page.push_str(&chart(record));
    page.push_str(KEY);
    page.push_str("</div>\n");
    expectations(&mut page, record);
    incidents(&mut page, record);
    events(&mut page, record);
    figures(&mut page, record);
    if !record.facts.is_empty() {
        page.push_str("<h2>In use</h2>\n<ul>");
        for fact in &record.facts {
            let _ = write!(page, "<li>{}</li>", escape(fact));
        }
        page.push_str("</ul>\n");
    }
    let _ = writeln!(
        page,
        "<details><summary>The drill file</summary><pre>{}</pre></details>\n</body></html>",
        escape(record.file.trim_end())
    );
    page
}

/// When and where.
fn place(record: &Record) -> String {
    let stage = match record.stage.as_str() {
        "netns" => "in network namespaces",
        _ => "on Xen in the lab",
    };
    let form = if record.quick { ", short form" } else { "" };
    let way = if record.protected {
        ""
    } else {
        ", control run without FT-TCP"
    };
    format!(
        "{} UTC, {} s of load {stage}{form}{way}",
        utc(record.started_ms),
        short(record.seconds)
    )
}

/// A time since the epoch as `2026-11-21 22:03`; the days by Howard Hinnant's `civil_from_days`.
fn utc(ms: u64) -> String {
    let (days, minutes) = (ms / 86_400_000, ms / 60_000 % 1440);
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let part = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * part + 2) / 5 + 1;
    let month = if part < 10 { part + 3 } else { part - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year}-{month:02}-{day:02} {:02}:{:02}",
        minutes / 60,
        minutes % 60
    )
}

fn tiles(page: &mut String, record: &Record) {
    let tiles = [
        ("requests that ended well", "requests served", false),
        ("failed requests", "failed", true),
        ("corrupt transfers", "corrupt", true),
        ("gap, longest", "longest gap", false),
        ("latency, p99", "latency p99", false),
        (
            "throughput after : before",
            "throughput after : before",
            false,
        ),
    ];
    page.push_str("<div class=\"tiles\">");
    for (name, text, never) in tiles {
        let Some(figure) = record.figures.iter().find(|it| it.name == name) else {
            continue;
        };
        let value = figure.value.map_or_else(|| "–".to_owned(), grouped);
        let bad = if never && figure.value != Some(0.0) {
            " bad"
        } else {
            ""
        };
        let unit = escape(&figure.unit);
        let _ = write!(
            page,
            "<div class=\"tile{bad}\"><b>{value} <small>{unit}</small></b><span>{text}</span></div>"
        );
    }
    page.push_str("</div>\n");
}

/// A number whose thousands stand apart.
fn grouped(value: f64) -> String {
    let text = short(value);
    if text.len() < 5 || text.contains('.') {
        return text;
    }
    let digits: Vec<char> = text.chars().rev().collect();
    let groups: Vec<String> = digits
        .chunks(3)
        .map(|chunk| chunk.iter().collect())
        .collect();
    groups.join("\u{202f}").chars().rev().collect()
}

fn expectations(page: &mut String, record: &Record) {
    page.push_str(
        "<h2>Expectations</h2>\n<div class=\"wide\"><table><tr><th>verdict</th><th>what</th><th>expected</th><th>seen</th></tr>\n",
    );
    for it in &record.expectations {
        let (class, word) = if it.met {
            ("ok", "✓ pass")
        } else {
            ("no", "✗ fail")
        };
        let [what, wanted, seen] = [&it.what, &it.wanted, &it.seen].map(|text| escape(text));
        let _ = writeln!(
            page,
            "<tr><td class=\"{class}\">{word}</td><td>{what}</td><td>{wanted}</td><td>{seen}</td></tr>"
        );
    }
    page.push_str("</table></div>\n");
}

fn incidents(page: &mut String, record: &Record) {
    if record.incidents.is_empty() {
        return;
    }
    page.push_str(
        "<h2>Faults and upgrades</h2>\n<div class=\"wide\"><table><tr><th>what</th><th class=\"n\">at, s</th><th class=\"n\">over after, ms</th>\
         <th class=\"n\">connections moved</th><th class=\"n\">given up</th><th class=\"n\">gap p50, ms</th>\
         <th class=\"n\">longest gap, ms</th></tr>\n",
    );
    for it in &record.incidents {
        let over = it.over.map_or_else(
            || "never".to_owned(),
            |over| format!("{:.1}", (over - it.at) * 1e3),
        );
        let middle = it
            .gaps
            .get(it.gaps.len().saturating_sub(1) / 2)
            .copied()
            .unwrap_or(0.0);
        let class = name_class(&it.what);
        // Shorter ones are not told.
        let gap = |ms: f64| {
            if ms > 0.0 {
                format!("{ms:.1}")
            } else {
                "&lt; 5".to_owned()
            }
        };
        let _ = writeln!(
            page,
            "<tr><td class=\"{class}\">{}</td><td class=\"n\">{:.3}</td><td class=\"n\">{over}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(&it.what),
            it.at,
            it.recovered,
            it.lost,
            gap(middle),
            gap(it.gaps.last().copied().unwrap_or(0.0))
        );
    }
    page.push_str("</table></div>\n");
}

/// Upgrades are no faults.
fn name_class(what: &str) -> &'static str {
    if planned(what) {
        "planned-name"
    } else {
        "fault-name"
    }
}

fn events(page: &mut String, record: &Record) {
    page.push_str("<h2>Events</h2>\n<div class=\"wide\"><table><tr><th class=\"n\">seconds</th><th>event</th><th></th></tr>\n");
    for event in &record.events {
        let class = match event.kind {
            Kind::Fault => name_class(&event.name),
            Kind::Recovery => "over-name",
            Kind::Note => "",
        };
        let _ = writeln!(
            page,
            "<tr><td class=\"n\">{:.3}</td><td class=\"{class}\">{}</td><td>{}</td></tr>",
            event.at,
            escape(&event.name),
            escape(&event.detail)
        );
    }
    page.push_str("</table></div>\n");
}

fn figures(page: &mut String, record: &Record) {
    page.push_str("<h2>Figures</h2>\n<div class=\"wide\"><table><tr><th>figure</th><th class=\"n\">value</th></tr>\n");
    for it in &record.figures {
        let value = it.value.map_or_else(|| "–".to_owned(), grouped);
        let (name, unit) = (escape(&it.name), escape(&it.unit));
        let _ = writeln!(
            page,
            "<tr><td>{name}</td><td class=\"n\">{value} {unit}</td></tr>"
        );
    }
    page.push_str("</table></div>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utc_knows_the_calendar() {
        assert_eq!(utc(0), "1970-01-01 00:00");
        assert_eq!(utc(951_782_400_000 + 61 * 60_000), "2000-02-29 01:01");
        assert_eq!(utc(1_795_305_599_000), "2026-11-21 23:59");
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(grouped(999.0), "999");
        assert_eq!(grouped(123_456.0), "123\u{202f}456");
        assert_eq!(grouped(12.345), "12.3");
    }
}
