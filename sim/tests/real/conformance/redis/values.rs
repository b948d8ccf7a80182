//! Strings, hashes, keys.

use super::peer::{Peer, Reply};
use crate::conformance::harness::At;

pub(crate) async fn set(at: At) {
    let commands = [
        "SET ~k v",
        "GET ~k",
        "SET ~k w NX",
        "SET ~k w XX",
        "SET ~none w XX",
        "GET ~none",
        "SET ~k x GET",
        "SET ~none x NX GET",
        "SET ~k y nx get",
        "GET ~k",
        "SET ~k v NX XX",
        "SET ~k v EX 1 PX 1",
        "SET ~k v KEEPTTL EX 1",
        "SET ~k v EX",
        "SET ~k v bogus",
        "SET ~k",
        "SET ~k ''",
        "GET ~k",
        "STRLEN ~k",
        "SETNX ~k a",
        "SETNX ~new a",
        "GETSET ~new b",
        "GETSET ~newer b",
        "GETDEL ~new",
        "GETDEL ~new",
        "EXISTS ~k ~newer ~new ~k",
        "TOUCH ~k ~new",
        "DEL ~k ~new",
        "UNLINK ~newer ~newer",
    ];
    Peer::connect(&at).await.all(&commands).await;
}

pub(crate) async fn many(at: At) {
    let commands = [
        "MSET ~a 1 ~b 2",
        "MGET ~a ~none ~b",
        "MSET ~a 1 ~b",
        "MSETNX ~b 3 ~c 3",
        "MGET ~b ~c",
        "MSETNX ~c 3 ~d",
        "MSETNX ~c 3 ~d 4 ~c 5",
        "MGET ~c ~d",
        "MSET",
        "MGET",
        "HSET ~h f v",
        "MGET ~a ~h",
    ];
    Peer::connect(&at).await.all(&commands).await;
}

pub(crate) async fn numbers(at: At) {
    let commands = [
        "INCR ~n",
        "INCRBY ~n 41",
        "DECR ~n",
        "DECRBY ~n 50",
        "GET ~n",
        "INCRBY ~n x",
        "INCRBY ~n 1.5",
        "INCRBY ~n +1",
        "INCRBY ~n 01",
        "SET ~n 9223372036854775807",
        "INCR ~n",
        "DECRBY ~n -9223372036854775808",
        "SET ~n -9223372036854775808",
        "DECR ~n",
        "SET ~n 007",
        "INCR ~n",
        "SET ~n 9223372036854775808",
        "INCR ~n",
        "HINCRBY ~h f 5",
        "HINCRBY ~h f -7",
        "HSET ~h g x",
        "HINCRBY ~h g 1",
        "HSET ~h f 9223372036854775807",
        "HINCRBY ~h f 1",
        "HINCRBY ~h f x",
    ];
    Peer::connect(&at).await.all(&commands).await;
}

pub(crate) async fn parts(at: At) {
    let commands = [
        "APPEND ~s Hello",
        "APPEND ~s ''",
        "APPEND ~s World",
        "STRLEN ~s",
        "GETRANGE ~s 0 -1",
        "GETRANGE ~s -5 -2",
        "GETRANGE ~s 3 100",
        "GETRANGE ~s -100 2",
        "GETRANGE ~s 5 2",
        "GETRANGE ~s -2 -5",
        "GETRANGE ~s 10 12",
        "GETRANGE ~s x 1",
        "GETRANGE ~s -9223372036854775808 9223372036854775807",
        "GETRANGE ~none 0 -1",
        "SETRANGE ~s 5 ,World",
        "GET ~s",
        "SETRANGE ~s 13 x",
        "GET ~s",
        "SETRANGE ~s -1 x",
        "SETRANGE ~s 600000000 x",
        "SETRANGE ~none 5 ''",
        "EXISTS ~none",
        "STRLEN ~none",
    ];
    Peer::connect(&at).await.all(&commands).await;
}

pub(crate) async fn hashes(at: At) {
    let mut peer = Peer::connect(&at).await;
    let commands = [
        "HSET ~h a 1 b 2",
        "HSET ~h b 3 c 4 c 5",
        "HGET ~h b",
        "HGET ~h none",
        "HGET ~none a",
        "HMGET ~h a none c",
        "HMGET ~none a b",
        "HLEN ~h",
        "HLEN ~none",
        "HEXISTS ~h a",
        "HEXISTS ~h none",
        "HSTRLEN ~h a",
        "HSTRLEN ~h none",
        "HSETNX ~h a 9",
        "HSETNX ~h d 9",
        "HMSET ~h e 1 f 2",
        "HSET ~h",
        "HSET ~h a",
        "HSET ~h a 1 b",
        "HMSET ~h a 1 b",
        "HGETALL ~none",
        "HKEYS ~none",
    ];
    peer.all(&commands).await;
    peer.unordered("HKEYS ~h").await;
    peer.unordered("HVALS ~h").await;
    let all = peer.ask("HGETALL ~h").await;
    let mut pairs: Vec<String> = all.items().chunks(2).map(|pair| format!("{}={}", pair[0], pair[1])).collect();
    pairs.sort();
    at.note(format_args!("HGETALL ~h in RESP2, sorted: {}", pairs.join(" ")));
    let rest = ["HDEL ~h a none a", "HDEL ~h b c d e f", "EXISTS ~h", "HDEL ~h a", "HSCAN ~none 0", "TYPE ~h"];
    peer.all(&rest).await;
    let resp3 =
        ["HSET ~one a 1", "HELLO 3 bogus", "HGETALL ~one", "HSCAN ~one 0", "HSCAN ~one x", "HSCAN ~one 0 COUNT 0"];
    peer.all(&resp3).await;
    peer.ask("HELLO 3").await;
    peer.all(&["HGETALL ~one", "HGETALL ~none", "HGET ~one x"]).await;
}

pub(crate) async fn wrong_types(at: At) {
    let mut peer = Peer::connect(&at).await;
    peer.all(&["SET ~s x", "HSET ~h f v"]).await;
    for command in ["HGET ~s f", "HSET ~s f v", "HSETNX ~s f v", "HMGET ~s f", "HGETALL ~s", "HDEL ~s f", "HLEN ~s"] {
        peer.all(&[command]).await;
    }
    for command in ["HEXISTS ~s f", "HKEYS ~s", "HVALS ~s", "HINCRBY ~s f 1", "HSTRLEN ~s f", "HSCAN ~s 0"] {
        peer.all(&[command]).await;
    }
    for command in ["GET ~h", "INCR ~h", "APPEND ~h x", "STRLEN ~h", "GETRANGE ~h 0 1", "SETRANGE ~h 0 x", "GETDEL ~h"]
    {
        peer.all(&[command]).await;
    }
    let others =
        ["GETSET ~h x", "GETEX ~h", "SET ~h x GET", "SETNX ~h x", "TYPE ~h", "SET ~h x", "TYPE ~h", "TYPE ~none"];
    peer.all(&others).await;
}

pub(crate) async fn keys_and_scans(at: At) {
    let mut peer = Peer::connect(&at).await;
    peer.all(&["MSET ~a1 x ~a2 x ~b1 x ~a[1] x ~a* x ~A1 x ~^ x ~a-1 x", "HSET ~ah f v"]).await;
    let patterns = [
        "~*",
        "~a?",
        "~a[12]",
        "~[ab]1",
        "~[^a]1",
        "~[^ab]*",
        "~a[0-9]",
        "~a[9-0]",
        "~[A-Z]1",
        "~a\\*",
        "~a\\[1\\]",
        "~a[[]1*",
        "~a[\\*-]*",
        "~[\\^]",
        "~a[1",
        "~a[",
        "~[a-",
        "~a\\",
        "~a**1",
        "~?1",
        "~a*1*",
        "~[^]1",
        "~a[]*1",
    ];
    for pattern in patterns {
        peer.unordered(&format!("KEYS {pattern}")).await;
    }
    for (command, options) in [
        ("SCAN", "MATCH ~a*"),
        ("SCAN", "MATCH ~* TYPE hash"),
        ("SCAN", "match ~* type STRING count 1000"),
        ("SCAN", "MATCH ~* TYPE nosuch"),
        ("HSCAN ~ah", "MATCH f*"),
        ("HSCAN ~ah", "MATCH x*"),
    ] {
        let mut cursor = "0".to_owned();
        let mut found = vec![];
        loop {
            let reply = peer.ask(&format!("{command} {cursor} {options}")).await;
            let [Reply::Bulk(next), Reply::Array(items)] = reply.items() else { panic!("no scan: {reply}") };
            found.extend_from_slice(items);
            cursor = String::from_utf8(next.clone()).unwrap();
            if cursor == "0" {
                break;
            }
        }
        found.sort();
        found.dedup();
        at.note(format_args!("{command} {options}: {}", Reply::Array(found)));
    }
    let errors = [
        "SCAN",
        "SCAN x",
        "SCAN -1 MATCH ~none",
        "SCAN 0 MATCH",
        "SCAN 0 COUNT 0",
        "SCAN 0 COUNT x",
        "SCAN 0 bogus x",
        "HSCAN ~none 0 BOGUS",
        "HSCAN ~none x",
        "HSCAN ~none 0 COUNT",
        "HSCAN ~none 0 COUNT 0",
        "HSCAN ~ah 0 BOGUS",
        "HSCAN ~ah 0 COUNT",
    ];
    peer.all(&errors).await;
}

pub(crate) async fn rename(at: At) {
    let mut peer = Peer::connect(&at).await;
    peer.all(&["MSET ~a 1 ~b 2", "PEXPIREAT ~b 99999999999999", "HSET ~h f v", "RENAME ~a ~b"]).await;
    peer.all(&["GET ~b", "PTTL ~b", "EXISTS ~a", "RENAME ~a ~b", "RENAMENX ~a ~b", "RENAMENX ~b ~h"]).await;
    peer.all(&["PEXPIREAT ~b 99999999999999", "RENAMENX ~b ~c", "PEXPIRETIME ~c", "RENAME ~h ~c", "TYPE ~c"]).await;
    peer.all(&["PEXPIRETIME ~c", "RENAME ~c ~c", "TYPE ~c", "RENAMENX ~c ~c", "RENAME ~c"]).await;
}

pub(crate) async fn big_values(at: At) {
    let mut peer = Peer::connect(&at).await;
    let key = at.name("big");
    let value: Vec<u8> = (0..5_000_000u32).map(|n| (n % 251) as u8).collect();
    for len in [65_535, 1_048_577, 5_000_000] {
        peer.send_words(&[b"SET", key.as_bytes(), &value[..len]]).await;
        at.note(peer.receive().await);
        let got = peer.ask("GET ~big").await;
        at.note(format_args!("{len}: {got}, as it was sent: {}", got == Reply::Bulk(value[..len].to_vec())));
    }
    peer.send_words(&[b"HSET", at.name("hash").as_bytes(), &value[..70_000], &value[..2_000_000]]).await;
    at.note(peer.receive().await);
    peer.all(&["HGETALL ~hash", "STRLEN ~big"]).await;
    peer.send_words(&[b"APPEND", key.as_bytes(), &value]).await;
    at.note(peer.receive().await);
    // Many small ones: 20,000 keys in one command.
    let keys: Vec<String> = (0..20_000).map(|n| at.name(&n.to_string())).collect();
    let mut words: Vec<&[u8]> = vec![b"MSET"];
    words.extend(keys.iter().flat_map(|key| [key.as_bytes(), b"v"]));
    peer.send_words(&words).await;
    at.note(peer.receive().await);
    peer.all(&["MGET ~0 ~19999 ~20000", "DEL ~big ~hash"]).await;
}
