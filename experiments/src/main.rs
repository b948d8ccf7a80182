//! `experiments NAME` runs an experiment; `experiments --help` tells the rest.

use experiments::{
    cli::{self, Program},
    simulate::simulate,
    spec::BuiltIn,
};
use std::process::ExitCode;

/// The experiments that this program can run wherever it is. A test holds the list against the folder.
macro_rules! built_in {
    ($($name:literal)*) => { &[$(($name, include_str!(concat!("../specs/", $name, ".toml")))),*] };
}

const BUILT_IN: BuiltIn = built_in![
    "baseline_10k_1"
    "baseline_1k_1"
    "baseline_1k_10"
    "baseline_1k_2"
    "baseline_1k_4"
    "broadcast_10k_20"
    "broadcast_1k_10"
    "broadcast_1k_2"
    "calibrated"
    "chain"
    "custom_10k_10"
    "custom_10k_100"
    "custom_10k_2"
    "custom_10k_20"
    "custom_1k_1"
    "custom_1k_2"
    "day"
    "day_base"
    "day_small"
    "day_static"
    "escalate"
    "flash"
    "flash_small"
    "knee"
    "loopback_base"
    "loopback_gw10_reply"
    "loopback_gw10_reply_nodelay"
    "loopback_gw2_ack"
    "loopback_gw2_ack_clients"
    "loopback_gw2_ack_nodelay"
    "loopback_gw2_reply"
    "loopback_gw2_reply_clients"
    "loopback_gw2_reply_nodelay"
    "nation"
    "poisson"
    "radio_fixed"
    "radio_gateway_dies"
    "radio_last_heard"
    "radio_random"
    "radio_roaming"
    "radio_rssi"
    "radio_rush_hour"
    "reason_10k_20_gw2"
    "reason_10k_20_reply_queue"
    "reason_10k_20_workers_500"
    "reason_10k_2_concurrent"
    "reason_10k_2_gw10"
    "reason_10k_2_no_quota"
    "reason_10k_2_nodelay"
    "reason_10k_2_slow_routers"
    "reason_1k_1_loss"
    "reason_1k_1_reply_queue"
    "reason_1k_1_workers_at_once"
    "reason_1k_2_slow_routers"
    "response_topic_10k_20"
    "response_topic_1k_10"
    "response_topic_1k_2"
    "serial"
    "serial_nodelay"
    "smoke"
    "store"
    "thesis_base"
    "thesis_baseline"
    "throughput"
    "throughput_one"
];

fn main() -> ExitCode {
    cli::main(Program { simulate, built_in: BUILT_IN })
}
