//! Redis, over RESP2.

use crate::harness::{At, Protocol, scenario};
use backbone::env::{Env, TokioEnv};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub const PROTOCOL: Protocol =
    Protocol { real: "Redis 7.0", scenarios: &[scenario!(unknown_commands, "the errors for what is no command")] };

async fn unknown_commands(at: At) {
    let mut stream = TokioEnv.connect("127.0.0.1", at.port).await.unwrap();
    stream.write_all(b"*2\r\n$6\r\nNOSUCH\r\n$1\r\na\r\n*1\r\n$4\r\nQUIT\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().for_each(|line| at.note(line));
}
