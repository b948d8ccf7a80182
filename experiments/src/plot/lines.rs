//! A quantity over the number of router replicas, a line a series.

use super::{
    Drawn, Figure, GRID, SERIES, along, axis::MarkedAxis, draw_legend, emptiest, font, log_ticks, tick, titled,
};
use plotters::{coord::Shift, prelude::*};

/// A measured point, with how far its runs are apart.
#[derive(Clone, Debug)]
pub struct Point {
    /// Router replicas.
    pub replicas: u32,
    /// Median over the seeds.
    pub value: f64,
    /// Smallest over the seeds.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Curve {
    /// For the legend.
    pub name: String,
    /// By replicas.
    pub points: Vec<Point>,
    /// Drawn dashed and hollow: not ours.
    pub foreign: bool,
    /// Lines of one colour belong together.
    pub colour: usize,
}

/// FanOut lines over the replicas.
#[derive(Clone, Debug)]
pub struct Lines {
    /// The first line is the largest.
    pub title: Vec<String>,
    /// The quantity and its unit.
    pub y: String,
    /// Whether the y axis is logarithmic; then all values must be positive.
    pub log_y: bool,
    /// The lines.
    pub curves: Vec<Curve>,
}

type Chart<'a, DB> = ChartContext<'a, DB, Cartesian2d<MarkedAxis, MarkedAxis>>;

impl Lines {
    fn points(&self) -> impl Iterator<Item = &Point> {
        self.curves.iter().flat_map(|curve| &curve.points)
    }

    /// Where the x axis has its marks: at the replicas that were measured. The axis is logarithmic.
    fn marks(&self) -> Vec<f64> {
        let mut replicas: Vec<u32> = self.points().map(|point| point.replicas).collect();
        replicas.sort_unstable();
        replicas.dedup();
        replicas.into_iter().map(|replicas| libm::log10(f64::from(replicas))).collect()
    }

    /// The place of `value` on the drawn y axis.
    fn height(&self, value: f64) -> f64 {
        if self.log_y { libm::log10(value.max(f64::MIN_POSITIVE)) } else { value }
    }

    fn range(&self) -> (f64, f64) {
        let all = self.points();
        let (low, high) =
            all.fold((f64::MAX, f64::MIN), |(low, high), point| (low.min(point.min), high.max(point.max)));
        if self.log_y { (low / 1.6, high * 1.6) } else { (0.0, high * 1.12) }
    }

    /// Where the legend covers least, between the ends of the drawn axes.
    fn legend(&self, x: (f64, f64), y: (f64, f64)) -> SeriesLabelPosition {
        let share = |value: f64, (low, high): (f64, f64)| (value - low) / (high - low);
        let place =
            |point: &Point| (share(libm::log10(f64::from(point.replicas)), x), share(self.height(point.value), y));
        let lines = self.curves.iter().map(|curve| curve.points.iter().map(place).collect::<Vec<_>>());
        emptiest(&lines.flat_map(|line| along(&line).collect::<Vec<_>>()).collect::<Vec<_>>())
    }

    fn draw_curves<'a, DB: DrawingBackend + 'a>(&self, chart: &mut Chart<'a, DB>) -> Drawn<DB> {
        for curve in &self.curves {
            let (colour, foreign) = (SERIES[curve.colour % SERIES.len()], curve.foreign);
            let at = |point: &Point, value: f64| (libm::log10(f64::from(point.replicas)), self.height(value));
            let line = curve.points.iter().map(|point| at(point, point.value));
            let style = colour.stroke_width(if foreign { 2 } else { 3 });
            let inside = if foreign { WHITE.filled() } else { colour.filled() };
            let series = if foreign {
                chart.draw_series(DashedLineSeries::new(line, 7, 6, style))?
            } else {
                chart.draw_series(LineSeries::new(line, style))?
            };
            series.label(&curve.name).legend(move |at| {
                let dash = |from: i32, to: i32| PathElement::new([(from, 0), (to, 0)], style);
                let gap = if foreign { 4 } else { 0 };
                EmptyElement::at(at)
                    + dash(0, 15 - gap)
                    + dash(15 + gap, 30)
                    + Circle::new((15, 0), 5, inside)
                    + Circle::new((15, 0), 5, colour.stroke_width(2))
            });
            let whiskers = curve.points.iter().filter(|point| point.max > point.min);
            let whisker = |point| PathElement::new([at(point, point.min), at(point, point.max)], style);
            chart.draw_series(whiskers.map(whisker))?;
            let marks = curve.points.iter().flat_map(|point| {
                let place = at(point, point.value);
                [Circle::new(place, 6, inside), Circle::new(place, 6, colour.stroke_width(2))]
            });
            chart.draw_series(marks)?;
        }
        Ok(())
    }
}

impl Figure for Lines {
    fn size(&self) -> (u32, u32) {
        (1_200, 640)
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let rest = titled(area, &self.title)?;
        let (low, high) = self.range();
        let marks = self.marks();
        let (first, last) = (marks.first().copied().unwrap_or(0.0), marks.last().copied().unwrap_or(1.0));
        let margin = ((last - first) * 0.06).max(0.05);
        let heights: Vec<f64> = if self.log_y {
            log_ticks(low, high).into_iter().map(libm::log10).collect()
        } else {
            let step = step(high);
            (0..).map(|i| f64::from(i) * step).take_while(|tick| *tick <= high).collect()
        };
        let legend = self.legend((first - margin, last + margin), (self.height(low), self.height(high)));
        let mut chart = ChartBuilder::on(&rest)
            .margin(12)
            .margin_right(30)
            .x_label_area_size(58)
            .y_label_area_size(94)
            .build_cartesian_2d(
                MarkedAxis { range: first - margin..last + margin, marks },
                MarkedAxis { range: self.height(low)..self.height(high), marks: heights },
            )?;
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .x_desc("router replicas (logarithmic)")
            .y_desc(&self.y)
            .x_labels(20)
            .y_labels(20)
            .x_label_formatter(&|at| tick(&libm::exp10(*at).round()))
            .y_label_formatter(&|at| tick(&if self.log_y { libm::exp10(*at) } else { *at }))
            .label_style(font(17))
            .axis_desc_style(font(19))
            .draw()?;
        self.draw_curves(&mut chart)?;
        draw_legend(&mut chart, legend, 42)
    }
}

/// A step of 1, 2 or 5 times a power of ten that gives five to ten marks.
fn step(high: f64) -> f64 {
    let power = libm::exp10(libm::log10(high / 10.0).ceil());
    [0.2, 0.5].into_iter().map(|part| part * power).find(|step| high / step <= 10.0).unwrap_or(power)
}

#[cfg(test)]
mod tests {
    use super::step;

    #[test]
    fn steps_are_round() {
        assert_eq!([8.0, 45.0, 112.0, 1_900.0].map(step), [1.0, 5.0, 20.0, 200.0]);
    }
}
