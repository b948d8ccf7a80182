//! What breaks in a live run: processes that die, stop or stand still, and ways between them on which nothing passes,
//! by the same specs as in the simulator.
//!
//! Each fault begins at its time. One whose process is in the hands of another fault waits for that one's end: one that
//! is dead can't be frozen. A broker takes the time that it needs to boot, RabbitMQ seconds, beside that for which it
//! is away.

use super::{
    options::Options,
    processes::{Found, Processes},
    ways,
};
use crate::{
    measure::{Oracle, Recorder},
    spec::{Fault, FaultKind, Pod, Spec},
};
use anyhow::{Context, bail, ensure};
use backbone::env::{Env, TaskGuard};
use futures_util::future::try_join_all;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};

/// What a live run can do.
pub const KINDS: [FaultKind; 6] = [
    FaultKind::Crash,
    FaultKind::Restart,
    FaultKind::RollingRestart,
    FaultKind::ScaleToOne,
    FaultKind::Freeze,
    FaultKind::Hold,
];

/// Faults that happen. Dropping this ends them.
pub(super) struct Faults {
    /// How often each did something, when all are over.
    pub(super) hits: oneshot::Receiver<anyhow::Result<Vec<u64>>>,
    _task: TaskGuard,
}

/// Refuses what can't be done.
pub(super) fn refuse(spec: &Spec, options: &Options) -> anyhow::Result<()> {
    for fault in &spec.faults {
        let Fault { kind, target, for_ms, .. } = fault;
        let kinds = KINDS.map(FaultKind::word).join(", ");
        ensure!(
            KINDS.contains(kind),
            "{} has a fault `{}`, which only the simulator injects; a live run has {kinds}",
            spec.name,
            kind.word()
        );
        ensure!(
            matches!(target.example(), Pod::Router(..) | Pod::Amqp | Pod::Mqtt | Pod::Redis),
            "{} breaks {target}, which is no process of its own in a live run; routers, amqp, mqtt and redis are",
            spec.name
        );
        let ways = ways::hit(spec, fault);
        ensure!(
            *kind != FaultKind::Hold || !ways.is_empty() && matches!(target.example(), Pod::Router(..)),
            "{} holds what {target} sends; a live run holds what is between a router and its brokers",
            spec.name
        );
        let given = [(Pod::Amqp, &options.amqp), (Pod::Mqtt, &options.mqtt), (Pod::Redis, &options.redis)];
        let is_hit = |broker: Pod| target.example() == broker || ways.iter().any(|(_, end)| *end == broker);
        if let Some((broker, _)) = given.iter().find(|(broker, url)| url.is_some() && is_hit(*broker)) {
            bail!("{} breaks {target}, and --{broker} names one that is not the run's", spec.name);
        }
        ensure!(
            for_ms.is_some(),
            "{} breaks {target} without an end (`for_ms`): a live run waits until all works again",
            spec.name
        );
    }
    Ok(())
}

/// Lets all faults of `spec` happen at their times, counted from now.
pub(super) fn begin(processes: Arc<Processes>, spec: Arc<Spec>, recorder: Recorder) -> Faults {
    let (over, hits) = oneshot::channel();
    let task = Env::tokio().spawn("faults", async move {
        let _ = over.send(all(&processes, &spec, &recorder).await);
    });
    Faults { hits, _task: task.into() }
}

async fn all(processes: &Processes, spec: &Spec, recorder: &Recorder) -> anyhow::Result<Vec<u64>> {
    let start = Instant::now();
    let hits = try_join_all(spec.faults.iter().map(|fault| async move {
        sleep_until(start + Duration::from_millis(fault.at_ms)).await;
        let happened = Breaking { processes, spec, recorder }.happen(fault).await;
        happened.with_context(|| format!("the fault `{} {}`", fault.kind.word(), fault.target))
    }));
    let hits = hits.await?;
    recorder.note_hits(spec, &hits);
    Ok(hits)
}

/// What faults happen to, and who hears of it.
#[derive(Clone, Copy)]
struct Breaking<'a> {
    processes: &'a Processes,
    spec: &'a Spec,
    recorder: &'a Recorder,
}

impl Breaking<'_> {
    /// One fault, from its begin to its end. Returns how many processes, or connections, it hit.
    async fn happen(&self, fault: &Fault) -> anyhow::Result<u64> {
        let pods = fault.target.pods(self.spec);
        let lasts = Duration::from_millis(fault.for_ms.unwrap_or(0));
        let mut hits = 0;
        match fault.kind {
            FaultKind::RollingRestart => {
                for pod in pods {
                    hits += self.hit(fault.kind, pod, lasts).await?;
                    sleep(lasts).await;
                }
            }
            FaultKind::Hold => hits = self.processes.ways().hold(self.spec, fault, lasts).await,
            FaultKind::ScaleToOne => hits = self.hit_all(fault.kind, &pods[1..], lasts).await?,
            kind => hits = self.hit_all(kind, &pods, lasts).await?,
        }
        Ok(hits)
    }

    /// A fault of `kind` to all of `pods` at once: how many of them were there.
    async fn hit_all(&self, kind: FaultKind, pods: &[Pod], lasts: Duration) -> anyhow::Result<u64> {
        Ok(try_join_all(pods.iter().map(|pod| self.hit(kind, *pod, lasts))).await?.into_iter().sum())
    }

    /// What happens to one process, until it is there again: 1, if it was there. One that ended before, and by itself,
    /// was not hit: that it ended is a finding.
    async fn hit(&self, kind: FaultKind, pod: Pod, lasts: Duration) -> anyhow::Result<u64> {
        let Some(mut part) = self.processes.part(pod).await else { return Ok(0) };
        let found = part.look()?;
        let is_hit = found == Found::Runs;
        if let Found::Ended(how) = found {
            self.recorder.violate(Oracle::Panicked.broken(how));
        }
        match kind {
            FaultKind::Freeze => part.freeze().await?,
            FaultKind::Crash => part.kill().await?,
            _ => part.stop().await?,
        }
        sleep(lasts).await;
        match kind {
            FaultKind::Freeze => part.thaw().await?,
            _ => part.start(self.processes).await?,
        }
        Ok(is_hit.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backbone::config::RouterKind;

    fn refused(fault: Fault, options: &Options) -> String {
        let spec = Spec { name: "mine".into(), faults: vec![fault], ..Spec::default() };
        refuse(&spec, options).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn what_a_live_run_can_not_break_is_refused_by_name_and_with_what_it_can() {
        let none = Options::default();
        let kind = refused(Fault::new(1, FaultKind::PowerOff, Pod::Amqp, 1), &none);
        assert!(kind.contains("`power_off`") && kind.contains("crash, restart, rolling_restart"), "{kind}");
        let part = refused(Fault::new(1, FaultKind::Crash, Pod::TaskWorker(0), 1), &none);
        assert!(part.contains("breaks task_worker-0") && part.contains("routers, amqp, mqtt and redis"), "{part}");
        assert!(refused(Fault::new(1, FaultKind::Freeze, Pod::Redis, None), &none).contains("without an end"));
        let mine = Options { redis: Some("redis://localhost".into()), ..Options::default() };
        let fault = Fault::new(1, FaultKind::Freeze, Pod::Redis, 5);
        assert!(refused(fault.clone(), &mine).contains("--redis names one that is not the run's"));
        assert_eq!(refused(fault, &none), "");
        let router = Pod::Router(RouterKind::Forward, 0);
        let held = Fault::new(1, FaultKind::Hold, router, 5);
        assert!(refused(held.clone(), &mine).contains("--redis names one that is not the run's"));
        assert_eq!(refused(held.from(Pod::Mqtt), &mine), "");
        let whole = refused(Fault::new(1, FaultKind::Hold, Pod::Mqtt, 5), &none);
        assert!(whole.contains("between a router and its brokers"), "{whole}");
    }
}
