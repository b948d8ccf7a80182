//! What is on the wire: pipelines, inline commands, what is no RESP, what is no command.

use super::peer::{Peer, Reply};
use crate::conformance::harness::At;
use std::time::Duration;
use tokio::time::sleep;

pub(crate) async fn pipelines(at: At) {
    let mut peer = Peer::connect(&at).await;
    for n in 0..1000 {
        peer.send(&format!("SET ~{n} {n}")).await;
    }
    for n in 0..1000 {
        peer.send(&format!("GET ~{n}")).await;
    }
    let mut ok = 0;
    for _ in 0..1000 {
        ok += u32::from(peer.receive().await == Reply::Line("+OK".into()));
    }
    let mut in_order = 0;
    for n in 0..1000 {
        in_order += u32::from(peer.receive().await == Reply::Bulk(n.to_string().into_bytes()));
    }
    at.note(format_args!("{ok} of 1000 stored, {in_order} of 1000 read in order"));
    // An error in the middle is one command's, not the pipeline's.
    for command in ["SET ~k v", "HGET ~k f", "NOSUCH", "GET", "INCR ~k", "GET ~k"] {
        peer.send(command).await;
    }
    for _ in 0..6 {
        at.note(peer.receive().await);
    }
    // One command in many pieces.
    for byte in b"*2\r\n$4\r\nECHO\r\n$3\r\na\rb\r\n" {
        peer.send_raw(&[*byte]).await;
        sleep(Duration::from_millis(1)).await;
    }
    at.note(peer.receive().await);
}

/// The client goes, with replies unread, in the middle of a command.
pub(crate) async fn lost_in_a_pipeline(at: At) {
    let mut peer = Peer::connect(&at).await;
    for n in 0..500 {
        peer.send(&format!("SET ~{n} v")).await;
    }
    peer.send("MULTI").await;
    peer.send("SET ~queued v").await;
    peer.send_raw(b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$100\r\nvv").await;
    let mut other = Peer::connect(&at).await;
    while other.ask("EXISTS ~499").await != Reply::Line(":1".into()) {
        sleep(Duration::from_millis(10)).await;
    }
    drop(peer);
    sleep(Duration::from_millis(300)).await;
    other.all(&["EXISTS ~0 ~250 ~499", "EXISTS ~queued half"]).await;
    let mut peer = Peer::connect(&at).await;
    peer.send("SET ~before v").await;
    peer.send("QUIT").await;
    peer.send("SET ~behind v").await;
    peer.note_to_end("QUIT in a pipeline").await;
    Peer::connect(&at).await.all(&["EXISTS ~before", "EXISTS ~behind"]).await;
}

pub(crate) async fn transactions(at: At) {
    let commands = [
        "EXEC",
        "DISCARD",
        "MULTI",
        "SET ~k 1",
        "INCR ~k",
        "HSET ~k f v",
        "PING",
        "GET ~k",
        "EXEC",
        "GET ~k",
        "MULTI",
        "EXEC",
        "MULTI",
        "SET ~k 5",
        "MULTI",
        "DISCARD",
        "GET ~k",
        "MULTI",
        "SET ~k 6",
        "NOSUCH",
        "EXEC",
        "GET ~k",
        "MULTI",
        "GET",
        "SET ~k 7",
        "EXEC",
        "EXEC",
        "GET ~k",
        "MULTI",
        "MULTI",
        "SET ~k 8",
        "EXEC",
        "MULTI x",
        "MULTI",
        "SET ~k 9",
        "EXEC x",
        "EXEC",
        "MULTI",
        "SET ~k 10",
        "RESET",
        "EXEC",
        "GET ~k",
        "MULTI",
        "CONFIG nosuch",
        "DISCARD",
        "MULTI",
        "QUIT",
    ];
    let mut peer = Peer::connect(&at).await;
    peer.all(&commands).await;
    peer.note_to_end("after QUIT").await;
    // Nobody sees the half of it.
    let mut writer = Peer::connect(&at).await;
    writer.all(&["MULTI", "SET ~k 11"]).await;
    Peer::connect(&at).await.all(&["GET ~k"]).await;
    writer.all(&["EXEC"]).await;
}

pub(crate) async fn inline(at: At) {
    let lines: &[&[u8]] = &[
        b"PING\r\n",
        b"PING\n",
        b"  ECHO   hello \t\r\n",
        b"\r\n\r\nPING\r\n",
        b"ECHO \"a b\"\r\n",
        b"ECHO 'a b'\r\n",
        b"ECHO \"\\x41\\n\\r\\t\\b\\a\\q\\\"\\\\\"\r\n",
        b"ECHO \"\\xg1\\x4\"\r\n",
        b"ECHO 'it\\'s \\n'\r\n",
        b"ECHO a\"b c\"\r\n",
        b"ECHO \"\"\r\n",
        b"ECHO a\r\rb\r\n",
        b"ECHO\r\n",
        b"nosuch 'a b' \"c\"\r\n",
        b"PING\r\n*1\r\n$4\r\nPING\r\nPING\r\n",
        b"ECHO \"a\"b\r\n",
        b"ECHO \"a\r\n",
        b"ECHO 'a\r\n",
    ];
    for line in lines {
        let mut peer = Peer::connect(&at).await;
        peer.send_raw(line).await;
        peer.note_answers(&line.escape_ascii().to_string()).await;
    }
    for (what, byte) in [("64 KB without an end", b'x'), ("64 KB of count", b'1')] {
        let mut peer = Peer::connect(&at).await;
        let mut bytes = if byte == b'1' { b"*".to_vec() } else { vec![] };
        bytes.resize(65_600, byte);
        peer.send_raw(&bytes).await;
        peer.note_to_end(what).await;
    }
}

pub(crate) async fn http(at: At) {
    for request in [&b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let mut peer = Peer::connect(&at).await;
        peer.send_raw(request).await;
        peer.note_to_end(&request.escape_ascii().to_string()).await;
    }
}

pub(crate) async fn protocol_errors(at: At) {
    let requests: &[&[u8]] = &[
        b"*x\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*01\r\n$4\r\nPING\r\n",
        b"*2147483648\r\n",
        b"*99999999999999999999\r\n",
        b"*1\r\n:1\r\n",
        b"*1\r\n*1\r\n",
        b"*1\r\n\r\n",
        b"*1\r\n$x\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$536870913\r\n",
        b"*1\r\n$4\rxPING\r\n",
        b"*1\rx$4\r\nPING\r\n",
        b"*1\r\n$4\r\nPINGxy",
        b"*1\r\n$3\r\nPING\r\n",
        b"*1\r\n$0\r\n\r\n",
        b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
        b"*2\r\n$4\r\nECHO\r\n$5\r\na\0\r\nb\r\n",
        b"*1\r\n$4\r\nPING\r\n*1\r\n!\r\n",
        b"*1\n$4\nPING\n\r\n",
        b"\xff\xfe\r\n",
    ];
    for request in requests {
        let mut peer = Peer::connect(&at).await;
        peer.send_raw(request).await;
        peer.note_answers(&request.escape_ascii().to_string()).await;
    }
}

pub(crate) async fn unknown_commands(at: At) {
    let long = "x".repeat(200);
    let mut peer = Peer::connect(&at).await;
    peer.all(&["NOSUCH", "NoSuch a b", "'' a", "client|id", "a\0b c\0d e", "NOSUCH a\r\nb", "get|x"]).await;
    let lines = [format!("{long} a b"), format!("NOSUCH {long} b"), format!("NOSUCH a {long} b"), "N ".repeat(200)];
    for line in lines {
        let reply = peer.ask(line.trim_end()).await;
        let Reply::Line(text) = reply else { panic!("{reply}") };
        at.note(format_args!("{} bytes: {text}", line.len()));
    }
    peer.all(&["CLIENT nosuch", "CONFIG nosuch x", "COMMAND nosuch", "client NoSuch\0x y"]).await;
    peer.all(&[&format!("CLIENT {long}")]).await;
}

pub(crate) async fn arities(at: At) {
    let mut peer = Peer::connect(&at).await;
    let names = "append auth client client|getname client|id client|setname command|count config config|get \
                 config|resetstat dbsize decr decrby del discard echo exec exists expire expireat expiretime get \
                 getdel getex getrange getset hdel hexists hget hgetall hincrby hkeys hlen hmget hmset hscan hset \
                 hsetnx hstrlen hvals incr incrby keys mget mset msetnx multi persist pexpire pexpireat pexpiretime \
                 psetex pttl rename renamenx reset scan select set setex setnx setrange strlen time touch ttl type \
                 unlink unwatch watch";
    for name in names.split_whitespace() {
        let command = name.to_ascii_uppercase().replace('|', " ");
        // Six arguments are too many for all that has a most, and too few make the rest complain.
        for line in [command.clone(), format!("{command} ~1 2 3 4 5 6")] {
            let reply = peer.ask(&line).await;
            let refused = reply.to_string().contains("wrong number of arguments");
            at.note(format_args!("{line}: {}", if refused { reply.to_string() } else { "no such complaint".into() }));
        }
        peer.ask("RESET").await;
    }
}
