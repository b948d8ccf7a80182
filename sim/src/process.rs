//! What runs on a pod: every poll and every drop of its futures happens on that pod's network stack.

use crate::{
    cpu::Job,
    engine::{is_running, try_with, with},
    escape::Door,
    os,
};
use futures_util::{FutureExt as _, future::BoxFuture};
use std::{
    any::Any,
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};
use tokio::task::AbortHandle;

/// What tokio says, in a panic, to whoever wants its IO driver, which a simulation's runtime lacks.
const NO_IO_DRIVER: &str = "context was found, but IO is disabled";

/// So many polls at the same moment are no work but two who wake each other for ever. A burst of tens of thousands of
/// tasks has a hundredth of it. A power of two.
const POLLS_AT_A_MOMENT_MAX: u64 = 1 << 22;

thread_local! {
    /// Polls since the start of the run.
    static POLLS: Cell<u64> = const { Cell::new(0) };
    /// When [`POLLS`] was last a multiple of [`POLLS_AT_A_MOMENT_MAX`], in virtual time.
    static LAST_LOOK_US: Cell<Option<u64>> = const { Cell::new(None) };
    /// The host that [`enter`] was last called with.
    static CURRENT: Cell<Option<u16>> = const { Cell::new(None) };
    /// Hosts whose processes stand still.
    static FROZEN: RefCell<BTreeMap<u16, Frozen>> = const { RefCell::new(BTreeMap::new()) };
    /// Whether there are any: looked at before each poll.
    static SOME_ARE_FROZEN: Cell<bool> = const { Cell::new(false) };
}

/// What stands still on a host.
#[derive(Default)]
struct Frozen {
    /// How many want it so.
    holds: u32,
    /// Those of its tasks that would run.
    held: Vec<Waker>,
    /// How often one would have run.
    hits: usize,
    /// It was killed, and nothing of it stands still any more.
    is_over: bool,
}

/// From now on no task of `host` runs, though its kernel goes on. May be called again: then as many [`thaw`]s end it.
pub(crate) fn freeze(host: u16) {
    FROZEN.with_borrow_mut(|frozen| frozen.entry(host).or_default().holds += 1);
    SOME_ARE_FROZEN.set(true);
}

/// Ends one [`freeze`]. Returns how often a task would have run since the host stands still: 0 if it does not.
pub(crate) fn thaw(host: u16) -> usize {
    let Some((hits, held)) = FROZEN.with_borrow_mut(|frozen| {
        let state = frozen.get_mut(&host)?;
        state.holds -= 1;
        let (hits, is_last) = (state.hits, state.holds == 0);
        let held = if is_last { std::mem::take(&mut state.held) } else { Vec::new() };
        if is_last {
            frozen.remove(&host);
            SOME_ARE_FROZEN.set(!frozen.is_empty());
        }
        Some((hits, held))
    }) else {
        return 0;
    };
    held.into_iter().for_each(Waker::wake);
    hits
}

/// How often a task of `host` would have run since it stands still: 0 if it does not.
pub(crate) fn held_up(host: u16) -> usize {
    FROZEN.with_borrow(|frozen| frozen.get(&host).map_or(0, |state| state.hits))
}

/// A process that stood still is killed: its tasks run to their ends.
pub(crate) fn release(host: u16) {
    let held = FROZEN.with_borrow_mut(|frozen| {
        let Some(state) = frozen.get_mut(&host) else { return Vec::new() };
        state.is_over = true;
        std::mem::take(&mut state.held)
    });
    held.into_iter().for_each(Waker::wake);
}

/// Whether a task of `host` has to stand still; it is woken when that ends.
fn stands_still(host: u16, cx: &Context<'_>) -> bool {
    SOME_ARE_FROZEN.get()
        && FROZEN.with_borrow_mut(|frozen| {
            let Some(state) = frozen.get_mut(&host).filter(|state| !state.is_over) else { return false };
            state.hits += 1;
            state.held.push(cx.waker().clone());
            true
        })
}

/// Socket calls that follow go to this host's kernel.
pub(crate) fn enter(host: u16) {
    if CURRENT.replace(Some(host)) != Some(host) {
        turmoil_net::set_current(with(|engine| engine.pods.id_of(host)));
    }
}

/// Virtual time in microseconds since the start, and the pod whose process runs just now on this thread: for log lines.
/// `None` outside of a simulation, and within the simulator itself.
#[must_use]
pub fn whereabouts() -> Option<(u64, String)> {
    let host = CURRENT.get()?;
    try_with(|engine| (engine.now_us(), engine.pods.name_of(host).to_owned()))
}

/// A future on the network stack of a host. `after` is called after each poll and after the drop.
pub(crate) struct OnPod<F> {
    host: u16,
    future: Option<F>,
    after: fn(u16),
    /// Each poll takes CPU time of the pod.
    pays: bool,
    /// What has to be over before the next poll.
    work: Option<Job>,
}

impl<F> OnPod<F> {
    pub(crate) fn new(host: u16, future: F, after: fn(u16)) -> Self {
        Self { host, future: Some(future), after, pays: false, work: None }
    }

    /// A process's task: it runs when its pod's CPU has come to it.
    fn process(host: u16, future: F, after: fn(u16)) -> Self {
        let pays = with(|engine| engine.hosts[host].plan.cpu.poll_us > 0);
        let mut process = Self::new(host, future, after);
        process.pays = pays;
        process
    }

    fn poll_cpu(&mut self, cx: &Context<'_>) -> Poll<()> {
        let host = self.host;
        let work = *self.work.get_or_insert_with(|| with(|engine| engine.run_task(host)));
        ready!(with(|engine| engine.poll_job(host, work, cx)));
        self.work = None;
        Poll::Ready(())
    }
}

impl<F: Future + Unpin> Future for OnPod<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if stands_still(self.host, cx) {
            return Poll::Pending;
        }
        if self.pays {
            ready!(self.poll_cpu(cx));
        }
        enter(self.host);
        let polled = self.future.as_mut().expect("present until the drop").poll_unpin(cx);
        (self.after)(self.host);
        polled
    }
}

impl<F> Drop for OnPod<F> {
    fn drop(&mut self) {
        if is_running() {
            enter(self.host);
            self.future = None;
            (self.after)(self.host);
            os::attribute_escape(|| format!("a destructor on {}", name_of(self.host)));
        }
    }
}

/// Starts a task that ends with its pod. Should it panic, the run ends ([`has_panicked`]).
pub(crate) fn spawn(host: u16, name: &'static str, task: BoxFuture<'static, ()>, after: fn(u16)) -> AbortHandle {
    let mut task = OnPod::process(host, task, after);
    let who = move || format!("task `{name}` of {}", name_of(host));
    let step = move |cx: &mut Context<'_>| {
        assert_time_goes_on();
        task.poll_unpin(cx)
    };
    let mut step = AssertUnwindSafe(step);
    let named = poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| (step.0)(cx))) {
        Ok(polled) => {
            os::assert_no_escape(who);
            polled
        }
        Err(panic) => {
            if message_of(&*panic).contains(NO_IO_DRIVER) {
                os::refuse(Door::Driver);
            }
            os::attribute_escape(who);
            let message = || format!("{}: {}", who(), message_of(&*panic));
            FIRST_PANIC.with_borrow_mut(|first| _ = first.get_or_insert_with(message));
            // Not on: tokio would drop all other tasks from within this one's end, and those that wake each other in
            // their destructors would panic, too, which aborts the whole program.
            Poll::Ready(())
        }
    });
    let handle = known_spawn(|| tokio_spawn(named));
    with(|engine| {
        if engine.hosts[host].is_alive() {
            engine.pods.add_task(host, handle.clone());
        } else {
            handle.abort(); // a dying pod's last task, started from a destructor
        }
    });
    handle
}

/// Counts a poll; looks at the clock only now and then.
fn assert_time_goes_on() {
    let polls = POLLS.get() + 1;
    POLLS.set(polls);
    if polls.is_multiple_of(POLLS_AT_A_MOMENT_MAX) {
        let now_us = with(|engine| engine.now_us());
        assert!(
            LAST_LOOK_US.replace(Some(now_us)) != Some(now_us),
            "time stands still at {now_us} us: tasks ran {POLLS_AT_A_MOMENT_MAX} times without a wait, this one too"
        );
    }
}

fn name_of(host: u16) -> String {
    with(|engine| engine.pods.name_of(host).to_owned())
}

/// Whether a task of this thread has panicked.
pub(crate) fn has_panicked() -> bool {
    FIRST_PANIC.with_borrow(Option::is_some)
}

/// Which task of this thread panicked first, and with what message.
pub(crate) fn first_panic() -> Option<String> {
    FIRST_PANIC.take()
}

/// The text of a panic.
pub(crate) fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("(no message)")
}

#[expect(clippy::disallowed_methods, reason = "this is what Env::spawn is made of in the simulation")]
fn tokio_spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    tokio::spawn(task).abort_handle()
}

thread_local! {
    static KNOWN: Cell<bool> = const { Cell::new(false) };
    static FIRST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Marks what `f` spawns as the simulator's own doing.
pub(crate) fn known_spawn<R>(f: impl FnOnce() -> R) -> R {
    KNOWN.set(true);
    let result = f();
    KNOWN.set(false);
    result
}

/// tokio's `on_task_spawn`: a task spawned past the environment would survive its pod, and its calls into lapin would
/// not be noticed.
pub(crate) fn assert_spawned_through_env() {
    if !KNOWN.get() {
        os::refuse(Door::Task);
        panic!("a task was spawned past Env::spawn; it would outlive its pod");
    }
}
