//! What escapes a simulation: what code in the world asks of the real machine instead of its `Env`.
//!
//! Whatever it is, it comes to one of a few doors: a task spawned past the environment, a thread, a socket, a name
//! lookup. All of them are shut (`os::doors`, `process`). Who finds one shut may panic, pass the error on, swallow it
//! or try again for ever; so the first attempt of a run is kept here, with whose it was, and ends the run.

use std::{
    backtrace::Backtrace,
    process::abort,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
};

/// Refusals that a run bears: it ends with the poll in which the first one was, so code that goes on trying has blocked
/// its thread and would hang. There is no way to unwind it.
const REFUSALS_MAX: u32 = 100;

/// A way out of the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// A task of tokio's that no pod knows of.
    Task,
    /// `pthread_create`.
    Thread,
    /// `socket(2)`.
    Socket,
    /// `getaddrinfo`.
    Lookup,
    /// tokio's IO driver, which a simulation's runtime lacks.
    Driver,
}

/// What was done, and what is right, as two parts of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) what: &'static str,
    pub(crate) instead: &'static str,
}

const TASK: Attempt = Attempt {
    what: "spawned a task past `Env::spawn` (by `tokio::spawn`, a `JoinSet` or the like)",
    instead: "spawn it by `Env::spawn`, so that it ends with its pod",
};
const BLOCKING: Attempt = Attempt {
    what: "called `tokio::task::spawn_blocking`, or what is made of it (`tokio::fs`, `tokio::net::lookup_host`)",
    instead: "do short work in the task itself, and leave names to `Env::connect`: threads race",
};
const THREAD: Attempt =
    Attempt { what: "started a thread", instead: "use `Env::spawn`: threads race, and the seed does not order them" };
const SOCKET: Attempt = Attempt {
    what: "opened a socket of the real machine (by `tokio::net`, `std::net` or a library)",
    instead: "use `Env::connect` and `Env::listen`, or give the library a stream of theirs",
};
const LOOKUP: Attempt = Attempt {
    what: "looked up a host name on the real machine",
    instead: "use `Env::connect`, which finds pods by their names",
};
const DRIVER: Attempt = Attempt {
    what: "waited for a socket, signal or process of the real machine (by `tokio::net`, `tokio::signal` or the like)",
    instead: "use `Env::connect` and `Env::listen`, and give the service a token or a channel that tells it to stop",
};
const LAPIN: Attempt =
    Attempt { what: "let lapin dial by itself", instead: "open the connection by `backbone::amqp::connect`" };
const REDIS: Attempt = Attempt {
    what: "let redis-rs dial by itself",
    instead: "give `MultiplexedConnection::new_with_config` a stream of `Env::connect`, and its driver to `Env::spawn`",
};
const RUMQTTC: Attempt = Attempt {
    what: "let rumqttc dial by itself",
    instead: "give its `MqttOptions::set_socket_connector` a closure that calls `Env::connect`",
};

/// Crates between a door and whoever wanted through it, by the names of their functions and of their folders.
const BETWEEN: [&str; 17] = [
    "alloc",
    "async-compat",
    "async-rs",
    "async_compat",
    "async_rs",
    "core",
    "futures-core",
    "futures-util",
    "futures_core",
    "futures_util",
    "mio",
    "rumqttc-core-next",
    "rumqttc_core",
    "sim",
    "socket2",
    "std",
    "tokio",
];

/// For the crate of a function in the workspace that was built: ours, or that of the service under test.
const RELATIVE: &str = ".";

/// An attempt, and who made it.
#[derive(Debug)]
pub(crate) struct Escape {
    pub(crate) attempt: Attempt,
    /// `None` until somebody knows.
    pub(crate) who: Option<String>,
}

/// The attempts of one simulation. All its threads share them.
#[derive(Debug, Default)]
pub(crate) struct Escapes {
    happened: AtomicBool,
    refusals: AtomicU32,
    first: Mutex<Option<Escape>>,
}

impl Escapes {
    /// The calling thread stands at `door`, which stays shut.
    pub(crate) fn refuse(&self, door: Door) {
        if self.refusals.fetch_add(1, Relaxed) >= REFUSALS_MAX {
            let first = self.first().take().map_or(attempt(door, ""), |escape| escape.attempt);
            eprintln!(
                "a simulated task {} {REFUSALS_MAX} times without a pause, so nothing but an abort can end it; {}",
                first.what, first.instead
            );
            abort();
        }
        if !self.happened.swap(true, Relaxed) {
            let attempt = attempt(door, &Backtrace::force_capture().to_string());
            *self.first() = Some(Escape { attempt, who: None });
        }
    }

    /// Whether there was one.
    pub(crate) fn happened(&self) -> bool {
        self.happened.load(Relaxed)
    }

    /// Says of the first attempt that it was `who`, unless that is known.
    pub(crate) fn attribute_to(&self, who: impl FnOnce() -> String) {
        if let Some(escape) = &mut *self.first() {
            escape.who.get_or_insert_with(who);
        }
    }

    /// The first attempt.
    pub(crate) fn take(&self) -> Option<Escape> {
        self.first().take()
    }

    fn first(&self) -> MutexGuard<'_, Option<Escape>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one does who is at `door` with this backtrace. A program without symbols gets the door's own sentence.
fn attempt(door: Door, backtrace: &str) -> Attempt {
    let ours = |name: &&str| [RELATIVE, "sim"].contains(name);
    match crates(backtrace).skip_while(ours).find(|name| !BETWEEN.contains(name)) {
        Some("lapin") => LAPIN,
        Some("redis") => REDIS,
        Some("rumqttc" | "rumqttc-v4-next" | "rumqttc-v5-next") => RUMQTTC,
        _ => match door {
            Door::Task => TASK,
            Door::Thread if backtrace.contains("tokio::runtime::blocking::") => BLOCKING,
            Door::Thread => THREAD,
            Door::Socket => SOCKET,
            Door::Lookup => LOOKUP,
            Door::Driver => DRIVER,
        },
    }
}

/// The crates of the functions of `backtrace`, from the innermost on. Without debug information the function says its
/// crate, `<redis::Client as …>::f`; with it the name may be short, but there is a path, `…/redis-1.8.1/src/client.rs`.
fn crates(backtrace: &str) -> impl Iterator<Item = &str> {
    backtrace.lines().filter_map(|line| match line.trim_start().strip_prefix("at ") {
        Some(path) => crate_of_path(path),
        None => crate_of_function(line.split_once(": ")?.1),
    })
}

fn crate_of_function(function: &str) -> Option<&str> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let function = function.trim_start_matches(|c| !part(c));
    let (name, rest) = function.split_at(function.find(|c| !part(c))?);
    (rest.starts_with("::") || rest.starts_with('[')).then_some(name)
}

fn crate_of_path(path: &str) -> Option<&str> {
    if path.starts_with("./") {
        return Some(RELATIVE);
    }
    let folder = path.rsplit_once("/src/")?.0.rsplit('/').next()?;
    let version = folder.match_indices('-').find(|(at, _)| folder[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
    Some(version.map_or(folder, |(at, _)| &folder[..at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_crate_that_is_no_runtime_decides_who_it_was() {
        let socket = "   0: std::backtrace::Backtrace::force_capture\n   1: sim::os::doors::socket\n   2: socket\n";
        let of = |rest: &str| attempt(Door::Socket, &format!("{socket}{rest}"));
        assert_eq!(
            of("   3: <tokio::net::TcpStream>::connect\n   4: shop::main\n             at src/a.rs:1\n"),
            SOCKET
        );
        assert_eq!(of("   3: <tokio::net::TcpStream>::connect\n   4: <redis[1]::Client as A<b::C>>::f\n"), REDIS);
        assert_eq!(of("   3: shop::connector\n   4: rumqttc::eventloop::connect\n"), SOCKET);
        assert_eq!(of("   3: rumqttc_core::connect\n   4: rumqttc::eventloop::connect\n"), RUMQTTC);
        let (registry, std) =
            ("             at /cargo/registry/src/index", "             at /rustc/5/library/core/src/a.rs:1\n");
        let path =
            |name: &str| format!("   3: poll<a::B>\n{std}   4: {{async_fn#0}}\n{registry}/{name}/src/a.rs:1:2\n");
        assert_eq!(of(&path("redis-1.8.1")), REDIS);
        assert_eq!(of(&path("rumqttc-v5-next-0.34.0")), RUMQTTC);
        assert_eq!(of(&(path("tokio-1.54.1") + &path("lapin-4.12.3"))), LAPIN);
        let called_back = format!("{std}   4: f\n             at ./src/main.rs:1:2\n{}", path("lapin-4.12.3"));
        assert_eq!(of(&called_back), SOCKET);
        assert_eq!(attempt(Door::Thread, "   0: tokio::runtime::blocking::pool::spawn\n"), BLOCKING);
        assert_eq!(attempt(Door::Thread, ""), THREAD);
    }
}
