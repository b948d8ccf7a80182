//! What faults can hit in a live run: routers and private brokers, as processes that are killed, stopped, frozen and
//! started again, on the same ports and with the same data.

use super::{
    brokers::Private,
    keys::Keys,
    router::{Launcher, Router},
    ways::Ways,
};
use crate::{spec::Pod, workload::gateway_mac};
use backbone::config::RoutingMode;
use rustix::process::Signal;
use sim::real::broker::Real;
use std::{collections::BTreeMap, time::Duration};
use tokio::sync::{Mutex, MutexGuard};

/// All of them. Dropping this ends the routers.
pub(super) struct Processes {
    routers: BTreeMap<Pod, Mutex<Option<Router>>>,
    brokers: BTreeMap<Pod, Mutex<Private>>,
    /// Has the routers' folder, so it goes after them.
    launcher: Launcher,
}

/// What a part is found to do before something happens to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It runs.
    Runs,
    /// Somebody has ended it.
    Away,
    /// It has ended by itself, and so.
    Ended(String),
}

/// One of them. Nobody else does anything to it meanwhile.
pub(super) enum Part<'a> {
    /// A router; `None` while it does not run.
    Router(Pod, MutexGuard<'a, Option<Router>>),
    /// A broker, whether it runs or not.
    Broker(Pod, MutexGuard<'a, Private>),
}

impl Processes {
    /// `routers` do not run yet, `brokers` do.
    ///
    /// # Errors
    /// When one can't be put under its quota.
    pub(super) fn new(
        launcher: Launcher,
        routers: impl Iterator<Item = Pod>,
        brokers: &[(Pod, Private)],
    ) -> anyhow::Result<Self> {
        for (pod, broker) in brokers {
            broker.hold(launcher.confine(*pod, broker.pid())?);
        }
        let routers = routers.map(|pod| (pod, Mutex::new(None))).collect();
        let brokers = brokers.iter().map(|(pod, broker)| (*pod, Mutex::new(broker.clone()))).collect();
        Ok(Self { routers, brokers, launcher })
    }

    /// The process of `pod`, as soon as nobody else does something to it; `None`: it has none of its own.
    pub(super) async fn part(&self, pod: Pod) -> Option<Part<'_>> {
        if let Some(router) = self.routers.get(&pod) {
            return Some(Part::Router(pod, router.lock().await));
        }
        Some(Part::Broker(pod, self.brokers.get(&pod)?.lock().await))
    }

    /// How routers get to the brokers.
    pub(super) fn ways(&self) -> &Ways {
        &self.launcher.ways
    }

    /// Starts a router.
    ///
    /// # Errors
    /// When it can't be started.
    ///
    /// # Panics
    /// If there is no such router.
    pub(super) async fn start(&self, router: Pod) -> anyhow::Result<()> {
        *self.routers[&router].lock().await = Some(self.launcher.start(router)?);
        Ok(())
    }

    /// All routers, in the order of their pods, each as soon as nobody else does something to it; `None` for one that
    /// does not run.
    pub(super) async fn routers(&self) -> Vec<MutexGuard<'_, Option<Router>>> {
        let mut routers = Vec::new();
        for router in self.routers.values() {
            routers.push(router.lock().await);
        }
        routers
    }

    /// The CPU time that each router has used, in us.
    pub(super) async fn cpu_us(&self) -> Vec<(Pod, u64)> {
        let routers = self.routers().await;
        let of = |router: &Router| (router.pod(), router.cpu_us().unwrap_or(0));
        routers.iter().filter_map(|router| router.as_ref().map(of)).collect()
    }

    /// Names the one gateway of fixed routing in Redis, as its operator does, wherever it has forgotten.
    ///
    /// # Errors
    /// When Redis does not answer or refuses.
    pub(super) async fn name_gateway(&self) -> anyhow::Result<()> {
        let Launcher { spec, config, .. } = &self.launcher;
        if config.routing.mode != RoutingMode::Fixed {
            return Ok(());
        }
        let limit = Duration::from_secs(spec.limits.virtual_s_max.into());
        Keys::open(&config.redis).await?.set_default_route(&gateway_mac(0).to_string(), limit).await
    }
}

impl Part<'_> {
    /// Whether there is something that a fault can hit. A router that has ended by itself is told of once, and is away
    /// from then on.
    ///
    /// # Errors
    /// When the system does not say.
    pub(super) fn look(&mut self) -> anyhow::Result<Found> {
        let Self::Router(_, router) = self else { return Ok(Found::Runs) };
        let Some(running) = router.as_mut() else { return Ok(Found::Away) };
        let ended = running.ended()?;
        if ended.is_some() {
            **router = None;
        }
        Ok(ended.map_or(Found::Runs, Found::Ended))
    }

    /// Ends it at once (SIGKILL), if it runs.
    ///
    /// # Errors
    /// When a broker does not end.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Router(_, router) => {
                **router = None;
                Ok(())
            }
            Self::Broker(_, broker) => broker.order(Real::kill).await,
        }
    }

    /// Asks it to end (SIGTERM), if it runs, and waits until it has.
    ///
    /// # Errors
    /// When it fails or takes too long.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Router(_, router) => match router.take() {
                Some(router) => router.stop().await,
                None => Ok(()),
            },
            Self::Broker(_, broker) => broker.order(Real::stop).await,
        }
    }

    /// Starts it after it has ended. A broker serves when this returns.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) async fn start(&mut self, processes: &Processes) -> anyhow::Result<()> {
        match self {
            Self::Router(pod, router) => **router = Some(processes.launcher.start(*pod)?),
            Self::Broker(pod, broker) => {
                broker.hold(None);
                broker.order(Real::start_again).await?;
                broker.hold(processes.launcher.confine(*pod, broker.pid())?);
                if *pod == Pod::Redis {
                    processes.name_gateway().await?;
                }
            }
        }
        Ok(())
    }

    /// Lets it stand still (SIGSTOP), if it runs.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) async fn freeze(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Router(_, router) => router.as_ref().map_or(Ok(()), |router| router.signal(Signal::STOP)),
            Self::Broker(_, broker) => broker.order(Real::pause).await,
        }
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// When it is gone.
    pub(super) async fn thaw(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Router(_, router) => router.as_ref().map_or(Ok(()), |router| router.signal(Signal::CONT)),
            Self::Broker(_, broker) => broker.order(Real::resume).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backbone::config::RouterKind;
    use std::process::{Command, Stdio};

    fn process(program: &str, argument: &str) -> Mutex<Option<Router>> {
        let child = Command::new(program).arg(argument).stdin(Stdio::null()).spawn().unwrap();
        Mutex::new(Some(Router::of(Pod::Router(RouterKind::Forward, 0), child).unwrap()))
    }

    #[tokio::test]
    async fn a_router_that_ended_by_itself_is_told_once_and_is_nothing_to_hit() {
        let (ended, runs) = (process("false", ""), process("sleep", "600"));
        ended.lock().await.as_mut().unwrap().wait();
        let pod = Pod::Router(RouterKind::Forward, 0);
        let mut part = Part::Router(pod, ended.lock().await);
        let Found::Ended(how) = part.look().unwrap() else { panic!("it has ended") };
        assert!(how.contains("fwd_router-0 has ended (exit status: 1)"), "{how}");
        assert_eq!(part.look().unwrap(), Found::Away);
        let mut part = Part::Router(pod, runs.lock().await);
        assert_eq!(part.look().unwrap(), Found::Runs);
        part.kill().await.unwrap();
        assert_eq!(part.look().unwrap(), Found::Away);
    }
}
