// SPDX-License-Identifier: GPL-3.0-only
//! A chart of bytes over time as plain SVG: one curve for each run, a line for each event.

use std::fmt::Write;

use super::DemoRun;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 96.0;
const BOTTOM: f64 = 50.0;

/// The most points drawn of one curve; more would not be seen and make the page heavy.
const MAX_POINTS: usize = 2000;

/// Colours of the curves, in the order of the runs; readable for colour-blind eyes.
const COLOURS: [&str; 3] = ["#0072b2", "#d55e00", "#009e73"];

/// Draws `runs` over one time axis.
#[must_use]
pub fn chart(runs: &[DemoRun]) -> String {
    let scale = Scale::of(runs);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"bytes received over time\" font-family=\"sans-serif\" font-size=\"12\">\n"
    );
    axes(&mut svg, &scale);
    for (index, run) in runs.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        curve(&mut svg, &scale, run, colour);
        if run.protected || runs.len() == 1 {
            marks(&mut svg, &scale, run, colour);
        }
    }
    legend(&mut svg, runs);
    svg.push_str("</svg>\n");
    svg
}

/// Maps seconds and bytes to the drawing.
struct Scale {
    seconds: f64,
    bytes: f64,
}

impl Scale {
    fn of(runs: &[DemoRun]) -> Self {
        let samples = || runs.iter().flat_map(|r| r.bytes_over_time.iter());
        let seconds = samples().map(|s| s.0).fold(0.001, f64::max);
        let bytes = samples()
            .map(|s| s.1)
            .chain(runs.iter().map(|r| r.file_bytes))
            .max()
            .unwrap_or(1)
            .max(1);
        Self {
            seconds,
            bytes: bytes as f64,
        }
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * seconds / self.seconds
    }

    fn y(&self, bytes: f64) -> f64 {
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * bytes / self.bytes
    }
}

/// A round step that divides `range` into five to ten parts.
fn step(range: f64) -> f64 {
    let magnitude = 10_f64.powf((range / 5.0).log10().floor());
    [5.0, 2.0, 1.0]
        .map(|m| m * magnitude)
        .into_iter()
        .find(|s| range / s >= 4.0)
        .unwrap_or(magnitude)
}

fn axes(svg: &mut String, scale: &Scale) {
    let (x0, x1) = (scale.x(0.0), scale.x(scale.seconds));
    let (y0, y1) = (scale.y(0.0), scale.y(scale.bytes));
    let _ = writeln!(
        svg,
        "<rect x=\"{x0}\" y=\"{y1}\" width=\"{}\" height=\"{}\" fill=\"#fafafa\" stroke=\"#bbb\"/>",
        x1 - x0,
        y0 - y1
    );
    let time_step = step(scale.seconds);
    let mut t = 0.0;
    while t <= scale.seconds {
        let x = scale.x(t);
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{y0}\" x2=\"{x:.1}\" y2=\"{y1}\" stroke=\"#e6e6e6\"/>"
        );
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#444\">{}</text>",
            y0 + 18.0,
            number(t)
        );
        t += time_step;
    }
    let mib = scale.bytes / 1_048_576.0;
    let byte_step = step(mib);
    let mut m = 0.0;
    while m <= mib {
        let y = scale.y(m * 1_048_576.0);
        let _ = writeln!(
            svg,
            "<line x1=\"{x0}\" y1=\"{y:.1}\" x2=\"{x1}\" y2=\"{y:.1}\" stroke=\"#e6e6e6\"/>"
        );
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#444\">{}</text>",
            x0 - 6.0,
            y + 4.0,
            number(m)
        );
        m += byte_step;
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#444\">seconds since the client started</text>",
        (x0 + x1) / 2.0,
        HEIGHT - 10.0
    );
    let _ = writeln!(
        svg,
        "<text transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\" fill=\"#444\">MiB received by curl</text>",
        (y0 + y1) / 2.0
    );
}

/// At most two decimals, without trailing zeros.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn curve(svg: &mut String, scale: &Scale, run: &DemoRun, colour: &str) {
    let samples = &run.bytes_over_time;
    let every = samples.len().div_ceil(MAX_POINTS).max(1);
    let mut path = String::new();
    let mut last = 0;
    for (index, (at, bytes)) in samples.iter().enumerate() {
        // Both ends of a pause are drawn, whatever is thinned out between them.
        let pause = samples
            .get(index + 1)
            .is_some_and(|next| next.0 - at > scale.seconds / 200.0)
            || (index > 0 && at - samples[index - 1].0 > scale.seconds / 200.0);
        if index % every == 0 || pause || index + 1 == samples.len() {
            let word = if path.is_empty() { 'M' } else { 'L' };
            // A step: nothing arrived between two samples.
            if word == 'L' {
                let _ = write!(path, "L{:.1} {:.1}", scale.x(*at), scale.y(last as f64));
            }
            let _ = write!(
                path,
                "{word}{:.1} {:.1}",
                scale.x(*at),
                scale.y(*bytes as f64)
            );
            last = *bytes;
        }
    }
    let _ = writeln!(
        svg,
        "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
    );
    if run.curl_exit != 0
        && let Some((at, bytes)) = samples.last()
    {
        let (x, y) = (scale.x(*at), scale.y(*bytes as f64));
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">✕ curl: exit {}</text>",
            (x + 6.0).min(WIDTH - 110.0),
            y - 6.0,
            run.curl_exit
        );
    }
}

fn marks(svg: &mut String, scale: &Scale, run: &DemoRun, colour: &str) {
    let (top, bottom) = (scale.y(scale.bytes), scale.y(0.0));
    let shown = run.events.iter().filter(|e| e.name != "start");
    for (row, event) in shown.enumerate() {
        let x = scale.x(event.at);
        let y = top - 8.0 - 13.0 * (row % 6) as f64;
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"{colour}\" stroke-dasharray=\"3 3\"/>",
            y + 2.0
        );
        let (anchor, dx) = if x > WIDTH * 0.75 {
            ("end", -4.0)
        } else {
            ("start", 4.0)
        };
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#222\">{} ({:.3} s)</text>",
            x + dx,
            escape(&event.name),
            event.at
        );
    }
}

fn legend(svg: &mut String, runs: &[DemoRun]) {
    for (index, run) in runs.iter().enumerate() {
        let (x, y) = (LEFT + 12.0, TOP + 20.0 + 18.0 * index as f64);
        let colour = COLOURS[index % COLOURS.len()];
        let _ = writeln!(
            svg,
            "<line x1=\"{x}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"3\"/>",
            x + 22.0
        );
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" fill=\"#222\">{}</text>",
            x + 28.0,
            y + 4.0,
            escape(&run.title)
        );
    }
}

/// Text that is safe inside XML.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_divides_range_into_few_round_parts() {
        for range in [0.03, 0.9, 1.0, 7.3, 48.0, 12_345.0] {
            let parts = range / step(range);
            assert!((4.0..=12.5).contains(&parts), "{range}: {parts} parts");
        }
    }

    #[test]
    fn chart_of_long_run_is_thinned_and_keeps_the_pause() {
        let mut run = DemoRun {
            title: "a <b>".into(),
            protected: true,
            file_bytes: 200_000,
            ..DemoRun::default()
        };
        run.bytes_over_time = (0..100_000)
            .map(|i| {
                (
                    f64::from(i) * 0.001 + if i > 50_000 { 40.0 } else { 0.0 },
                    i as u64,
                )
            })
            .collect();
        run.mark(50.0, "crash", "");
        let svg = chart(&[run]);
        assert!(svg.len() < 200_000, "{} bytes", svg.len());
        assert!(svg.contains("a &lt;b&gt;") && svg.contains("crash (50.000 s)"));
    }
}
