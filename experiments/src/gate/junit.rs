//! The gate's result as JUnit XML, which most CI systems show.

use super::{
    compare::{Checked, Verdict},
    report::details,
};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// One test suite with a test case a spec.
#[must_use]
pub fn junit(all: &[Checked]) -> String {
    let mut suite = TestSuite::new("experiments check");
    suite.add_test_cases(all.iter().map(case));
    let wall = all.iter().map(wall).sum();
    suite.set_time(wall);
    let mut report = Report::new("experiments check");
    report.set_time(wall).add_test_suite(suite);
    report.to_string().expect("a report in memory can be written")
}

fn case(checked: &Checked) -> TestCase {
    let text = details(checked).join("\n");
    let mut case = match kind(checked.verdict) {
        None => {
            let mut case = TestCase::new(checked.spec.as_str(), TestCaseStatus::success());
            if !text.is_empty() {
                case.set_system_out(text);
            }
            case
        }
        Some(kind) => {
            let mut status = TestCaseStatus::non_success(kind);
            status.set_message(checked.verdict.word()).set_description(text);
            TestCase::new(checked.spec.as_str(), status)
        }
    };
    case.set_classname("experiments.check").set_time(wall(checked));
    case
}

/// JUnit tells a test that says no from one that could not be made.
fn kind(verdict: Verdict) -> Option<NonSuccessKind> {
    match verdict {
        Verdict::Unchanged | Verdict::Within => None,
        Verdict::Regressed | Verdict::Moved | Verdict::Stale | Verdict::Missed => Some(NonSuccessKind::Failure),
        Verdict::Missing | Verdict::Damaged | Verdict::Failed => Some(NonSuccessKind::Error),
    }
}

fn wall(checked: &Checked) -> Duration {
    Duration::from_secs_f64(checked.today.map_or(0.0, |today| today.wall_s))
}
