//! The words of a picture of latencies.

/// Whose words a picture of latencies has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wording {
    /// Those that anybody knows.
    Plain,
    /// The thesis', for a picture that stands beside one of its figures.
    Thesis {
        /// What the thesis' figures say under their title.
        router_replicas: u32,
    },
}

impl Wording {
    /// The title of a picture of the experiment `name`; the first line is the largest.
    pub(super) fn title(self, name: &str, title: &str) -> Vec<String> {
        match self {
            Self::Plain if title.is_empty() => vec![name.to_owned()],
            Self::Plain => vec![format!("{name}: {title}")],
            Self::Thesis { router_replicas } => vec![
                "Execution DeltaTime Distribution".to_owned(),
                format!("Experiment: {name}"),
                format!("RouterReplicas: {router_replicas}"),
            ],
        }
    }

    /// What the x axis shows.
    pub(super) fn latency(self) -> &'static str {
        match self {
            Self::Plain => "latency of the try that ended a task, in ms",
            Self::Thesis { .. } => "DeltaTime (ms)",
        }
    }

    /// What the y axis of a histogram shows.
    pub(super) fn tasks(self) -> &'static str {
        match self {
            Self::Plain => "tasks",
            Self::Thesis { .. } => "Frequency",
        }
    }

    /// What the y axis shows where distributions of different numbers of tasks are compared.
    pub(super) fn share_of_tasks(self) -> &'static str {
        match self {
            Self::Plain => "tasks in a bin, in per cent",
            Self::Thesis { .. } => "Frequency (% of the tasks)",
        }
    }

    /// What a reader has to know who does not know the words.
    pub(super) fn explanation(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Thesis { .. } => Some("in the thesis' words; DeltaTime: latency of the try that ended a task"),
        }
    }
}
