//! When keys go.

use super::peer::{Peer, Reply};
use crate::conformance::harness::At;
use std::time::Duration;
use tokio::time::sleep;

/// Looks at a key until it is gone. TIME before and after tells when a look was; where the two differ the look may
/// belong to either millisecond and doesn't count. The look is a transaction, for which time stands still from the
/// moment EXEC begins (only TIME itself shows how it goes on), so the first TIME comes before the transaction.
async fn watch(at: &At, peer: &mut Peer, what: &str) {
    let due = peer.ask("PEXPIRETIME ~k").await.number();
    let (mut seen, mut wrong, mut late) = (false, vec![], false);
    while !late {
        let look = ["TIME", "MULTI", "PTTL ~k", "EXISTS ~k", "GET ~k", "PEXPIRETIME ~k", "TTL ~k", "TIME", "EXEC"];
        for command in look {
            peer.send(command).await;
        }
        let before = peer.receive().await;
        for _ in 1..look.len() - 1 {
            peer.receive().await;
        }
        let replies = peer.receive().await;
        let [pttl, exists, value, at_ms, ttl, after] = replies.items() else { panic!("{replies}") };
        let ms = |time: &Reply| time.items()[0].number() * 1000 + time.items()[1].number() / 1000;
        late = ms(&before) > due + 5;
        if ms(&before) != ms(after) {
            continue;
        }
        let left = due - ms(&before);
        seen |= left >= 0;
        let expected = if left < 0 { (-2, -2, 0, -2) } else { (left, (left + 500) / 1000, 1, due) };
        let found = (pttl.number(), ttl.number(), exists.number(), at_ms.number());
        if found != expected || (*value == Reply::Nil) != (left < 0) {
            wrong.push(format!("{left} ms before: {replies}"));
        }
    }
    at.note(format_args!("{what}: seen before it went: {seen}, wrong: {wrong:?}"));
}

pub(crate) async fn to_the_millisecond(at: At) {
    let mut peer = Peer::connect(&at).await;
    peer.all(&["SET ~k v PX 400"]).await;
    watch(&at, &mut peer, "SET PX").await;
    peer.all(&["SET ~k v", "PEXPIRE ~k 400"]).await;
    watch(&at, &mut peer, "PEXPIRE").await;
    peer.all(&["PSETEX ~k 400 v"]).await;
    watch(&at, &mut peer, "PSETEX").await;
    peer.all(&["SET ~k v", "GETEX ~k PX 400"]).await;
    watch(&at, &mut peer, "GETEX PX").await;
    peer.all(&["SETEX ~k 1 v"]).await;
    watch(&at, &mut peer, "SETEX").await;
}

pub(crate) async fn kept_and_lost(at: At) {
    let commands = [
        "SET ~k v PXAT 99999999999999",
        "PEXPIRETIME ~k",
        "EXPIRETIME ~k",
        "SET ~k w KEEPTTL",
        "PEXPIRETIME ~k",
        "APPEND ~k x",
        "SETRANGE ~k 0 y",
        "PEXPIRETIME ~k",
        "SET ~k 1",
        "PTTL ~k",
        "EXPIREAT ~k 99999999999",
        "INCR ~k",
        "PEXPIRETIME ~k",
        "GETSET ~k 2",
        "TTL ~k",
        "GETEX ~k EXAT 99999999999",
        "GETEX ~k",
        "PEXPIRETIME ~k",
        "GETEX ~k PERSIST",
        "TTL ~k",
        "PERSIST ~k",
        "PEXPIREAT ~k 99999999999999",
        "PERSIST ~k",
        "PERSIST ~none",
        "TTL ~none",
        "EXPIRETIME ~none",
        "HSET ~h f v",
        "PEXPIREAT ~h 99999999999999",
        "HSET ~h g v",
        "HDEL ~h f",
        "PEXPIRETIME ~h",
        "MSET ~h x",
        "PTTL ~h",
        "EXPIRETIME",
    ];
    Peer::connect(&at).await.all(&commands).await;
}

pub(crate) async fn conditions(at: At) {
    let commands = [
        "SET ~k v",
        "PEXPIREAT ~k 9999999999999 XX",
        "PEXPIREAT ~k 9999999999999 GT",
        "PEXPIREAT ~k 9999999999999 LT",
        "PEXPIREAT ~k 9999999999998 NX",
        "PEXPIREAT ~k 9999999999998 GT",
        "PEXPIREAT ~k 9999999999999 GT",
        "PEXPIREAT ~k 9999999999999 LT",
        "PEXPIREAT ~k 99999999999999 XX GT",
        "PEXPIREAT ~k 99999999999998 xx lt",
        "PEXPIRETIME ~k",
        "EXPIRE ~k 10 NX XX",
        "EXPIRE ~k 10 NX GT",
        "EXPIRE ~k 10 GT LT",
        "EXPIRE ~k 10 bogus",
        "EXPIRE ~none 10",
        "EXPIRE ~none 10 bogus",
        "EXPIRE ~none x",
    ];
    Peer::connect(&at).await.all(&commands).await;
}

pub(crate) async fn past_and_impossible(at: At) {
    let commands = [
        "SET ~k v",
        "EXPIRE ~k 0",
        "EXISTS ~k",
        "SET ~k v",
        "PEXPIRE ~k -1",
        "EXISTS ~k",
        "SET ~k v",
        "EXPIREAT ~k 1",
        "EXISTS ~k",
        "SET ~k v PXAT 1",
        "GET ~k",
        "SET ~k v",
        "GETEX ~k PXAT 1",
        "EXISTS ~k",
        "SET ~k v EX 0",
        "SET ~k v PX -1",
        "SET ~k v EX x",
        "SET ~k v PX 1.5",
        "SET ~k v EX 9223372036854775807",
        "SET ~k v PX 9223372036854775807",
        "SETEX ~k 0 v",
        "PSETEX ~k -1 v",
        "SETEX ~k x v",
        "SET ~k v",
        "EXPIRE ~k 9223372036854775807",
        "EXPIRE ~k -9223372036854775808",
        "PEXPIRE ~k 9223372036854775807",
        "PEXPIREAT ~k 9223372036854775807",
        "PEXPIRE ~k x",
        "EXPIRE ~k",
        "GETEX ~k EX 0",
        "GETEX ~k EX",
        "GETEX ~k bogus 1",
        "GETEX ~k PERSIST EX 1",
        "GETEX ~none EX 0",
        "GETEX ~none EX x",
    ];
    Peer::connect(&at).await.all(&commands).await;
}

/// Nobody asks for the keys: they must be gone from listings and counts, too.
pub(crate) async fn unseen(at: At) {
    let mut peer = Peer::connect(&at).await;
    peer.all(&["SET ~a v PX 50", "SET ~b v PX 50", "SET ~c v PX 60000", "HSET ~h f v", "PEXPIRE ~h 50"]).await;
    sleep(Duration::from_millis(300)).await;
    peer.unordered("KEYS ~*").await;
    peer.all(&["EXISTS ~a ~b ~c ~h", "RENAMENX ~c ~a", "SET ~b w NX GET", "HSETNX ~h f w", "PTTL ~h"]).await;
    peer.all(&["DEL ~a ~b ~h"]).await;
}
