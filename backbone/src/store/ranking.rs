//! Which of the gateways that hear a label gets its request: what a label's hash says, in the order of the mode.
//!
//! What is asked of the past stands in the hash itself, so that any router decides alike and a request still costs one
//! round trip. With `routing.smoothing_ms` a gateway has several fields, one for each of its last readings, which its
//! reports overwrite in turn: nobody has to read before writing, and whoever looks up takes their mean. With
//! `routing.hysteresis_db` one field more says which gateway the label was last reached by, and since when another one
//! is better. A router writes it when that changes, which costs a round trip more then. Of two routers that do so at a
//! time the later one's word stands: the worst that comes of it is one change too many.

use super::routes::Way;
use crate::{
    config::{Routing, RoutingMode},
    message::{Mac, Request},
};
use std::{cmp::Ordering, collections::BTreeMap};

/// A field is removed when it is older than a fresh one may be by this factor. Generous, because between reading and
/// removing a gateway may hear the label again: its field then comes back with its next report.
const FORGOTTEN_AFTER: u64 = 4;
/// Readings of a gateway that are kept with smoothing: the next one would have a sixteenth of the newest one's weight.
const SMOOTHED_READINGS: u64 = 4;
/// The field of the gateway that is held on to.
pub(super) const HELD_FIELD: &str = "held";

/// What a label's hash says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lookup {
    /// The fresh routes, the best first.
    pub(super) ways: Vec<Way>,
    /// Fields that will not become fresh again, or make no sense.
    pub(super) forgotten: Vec<Vec<u8>>,
    /// What [`HELD_FIELD`] has to say from now on; `None`: what it says.
    pub(super) held: Option<String>,
}

/// A reading, or what readings come to.
#[derive(Clone, Copy)]
struct Route {
    gateway: Mac,
    /// In dBm. A single reading is a whole number.
    dbm: f64,
    heard_unix_ms: u64,
}

/// The gateway that a label was last reached by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    gateway: Mac,
    /// Since when another is better by the hysteresis, in milliseconds since 1970; 0: none is.
    rivalled_unix_ms: u64,
}

/// The field in which a gateway's reading of `heard_unix_ms` belongs.
pub(super) fn field(routing: &Routing, gateway: Mac, heard_unix_ms: u64) -> String {
    match heard_unix_ms.checked_div(routing.smoothing_ms) {
        Some(place) => format!("{gateway}/{}", place % SMOOTHED_READINGS),
        None => gateway.to_string(),
    }
}

/// Reads the fields of a hash at `now_unix_ms`.
pub(super) fn look_up(
    fields: BTreeMap<Vec<u8>, Vec<u8>>,
    now_unix_ms: u64,
    routing: &Routing,
    request: &Request,
) -> Lookup {
    let fresh_ms = routing.route_fresh_ms;
    let (mut readings, mut forgotten, mut held) = (Vec::new(), Vec::new(), None);
    for (field, value) in fields {
        if field == HELD_FIELD.as_bytes() && routing.hysteresis_db > 0 {
            held = parse_held(&value);
            continue;
        }
        // In either direction: a gateway whose clock is wrong must not win for ever.
        let reading = parse(&field, &value).map(|reading| (reading, reading.heard_unix_ms.abs_diff(now_unix_ms)));
        match reading {
            Some((reading, off_ms)) if off_ms <= fresh_ms => readings.push(reading),
            Some((_, off_ms)) if off_ms <= FORGOTTEN_AFTER * fresh_ms => {}
            _ => forgotten.push(field),
        }
    }
    let mut routes = smooth(readings, routing.smoothing_ms);
    let stronger = |a: &Route, b: &Route| b.dbm.total_cmp(&a.dbm);
    let later = |a: &Route, b: &Route| b.heard_unix_ms.cmp(&a.heard_unix_ms);
    routes.sort_by(|a, b| {
        let first = match routing.mode {
            RoutingMode::LastHeard => later(a, b).then(stronger(a, b)),
            RoutingMode::Random => Ordering::Equal,
            RoutingMode::Rssi | RoutingMode::Fixed => stronger(a, b),
        };
        first.then(a.gateway.cmp(&b.gateway))
    });
    if routing.mode == RoutingMode::Random && !routes.is_empty() {
        let first = request.request_id.low_bits() % routes.len() as u64;
        routes.rotate_left(first as usize);
    }
    let held = hold(&mut routes, held, routing, now_unix_ms);
    if routing.retry_elsewhere && request.attempt.is_some_and(|attempt| attempt % 2 == 0) && routes.len() > 1 {
        routes.swap(0, 1);
    }
    let way = |route: Route| Way { gateway: route.gateway, heard_unix_ms: Some(route.heard_unix_ms) };
    let held = held.map(|held| format!("{} {}", held.gateway, held.rivalled_unix_ms));
    Lookup { ways: routes.into_iter().map(way).collect(), forgotten, held }
}

/// One route for each gateway. The weight of a reading halves with each `smoothing_ms` that it is older than the newest
/// one; 0: the newest alone counts.
fn smooth(mut readings: Vec<Route>, smoothing_ms: u64) -> Vec<Route> {
    readings.sort_by_key(|reading| (reading.gateway, u64::MAX - reading.heard_unix_ms));
    let of_one_gateway = |a: &Route, b: &Route| a.gateway == b.gateway;
    let mean = |readings: &[Route]| {
        let newest = readings[0];
        let weight = |reading: &Route| {
            let halvings = (newest.heard_unix_ms - reading.heard_unix_ms).checked_div(smoothing_ms);
            // Of two readings of the same millisecond both count.
            halvings.map_or(f64::from(u8::from(reading.heard_unix_ms == newest.heard_unix_ms)), |halvings| {
                1.0 / f64::from(1_u32 << halvings.min(31))
            })
        };
        let sum = |of: &dyn Fn(&Route) -> f64| readings.iter().map(of).sum::<f64>();
        Route { dbm: sum(&|reading| reading.dbm * weight(reading)) / sum(&weight), ..newest }
    };
    readings.chunk_by(of_one_gateway).map(mean).collect()
}

/// Puts the gateway first that the label was last reached by, unless another has been better for long enough. What is
/// to be remembered, if that is something new.
fn hold(routes: &mut Vec<Route>, held: Option<Held>, routing: &Routing, now_unix_ms: u64) -> Option<Held> {
    let &Routing { hysteresis_db, hysteresis_ms, .. } = routing;
    let best = *routes.first().filter(|_| hysteresis_db > 0)?;
    let change = Held { gateway: best.gateway, rivalled_unix_ms: 0 };
    let known = held.and_then(|held| Some((held, routes.iter().position(|route| route.gateway == held.gateway)?)));
    let Some((held, place)) = known else { return Some(change) };
    let is_rivalled = best.dbm - routes[place].dbm >= f64::from(hysteresis_db);
    let since = match held.rivalled_unix_ms {
        0 => now_unix_ms,
        since => since,
    };
    if is_rivalled && now_unix_ms.saturating_sub(since) >= hysteresis_ms {
        return Some(change);
    }
    let route = routes.remove(place);
    routes.insert(0, route);
    let now = Held { rivalled_unix_ms: if is_rivalled { since } else { 0 }, ..held };
    (now != held).then_some(now)
}

fn parse(field: &[u8], value: &[u8]) -> Option<Route> {
    let (dbm, heard_unix_ms) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    let field = std::str::from_utf8(field).ok()?;
    let gateway = match field.split_once('/') {
        Some((gateway, place)) if place.parse::<u64>().is_ok_and(|place| place < SMOOTHED_READINGS) => gateway,
        Some(_) => return None,
        None => field,
    };
    let dbm: i8 = dbm.parse().ok()?;
    Some(Route { gateway: gateway.parse().ok()?, dbm: dbm.into(), heard_unix_ms: heard_unix_ms.parse().ok()? })
}

fn parse_held(value: &[u8]) -> Option<Held> {
    let (gateway, rivalled_unix_ms) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    Some(Held { gateway: gateway.parse().ok()?, rivalled_unix_ms: rivalled_unix_ms.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{env::memory::memory_env, message::RequestId};

    const NOW: u64 = 1_000_000;
    const A: &str = "00:00:00:00:00:0A";
    const B: &str = "00:00:00:00:00:0B";
    const C: &str = "00:00:00:00:00:0C";

    fn request(attempt: Option<u32>) -> Request {
        let text = concat!(
            r#"{"request_id":"000102030405060708090a0b0c0d0e0f","esl_mac":"00:11:22:33:44:55","version":7,"#,
            r#""deadline_unix_ms":9,"body":{}}"#,
        );
        Request { attempt, ..serde_json::from_str(text).unwrap() }
    }

    fn read_with(routing: &Routing, attempt: Option<u32>, fields: &[(&str, String)]) -> Lookup {
        let bytes = |text: &str| text.as_bytes().to_vec();
        let fields = fields.iter().map(|(gateway, value)| (bytes(gateway), bytes(value))).collect();
        look_up(fields, NOW, routing, &request(attempt))
    }

    fn read(fields: &[(&str, String)]) -> Lookup {
        read_with(&Routing::default(), None, fields)
    }

    fn order(lookup: &Lookup) -> Vec<String> {
        lookup.ways.iter().map(|way| way.gateway.to_string()).collect()
    }

    fn choose(fields: &[(&str, String)]) -> Option<String> {
        order(&read(fields)).into_iter().next()
    }

    fn heard(rssi: i8, ago_ms: i64) -> String {
        format!("{rssi} {}", NOW.checked_add_signed(-ago_ms).unwrap())
    }

    #[test]
    fn the_strongest_fresh_route_wins() {
        assert_eq!(choose(&[(A, heard(-70, 0)), (B, heard(-60, 5_999))]).as_deref(), Some(B));
    }

    #[test]
    fn a_stale_route_loses_however_strong() {
        assert_eq!(choose(&[(A, heard(-90, 6_000)), (B, heard(-20, 6_001))]).as_deref(), Some(A));
        assert_eq!(choose(&[(B, heard(-20, 6_001))]), None);
    }

    #[test]
    fn a_route_from_the_future_is_no_route() {
        assert_eq!(choose(&[(A, heard(-20, -6_001))]), None);
    }

    #[test]
    fn equally_strong_routes_are_decided_by_address() {
        assert_eq!(choose(&[(B, heard(-60, 0)), (A, heard(-60, 0))]).as_deref(), Some(A));
    }

    #[test]
    fn fields_are_forgotten_when_they_are_old_or_senseless() {
        let fields = [(A, heard(-60, 6_001)), (B, heard(-60, 24_001)), ("gateway", heard(-60, 0))];
        let Lookup { ways, forgotten, held } = read(&fields);
        assert_eq!((ways, forgotten, held), (Vec::new(), vec![B.into(), "gateway".into()], None));
        assert_eq!(read(&[(A, heard(-60, 24_000))]).forgotten, Vec::<Vec<u8>>::new());
        assert_eq!(read(&[(A, heard(-60, -24_001))]).forgotten, [A.as_bytes()], "a clock is wrong");
        let odd = format!("{A}/4");
        assert_eq!(read(&[(&odd, heard(-60, 0))]).forgotten, [odd.as_bytes()]);
        assert_eq!(read(&[(HELD_FIELD, format!("{A} 0"))]).forgotten, [HELD_FIELD.as_bytes()], "no longer wanted");
    }

    #[test]
    fn fields_that_do_not_parse_are_passed_over() {
        assert_eq!(choose(&[("gateway", heard(-10, 0)), (A, "-10".into()), (B, heard(-99, 0))]).as_deref(), Some(B));
        assert_eq!(choose(&[]), None);
    }

    #[test]
    fn whoever_heard_the_label_last_is_first_in_that_mode() {
        let routing = Routing { mode: RoutingMode::LastHeard, ..Routing::default() };
        let fields = [(A, heard(-40, 3_000)), (B, heard(-90, 10)), (C, heard(-80, 10))];
        assert_eq!(order(&read_with(&routing, None, &fields)), [C, B, A]);
    }

    #[test]
    fn a_request_decides_itself_which_gateway_it_gets_at_random() {
        let routing = Routing { mode: RoutingMode::Random, ..Routing::default() };
        let fields = [(A, heard(-40, 0)), (B, heard(-90, 0)), (C, heard(-80, 6_001))];
        assert_eq!(read_with(&routing, None, &fields), read_with(&routing, None, &fields));
        let (env, mut firsts) = (memory_env(), BTreeMap::<String, u32>::new());
        for _ in 0..200 {
            let request = Request { request_id: RequestId::draw(&env), ..request(None) };
            let fields = fields.iter().map(|(gateway, value)| (gateway.as_bytes().into(), value.clone().into_bytes()));
            let lookup = look_up(fields.collect(), NOW, &routing, &request);
            *firsts.entry(order(&lookup)[0].clone()).or_default() += 1;
        }
        assert_eq!(firsts.keys().collect::<Vec<_>>(), [A, B], "a stale one is none");
        assert!(firsts.values().all(|times| *times > 60), "{firsts:?}");
    }

    #[test]
    fn readings_are_written_in_turn_and_count_half_for_each_step_that_they_are_older() {
        let routing = Routing { smoothing_ms: 2_000, ..Routing::default() };
        let gateway = A.parse().unwrap();
        let places: Vec<String> = (0..5).map(|i| field(&routing, gateway, 8_000 + 2_000 * i)).collect();
        assert_eq!(places, ["/0", "/1", "/2", "/3", "/0"].map(|place| format!("{A}{place}")));
        assert_eq!(field(&Routing::default(), gateway, 8_000), A);
        // (-60 - 84 / 2) / 1.5 = -68
        let (newest, older) = (format!("{A}/1"), format!("{A}/0"));
        let fields = [(newest.as_str(), heard(-60, 0)), (older.as_str(), heard(-84, 2_000)), (B, heard(-67, 0))];
        assert_eq!(order(&read_with(&routing, None, &fields)), [B, A]);
        let fields = [fields[0].clone(), fields[1].clone(), (B, heard(-69, 0))];
        assert_eq!(order(&read_with(&routing, None, &fields)), [A, B]);
        assert_eq!(order(&read_with(&Routing::default(), None, &fields[..2])), [A], "one gateway is one way");
    }

    #[test]
    fn a_retry_goes_to_the_second_best() {
        let routing = Routing { retry_elsewhere: true, ..Routing::default() };
        let fields = [(A, heard(-40, 0)), (B, heard(-50, 0)), (C, heard(-60, 0))];
        let orders = [None, Some(2), Some(3)].map(|attempt| order(&read_with(&routing, attempt, &fields)));
        assert_eq!(orders, [[A, B, C], [B, A, C], [A, B, C]]);
        assert_eq!(order(&read_with(&routing, Some(2), &fields[..1])), [A], "there is no other");
        assert_eq!(order(&read_with(&Routing::default(), Some(2), &fields)), [A, B, C]);
    }

    #[test]
    fn hysteresis_does_not_flap_and_gives_way_to_what_stays_better() {
        let routing = Routing { hysteresis_db: 6, hysteresis_ms: 2_000, ..Routing::default() };
        let with = |a: i8, b: i8, held: &str| {
            read_with(&routing, None, &[(A, heard(a, 0)), (B, heard(b, 0)), (HELD_FIELD, held.into())])
        };
        let first = read_with(&routing, None, &[(A, heard(-60, 0)), (B, heard(-62, 0))]);
        assert_eq!((order(&first), first.held), (vec![A.to_owned(), B.to_owned()], Some(format!("{A} 0"))));
        let calm = format!("{A} 0");
        for b in [-80, -60, -55] {
            let lookup = with(-60, b, &calm);
            assert_eq!((order(&lookup)[0].as_str(), lookup.held), (A, None), "{b}");
        }
        let lookup = with(-60, -54, &calm);
        assert_eq!((order(&lookup)[0].as_str(), lookup.held), (A, Some(format!("{A} {NOW}"))), "since now");
        let lookup = with(-60, -54, &format!("{A} {}", NOW - 1_999));
        assert_eq!((order(&lookup)[0].as_str(), lookup.held), (A, None), "not yet");
        let lookup = with(-60, -54, &format!("{A} {}", NOW - 2_000));
        assert_eq!((order(&lookup)[0].as_str(), lookup.held), (B, Some(format!("{B} 0"))));
        let lookup = with(-60, -58, &format!("{A} {}", NOW - 2_000));
        assert_eq!((order(&lookup)[0].as_str(), lookup.held), (A, Some(calm)), "not any more");
        let gone = read_with(&routing, None, &[(B, heard(-90, 0)), (HELD_FIELD, format!("{A} 0"))]);
        assert_eq!((order(&gone), gone.held), (vec![B.to_owned()], Some(format!("{B} 0"))));
        assert_eq!(with(-60, -54, "nonsense").held, Some(format!("{B} 0")));
    }
}
