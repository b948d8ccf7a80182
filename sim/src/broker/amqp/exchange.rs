//! One exchange as a plain table: its bindings, and where a message goes from it.

use super::{headers::Pattern, ids::QueueId, message::Message};
use std::collections::{BTreeMap, BTreeSet};

/// How an exchange chooses among its bindings (AMQP 0-9-1 section 3.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The routing key is the binding's.
    Direct,
    /// Whatever the routing key.
    Fanout,
    /// The binding's key is a pattern of words between dots: `*` stands for one, `#` for any number of them.
    Topic,
    /// The message's headers are what the binding's arguments ask for.
    Headers,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Direct, Self::Fanout, Self::Topic, Self::Headers];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
        }
    }
}

/// Where a binding leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Destination {
    /// A queue.
    Queue(QueueId),
    /// Another exchange, by name (RabbitMQ's guide "Exchange to Exchange Bindings").
    Exchange(Box<str>),
}

/// A binding. Two that differ in their arguments are two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Binding {
    pub(super) key: Box<str>,
    pub(super) to: Destination,
    /// Encoded, in the order of their names; empty without any.
    pub(super) arguments: Box<[u8]>,
}

/// An exchange; its name is known to whoever holds it.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) kind: Kind,
    pub(super) durable: bool,
    /// It goes with its last binding.
    pub(super) auto_delete: bool,
    /// Clients may not publish to it; dead letters may get there, and messages from other exchanges.
    pub(super) internal: bool,
    /// Where messages go that no binding takes (`alternate-exchange`); it need not exist.
    pub(super) alternate: Option<Box<str>>,
    /// With what the headers have to be, if that counts.
    bindings: BTreeMap<Binding, Option<Pattern>>,
}

impl Exchange {
    pub(super) fn new(kind: Kind, durable: bool) -> Self {
        Self { kind, durable, auto_delete: false, internal: false, alternate: None, bindings: BTreeMap::new() }
    }

    pub(super) fn binding_count(&self) -> usize {
        self.bindings.len()
    }

    /// Adds a binding, once. `pattern` is that of a headers exchange.
    pub(super) fn bind(&mut self, binding: Binding, pattern: Option<Pattern>) {
        self.bindings.insert(binding, pattern);
    }

    /// Removes a binding. `false` if it wasn't there.
    pub(super) fn unbind(&mut self, binding: &Binding) -> bool {
        self.bindings.remove(binding).is_some()
    }

    /// Removes all bindings that lead somewhere. `false` if there were none.
    pub(super) fn forget(&mut self, to: &Destination) -> bool {
        let before = self.bindings.len();
        self.bindings.retain(|binding, _| binding.to != *to);
        self.bindings.len() < before
    }

    /// Where a message goes, each once, the oldest queue first and queues before exchanges.
    pub(super) fn route(&self, message: &Message) -> BTreeSet<&Destination> {
        let headers = (self.kind == Kind::Headers).then(|| message.headers());
        let is_reached = |(binding, pattern): &(&Binding, &Option<Pattern>)| match self.kind {
            Kind::Direct => message.routing_keys().any(|key| *key == *binding.key),
            Kind::Fanout => true,
            Kind::Topic => message.routing_keys().any(|key| matches(&binding.key, key)),
            Kind::Headers => match (pattern, &headers) {
                (Some(pattern), Some(headers)) => pattern.matches(headers),
                _ => false,
            },
        };
        self.bindings.iter().filter(is_reached).map(|(binding, _)| &binding.to).collect()
    }
}

/// The exchanges that every broker has, beside the default one, which has no table.
pub(super) fn predeclared() -> BTreeMap<Box<str>, Exchange> {
    let of_kinds = Kind::ALL.map(|kind| (format!("amq.{}", kind.as_str()), Exchange::new(kind, true)));
    let match_ = ("amq.match".to_owned(), Exchange::new(Kind::Headers, true));
    let trace = ("amq.rabbitmq.trace".to_owned(), Exchange { internal: true, ..Exchange::new(Kind::Topic, true) });
    of_kinds.into_iter().chain([match_, trace]).map(|(name, exchange)| (name.into(), exchange)).collect()
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
    use super::{super::message::Checked, *};
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
        let to = |queue| Destination::Queue(QueueId(queue));
        let binding = |key: &str, queue| Binding { key: key.into(), to: to(queue), arguments: Box::default() };
        for (key, queue) in [("#", 1), ("a.*", 1), ("a.b", 2), ("b", 3)] {
            exchange.bind(binding(key, queue), None);
        }
        let message = Message::new(Vec::new(), 0, ("x", "a.b"), Checked::default());
        assert_eq!(exchange.route(&message), BTreeSet::from([&to(1), &to(2)]));
        assert!(exchange.forget(&to(1)) && !exchange.forget(&to(1)));
        assert_eq!((exchange.route(&message).len(), exchange.binding_count()), (1, 2));
        assert!(exchange.unbind(&binding("a.b", 2)) && !exchange.unbind(&binding("a.b", 2)));
    }
}
