//! What Redis says over a connection that lives when it can't or won't do what it is told, and what helps.
//!
//! A refusal is remembered by the commands that met it, until these succeed again: in the work, or in a rehearsal of
//! the same commands on keys of their own. Whoever asks for readiness starts one; so does a dial after a refusal that
//! says that the server is the wrong one.

use super::RedisDialer;
use crate::{answers::Question, telemetry::bounded};
use redis::{Arg, Pipeline, RedisError, ServerError, aio::MultiplexedConnection};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

/// How long the keys of a rehearsal stay: no longer, whatever the request that was refused had asked for.
const KEYS_MS: u64 = 1_000;
/// How many keys a rehearsal tries: a server that has a part of a cluster's slots must not pass by chance.
const KEYS: usize = 16;
/// Limit of a rehearsal.
pub(super) const REHEARSAL_LIMIT: Duration = Duration::from_secs(2);

/// What helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Another server: this one says that it is not the one to ask. Its name may lead elsewhere by now.
    Dial,
    /// Time.
    Wait,
    /// Somebody who changes the configuration.
    Configure,
}

/// The first words of errors, what they are called in metrics, what helps, and what an operator has to know beside
/// Redis' own words.
const ERRORS: [(&str, &str, Remedy, &str); 15] = [
    ("MOVED", "moved", Remedy::Dial, "this Redis is part of a cluster, which the backbone can't use"),
    ("ASK", "ask", Remedy::Dial, "this Redis is part of a cluster, which the backbone can't use"),
    ("CROSSSLOT", "crossslot", Remedy::Dial, "this Redis is part of a cluster, which the backbone can't use"),
    ("CLUSTERDOWN", "clusterdown", Remedy::Dial, "this Redis is part of a cluster, which the backbone can't use"),
    ("READONLY", "readonly", Remedy::Dial, "this Redis is a replica; the backbone needs the one that takes writes"),
    ("NOAUTH", "noauth", Remedy::Dial, "this Redis wants a login; see redis.url and redis.password"),
    ("WRONGPASS", "wrongpass", Remedy::Configure, "see redis.url and redis.password"),
    ("NOPERM", "noperm", Remedy::Configure, "the user's rights don't suffice"),
    ("OOM", "oom", Remedy::Wait, "Redis has no memory left (maxmemory)"),
    ("MISCONF", "misconf", Remedy::Wait, "Redis can't save its data and takes no writes"),
    ("LOADING", "loading", Remedy::Wait, "Redis is starting"),
    ("BUSY", "busy", Remedy::Wait, "a script runs for too long"),
    ("TRYAGAIN", "tryagain", Remedy::Wait, "a cluster is moving its keys"),
    ("MASTERDOWN", "masterdown", Remedy::Wait, "this Redis is a replica and has lost its master"),
    ("NOREPLICAS", "noreplicas", Remedy::Wait, "too few replicas for Redis to take writes"),
];

/// What Redis refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What it is called in metrics.
    pub(super) reason: &'static str,
    pub(super) remedy: Remedy,
    /// Redis' words, and what to make of them.
    pub(super) words: String,
}

impl Refusal {
    /// What `error` says, if Redis said it: the gravest of a pipeline's.
    pub(super) fn of(error: &RedisError) -> Option<Self> {
        let errors = error.clone().into_server_errors()?;
        let place = |error: &ServerError| ERRORS.iter().position(|(code, ..)| *code == error.code());
        let (place, said) = errors.iter().map(|(_, error)| (place(error), error)).min_by_key(|(place, _)| {
            place.unwrap_or(ERRORS.len()) // the first of those that nobody knows
        })?;
        let said = format!("{} {}", said.code(), said.details().unwrap_or_default());
        Some(match place.map(|place| ERRORS[place]) {
            Some((_, reason, remedy, meaning)) => {
                Self { reason, remedy, words: format!("{meaning}: {}", bounded(&said)) }
            }
            None => Self { reason: "other", remedy: Remedy::Configure, words: bounded(&said) },
        })
    }

    /// Whether another try soon, here or elsewhere, would end the same way.
    pub(super) fn is_for_good(&self) -> bool {
        self.remedy == Remedy::Configure || matches!(self.reason, "moved" | "ask" | "crossslot" | "noauth")
    }
}

/// The refusals that are not overcome yet, by what was done. Bounded by the few things that a router does.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    pending: Mutex<BTreeMap<&'static str, Pending>>,
    /// Whether there was ever one: where all goes well, nothing is locked.
    ever: AtomicBool,
}

#[derive(Clone, Debug)]
struct Pending {
    words: String,
    /// The commands that were refused, with those that went with them: one of each name, and what stood behind its key.
    commands: Commands,
}

impl Refusals {
    /// `doing` something with `pipeline` was refused.
    pub(super) fn remember(&self, doing: &'static str, pipeline: &Pipeline, refusal: &Refusal) {
        let words = |command: &redis::Cmd| {
            let mut words = command.args_iter().filter_map(|arg| match arg {
                Arg::Simple(word) => Some(word.to_vec()),
                _ => None,
            });
            let name = String::from_utf8_lossy(&words.next()?).into_owned();
            Some((name, words.skip(1).collect()))
        };
        let commands = pipeline.cmd_iter().filter_map(words).collect();
        self.pending().insert(doing, Pending { words: format!("{doing}: {}", refusal.words), commands });
        self.ever.store(true, Relaxed);
    }

    /// `doing` it has succeeded.
    pub(super) fn overcome(&self, doing: &'static str) {
        if self.ever.load(Relaxed) {
            self.pending().remove(doing);
        }
    }

    /// What is refused now, for people.
    pub(super) fn reason(&self) -> Option<String> {
        let pending = self.pending();
        let words: Vec<_> = pending.values().map(|pending| pending.words.as_str()).collect();
        (!words.is_empty()).then(|| words.join("; "))
    }

    /// Tries again what was refused, on keys of its own; if nothing was, it asks whether anybody is there.
    ///
    /// # Errors
    /// What is still refused first, or why the connection doesn't answer.
    pub(super) async fn rehearse(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let pending = self.pending().clone();
        if pending.is_empty() {
            let answer = redis::cmd("PING").query_async::<()>(connection).await;
            // A user who may not ask that is told so, and that is an answer, too.
            return answer.or_else(|error| if Refusal::of(&error).is_some() { Ok(()) } else { Err(error) });
        }
        for (doing, Pending { commands, .. }) in pending {
            let pipeline = rehearsal(&commands);
            if let Err(error) = pipeline.query_async::<()>(connection).await {
                if let Some(refusal) = Refusal::of(&error) {
                    self.remember(doing, &pipeline, &refusal);
                }
                return Err(error);
            }
            self.overcome(doing);
        }
        Ok(())
    }

    fn pending(&self) -> MutexGuard<'_, BTreeMap<&'static str, Pending>> {
        self.pending.lock().expect("no holder of this lock panics")
    }
}

/// Commands by their names, with their arguments but for the key.
type Commands = BTreeMap<String, Vec<Vec<u8>>>;

/// `commands` of ours on keys that nobody else uses, and that go soon.
fn rehearsal(commands: &Commands) -> Pipeline {
    let mut pipeline = Pipeline::new();
    for (string, hash) in (0..KEYS).map(|i| (format!("shelfwire:check:{i}"), format!("shelfwire:check:hash:{i}"))) {
        for (name, arguments) in commands {
            let key = if matches!(name.as_str(), "SET" | "GET") { &string } else { &hash };
            let command = pipeline.cmd(name).arg(key);
            match name.as_str() {
                "PEXPIRE" => command.arg(KEYS_MS),
                "SET" => command.arg(arguments.first()).arg("PX").arg(KEYS_MS),
                _ => command.arg(arguments),
            }
            .ignore();
        }
    }
    pipeline
}

impl RedisDialer {
    /// Starts a rehearsal of what was refused, or just asks whether Redis is there. A connection is given up if it
    /// leads to the wrong server, or if nothing answers.
    pub(super) fn rehearse_in_background(&self, link: &super::OpenConnection, question: Question) {
        let (refusals, mut link) = (self.refusals.clone(), link.clone());
        self.env.spawn("redis rehearsal", async move {
            let mut is_of_no_use = false;
            let rehearsal = async {
                if let Err(error) = refusals.rehearse(&mut link.connection).await {
                    is_of_no_use = Refusal::of(&error).is_none_or(|refusal| refusal.remedy == Remedy::Dial);
                }
            };
            let is_there = link.answers.wait(question, REHEARSAL_LIMIT, rehearsal).await;
            if is_of_no_use || !is_there {
                link.given_up.store(true, Relaxed);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(answers: &str) -> RedisError {
        redis::parse_redis_value(answers.as_bytes()).unwrap().extract_error().unwrap_err()
    }

    #[test]
    fn each_of_redis_errors_is_told_with_its_remedy() {
        for (answer, reason, remedy, is_for_good) in [
            ("-MOVED 866 127.0.0.1:7001\r\n", "moved", Remedy::Dial, true),
            ("-READONLY You can't write against a read only replica.\r\n", "readonly", Remedy::Dial, false),
            ("-CLUSTERDOWN The cluster is down\r\n", "clusterdown", Remedy::Dial, false),
            ("-OOM command not allowed when used memory > 'maxmemory'.\r\n", "oom", Remedy::Wait, false),
            ("-LOADING Redis is loading the dataset in memory\r\n", "loading", Remedy::Wait, false),
            ("-NOPERM this user has no permissions\r\n", "noperm", Remedy::Configure, true),
            ("-ERR unknown command 'SET'\r\n", "other", Remedy::Configure, true),
        ] {
            let refusal = Refusal::of(&said(answer)).unwrap();
            let found = (refusal.reason, refusal.remedy, refusal.is_for_good());
            assert_eq!(found, (reason, remedy, is_for_good), "{answer}");
            assert!(refusal.words.contains(answer[1..].split_once(' ').unwrap().1.trim_end()), "{}", refusal.words);
        }
        assert_eq!(Refusal::of(&RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))), None);
    }

    #[test]
    fn a_rehearsal_has_the_commands_that_were_refused_on_keys_of_its_own() {
        let mut work = Pipeline::new();
        work.cmd("SET").arg("shelfwire:correlation:a").arg("b").arg("PX").arg(86_400_000).ignore();
        work.cmd("HGETALL").arg("shelfwire:route:a");
        let (refusals, refusal) = (Refusals::default(), Refusal::of(&said("-OOM no memory\r\n")).unwrap());
        refusals.remember("store something", &work, &refusal);
        let commands = refusals.pending()["store something"].commands.clone();
        let rehearsed = rehearsal(&commands);
        assert_eq!(rehearsed.cmd_iter().count(), 2 * KEYS);
        let words = |command: &redis::Cmd| {
            let words = command.args_iter().map(|arg| match arg {
                Arg::Simple(word) => String::from_utf8_lossy(word).into_owned(),
                _ => panic!("a cursor"),
            });
            words.collect::<Vec<_>>().join(" ")
        };
        let first: Vec<String> = rehearsed.cmd_iter().take(2).map(words).collect();
        assert_eq!(first, ["HGETALL shelfwire:check:hash:0", "SET shelfwire:check:0 b PX 1000"]);
        assert!(rehearsed.cmd_iter().all(|command| words(command).contains(" shelfwire:check:")));
        assert!(refusals.reason().unwrap().starts_with("store something: Redis has no memory left"));
        refusals.overcome("store something");
        assert_eq!(refusals.reason(), None);
    }
}
