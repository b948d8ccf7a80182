//! Which pods run, and who keeps them away. Faults and the autoscaler may want things of one pod at the same time; a
//! pod runs while it is wanted and nobody keeps it away.

use crate::{deployment::Process, spec::Pod};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

/// What a pod does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// It has not started yet.
    #[default]
    New,
    Runs,
    /// It was asked to stop and has not stopped yet.
    Stops,
    /// Its process has ended, and its host with it.
    Dead,
}

/// How a pod is to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// On the host that it has.
    Here,
    /// On a new one.
    Elsewhere,
}

#[derive(Default)]
struct Life {
    state: State,
    is_wanted: bool,
    /// How many faults keep it away.
    kept_away: u32,
    /// Of a service that can be asked to stop.
    process: Option<Process>,
}

impl Life {
    /// Whether it has to be started now, and how. If so it counts as running.
    fn starts(&mut self) -> Option<Start> {
        if !self.is_wanted || self.kept_away > 0 {
            return None;
        }
        let start = match self.state {
            State::Runs | State::Stops => return None,
            State::New => Start::Here,
            State::Dead => Start::Elsewhere,
        };
        self.state = State::Runs;
        Some(start)
    }
}

/// The lives of all pods.
#[derive(Default)]
pub(super) struct Lives(Mutex<BTreeMap<Pod, Life>>);

impl Lives {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Pod, Life>> {
        self.0.lock().expect("nothing panics with it")
    }

    fn with<R>(&self, pod: Pod, f: impl FnOnce(&mut Life) -> R) -> R {
        f(self.all().entry(pod).or_default())
    }

    /// From now on `pod` is wanted, or no more.
    pub(super) fn want(&self, pod: Pod, is_wanted: bool) -> Option<Start> {
        self.with(pod, |life| {
            life.is_wanted = is_wanted;
            life.starts()
        })
    }

    /// Somebody keeps `pod` away until [`Lives::let_back`].
    pub(super) fn keep_away(&self, pod: Pod) {
        self.with(pod, |life| life.kept_away += 1);
    }

    /// Whether, and how, it starts now that one less keeps it away.
    pub(super) fn let_back(&self, pod: Pod) -> Option<Start> {
        self.with(pod, |life| {
            life.kept_away -= 1;
            life.starts()
        })
    }

    /// `process` runs on `pod` now.
    pub(super) fn runs(&self, pod: Pod, process: Process) {
        self.with(pod, |life| life.process = Some(process));
    }

    /// The process of `pod`, if it has one that can be asked to stop; from now on it is about to.
    pub(super) fn stops(&self, pod: Pod) -> Option<Process> {
        self.with(pod, |life| {
            let process = life.process.take_if(|_| life.state == State::Runs)?;
            life.state = State::Stops;
            Some(process)
        })
    }

    /// `pod` is killed. Returns whether its host was there still.
    pub(super) fn dies(&self, pod: Pod) -> bool {
        self.with(pod, |life| {
            let had_host = matches!(life.state, State::Runs | State::Stops);
            if had_host {
                (life.state, life.process) = (State::Dead, None);
            }
            had_host
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: Pod = Pod::TaskWorker(0);

    #[test]
    fn a_pod_is_back_when_the_last_one_lets_it() {
        let lives = Lives::default();
        assert_eq!(lives.want(POD, true), Some(Start::Here));
        lives.keep_away(POD);
        assert!(lives.dies(POD));
        lives.keep_away(POD);
        assert!(!lives.dies(POD), "it is dead already");
        assert_eq!(lives.let_back(POD), None);
        assert_eq!(lives.let_back(POD), Some(Start::Elsewhere));
    }

    #[test]
    fn a_pod_that_nobody_wants_any_more_stays_away() {
        let lives = Lives::default();
        lives.want(POD, true);
        lives.keep_away(POD);
        lives.dies(POD);
        lives.want(POD, false);
        assert_eq!(lives.let_back(POD), None);
        assert_eq!(lives.want(POD, true), Some(Start::Elsewhere));
    }

    #[test]
    fn a_pod_that_is_wanted_while_it_is_kept_away_starts_later() {
        let lives = Lives::default();
        lives.keep_away(POD);
        assert!(!lives.dies(POD), "it is not there yet");
        assert_eq!(lives.want(POD, true), None);
        assert_eq!(lives.let_back(POD), Some(Start::Here));
    }
}
