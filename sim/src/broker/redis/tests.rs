use super::{
    Broker,
    client::Client,
    connection,
    databases::Databases,
    resp::{ARGUMENTS_MAX, BULK_BYTES_MAX, LINE_BYTES_MAX, ProtocolError, Reply, read_command},
    table,
};
use backbone::env::Env;
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo, RedisResult, aio::MultiplexedConnection};
use std::{collections::BTreeMap, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const NOW: Duration = Duration::from_secs(1_700_000_000);

fn run(db: &mut Databases, line: &str, now_ms: u64) -> Result<Reply, String> {
    let args: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    let command = table::look_up(&args).map_err(|error| error.to_string())?;
    Client::new(1).run(db, command, &args, now_ms).map_err(|error| error.to_string())
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(Bytes::copy_from_slice(text.as_bytes()))
}

/// A raw connection to a server with the clock at [`NOW`].
fn raw(broker: &Broker) -> DuplexStream {
    let (client, server) = tokio::io::duplex(1 << 18);
    let broker = broker.clone();
    Env::tokio().spawn("server", async move {
        let _ = connection::serve(|| NOW, &broker, 1, server).await;
    });
    client
}

async fn exchange(stream: &mut DuplexStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut buf = vec![0; 1 << 16];
    let n = stream.read(&mut buf).await.unwrap();
    String::from_utf8(buf[..n].to_vec()).unwrap()
}

fn wire(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let bulks: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{bulks}", words.len())
}

#[test]
fn of_keys_that_expire_a_share_is_evicted_and_of_others_none() {
    let mut db = Databases::default();
    (0..10).for_each(|i| _ = run(&mut db, &format!("SET k{i} v PX 100"), 0).unwrap());
    run(&mut db, "SET stays v", 0).unwrap();
    assert_eq!(db.evict(30), 3);
    assert_eq!(db.evict(100), 7);
    assert_eq!(run(&mut db, "GET stays", 0), Ok(bulk("v")));
}

#[test]
fn a_key_exists_up_to_and_including_the_millisecond_of_its_expiry() {
    let mut db = Databases::default();
    run(&mut db, "SET k v PX 100", 1000).unwrap();
    assert_eq!(run(&mut db, "PTTL k", 1099), Ok(Reply::Integer(1)));
    assert_eq!(run(&mut db, "GET k", 1100), Ok(bulk("v")));
    assert_eq!(run(&mut db, "GET k", 1101), Ok(Reply::Null));
    assert_eq!(run(&mut db, "TTL k", 1101), Ok(Reply::Integer(-2)));
}

#[test]
fn due_keys_go_with_the_next_command_on_any_key() {
    let mut db = Databases::default();
    for i in 0..100 {
        run(&mut db, &format!("SET k{i} v PX {}", i + 1), 0).unwrap();
    }
    run(&mut db, "GET other", 51).unwrap();
    assert_eq!(db[0].len(), 50);
    assert_eq!(db[0].expire_due(1000), 50);
}

#[test]
fn overwriting_a_key_takes_its_expiry_away_unless_told_to_keep_it() {
    let mut db = Databases::default();
    run(&mut db, "SET k v PX 100", 0).unwrap();
    run(&mut db, "SET k w KEEPTTL", 0).unwrap();
    assert_eq!(run(&mut db, "PTTL k", 0), Ok(Reply::Integer(100)));
    run(&mut db, "SET k w", 0).unwrap();
    assert_eq!(run(&mut db, "PTTL k", 0), Ok(Reply::Integer(-1)));
    assert_eq!(run(&mut db, "GET k", 1000), Ok(bulk("w")));
}

#[test]
fn set_takes_its_options_in_any_order_and_answers_by_them() {
    let mut db = Databases::default();
    assert_eq!(run(&mut db, "SET k v XX", 0), Ok(Reply::Null));
    assert_eq!(run(&mut db, "SET k v GET NX EX 1", 0), Ok(Reply::Null));
    assert_eq!(run(&mut db, "SET k w nx get", 0), Ok(bulk("v")));
    assert_eq!(run(&mut db, "GET k", 0), Ok(bulk("v")));
    assert_eq!(run(&mut db, "SET k w PXAT 77 XX", 0), Ok(Reply::OK));
    assert_eq!(run(&mut db, "PTTL k", 7), Ok(Reply::Integer(70)));
}

#[test]
fn counting_keeps_the_expiry() {
    let mut db = Databases::default();
    run(&mut db, "SET n 41 PX 50", 0).unwrap();
    assert_eq!(run(&mut db, "INCR n", 0), Ok(Reply::Integer(42)));
    assert_eq!(run(&mut db, "DECRBY n 2", 0), Ok(Reply::Integer(40)));
    assert_eq!(run(&mut db, "PTTL n", 0), Ok(Reply::Integer(50)));
}

#[test]
fn a_hash_goes_with_its_last_field_and_expires_like_a_string() {
    let mut db = Databases::default();
    assert_eq!(run(&mut db, "HSET h a 1 b 2 a 3", 0), Ok(Reply::Integer(2)));
    assert_eq!(run(&mut db, "HMGET h a x", 0), Ok(Reply::Array(vec![bulk("3"), Reply::Null])));
    assert_eq!(run(&mut db, "HINCRBY h b 5", 0), Ok(Reply::Integer(7)));
    assert_eq!(run(&mut db, "HDEL h a b", 0), Ok(Reply::Integer(2)));
    assert_eq!(run(&mut db, "EXISTS h", 0), Ok(Reply::Integer(0)));
    assert_eq!(run(&mut db, "HDEL h a", 0), Ok(Reply::Integer(0)));
    assert_eq!(run(&mut db, "EXISTS h", 0), Ok(Reply::Integer(0)));
    run(&mut db, "HSET h a 1", 0).unwrap();
    run(&mut db, "PEXPIRE h 10", 0).unwrap();
    assert_eq!(run(&mut db, "HGETALL h", 11), Ok(Reply::Map(vec![])));
}

#[test]
fn expire_options_decide_by_the_old_expiry() {
    let mut db = Databases::default();
    run(&mut db, "SET k v", 0).unwrap();
    for (command, answer) in [
        ("PEXPIRE k 10 XX", 0),
        ("PEXPIRE k 10 GT", 0),
        ("PEXPIRE k 10 LT", 1),
        ("PEXPIRE k 10 NX", 0),
        ("PEXPIRE k 5 GT", 0),
        ("PEXPIRE k 20 XX GT", 1),
        ("PEXPIRE k -1", 1),
        ("EXISTS k", 0),
    ] {
        assert_eq!(run(&mut db, command, 0), Ok(Reply::Integer(answer)), "{command}");
    }
}

#[test]
fn keys_are_found_by_glob() {
    let mut db = Databases::default();
    run(&mut db, "MSET route:1 a route:22 b other c", 0).unwrap();
    assert_eq!(run(&mut db, "KEYS route:*", 0), Ok(Reply::Array(vec![bulk("route:1"), bulk("route:22")])));
    assert_eq!(run(&mut db, "KEYS *:?", 0), Ok(Reply::Array(vec![bulk("route:1")])));
    assert_eq!(run(&mut db, "KEYS *o*e*2", 0), Ok(Reply::Array(vec![bulk("route:22")])));
}

#[tokio::test]
async fn a_transaction_comes_to_nothing_if_a_watched_key_was_changed() {
    let broker = Broker::new();
    let (mut one, mut other) = (raw(&broker), raw(&broker));
    for (change, answer) in
        [("SET k 2", "*-1\r\n"), ("GET k", "*1\r\n+OK\r\n"), ("DEL k", "*-1\r\n"), ("DEL k", "*1\r\n+OK\r\n")]
    {
        exchange(&mut one, &wire("WATCH k")).await;
        exchange(&mut other, &wire(change)).await;
        exchange(&mut one, &wire("MULTI")).await;
        exchange(&mut one, &wire("SET j 1")).await;
        assert_eq!(exchange(&mut one, &wire("EXEC")).await, answer, "{change}");
    }
}

#[tokio::test]
async fn a_lost_connection_watches_nothing_any_more() {
    let broker = Broker::new();
    let mut client = raw(&broker);
    exchange(&mut client, &wire("WATCH a b")).await;
    assert_eq!(broker.keyspace().watched_keys(), 2);
    drop(client);
    while broker.keyspace().watched_keys() > 0 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn what_a_set_or_getex_says_twice_counts_once() {
    let mut db = Databases::default();
    for (command, ttl_s) in [("SET k v EX 10 EX 20", 20), ("GETEX k EX 10 EX 30", 30), ("SET k v EX x EX 5", 5)] {
        run(&mut db, command, 0).unwrap();
        assert_eq!(run(&mut db, "TTL k", 0), Ok(Reply::Integer(ttl_s)), "{command}");
    }
    assert_eq!(run(&mut db, "GETEX k PERSIST PERSIST", 0), Ok(bulk("v")));
    assert_eq!(run(&mut db, "TTL k", 0), Ok(Reply::Integer(-1)));
    for command in ["SET k v EX 1 PX 1", "GETEX k EX 1 PERSIST", "GETEX k PERSIST EX 1"] {
        assert_eq!(run(&mut db, command, 0), Err("ERR syntax error".into()), "{command}");
    }
}

/// Each text was taken from a Redis 7.0.15.
#[tokio::test]
async fn errors_are_worded_as_redis_words_them() {
    let broker = Broker::new();
    let mut stream = raw(&broker);
    exchange(&mut stream, &wire("SET s x")).await;
    exchange(&mut stream, &wire("HSET h f x")).await;
    exchange(&mut stream, &wire("HSET h g 9223372036854775807")).await;
    exchange(&mut stream, &wire("SET n 9223372036854775807")).await;
    for (command, error) in [
        ("foo a b", "ERR unknown command 'foo', with args beginning with: 'a' 'b' "),
        ("Foo", "ERR unknown command 'Foo', with args beginning with: "),
        ("EVAL x 0", "ERR unknown command 'EVAL', with args beginning with: 'x' '0' "),
        ("EXEC", "ERR EXEC without MULTI"),
        ("GET", "ERR wrong number of arguments for 'get' command"),
        ("CLIENT SETNAME", "ERR wrong number of arguments for 'client|setname' command"),
        ("CLIENT bogus x", "ERR unknown subcommand 'bogus'. Try CLIENT HELP."),
        ("CLIENT", "ERR wrong number of arguments for 'client' command"),
        ("AUTH a b", "WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH", "ERR wrong number of arguments for 'auth' command"),
        ("SELECT 16", "ERR DB index is out of range"),
        ("SELECT x", "ERR value is not an integer or out of range"),
        ("HELLO 4", "NOPROTO unsupported protocol version"),
        ("HELLO x", "ERR Protocol version is not an integer or out of range"),
        ("HELLO 3 setname", "ERR Syntax error in HELLO option 'setname'"),
        ("SET a b EX 0", "ERR invalid expire time in 'set' command"),
        ("SET a b EX x", "ERR value is not an integer or out of range"),
        ("SET a b NX XX", "ERR syntax error"),
        ("SET a b EX 1 PX 1", "ERR syntax error"),
        ("SET a b KEEPTTL EX 5", "ERR syntax error"),
        ("SET a b PX 9223372036854775807", "ERR invalid expire time in 'set' command"),
        ("PSETEX a -1 b", "ERR invalid expire time in 'psetex' command"),
        ("GETEX a PERSIST EX 1", "ERR syntax error"),
        ("HSET a b", "ERR wrong number of arguments for 'hset' command"),
        ("HSET h a b c", "ERR wrong number of arguments for 'hset' command"),
        ("MSET a b c", "ERR wrong number of arguments for 'mset' command"),
        ("HGET s a", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("GET h", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HINCRBY h f 1", "ERR hash value is not an integer"),
        ("HINCRBY h g 1", "ERR increment or decrement would overflow"),
        ("INCR s", "ERR value is not an integer or out of range"),
        ("INCR n", "ERR increment or decrement would overflow"),
        ("DECRBY n -9223372036854775808", "ERR decrement would overflow"),
        ("EXPIRE s 10 NX XX", "ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("EXPIRE s 10 GT LT", "ERR GT and LT options at the same time are not compatible"),
        ("EXPIRE s 10 foo", "ERR Unsupported option foo"),
        ("EXPIRE s 9223372036854775807", "ERR invalid expire time in 'expire' command"),
        ("FLUSHALL foo", "ERR syntax error"),
        ("PING a b", "ERR wrong number of arguments for 'ping' command"),
    ] {
        assert_eq!(exchange(&mut stream, &wire(command)).await, format!("-{error}\r\n"), "{command}");
    }
}

#[tokio::test]
async fn all_replies_of_one_read_come_in_one_write_and_in_order() {
    let mut stream = raw(&Broker::new());
    let requests = ["SET k v", "GET k", "INCR n", "nonsense", "HELLO 3", "GET x"].map(wire).concat();
    let replies = exchange(&mut stream, &requests).await;
    assert!(replies.starts_with("+OK\r\n$1\r\nv\r\n:1\r\n-ERR unknown command 'nonsense'"), "{replies}");
    assert!(replies.ends_with("*0\r\n_\r\n"), "{replies}");
}

/// The table admits what the commands can take: none may meet arguments that it has no answer for.
#[tokio::test]
async fn every_command_answers_whatever_its_arguments() {
    let broker = Broker::new();
    for argument in ["k", "0", "-1", "9223372036854775807", "match", ""] {
        for name in table::COMMANDS.iter().map(|command| command.name) {
            for count in 0..8 {
                let line = [vec![name.replace('|', " ")], vec![argument.to_owned(); count]].concat().join(" ");
                let mut stream = raw(&broker);
                for request in ["SET k 1", &line, "MULTI", &line, "EXEC"] {
                    stream.write_all(wire(request).as_bytes()).await.unwrap();
                }
                stream.shutdown().await.unwrap();
                let mut replies = vec![];
                stream.read_to_end(&mut replies).await.unwrap();
                assert!(replies.starts_with(b"+OK\r\n"), "{line}");
                let left = if name == "quit" { 2 } else { 5 };
                assert!(replies.split(|b| *b == b'\n').count() > left, "{line}: {}", replies.escape_ascii());
            }
        }
    }
}

#[tokio::test]
async fn a_transaction_runs_whole_or_not_at_all() {
    let mut stream = raw(&Broker::new());
    for (request, reply) in [
        ("MULTI", "+OK\r\n"),
        ("SET k 1", "+QUEUED\r\n"),
        ("HGET k f", "+QUEUED\r\n"),
        ("INCR k", "+QUEUED\r\n"),
        ("EXEC", "*3\r\n+OK\r\n-WRONGTYPE Operation against a key holding the wrong kind of value\r\n:2\r\n"),
        ("MULTI", "+OK\r\n"),
        ("INCR k", "+QUEUED\r\n"),
        ("GET", "-ERR wrong number of arguments for 'get' command\r\n"),
        ("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n"),
        ("GET k", "$1\r\n2\r\n"),
    ] {
        assert_eq!(exchange(&mut stream, &wire(request)).await, reply, "{request}");
    }
}

#[tokio::test]
async fn inline_commands_are_lines_of_words_with_quotes() {
    let mut stream = raw(&Broker::new());
    for (request, reply) in [
        ("ping\r\n", "+PONG\r\n"),
        ("\n echo  \"a \\x41\\n\"\n", "$4\r\na A\n\r\n"),
        ("echo 'it\\'s'\r\n", "$4\r\nit's\r\n"),
    ] {
        assert_eq!(exchange(&mut stream, request).await, reply);
    }
}

#[tokio::test]
async fn what_is_no_command_is_answered_and_ends_the_connection() {
    for (request, error) in [
        ("GET \"k\r\n", ProtocolError::Quotes),
        (&"x".repeat(LINE_BYTES_MAX + 1), ProtocolError::InlineTooLong),
        ("*x\r\n", ProtocolError::ArrayLength),
        ("*1\r\n:1\r\n", ProtocolError::NotABulk(':')),
        ("*1\r\n$-1\r\n", ProtocolError::BulkLength),
        (&format!("*{}\r\n", ARGUMENTS_MAX + 1), ProtocolError::ArrayLength),
        (&format!("*1\r\n${}\r\n", BULK_BYTES_MAX + 1), ProtocolError::BulkLength),
        (&format!("*{}", "0".repeat(LINE_BYTES_MAX + 1)), ProtocolError::ArrayHeader),
    ] {
        let mut stream = raw(&Broker::new());
        assert_eq!(exchange(&mut stream, request).await, format!("-{error}\r\n"), "{request}");
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "{request}");
    }
}

async fn client(broker: &Broker, protocol: ProtocolVersion) -> MultiplexedConnection {
    let info = RedisConnectionInfo::default().set_protocol(protocol);
    let config = AsyncConnectionConfig::new();
    let (client, driver) = MultiplexedConnection::new_with_config(&info, raw(broker), config).await.unwrap();
    Env::tokio().spawn("driver", driver);
    client
}

#[tokio::test]
async fn redis_rs_gets_along_with_it_in_both_protocols() {
    for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
        let broker = Broker::new();
        let mut client = client(&broker, protocol).await;
        let mut pipe = redis::pipe();
        pipe.cmd("SET").arg("k").arg("v").arg("PX").arg(500).ignore();
        pipe.cmd("GETDEL").arg("k").cmd("GETDEL").arg("k").cmd("HSET").arg("h").arg(&[("a", 1), ("b", 2)]).ignore();
        let got: (Option<String>, Option<String>) = pipe.query_async(&mut client).await.unwrap();
        assert_eq!(got, (Some("v".into()), None));
        let all: BTreeMap<String, i64> = redis::cmd("HGETALL").arg("h").query_async(&mut client).await.unwrap();
        assert_eq!(all, BTreeMap::from([("a".into(), 1), ("b".into(), 2)]));
        let error: RedisResult<()> = redis::cmd("GET").arg("h").query_async(&mut client).await;
        assert_eq!(error.unwrap_err().code(), Some("WRONGTYPE"));
    }
}

#[tokio::test]
async fn a_restart_forgets_everything_and_drops_every_connection() {
    let listener = Env::tokio().listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let addr = listener.addr();
    let broker = Broker::new();
    let server = broker.clone();
    Env::tokio().spawn("server", async move { match server.serve(Env::tokio(), listener).await {} });
    let mut stream = Env::tokio().connect("127.0.0.1", addr.port()).await.unwrap();
    stream.write_all(wire("SET k v").as_bytes()).await.unwrap();
    let mut buf = [0; 5];
    stream.read_exact(&mut buf).await.unwrap();
    assert_eq!(broker.keyspace().len(), 1);
    broker.restart();
    assert_eq!(stream.read(&mut buf).await.unwrap(), 0);
    assert!(broker.keyspace().is_empty());
}

fn words() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6)
}

proptest! {
    #[test]
    fn commands_survive_any_fragmentation(commands in prop::collection::vec(words(), 1..6), cut in 1usize..50) {
        let mut sent = Vec::new();
        for words in &commands {
            sent.extend(format!("*{}\r\n", words.len()).bytes());
            for word in words {
                sent.extend(format!("${}\r\n", word.len()).bytes());
                sent.extend(word);
                sent.extend(b"\r\n");
            }
        }
        let (mut input, mut got) = (BytesMut::new(), Vec::new());
        for piece in sent.chunks(cut) {
            input.extend_from_slice(piece);
            while let Some(command) = read_command(&mut input).unwrap() {
                got.push(command.iter().map(|word| word.to_vec()).collect::<Vec<_>>());
            }
        }
        prop_assert_eq!(got, commands);
        prop_assert!(input.is_empty());
    }

    #[test]
    fn no_bytes_make_the_parser_panic(
        bytes in prop::collection::vec(prop::sample::select(b"*$0129-\r\nx \"'\\".to_vec()), 0..60),
    ) {
        let mut input = BytesMut::from(&bytes[..]);
        while let Ok(Some(_)) = read_command(&mut input) {}
    }

    /// The model knows nothing of an index: a list of all sets, of which the last live one counts.
    #[test]
    fn strings_and_their_expiry_behave_like_a_naive_model(
        steps in prop::collection::vec((0u8..6, 0u8..4, 1u64..30, 0u64..8), 1..120),
    ) {
        let mut db = Databases::default();
        let mut model: BTreeMap<u8, (u64, Option<u64>)> = BTreeMap::new();
        let mut now = 0;
        for (step, (what, key, amount, wait)) in steps.into_iter().enumerate() {
            now += wait;
            model.retain(|_, (_, at)| at.is_none_or(|at| now <= at));
            let reply = match what {
                0 => { model.insert(key, (step as u64, None)); run(&mut db, &format!("SET {key} {step}"), now) }
                1 => {
                    model.insert(key, (step as u64, Some(now + amount)));
                    run(&mut db, &format!("SET {key} {step} PX {amount}"), now)
                }
                2 => { model.remove(&key); run(&mut db, &format!("DEL {key}"), now) }
                3 => {
                    if let Some(entry) = model.get_mut(&key) { entry.1 = Some(now + amount) }
                    run(&mut db, &format!("PEXPIRE {key} {amount}"), now)
                }
                4 => {
                    if let Some(entry) = model.get_mut(&key) { entry.1 = None }
                    run(&mut db, &format!("PERSIST {key}"), now)
                }
                _ => run(&mut db, &format!("GETEX {key} PX {amount}"), now).inspect(|_| {
                    if let Some(entry) = model.get_mut(&key) { entry.1 = Some(now + amount) }
                }),
            };
            prop_assert!(reply.is_ok());
            for key in 0..4u8 {
                let expected = model.get(&key);
                let value = expected.map_or(Reply::Null, |(value, _)| bulk(&value.to_string()));
                prop_assert_eq!(run(&mut db, &format!("GET {key}"), now), Ok(value));
                let left = expected.map_or(-2, |(_, at)| at.map_or(-1, |at| (at - now) as i64));
                prop_assert_eq!(run(&mut db, &format!("PTTL {key}"), now), Ok(Reply::Integer(left)));
            }
            prop_assert_eq!(run(&mut db, "DBSIZE", now), Ok(Reply::count(model.len())));
        }
    }
}
