//! Of which experiments the thesis published a figure.

/// The table of those figures; `thesis` reads all of it.
const FIGURES: &str = include_str!("../../reference/thesis_statistics.csv");

/// Whether the thesis has a figure of the experiment of this name.
#[must_use]
pub fn has_figure_in_thesis(name: &str) -> bool {
    let names = FIGURES.lines().skip(1).filter_map(|row| row.split(',').next());
    names.into_iter().any(|published| published == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_experiment_of_the_thesis_need_not_have_a_figure() {
        let names = ["custom_10k_20", "baseline_1k_2", "custom_10k_10", "smoke", "experiment", ""];
        assert_eq!(names.map(has_figure_in_thesis), [true, true, false, false, false, false]);
    }
}
