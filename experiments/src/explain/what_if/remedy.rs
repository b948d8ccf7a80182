//! Which change of a spec takes a cause away: what `--run` runs.

use super::{Assumption, Assumptions};
use crate::{
    attribution::Cause,
    spec::{LinkClass, Links, Machine, Machines, Spec},
};

/// How far the share that is left of a load may be from a factor: who writes 0.333 means a third.
const SHARE_OFF_MAX: f64 = 0.01;

/// No change of a spec does that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no setting makes it true that {assumption}{reason}; {can_be_run} can be run")]
pub struct Unrunnable {
    /// What is assumed.
    pub assumption: String,
    /// Where a factor is the trouble.
    pub reason: String,
    /// What can be run.
    pub can_be_run: String,
}

/// A spec that makes assumptions true.
#[derive(Clone, Debug)]
pub struct Remedied {
    /// It.
    pub spec: Spec,
    /// Which of its numbers had to be rounded so much that they are not quite what is assumed. For people.
    pub rounded: Vec<String>,
}

/// `spec` with what makes the assumptions true.
///
/// # Errors
/// When there is no such setting.
pub fn remedied(spec: &Spec, assumptions: &Assumptions) -> Result<Remedied, Unrunnable> {
    let mut remedied = Remedied { spec: spec.clone(), rounded: Vec::new() };
    for (place, assumption) in assumptions.0.iter().enumerate() {
        if assumptions.0[place + 1..].iter().any(|later| later.cause == assumption.cause) {
            continue; // as in an estimate, the last word on a cause counts
        }
        apply(&mut remedied, *assumption).map_err(|reason| Unrunnable {
            assumption: assumption.to_string(),
            reason,
            can_be_run: causes_that_can_be_run().map(Cause::key).collect::<Vec<_>>().join(", "),
        })?;
    }
    Ok(remedied)
}

/// The causes that a setting takes away, or some of them.
pub fn causes_that_can_be_run() -> impl Iterator<Item = Cause> {
    let can_be_run = |cause: &Cause| {
        let mut remedied = Remedied { spec: Spec::default(), rounded: Vec::new() };
        [0.0, 0.5].into_iter().any(|factor| apply(&mut remedied, Assumption { cause: *cause, factor }).is_ok())
    };
    Cause::all().filter(can_be_run)
}

/// How many of them leave each one `factor` of its load.
fn more(count: u32, factor: f64) -> Result<u32, String> {
    if factor == 0.0 {
        return Err(" of none at all".into());
    }
    let exact = f64::from(count) / factor;
    let whole = exact.round();
    if (f64::from(count) / whole - factor).abs() <= factor * SHARE_OFF_MAX {
        return Ok(whole as u32);
    }
    let [fewer, more] = [exact.floor(), exact.ceil()];
    let share = |whole: f64| (f64::from(count) / whole * 1e4).round() / 1e4;
    Err(format!(
        ", since {count} would become {exact:.2}; {} makes them {fewer}, and {} makes them {more}",
        share(fewer),
        share(more)
    ))
}

fn apply(Remedied { spec, rounded }: &mut Remedied, Assumption { cause, factor }: Assumption) -> Result<(), String> {
    let all_or_nothing = if factor == 0.0 { Ok(()) } else { Err(", but for 0".to_owned()) };
    let mut scaled = |value: &mut u32| *value = times(*value, factor, rounded);
    match cause {
        Cause::TaskQueue => spec.replicas.task_workers = more(spec.replicas.task_workers, factor)?,
        Cause::ConsumerNotThere => {
            let replicas = &mut spec.replicas;
            [&mut replicas.worker_stagger_ms, &mut replicas.worker_rush_ms].into_iter().for_each(scaled);
        }
        Cause::RetryDelay => {
            let delay_ms = &mut spec.backbone.task_worker.retry_delay_ms;
            *delay_ms = times(*delay_ms, factor, rounded);
        }
        // Not its queue: a faster store would take its own time from those who wait, too.
        Cause::Metadata => {
            let metadata = &mut spec.brokers.amqp_metadata;
            [&mut metadata.change_us, &mut metadata.beside_us].into_iter().for_each(scaled);
        }
        Cause::GatewayQueue => spec.fleet.gateways = more(spec.fleet.gateways, factor)?,
        Cause::GatewayCpu => {
            scaled(&mut spec.fleet.handling.median_us);
            work_of(&mut spec.machines.gateway).into_iter().for_each(scaled);
        }
        Cause::Radio if spec.fleet.radio.is_none() => {
            let service_ms = &mut spec.fleet.ble_service_ms;
            [&mut service_ms.median, &mut service_ms.spread].into_iter().for_each(scaled);
        }
        Cause::BrokerCpu => {
            let Machines { amqp, redis, mqtt, .. } = &mut spec.machines;
            [amqp, redis, mqtt].into_iter().flat_map(work_of).for_each(scaled);
        }
        Cause::ServiceCpu => {
            let Machines { router, task_worker, .. } = &mut spec.machines;
            [router, task_worker].into_iter().flat_map(work_of).for_each(scaled);
        }
        Cause::Throttled => {
            all_or_nothing?;
            machines(spec).into_iter().for_each(|machine| machine.cpu_quota_us = 0);
        }
        Cause::WakeUp => machines(spec).into_iter().for_each(|machine| scaled(&mut machine.wake_us)),
        Cause::Link => {
            all_or_nothing?;
            spec.network.links = loopback();
        }
        Cause::Nagle => {
            all_or_nothing?;
            machines(spec).into_iter().for_each(|machine| machine.nodelay = true);
        }
        Cause::Retransmission => scaled(&mut spec.network.loss_ppm),
        Cause::Fault(kind) => {
            all_or_nothing?;
            spec.faults.retain(|fault| fault.kind != kind);
        }
        _ => return Err(String::new()),
    }
    Ok(())
}

/// A number of a spec, times a factor. Notes if it is not that, since there are whole ones only.
fn times<N: Copy + Into<u64> + TryFrom<u64>>(value: N, factor: f64, rounded: &mut Vec<String>) -> N {
    let value: u64 = value.into();
    let exact = value as f64 * factor;
    let whole = exact.round();
    if (whole - exact).abs() > exact * SHARE_OFF_MAX {
        rounded.push(format!("{value} times {factor} is taken as {whole}"));
    }
    N::try_from(whole as u64).unwrap_or_else(|_| unreachable!("a factor makes nothing larger"))
}

fn loopback() -> Links {
    let none = LinkClass::Loopback;
    Links { service_amqp: none, service_redis: none, service_mqtt: none, gateway_mqtt: none, service_service: none }
}

fn machines(spec: &mut Spec) -> [&mut Machine; 6] {
    let Machines { amqp, redis, mqtt, gateway, router, task_worker, .. } = &mut spec.machines;
    [amqp, redis, mqtt, gateway, router, task_worker]
}

/// What work costs there.
fn work_of(machine: &mut Machine) -> [&mut u32; 4] {
    let Machine { frame_us, kib_us, write_us, poll_us, .. } = machine;
    [frame_us, kib_us, write_us, poll_us]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Library, changes};

    fn changed(spec: &str, assumption: &str) -> Result<Vec<String>, String> {
        let spec = Library::repository().load(spec).unwrap();
        let assumptions = Assumptions(vec![assumption.parse().unwrap()]);
        let remedied = remedied(&spec, &assumptions).map_err(|error| error.to_string())?;
        remedied.spec.check()?;
        Ok(changes(&spec, &remedied.spec).unwrap().iter().map(ToString::to_string).chain(remedied.rounded).collect())
    }

    #[test]
    fn the_setting_that_takes_a_cause_away_is_found() {
        assert_eq!(changed("custom_10k_2", "nagle=0").unwrap(), ["machines.mqtt.nodelay = true instead of false"]);
        assert_eq!(changed("custom_10k_2", "gateway_queue=0.5").unwrap(), ["fleet.gateways = 4 instead of 2"]);
        assert_eq!(
            changed("custom_1k_1", "throttled=0").unwrap(),
            ["machines.router.cpu_quota_us = 0 instead of 10000"]
        );
        let metadata = changed("custom_1k_1", "metadata=0.5").unwrap();
        assert_eq!(metadata, ["brokers.amqp_metadata.change_us = 471 instead of 942"]);
    }

    #[test]
    fn what_no_setting_does_is_refused_with_what_can_be_run() {
        let refused = changed("custom_10k_2", "router_busy=0").unwrap_err();
        assert!(refused.contains("router_busy=0") && refused.contains("metadata, gateway_queue"), "{refused}");
        assert!(changed("custom_10k_2", "nagle=0.5").unwrap_err().contains("but for 0"));
        assert!(changed("custom_10k_2", "task_queue=0").unwrap_err().contains("of none at all"));
        // Its estimate leaves everybody the time of their own queues, and no setting does.
        assert!(changed("custom_1k_1", "metadata_queue=0.5").unwrap_err().contains("metadata_queue=0.5; "));
    }

    #[test]
    fn a_share_that_no_whole_number_of_them_leaves_is_refused_with_those_that_can_be_had() {
        let refused = changed("custom_10k_2", "gateway_queue=0.6").unwrap_err();
        assert!(refused.contains("2 would become 3.33; 0.6667 makes them 3, and 0.5 makes them 4"), "{refused}");
        assert_eq!(changed("custom_10k_2", "gateway_queue=0.667").unwrap(), ["fleet.gateways = 3 instead of 2"]);
        assert_eq!(changed("custom_10k_2", "task_queue=0.97").unwrap(), ["replicas.task_workers = 52 instead of 50"]);
    }

    #[test]
    fn what_is_rounded_says_so() {
        let rounded = changed("custom_1k_1", "metadata=0.0005").unwrap();
        assert_eq!(rounded[1..], ["942 times 0.0005 is taken as 0"], "{rounded:?}");
    }

    #[test]
    fn of_two_words_on_a_cause_the_last_one_counts() {
        let spec = Library::repository().load("custom_10k_2").unwrap();
        let assumptions = ["gateway_queue=0.25", "gateway_queue=0.5"].map(|text| text.parse().unwrap());
        assert_eq!(remedied(&spec, &Assumptions(assumptions.into())).unwrap().spec.fleet.gateways, 4);
    }
}
