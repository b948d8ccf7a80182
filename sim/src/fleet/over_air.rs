//! A gateway's radio: takes a command to its label, again if need be, and shares its time out among its labels.

use super::{
    air::{Antenna, micros},
    airtime::Calendar,
    phy,
};
use backbone::message::{Mac, Status};
use rand_chacha::ChaCha8Rng;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::{Instant, sleep_until};

/// The radio of one gateway. Cheap to clone; all clones are the same one.
#[derive(Clone)]
pub(super) struct Radio {
    antenna: Antenna,
    state: Arc<Mutex<State>>,
}

struct State {
    calendar: Calendar,
    rng: ChaCha8Rng,
}

/// No acknowledgement came over the air.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Silence {
    /// How often it was tried.
    pub(super) tries: u32,
}

impl Radio {
    /// `rng` decides which packets arrive.
    pub(super) fn new(antenna: Antenna, rng: ChaCha8Rng) -> Self {
        Self { antenna, state: Arc::new(Mutex::new(State { calendar: Calendar::default(), rng })) }
    }

    /// Takes a command to `label`, if that can begin before `deadline`. `execute` is what the label does with it each
    /// time that it gets it: also when the gateway does not learn so.
    ///
    /// # Errors
    /// If the gateway heard no acknowledgement.
    pub(super) async fn command(
        &self,
        label: Mac,
        deadline: Instant,
        execute: impl Fn() -> Status,
    ) -> Result<Status, Silence> {
        let plan = self.antenna.plan();
        let (listens, length_us) = (self.antenna.listens(label), phy::exchange_us(plan.command_bytes));
        let mut not_before_us = self.antenna.now_us();
        let mut tries = 0;
        let answer = loop {
            let begin_us = {
                let calendar = &mut self.state().calendar;
                let begin_us = calendar.first_free_us(not_before_us, length_us, listens);
                if self.antenna.instant(begin_us) >= deadline {
                    break None;
                }
                calendar.book(begin_us, length_us);
                begin_us
            };
            tries += 1;
            sleep_until(self.antenna.instant(begin_us + length_us)).await;
            let exchange = self.antenna.exchange(label, self.antenna.now_us(), &mut self.state().rng);
            let status = exchange.delivered.then(&execute);
            match status {
                Some(status) if exchange.acknowledged => break Some(status),
                _ if tries > plan.repeats_max => break None,
                _ => not_before_us = self.antenna.now_us() + micros(plan.repeat),
            }
        };
        self.antenna.count(tries, answer.is_some());
        answer.ok_or(Silence { tries })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fleet::{Air, Interference, RadioPlan, StorePlan},
        seed::Seed,
    };
    use futures_util::future::join_all;
    use std::{cell::Cell, time::Duration};

    const STORE: StorePlan = StorePlan { gateways: 1, labels: 40, gateways_in_range: 1, side_m: 10.0 };
    const PLAN: RadioPlan = RadioPlan {
        shadowing_db: 0.0,
        fading_db: 0.0,
        noise_figure_db: 7.0,
        command_bytes: 251,
        repeats_max: 3,
        repeat: Duration::from_millis(20),
        wake_period: Duration::ZERO,
        interference: Interference { noise_db: 90.0, from: Duration::from_secs(1), lasts: Duration::from_secs(1_000) },
        roaming_percent: 0,
        roaming_m_per_s: 0.0,
    };

    fn radio(plan: RadioPlan) -> (Air, Radio) {
        let air = Air::new(Seed::new(1), "store 0", plan, STORE, |i| Mac::new(i as u64));
        let radio = Radio::new(air.antenna(0), Seed::new(1).stream("packets"));
        (air, radio)
    }

    fn in_an_hour() -> Instant {
        Instant::now() + Duration::from_secs(3_600)
    }

    #[tokio::test(start_paused = true)]
    async fn one_radio_serves_commands_one_after_the_other() {
        let (air, radio) = radio(PLAN);
        let begin = Instant::now();
        let commands = (0..40).map(|label| radio.command(Mac::new(label), in_an_hour(), || Status::Done));
        assert!(join_all(commands).await.iter().all(Result::is_ok));
        // 2,088 + 150 + 80 + 150 us each.
        assert_eq!(begin.elapsed().as_millis(), (40_u128 * 2_468).div_ceil(1_000));
        assert_eq!((air.usage().at_first_try, air.usage().gateway_us), (40, 40 * 2_468));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleeping_label_answers_at_its_wake_up_and_others_meanwhile() {
        let (_, radio) = radio(RadioPlan { wake_period: Duration::from_millis(900), ..PLAN });
        let begin = Instant::now();
        let command = |label| {
            let radio = radio.clone();
            async move {
                radio.command(Mac::new(label), in_an_hour(), || Status::Done).await.unwrap();
                begin.elapsed()
            }
        };
        let took = join_all((0..10).map(command)).await;
        for (label, took) in took.iter().enumerate() {
            let super::super::airtime::Listens::At { phase_us, .. } = radio.antenna.listens(Mac::new(label as u64))
            else {
                panic!("it sleeps");
            };
            let answered = Duration::from_micros(phase_us + 2_468);
            assert!((answered..answered + Duration::from_millis(2)).contains(took), "{label}: {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_nobody_answers_is_repeated_and_given_up() {
        let (air, radio) = radio(PLAN);
        tokio::time::sleep(Duration::from_secs(2)).await; // now there is too much noise
        let begin = Instant::now();
        let executed = Cell::new(0);
        let execute = || {
            executed.set(executed.get() + 1);
            Status::Done
        };
        assert_eq!(radio.command(Mac::new(1), in_an_hour(), execute).await, Err(Silence { tries: 4 }));
        assert_eq!((begin.elapsed().as_millis(), executed.get()), (4 * 3 + 3 * 20, 0));
        // And not tried at all once its time is over.
        assert_eq!(radio.command(Mac::new(1), begin, execute).await, Err(Silence { tries: 0 }));
        let usage = air.usage();
        assert_eq!((usage.commands, usage.unanswered, usage.tries), (2, 2, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_label_may_have_executed_what_its_gateway_does_not_know_of() {
        // So weak that acknowledgements, too, get lost.
        let (_, radio) = radio(RadioPlan { noise_figure_db: 31.0, repeats_max: 0, command_bytes: 1, ..PLAN });
        let executed = Cell::new(0);
        let (mut heard, mut tried) = (0, 0);
        for label in (0..40).cycle().take(400) {
            let execute = || {
                executed.set(executed.get() + 1);
                Status::Done
            };
            heard += u32::from(radio.command(Mac::new(label), in_an_hour(), execute).await.is_ok());
            tried += 1;
        }
        assert!(0 < heard && heard < executed.get() && executed.get() < tried, "{heard} {} {tried}", executed.get());
    }
}
