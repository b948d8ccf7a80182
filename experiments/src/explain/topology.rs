//! Where tasks' time passed, on a map: a box for each kind of pod, a line for each pair that talks, each with its
//! share.

use super::{Stretch, page::escape, sorted};
use crate::{
    attribution::{Attribution, Cause, Part},
    spec::Pod,
};
use std::{collections::BTreeMap, fmt::Write as _};

/// Where a kind of pod stands: column and row.
const PLACES: [(&str, f64, f64); 10] = [
    ("dispatcher", 0.0, 0.0),
    ("task_worker", 0.0, 2.0),
    ("amqp", 1.0, 1.0),
    ("fwd_router", 2.0, 0.0),
    ("http_router", 1.5, 2.0),
    ("redis", 2.0, 1.0),
    ("bck_router", 2.0, 2.0),
    ("mqtt", 3.0, 1.0),
    ("gateway", 4.0, 1.0),
    ("store", 4.0, 1.0),
];
const COLUMN_PIXELS: f64 = 240.0;
const ROW_PIXELS: f64 = 130.0;
const BOX_PIXELS: (f64, f64) = (184.0, 74.0);
const MARGIN_PIXELS: f64 = 12.0;
/// Of a share below it nothing is said.
const SHOWN_MIN: f64 = 0.000_05;

/// What passed at a place.
#[derive(Default)]
struct Spent {
    us: u64,
    causes: BTreeMap<Cause, u64>,
}

impl Spent {
    fn add(&mut self, part: &Part) {
        self.us += u64::from(part.us);
        *self.causes.entry(part.cause).or_default() += u64::from(part.us);
    }

    fn most(&self) -> Option<Cause> {
        self.causes.iter().max_by_key(|(cause, us)| (**us, std::cmp::Reverse(**cause))).map(|(cause, _)| *cause)
    }
}

/// The map of a run, as SVG; `None` if no task was done.
pub(super) fn topology(attribution: &Attribution, warm_up_tasks: usize, stretch: Stretch) -> Option<String> {
    let tasks = sorted(attribution, warm_up_tasks, stretch);
    let kind = |host: u16| shown_kind(attribution.pods[usize::from(host)]);
    let (mut at, mut between) = (BTreeMap::new(), BTreeMap::new());
    for part in tasks.iter().flat_map(|(.., parts)| parts) {
        // What was waited for in vain got lost where it was going.
        let at_host = if matches!(part.cause, Cause::NoReply | Cause::HandedBack) { part.to } else { part.at };
        let (from, to) = (kind(at_host), kind(part.to));
        let spent: &mut Spent = match from.cmp(to) {
            std::cmp::Ordering::Equal => at.entry(from).or_default(),
            // Both ways are one line.
            std::cmp::Ordering::Less => between.entry((from, to)).or_default(),
            std::cmp::Ordering::Greater => between.entry((to, from)).or_default(),
        };
        spent.add(part);
    }
    let all_us: u64 = at.values().chain(between.values()).map(|spent| spent.us).sum();
    if all_us == 0 {
        return None;
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut seen: Vec<Pod> = attribution.pods.clone();
    seen.sort();
    seen.dedup();
    seen.iter().for_each(|pod| *counts.entry(shown_kind(*pod)).or_default() += 1);
    let share = |spent: &Spent| spent.us as f64 / all_us as f64;
    let mut lines = String::new();
    for ((a, b), spent) in &between {
        lines += &line((a, b), share(spent), spent.most());
    }
    let mut boxes = String::new();
    for (kind, count) in counts.into_iter().filter(|(kind, _)| place(kind).is_some()) {
        let spent = at.remove(kind).unwrap_or_default();
        boxes += &pod((kind, count), share(&spent), spent.most());
    }
    let (width, height) = (
        COLUMN_PIXELS * 4.0 + BOX_PIXELS.0 + 2.0 * MARGIN_PIXELS,
        ROW_PIXELS * 2.0 + BOX_PIXELS.1 + 2.0 * MARGIN_PIXELS,
    );
    let name = format!("Where the time passed: {stretch}");
    Some(format!(
        "<svg role=\"img\" aria-label=\"{name}\" viewBox=\"0 0 {width} {height}\" \
         xmlns=\"http://www.w3.org/2000/svg\" font-family=\"system-ui, sans-serif\" font-size=\"15\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{lines}{boxes}</svg>"
    ))
}

/// All Redis servers are one.
fn shown_kind(pod: Pod) -> &'static str {
    if matches!(pod, Pod::RedisShard(_)) { Pod::Redis.kind() } else { pod.kind() }
}

/// The middle of a kind's box.
fn place(kind: &str) -> Option<(f64, f64)> {
    let (_, column, row) = PLACES.iter().find(|(other, ..)| *other == kind)?;
    Some((
        MARGIN_PIXELS + BOX_PIXELS.0 / 2.0 + column * COLUMN_PIXELS,
        MARGIN_PIXELS + BOX_PIXELS.1 / 2.0 + row * ROW_PIXELS,
    ))
}

fn percent(share: f64) -> String {
    if share < SHOWN_MIN { "-".into() } else { format!("{:.2} %", share * 100.0) }
}

/// Warmer with its share.
fn colour(share: f64) -> String {
    format!("hsl(24 90% {:.0}%)", 97.0 - 37.0 * share.sqrt())
}

fn line((a, b): (&str, &str), share: f64, most: Option<Cause>) -> String {
    let Some(((x1, y1), (x2, y2))) = place(a).zip(place(b)) else { return String::new() };
    let (x, y) = (f64::midpoint(x1, x2), f64::midpoint(y1, y2));
    let width = 1.5 + 14.0 * share.sqrt();
    let title = format!("{a} and {b}: {}, most of it {}", percent(share), most.map_or("nothing", Cause::name));
    let mut out = String::new();
    let _ = write!(
        out,
        "<g><title>{}</title><line x1=\"{x1:.0}\" y1=\"{y1:.0}\" x2=\"{x2:.0}\" y2=\"{y2:.0}\" \
         stroke=\"#b06a3b\" stroke-width=\"{width:.1}\"/>\n<text x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"middle\" \
         stroke=\"#fff\" stroke-width=\"5\" paint-order=\"stroke\" fill=\"#222\" font-size=\"13\">{}</text></g>\n",
        escape(&title),
        y + 4.0,
        percent(share)
    );
    out
}

fn pod((kind, count): (&str, usize), share: f64, most: Option<Cause>) -> String {
    let Some((x, y)) = place(kind) else { return String::new() };
    let (width, height) = BOX_PIXELS;
    let name = if count > 1 { format!("{count} x {kind}") } else { kind.to_owned() };
    let most = most.filter(|_| share >= SHOWN_MIN).map_or("", Cause::name);
    format!(
        "<g><title>{}: {}{}</title><rect x=\"{:.0}\" y=\"{:.0}\" width=\"{width}\" height=\"{height}\" rx=\"8\" \
         fill=\"{}\" stroke=\"#555\"/>\n<text x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"middle\" fill=\"#222\" \
         font-weight=\"600\">{}</text>\n<text x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"middle\" fill=\"#222\">{}</text>\n\
         <text x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"middle\" fill=\"#222\" font-size=\"11\" {}>{}</text></g>\n",
        escape(&name),
        percent(share),
        if most.is_empty() { String::new() } else { escape(&format!(", most of it {most}")) },
        x - width / 2.0,
        y - height / 2.0,
        colour(share),
        y - 14.0,
        escape(&name),
        y + 6.0,
        percent(share),
        y + 25.0,
        // Long ones are set tighter, so that they stay in their box.
        if most.len() > 30 { "textLength=\"174\" lengthAdjust=\"spacingAndGlyphs\"" } else { "" },
        escape(most),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use backbone::config::RouterKind;

    #[test]
    fn every_kind_of_pod_that_tasks_pass_has_a_place() {
        let routers = RouterKind::ALL.map(|kind| Pod::Router(kind, 0));
        let others = [Pod::Amqp, Pod::Mqtt, Pod::Redis, Pod::Gateway(0), Pod::Store(0), Pod::TaskWorker(0)];
        for pod in routers.into_iter().chain(others).chain([Pod::RedisShard(1), Pod::Dispatcher]) {
            assert!(place(shown_kind(pod)).is_some(), "{pod}");
        }
        assert!(place(Pod::Autoscaler.kind()).is_none());
    }
}
