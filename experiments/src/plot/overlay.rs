//! Distributions laid over each other: what was measured elsewhere as filled bars, ours as outlines.

use super::{
    Drawn, Figure, GRID, Wording,
    axis::{MarkedAxis, linear_tick, linear_ticks, tick},
    binning::Binning,
    font,
    legend::{self, Entry, Symbol},
    marks::{Fill, Pixel, draw_bar, draw_line, stroke},
    titled,
};
use crate::measure::{BINS, Bins, ms};
use plotters::{coord::Shift, prelude::*};

/// What was measured elsewhere, behind ours.
const REFERENCE: Fill = Fill { colour: RGBColor(210, 210, 210), edge: RGBColor(160, 160, 160), hatch: None };

/// One distribution of an [`Overlay`].
#[derive(Clone, Debug)]
pub struct Shape {
    name: String,
    /// Bars `(low_ms, high_ms, share)`, in order; the shares add up to 1.
    bars: Vec<(f64, f64, f64)>,
}

impl Shape {
    /// Of a histogram.
    #[must_use]
    pub fn of_bins(name: String, bins: &Bins) -> Self {
        let total: f64 = bins.counts.iter().sum();
        let bar = |bin| {
            let (low_ms, high_ms) = bins.edges_ms(bin);
            (low_ms, high_ms, bins.counts[bin] / total)
        };
        Self { name, bars: (0..BINS).map(bar).filter(|bar| bar.2 > 0.0).collect() }
    }

    /// Of samples in ascending order, in bins of `width_ms` with an edge at `edge_ms`, so that the heights can be
    /// compared with those of a histogram of the same bins.
    #[must_use]
    pub fn of_samples(name: String, sorted_us: &[u64], edge_ms: f64, width_ms: f64) -> Self {
        let mut bars: Vec<(f64, f64, f64)> = Vec::new();
        let share = 1.0 / sorted_us.len() as f64;
        for us in sorted_us {
            let bin = ((ms(*us) - edge_ms) / width_ms).floor();
            let low_ms = edge_ms + bin * width_ms;
            match bars.last_mut() {
                // Edges of one bin are the same to the bit.
                Some(bar) if bar.0 == low_ms => bar.2 += share,
                _ => bars.push((low_ms, low_ms + width_ms, share)),
            }
        }
        Self { name, bars }
    }

    /// Of several sets of samples in ascending order, in common bins that lie between the values which they can have.
    #[must_use]
    pub fn of_all(sets: &[(String, &[u64])]) -> Vec<Self> {
        let mut all: Vec<u64> = sets.iter().flat_map(|(_, samples)| samples.iter().copied()).collect();
        all.sort_unstable();
        let Some(binning) = Binning::of(&all) else { return Vec::new() };
        let shape = |(name, samples): &(String, &[u64])| {
            let bar = |(bin, count)| {
                let (low_ms, high_ms) = binning.edges_ms(bin);
                (low_ms, high_ms, count as f64 / samples.len() as f64)
            };
            let bars = binning.counts(samples).into_iter().enumerate().map(bar).filter(|bar| bar.2 > 0.0);
            Self { name: name.clone(), bars: bars.collect() }
        };
        sets.iter().map(shape).collect()
    }

    /// Lines around bars that touch each other, one for each group of them.
    fn outlines(&self) -> Vec<Vec<(f64, f64)>> {
        let mut lines: Vec<Vec<(f64, f64)>> = Vec::new();
        let mut end_ms = f64::MIN;
        for (low_ms, high_ms, share) in &self.bars {
            let touches = low_ms - end_ms <= (high_ms - low_ms) * 0.01;
            match lines.last_mut() {
                Some(line) if touches => line.extend([(*low_ms, *share), (*high_ms, *share)]),
                _ => lines.push(vec![(*low_ms, 0.0), (*low_ms, *share), (*high_ms, *share)]),
            }
            end_ms = *high_ms;
        }
        for line in &mut lines {
            let end = line.last().map(|(end_ms, _)| (*end_ms, 0.0));
            line.extend(end);
        }
        lines
    }

    fn highest(&self) -> f64 {
        self.bars.iter().map(|bar| bar.2).fold(0.0, f64::max)
    }
}

/// Distributions over one axis.
#[derive(Clone, Debug)]
pub struct Overlay {
    /// The experiment.
    pub name: String,
    /// One line about it.
    pub title: String,
    /// Whose words are used.
    pub wording: Wording,
    /// Drawn as filled bars behind; if there is one.
    pub measured: Option<Shape>,
    /// Drawn as outlines.
    pub ours: Vec<Shape>,
}

impl Overlay {
    fn shapes(&self) -> impl Iterator<Item = &Shape> {
        self.measured.iter().chain(&self.ours)
    }

    fn range_ms(&self) -> (f64, f64) {
        let bars = || self.shapes().flat_map(|shape| &shape.bars);
        (bars().map(|bar| bar.0).fold(f64::MAX, f64::min), bars().map(|bar| bar.1).fold(f64::MIN, f64::max))
    }

    fn legend(&self) -> Vec<Entry> {
        let measured = self.measured.iter().map(|shape| (shape, Symbol::Bar(REFERENCE)));
        let ours = self.ours.iter().enumerate().map(|(place, shape)| (shape, Symbol::Line(stroke(place), None)));
        let entries = measured.chain(ours);
        entries.map(|(shape, symbol)| Entry { text: shape.name.clone(), symbol }).collect()
    }

    fn draw_data<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
        at: &impl Fn(f64, f64) -> Pixel,
    ) -> Drawn<DB> {
        for (low_ms, high_ms, share) in self.measured.iter().flat_map(|shape| &shape.bars) {
            draw_bar(area, [at(*low_ms, share * 100.0), at(*high_ms, 0.0)], REFERENCE)?;
        }
        for (place, shape) in self.ours.iter().enumerate() {
            for line in shape.outlines() {
                let line: Vec<Pixel> = line.into_iter().map(|(at_ms, share)| at(at_ms, share * 100.0)).collect();
                draw_line(area, &line, stroke(place))?;
            }
        }
        Ok(())
    }
}

impl Figure for Overlay {
    fn size(&self) -> (u32, u32) {
        (1_200, 640)
    }

    fn description(&self) -> String {
        let title = self.wording.title(&self.name, &self.title).join(", ");
        let mean = |shape: &Shape| -> f64 { shape.bars.iter().map(|bar| (bar.0 + bar.1) / 2.0 * bar.2).sum() };
        let highest = |shape: &Shape| shape.bars.iter().max_by(|a, b| a.2.total_cmp(&b.2)).map_or(0.0, |bar| bar.0);
        let described = self.shapes().map(|shape| {
            format!("{}: mean about {} ms, highest bar at {} ms", shape.name, tick(&mean(shape)), tick(&highest(shape)))
        });
        format!("Histograms over each other. {title}. {}.", described.collect::<Vec<_>>().join("; "))
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let rest = titled(area, &self.wording.title(&self.name, &self.title))?;
        let rest = legend::draw(&rest, &self.legend())?;
        let (low_ms, high_ms) = self.range_ms();
        let margin_ms = (high_ms - low_ms) * 0.03;
        let highest = self.shapes().map(Shape::highest).fold(0.0, f64::max) * 106.0;
        // No latency is negative, but an outline that begins at 0 must not lie on the axis.
        let x = (low_ms - margin_ms).max(margin_ms / -3.0)..high_ms + margin_ms;
        let (across, up) = (linear_ticks(x.start.max(0.0), x.end), linear_ticks(0.0, highest));
        let mut chart = ChartBuilder::on(&rest)
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
            .x_desc(self.wording.latency())
            .y_desc(self.wording.share_of_tasks())
            .x_labels(20)
            .y_labels(20)
            .x_label_formatter(&linear_tick(&across))
            .y_label_formatter(&linear_tick(&up))
            .label_style(font(17))
            .axis_desc_style(font(19))
            .draw()?;
        self.draw_data(area, &|ms, percent| chart.backend_coord(&(ms, percent)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_samples_add_up_and_lie_on_the_grid() {
        let shape = Shape::of_samples("x".into(), &[1_000, 1_500, 4_200, 9_900], 0.5, 2.0);
        let low: Vec<f64> = shape.bars.iter().map(|bar| bar.0).collect();
        assert_eq!(low, [0.5, 2.5, 8.5]);
        assert!((shape.bars.iter().map(|bar| bar.2).sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn sets_of_whole_milliseconds_share_bins_without_a_comb() {
        let samples: Vec<u64> = (30..90).map(|ms| ms * 1_000).collect();
        let shapes = Shape::of_all(&[("one".into(), samples.as_slice()), ("other".into(), &samples[..20])]);
        assert!(shapes[0].bars.iter().all(|bar| (bar.2 - 2.0 / 60.0).abs() < 1e-9), "{shapes:?}");
        assert_eq!(shapes[1].bars.len(), 10);
        assert_eq!(shapes[0].bars[3].0, shapes[1].bars[3].0);
    }

    #[test]
    fn bars_that_do_not_touch_have_outlines_of_their_own() {
        let shape = Shape::of_samples("x".into(), &[1_000, 9_000, 11_000], 0.0, 2.0);
        let third = 1.0 / 3.0;
        let joined = [(8.0, 0.0), (8.0, third), (10.0, third), (10.0, third), (12.0, third), (12.0, 0.0)];
        assert_eq!(shape.outlines(), [vec![(0.0, 0.0), (0.0, third), (2.0, third), (2.0, 0.0)], joined.to_vec()]);
    }
}
