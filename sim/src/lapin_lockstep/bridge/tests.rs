//! Turns that are lost: fake threads in lapin's place that keep the baton.

use super::{super::carrier::EndWithCarrier, *};
use crate::{Class, Cluster, Settings, Simulation, SimulationError, os};

/// A turn that is lost on purpose is waited for this long.
const SHORT: Duration = Duration::from_millis(20);

/// A connection whose thread comes to its gate `turns` times and then keeps the baton.
fn stuck_after(turns: u32, host: u16, turn_limit: Duration) -> EndWithCarrier {
    let bridge = Bridge::new(host, turn_limit);
    let theirs = bridge.clone();
    let run = move || {
        for _ in 0..turns {
            theirs.baton.pass_to(Holder::Simulation);
            theirs.baton.wait_for_turn();
        }
        loop {
            thread::park();
        }
    };
    drop(os::permit_threads(|| thread::Builder::new().spawn(run)).unwrap());
    EndWithCarrier(bridge)
}

/// What a simulation dies of in which this runs on a pod. A wait that should not be there takes a minute, which a test
/// may well be told by.
#[expect(clippy::disallowed_methods, reason = "real threads are waited for in real time")]
fn death_of<F: Future<Output = ()> + Send + 'static>(pod: impl FnOnce() -> F + Send + 'static) -> String {
    let started = std::time::Instant::now();
    let mut simulation = Simulation::new(Settings::default());
    simulation.add_pod("client", Class::Service);
    let outcome = simulation.run(async move |cluster: Cluster| {
        let env = cluster.env("client");
        env.spawn("client", pod());
        tokio::time::sleep(Duration::from_secs(1)).await;
    });
    assert!(started.elapsed() < TURN_LIMIT / 2, "somebody has waited for a thread that does not come back");
    match outcome {
        Err(SimulationError::Panicked { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lost_turn_ends_the_run_with_its_message_and_without_waiting_for_others() {
    let message = death_of(async || {
        let _others = [stuck_after(0, 0, TURN_LIMIT), stuck_after(1, 0, TURN_LIMIT)];
        let lost = stuck_after(1, 0, SHORT);
        lost.0.mark();
        std::future::pending().await
    });
    assert_eq!(
        message,
        "lapin's thread of connection 3 (host 0) has not come back from its turn in 20ms; does it block anywhere but \
         at the gate?"
    );
}

#[test]
fn a_thread_that_is_lost_while_a_panic_unwinds_does_not_abort_the_process() {
    let message = death_of(async || {
        let _in_this_order = [stuck_after(0, 0, SHORT), stuck_after(0, 0, TURN_LIMIT)];
        panic!("an assertion in the world")
    });
    assert_eq!(message, "task `client` of client: an assertion in the world");
}
