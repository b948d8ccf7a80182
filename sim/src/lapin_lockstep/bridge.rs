//! The simulation's side of one AMQP connection.

use super::{
    baton::{Baton, Holder},
    notice,
    pipe::Pipe,
};
use crate::engine::with;
use std::{
    cell::{Cell, RefCell},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    thread,
    time::Duration,
};

/// How long one turn may take in real time, before it is given up: it is a few microseconds of work, so even a crowded
/// machine needs no more.
pub(super) const TURN_LIMIT: Duration = Duration::from_secs(60);

/// What the two threads share of one connection.
pub(super) struct Bridge {
    /// In order of opening; the order in which dirty ones get their turns.
    id: u64,
    host: u16,
    pub(super) baton: Baton,
    /// Set when lapin's thread shall end instead of taking its turn.
    pub(super) ends: AtomicBool,
    /// Set by lapin's thread when what it has read makes it want to write (a close-ok, say): it needs another turn.
    pub(super) wants_turn: AtomicBool,
    pipe: Mutex<Pipe>,
    dirty: AtomicBool,
    /// Wakes the task that moves bytes between the pipe and the socket.
    pub(super) carrier: Mutex<Option<Waker>>,
}

#[derive(Default)]
struct Bridges {
    /// Open connections of each host.
    by_host: Vec<Vec<Arc<Bridge>>>,
    dirty: Vec<Arc<Bridge>>,
    opened: u64,
}

thread_local! {
    static BRIDGES: RefCell<Bridges> = RefCell::default();
    static TURNS: Cell<Turns> = const { Cell::new(Turns { all: 0, idle: 0 }) };
    /// A turn of this simulation was lost: it only unwinds now, and waits for no thread any more.
    static LOST: Cell<bool> = const { Cell::new(false) };
}

/// Turns given to lapin's threads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turns {
    pub(crate) all: u64,
    /// Those in which lapin had nothing to do.
    pub(crate) idle: u64,
}

/// Turns given so far.
pub(crate) fn turns() -> Turns {
    TURNS.get()
}

/// A task of this host was polled or dropped: if it has called lapin, the host's connections need a turn. Which one of
/// them was called cannot be told.
pub(crate) fn mark_if_called(host: u16) {
    if !notice::take_called() {
        return;
    }
    BRIDGES.with_borrow_mut(|bridges| {
        let Bridges { by_host, dirty, .. } = bridges;
        for bridge in by_host.get(usize::from(host)).into_iter().flatten() {
            bridge.put_on(dirty);
        }
    });
}

/// Gives every dirty connection's thread a turn, one after the other. Returns whether there were any. Called at idle
/// moments only.
pub(crate) fn settle_dirty() -> bool {
    let mut dirty = BRIDGES.with_borrow_mut(|bridges| std::mem::take(&mut bridges.dirty));
    if dirty.is_empty() {
        return false;
    }
    dirty.sort_unstable_by_key(|bridge| bridge.id);
    for bridge in &dirty {
        bridge.dirty.store(false, Ordering::Relaxed);
        bridge.take_turn();
    }
    true
}

/// At a quiet moment no thread may have anything left to do.
///
/// # Panics
/// If one has: a call into lapin was made by a task that no pod knows of.
pub(crate) fn assert_none_was_missed() {
    let all: Vec<_> = BRIDGES.with_borrow(|bridges| bridges.by_host.iter().flatten().cloned().collect());
    for bridge in all {
        let moved = bridge.take_turn();
        assert!(
            !moved,
            "a call into lapin on host {} was made by a task that was not spawned through Env",
            bridge.host
        );
    }
}

impl Bridge {
    pub(super) fn new(host: u16, turn_limit: Duration) -> Arc<Self> {
        BRIDGES.with_borrow_mut(|bridges| {
            bridges.opened += 1;
            let bridge = Arc::new(Self {
                id: bridges.opened,
                host,
                baton: Baton::with_lapin(turn_limit),
                ends: AtomicBool::new(false),
                wants_turn: AtomicBool::new(false),
                pipe: Mutex::default(),
                dirty: AtomicBool::new(false),
                carrier: Mutex::default(),
            });
            let hosts = bridges.by_host.len().max(usize::from(host) + 1);
            bridges.by_host.resize_with(hosts, Vec::new);
            bridges.by_host[usize::from(host)].push(bridge.clone());
            bridge
        })
    }

    fn put_on(self: &Arc<Self>, list: &mut Vec<Arc<Self>>) {
        if !self.dirty.swap(true, Ordering::Relaxed) {
            list.push(self.clone());
        }
    }

    pub(super) fn mark(self: &Arc<Self>) {
        BRIDGES.with_borrow_mut(|bridges| self.put_on(&mut bridges.dirty));
    }

    /// Who runs in one of lapin's own tasks: what it calls back, for one.
    pub(super) fn task_of_lapin(&self) -> String {
        format!("a task of lapin's on {}", with(|engine| engine.pods.name_of(self.host).to_owned()))
    }

    pub(super) fn pipe(&self) -> MutexGuard<'_, Pipe> {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner) // lapin's thread may end by unwinding
    }

    /// Waits until lapin's thread stands at its gate or has ended.
    ///
    /// # Panics
    /// If it doesn't come back in time: the world is lost. Not while the world unwinds already, which a second panic
    /// would turn into an abort without a message.
    fn wait_for_return(&self) {
        if LOST.get() || self.baton.wait_for_return() {
            return;
        }
        LOST.set(true);
        if !thread::panicking() {
            panic!(
                "lapin's thread of connection {} (host {}) has not come back from its turn in {:?}; does it block \
                 anywhere but at the gate?",
                self.id,
                self.host,
                self.baton.turn_limit()
            );
        }
    }

    /// Lets lapin's thread go once round its loop: write what was asked for, read all that has arrived, handle it.
    /// Returns whether it moved any bytes.
    fn take_turn(self: &Arc<Self>) -> bool {
        self.wait_for_return();
        let moved_before = self.pipe().moved;
        if self.baton.holder() == Holder::Simulation {
            self.baton.pass_to(Holder::Lapin);
            self.wait_for_return();
            if self.wants_turn.swap(false, Ordering::AcqRel) {
                self.mark(); // together with what the tasks do that it has woken
            }
        }
        let pipe = self.pipe();
        if pipe.has_output() || self.baton.holder() == Holder::Gone {
            self.carrier.lock().expect("held for a clone only").iter().for_each(Waker::wake_by_ref);
        }
        let moved = pipe.moved != moved_before;
        let Turns { all, idle } = TURNS.get();
        TURNS.set(Turns { all: all + 1, idle: idle + u64::from(!moved) });
        moved
    }

    /// Ends lapin's thread and waits for it; in a lost world it is told to end, and left to do so when it can. The
    /// connection gets no turn any more.
    pub(super) fn end(&self) {
        self.ends.store(true, Ordering::Release);
        self.wait_for_return();
        if self.baton.holder() == Holder::Simulation {
            self.baton.pass_to(Holder::Lapin);
            self.wait_for_return();
        }
        assert!(LOST.get() || self.baton.holder() == Holder::Gone, "a thread that was told to end has ended");
        BRIDGES.with_borrow_mut(|bridges| {
            bridges.by_host[usize::from(self.host)].retain(|bridge| bridge.id != self.id);
        });
    }
}

#[cfg(test)]
mod tests;
