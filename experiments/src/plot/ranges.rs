//! Experiments one below the other: the median, the mean and the 99th percentile of each on one logarithmic axis.

use super::{
    Drawn, Figure, GRID, SOFT,
    axis::{MarkedAxis, log_ticks, tick},
    font,
    marks::SERIES,
    titled,
};
use crate::measure::Statistics;
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

const ROW_HEIGHT: u32 = 46;
/// For the axis, the title and the key.
const FRAME_HEIGHT: u32 = 190;
/// For the names of the rows.
const NAMES_WIDTH: u32 = 470;

/// One experiment.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is.
    pub name: String,
    /// Its latencies.
    pub statistics: Statistics,
    /// Rows of one group have one colour.
    pub group: usize,
}

/// Experiments one below the other.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The first line is the largest.
    pub title: Vec<String>,
    /// From top to bottom.
    pub rows: Vec<Row>,
}

impl Figure for Rows {
    fn size(&self) -> (u32, u32) {
        (1_200, FRAME_HEIGHT + ROW_HEIGHT * self.rows.len() as u32)
    }

    fn description(&self) -> String {
        let row = |row: &Row| {
            let Statistics { mean, p50, p99, .. } = row.statistics;
            format!("{}: median {}, mean {}, P99 {} ms", row.name, tick(&p50), tick(&mean), tick(&p99))
        };
        let rows: Vec<String> = self.rows.iter().map(row).collect();
        format!("Latencies of experiments one below the other. {}. {}.", self.title.join(", "), rows.join("; "))
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let key = "filled: median, hollow: mean, bar: from the median to the 99th percentile".to_owned();
        let rest = titled(area, &[self.title.as_slice(), &[key]].concat())?;
        let least = self.rows.iter().map(|row| row.statistics.p50.min(row.statistics.mean));
        let low = least.fold(f64::MAX, f64::min) / 1.5;
        let high =
            self.rows.iter().map(|row| row.statistics.p99.max(row.statistics.mean)).fold(f64::MIN, f64::max) * 1.5;
        let ticks: Vec<f64> = log_ticks(low, high).into_iter().map(libm::log10).collect();
        let count = self.rows.len() as f64;
        let mut chart = ChartBuilder::on(&rest)
            .margin(12)
            .margin_right(30)
            .x_label_area_size(58)
            .y_label_area_size(NAMES_WIDTH)
            .build_cartesian_2d(
                MarkedAxis { range: libm::log10(low)..libm::log10(high), marks: ticks },
                -0.5..count - 0.5,
            )?;
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .disable_y_mesh()
            .x_desc("latency of the try that ended a task, in ms (logarithmic)")
            .x_labels(20)
            .x_label_formatter(&|at| tick(&libm::exp10(*at)))
            .y_labels(0)
            .label_style(font(17))
            .axis_desc_style(font(19))
            .draw()?;
        for (place, row) in self.rows.iter().enumerate() {
            let y = count - 1.0 - place as f64;
            let colour = SERIES[row.group % SERIES.len()];
            if place > 0 && row.group != self.rows[place - 1].group {
                let between = [libm::log10(low), libm::log10(high)].map(|x| (x, y + 0.5));
                chart.draw_series([PathElement::new(between, SOFT)])?;
            }
            let at = |value: f64| (libm::log10(value), y);
            let Statistics { mean, p50, p99, .. } = row.statistics;
            chart.draw_series([PathElement::new([at(p50), at(p99)], colour.mix(0.45).stroke_width(8))])?;
            chart.draw_series([
                Circle::new(at(p50), 7, colour.filled()),
                Circle::new(at(mean), 7, WHITE.filled()),
                Circle::new(at(mean), 7, colour.stroke_width(3)),
            ])?;
            let (x, y) = chart.backend_coord(&(libm::log10(low), y));
            let style = font(17).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw(&Text::new(row.name.clone(), (x - 12, y), style))?;
        }
        Ok(())
    }
}
