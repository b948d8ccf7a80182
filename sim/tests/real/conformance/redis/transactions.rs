//! WATCH: what makes a transaction come to nothing.

use super::peer::Peer;
use crate::conformance::harness::At;
use std::time::Duration;
use tokio::time::sleep;

/// What `a` watches and `b` does; `a` then tries a transaction unless the steps have one.
const CASES: &[&[&str]] = &[
    &["a WATCH ~k", "b SET ~k 1"],
    &["a WATCH ~k", "b SET ~other 1"],
    &["a WATCH ~k", "a SET ~k 1"],
    &["b SET ~k 1", "a WATCH ~k", "b SET ~k 1"],
    &["a WATCH ~k", "b DEL ~k"],
    &["a WATCH ~k", "b SET ~k 1", "b DEL ~k"],
    &["b SET ~k 1 PX 30", "a WATCH ~k", "pause"],
    &["b SET ~k 1 PX 30", "a WATCH ~k", "pause", "b GET ~k"],
    &["b SET ~k 1 PX 30", "pause", "a WATCH ~k", "b GET ~k"],
    &["b SET ~k 1", "a WATCH ~k", "b EXPIRE ~k 100"],
    &["b SET ~k 1 EX 100", "a WATCH ~k", "b EXPIRE ~k 100"],
    &["a WATCH ~k", "b EXPIRE ~k 100"],
    &["b SET ~k 1", "a WATCH ~k", "b EXPIRE ~k 100 XX"],
    &["b SET ~k 1", "a WATCH ~k", "b EXPIRE ~k -1"],
    &["b SET ~k 1", "a WATCH ~k", "b PERSIST ~k"],
    &["b SET ~k 1 EX 9", "a WATCH ~k", "b PERSIST ~k"],
    &["b SET ~k 1", "a WATCH ~k", "b GETEX ~k", "b GETEX ~k PERSIST", "b TOUCH ~k", "b STRLEN ~k"],
    &["b SET ~k 1", "a WATCH ~k", "b GETEX ~k EX 10"],
    &["b SET ~k 1", "a WATCH ~k", "b GETDEL ~k"],
    &["b SET ~k 1", "a WATCH ~k", "b SETNX ~k 2", "b SET ~k 3 NX", "b MSETNX ~other 1 ~k 2"],
    &["b SET ~k 1", "a WATCH ~k", "b HSET ~k f 1", "b INCRBY ~k x"],
    &["b SET ~k 1", "a WATCH ~k", "b INCR ~k"],
    &["b SET ~k 1", "a WATCH ~k", "b APPEND ~k ''"],
    &["b SET ~k 1", "a WATCH ~k", "b SETRANGE ~k 0 ''"],
    &["b SET ~k 1", "a WATCH ~k", "b GETSET ~k 1"],
    &["a WATCH ~k", "b MSET ~other 1 ~k 2"],
    &["b HSET ~k f 1", "a WATCH ~k", "b HSET ~k f 1"],
    &["b HSET ~k f 1", "a WATCH ~k", "b HDEL ~k g", "b HSETNX ~k f 2"],
    &["b HSET ~k f 1 g 1", "a WATCH ~k", "b HDEL ~k g"],
    &["b HSET ~k f 1", "a WATCH ~k", "b HSETNX ~k g 1"],
    &["b HSET ~k f x", "a WATCH ~k", "b HINCRBY ~k f 1"],
    &["b HSET ~k f 1", "a WATCH ~k", "b HINCRBY ~k f 1"],
    &["b SET ~k 1", "a WATCH ~k", "b RENAME ~k ~other"],
    &["b SET ~other 1", "a WATCH ~k", "b RENAME ~other ~k"],
    &["b SET ~k 1", "a WATCH ~k", "b RENAME ~k ~k"],
    &["a WATCH ~k", "b SET ~k 1", "a UNWATCH"],
    &["a WATCH ~k", "a MULTI", "b SET ~k 1", "a DISCARD"],
    &["a WATCH ~k", "a MULTI", "a PING", "b SET ~k 1", "a EXEC"],
    &["a MULTI", "a WATCH ~k", "a PING", "a EXEC"],
    &["a WATCH ~k", "a MULTI", "a UNWATCH", "a PING", "b SET ~k 1", "a EXEC"],
    &["a WATCH ~k", "b SET ~k 1", "a EXEC"],
    &["a WATCH ~k", "b SET ~k 1", "a MULTI", "a NOSUCH", "a EXEC"],
    &["a WATCH ~k", "b SET ~k 1", "a MULTI", "a EXEC x", "a EXEC"],
    &["a WATCH ~k ~k", "b SET ~k 1", "a WATCH ~k ~other"],
    &["a WATCH ~k", "a SELECT 9", "b SET ~k 1"],
    &["a WATCH ~k", "b SELECT 9", "b SET ~k 1"],
    &["b SELECT 9", "b SET ~k 1", "a SELECT 9", "a WATCH ~k", "b FLUSHDB"],
    &["b SELECT 9", "b SET ~other 1", "a SELECT 9", "a WATCH ~k", "b FLUSHDB"],
    &["a WATCH ~k", "b SET ~k 1", "a RESET"],
    &["a WATCH ~k", "b MULTI", "b SET ~k 1", "b EXEC"],
    &["a HELLO 3 bogus", "a WATCH ~k", "b SET ~k 1"],
    &["a WATCH"],
    &["a UNWATCH x"],
];

pub(crate) async fn watch(at: At) {
    for steps in CASES {
        at.note(steps.join(", "));
        let (mut a, mut b) = (Peer::connect(&at).await, Peer::connect(&at).await);
        b.ask("DEL ~k ~other").await;
        for step in *steps {
            match step.split_once(' ') {
                Some(("a", line)) => a.all(&[line]).await,
                Some((_, line)) => b.all(&[line]).await,
                None => sleep(Duration::from_millis(80)).await,
            }
        }
        a.all(&["MULTI", "PING", "EXEC"]).await;
        a.all(&["MULTI", "PING", "EXEC"]).await;
    }
    at.note("in RESP3");
    let (mut a, mut b) = (Peer::connect(&at).await, Peer::connect(&at).await);
    a.ask("HELLO 3").await;
    a.all(&["WATCH ~k"]).await;
    b.all(&["SET ~k 2"]).await;
    a.all(&["MULTI", "GET ~k", "EXEC"]).await;
}

/// Accept a version only if it is newer than the newest so far.
pub(crate) async fn newest_wins(at: At) {
    let (mut a, mut b) = (Peer::connect(&at).await, Peer::connect(&at).await);
    // Both have read the same, and only one may write.
    a.all(&["WATCH ~newest", "GET ~newest"]).await;
    b.all(&["WATCH ~newest", "GET ~newest"]).await;
    b.all(&["MULTI", "SET ~newest 7 PX 60000", "EXEC"]).await;
    a.all(&["MULTI", "SET ~newest 6 PX 60000", "EXEC"]).await;
    // Who comes to nothing reads again.
    a.all(&["WATCH ~newest", "GET ~newest", "UNWATCH"]).await;
    // A connection that is lost leaves nothing behind.
    b.all(&["WATCH ~newest"]).await;
    drop(b);
    a.all(&["MULTI", "SET ~newest 8 PX 60000", "GET ~newest", "EXEC"]).await;
}

pub(crate) async fn databases(at: At) {
    let (mut a, mut b) = (Peer::connect(&at).await, Peer::connect(&at).await);
    a.all(&["SET ~k 0", "SELECT 9", "GET ~k", "SET ~k 9", "SELECT 8", "EXISTS ~k"]).await;
    b.all(&["GET ~k", "SELECT 9", "GET ~k"]).await;
    a.all(&["MULTI", "SET ~k 8", "SELECT 9", "GET ~k", "SELECT 16", "SELECT 0", "EXEC", "GET ~k"]).await;
    a.all(&["SELECT 8", "GET ~k", "DEL ~k", "SELECT 9", "RESET", "GET ~k"]).await;
    b.all(&["SELECT x", "SELECT 1.5", "SELECT 99999999999999999999", "SELECT 15", "SELECT 16", "SELECT -1", "SELECT"])
        .await;
    // A database of our own.
    a.all(&["SELECT 7", "FLUSHDB", "SET '' x", "DBSIZE"]).await;
    for pattern in ["*", "**", "''", "?", "[^a]", "a*", "***"] {
        a.all(&[&format!("KEYS {pattern}"), &format!("SCAN 0 MATCH {pattern}")]).await;
    }
    a.all(&["SCAN ''", "SCAN +0", "SCAN -", "SCAN +", "SCAN 0x0", "SCAN 18446744073709551616", "FLUSHDB", "DBSIZE"])
        .await;
    b.all(&["SELECT 0", "GET ~k"]).await;
}
