//! A quantity over a whole number, router replicas for one, a line a series.

use super::{
    Drawn, Figure, GRID, INK,
    axis::{MarkedAxis, linear_ticks, log_ticks, tick},
    font,
    legend::{self, Entry, Symbol},
    marks::{Marker, Pixel, Stroke, draw_line, draw_marker, marker, stroke},
    titled,
};
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use std::collections::{BTreeMap, BTreeSet};

/// A measured point, with how far its runs are apart.
#[derive(Clone, Debug)]
pub struct Point {
    /// Where it stands on the x axis.
    pub x: u32,
    /// Median over the seeds.
    pub value: f64,
    /// Where its whisker begins: at the smallest over the seeds, if nothing else is said.
    pub min: f64,
    /// Where it ends.
    pub max: f64,
    /// What the run has otherwise than most of its curve, apart from `x`. Only points with the same setting
    /// are joined, since a line says that nothing but the axis changes along it.
    pub setting: Option<String>,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Curve {
    /// For the legend.
    pub name: String,
    /// By x.
    pub points: Vec<Point>,
    /// Drawn dotted and hollow: not ours.
    pub foreign: bool,
    /// Lines of one colour belong together.
    pub colour: usize,
}

impl Curve {
    fn stroke(&self) -> Stroke {
        let own = stroke(self.colour);
        if self.foreign { Stroke { width: 2, dashes: &[3.0, 8.0], ..own } } else { own }
    }

    fn marker(&self) -> Marker {
        marker(self.colour, self.foreign)
    }

    /// The points that a line may join, each group for itself.
    fn joined(&self) -> Vec<Vec<&Point>> {
        let mut groups: BTreeMap<Option<&str>, Vec<&Point>> = BTreeMap::new();
        for point in &self.points {
            groups.entry(point.setting.as_deref()).or_default().push(point);
        }
        groups.into_values().collect()
    }
}

/// Lines over a logarithmic axis.
#[derive(Clone, Debug)]
pub struct Lines {
    /// The first line is the largest.
    pub title: Vec<String>,
    /// What the points differ in, and its unit.
    pub x: String,
    /// The quantity and its unit.
    pub y: String,
    /// Whether the y axis is logarithmic; then all values must be positive.
    pub log_y: bool,
    /// The lines.
    pub curves: Vec<Curve>,
}

impl Lines {
    fn points(&self) -> impl Iterator<Item = &Point> {
        self.curves.iter().flat_map(|curve| &curve.points)
    }

    /// Where the x axis has its marks: where something was measured.
    fn marks(&self) -> Vec<f64> {
        let measured: BTreeSet<u32> = self.points().map(|point| point.x).collect();
        measured.into_iter().map(|x| libm::log10(f64::from(x))).collect()
    }

    /// The place of `value` on the drawn y axis.
    fn height(&self, value: f64) -> f64 {
        if self.log_y { libm::log10(value.max(f64::MIN_POSITIVE)) } else { value }
    }

    fn range(&self) -> (f64, f64) {
        let all = self.points();
        let (low, high) =
            all.fold((f64::MAX, f64::MIN), |(low, high), point| (low.min(point.min), high.max(point.max)));
        let has_settings = self.points().any(|point| point.setting.is_some());
        match (self.log_y, has_settings) {
            (true, false) => (low / 1.6, high * 1.6),
            // Room for the words above the highest point.
            (true, true) => (low / 1.6, high * 1.6 * libm::exp10(libm::log10(high / low) * 0.06)),
            (false, false) => (0.0, high * 1.12),
            (false, true) => (0.0, high * 1.2),
        }
    }

    fn legend(&self) -> Vec<Entry> {
        let entry = |curve: &Curve| {
            let joins = curve.joined().iter().any(|points| points.len() > 1);
            let marker = curve.marker();
            let symbol = if joins { Symbol::Line(curve.stroke(), Some(marker)) } else { Symbol::Point(marker) };
            Entry { text: curve.name.clone(), symbol }
        };
        self.curves.iter().map(entry).collect()
    }

    fn draw_data<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
        at: &impl Fn(u32, f64) -> Pixel,
    ) -> Drawn<DB> {
        for curve in &self.curves {
            for points in curve.joined() {
                let line: Vec<Pixel> = points.iter().map(|point| at(point.x, point.value)).collect();
                draw_line(area, &line, curve.stroke())?;
            }
            for point in &curve.points {
                if point.max > point.min {
                    let whisker = [at(point.x, point.min), at(point.x, point.max)];
                    draw_line(area, &whisker, Stroke { dashes: &[], ..curve.stroke() })?;
                }
                draw_marker(area, at(point.x, point.value), curve.marker())?;
            }
        }
        Ok(())
    }

    /// Says what is special about points that stand alone, above the highest of them with the same setting.
    fn draw_settings<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
        at: &impl Fn(u32, f64) -> Pixel,
    ) -> Drawn<DB> {
        let mut labels: BTreeMap<(u32, &str), f64> = BTreeMap::new();
        for point in self.points() {
            if let Some(setting) = &point.setting {
                let highest = labels.entry((point.x, setting)).or_insert(point.max);
                *highest = highest.max(point.max);
            }
        }
        let mut rows: BTreeMap<u32, i32> = BTreeMap::new();
        for ((at_x, setting), highest) in labels {
            // Several settings at one place stand above each other.
            let row = rows.entry(at_x).or_default();
            let (x, y) = at(at_x, highest);
            let style = font(17).color(&INK).pos(Pos::new(HPos::Center, VPos::Bottom));
            area.draw(&Text::new(setting.to_owned(), (x, y - 12 - 20 * *row), style))?;
            *row += 1;
        }
        Ok(())
    }
}

impl Figure for Lines {
    fn size(&self) -> (u32, u32) {
        (1_200, 640)
    }

    fn description(&self) -> String {
        let point = |point: &Point| {
            let setting = point.setting.as_ref().map_or(String::new(), |setting| format!(" ({setting})"));
            format!("{} at {}{setting}", tick(&point.value), point.x)
        };
        let curves = self.curves.iter().map(|curve| {
            let points: Vec<String> = curve.points.iter().map(point).collect();
            format!("{}: {}", curve.name, points.join(", "))
        });
        let curves: Vec<String> = curves.collect();
        format!("{}. {}, over {}. {}.", self.title.join(", "), self.y, self.x, curves.join("; "))
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let rest = legend::draw(&titled(area, &self.title)?, &self.legend())?;
        let (low, high) = self.range();
        let marks = self.marks();
        let (first, last) = (marks.first().copied().unwrap_or(0.0), marks.last().copied().unwrap_or(1.0));
        let margin = ((last - first) * 0.06).max(0.05);
        let heights: Vec<f64> = if self.log_y {
            log_ticks(low, high).into_iter().map(libm::log10).collect()
        } else {
            linear_ticks(low, high)
        };
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
            .x_desc(format!("{} (logarithmic)", self.x))
            .y_desc(&self.y)
            .x_labels(20)
            .y_labels(20)
            .x_label_formatter(&|at| tick(&libm::exp10(*at).round()))
            .y_label_formatter(&|at| tick(&if self.log_y { libm::exp10(*at) } else { *at }))
            .label_style(font(17))
            .axis_desc_style(font(19))
            .draw()?;
        let at = |x, value| chart.backend_coord(&(libm::log10(f64::from(x)), self.height(value)));
        self.draw_data(area, &at)?;
        self.draw_settings(area, &at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_points_with_the_same_setting_are_joined() {
        let point = |x, setting: Option<&str>| Point {
            x,
            value: f64::from(x),
            min: 1.0,
            max: 2.0,
            setting: setting.map(str::to_owned),
        };
        let points = vec![point(2, None), point(10, None), point(20, Some("10 gateways")), point(100, None)];
        let curve = Curve { name: "P50".into(), points, foreign: false, colour: 0 };
        let joined: Vec<Vec<u32>> =
            curve.joined().iter().map(|points| points.iter().map(|point| point.x).collect()).collect();
        assert_eq!(joined, [vec![2, 10, 100], vec![20]]);
        let lines = Lines { title: vec!["x".into()], x: "n".into(), y: "y".into(), log_y: true, curves: vec![curve] };
        let svg = lines.svg().unwrap();
        assert!(svg.split("<text").any(|text| text.contains("10 gateways")), "the point that stands alone says why");
        assert!(lines.description().contains("20 at 20 (10 gateways)"));
    }
}
