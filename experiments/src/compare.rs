//! Lays a simulated run, a live one and the thesis' figure side by side.

use crate::{
    live::Conditions,
    measure::{Bins, Distribution, HopMedians, Statistics, last_tries_us},
    plot::{Overlay, Shape, Wording},
    results::{Summary, Throughput},
    run::Run,
    spec::Spec,
    thesis::Published,
};
use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use std::{
    fmt::Write as _,
    fs::File,
    io::{ErrorKind, Read},
    path::Path,
};

/// Largest file of a live run that is read: a row of 80 bytes for each of ten million tasks.
const FILE_BYTES_MAX: u64 = 800_000_000;

/// One source of latencies.
#[derive(Clone, Debug)]
pub struct Source {
    /// `simulation`, `live`, `live before` or `thesis`.
    pub name: &'static str,
    /// Its numbers.
    pub numbers: Numbers,
    distribution: Distribution,
    /// In ascending order; a digitised figure has none.
    samples_us: Vec<u64>,
    bins: Bins,
}

/// The numbers of a source; what it can't tell is `None`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Numbers {
    /// Finished tasks.
    pub tasks: u64,
    /// Tasks that timed out.
    pub timed_out: u64,
    /// Mean latency of the finished ones.
    pub mean_ms: f64,
    /// Median.
    pub p50_ms: f64,
    /// 90th percentile.
    pub p90_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Largest.
    pub max_ms: f64,
    /// Tasks done in a second.
    pub tasks_per_s: Option<f64>,
    /// CPU time of a request's routers together, in us.
    pub router_cpu_us: Option<f64>,
    /// Calls hop by hop; live of those that were traced.
    pub hops: Option<HopMedians>,
    /// Humps of the histogram, see [`Bins::modes_ms`].
    pub modes: usize,
}

/// Sources side by side.
#[derive(Clone, Debug)]
pub struct Comparison {
    spec: Spec,
    /// The simulation first.
    pub sources: Vec<Source>,
}

impl Source {
    fn new(name: &'static str, samples_us: Vec<u64>, timed_out: u64, tasks_per_s: Option<f64>) -> Option<Self> {
        let of = Statistics::of(&samples_us)?;
        let bins = Bins::of(&samples_us)?;
        let numbers = Numbers {
            tasks: of.count,
            timed_out,
            mean_ms: of.mean,
            p50_ms: of.p50,
            p90_ms: of.p90,
            p99_ms: of.p99,
            max_ms: of.max,
            tasks_per_s,
            router_cpu_us: None,
            hops: None,
            modes: bins.modes_ms().len(),
        };
        Some(Self { name, numbers, distribution: Distribution::of_samples(&samples_us)?, samples_us, bins })
    }

    /// A simulated run; `None` if no task finished.
    #[must_use]
    pub fn simulation(spec: &Spec, run: &Run) -> Option<Self> {
        let summary = Summary::of(spec, run);
        let tasks_per_s = Some(summary.throughput.tasks_per_s);
        let source = Self::new("simulation", last_tries_us(&run.outcome), summary.tasks.timed_out, tasks_per_s);
        source.map(|mut source| {
            source.numbers.hops = HopMedians::of(&run.outcome);
            source
        })
    }

    /// The thesis' figure.
    #[must_use]
    pub fn thesis(published: &Published) -> Self {
        let (legend, bins) = (&published.legend, published.bins());
        let numbers = Numbers {
            tasks: legend.samples.into(),
            timed_out: legend.timeouts.into(),
            mean_ms: legend.mean_ms,
            p50_ms: legend.p50_ms,
            p90_ms: legend.p90_ms,
            p99_ms: legend.p99_ms,
            max_ms: legend.max_ms_about,
            tasks_per_s: None,
            router_cpu_us: None,
            hops: None,
            modes: bins.modes_ms().len(),
        };
        Self { name: "thesis", numbers, distribution: published.distribution(), samples_us: Vec::new(), bins }
    }

    /// The live run of `spec` below `results`; `None` if there is none. It needs `live/SPEC/latency.csv`, of which a
    /// row is a task, and takes the throughput from `live/SPEC/summary.json`.
    ///
    /// # Errors
    /// When a file is there and can't be used.
    pub fn live(results: &Path, spec: &str) -> anyhow::Result<Option<Self>> {
        Self::live_named("live", results, spec)
    }

    /// An earlier live run, whose results were kept in another directory.
    ///
    /// # Errors
    /// As [`Self::live`], and when there is none.
    pub fn live_before(results: &Path, spec: &str) -> anyhow::Result<Self> {
        Self::live_named("live before", results, spec)?
            .with_context(|| format!("no live run of {spec} in {}", results.display()))
    }

    fn live_named(name: &'static str, results: &Path, spec: &str) -> anyhow::Result<Option<Self>> {
        let directory = results.join("live").join(spec);
        let path = directory.join("latency.csv");
        let Some(text) = read(&path)? else {
            ensure!(!directory.exists(), "{} has no latency.csv; run {spec} live again", directory.display());
            return Ok(None);
        };
        let (samples_us, timed_out) = latencies(&text).with_context(|| format!("reading {}", path.display()))?;
        let path = directory.join("summary.json");
        let summary = read(&path)?.map(|text| serde_json::from_str::<LiveSummary>(&text));
        let summary = summary.transpose().with_context(|| format!("reading {}", path.display()))?;
        let tasks_per_s = summary.as_ref().map(|summary| summary.throughput.tasks_per_s);
        let live = Self::new(name, samples_us, timed_out, tasks_per_s);
        let mut live = live.with_context(|| format!("{} has no finished task", directory.display()))?;
        live.numbers.router_cpu_us = summary.as_ref().map(|summary| summary.live.router_cpu_us_per_rpc());
        live.numbers.hops = summary.and_then(|summary| summary.live.hops);
        Ok(Some(live))
    }
}

/// What is needed of a live run's summary; it says much more.
#[derive(Deserialize)]
struct LiveSummary {
    throughput: Throughput,
    live: Conditions,
}

/// What is needed of a row of `latency.csv`.
#[derive(Deserialize)]
struct LatencyRow {
    try_us: Option<u64>,
    timeouts: u64,
}

/// Latencies of finished tasks in ascending order, and how many timed out.
fn latencies(text: &str) -> anyhow::Result<(Vec<u64>, u64)> {
    let (mut samples, mut timed_out) = (Vec::new(), 0);
    for row in csv::Reader::from_reader(text.as_bytes()).deserialize() {
        let row: LatencyRow = row?;
        samples.extend(row.try_us);
        timed_out += u64::from(row.timeouts > 0);
    }
    samples.sort_unstable();
    Ok((samples, timed_out))
}

fn read(path: &Path) -> anyhow::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
    };
    let mut text = String::new();
    let bytes = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    if bytes.with_context(|| format!("reading {}", path.display()))? as u64 > FILE_BYTES_MAX {
        bail!("{} has more than {FILE_BYTES_MAX} bytes", path.display());
    }
    Ok(Some(text))
}

impl Comparison {
    /// Of sources of `spec`. Beside the thesis' figure humps are counted in its bins.
    #[must_use]
    pub fn new(spec: &Spec, mut sources: Vec<Source>) -> Self {
        let figure = sources.iter().find(|source| source.samples_us.is_empty()).map(|thesis| thesis.bins.clone());
        if let Some(bins) = figure {
            for source in sources.iter_mut().filter(|source| !source.samples_us.is_empty()) {
                source.numbers.modes = bins.with(&source.samples_us).modes_ms().len();
            }
        }
        Self { spec: spec.clone(), sources }
    }

    /// The normalised Wasserstein distance of each source to each later one, which is the reference.
    #[must_use]
    pub fn distances(&self) -> Vec<(&'static str, &'static str, f64)> {
        let mut distances = Vec::new();
        for (place, one) in self.sources.iter().enumerate() {
            for other in &self.sources[place + 1..] {
                distances.push((one.name, other.name, one.distribution.normalised_wasserstein(&other.distribution)));
            }
        }
        distances
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = format!("{}: {}\n\n  {:<14}", self.spec.name, self.spec.title, "");
        for source in &self.sources {
            let _ = write!(out, "{:>14}", source.name);
        }
        out.push('\n');
        for source_row in self.rows() {
            let _ = writeln!(out, "  {source_row}");
        }
        let distances = self.distances();
        if distances.is_empty() {
            let _ = writeln!(out, "\n  nothing to compare with: no live run, and no figure in the thesis");
        }
        for (place, (one, other, distance)) in distances.into_iter().enumerate() {
            let lead = if place == 0 { "\n" } else { "" };
            let _ = writeln!(out, "{lead}  normalised Wasserstein distance of {one} to {other}: {distance:.3}");
        }
        out
    }

    fn rows(&self) -> Vec<String> {
        let count = |value: u64| value.to_string();
        let decimal = |value: f64| format!("{value:.2}");
        let hop = |numbers: &Numbers, of: fn(&HopMedians) -> f64| {
            numbers.hops.as_ref().map_or("-".to_owned(), |hops| format!("{:.3}", of(hops)))
        };
        let row = |name: &str, cell: &dyn Fn(&Numbers) -> String| {
            let cells: String = self.sources.iter().map(|source| format!("{:>14}", cell(&source.numbers))).collect();
            format!("{name:<14}{cells}")
        };
        vec![
            row("tasks", &|numbers| count(numbers.tasks)),
            row("timed out", &|numbers| count(numbers.timed_out)),
            row("mean ms", &|numbers| decimal(numbers.mean_ms)),
            row("p50 ms", &|numbers| decimal(numbers.p50_ms)),
            row("p90 ms", &|numbers| decimal(numbers.p90_ms)),
            row("p99 ms", &|numbers| decimal(numbers.p99_ms)),
            row("max ms", &|numbers| decimal(numbers.max_ms)),
            row("tasks/s", &|numbers| numbers.tasks_per_s.map_or("-".to_owned(), decimal)),
            row("router CPU us", &|numbers| numbers.router_cpu_us.map_or("-".to_owned(), decimal)),
            row("to router p50", &|numbers| hop(numbers, |hops| hops.to_router_ms)),
            row("routers p50", &|numbers| hop(numbers, |hops| hops.router_to_router_ms)),
            row("to worker p50", &|numbers| hop(numbers, |hops| hops.to_worker_ms)),
            row("modes", &|numbers| numbers.modes.to_string()),
        ]
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> String {
        let sources = self.sources.iter().map(|source| {
            let numbers = serde_json::to_value(source.numbers).expect("numbers fit into JSON");
            (source.name.to_owned(), numbers)
        });
        let distances = self.distances().into_iter().map(|(of, to, normalised_wasserstein)| {
            serde_json::json!({ "of": of, "to": to, "normalised_wasserstein": normalised_wasserstein })
        });
        let document = serde_json::json!({
            "spec": self.spec.name,
            "seed": self.spec.seed,
            "sources": sources.collect::<serde_json::Map<_, _>>(),
            "distances": distances.collect::<Vec<_>>(),
        });
        format!("{document:#}\n")
    }

    /// All sources over one axis: in the thesis' bins, with its bars behind and in its words, if there is a figure.
    #[must_use]
    pub fn overlay(&self) -> Overlay {
        let (digitised, sampled): (Vec<&Source>, Vec<&Source>) =
            self.sources.iter().partition(|source| source.samples_us.is_empty());
        let (name, title) = (self.spec.name.clone(), self.spec.title.clone());
        let sampled: Vec<(String, &[u64])> =
            sampled.into_iter().map(|source| (source.name.to_owned(), source.samples_us.as_slice())).collect();
        let Some(Source { name: whose, bins, .. }) = digitised.first() else {
            let ours = Shape::of_all(&sampled);
            return Overlay { name, title, wording: Wording::Plain, measured: None, ours };
        };
        let shape = |(name, samples)| Shape::of_samples(name, samples, bins.low_ms, bins.width_ms);
        let router_replicas = self.spec.replicas.routers;
        Overlay {
            name,
            title,
            wording: Wording::Thesis { router_replicas },
            measured: Some(Shape::of_bins((*whose).to_owned(), bins)),
            ours: sampled.into_iter().map(shape).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plot::Figure, thesis::reference};

    fn simulated(by_ms: u64) -> Source {
        let samples = (0..1_000).map(|i| (30 + by_ms) * 1_000 + i * 30).collect();
        Source::new("simulation", samples, 0, Some(700.0)).unwrap()
    }

    #[test]
    fn a_live_run_is_read_from_its_rows() {
        let root = tempfile::tempdir().unwrap();
        assert!(Source::live(root.path(), "x").unwrap().is_none());
        let live = root.path().join("live/x");
        std::fs::create_dir_all(&live).unwrap();
        assert!(Source::live(root.path(), "x").unwrap_err().to_string().contains("no latency.csv"));
        let rows = "index,try_us,outcome,timeouts\n0,5000,done,0\n1,,queued,0\n2,3000,dead_lettered,1\n";
        std::fs::write(live.join("latency.csv"), rows).unwrap();
        let source = Source::live(root.path(), "x").unwrap().unwrap();
        assert_eq!((source.numbers.tasks, source.numbers.timed_out, source.numbers.mean_ms), (2, 1, 4.0));
        assert_eq!(source.numbers.tasks_per_s, None);
        assert_eq!(Source::live_before(root.path(), "x").unwrap().name, "live before");
        assert!(Source::live_before(root.path(), "y").unwrap_err().to_string().contains("no live run of y"));
        std::fs::write(live.join("latency.csv"), "index\n0\n").unwrap();
        assert!(Source::live(root.path(), "x").is_err());
    }

    #[test]
    fn each_pair_of_sources_has_a_distance_and_a_place_in_the_picture() {
        let spec = Spec { name: "custom_1k_1".into(), ..Spec::default() };
        let live = Source { name: "live", ..simulated(10) };
        let sources = vec![simulated(0), live, Source::thesis(&reference()["custom_1k_1"])];
        let comparison = Comparison::new(&spec, sources);
        let pairs: Vec<(&str, &str)> = comparison.distances().iter().map(|(of, to, _)| (*of, *to)).collect();
        assert_eq!(pairs, [("simulation", "live"), ("simulation", "thesis"), ("live", "thesis")]);
        assert!((comparison.distances()[0].2 - 10.0 / 55.0).abs() < 0.01, "{:?}", comparison.distances());
        assert!(comparison.table().contains("43.91"));
        let json: serde_json::Value = serde_json::from_str(&comparison.json()).unwrap();
        assert_eq!(json["sources"]["thesis"]["p50_ms"], 49.0);
        assert!(comparison.overlay().svg().unwrap().contains("live"));
    }

    #[test]
    fn alone_a_simulation_says_that_there_is_nothing_beside_it() {
        let comparison = Comparison::new(&Spec::default(), vec![simulated(0)]);
        assert!(comparison.table().contains("nothing to compare with"));
        assert!(comparison.overlay().png().is_ok());
    }
}
