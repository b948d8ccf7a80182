//! redis-cli and redis-benchmark.

use super::{Kind, client, emulated, installed, on_both, run};

/// What a user types: each line is a command.
const SESSION: &str = r#"
PING
PING "hello world"
SET greeting "hello \"you\""
GET greeting
GET nothing
SET n 41 EX 100
INCR n
INCRBY n -2
EXPIRE n 200
PERSIST n
TTL n
TTL nothing
SET n other NX
APPENDIX n
INCR greeting
HSET shelf label-1 12.90 label-2 3.50
HGET shelf label-1
HGETALL shelf
HDEL shelf label-1 label-2
EXISTS shelf n
GET
LPUSH n 1 2
TYPE n
DEL n greeting
DBSIZE
"#;

fn redis_cli(port: u16, arguments: &[&str], input: &str) -> String {
    let (said, complained, code) = run(client("redis-cli", &[&["-p", &port.to_string()], arguments].concat()), input);
    format!("{said}{complained}exit code {code}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_cli_talks_with_it() {
    if !installed("redis-cli") {
        return;
    }
    // Redis knows lists, and would say that this key has none.
    let session = SESSION.replace("LPUSH n 1 2\n", "");
    on_both(Kind::Redis, |port| redis_cli(port, &[], &session) + &redis_cli(port, &["-3", "--no-raw"], &session)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_cli_gets_an_error_of_its_own_for_what_is_not_emulated() {
    if !installed("redis-cli") {
        return;
    }
    let port = emulated(Kind::Redis).await;
    let said = tokio::task::block_in_place(|| redis_cli(port, &[], SESSION));
    assert!(said.contains("ERR unknown command 'LPUSH', with args beginning with: 'n' '1' '2'"), "{said}");
    assert!(said.ends_with("exit code 0\n"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_cli_loads_a_file_of_commands_in_a_pipeline() {
    if !installed("redis-cli") {
        return;
    }
    let commands: String = (0..2_000).map(|n| format!("*3\r\n$3\r\nSET\r\n$4\r\n{n:04}\r\n$5\r\nvalue\r\n")).collect();
    on_both(Kind::Redis, |port| redis_cli(port, &["--pipe"], &commands) + &redis_cli(port, &["dbsize"], "")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_benchmark_runs_to_its_end() {
    if !installed("redis-benchmark") {
        return;
    }
    on_both(Kind::Redis, |port| {
        let port = port.to_string();
        let load = ["-p", &port, "-t", "get,set,incr,hset,ping", "-n", "4000", "-P", "16", "-r", "100", "--csv"];
        let (said, complained, code) = run(client("redis-benchmark", &load), "");
        // The rest of each line is what it measured.
        let tests: Vec<&str> = said.lines().map(|line| line.split(',').next().unwrap()).collect();
        assert!(code == 0 && tests.len() > 5, "{said}{complained}");
        format!("{tests:?}")
    })
    .await;
}
