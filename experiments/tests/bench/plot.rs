//! Pictures, drawn from made-up latencies.

use experiments::measure::Statistics;
use experiments::plot::{Content, Cumulative, Curve, Figure, Histogram, Lines, Note, Overlay, Point, Shape, Wording};

/// A run of which only the latencies are known.
fn content<'a>(done_us: &'a [u64], given_up_us: &'a [u64]) -> Content<'a> {
    Content {
        name: "example",
        title: "a made-up run",
        wording: Wording::Plain,
        done_us,
        given_up_us,
        rows: Vec::new(),
        notes: vec![Note::remark("seed 1")],
    }
}

fn svg(content: &Content<'_>) -> String {
    Histogram::of(content).unwrap().svg().unwrap()
}

fn thousand() -> Vec<u64> {
    (1..=1_000).map(|value| value * 1_000).collect()
}

/// The numbers of an attribute in each element of a kind.
fn attributes(svg: &str, element: &str, attribute: &str) -> Vec<f64> {
    let start = format!("<{element} ");
    let elements = svg.split(&start).skip(1);
    let value = |element: &str| element.split(&format!("{attribute}=\"")).nth(1)?.split('"').next()?.parse().ok();
    elements.filter_map(value).collect()
}

/// Where the texts that contain `words` stand, from above.
fn heights(svg: &str, words: &str) -> Vec<f64> {
    let texts = svg.split("<text ").skip(1).filter(|text| text.split("</text>").next().unwrap().contains(words));
    texts.flat_map(|text| attributes(&format!("<text {text}"), "text", "y")).collect()
}

/// The upper end of the grid, and so of what data may cover.
fn plot_top(svg: &str) -> f64 {
    let grid = svg.split("<line ").skip(1).map(|line| line.split('>').next().unwrap());
    let grid: String = grid.filter(|line| line.contains("#E1E1E1")).map(|line| format!("<line {line}>")).collect();
    let ends = [attributes(&grid, "line", "y1"), attributes(&grid, "line", "y2")].concat();
    assert!(!ends.is_empty(), "there is a grid");
    ends.into_iter().fold(f64::MAX, f64::min)
}

#[test]
fn a_figure_beside_the_thesis_says_what_the_thesis_figures_say_and_no_other_one_does() {
    let latencies = thousand();
    let plain = content(&latencies, &[]);
    let numbers = ["Mean: 500.50 ms", "Median: 500.00 ms", "P90: 900.00 ms", "P99: 990.00 ms"];
    let words = ["example: a made-up run", "latency of the try that ended a task, in ms", "\ntasks\n"];
    let thesis =
        ["Execution DeltaTime Distribution", "Experiment: example", "RouterReplicas: 3", "DeltaTime (ms)", "Frequency"];
    let picture = svg(&plain);
    assert!(numbers.iter().chain(&words).all(|text| picture.contains(text)), "{picture}");
    assert!(!thesis.iter().any(|text| picture.contains(text)));
    let picture = svg(&Content { wording: Wording::Thesis { router_replicas: 3 }, ..plain });
    assert!(numbers.iter().chain(&thesis).all(|text| picture.contains(text)), "{picture}");
    assert!(picture.contains("DeltaTime: latency of the try that ended a task"), "a stranger is told");
}

#[test]
fn the_legend_is_above_the_data() {
    let (latencies, late) = (thousand(), [2_000_000; 30]);
    let histogram = svg(&content(&latencies, &late));
    let ours = Shape::of_all(&[("simulation".into(), latencies.as_slice()), ("live".into(), &latencies[..10])]);
    let overlay =
        Overlay { name: "x".into(), title: "y".into(), wording: Wording::Plain, measured: None, ours }.svg().unwrap();
    let sets = [("simulation", &latencies[..]), ("live", &late)].map(|(name, us)| (name.to_owned(), us.to_vec()));
    let cumulative = Cumulative { title: vec!["x".into()], experiments: sets.into() }.svg().unwrap();
    let curves = ["simulation", "live"].into_iter().enumerate().map(|(colour, name)| {
        let point = |x| Point { x, value: 5.0, min: 4.0, max: 6.0, setting: None };
        Curve { name: name.into(), points: [1, 2, 4].map(point).into(), foreign: colour == 1, colour }
    });
    let curves = curves.collect();
    let lines = Lines { title: vec!["x".into()], x: "n".into(), y: "y".into(), log_y: false, curves }.svg().unwrap();
    for (svg, entries) in [
        (&histogram, ["Mean (done)", "P99 (done)", "given up: 30 tasks", "done: 1,000 tasks"].as_slice()),
        (&overlay, &["simulation", "live"]),
        (&cumulative, &["simulation", "live"]),
        (&lines, &["simulation", "live"]),
    ] {
        let top = plot_top(svg);
        for entry in entries {
            let heights = heights(svg, entry);
            let above = heights.iter().all(|y| *y < top - 8.0);
            assert!(!heights.is_empty() && above, "{entry} at {heights:?}, the data from {top} on");
        }
    }
}

#[test]
fn tasks_that_were_given_up_are_drawn_with_a_hatch_and_counted() {
    let (done, given_up) = ([5_000, 6_000, 7_000], [60_000, 60_000]);
    let (hatch, bars) = ("stroke=\"#B23C1E\"", "fill=\"#FAD6C4\"");
    let picture = svg(&content(&done, &given_up));
    assert!(picture.contains("given up: 2 tasks") && picture.contains("done: 3 tasks"), "{picture}");
    assert!(picture.contains(hatch) && picture.contains(bars));
    assert!(picture.contains("Median (done): 6.00 ms"), "those that were given up move no line");
    let picture = svg(&content(&done, &[]));
    assert!(!picture.contains("given up") && !picture.contains(hatch) && !picture.contains(bars));
    let picture = svg(&content(&[], &given_up));
    assert!(picture.contains("given up: 2 tasks") && !picture.contains("Median"), "nothing is done, so no line");
}

#[test]
fn notes_and_percentiles_are_shown_and_make_room_for_themselves() {
    let latencies = thousand();
    let of = |us: u64| Statistics::of(&[us]).unwrap();
    let row = |name: &str, us| (name.to_owned(), of(us));
    let small = content(&latencies, &[]);
    let full = Content {
        rows: vec![row("end to end", 60_000_000), row("router to router", 500)],
        notes: vec![Note::remark("seed 7"), Note::remark("live"), Note::warning("200 of 200 tasks failed")],
        ..small.clone()
    };
    let picture = svg(&full);
    for text in ["seed 7 · live", "200 of 200 tasks failed", "end to end", "60,000", "0.50"] {
        assert!(picture.contains(text), "{text} is not in {picture}");
    }
    assert!(heights(&picture, "seed 7")[0] < heights(&picture, "200 of 200")[0]);
    let plot_bottom = heights(&picture, "latency of the try")[0];
    assert!(heights(&picture, "router to router")[0] > plot_bottom, "the strip is below the histogram");
    let height = |content: &Content<'_>| Histogram::of(content).unwrap().size().1;
    assert!(height(&full) > height(&small) + 60);
}

#[test]
fn who_cannot_see_a_picture_is_told_what_it_shows() {
    let picture = svg(&Content { title: "\"quoted\" & <odd>", ..content(&[1_000], &[2_000]) });
    let start = "<svg role=\"img\" aria-label=\"Histogram of latency of the try that ended a task, in ms. \
                 example: &quot;quoted&quot; &amp; &lt;odd>. seed 1. done: 1 task. given up: 1 task.";
    assert!(picture.starts_with(start), "{}", &picture[..400]);
}

#[test]
fn the_same_data_give_the_same_picture() {
    let latencies = [3_000, 4_500, 4_600, 9_000];
    let draw = || Histogram::of(&content(&latencies, &[])).unwrap().png().unwrap();
    let png = draw();
    assert!(png.starts_with(b"\x89PNG"));
    assert_eq!(png, draw());
}

#[test]
fn equal_samples_make_one_bar_and_no_samples_no_figure() {
    let picture = svg(&content(&[5_000, 5_000], &[]));
    assert_eq!(picture.matches("fill=\"#74A9CF\"").count(), 1);
    assert!(Histogram::of(&content(&[], &[])).is_none());
}
