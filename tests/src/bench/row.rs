// SPDX-License-Identifier: GPL-3.0-only
//! One measured figure, what it is compared with, and what must be reached.

use serde::Serialize;

/// One measured figure. All benches write arrays of this form.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub figure: String,
    /// Our median.
    pub ours: f64,
    /// The peer's median, if there is a peer.
    pub peer: Option<f64>,
    /// Who the peer is.
    pub peer_name: String,
    /// Unit of both.
    pub unit: String,
    /// Ours divided by the peer's; where they were measured in turns, the median over the pairs.
    pub ratio: Option<f64>,
    /// The ratio of the pair that was best for us.
    pub best: Option<f64>,
    /// What must be reached: `"ratio >= 0.85"`; `None` while it is only printed.
    pub target: Option<String>,
    /// Whether it was reached.
    pub met: Option<bool>,
    /// The single measurements, ours and the peer's.
    pub runs: Runs,
}

/// The single measurements behind a [`Row`], in the order in which they were taken.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Runs {
    /// Ours.
    pub ours: Vec<f64>,
    /// The peer's; empty without a peer.
    pub peer: Vec<f64>,
}

/// Which of two values is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// A rate: the higher.
    More,
    /// A time: the lower.
    Less,
}

/// What a row must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gate {
    /// The ratio is at least this.
    RatioAtLeast(f64),
    /// The ratio is at most this.
    RatioAtMost(f64),
    /// We are the faster: a ratio above 1 of rates, below 1 of times.
    Faster(Better),
    /// The median over the pairs of ours minus the peer's is at most this.
    ExcessAtMost(f64),
    /// Ours is at least this.
    AtLeast(f64),
    /// Ours is at most this.
    AtMost(f64),
    /// Ours is below this.
    Below(f64),
}

impl Row {
    /// A figure from runs; the medians are compared.
    #[must_use]
    pub fn new(figure: &str, unit: &str, peer_name: &str, runs: Runs) -> Self {
        let ours = median(&runs.ours).unwrap_or(f64::NAN);
        let peer = median(&runs.peer);
        Self {
            figure: figure.to_owned(),
            ours,
            peer,
            peer_name: peer_name.to_owned(),
            unit: unit.to_owned(),
            ratio: peer.filter(|p| *p != 0.0).map(|p| ours / p),
            best: None,
            target: None,
            met: None,
            runs,
        }
    }

    /// A figure from runs in turns: what is slow for a while is slow for both, so each of ours is divided by the peer's
    /// of the same round.
    #[must_use]
    pub fn paired(figure: &str, unit: &str, peer_name: &str, runs: Runs, better: Better) -> Self {
        let ratios = runs.pairwise(|ours, peer| ours / peer);
        let best = percentile(&ratios, if better == Better::More { 100.0 } else { 0.0 });
        Self {
            ratio: median(&ratios),
            best,
            ..Self::new(figure, unit, peer_name, runs)
        }
    }

    /// A figure without a peer.
    #[must_use]
    pub fn alone(figure: &str, unit: &str, value: f64) -> Self {
        let runs = Runs {
            ours: vec![value],
            peer: Vec::new(),
        };
        Self::new(figure, unit, "-", runs)
    }

    /// A figure that is given as a percentile of our runs.
    #[must_use]
    pub fn percentile(figure: &str, unit: &str, percent: f64, runs: &[f64]) -> Self {
        let ours = runs.to_vec();
        let peer = Vec::new();
        let mut row = Self::new(figure, unit, "-", Runs { ours, peer });
        row.ours = percentile(runs, percent).unwrap_or(f64::NAN);
        row
    }

    /// A figure that could not be measured.
    #[must_use]
    pub fn failed(figure: &str, why: &str) -> Self {
        let mut row = Self::new(figure, "-", "-", Runs::default());
        row.target = Some(format!("to be measured ({why})"));
        row.met = Some(false);
        row
    }

    /// With a target.
    #[must_use]
    pub fn gated(mut self, gate: Gate) -> Self {
        let unit = &self.unit;
        let ratio = self.ratio.unwrap_or(f64::NAN);
        // Comparisons with NaN are false: what is not known is not met.
        let (target, met) = match gate {
            Gate::RatioAtLeast(bound) => (format!("ratio >= {bound}"), ratio >= bound),
            Gate::RatioAtMost(bound) => (format!("ratio <= {bound}"), ratio <= bound),
            Gate::Faster(Better::More) => ("ratio > 1".to_owned(), ratio > 1.0),
            Gate::Faster(Better::Less) => ("ratio < 1".to_owned(), ratio < 1.0),
            Gate::ExcessAtMost(bound) => {
                let excess = median(&self.runs.pairwise(|ours, peer| ours - peer));
                let excess = excess.unwrap_or(f64::NAN);
                let text = format!("<= peer + {bound} {unit} ({excess:+.1})");
                (text, excess <= bound)
            }
            Gate::AtLeast(bound) => (format!(">= {bound} {unit}"), self.ours >= bound),
            Gate::AtMost(bound) => (format!("<= {bound} {unit}"), self.ours <= bound),
            Gate::Below(bound) => (format!("< {bound} {unit}"), self.ours < bound),
        };
        self.target = Some(target);
        self.met = Some(met);
        self
    }
}

impl Runs {
    fn pairwise(&self, join: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        let pairs = self.ours.iter().zip(&self.peer);
        pairs.map(|(ours, peer)| join(*ours, *peer)).collect()
    }
}

/// The median; `None` of nothing.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    percentile(values, 50.0)
}

/// The value below which `percent` of the values lie, by the nearest rank; `None` of nothing.
#[must_use]
pub fn percentile(values: &[f64], percent: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paired(better: Better) -> Row {
        let runs = Runs {
            ours: vec![1.0, 8.0, 2.0],
            peer: vec![2.0, 4.0, 2.0],
        };
        Row::paired("x", "s", "peer", runs, better)
    }

    #[test]
    fn percentile_is_the_nearest_rank() {
        let values = [5.0, 1.0, 3.0, 2.0, 4.0];
        assert_eq!(percentile(&values, 50.0), Some(3.0));
        assert_eq!(percentile(&values, 99.0), Some(5.0));
        assert_eq!(percentile(&values, 0.0), Some(1.0));
        assert_eq!(percentile(&[], 50.0), None);
    }

    #[test]
    fn new_compares_medians() {
        let runs = Runs {
            ours: vec![1.0, 9.0, 2.0],
            peer: vec![4.0, 4.0, 5.0],
        };
        let row = Row::new("x", "s", "peer", runs);
        assert_eq!((row.ours, row.peer, row.ratio), (2.0, Some(4.0), Some(0.5)));
    }

    #[test]
    fn paired_gives_the_median_and_the_best_of_ratios() {
        let row = paired(Better::More);
        assert_eq!((row.ratio, row.best), (Some(1.0), Some(2.0)));
        assert_eq!(paired(Better::Less).best, Some(0.5));
    }

    #[test]
    fn gates_judge_ratio_excess_and_value() {
        let met = |gate| paired(Better::More).gated(gate).met.unwrap();
        assert!(met(Gate::RatioAtLeast(1.0)) && !met(Gate::RatioAtLeast(1.1)));
        assert!(met(Gate::RatioAtMost(1.0)) && !met(Gate::RatioAtMost(0.9)));
        assert!(!met(Gate::Faster(Better::More)) && !met(Gate::Faster(Better::Less)));
        assert!(met(Gate::ExcessAtMost(0.0)) && !met(Gate::ExcessAtMost(-0.5)));
        assert!(met(Gate::AtLeast(2.0)) && !met(Gate::AtLeast(2.1)));
        assert!(met(Gate::AtMost(2.0)) && !met(Gate::Below(2.0)));
    }

    #[test]
    fn gate_without_a_measurement_is_not_met() {
        let row = Row::new("x", "s", "peer", Runs::default());
        for gate in [
            Gate::RatioAtLeast(0.0),
            Gate::ExcessAtMost(9.0),
            Gate::AtMost(9.0),
        ] {
            assert_eq!(row.clone().gated(gate).met, Some(false));
        }
    }
}
