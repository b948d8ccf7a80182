//! Which change of a spec takes a cause away: what `--run` runs.

use super::{Assumption, Assumptions};
use crate::{
    attribution::Cause,
    spec::{LinkClass, Links, Machine, Machines, Spec},
};

/// No change of a spec does that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no setting makes it true that {assumption}{reason}; {can_be_run} can be run")]
pub struct Unrunnable {
    /// What is assumed.
    pub assumption: String,
    /// Where a factor is the trouble.
    pub reason: &'static str,
    /// What can be run.
    pub can_be_run: String,
}

/// `spec` with what makes the assumptions true.
///
/// # Errors
/// When there is no such setting.
pub fn remedied(spec: &Spec, assumptions: &Assumptions) -> Result<Spec, Unrunnable> {
    let mut changed = spec.clone();
    for assumption in &assumptions.0 {
        apply(&mut changed, *assumption).map_err(|reason| Unrunnable {
            assumption: assumption.to_string(),
            reason,
            can_be_run: causes_that_can_be_run().map(Cause::key).collect::<Vec<_>>().join(", "),
        })?;
    }
    Ok(changed)
}

/// The causes that a setting takes away, or some of them.
pub fn causes_that_can_be_run() -> impl Iterator<Item = Cause> {
    let can_be_run = |cause: &Cause| {
        [0.0, 0.5].into_iter().any(|factor| apply(&mut Spec::default(), Assumption { cause: *cause, factor }).is_ok())
    };
    Cause::all().filter(can_be_run)
}

fn apply(spec: &mut Spec, Assumption { cause, factor }: Assumption) -> Result<(), &'static str> {
    let is_gone = factor == 0.0;
    let all_or_nothing = if is_gone { Ok(()) } else { Err(", but for 0") };
    let scaled = |value: &mut u32| *value = (f64::from(*value) * factor).round() as u32;
    let more = |count: u32| if is_gone { Err(" of none at all") } else { Ok((f64::from(count) / factor) as u32) };
    match cause {
        Cause::TaskQueue => spec.replicas.task_workers = more(spec.replicas.task_workers)?,
        Cause::ConsumerNotThere => {
            let replicas = &mut spec.replicas;
            [&mut replicas.worker_stagger_ms, &mut replicas.worker_rush_ms].into_iter().for_each(scaled);
        }
        Cause::RetryDelay => {
            let delay_ms = &mut spec.backbone.task_worker.retry_delay_ms;
            *delay_ms = (*delay_ms as f64 * factor).round() as u64;
        }
        Cause::MetadataQueue | Cause::Metadata => {
            let metadata = &mut spec.brokers.amqp_metadata;
            [&mut metadata.change_us, &mut metadata.beside_us].into_iter().for_each(scaled);
        }
        Cause::GatewayQueue => spec.fleet.gateways = more(spec.fleet.gateways)?,
        Cause::GatewayCpu => {
            scaled(&mut spec.fleet.handling.median_us);
            work_of(&mut spec.machines.gateway, factor);
        }
        Cause::Radio if spec.fleet.radio.is_none() => {
            let service_ms = &mut spec.fleet.ble_service_ms;
            [&mut service_ms.median, &mut service_ms.spread].into_iter().for_each(scaled);
        }
        Cause::BrokerCpu => {
            let Machines { amqp, redis, mqtt, .. } = &mut spec.machines;
            [amqp, redis, mqtt].into_iter().for_each(|machine| work_of(machine, factor));
        }
        Cause::ServiceCpu => {
            let Machines { router, task_worker, .. } = &mut spec.machines;
            [router, task_worker].into_iter().for_each(|machine| work_of(machine, factor));
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
        _ => return Err(""),
    }
    Ok(())
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
fn work_of(machine: &mut Machine, factor: f64) {
    let Machine { frame_us, kib_us, write_us, poll_us, .. } = machine;
    for us in [frame_us, kib_us, write_us, poll_us] {
        *us = (f64::from(*us) * factor).round() as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Library, changes};

    fn changed(spec: &str, assumption: &str) -> Result<Vec<String>, String> {
        let spec = Library::repository().load(spec).unwrap();
        let assumptions = Assumptions(vec![assumption.parse().unwrap()]);
        let remedied = remedied(&spec, &assumptions).map_err(|error| error.to_string())?;
        remedied.check()?;
        Ok(changes(&spec, &remedied).unwrap().iter().map(ToString::to_string).collect())
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
    }
}
