//! What heights consist of: bars of stacked shares side by side, a panel for each run.

use super::{
    Drawn, Figure, GRID,
    axis::{MarkedAxis, linear_tick, linear_ticks},
    font,
    legend::{self, Entry, Symbol},
    marks::{Fill, SERIES, draw_bar},
    titled,
};
use plotters::{coord::Shift, prelude::*};

const WIDTH_PIXELS: u32 = 1_200;
const PANEL_PIXELS: u32 = 430;
const TITLE_PIXELS: u32 = 90;
const LEGEND_PIXELS: u32 = 60;
/// Of all that has no colour of its own.
const PALE: RGBColor = RGBColor(205, 205, 205);

/// One bar: the height of each series.
#[derive(Clone, Debug, PartialEq)]
pub struct Stack {
    /// From the bottom to the top.
    pub heights: Vec<f64>,
}

/// The bars of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct StackPanel {
    /// Which run.
    pub title: String,
    /// From 0 to 100 % of the tasks.
    pub stacks: Vec<Stack>,
}

/// Panels of stacked bars with one legend.
#[derive(Clone, Debug, PartialEq)]
pub struct Stacks {
    /// The first line is the largest.
    pub title: Vec<String>,
    /// What the parts of a bar are, from the bottom to the top. The last one is drawn in grey.
    pub series: Vec<String>,
    /// What goes from 0 to 100.
    pub x: String,
    /// The unit of heights.
    pub y: String,
    /// From top to bottom.
    pub panels: Vec<StackPanel>,
}

impl Stack {
    fn height(&self) -> f64 {
        self.heights.iter().sum()
    }
}

impl Stacks {
    /// The look of a series: those beyond the colours are hatched.
    fn fill(&self, place: usize) -> Fill {
        if place + 1 == self.series.len() {
            return Fill { colour: PALE, edge: PALE, hatch: None };
        }
        let colour = SERIES[place % SERIES.len()];
        Fill { colour, edge: colour, hatch: (place >= SERIES.len()).then_some(WHITE) }
    }

    fn draw_panel<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, panel: &StackPanel) -> Drawn<DB> {
        let high = panel.stacks.iter().map(Stack::height).fold(0.0, f64::max);
        let high = if high > 0.0 { high * 1.06 } else { 1.0 };
        let up = linear_ticks(0.0, high);
        let mut chart = ChartBuilder::on(area)
            .margin_left(12)
            .margin_right(30)
            .caption(&panel.title, font(20))
            .x_label_area_size(54)
            .y_label_area_size(94)
            .build_cartesian_2d(
                MarkedAxis { range: 0.0..100.0, marks: linear_ticks(0.0, 100.0) },
                MarkedAxis { range: 0.0..high, marks: up.clone() },
            )?;
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .x_desc(&self.x)
            .y_desc(&self.y)
            .x_labels(20)
            .y_labels(20)
            .x_label_formatter(&linear_tick(&linear_ticks(0.0, 100.0)))
            .y_label_formatter(&linear_tick(&up))
            .label_style(font(16))
            .axis_desc_style(font(18))
            .draw()?;
        let width = 100.0 / panel.stacks.len().max(1) as f64;
        for (place, stack) in panel.stacks.iter().enumerate() {
            let left = place as f64 * width;
            let mut bottom = 0.0;
            for (series, height) in stack.heights.iter().enumerate() {
                let corners = [(left + width * 0.06, bottom + height), (left + width * 0.94, bottom)];
                let [(x0, y0), (x1, y1)] = corners.map(|corner| chart.backend_coord(&corner));
                if y1 > y0 {
                    draw_bar(area, [(x0, y0), (x1, y1)].map(|(x, y)| place_within(area, (x, y))), self.fill(series))?;
                }
                bottom += height;
            }
        }
        Ok(())
    }
}

/// A pixel of the whole picture as one of this part of it.
fn place_within<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, (x, y): (i32, i32)) -> (i32, i32) {
    let (left, top) = area.get_base_pixel();
    (x - left, y - top)
}

impl Figure for Stacks {
    fn size(&self) -> (u32, u32) {
        (WIDTH_PIXELS, TITLE_PIXELS + LEGEND_PIXELS + PANEL_PIXELS * self.panels.len() as u32)
    }

    fn description(&self) -> String {
        let mut parts = vec![self.title.join(", ")];
        for panel in &self.panels {
            let all: f64 = panel.stacks.iter().map(Stack::height).sum();
            let share = |series: usize| {
                let own: f64 = panel.stacks.iter().map(|stack| stack.heights[series]).sum();
                own / if all > 0.0 { all } else { 1.0 } * 100.0
            };
            let mut shares: Vec<(f64, &String)> =
                self.series.iter().enumerate().map(|(i, name)| (share(i), name)).collect();
            shares.sort_by(|a, b| b.0.total_cmp(&a.0));
            let shares: Vec<String> = shares
                .into_iter()
                .filter(|(share, _)| *share >= 0.05)
                .map(|(share, name)| format!("{name} {share:.1} %"))
                .collect();
            parts.push(format!("{}: {}", panel.title, shares.join(", ")));
        }
        parts.join(". ") + "."
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let rest = titled(area, &self.title)?;
        let entry =
            |(place, name): (usize, &String)| Entry { text: name.clone(), symbol: Symbol::Bar(self.fill(place)) };
        let mut rest = legend::draw(&rest, &self.series.iter().enumerate().map(entry).collect::<Vec<_>>())?;
        let height = rest.dim_in_pixel().1 / self.panels.len().max(1) as u32;
        for (place, panel) in self.panels.iter().enumerate() {
            if place + 1 == self.panels.len() {
                return self.draw_panel(&rest, panel);
            }
            let (upper, lower) = rest.split_vertically(height);
            self.draw_panel(&upper, panel)?;
            rest = lower;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stacks() -> Stacks {
        let panel = |title: &str| StackPanel {
            title: title.into(),
            stacks: vec![Stack { heights: vec![1.0, 3.0] }, Stack { heights: vec![0.0, 4.0] }],
        };
        Stacks {
            title: vec!["why".into()],
            series: vec!["links".into(), "all else".into()],
            x: "percentile".into(),
            y: "ms".into(),
            panels: vec![panel("one"), panel("two")],
        }
    }

    #[test]
    fn every_run_has_its_panel_and_says_its_shares() {
        let svg = stacks().svg().unwrap();
        assert!(svg.contains("\none\n") && svg.contains("\ntwo\n"), "{svg}");
        assert!(stacks().description().contains("two: all else 87.5 %, links 12.5 %"), "{}", stacks().description());
    }

    #[test]
    fn bars_stay_within_the_picture() {
        let svg = stacks().svg().unwrap();
        let (_, high) = stacks().size();
        let bottoms = svg.split("<rect ").skip(1).filter_map(|rect| {
            let number = |key: &str| rect.split(&format!("{key}=\"")).nth(1)?.split('"').next()?.parse::<u32>().ok();
            Some(number("y")? + number("height")?)
        });
        let bottoms: Vec<u32> = bottoms.collect();
        assert!(bottoms.len() > 6 && bottoms.iter().all(|bottom| *bottom <= high), "{bottoms:?}");
    }
}
