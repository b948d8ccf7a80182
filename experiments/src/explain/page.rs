//! A run on one page: verdict, latencies, causes, the slowest tasks, and what the spec says. One file, without scripts,
//! that fetches nothing: pictures are drawn here, as SVG, by the same code as the files in `plots/`.

use super::{Shares, Stretch, picture, sorted, story::told, topology::topology};
use crate::{
    attribution::{AttributedTask, Attribution, Cause, Part, sum_us},
    measure::{Latency, Statistics},
    plot::Figure,
    results::{self, Summary},
    run::Explained,
    spec::{self, Spec},
};
use std::{collections::BTreeMap, fmt::Write as _};

const STYLE: &str = include_str!("page.css");
/// How many of the slowest tasks are shown.
const SLOWEST: usize = 10;
/// Colours of causes, by their places: each hue is some steps away from its neighbours'.
const HUE_STEP: usize = 137;
const HUES: usize = 360;

/// The page, as HTML.
///
/// # Errors
/// When a picture can't be drawn, or the spec is none that TOML can hold.
pub fn page(spec: &Spec, explained: &Explained) -> anyhow::Result<String> {
    let Explained { run, attribution } = explained;
    let summary = Summary::of(spec, run);
    let warm_up = run.outcome.warm_up_tasks;
    let name = escape(&spec.name);
    let (title, verdict) = (escape(&spec.title), verdict(&summary));
    let mut out = format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{name}</title>
<link rel="icon" href="data:,">
<style>
{STYLE}</style>
</head>
<body>
<header>
<h1>{name}</h1>
<p>{title}</p>
{verdict}</header>
<main>
"#
    );
    out += &latencies(&summary);
    for figure in results::figures(spec, &run.outcome, &summary, attribution.began_us)? {
        writeln!(out, "<figure>{figure}</figure>")?;
    }
    for stretch in [Stretch::EndToEnd, Stretch::DecidingTry] {
        let Some(shares) = Shares::of(attribution, warm_up, stretch) else { continue };
        writeln!(out, "<h2>Where the time went: {stretch}</h2>")?;
        if let Some(map) = topology(attribution, warm_up, stretch) {
            writeln!(out, "<figure>{map}</figure>")?;
        }
        if let Some(figure) = picture(&[(spec.name.as_str(), attribution, warm_up)], stretch) {
            writeln!(out, "<figure>{}</figure>", figure.svg()?)?;
        }
        out += &causes(&shares);
    }
    out += &slowest(attribution, warm_up);
    out += &resolved(spec)?;
    Ok(out + "</main>\n</body>\n</html>\n")
}

fn verdict(summary: &Summary) -> String {
    let (class, text) = match summary.expectation.miss() {
        None => ("good", format!("as expected: {} of {} tasks done", summary.tasks.done, summary.tasks.dispatched)),
        Some(miss) => ("bad", miss),
    };
    format!(
        "<p class=\"verdict {class}\">{}</p>\n<p class=\"soft\">seed {}, trace digest {}</p>\n",
        escape(&text),
        summary.seed,
        escape(&summary.trace_digest)
    )
}

/// Opens a table that scrolls sideways by itself where the page is too narrow, also by the keyboard.
fn table<'a>(name: &str, columns: impl Iterator<Item = &'a str>) -> String {
    let columns: String = columns.map(|column| format!("<th scope=\"col\">{}</th>", escape(column))).collect();
    let region = format!("tabindex=\"0\" role=\"region\" aria-label=\"{}\"", escape(name));
    format!("<div class=\"table\" {region}><table>\n<tr>{columns}</tr>\n")
}

fn latencies(summary: &Summary) -> String {
    let columns = ["of", "mean", "P50", "P90", "P99", "max"];
    let mut out = "<h2>Latencies, in ms</h2>\n".to_owned() + &table("Latencies", columns.into_iter());
    for latency in Latency::ALL {
        let Some(Statistics { mean, p50, p90, p99, max, .. }) = summary.latency_ms.get(latency) else { continue };
        let cells: String = [mean, p50, p90, p99, max].iter().map(|ms| format!("<td>{ms:.2}</td>")).collect();
        out += &format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", latency.name());
    }
    out + "</table></div>\n"
}

/// The same numbers as the command's table.
fn causes(shares: &Shares) -> String {
    let bands = shares.bands.iter().map(|band| band.name);
    let mut out = table("Causes", std::iter::once("cause, %").chain(bands));
    for row in shares.percentages() {
        let class = if row.behind.is_some() { " class=\"behind\"" } else { "" };
        let name = escape(&row.name());
        let cells: String = row.cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
        out += &format!("<tr{class}><th scope=\"row\">{name}</th>{cells}</tr>\n");
    }
    out + "</table></div>\n"
}

/// The slowest tasks: a bar each, from left to right as time went, and its story behind it.
fn slowest(attribution: &Attribution, warm_up: usize) -> String {
    let tasks = sorted(attribution, warm_up, Stretch::EndToEnd);
    let slowest: Vec<&(u64, &AttributedTask, Vec<Part>)> = tasks.iter().rev().take(SLOWEST).collect();
    if slowest.is_empty() {
        return String::new();
    }
    let mut shown: BTreeMap<Cause, u64> = BTreeMap::new();
    for part in slowest.iter().flat_map(|(.., parts)| parts) {
        *shown.entry(part.because.unwrap_or(part.cause)).or_default() += u64::from(part.us);
    }
    let mut out = String::from("<h2>The slowest tasks</h2>\n<ul class=\"keys\">\n");
    for cause in shown.keys() {
        out += &format!("<li><b style=\"background:{}\"></b>{}</li>\n", colour(*cause), escape(cause.name()));
    }
    out += "</ul>\n";
    for (latency_us, task, parts) in slowest {
        out += &format!(
            "<details><summary>{}, {:.2} ms<span class=\"bar\">{}</span></summary>\n\
             <pre tabindex=\"0\">{}</pre></details>\n",
            escape(&task.record.id()),
            *latency_us as f64 / 1e3,
            bar(parts),
            escape(&told(attribution, Stretch::EndToEnd, task))
        );
    }
    out
}

/// Parts that nobody would see are one with their neighbours.
fn bar(parts: &[Part]) -> String {
    const SEEN: u64 = 1_000;
    let all_us = sum_us(parts);
    let mut pieces: Vec<(Cause, u64)> = Vec::new();
    for part in parts {
        let (cause, us) = (part.because.unwrap_or(part.cause), u64::from(part.us));
        match pieces.last_mut() {
            Some((last, sum)) if *last == cause || us * SEEN < all_us => *sum += us,
            _ => pieces.push((cause, us)),
        }
    }
    let piece = |(cause, us): (Cause, u64)| {
        let title = format!("{}: {:.3} ms", cause.name(), us as f64 / 1e3);
        format!("<i style=\"flex-grow:{us};background:{}\" title=\"{}\"></i>", colour(cause), escape(&title))
    };
    pieces.into_iter().map(piece).collect()
}

fn colour(cause: Cause) -> String {
    let place = cause.place();
    format!("hsl({} 55% {}%)", place * HUE_STEP % HUES, 45 + place % 3 * 8)
}

/// What differs from the defaults, and all of it.
fn resolved(spec: &Spec) -> anyhow::Result<String> {
    let mut out = String::from("<h2>The spec</h2>\n<ul>\n");
    for change in spec::changes(&Spec::default(), spec)? {
        out += &format!("<li>{}</li>\n", escape(&change.to_string()));
    }
    out += &format!(
        "</ul>\n<details><summary>All fields</summary>\n<pre tabindex=\"0\">{}</pre></details>\n",
        escape(&spec.to_toml())
    );
    Ok(out)
}

/// As HTML and SVG take it for text.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
