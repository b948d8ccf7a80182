//! What breaks in an experiment, and when.

use super::Pod;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that breaks at a moment and, usually, comes back.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Virtual time from the start of the workload.
    pub at_ms: u64,
    /// What happens.
    pub kind: FaultKind,
    /// To whom: `task_worker-3`, `fwd_router-0`, `bck_router-0`, `http_router-0`, `dispatcher`, `autoscaler`,
    /// `gateway-7`, `amqp`, `mqtt` or `redis`.
    #[schemars(with = "String")]
    pub target: Pod,
    /// How long it stays away; left out, it does not come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// Of a cut: from whom alone; left out, from everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub from: Option<Pod>,
}

/// What happens to a fault's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// It dies and its peers see resets; afterwards a new incarnation starts.
    Crash,
    /// Its packets go nowhere and its peers see silence; the process lives on.
    Cut,
    /// It is asked to stop, as by SIGTERM, and started again afterwards.
    Restart,
    /// Its processes stand still, as by SIGSTOP, while its kernel goes on to take what comes.
    Freeze,
}

impl FaultKind {
    /// Whether a fault of this kind may hit what lies between its target and one other part (`from`).
    pub(super) fn may_be_between_two(self) -> bool {
        match self {
            Self::Cut => true,
            Self::Crash | Self::Restart | Self::Freeze => false,
        }
    }
}
