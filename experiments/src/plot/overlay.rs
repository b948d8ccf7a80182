//! Distributions laid over each other: what was measured elsewhere as filled bars, ours as outlines.

use super::{Drawn, Figure, GRID, REFERENCE, REFERENCE_EDGE, SERIES, draw_legend, font, tick, titled};
use crate::measure::{BINS, Bins, ms};
use plotters::{coord::Shift, prelude::*};

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

    /// The highest bar that touches the range.
    fn highest_in(&self, (low_ms, high_ms): (f64, f64)) -> f64 {
        let bars = self.bars.iter().filter(|bar| bar.1 >= low_ms && bar.0 <= high_ms);
        bars.map(|bar| bar.2).fold(0.0, f64::max)
    }

    fn highest(&self) -> f64 {
        self.bars.iter().map(|bar| bar.2).fold(0.0, f64::max)
    }
}

/// FanOut distributions over one axis.
#[derive(Clone, Debug)]
pub struct Overlay {
    /// The first line is the largest.
    pub title: Vec<String>,
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
}

impl Overlay {
    /// The third of the picture where the legend covers least.
    fn emptiest(&self, (low_ms, high_ms): (f64, f64)) -> SeriesLabelPosition {
        let third = (high_ms - low_ms) / 3.0;
        let places = [
            (SeriesLabelPosition::UpperRight, 2.0),
            (SeriesLabelPosition::UpperLeft, 0.0),
            (SeriesLabelPosition::UpperMiddle, 1.0),
        ];
        let covered = |place: &(SeriesLabelPosition, f64)| {
            let from_ms = low_ms + third * place.1;
            self.shapes().map(|shape| shape.highest_in((from_ms, from_ms + third))).fold(0.0, f64::max)
        };
        let least = places.into_iter().min_by(|a, b| covered(a).total_cmp(&covered(b)));
        least.map_or(SeriesLabelPosition::UpperRight, |place| place.0)
    }
}

impl Figure for Overlay {
    fn size(&self) -> (u32, u32) {
        (1_200, 640)
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let rest = titled(area, &self.title)?;
        let (low_ms, high_ms) = self.range_ms();
        let margin_ms = (high_ms - low_ms) * 0.03;
        let highest = self.shapes().map(Shape::highest).fold(0.0, f64::max) * 106.0;
        let mut chart = ChartBuilder::on(&rest)
            .margin(12)
            .margin_right(30)
            .x_label_area_size(58)
            .y_label_area_size(84)
            .build_cartesian_2d((low_ms - margin_ms).max(0.0)..high_ms + margin_ms, 0.0..highest)?;
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .x_desc("latency of a task, in ms")
            .y_desc("tasks in a bin, in per cent")
            .x_labels(11)
            .y_labels(8)
            .x_label_formatter(&tick)
            .y_label_formatter(&tick)
            .label_style(font(17))
            .axis_desc_style(font(19))
            .draw()?;
        if let Some(Shape { name, bars }) = &self.measured {
            let bars = bars.iter().flat_map(|(low_ms, high_ms, share)| {
                let corners = [(*low_ms, 0.0), (*high_ms, share * 100.0)];
                [Rectangle::new(corners, REFERENCE.filled()), Rectangle::new(corners, REFERENCE_EDGE.stroke_width(1))]
            });
            chart
                .draw_series(bars)?
                .label(name)
                .legend(|(x, y)| Rectangle::new([(x, y - 7), (x + 28, y + 7)], REFERENCE.filled()));
        }
        for (place, shape) in self.ours.iter().enumerate() {
            let style = SERIES[place % SERIES.len()].stroke_width(3);
            let lines = shape.outlines().into_iter();
            let lines = lines.map(|line| line.into_iter().map(|(at_ms, share)| (at_ms, share * 100.0)));
            chart
                .draw_series(lines.map(|line| PathElement::new(line.collect::<Vec<_>>(), style)))?
                .label(&shape.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 28, y)], style));
        }
        draw_legend(&mut chart, self.emptiest((low_ms, high_ms)), 38)
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
    fn bars_that_do_not_touch_have_outlines_of_their_own() {
        let shape = Shape::of_samples("x".into(), &[1_000, 9_000, 11_000], 0.0, 2.0);
        let third = 1.0 / 3.0;
        let joined = [(8.0, 0.0), (8.0, third), (10.0, third), (10.0, third), (12.0, third), (12.0, 0.0)];
        assert_eq!(shape.outlines(), [vec![(0.0, 0.0), (0.0, third), (2.0, third), (2.0, 0.0)], joined.to_vec()]);
    }
}
