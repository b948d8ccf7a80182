//! What data are drawn with: lines, points, bars. Series differ by more than their colour, for those who see no
//! colours, or print without them.

use super::Drawn;
use plotters::{coord::Shift, prelude::*};

/// A place in a picture, in pixels.
pub(super) type Pixel = (i32, i32);

/// Colours that must be told apart, also by most colour-blind people (Okabe and Ito; dark grey instead of their
/// yellow, which is too pale for a line).
pub(super) const SERIES: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(70, 70, 70),
    RGBColor(86, 180, 233),
];
/// From one line of a hatch to the next, along the row.
const HATCH_PIXELS: i32 = 9;

/// What one series' points are drawn as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
    /// A triangle on its tip.
    Tip,
    Cross,
    /// Upright, and narrow.
    Bar,
}

/// A point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) shape: Shape,
    pub(super) colour: RGBColor,
    /// Only an outline.
    pub(super) hollow: bool,
    /// From its middle to its edge.
    pub(super) radius: i32,
}

/// A line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stroke {
    pub(super) colour: RGBColor,
    pub(super) width: u32,
    /// In pixels, drawn and left out in turn, an even number of them; empty: unbroken.
    pub(super) dashes: &'static [f64],
}

/// The inside of a bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fill {
    pub(super) colour: RGBColor,
    pub(super) edge: RGBColor,
    /// Of slanted lines across it.
    pub(super) hatch: Option<RGBColor>,
}

/// The line of a series by its place among them.
pub(super) fn stroke(place: usize) -> Stroke {
    const DASHES: [&[f64]; 6] =
        [&[], &[14.0, 6.0], &[4.0, 6.0], &[16.0, 5.0, 3.0, 5.0], &[28.0, 7.0], &[8.0, 4.0, 3.0, 4.0, 3.0, 4.0]];
    Stroke { colour: SERIES[place % SERIES.len()], width: 3, dashes: DASHES[place % DASHES.len()] }
}

/// The points of a series by its place among them. Later ones are smaller, and hollow ones larger, so that one can see
/// all of those that lie on each other.
pub(super) fn marker(place: usize, hollow: bool) -> Marker {
    const SHAPES: [(Shape, i32); 6] = [
        (Shape::Circle, 8),
        (Shape::Square, 7),
        (Shape::Triangle, 6),
        (Shape::Diamond, 6),
        (Shape::Tip, 5),
        (Shape::Cross, 5),
    ];
    let (shape, radius) = SHAPES[place % SHAPES.len()];
    Marker { shape, colour: SERIES[place % SERIES.len()], hollow, radius: radius + if hollow { 3 } else { 0 } }
}

/// Draws a line through `points`.
pub(super) fn draw_line<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    points: &[Pixel],
    stroke: Stroke,
) -> Drawn<DB> {
    // plotters bends a line where a point of it is there twice.
    let mut points = points.to_vec();
    points.dedup();
    for piece in dashed(&points, stroke.dashes) {
        area.draw(&PathElement::new(piece, stroke.colour.stroke_width(stroke.width)))?;
    }
    Ok(())
}

/// Draws a point.
pub(super) fn draw_marker<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    (x, y): Pixel,
    marker: Marker,
) -> Drawn<DB> {
    let Marker { shape, colour, hollow, radius: r } = marker;
    let corners: Vec<Pixel> = match shape {
        Shape::Circle if hollow => return area.draw(&Circle::new((x, y), r, colour.stroke_width(2))),
        Shape::Circle => return area.draw(&Circle::new((x, y), r, colour.filled())),
        Shape::Square => vec![(-r, -r), (r, -r), (r, r), (-r, r)],
        Shape::Triangle => vec![(0, -r * 4 / 3), (r * 7 / 6, r * 5 / 6), (-r * 7 / 6, r * 5 / 6)],
        Shape::Diamond => vec![(0, -r * 4 / 3), (r * 7 / 6, 0), (0, r * 4 / 3), (-r * 7 / 6, 0)],
        Shape::Tip => vec![(0, r * 4 / 3), (r * 7 / 6, -r * 5 / 6), (-r * 7 / 6, -r * 5 / 6)],
        Shape::Cross => {
            let (arm, half) = (r * 4 / 3, r / 3);
            let quarter = [(half, -arm), (half, -half), (arm, -half)];
            let turned = |(x, y): Pixel| (-y, x);
            let quarters = [quarter, quarter.map(turned), quarter.map(turned).map(turned)];
            quarters.into_iter().chain([quarters[2].map(turned)]).flatten().collect()
        }
        Shape::Bar => vec![(-1, -r * 4 / 3), (2, -r * 4 / 3), (2, r * 4 / 3), (-1, r * 4 / 3)],
    };
    let corners: Vec<Pixel> = corners.into_iter().map(|(dx, dy)| (x + dx, y + dy)).collect();
    if hollow {
        let around: Vec<Pixel> = corners.iter().chain(corners.first()).copied().collect();
        return area.draw(&PathElement::new(around, colour.stroke_width(2)));
    }
    area.draw(&Polygon::new(corners, colour.filled()))
}

/// Draws a bar between two opposite corners.
pub(super) fn draw_bar<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    corners: [Pixel; 2],
    fill: Fill,
) -> Drawn<DB> {
    area.draw(&Rectangle::new(corners, fill.colour.filled()))?;
    for line in fill.hatch.into_iter().flat_map(|colour| hatch(corners).map(move |line| (colour, line))) {
        area.draw(&PathElement::new(line.1.to_vec(), line.0.stroke_width(1)))?;
    }
    area.draw(&Rectangle::new(corners, fill.edge.stroke_width(1)))
}

/// Lines that rise to the right by 45 degrees within a rectangle; those of rectangles side by side meet.
fn hatch([(x0, y0), (x1, y1)]: [Pixel; 2]) -> impl Iterator<Item = [Pixel; 2]> {
    let (left, right, top, bottom) = (x0.min(x1), x0.max(x1), y0.min(y1), y0.max(y1));
    // On such a line the sum of the coordinates is the same everywhere.
    let sums = (left + top).div_euclid(HATCH_PIXELS) + 1..=(right + bottom).div_euclid(HATCH_PIXELS);
    sums.map(|place| place * HATCH_PIXELS).filter_map(move |sum| {
        let (low, high) = ((sum - bottom).max(left), (sum - top).min(right));
        (low < high).then_some([(low, sum - low), (high, sum - high)])
    })
}

/// What is drawn of a line.
fn dashed(line: &[Pixel], dashes: &[f64]) -> Vec<Vec<Pixel>> {
    let Some(first) = line.first().filter(|_| !dashes.is_empty()) else { return vec![line.to_vec()] };
    let (mut pieces, mut piece) = (Vec::new(), vec![*first]);
    let (mut turn, mut left) = (0, dashes[0]);
    for pair in line.windows(2) {
        let [(x0, y0), (x1, y1)] = [pair[0], pair[1]].map(|(x, y)| (f64::from(x), f64::from(y)));
        let length = ((x1 - x0) * (x1 - x0) + (y1 - y0) * (y1 - y0)).sqrt();
        let mut gone = 0.0;
        while length - gone > left {
            gone += left;
            let share = gone / length;
            let at = ((x0 + (x1 - x0) * share).round() as i32, (y0 + (y1 - y0) * share).round() as i32);
            piece.push(at);
            if turn % 2 == 0 {
                pieces.push(std::mem::take(&mut piece));
            } else {
                piece = vec![at];
            }
            turn += 1;
            left = dashes[turn % dashes.len()];
        }
        left -= length - gone;
        if turn % 2 == 0 {
            piece.push(pair[1]);
        }
    }
    if turn % 2 == 0 && piece.len() > 1 {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_go_on_around_a_corner() {
        let line = [(0, 0), (10, 0), (10, 10)];
        let pieces = [vec![(0, 0), (4, 0)], vec![(8, 0), (10, 0), (10, 2)], vec![(10, 6), (10, 10)]];
        assert_eq!(dashed(&line, &[4.0, 4.0]), pieces);
        assert_eq!(dashed(&line, &[]), [line.to_vec()]);
    }

    #[test]
    fn a_hatch_stays_within_its_bar() {
        let lines: Vec<[Pixel; 2]> = hatch([(100, 200), (120, 150)]).collect();
        assert!(lines.len() >= 6, "{lines:?}");
        for (x, y) in lines.into_iter().flatten() {
            assert!((100..=120).contains(&x) && (150..=200).contains(&y), "{x}, {y}");
        }
    }

    #[test]
    fn no_two_series_look_alike_without_colours() {
        for one in 0..SERIES.len() {
            for other in 0..one {
                assert_ne!(stroke(one).dashes, stroke(other).dashes, "{one} and {other}");
                assert_ne!(marker(one, false).shape, marker(other, false).shape, "{one} and {other}");
            }
        }
    }
}
