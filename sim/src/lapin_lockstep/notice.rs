//! Notices when lapin is called.
//!
//! Whatever makes lapin's IO loop want a turn passes through one of two of its modules, and both say so in a trace
//! event. Listening to these costs nearly nothing, while giving a turn to every connection whose pod has done anything
//! would double the number of turns. lapin is pinned to an exact version, and the audit proves that no call is missed.
//!
//! All else passes through to whatever subscriber the program has installed.

use std::cell::Cell;
use tracing::{
    Dispatch, Event, Metadata, Subscriber, dispatcher,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};

/// The modules of lapin that wake its IO loop: `Channel::wake`, and the internal RPC's queue.
const WAKING_MODULES: [&str; 2] = ["lapin::channel", "lapin::internal_rpc"];

thread_local! {
    static CALLED: Cell<bool> = const { Cell::new(false) };
}

/// A subscriber for the threads of one simulation: it listens to lapin and passes all else on to the calling thread's.
pub(crate) fn listener() -> Dispatch {
    Dispatch::new(Notice(dispatcher::get_default(Dispatch::clone)))
}

/// Whether lapin was called on this thread since the last time this was asked.
pub(crate) fn take_called() -> bool {
    CALLED.replace(false)
}

/// Wraps the subscriber that was there before.
struct Notice(Dispatch);

fn is_call(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && WAKING_MODULES.contains(&metadata.target())
}

impl Subscriber for Notice {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_call(metadata) { Interest::always() } else { self.0.register_callsite(metadata) }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_call(metadata) || self.0.enabled(metadata)
    }

    fn event(&self, event: &Event<'_>) {
        if is_call(event.metadata()) {
            CALLED.set(true);
        }
        if self.0.enabled(event.metadata()) {
            self.0.event(event);
        }
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        self.0.new_span(attributes)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.0.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.0.record_follows_from(span, follows);
    }

    fn enter(&self, span: &Id) {
        self.0.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.0.exit(span);
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.0.clone_span(span)
    }

    fn try_close(&self, span: Id) -> bool {
        self.0.try_close(span)
    }
}
