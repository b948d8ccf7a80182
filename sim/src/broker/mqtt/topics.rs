//! Which subscriptions a topic reaches (MQTT 5, section 4.7 and 4.8.2).
//!
//! Subscriptions hang in a tree by the levels of their filters, so that routing walks only what can match: two lookups
//! a level (the level itself and `+`) plus the `#` beside it, however many gateways have subscribed.
//!
//! Shared subscriptions go round robin, as in Mosquitto, with one difference: Mosquitto takes the next member even if
//! its client is away, and the message then waits in that session, for ever if need be. Here a member that is away is
//! passed over while another one is connected. MQTT leaves the choice to the server, and the brokers made for clusters
//! choose like this; with Mosquitto's rule every restart of one router would strand replies for the others' callers.
//! When all members are away the next one's session keeps the message.

use super::keys::SessionKey;
use rumqttc::mqttbytes::QoS;
use std::{
    collections::{BTreeMap, VecDeque},
    str::Split,
};

/// Most levels of a topic or filter, as in Mosquitto (200 slashes): it bounds how deep the tree and its recursion go.
const LEVELS_MAX: usize = 201;

/// A subscription's topic filter, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter<'a> {
    pub(super) share: Option<&'a str>,
    pub(super) path: &'a str,
}

impl<'a> Filter<'a> {
    /// Parses a filter, `$share/{group}/{filter}` included. `None` if it is not well-formed.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (share, path) = match text.strip_prefix("$share/") {
            None => (None, text),
            Some(shared) => {
                let (group, path) = shared.split_once('/')?;
                if group.is_empty() || group.contains(['+', '#']) {
                    return None;
                }
                (Some(group), path)
            }
        };
        let mut levels = path.split('/').peekable();
        let mut count = 0;
        while let Some(level) = levels.next() {
            count += 1;
            let plain = !level.contains(['+', '#']);
            if !(plain || level == "+" || level == "#" && levels.peek().is_none()) {
                return None;
            }
        }
        (!path.is_empty() && count <= LEVELS_MAX).then_some(Self { share, path })
    }
}

/// Whether `topic` can be published to: not empty, no wildcards, not too deep.
pub(super) fn is_valid_topic(topic: &str) -> bool {
    !topic.is_empty() && !topic.contains(['+', '#']) && topic.split('/').count() <= LEVELS_MAX
}

/// Whether `topic` matches the filter path `path`, both well-formed.
pub(super) fn matches(path: &str, topic: &str) -> bool {
    if topic.starts_with('$') && path.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in path.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// How a session wants the messages of one subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) qos: QoS,
    /// Not the session's own messages.
    pub(super) no_local: bool,
    /// Forward the retain flag as the publisher set it.
    pub(super) retain_as_published: bool,
    /// Subscription identifier, sent along.
    pub(super) identifier: Option<usize>,
}

/// All subscriptions of all sessions.
#[derive(Debug, Default)]
pub(super) struct Topics {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    /// By the next level; `+` and `#` are levels like others here, since no topic contains them.
    children: BTreeMap<Box<str>, Node>,
    members: BTreeMap<SessionKey, Options>,
    shares: BTreeMap<Box<str>, VecDeque<(SessionKey, Options)>>,
}

impl Topics {
    /// Adds a subscription or replaces its options. Returns whether it is new.
    pub(super) fn subscribe(&mut self, filter: &Filter<'_>, member: SessionKey, options: Options) -> bool {
        let mut node = &mut self.root;
        for level in filter.path.split('/') {
            if !node.children.contains_key(level) {
                node.children.insert(level.into(), Node::default());
            }
            node = node.children.get_mut(level).expect("was just inserted");
        }
        let Some(group) = filter.share else { return node.members.insert(member, options).is_none() };
        if !node.shares.contains_key(group) {
            node.shares.insert(group.into(), VecDeque::new());
        }
        let members = node.shares.get_mut(group).expect("was just inserted");
        match members.iter_mut().find(|(key, _)| *key == member) {
            Some((_, old)) => {
                *old = options;
                false
            }
            None => {
                members.push_back((member, options));
                true
            }
        }
    }

    /// Takes a subscription away. Returns whether there was one.
    pub(super) fn unsubscribe(&mut self, filter: &Filter<'_>, member: SessionKey) -> bool {
        self.root.remove(filter.path.split('/'), filter.share, member)
    }

    /// Appends who gets a message on `topic`: every subscription that matches, and of each shared one a single member.
    /// As in Mosquitto, names come before wildcards.
    pub(super) fn receivers(
        &mut self,
        topic: &str,
        is_online: impl Fn(SessionKey) -> bool,
        receivers: &mut Vec<(SessionKey, Options)>,
    ) {
        let reserved = topic.starts_with('$');
        self.root.collect(topic.split('/'), reserved, &is_online, receivers);
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.members.is_empty() && self.shares.is_empty()
    }

    fn remove(&mut self, mut levels: Split<'_, char>, share: Option<&str>, member: SessionKey) -> bool {
        let Some(level) = levels.next() else {
            let Some(group) = share else { return self.members.remove(&member).is_some() };
            let Some(members) = self.shares.get_mut(group) else { return false };
            let before = members.len();
            members.retain(|(key, _)| *key != member);
            let removed = members.len() < before;
            if members.is_empty() {
                self.shares.remove(group);
            }
            return removed;
        };
        let Some(child) = self.children.get_mut(level) else { return false };
        let removed = child.remove(levels, share, member);
        if child.is_empty() {
            self.children.remove(level);
        }
        removed
    }

    /// `reserved`: the topic begins with `$` and this is the root, where no wildcard matches then.
    fn collect(
        &mut self,
        mut levels: Split<'_, char>,
        reserved: bool,
        is_online: &impl Fn(SessionKey) -> bool,
        receivers: &mut Vec<(SessionKey, Options)>,
    ) {
        let level = levels.next();
        if let Some(level) = level {
            if let Some(child) = self.children.get_mut(level) {
                child.collect(levels.clone(), false, is_online, receivers);
            }
            if !reserved && let Some(any) = self.children.get_mut("+") {
                any.collect(levels, false, is_online, receivers);
            }
        }
        if !reserved && let Some(all) = self.children.get_mut("#") {
            all.take(is_online, receivers);
        }
        if level.is_none() {
            self.take(is_online, receivers);
        }
    }

    fn take(&mut self, is_online: &impl Fn(SessionKey) -> bool, receivers: &mut Vec<(SessionKey, Options)>) {
        receivers.extend(self.members.iter().map(|(key, options)| (*key, *options)));
        for members in self.shares.values_mut() {
            let next = members.iter().position(|(key, _)| is_online(*key)).unwrap_or(0);
            let chosen = members.remove(next).expect("a share has members");
            members.push_back(chosen);
            receivers.push(chosen);
        }
    }
}
