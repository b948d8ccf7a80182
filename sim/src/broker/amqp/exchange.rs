//! One exchange as a plain table: its bindings, and which queues a routing key reaches.
//!
//! Bindings lead to queues only, and their arguments have no meaning for the kinds that are here.

use super::ids::QueueId;
use std::collections::{BTreeMap, BTreeSet};

/// How an exchange compares routing keys (AMQP 0-9-1 section 3.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The routing key is the binding's.
    Direct,
    /// Whatever the routing key.
    Fanout,
    /// The binding's key is a pattern of words between dots: `*` stands for one, `#` for any number of them.
    Topic,
}

impl Kind {
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Direct, Self::Fanout, Self::Topic].into_iter().find(|kind| kind.as_str() == name)
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
        }
    }
}

/// An exchange; its name is known to whoever holds it.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) kind: Kind,
    pub(super) durable: bool,
    /// It goes with its last binding.
    pub(super) auto_delete: bool,
    /// Clients may not publish to it; dead letters may get there.
    pub(super) internal: bool,
    bindings: BTreeSet<(Box<str>, QueueId)>,
}

impl Exchange {
    pub(super) fn new(kind: Kind, durable: bool) -> Self {
        Self { kind, durable, auto_delete: false, internal: false, bindings: BTreeSet::new() }
    }

    pub(super) fn binding_count(&self) -> usize {
        self.bindings.len()
    }

    /// Adds a binding, once.
    pub(super) fn bind(&mut self, key: &str, queue: QueueId) {
        self.bindings.insert((key.into(), queue));
    }

    /// Removes a binding. `false` if it wasn't there.
    pub(super) fn unbind(&mut self, key: &str, queue: QueueId) -> bool {
        self.bindings.remove(&(key.into(), queue))
    }

    /// Removes all bindings of a queue. `false` if there were none.
    pub(super) fn forget(&mut self, queue: QueueId) -> bool {
        let before = self.bindings.len();
        self.bindings.retain(|(_, other)| *other != queue);
        self.bindings.len() < before
    }

    /// The queues that a message with this key goes to, each once, the oldest first.
    pub(super) fn route(&self, key: &str) -> BTreeSet<QueueId> {
        let reached = |pattern: &str| match self.kind {
            Kind::Direct => pattern == key,
            Kind::Fanout => true,
            Kind::Topic => matches(pattern, key),
        };
        self.bindings.iter().filter(|(pattern, _)| reached(pattern)).map(|(_, queue)| *queue).collect()
    }
}

/// The exchanges that every broker has, beside the default one, which has no table.
pub(super) fn predeclared() -> BTreeMap<Box<str>, Exchange> {
    [Kind::Direct, Kind::Fanout, Kind::Topic]
        .into_iter()
        .map(|kind| (format!("amq.{}", kind.as_str()).into(), Exchange::new(kind, true)))
        .collect()
}

/// Whether a topic exchange's pattern stands for `key`. An empty text has no words.
fn matches(pattern: &str, key: &str) -> bool {
    let [pattern, key] = [pattern, key].map(|text| match text {
        "" => Vec::new(),
        _ => text.split('.').collect(),
    });
    let (mut p, mut k) = (0, 0);
    // The last `#` and how many words it stands for so far end here; on a mismatch it takes one more.
    let mut hash: Option<(usize, usize)> = None;
    while k < key.len() {
        match pattern.get(p) {
            Some(&"#") => {
                hash = Some((p + 1, k));
                p += 1;
            }
            Some(word) if *word == "*" || *word == key[k] => {
                p += 1;
                k += 1;
            }
            _ => match &mut hash {
                None => return false,
                Some((after, taken)) => {
                    *taken += 1;
                    (p, k) = (*after, *taken);
                }
            },
        }
    }
    pattern[p..].iter().all(|word| *word == "#")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, word by word; takes exponential time.
    fn stands_for(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern.split_first(), key.split_first()) {
            (None, _) => key.is_empty(),
            (Some((&"#", rest)), None) => stands_for(rest, key),
            (Some((&"#", rest)), Some((_, others))) => stands_for(rest, key) || stands_for(pattern, others),
            (Some(_), None) => false,
            (Some((word, rest)), Some((other, others))) => (*word == "*" || word == other) && stands_for(rest, others),
        }
    }

    proptest! {
        #[test]
        fn a_pattern_stands_for_what_its_definition_says(
            pattern in prop::collection::vec(prop::sample::select(vec!["a", "b", "*", "#", ""]), 1..7),
            key in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", ""]), 1..7),
        ) {
            let texts = [pattern.join("."), key.join(".")];
            let [pattern, key] = [pattern, key].map(|words| if words == [""] { Vec::new() } else { words });
            prop_assert_eq!(matches(&texts[0], &texts[1]), stands_for(&pattern, &key));
        }
    }

    #[test]
    fn an_empty_text_has_no_words_and_a_dot_divides_two() {
        assert!(matches("#", "") && matches("", "") && matches("*.*", "."));
        assert!(!matches("*", "") && !matches("", "a"));
    }

    #[test]
    fn many_wildcards_take_no_more_than_polynomial_time() {
        let (pattern, key) = ("#.a.".repeat(20) + "b", "a.".repeat(120) + "c");
        assert!(!matches(&pattern, &key));
    }

    #[test]
    fn a_queue_gets_a_message_once_however_often_it_is_bound() {
        let mut exchange = Exchange::new(Kind::Topic, false);
        for (key, queue) in [("#", 1), ("a.*", 1), ("a.b", 2), ("b", 3)] {
            exchange.bind(key, QueueId(queue));
        }
        assert_eq!(exchange.route("a.b"), BTreeSet::from([QueueId(1), QueueId(2)]));
        assert!(exchange.forget(QueueId(1)) && !exchange.forget(QueueId(1)));
        assert_eq!((exchange.route("a.b").len(), exchange.binding_count()), (1, 2));
        assert!(exchange.unbind("a.b", QueueId(2)) && !exchange.unbind("a.b", QueueId(2)));
    }
}
