// SPDX-License-Identifier: GPL-3.0-only
//! The timeline as SVG: throughput, latency percentiles, faults with the longest gap of each. Colours are the page's.

use std::fmt::Write;

use rxl_tests::demo::svg::escape;

use super::{Record, short};
use crate::engine::{Bucket, Kind, planned};

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 12.0;
/// One row of labels.
const LANE: f64 = 17.0;
const THROUGHPUT: f64 = 190.0;
const BETWEEN: f64 = 38.0;
const LATENCY: f64 = 170.0;
const BELOW: f64 = 40.0;
/// About what a letter takes at this size.
const LETTER: f64 = 6.9;
/// A gap is seen, however short it is.
const LEAST_GAP: f64 = 2.5;
const MIB: f64 = 1_048_576.0;

/// One of a bucket's percentiles.
type Percentile = fn(&Bucket) -> Option<f64>;

/// Places on the drawing.
struct Place {
    seconds: f64,
    /// The top and bottom of both panels.
    throughput: (f64, f64),
    latency: (f64, f64),
}

impl Place {
    fn x(&self, seconds: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (seconds / self.seconds).clamp(0.0, 1.0)
    }
}

/// Draws a record.
pub(super) fn chart(record: &Record) -> String {
    let last = record.buckets.last().map_or(0.0, |bucket| bucket.at + 0.1);
    let seconds = record.seconds.max(last).max(0.1);
    let mut place = Place {
        seconds,
        throughput: (0.0, 0.0),
        latency: (0.0, 0.0),
    };
    let labels = labels(record, &place);
    let lanes = labels.iter().map(|label| label.lane + 1).max().unwrap_or(0);
    let top = 18.0 + lanes as f64 * LANE;
    place.throughput = (top, top + THROUGHPUT);
    let second = top + THROUGHPUT + BETWEEN;
    place.latency = (second, second + LATENCY);
    let height = second + LATENCY + BELOW;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"throughput and latency over time\">\n"
    );
    gaps(&mut svg, record, &place);
    seconds_axis(&mut svg, &place);
    throughput(&mut svg, &record.buckets, &place);
    latency(&mut svg, record, &place);
    marks(&mut svg, record, &place, &labels);
    titles(&mut svg, record, &place);
    svg.push_str("</svg>\n");
    svg
}

/// A fault's label, in a row where it covers no other.
struct Label {
    at: f64,
    text: String,
    class: &'static str,
    /// Where it begins, and in which row it is, from below.
    x: f64,
    lane: usize,
}

fn labels(record: &Record, place: &Place) -> Vec<Label> {
    let mut ends: Vec<f64> = Vec::new();
    let mut labels = Vec::new();
    for incident in &record.incidents {
        let gap = incident.gaps.last().filter(|gap| **gap > 0.0);
        let gap = gap.map(|gap| format!(", gap {} ms", short(gap.round())));
        let text = format!("{}{}", incident.what, gap.unwrap_or_default());
        let width = text.chars().count() as f64 * LETTER;
        let x = (place.x(incident.at) + 4.0).min(WIDTH - RIGHT - width);
        let lane = ends.iter().position(|end| *end < x).unwrap_or(ends.len());
        if lane == ends.len() {
            ends.push(0.0);
        }
        ends[lane] = x + width + 8.0;
        labels.push(Label {
            at: incident.at,
            text,
            class: if planned(&incident.what) {
                "planned"
            } else {
                "fault"
            },
            x,
            lane,
        });
    }
    labels
}

fn gaps(svg: &mut String, record: &Record, place: &Place) {
    let (top, bottom) = (place.throughput.0, place.latency.1);
    for (from, to) in record.incidents.iter().filter_map(|it| it.longest) {
        let width = (place.x(to) - place.x(from)).max(LEAST_GAP);
        let _ = writeln!(
            svg,
            "<rect class=\"gap\" x=\"{:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{}\"/>",
            place.x(from),
            bottom - top
        );
    }
}

fn seconds_axis(svg: &mut String, place: &Place) {
    let step = step(place.seconds);
    let mut at = 0.0;
    while at <= place.seconds + 1e-9 {
        let x = place.x(at);
        for (top, bottom) in [place.throughput, place.latency] {
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>"
            );
        }
        let _ = writeln!(
            svg,
            "<text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{} s</text>",
            place.latency.1 + 18.0,
            short(at)
        );
        at += step;
    }
}

/// A round step that divides `range` into four to ten parts.
fn step(range: f64) -> f64 {
    let magnitude = 10_f64.powf(range.log10().floor() - 1.0);
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0].map(|m| m * magnitude);
    steps
        .into_iter()
        .find(|step| range / step <= 10.0)
        .unwrap_or(range)
}

fn row(svg: &mut String, y: f64, text: &str) {
    let _ = writeln!(
        svg,
        "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
         <text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
        WIDTH - RIGHT,
        LEFT - 6.0,
        y + 4.0
    );
}

/// After all lines, which must not cross them.
fn titles(svg: &mut String, record: &Record, place: &Place) {
    let whose = escape(&record.timed.join(", "));
    title(svg, place.throughput.0, "throughput, MiB/s");
    let latency = format!("latency of {whose}, ms (logarithmic)");
    title(svg, place.latency.0, &latency);
}

fn title(svg: &mut String, top: f64, text: &str) {
    let _ = writeln!(
        svg,
        "<text class=\"panel\" x=\"{LEFT}\" y=\"{}\">{text}</text>",
        top - 7.0
    );
}

fn throughput(svg: &mut String, buckets: &[Bucket], place: &Place) {
    let (top, bottom) = place.throughput;
    let rate = |bucket: &Bucket| bucket.bytes as f64 / MIB / 0.1;
    let most = buckets.iter().map(rate).fold(0.001, f64::max) * 1.05;
    let y = |value: f64| bottom - (bottom - top) * value / most;
    let step = step(most);
    let mut at = 0.0;
    while at <= most {
        row(svg, y(at), &short(at));
        at += step;
    }
    let mut line = String::new();
    for bucket in buckets {
        // A bucket is a step, not a point.
        let (from, to) = (place.x(bucket.at), place.x(bucket.at + 0.1));
        let y = y(rate(bucket));
        let _ = write!(line, "L{from:.1} {y:.1}L{to:.1} {y:.1}");
    }
    let end = buckets.last().map_or(0.0, |bucket| bucket.at + 0.1);
    let (start, end) = (place.x(0.0), place.x(end));
    let _ = writeln!(
        svg,
        "<path class=\"area\" d=\"M{start:.1} {bottom:.1}{line}L{end:.1} {bottom:.1}Z\"/>\
         <path class=\"rate\" d=\"M{start:.1} {bottom:.1}{line}\"/>"
    );
    for bucket in buckets
        .iter()
        .filter(|it| it.failed + it.cut + it.corrupt > 0)
    {
        let text = format!(
            "{} failed, {} cut, {} corrupt",
            bucket.failed, bucket.cut, bucket.corrupt
        );
        let _ = writeln!(
            svg,
            "<circle class=\"bad\" cx=\"{:.1}\" cy=\"{}\" r=\"4\"><title>{text}</title></circle>",
            place.x(bucket.at + 0.05),
            bottom - 8.0
        );
    }
}

fn latency(svg: &mut String, record: &Record, place: &Place) {
    let buckets = &record.buckets;
    let (top, bottom) = place.latency;
    let values = buckets
        .iter()
        .flat_map(|it| [it.p50, it.p99])
        .flatten()
        .filter(|it| *it > 0.0);
    let (least, most) = values.fold((f64::MAX, f64::MIN), |(a, b), it| (a.min(it), b.max(it)));
    if least > most {
        row(svg, bottom, "");
        return;
    }
    // Whole decades, one at least.
    let low = least.log10().floor();
    let high = most.log10().ceil().max(low + 1.0);
    let y =
        |ms: f64| bottom - (bottom - top) * (ms.max(1e-6).log10() - low).max(0.0) / (high - low);
    let mut decade = low;
    while decade <= high {
        row(svg, y(10_f64.powf(decade)), &short(10_f64.powf(decade)));
        decade += 1.0;
    }
    let lines: [(&str, Percentile); 3] = [
        ("p99", |it| it.p99),
        ("p95", |it| it.p95),
        ("p50", |it| it.p50),
    ];
    for (class, of) in lines {
        let mut path = String::new();
        let mut pen = 'M';
        let mut dots = String::new();
        for (index, bucket) in buckets.iter().enumerate() {
            let Some(value) = of(bucket) else {
                pen = 'M';
                continue;
            };
            let (x, y) = (place.x(bucket.at + 0.05), y(value));
            let _ = write!(path, "{pen}{x:.1} {y:.1}");
            let neighbour = |at: Option<usize>| at.and_then(|at| buckets.get(at)).and_then(of);
            // What has no neighbour makes no line.
            if neighbour(index.checked_sub(1)).is_none() && neighbour(Some(index + 1)).is_none() {
                let _ = write!(
                    dots,
                    "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>"
                );
            }
            pen = 'L';
        }
        let _ = writeln!(svg, "<path class=\"{class}\" d=\"{path}\"/>{dots}");
    }
}

fn marks(svg: &mut String, record: &Record, place: &Place, labels: &[Label]) {
    let bottom = place.latency.1;
    for event in record.events.iter().filter(|it| it.kind == Kind::Recovery) {
        let x = place.x(event.at);
        let _ = writeln!(
            svg,
            "<line class=\"over\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{bottom}\"><title>{}</title></line>",
            place.throughput.0,
            escape(&event.detail)
        );
    }
    for label in labels {
        let x = place.x(label.at);
        let y = place.throughput.0 - 22.0 - label.lane as f64 * LANE;
        let _ = writeln!(
            svg,
            "<line class=\"{}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{bottom}\"/>\
             <text class=\"event {}\" x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
            label.class,
            y - 10.0,
            label.class,
            label.x,
            escape(&label.text)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::record;

    #[test]
    fn step_divides_a_range_into_few_parts() {
        for range in [0.1, 0.9, 1.0, 3.0, 8.0, 47.0, 12_345.0] {
            let parts = range / step(range);
            assert!((4.0..=10.0).contains(&parts), "{range}: {parts} parts");
        }
    }

    #[test]
    fn labels_of_faults_that_are_close_stand_in_rows_of_their_own() {
        let mut record = record();
        let incident = record.incidents[0].clone();
        record.incidents = [1.0, 1.1, 1.2, 3.9]
            .map(|at| crate::engine::Incident {
                at,
                ..incident.clone()
            })
            .to_vec();
        let place = Place {
            seconds: 4.0,
            throughput: (0.0, 0.0),
            latency: (0.0, 0.0),
        };
        let labels = labels(&record, &place);
        let lanes: Vec<usize> = labels.iter().map(|label| label.lane).collect();
        assert_eq!(lanes, [0, 1, 2, 0]);
        let end = labels[3].x + labels[3].text.len() as f64 * LETTER;
        assert!(end <= WIDTH, "{end}");
    }

    #[test]
    fn empty_record_is_drawn() {
        let mut record = record();
        record.buckets.clear();
        record.incidents.clear();
        let svg = chart(&record);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
