//! What is to be done, and when it comes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is to be done, and when it comes.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workload {
    /// Tasks in all. Default: 1,000.
    pub tasks: u32,
    /// When they come. Each counts from the moment at which it was to be published, also if the dispatcher has no room
    /// for it by then. Default: `burst`.
    pub arrivals: Arrivals,
    /// In what time all tasks come, for all arrivals but `burst` and `replay`: so the mean rate is `tasks` over this,
    /// in s. Default: 0.
    pub duration_s: u32,
    /// For `steps`: how fast tasks come in each step. Only the proportions count, as in `[1, 2, 4, 8]`; all steps are
    /// equally long.
    pub steps: Vec<u32>,
    /// For `day`: how fast tasks come at equally distant moments of the day, with straight lines between them; only the
    /// proportions count. One such list for each store in turn, so that stores may have different days. Empty: a day in
    /// retail, with prices changed before opening, at noon and before the evening.
    pub curves: Vec<Vec<u32>>,
    /// For `replay`: a CSV file, seen from the spec's folder, with a row a task in order of time: `at_ms`, counted from
    /// the first moment, and optionally `commands`. Its first `tasks` rows are played.
    pub replay: String,
    /// What comes in the first so many seconds is done, but not measured: caches are cold, pods start, queues fill.
    /// Default: 0.
    pub warm_up_s: u32,
    /// Commands in a task, each for another label. Default: 2, as in the thesis.
    pub commands_per_task: u32,
    /// Most commands in a task: their number is drawn evenly from `commands_per_task` to this; 0: all tasks have the
    /// same. Default: 0.
    pub commands_per_task_max: u32,
    /// Size of a command's body, drawn evenly from this to `body_bytes_max`. A price is padded to it, if it is larger
    /// than the 27 bytes that this takes. Default: 0, nothing but a price.
    pub body_bytes_min: u32,
    /// See `body_bytes_min`. Default: 0.
    pub body_bytes_max: u32,
    /// Which labels the commands are for. Default: `fleet`.
    pub esls: CommandedEsls,
    /// With `fleet`: some labels are commanded more often than others, the n-th most one in proportion to
    /// 1 / n^(this / 100), as in Zipf's law, where it is 100. Default: 0, all alike.
    pub zipf_percent: u32,
    /// With `fleet`: so many commands, in percent, are for labels that no gateway has ever heard. They fail, so such a
    /// run needs `expect.done_percent_min` if it is to expect anything. Default: 0.
    pub unknown_percent: u32,
    /// The rows of `replay`.
    #[serde(skip)]
    pub replayed: Arc<[Replayed]>,
}

/// A task of a file that is played again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// When it comes, in ms from the first moment.
    pub at_ms: u32,
    /// How many commands it has.
    pub commands: u32,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            tasks: 1_000,
            arrivals: Arrivals::Burst,
            duration_s: 0,
            steps: Vec::new(),
            curves: Vec::new(),
            replay: String::new(),
            warm_up_s: 0,
            commands_per_task: 2,
            commands_per_task_max: 0,
            body_bytes_min: 0,
            body_bytes_max: 0,
            esls: CommandedEsls::Fleet,
            zipf_percent: 0,
            unknown_percent: 0,
            replayed: Arc::default(),
        }
    }
}

impl Workload {
    /// Most commands that a task has.
    #[must_use]
    pub fn most_commands(&self) -> u32 {
        let replayed = self.replayed.iter().map(|task| task.commands).max().unwrap_or(0);
        self.commands_per_task.max(self.commands_per_task_max).max(replayed)
    }

    /// Whether tasks come at moments of their own, not all at once.
    #[must_use]
    pub fn is_paced(&self) -> bool {
        self.arrivals != Arrivals::Burst
    }
}

/// When tasks come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// All at once, at the start.
    Burst,
    /// One after the other, at equal distances.
    Constant,
    /// Each at a random moment, as from many sources that know nothing of each other: a Poisson process, of which it is
    /// known how many come in all.
    Poisson,
    /// So, too, but faster or slower in each of `workload.steps`.
    Steps,
    /// So, too, but faster or slower over the day, as `workload.curves` says; the day is `workload.duration_s` long. A
    /// task commands the labels of one store.
    Day,
    /// At the moments that the file `workload.replay` has.
    Replay,
}

/// Which labels commands are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandedEsls {
    /// Each command for a random address that was never used before, as in the thesis: no two ever share a label. Such
    /// labels broadcast nothing, so they can only be reached by fixed routing; a gateway executes whatever reaches it.
    Fresh,
    /// Labels of the fleet, drawn at random.
    Fleet,
    /// Labels of the fleet, none of them twice, in a random order: a change of all prices.
    EachOnce,
}
