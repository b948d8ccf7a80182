//! What the thesis measured: its figures' legends and bars, as `experiments/reference/` has them.

use crate::measure::{BINS, Bins, Distribution};
use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;

const STATISTICS: &str = include_str!("../../reference/thesis_statistics.csv");
const HISTOGRAMS: &str = include_str!("../../reference/thesis_histograms.csv");
/// How far the mean of digitised bars may be from the printed one, as a share of that.
const MEAN_ERROR_MAX: f64 = 0.03;
/// Digitised edges are rounded; neighbours may overlap by this.
const EDGE_ERROR_MAX_MS: f64 = 0.02;

/// All published figures, by the name of the experiment.
pub type Reference = BTreeMap<String, Published>;

/// One published figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// Its legend.
    pub legend: Legend,
    /// Its bars.
    pub bars: Vec<Bar>,
}

/// What a figure's legend says, and what can be read off its bars.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Legend {
    experiment: String,
    /// Tasks in the figure.
    pub samples: u32,
    /// Arithmetic mean.
    pub mean_ms: f64,
    /// Median.
    pub p50_ms: f64,
    /// 90th percentile.
    pub p90_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Largest, read off the last bar.
    pub max_ms_about: f64,
    /// Tasks that timed out.
    pub timeouts: u32,
}

impl Legend {
    /// Tasks that did not time out.
    #[must_use]
    pub fn success_percent(&self) -> f64 {
        100.0 * (1.0 - f64::from(self.timeouts) / f64::from(self.samples))
    }
}

/// One bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// Its left edge.
    pub low_ms: f64,
    /// Its right edge.
    pub high_ms: f64,
    /// Its height; a digitised one is no whole number.
    pub count: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BarRow {
    experiment: String,
    bin_low_ms: f64,
    bin_high_ms: f64,
    count: f64,
}

impl Published {
    /// The bars as a distribution.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        Distribution::of_bars(self.bars.iter().map(|bar| (bar.low_ms, bar.high_ms, bar.count)))
            .expect("checked when it was read")
    }

    /// The bars as a histogram, the empty ones put back.
    #[must_use]
    pub fn bins(&self) -> Bins {
        let Bar { low_ms, high_ms, .. } = self.bars[0];
        let mut bins = Bins { low_ms, width_ms: high_ms - low_ms, counts: [0.0; BINS] };
        for bar in &self.bars {
            let bin = ((bar.low_ms - low_ms) / bins.width_ms).round() as usize;
            bins.counts[bin.min(BINS - 1)] += bar.count;
        }
        bins
    }
}

/// The data that the program was built with.
///
/// # Panics
/// When they are damaged; a test parses them.
#[must_use]
pub fn reference() -> Reference {
    parse(STATISTICS, HISTOGRAMS).expect("the reference data are part of the program, and tested")
}

fn parse(statistics: &str, histograms: &str) -> anyhow::Result<Reference> {
    let mut reference = Reference::new();
    for row in csv::Reader::from_reader(statistics.as_bytes()).deserialize() {
        let legend: Legend = row.context("reading thesis_statistics.csv")?;
        let name = legend.experiment.clone();
        let twice = reference.insert(name.clone(), Published { legend, bars: Vec::new() }).is_some();
        ensure!(!twice, "thesis_statistics.csv: {name} is there twice");
    }
    for row in csv::Reader::from_reader(histograms.as_bytes()).deserialize() {
        let row: BarRow = row.context("reading thesis_histograms.csv")?;
        let Some(published) = reference.get_mut(&row.experiment) else {
            bail!("thesis_histograms.csv: {} is not in thesis_statistics.csv", row.experiment);
        };
        published.bars.push(Bar { low_ms: row.bin_low_ms, high_ms: row.bin_high_ms, count: row.count });
    }
    for (name, published) in &reference {
        check(published).with_context(|| format!("thesis_histograms.csv: {name}"))?;
    }
    Ok(reference)
}

fn check(published: &Published) -> anyhow::Result<()> {
    let bars = &published.bars;
    ensure!(!bars.is_empty() && bars.len() <= BINS, "has {} bars; expected 1 to {BINS}", bars.len());
    for bar in bars {
        ensure!(bar.low_ms < bar.high_ms && bar.count > 0.0 && bar.count.is_finite(), "{bar:?} is no bar");
    }
    let ordered = bars.windows(2).all(|pair| pair[0].high_ms <= pair[1].low_ms + EDGE_ERROR_MAX_MS);
    ensure!(ordered, "its bars are not in order, or overlap");
    let Legend { samples, mean_ms, p50_ms, p90_ms, p99_ms, timeouts, .. } = published.legend;
    ensure!(0.0 < p50_ms && p50_ms <= p90_ms && p90_ms <= p99_ms, "its percentiles are not in order");
    ensure!(timeouts <= samples && samples > 0, "{timeouts} of its {samples} tasks timed out");
    let of_bars = published.distribution().mean_ms();
    let error = (of_bars - mean_ms).abs() / mean_ms;
    ensure!(error <= MEAN_ERROR_MAX, "its bars have a mean of {of_bars:.1} ms, its legend says {mean_ms}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::has_figure_in_thesis;

    const LEGENDS: &str = "experiment,samples,mean_ms,p50_ms,p90_ms,p99_ms,max_ms_about,timeouts\nx,10,5,5,9,9,10,0\n";

    #[test]
    fn the_shipped_data_are_sound_and_have_the_modes_one_sees() {
        let reference = reference();
        assert_eq!(reference.len(), 6);
        for (name, published) in &reference {
            assert!(has_figure_in_thesis(name), "{name}");
            let bins = published.bins();
            let kept: f64 = bins.counts.iter().sum();
            let all: f64 = published.bars.iter().map(|bar| bar.count).sum();
            assert!((kept - all).abs() < 1e-6, "{name}");
            assert_eq!(bins.modes_ms().len(), 2, "{name}: {:?}", bins.modes_ms());
        }
        assert!((reference["baseline_1k_1"].bins().main_mode_ms() - 51.0).abs() < 1.0);
    }

    #[test]
    fn damaged_data_are_refused_with_their_place() {
        let header = "experiment,bin_low_ms,bin_high_ms,count\n";
        assert!(parse(LEGENDS, &format!("{header}x,0,10,3\n")).is_ok());
        for (rows, expected) in [
            ("y,0,10,3\n", "y is not in thesis_statistics.csv"),
            ("x,0,10,many\n", "reading thesis_histograms.csv"),
            ("x,0,30,3\n", "a mean of 15.0 ms"),
            ("x,0,6,3\nx,4,10,3\n", "overlap"),
            ("x,5,5,3\n", "is no bar"),
            ("", "has 0 bars"),
        ] {
            let message = format!("{:#}", parse(LEGENDS, &format!("{header}{rows}")).unwrap_err());
            assert!(message.contains(expected), "{message}");
        }
        assert!(parse(&LEGENDS.replace("samples", "sample"), header).is_err());
        assert!(parse(&LEGENDS.replace("x,10,5", "x,10,"), header).is_err());
    }
}
