//! The histogram of a run: how long tasks took, how they ended, and where the time went.

use super::{
    Drawn, Figure, GRID, INK, Note, Wording,
    axis::{MarkedAxis, linear_tick, linear_ticks, whole_ticks},
    binning::Binning,
    font,
    legend::{self, Entry, Symbol},
    marks::{Fill, Pixel, Stroke, draw_bar, draw_line},
    notes, percentiles, titled,
};
use crate::{digits::grouped, measure::Statistics};
use plotters::{coord::Shift, prelude::*};

const DONE: Fill = Fill { colour: RGBColor(116, 169, 207), edge: RGBColor(54, 112, 155), hatch: None };
const GIVEN_UP: Fill =
    Fill { colour: RGBColor(250, 214, 196), edge: RGBColor(150, 45, 20), hatch: Some(RGBColor(178, 60, 30)) };

/// There is room for so many bars at least, so that one alone does not look like a wide range.
const BARS_MIN: usize = 9;

/// What is shown.
#[derive(Clone, Debug)]
pub struct Content<'a> {
    /// The experiment.
    pub name: &'a str,
    /// One line about it.
    pub title: &'a str,
    /// Whose words are used.
    pub wording: Wording,
    /// Latencies of the tasks that are done, in ascending order.
    pub done_us: &'a [u64],
    /// Of those that were given up, in ascending order.
    pub given_up_us: &'a [u64],
    /// Percentiles below the histogram, from top to bottom.
    pub rows: Vec<(String, Statistics)>,
    /// What else a reader must know.
    pub notes: Vec<Note>,
}

/// The histogram of one run.
#[derive(Clone, Debug)]
pub struct Histogram {
    title: Vec<String>,
    wording: Wording,
    binning: Binning,
    done: Vec<u64>,
    given_up: Vec<u64>,
    /// Of the tasks that are done.
    statistics: Option<Statistics>,
    rows: Vec<(String, Statistics)>,
    notes: Vec<Note>,
}

impl Histogram {
    /// `None` if no task has ended.
    #[must_use]
    pub fn of(content: &Content<'_>) -> Option<Self> {
        let Content { name, title, wording, done_us, given_up_us, rows, notes } = content;
        let mut all_us = [*done_us, *given_up_us].concat();
        all_us.sort_unstable();
        let binning = Binning::of(&all_us)?;
        let explanation = wording.explanation().map(Note::remark);
        Some(Self {
            title: wording.title(name, title),
            wording: *wording,
            binning,
            done: binning.counts(done_us),
            given_up: binning.counts(given_up_us),
            statistics: Statistics::of(done_us),
            rows: rows.clone(),
            notes: explanation.into_iter().chain(notes.iter().cloned()).collect(),
        })
    }

    fn given_up_tasks(&self) -> u64 {
        self.given_up.iter().sum()
    }

    /// The vertical lines: their names, places and strokes.
    fn lines(&self) -> Vec<(String, f64, Stroke)> {
        let Some(Statistics { mean, p50, p90, p99, .. }) = self.statistics else { return Vec::new() };
        let whose = if self.given_up_tasks() > 0 { " (done)" } else { "" };
        let lines: [(&str, f64, RGBColor, &'static [f64]); 4] = [
            ("Mean", mean, RGBColor(214, 39, 40), &[14.0, 5.0, 3.0, 5.0]),
            ("Median", p50, RGBColor(24, 110, 24), &[]),
            ("P90", p90, RGBColor(128, 62, 170), &[10.0, 6.0]),
            ("P99", p99, RGBColor(222, 100, 0), &[3.0, 5.0]),
        ];
        let line = |(name, at, colour, dashes)| {
            let text = format!("{name}{whose}: {} ms", grouped(&format!("{at:.2}")));
            (text, at, Stroke { colour, width: 2, dashes })
        };
        lines.map(line).into()
    }

    fn legend(&self) -> Vec<Entry> {
        let counted = |word: &str, tasks: u64| {
            format!("{word}: {} {}", grouped(&tasks.to_string()), if tasks == 1 { "task" } else { "tasks" })
        };
        let mut entries = Vec::new();
        if self.given_up_tasks() > 0 {
            if let Some(done) = self.statistics {
                entries.push(Entry { text: counted("done", done.count), symbol: Symbol::Bar(DONE) });
            }
            let text = counted("given up", self.given_up_tasks());
            entries.push(Entry { text, symbol: Symbol::Bar(GIVEN_UP) });
        }
        let lines = self.lines().into_iter();
        entries.extend(lines.map(|(text, _, stroke)| Entry { text, symbol: Symbol::Line(stroke, None) }));
        entries
    }

    fn draw_data<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
        top: f64,
        at: &impl Fn(f64, f64) -> Pixel,
    ) -> Drawn<DB> {
        for bin in 0..self.binning.bins {
            let (left, right) = self.binning.edges_ms(bin);
            let (done, all) = (self.done[bin] as f64, (self.done[bin] + self.given_up[bin]) as f64);
            for (from, to, fill) in [(0.0, done, DONE), (done, all, GIVEN_UP)] {
                if to > from {
                    draw_bar(area, [at(left.max(0.0), to), at(right, from)], fill)?;
                }
            }
        }
        for (_, ms, stroke) in self.lines() {
            draw_line(area, &[at(ms, 0.0), at(ms, top)], stroke)?;
        }
        Ok(())
    }
}

impl Figure for Histogram {
    fn size(&self) -> (u32, u32) {
        (1_200, 700 + notes::height_pixels(&self.notes) + percentiles::height_pixels(self.rows.len()))
    }

    fn description(&self) -> String {
        let mut parts = vec![format!("Histogram of {}. {}", self.wording.latency(), self.title.join(", "))];
        parts.extend(notes::lines(&self.notes).iter().map(Note::to_string));
        parts.extend(self.legend().into_iter().map(|entry| entry.text));
        let row = |(name, row): &(String, Statistics)| {
            let [p50, p90, p99] = [row.p50, row.p90, row.p99].map(percentiles::number);
            format!("{name}: P50 {p50}, P90 {p90}, P99 {p99} ms")
        };
        parts.extend(self.rows.iter().map(row));
        parts.join(". ") + "."
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let below_title = titled(area, &self.title)?;
        let rest = legend::draw(&notes::draw(&below_title, &self.notes)?, &self.legend())?;
        let plot_height = rest.dim_in_pixel().1 - percentiles::height_pixels(self.rows.len());
        let (plot, strip) = rest.split_vertically(plot_height);
        let (low_ms, high_ms) = (self.binning.low_ms(), self.binning.high_ms());
        let missing = BARS_MIN.saturating_sub(self.binning.bins) as f64;
        let margin_ms = (high_ms - low_ms) * 0.03 + self.binning.width_ms() * missing / 2.0;
        let bars = self.done.iter().zip(&self.given_up).map(|(done, given_up)| done + given_up);
        let highest = bars.max().unwrap_or(1) as f64 * 1.06;
        // No latency is negative, but a line at one near 0 must not lie on the axis.
        let least_ms = (high_ms - low_ms) * -0.01;
        let x = (low_ms - margin_ms).max(least_ms)..high_ms + margin_ms;
        let (across, up) = (linear_ticks(x.start.max(0.0), x.end), whole_ticks(highest));
        let mut chart = ChartBuilder::on(&plot)
            .margin(12)
            .margin_right(30)
            .x_label_area_size(58)
            .y_label_area_size(84)
            .build_cartesian_2d(
                MarkedAxis { range: x, marks: across.clone() },
                MarkedAxis { range: 0.0..highest, marks: up.clone() },
            )?;
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(INK)
            .x_desc(self.wording.latency())
            .y_desc(self.wording.tasks())
            .x_labels(20)
            .y_labels(20)
            .x_label_formatter(&linear_tick(&across))
            .y_label_formatter(&linear_tick(&up))
            .label_style(font(17))
            .axis_desc_style(font(19))
            .draw()?;
        self.draw_data(area, highest, &|ms, tasks| chart.backend_coord(&(ms, tasks)))?;
        percentiles::draw(&strip, &self.rows)
    }
}
