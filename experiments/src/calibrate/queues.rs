//! How RabbitMQ begins and ends reply queues when many callers wait for it.

use anyhow::Context;
use backbone::env::Env;
use futures_util::future::try_join_all;
use lapin::{
    Connection, ConnectionProperties,
    options::{BasicConsumeOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Callers that begin and end queues at the same time, each over a connection of its own: as many as the thesis'
/// workers.
pub(super) const CALLERS: usize = 50;
/// Queues that each of them begins and ends.
const QUEUES: usize = 100;
/// One is not overtaken by more than the others ask for in the time of some rounds.
const OVERTAKERS_MAX: usize = 10 * CALLERS;
/// Limit of the whole measurement.
const LIMIT: Duration = Duration::from_secs(60);

/// The begin or the end of a queue, as its caller saw it.
#[derive(Clone, Copy, Debug)]
struct Change {
    asked: Instant,
    answered: Instant,
}

/// How a broker that is never without work answers: one change of its queues after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Mean time between two answers, in microseconds: what one change takes.
    pub mean_us: f64,
    /// Its standard deviation over the mean.
    pub variation: f64,
    /// How many that were asked for later are answered before one, at the mean.
    pub overtaken: f64,
}

impl Pace {
    fn of(mut changes: Vec<Change>) -> anyhow::Result<Self> {
        changes.sort_unstable_by_key(|change| change.answered);
        let gaps_us: Vec<f64> = changes
            .windows(2)
            .map(|pair| pair[1].answered.duration_since(pair[0].answered).as_nanos() as f64 / 1e3)
            .collect();
        let count = gaps_us.len() as f64;
        let mean_us = gaps_us.iter().sum::<f64>() / count;
        anyhow::ensure!(mean_us > 0.0, "a broker's pace needs two answers at different times");
        let variance = gaps_us.iter().map(|gap| (gap - mean_us) * (gap - mean_us)).sum::<f64>() / count;
        let overtaken: usize = (1..changes.len())
            .map(|i| changes[..i].iter().rev().take(OVERTAKERS_MAX).filter(|c| c.asked > changes[i].asked).count())
            .sum();
        let overtaken = overtaken as f64 / changes.len() as f64;
        Ok(Self { mean_us, variation: variance.sqrt() / mean_us, overtaken })
    }

    /// Sigma of a log-normal distribution with this variation.
    pub(super) fn sigma(self) -> f64 {
        libm::log1p(self.variation * self.variation).sqrt()
    }

    /// Median of a log-normal distribution with this mean and variation.
    pub(super) fn median_us(self) -> f64 {
        self.mean_us * libm::exp(-self.sigma() * self.sigma() / 2.0)
    }

    /// How often the broker takes any of those that wait instead of the one that has waited longest, from 0 to 1. Of n
    /// that wait, any one overtakes (n - 1) / 2 at the mean.
    pub(super) fn disorder(self) -> f64 {
        (2.0 * self.overtaken / (CALLERS - 1) as f64).min(1.0)
    }
}

/// RabbitMQ's pace when all of [`CALLERS`] always wait for the begin or the end of a reply queue.
pub(super) async fn under_load(url: &str) -> anyhow::Result<Pace> {
    timeout(LIMIT, all_callers(url))
        .await
        .with_context(|| format!("reply queues under load: not done within {LIMIT:?}"))?
}

async fn all_callers(url: &str) -> anyhow::Result<Pace> {
    let mut connections = Vec::new();
    for _ in 0..CALLERS {
        let uri = url.parse().map_err(|_| anyhow::anyhow!("no AMQP URL"))?;
        connections.push(backbone::amqp::connect(&Env::tokio(), uri, None, ConnectionProperties::default()).await?);
    }
    let changes = try_join_all(connections.iter().map(begin_and_end_queues)).await?;
    for connection in connections {
        connection.close(200, "OK".into()).await?;
    }
    // Only the time in which all of them were at work.
    let begin = changes.iter().filter_map(|own| own.first()).map(|change| change.answered).max();
    let end = changes.iter().filter_map(|own| own.last()).map(|change| change.answered).min();
    let (begin, end) = begin.zip(end).context("every caller had answers")?;
    Pace::of(changes.into_iter().flatten().filter(|change| (begin..=end).contains(&change.answered)).collect())
}

/// What a task worker does with a queue a call, without the calls.
async fn begin_and_end_queues(connection: &Connection) -> anyhow::Result<Vec<Change>> {
    let options = QueueDeclareOptions { auto_delete: true, ..Default::default() };
    let consume = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let mut changes = Vec::with_capacity(2 * QUEUES);
    for _ in 0..QUEUES {
        let channel = connection.create_channel().await?;
        let asked = Instant::now();
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
        changes.push(Change { asked, answered: Instant::now() });
        let _consumer = channel.basic_consume(queue.name().clone(), "".into(), consume, FieldTable::default()).await?;
        let asked = Instant::now();
        channel.queue_delete(queue.name().clone(), QueueDeleteOptions::default()).await?;
        changes.push(Change { asked, answered: Instant::now() });
        channel.close(200, "OK".into()).await?;
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changes that are all asked for at once, and answered with these gaps between them.
    fn answers(gaps_us: &[u64]) -> Vec<Change> {
        let asked = Instant::now();
        let ends = gaps_us.iter().scan(0, |at_us, gap_us| {
            *at_us += gap_us;
            Some(*at_us)
        });
        std::iter::once(0).chain(ends).map(|us| Change { asked, answered: asked + Duration::from_micros(us) }).collect()
    }

    #[test]
    fn a_pace_is_told_by_the_time_between_answers() {
        let even = Pace::of(answers(&[1_000; 50])).unwrap();
        assert!((even.mean_us - 1_000.0).abs() < 1e-6 && even.variation < 1e-6, "{even:?}");
        assert!((even.median_us() - 1_000.0).abs() < 1e-3);
        // Two at a time: the same pace, with a deviation as large as the mean. exp(sigma^2) = 2.
        let pairs = Pace::of(answers(&[0, 2_000].repeat(50))).unwrap();
        assert!((pairs.mean_us - 1_000.0).abs() < 1e-6 && (pairs.variation - 1.0).abs() < 1e-6, "{pairs:?}");
        assert!((pairs.sigma() - 0.8326).abs() < 1e-3 && (pairs.median_us() - 707.1).abs() < 0.1);
    }

    #[test]
    fn disorder_is_told_by_those_that_are_answered_before_earlier_ones() {
        let mut changes = answers(&[1_000; 9]);
        for (place, change) in changes.iter_mut().enumerate() {
            change.asked += Duration::from_micros(place as u64);
        }
        let in_order = Pace::of(changes.clone()).unwrap();
        assert!(in_order.overtaken == 0.0 && in_order.disorder() == 0.0, "{in_order:?}");
        // The first is answered last, after nine others.
        changes[0].answered += Duration::from_millis(20);
        assert!((Pace::of(changes).unwrap().overtaken - 0.9).abs() < 1e-9);
        assert!((Pace { overtaken: 12.25, ..in_order }.disorder() - 0.5).abs() < 1e-9);
    }
}
