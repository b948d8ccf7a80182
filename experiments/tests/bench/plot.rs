//! The histogram, drawn from made-up latencies.

use experiments::plot::{Figure, Histogram};
use experiments::spec::Spec;

fn histogram(latencies_us: &[u64]) -> Option<Histogram> {
    Histogram::of(&Spec { name: "example".into(), ..Spec::default() }, latencies_us)
}

#[test]
fn the_figure_says_what_the_thesis_figures_say() {
    let latencies: Vec<u64> = (1..=1_000).map(|value| value * 1_000).collect();
    let svg = histogram(&latencies).unwrap().svg().unwrap();
    for text in [
        "Execution DeltaTime Distribution",
        "Experiment: example",
        "RouterReplicas: 1",
        "DeltaTime (ms)",
        "Frequency",
        "Mean: 500.50 ms",
        "Median: 500.00 ms",
        "P90: 900.00 ms",
        "P99: 990.00 ms",
    ] {
        assert!(svg.contains(text), "{text} is not in the figure");
    }
}

#[test]
fn the_same_data_give_the_same_picture() {
    let latencies = [3_000, 4_500, 4_600, 9_000];
    let draw = || histogram(&latencies).unwrap().png().unwrap();
    let png = draw();
    assert!(png.starts_with(b"\x89PNG"));
    assert_eq!(png, draw());
}

#[test]
fn equal_samples_make_one_bar_and_no_samples_no_figure() {
    assert!(histogram(&[5_000, 5_000]).unwrap().svg().is_ok());
    assert!(histogram(&[]).is_none());
}
