//! What happened over time: panels one above the other, with one time axis.

use super::{
    Drawn, Figure, GRID,
    axis::{MarkedAxis, linear_tick, linear_ticks, log_ticks, tick},
    font,
    legend::{self, Entry, Symbol},
    marks::{Fill, Pixel, Stroke, draw_bar, draw_line, stroke},
    titled,
};
use plotters::{coord::Shift, prelude::*};

const WIDTH_PIXELS: u32 = 1_200;
const PANEL_PIXELS: u32 = 210;
const TITLE_PIXELS: u32 = 90;
/// For the numbers and the name of the time axis.
const AXIS_PIXELS: u32 = 58;
/// From more than so many seconds on, minutes are counted, and hours from so many minutes.
/// Of a time in which something was broken: behind all lines, and pale.
const BROKEN: RGBColor = RGBColor(255, 226, 214);
const BAND_FONT_PIXELS: u32 = 14;
const UNITS: [(f64, f64, &str); 3] = [(7_200.0, 3_600.0, "hours"), (180.0, 60.0, "minutes"), (0.0, 1.0, "seconds")];

/// One quantity of a panel.
#[derive(Clone, Debug)]
pub struct Trace {
    /// For the legend.
    pub name: String,
    /// Seconds from the beginning, and the value.
    pub points: Vec<(f64, f64)>,
}

/// What heights mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From 0.
    Linear,
    /// Values of 0 are left out.
    Logarithmic,
}

/// Quantities of one unit.
#[derive(Clone, Debug)]
pub struct Panel {
    /// The unit.
    pub y: String,
    /// What heights mean.
    pub scale: Scale,
    /// The lines.
    pub traces: Vec<Trace>,
}

/// A time in which something was otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// What.
    pub name: String,
    /// Seconds from the beginning.
    pub from_s: f64,
    /// To the end, if it is later.
    pub to_s: f64,
}

/// Panels with one time axis.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// The first line is the largest.
    pub title: Vec<String>,
    /// From top to bottom.
    pub panels: Vec<Panel>,
    /// Behind all panels; their names stand in the first.
    pub bands: Vec<Band>,
}

impl Panel {
    fn values(&self) -> impl Iterator<Item = f64> {
        let all = self.traces.iter().flat_map(|trace| &trace.points).map(|point| point.1);
        all.filter(|value| self.scale == Scale::Linear || *value > 0.0)
    }

    fn range(&self) -> (f64, f64) {
        let widen = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
        let (low, high) = self.values().fold((f64::MAX, 0.0), widen);
        match self.scale {
            Scale::Linear => (0.0, if high > 0.0 { high * 1.1 } else { 1.0 }),
            Scale::Logarithmic if high > 0.0 => (low / 1.3, high * 1.3),
            Scale::Logarithmic => (1.0, 10.0),
        }
    }

    /// The place of `value` on the drawn axis.
    fn height(&self, value: f64) -> f64 {
        if self.scale == Scale::Logarithmic { libm::log10(value) } else { value }
    }

    /// `whole`: the picture, of which `area` is the panel's part. `unit_s`: of the time axis, which is written below
    /// the last panel.
    fn draw<DB: DrawingBackend>(
        &self,
        (whole, area): (&DrawingArea<DB, Shift>, &DrawingArea<DB, Shift>),
        (end_s, unit_s): (f64, f64),
        (time, bands, names_bands): (Option<&str>, &[Band], bool),
    ) -> Drawn<DB> {
        let entry = |(place, trace): (usize, &Trace)| {
            let symbol = Symbol::Line(stroke(place), None);
            Entry { text: trace.name.clone(), symbol }
        };
        let entries: Vec<Entry> = self.traces.iter().enumerate().map(entry).collect();
        let rest = legend::draw(area, &entries)?;
        let (low, high) = self.range();
        let marks: Vec<f64> = match self.scale {
            Scale::Linear => linear_ticks(low, high),
            Scale::Logarithmic => log_ticks(low, high).into_iter().map(libm::log10).collect(),
        };
        let marks_shown = marks.clone();
        let end = end_s / unit_s;
        let mut chart = ChartBuilder::on(&rest)
            .margin_right(30)
            .margin_left(12)
            .x_label_area_size(if time.is_some() { AXIS_PIXELS } else { 8 })
            .y_label_area_size(94)
            .build_cartesian_2d(
                MarkedAxis { range: 0.0..end, marks: linear_ticks(0.0, end) },
                MarkedAxis { range: self.height(low)..self.height(high), marks },
            )?;
        let linear = linear_tick(&marks_shown);
        let number = |at: &f64| if self.scale == Scale::Logarithmic { tick(&libm::exp10(*at)) } else { linear(at) };
        let nothing = |_: &f64| String::new();
        let mut mesh = chart.configure_mesh();
        mesh.bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .y_desc(&self.y)
            .x_labels(24)
            .y_labels(8)
            .y_label_formatter(&number)
            .label_style(font(16))
            .axis_desc_style(font(18));
        match time {
            Some(time) => mesh.x_desc(time).x_label_formatter(&tick).draw()?,
            None => mesh.x_label_formatter(&nothing).draw()?,
        }
        draw_bands(whole, bands, names_bands, |at_s, high_end| {
            chart.backend_coord(&(at_s.clamp(0.0, end_s) / unit_s, self.height(if high_end { high } else { low })))
        })?;
        for (place, trace) in self.traces.iter().enumerate() {
            let shown = trace.points.iter().filter(|point| self.scale == Scale::Linear || point.1 > 0.0);
            let line: Vec<Pixel> =
                shown.map(|(at_s, value)| chart.backend_coord(&(at_s / unit_s, self.height(*value)))).collect();
            draw_line(whole, &line, Stroke { width: 2, ..stroke(place) })?;
        }
        Ok(())
    }
}

/// `pixel`: where a moment is, at the upper end of the panel or at the lower.
fn draw_bands<DB: DrawingBackend>(
    whole: &DrawingArea<DB, Shift>,
    bands: &[Band],
    with_names: bool,
    pixel: impl Fn(f64, bool) -> Pixel,
) -> Drawn<DB> {
    for (place, band) in (0..).zip(bands) {
        let [from, to] = [pixel(band.from_s, true), pixel(band.to_s, false)];
        // What takes no time is seen, too.
        let to = (to.0.max(from.0 + 2), to.1);
        draw_bar(whole, [from, to], Fill { colour: BROKEN, edge: BROKEN, hatch: None })?;
        if with_names {
            let row = place % 6 * (BAND_FONT_PIXELS as i32 + 3);
            whole.draw(&Text::new(band.name.clone(), (from.0 + 4, from.1 + 3 + row), font(BAND_FONT_PIXELS)))?;
        }
    }
    Ok(())
}

impl Timeline {
    fn end_s(&self) -> f64 {
        let points = self.panels.iter().flat_map(|panel| &panel.traces).flat_map(|trace| &trace.points);
        points.map(|point| point.0).fold(1.0, f64::max)
    }
}

impl Figure for Timeline {
    fn size(&self) -> (u32, u32) {
        (WIDTH_PIXELS, TITLE_PIXELS + PANEL_PIXELS * self.panels.len() as u32 + AXIS_PIXELS)
    }

    fn description(&self) -> String {
        let trace = |panel: &Panel, trace: &Trace| {
            let high = trace.points.iter().map(|point| point.1).fold(0.0, f64::max);
            format!("{} up to {} {}", trace.name, tick(&high), panel.y)
        };
        let all = self.panels.iter().flat_map(|panel| panel.traces.iter().map(move |one| trace(panel, one)));
        let band = |band: &Band| format!(" From {} s: {}.", tick(&band.from_s), band.name);
        let bands: String = self.bands.iter().map(band).collect();
        format!("Over time. {}. {}.{bands}", self.title.join(", "), all.collect::<Vec<_>>().join("; "))
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let end_s = self.end_s();
        let (_, unit_s, unit) = UNITS.into_iter().find(|(from_s, ..)| end_s > *from_s).unwrap_or(UNITS[2]);
        let time = format!("{unit} from the first task");
        let mut rest = titled(area, &self.title)?;
        for (place, panel) in self.panels.iter().enumerate() {
            let is_last = place + 1 == self.panels.len();
            let (upper, lower) = rest.split_vertically(if is_last { PANEL_PIXELS + AXIS_PIXELS } else { PANEL_PIXELS });
            let labels = (is_last.then_some(time.as_str()), self.bands.as_slice(), place == 0);
            panel.draw((area, &upper), (end_s, unit_s), labels)?;
            rest = lower;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_panels_are_drawn_over_one_axis_in_a_unit_that_fits() {
        let trace = |name: &str, high| Trace { name: name.into(), points: vec![(0.0, 0.0), (86_000.0, high)] };
        let panel = |y: &str, scale, high| Panel { y: y.into(), scale, traces: vec![trace("came", high)] };
        let panels = vec![panel("tasks/s", Scale::Linear, 5.0), panel("ms", Scale::Logarithmic, 300.0)];
        let timeline = Timeline { title: vec!["a day".into()], panels, bands: Vec::new() };
        let svg = timeline.svg().unwrap();
        assert_eq!(svg.matches("hours from the first task").count(), 1);
        assert!(timeline.description().contains("came up to 5 tasks/s; came up to 300 ms"));
    }

    #[test]
    fn what_was_broken_lies_behind_all_panels_and_is_named_once() {
        let trace = Trace { name: "done".into(), points: vec![(0.0, 1.0), (60.0, 2.0)] };
        let panel = Panel { y: "tasks/s".into(), scale: Scale::Linear, traces: vec![trace] };
        let band = Band { name: "redis: freeze".into(), from_s: 20.0, to_s: f64::INFINITY };
        let timeline = Timeline { title: vec!["x".into()], panels: vec![panel.clone(), panel], bands: vec![band] };
        let svg = timeline.svg().unwrap();
        assert_eq!((svg.matches("redis: freeze\n").count(), svg.matches("#FFE2D6").count() >= 2), (1, true), "{svg}");
        assert!(timeline.description().contains("From 20 s: redis: freeze."));
    }

    #[test]
    fn a_panel_in_which_nothing_happened_is_drawn_too() {
        let traces = vec![Trace { name: "p99".into(), points: Vec::new() }];
        let panels =
            [Scale::Linear, Scale::Logarithmic].map(|scale| Panel { y: "ms".into(), scale, traces: traces.clone() });
        let timeline = Timeline { title: vec!["nothing".into()], panels: panels.into(), bands: Vec::new() };
        assert!(timeline.svg().unwrap().contains("seconds from the first task"));
    }
}
