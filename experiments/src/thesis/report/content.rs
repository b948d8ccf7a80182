//! What the report says. All numbers and all verdicts come from the runs; what is fixed here explains, and says no
//! number that a run could change.

use super::{
    Block, Cell, Document, Table, Tone,
    numbers::{deviation, number, spread, with_unit},
    reasons,
};
use crate::thesis::{
    Evaluation, Kind, charts,
    claims::Metric,
    verdict::{DISTANCE_MAX, P99_WITHIN_PERCENT, Row, Verdict, WIDTH_WITHIN_PERCENT, WITHIN_PERCENT},
};

/// Writes the report.
#[must_use]
pub(in crate::thesis) fn document(evaluation: &Evaluation) -> Document {
    let mut blocks = Vec::new();
    summary(evaluation, &mut blocks);
    conclusions(evaluation, &mut blocks);
    reasons::section(evaluation, &mut blocks);
    experiments(evaluation, &mut blocks);
    over_replicas(evaluation, &mut blocks);
    claims(evaluation, &mut blocks);
    predictions(evaluation, &mut blocks);
    not_reached(evaluation, &mut blocks);
    method(evaluation, &mut blocks);
    let lead = "Every experiment and every claim of \"Optimizing IoT Cloud Applications for Scalability: Leveraging \
                RPC with Distributed Queues for Seamless Operations\" (Daniel Lombardi, UFSCar, 2025), run again with \
                this repository's services in its simulator.";
    Document { title: "The thesis, measured again".into(), lead: lead.into(), blocks }
}

fn summary(evaluation: &Evaluation, blocks: &mut Vec<Block>) {
    let figures = &evaluation.figures;
    let (conclusions, others): (Vec<&Row>, Vec<&Row>) = evaluation.claims.iter().partition(|row| row.conclusion);
    blocks.push(Block::Section("In short".into()));
    blocks.push(Block::Items(vec![
        format!(
            "The thesis' figures: {} of {} numbers and shapes are reproduced.",
            held(figures.iter()),
            figures.len()
        ),
        format!("Its claims: {} of {} that can be tested hold.", held(others.iter().copied()), tested(&others)),
        format!("Its conclusions: {} of {} stand.", held(conclusions.iter().copied()), tested(&conclusions)),
        reasons::in_short(evaluation),
    ]));
    let mut table = Table::new(
        &["experiment"],
        &["mean", "ours", "median", "ours", "P90", "ours", "P99", "ours", "width", "ours", "distance", "met"],
    );
    for name in evaluation.reference.keys() {
        let rows: Vec<&Row> = figures.iter().filter(|row| row.of == *name).collect();
        let mut cells = vec![Cell::from(format!("`{name}`"))];
        for row in &rows {
            let ours = row.ours.map_or("not run".to_owned(), |ours| number(ours.median));
            let ours = Cell { text: ours, tone: tone(row.verdict) };
            match row.unit {
                "ms" => cells.extend([optional(row.thesis, number), ours]),
                _ if row.thesis.is_none() => cells.push(ours),
                _ => {} // the modes, which `met` counts
            }
        }
        cells.push(format!("{} of {}", held(rows.iter().copied()), rows.len()).into());
        table.row(cells);
    }
    blocks.push(Block::Table(table));
    blocks.push(Block::Text(format!(
        "Latencies in ms, the thesis' to the left of ours, which is the median over the seeds. Green is within \
         {WITHIN_PERCENT} % of the thesis, {P99_WITHIN_PERCENT} % for P99, {WIDTH_WITHIN_PERCENT} % for the width (P90 \
         - P10), and a normalised Wasserstein distance of at most {DISTANCE_MAX}. The last column counts these and the \
         number of modes."
    )));
}

fn held<'a>(rows: impl Iterator<Item = &'a Row>) -> usize {
    rows.filter(|row| row.verdict == Verdict::Holds).count()
}

fn tested(rows: &[&Row]) -> usize {
    rows.iter().filter(|row| matches!(row.verdict, Verdict::Holds | Verdict::Fails)).count()
}

fn optional<T>(value: Option<T>, text: impl Fn(T) -> String) -> Cell {
    value.map_or_else(String::new, text).into()
}

fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Holds => Tone::Good,
        Verdict::Fails => Tone::Bad,
        Verdict::NotRun | Verdict::NothingToCompare | Verdict::NotTested => Tone::Muted,
    }
}

fn verdict(row: &Row, [holds, fails]: [&str; 2]) -> Cell {
    let word = match row.verdict {
        Verdict::Holds => holds,
        Verdict::Fails => fails,
        Verdict::NotRun => "not run",
        Verdict::NothingToCompare => "nothing was done there to compare with",
        Verdict::NotTested => "not tested",
    };
    let own = if row.thesis_contradicts_itself { "; the thesis' own figures say otherwise" } else { "" };
    Cell { text: format!("{word}{own}"), tone: tone(row.verdict) }
}

/// How a claim is tested, with its rule.
fn how(row: &Row) -> Cell {
    let rule = if row.rule.is_empty() { String::new() } else { format!(". Rule: {}", row.rule) };
    format!("{}{rule}", row.how).into()
}

fn conclusions(evaluation: &Evaluation, blocks: &mut Vec<Block>) {
    blocks.push(Block::Section("Which conclusions stand".into()));
    let mut table = Table::new(&["conclusion", "how it is tested"], &["ours"]).and("verdict");
    for row in evaluation.claims.iter().filter(|row| row.conclusion) {
        let ours = optional(row.ours, |ours| spread(ours, row.unit));
        table.row([row.says.clone().into(), how(row), ours, verdict(row, ["stands", "does not stand"])]);
    }
    blocks.push(Block::Table(table));
}

fn experiments(evaluation: &Evaluation, blocks: &mut Vec<Block>) {
    blocks.push(Block::Section("Experiment by experiment".into()));
    for (name, published) in &evaluation.reference {
        let title = evaluation.runs.get(name).map_or("not run", |measured| measured.spec.title.as_str());
        blocks.push(Block::Part(format!("`{name}`: {title}")));
        let mut table = Table::new(&["figure"], &["thesis", "ours", "distance"]).and("rule").and("verdict");
        for row in evaluation.figures.iter().filter(|row| row.of == *name) {
            table.row([
                row.says.clone().into(),
                optional(row.thesis, |thesis| with_unit(thesis, row.unit)),
                optional(row.ours, |ours| spread(ours, row.unit)),
                optional(row.distance_percent, deviation),
                row.rule.clone().into(),
                verdict(row, ["reproduced", "not reproduced"]),
            ]);
        }
        blocks.push(Block::Table(table));
        blocks.push(Block::Figure {
            stem: charts::overlay_stem(name),
            caption: format!(
                "`{name}`: the thesis' bars ({} tasks) and the outline of ours, all seeds together, in the same bins.",
                number(published.legend.samples.into())
            ),
        });
    }
}

fn over_replicas(evaluation: &Evaluation, blocks: &mut Vec<Block>) {
    blocks.push(Block::Section("Over the replicas".into()));
    for family in charts::families(evaluation) {
        let caption = format!(
            "Latency of `{}_N` over the router replicas N: medians over the seeds, whiskers from the smallest to the \
             largest; hollow: the thesis ({}). Only points whose runs differ in nothing but the replicas are joined.",
            family.name,
            charts::gateways_of(evaluation, &family)
        );
        blocks.push(Block::Figure { stem: charts::latency_stem(&family.name), caption });
    }
    let caption =
        "Tasks done in a second of virtual time, over the router replicas. A point that stands alone says what else \
                   its run has otherwise."
            .into();
    blocks.push(Block::Figure { stem: charts::THROUGHPUT.into(), caption });
    let caption = "Tasks done of those dispatched, over the router replicas. By chance, a task of two requests whose \
                   replies go to any router is done once in the square of the replicas."
        .into();
    blocks.push(Block::Figure { stem: charts::SUCCESS.into(), caption });
}

fn claims(evaluation: &Evaluation, blocks: &mut Vec<Block>) {
    blocks.push(Block::Section("Claim by claim".into()));
    let mut table = Table::new(&["chapter", "the thesis says", "how it is tested"], &["thesis", "ours", "distance"]);
    table = table.and("verdict");
    for row in &evaluation.claims {
        table.row([
            Cell { text: row.chapter.clone(), tone: Tone::Muted },
            row.says.clone().into(),
            how(row),
            optional(row.thesis, |thesis| with_unit(thesis, row.unit)),
            optional(row.ours, |ours| spread(ours, row.unit)),
            optional(row.distance_percent, deviation),
            verdict(row, ["holds", "does not hold"]),
        ]);
    }
    blocks.push(Block::Table(table));
}

fn predictions(evaluation: &Evaluation, blocks: &mut Vec<Block>) {
    const METRICS: [Metric; 8] = [
        Metric::MeanMs,
        Metric::P50Ms,
        Metric::P90Ms,
        Metric::P99Ms,
        Metric::WidthMs,
        Metric::Modes,
        Metric::SuccessPercent,
        Metric::TasksPerS,
    ];
    let unpublished = evaluation.runs.iter().filter(|(name, _)| {
        !evaluation.reference.contains_key(*name) && matches!(Kind::of(name), Some(Kind::Thesis | Kind::Repair))
    });
    let mut table = Table::new(&["experiment"], &METRICS.map(Metric::name));
    for (name, measured) in unpublished {
        let numbers = METRICS.map(|metric| Cell::from(spread(measured.metric(metric), metric.unit())));
        table.row([Cell::from(format!("`{name}`"))].into_iter().chain(numbers));
    }
    if table.rows.is_empty() {
        return;
    }
    blocks.push(Block::Section("Predictions".into()));
    blocks.push(Block::Text(
        "Experiments of which no figure is at hand, run with the same settings as the others. Whoever has a figure can \
         hold it against these numbers."
            .into(),
    ));
    blocks.push(Block::Table(table));
}

fn not_reached(evaluation: &Evaluation, blocks: &mut Vec<Block>) {
    blocks.push(Block::Section("What is not reached".into()));
    let mut items = Vec::new();
    for name in evaluation.reference.keys() {
        let failing = evaluation.figures.iter().filter(|row| row.of == *name && row.verdict == Verdict::Fails);
        let missed: Vec<String> = failing.map(missed).collect();
        if !missed.is_empty() {
            let remarks = evaluation.remarks.iter().filter(|remark| remark.experiment == *name);
            let why: String = remarks.map(|remark| format!(" {}", remark.text)).collect();
            items.push(format!("`{name}`: {}.{why}", missed.join(", ")));
        }
    }
    items.extend(evaluation.failed.iter().map(|(name, error)| format!("{name} could not be run: {error}.")));
    blocks.push(match items.is_empty() {
        true => Block::Text("Every figure that was run is reproduced within its rule.".into()),
        false => Block::Items(items),
    });
}

fn missed(row: &Row) -> String {
    let ours = row.ours.map_or_else(String::new, |ours| with_unit(ours.median, row.unit));
    match row.thesis {
        Some(thesis) => format!("{} {ours} instead of {}", row.says, with_unit(thesis, row.unit)),
        None => format!("{} {ours}", row.says),
    }
}

fn method(evaluation: &Evaluation, blocks: &mut Vec<Block>) {
    blocks.push(Block::Section("How this was made".into()));
    let machine = &evaluation.cost;
    let runs: usize = evaluation.runs.values().map(|measured| measured.runs.len()).sum();
    blocks.push(Block::Items(vec![
        format!(
            "`cargo run -p experiments -- thesis --seeds {}` makes all of this again, in {runs} runs. The same seeds \
             give the same numbers on any machine; on {} cores ({}) it took {} s.",
            evaluation.seeds,
            machine.cores,
            machine.cpu,
            number(machine.wall_s.round()),
        ),
        "The thesis' experiments run once a seed. The experiments that look for a reason, and the repairs of the \
         baseline, run with the first seed only: what they show are multiples, not per cents."
            .into(),
        "A number of ours is the median over the seeds, in brackets from the smallest to the largest. Percentiles are \
         by nearest rank over all finished tasks; a task that timed out counts with the time that it was waited for. A \
         multiple is taken seed by seed."
            .into(),
        "The normalised Wasserstein distance is the area between the two cumulative distributions, divided by the mean \
         of the thesis': 0 is equal, and 0.25 means that the average task would have to be moved by a quarter of the \
         thesis' mean latency. A bar of the thesis' figure counts as spread evenly over its width."
            .into(),
        "The width of a figure is what lies between its 10th and its 90th percentile, in the bins of the thesis' \
         figure for both: what is narrower than one of its bars can't be told."
            .into(),
        "Modes are counted in the 49 bins of the thesis' figure (without one: over the data's own range), smoothed \
         with (1, 2, 1): a peak counts if it rises above the dips beside it by 5 % of the tallest peak and by twice \
         the square root of its own height."
            .into(),
        "The data are in `results/thesis/` (`thesis.json`, `runs.csv`, `comparisons.csv`), the figures in \
         `plots/thesis/`, the thesis' numbers and claims with their sources in `experiments/reference/`."
            .into(),
    ]));
}
