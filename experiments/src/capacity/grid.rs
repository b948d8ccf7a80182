//! Runs a spec over a grid of values: a table, and a line a series.

use super::Trial;
use crate::{
    measure::Quantity,
    plot::{Curve, Lines, Point},
    run::batch,
    simulate::Simulate,
    spec::{Spec, SpecError},
};
use anyhow::Context;
use std::str::FromStr;

/// Least rates that are drawn as such, in tasks a second: places on the axis are whole numbers.
const RATE_MIN: f64 = 10.0;
/// Most runs of a grid: an hour, if each takes some seconds.
const RUNS_MAX: usize = 1_000;

/// A key and the values that it is to have: `replicas.routers=1,2,4`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Its path.
    pub key: String,
    /// In the order in which they were given.
    pub values: Vec<u32>,
}

impl FromStr for Axis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "expected a key and whole numbers, as in replicas.routers=1,2,4,8".to_owned();
        let (key, values) = text.split_once('=').ok_or_else(form)?;
        let values: Vec<u32> = values
            .split(',')
            .map(|value| value.trim().replace('_', "").parse().map_err(|_| form()))
            .collect::<Result<_, _>>()?;
        if key.trim().is_empty() { Err(form()) } else { Ok(Self { key: key.trim().to_owned(), values }) }
    }
}

/// All runs of a spec over the values of one or two keys.
#[derive(Clone, Debug)]
pub struct Grid {
    /// The spec's name and title.
    pub title: Vec<String>,
    /// The axes: along the first one numbers are drawn, each value of the second one is a line.
    pub axes: Vec<Axis>,
    /// What was measured; the first one is drawn.
    pub quantities: Vec<Quantity>,
    /// A run for each point, the first axis' value first.
    pub trials: Vec<Trial>,
}

impl Grid {
    /// Runs all of it, as many at a time as there are cores.
    ///
    /// # Errors
    /// When a spec of it is wrong or there are too many, or when a run fails otherwise than by not being done in time.
    pub fn run(
        (spec, axes): (&Spec, Vec<Axis>),
        quantities: Vec<Quantity>,
        load: &dyn Fn(&[u32]) -> Result<Spec, SpecError>,
        simulate: Simulate,
        quiet: bool,
    ) -> anyhow::Result<Self> {
        let runs = axes.iter().fold(1, |runs: usize, axis| runs.saturating_mul(axis.values.len()));
        anyhow::ensure!(runs <= RUNS_MAX, "these are {runs} runs; accepted are {RUNS_MAX}");
        let points = points(&axes);
        let specs = points.iter().map(|point| load(point)).collect::<Result<Vec<Spec>, _>>()?;
        let runs = batch::run_all(&specs, simulate, quiet);
        let mut trials = Vec::new();
        for ((point, spec), run) in points.into_iter().zip(&specs).zip(runs) {
            let what = format!("the run with {}", named(&axes, &point));
            trials.push(Trial::of(spec, point, &quantities, run).context(what)?);
        }
        Ok(Self { title: vec![spec.name.clone(), spec.title.clone()], axes, quantities, trials })
    }

    /// As rows for programs.
    ///
    /// # Errors
    /// Never in practice: it is written into memory.
    pub fn csv(&self) -> anyhow::Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let numbers = self.quantities.iter().map(|quantity| match quantity {
            Quantity::TasksPerS => quantity.to_string(),
            Quantity::Latency(..) => format!("{}_ms", quantity.to_string().replace('.', "_")),
        });
        let keys = self.axes.iter().map(|axis| axis.key.clone());
        let others = ["came_per_s", "fullest", "fullest_percent", "flaws"].map(str::to_owned);
        writer.write_record(keys.chain(numbers).chain(others))?;
        for trial in &self.trials {
            let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
            let values = trial.values.iter().map(ToString::to_string);
            let numbers = trial.numbers.iter().map(|value| number(*value));
            let (full, percent) = match &trial.fullest {
                Some(fullest) => (fullest.of.clone(), fullest.percent.to_string()),
                None => Default::default(),
            };
            let others = [number(trial.came_per_s), full, percent, trial.flaws.join("; ")];
            writer.write_record(values.chain(numbers).chain(others))?;
        }
        writer.into_inner().context("writing rows into memory")
    }

    /// As a table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut rows = vec![self.axes.iter().map(|axis| axis.key.clone()).collect::<Vec<_>>()];
        rows[0].extend(self.quantities.iter().map(|quantity| match quantity {
            Quantity::TasksPerS => quantity.to_string(),
            Quantity::Latency(..) => format!("{quantity} ms"),
        }));
        rows[0].extend(["fullest".to_owned(), String::new()]);
        for trial in &self.trials {
            let mut row: Vec<String> = trial.values.iter().map(ToString::to_string).collect();
            row.extend(trial.numbers.iter().map(|value| value.map_or("-".into(), |value| format!("{value:.2}"))));
            let full = trial.fullest.as_ref().map(|fullest| format!("{} {:.0} %", fullest.of, fullest.percent));
            row.extend([full.unwrap_or_default(), trial.flaws.join("; ")]);
            rows.push(row);
        }
        crate::table::columns(&rows)
    }

    /// Whether more tasks come in the same time: then the rate says more than their number.
    fn is_over_rates(&self) -> bool {
        let mut measured = self.trials.iter().filter(|trial| trial.numbers.iter().any(Option::is_some));
        self.axes[0].key == "workload.tasks"
            && measured.all(|trial| trial.came_per_s.is_some_and(|rate| rate >= RATE_MIN))
    }

    fn x_of(&self, trial: &Trial) -> u32 {
        let rate = trial.came_per_s.filter(|_| self.is_over_rates());
        rate.map_or(trial.values[0], |rate| rate.round().max(1.0) as u32)
    }

    /// As a figure: the first number over the first axis.
    #[must_use]
    pub fn lines(&self) -> Lines {
        let by = self.axes.get(1).map_or(vec![None], |axis| axis.values.iter().copied().map(Some).collect());
        let curve = |(colour, line): (usize, Option<u32>)| {
            let own = self.trials.iter().filter(|trial| trial.values.get(1).copied() == line);
            let point = |trial: &Trial| {
                let value = trial.numbers.first().copied().flatten().filter(|value| *value > 0.0)?;
                Some(Point { x: self.x_of(trial), value, min: value, max: value, setting: None })
            };
            let mut points: Vec<Point> = own.filter_map(point).collect();
            points.sort_by_key(|point| point.x);
            let name = match (self.axes.get(1), line) {
                (Some(axis), Some(value)) => format!("{} = {value}", axis.key),
                _ => self.quantities[0].to_string(),
            };
            Curve { name, points, foreign: false, colour }
        };
        let curves: Vec<Curve> = by.into_iter().enumerate().map(curve).collect();
        let quantity = self.quantities[0];
        Lines {
            title: self.title.clone(),
            x: if self.is_over_rates() { "tasks a second that came".into() } else { self.axes[0].key.clone() },
            y: format!("{quantity}, in {}", quantity.unit()),
            log_y: quantity != Quantity::TasksPerS,
            curves: curves.into_iter().filter(|curve| !curve.points.is_empty()).collect(),
        }
    }
}

fn named(axes: &[Axis], point: &[u32]) -> String {
    axes.iter().zip(point).map(|(axis, value)| format!("{} = {value}", axis.key)).collect::<Vec<_>>().join(", ")
}

/// All combinations.
fn points(axes: &[Axis]) -> Vec<Vec<u32>> {
    axes.iter().fold(vec![Vec::new()], |points, axis| {
        let longer = |point: Vec<u32>| {
            axis.values
                .iter()
                .map(move |value| point.iter().copied().chain([*value]).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        points.into_iter().flat_map(longer).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_is_a_key_with_numbers() {
        let axis: Axis = "workload.tasks=1_000, 2000".parse().unwrap();
        assert_eq!(axis, Axis { key: "workload.tasks".into(), values: vec![1_000, 2_000] });
        for wrong in ["workload.tasks", "=1", "workload.tasks=", "workload.tasks=a"] {
            assert!(wrong.parse::<Axis>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_grid_has_all_combinations_in_the_order_of_its_axes() {
        let axes = ["a=1,2".parse().unwrap(), "b=3,4".parse().unwrap()];
        assert_eq!(points(&axes), [[1, 3], [1, 4], [2, 3], [2, 4]]);
        assert_eq!(named(&axes, &[2, 3]), "a = 2, b = 3");
    }

    #[test]
    fn each_value_of_the_second_axis_is_a_line_and_what_was_not_measured_is_no_point() {
        let trial = |values: [u32; 2], number| Trial {
            values: values.into(),
            numbers: vec![number],
            came_per_s: None,
            fullest: None,
            flaws: Vec::new(),
        };
        let grid = Grid {
            title: vec!["x".into()],
            axes: vec!["a=1,2".parse().unwrap(), "b=3,4".parse().unwrap()],
            quantities: vec!["end_to_end.p99".parse().unwrap()],
            trials: vec![
                trial([2, 3], Some(5.0)),
                trial([1, 3], Some(4.0)),
                trial([1, 4], None),
                trial([2, 4], Some(6.0)),
            ],
        };
        let lines = grid.lines();
        let drawn: Vec<(&str, Vec<u32>)> = lines
            .curves
            .iter()
            .map(|curve| (curve.name.as_str(), curve.points.iter().map(|point| point.x).collect()))
            .collect();
        assert_eq!(drawn, [("b = 3", vec![1, 2]), ("b = 4", vec![2])]);
        let mut of_rates = grid.clone();
        of_rates.axes[0].key = "workload.tasks".into();
        of_rates.trials.iter_mut().for_each(|trial| trial.came_per_s = Some(f64::from(trial.values[0]) * 49.8));
        let lines = of_rates.lines();
        let rates: Vec<u32> = lines.curves[0].points.iter().map(|point| point.x).collect();
        assert_eq!((lines.x.as_str(), rates), ("tasks a second that came", vec![50, 100]));
        let csv = String::from_utf8(grid.csv().unwrap()).unwrap();
        assert!(
            csv.starts_with("a,b,end_to_end_p99_ms,came_per_s,fullest,fullest_percent,flaws\n2,3,5,,,,\n"),
            "{csv}"
        );
    }
}
