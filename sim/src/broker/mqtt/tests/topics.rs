use super::super::{
    keys::SessionKey,
    topics::{Filter, Options, Topics, is_valid_topic, matches},
};
use proptest::prelude::*;
use rumqttc::mqttbytes::QoS;
use std::collections::BTreeSet;

const OPTIONS: Options =
    Options { qos: QoS::AtLeastOnce, no_local: false, retain_as_published: false, identifier: None };

fn receivers(topics: &mut Topics, topic: &str, online: impl Fn(u64) -> bool) -> Vec<u64> {
    let mut found = Vec::new();
    topics.receivers(topic, |key| online(key.0), &mut found);
    found.into_iter().map(|(key, _)| key.0).collect()
}

fn subscribe(topics: &mut Topics, filter: &str, member: u64) -> bool {
    topics.subscribe(&Filter::parse(filter).unwrap(), SessionKey(member), OPTIONS)
}

#[test]
fn filters_match_as_the_standard_says() {
    for (filter, topic, expected) in [
        ("a/b", "a/b", true),
        ("a/b", "a/b/c", false),
        ("a/+/c", "a/b/c", true),
        ("a/+", "a/", true),
        ("a/+", "a", false),
        ("+", "/a", false),
        ("/+", "/a", true),
        ("+/+", "/a", true),
        ("a/#", "a", true),
        ("a/#", "a/b/c", true),
        ("#", "a/b", true),
        ("#", "$SYS/x", false),
        ("+/x", "$SYS/x", false),
        ("$SYS/#", "$SYS/x", true),
        ("$SYS/+", "$SYS/x", true),
    ] {
        let mut topics = Topics::default();
        subscribe(&mut topics, filter, 1);
        assert_eq!(receivers(&mut topics, topic, |_| true) == [1], expected, "{filter} {topic}");
        assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
    }
}

#[test]
fn malformed_filters_and_topics_are_told_apart_from_good_ones() {
    for bad in ["", "a#", "#/a", "a/+b", "a/#/b", "$share/g", "$share//a", "$share/g/", "$share/+/a", "$share/g/a#"] {
        assert_eq!(Filter::parse(bad), None, "{bad}");
    }
    assert_eq!(Filter::parse("$share/g/a/+"), Some(Filter { share: Some("g"), path: "a/+" }));
    assert_eq!(Filter::parse("$share"), Some(Filter { share: None, path: "$share" }));
    assert!(Filter::parse(&"a/".repeat(199)).is_some());
    assert_eq!(Filter::parse(&"a/".repeat(201)), None);
    assert!(is_valid_topic("/a") && !is_valid_topic("") && !is_valid_topic("a/+") && !is_valid_topic("a#"));
}

#[test]
fn a_share_takes_turns_and_passes_over_members_that_are_away() {
    let mut topics = Topics::default();
    for member in 1..=3 {
        subscribe(&mut topics, "$share/g/a/+", member);
    }
    let mut turns = |online: fn(u64) -> bool| (0..4).flat_map(|_| receivers(&mut topics, "a/b", online)).collect();
    let all: Vec<u64> = turns(|_| true);
    assert_eq!(all, [1, 2, 3, 1]);
    let without_2: Vec<u64> = turns(|member| member != 2);
    assert_eq!(without_2, [3, 1, 3, 1]);
    let none: Vec<u64> = turns(|_| false);
    assert_eq!(none.iter().collect::<BTreeSet<_>>().len(), 3);
}

#[test]
fn shares_of_other_groups_and_plain_subscriptions_get_their_own_copy() {
    let mut topics = Topics::default();
    subscribe(&mut topics, "$share/g/a", 1);
    subscribe(&mut topics, "$share/h/a", 1);
    subscribe(&mut topics, "$share/h/#", 2);
    subscribe(&mut topics, "a", 3);
    let mut got = receivers(&mut topics, "a", |_| true);
    got.sort_unstable();
    assert_eq!(got, [1, 1, 2, 3]);
}

#[test]
fn subscribing_again_replaces_the_options_and_unsubscribing_leaves_nothing_behind() {
    let mut topics = Topics::default();
    for filter in ["a/b", "$share/g/a/b", "a/#"] {
        assert!(subscribe(&mut topics, filter, 1));
        assert!(!subscribe(&mut topics, filter, 1));
    }
    for filter in ["a/b", "$share/g/a/b", "a/#"] {
        assert!(topics.unsubscribe(&Filter::parse(filter).unwrap(), SessionKey(1)));
        assert!(!topics.unsubscribe(&Filter::parse(filter).unwrap(), SessionKey(1)));
    }
    assert_eq!(format!("{topics:?}"), format!("{:?}", Topics::default()));
}

/// The standard's words, level by level, without a tree.
fn naive(filter: &str, topic: &str) -> bool {
    fn levels(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, topic @ ..]) => levels(filter, topic),
            ([a, filter @ ..], [b, topic @ ..]) => a == b && levels(filter, topic),
            _ => false,
        }
    }
    let wild_start = filter.starts_with(['+', '#']);
    let (filter, topic): (Vec<&str>, Vec<&str>) = (filter.split('/').collect(), topic.split('/').collect());
    !(topic[0].starts_with('$') && wild_start) && levels(&filter, &topic)
}

fn level() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "", "$s"])
}

fn topic() -> impl Strategy<Value = String> {
    prop::collection::vec(level(), 1..5).prop_map(|levels| levels.join("/")).prop_filter("valid", |t| is_valid_topic(t))
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![3 => level(), 1 => Just("+")];
    (prop::collection::vec(level, 0..5), any::<bool>())
        .prop_map(|(mut levels, hash)| {
            if hash {
                levels.push("#");
            }
            levels.join("/")
        })
        .prop_filter("valid", |f| Filter::parse(f).is_some())
}

proptest! {
    #[test]
    fn the_tree_finds_what_a_scan_of_all_filters_finds(
        subscriptions in prop::collection::vec((filter(), 1u64..5, any::<bool>()), 1..40),
        topics in prop::collection::vec(topic(), 1..10),
    ) {
        let mut tree = Topics::default();
        let mut list = BTreeSet::new();
        for (filter, member, add) in subscriptions {
            let parsed = Filter::parse(&filter).unwrap();
            if add {
                let new = tree.subscribe(&parsed, SessionKey(member), OPTIONS);
                prop_assert_eq!(new, list.insert((filter, member)));
            } else {
                let removed = tree.unsubscribe(&parsed, SessionKey(member));
                prop_assert_eq!(removed, list.remove(&(filter, member)));
            }
        }
        for topic in topics {
            let mut got = receivers(&mut tree, &topic, |_| true);
            got.sort_unstable();
            let mut expected: Vec<u64> =
                list.iter().filter(|(filter, _)| naive(filter, &topic)).map(|(_, member)| *member).collect();
            expected.sort_unstable();
            prop_assert_eq!(got, expected, "{}", topic);
            for (filter, _) in &list {
                prop_assert_eq!(matches(filter, &topic), naive(filter, &topic));
            }
        }
    }
}
