//! A client that notes every reply as it is on the wire.

use crate::conformance::harness::At;
use backbone::env::{Env, Stream};
use std::fmt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};

pub(crate) struct Peer {
    at: At,
    stream: BufStream<Stream>,
}

/// A reply, in RESP2 or RESP3.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reply {
    /// With the sign that begins it.
    Line(String),
    Bulk(Vec<u8>),
    Nil,
    Array(Vec<Reply>),
    Map(Vec<Reply>),
    Closed,
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(text) => f.write_str(text),
            Self::Bulk(bytes) if bytes.len() > 200 => write!(f, "{} bytes", bytes.len()),
            Self::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Self::Nil => f.write_str("nil"),
            Self::Array(items) | Self::Map(items) => {
                let items: Vec<String> = items.iter().map(ToString::to_string).collect();
                let name = if matches!(self, Self::Map(_)) { "map" } else { "" };
                write!(f, "{name}[{}]", items.join(", "))
            }
            Self::Closed => f.write_str("closed"),
        }
    }
}

impl Reply {
    /// A count, or a number as text.
    pub(crate) fn number(&self) -> i64 {
        match self {
            Self::Line(text) => text[1..].parse().unwrap(),
            Self::Bulk(bytes) => std::str::from_utf8(bytes).unwrap().parse().unwrap(),
            other => panic!("no number but {other}"),
        }
    }

    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) | Self::Map(items) => items,
            other => panic!("no array but {other}"),
        }
    }
}

impl Peer {
    pub(crate) async fn connect(at: &At) -> Self {
        let stream = Env::tokio().connect("127.0.0.1", at.port).await.unwrap();
        Self { at: at.clone(), stream: BufStream::new(stream) }
    }

    /// The words of a command, of which `~` before one stands for the scenario's own names and `''` for nothing.
    fn words(&self, line: &str) -> Vec<Vec<u8>> {
        let word = |word: &str| match (word, word.strip_prefix('~')) {
            ("''", _) => vec![],
            (_, Some(own)) => self.at.name(own).into_bytes(),
            _ => word.as_bytes().to_vec(),
        };
        line.split(' ').map(word).collect()
    }

    pub(crate) async fn send(&mut self, line: &str) {
        let words = self.words(line);
        self.send_words(&words.iter().map(Vec::as_slice).collect::<Vec<_>>()).await;
    }

    pub(crate) async fn send_words(&mut self, words: &[&[u8]]) {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        self.send_raw(&bytes).await;
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        // The server may have closed the connection already; the next reply will tell.
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    pub(crate) async fn ask(&mut self, line: &str) -> Reply {
        self.send(line).await;
        self.receive().await
    }

    /// Sends one command after the other and notes the replies.
    pub(crate) async fn all(&mut self, lines: &[&str]) {
        for line in lines {
            let reply = self.ask(line).await;
            self.at.note(format_args!("{line}: {reply}"));
        }
    }

    /// Notes the reply to `line`, whose items may come in any order.
    pub(crate) async fn unordered(&mut self, line: &str) {
        let reply = self.ask(line).await;
        let mut items = reply.items().to_vec();
        items.sort();
        self.at.note(format_args!("{line}: {}", Reply::Array(items)));
    }

    /// Notes what else comes, up to the end.
    pub(crate) async fn note_to_end(&mut self, what: &str) {
        let mut replies = vec![];
        loop {
            let reply = self.receive().await;
            replies.push(reply.to_string());
            if reply == Reply::Closed {
                break;
            }
        }
        self.at.note(format_args!("{what}: {}", replies.join(" ")));
    }

    /// Notes the answers that come up to that to a PING, which is sent behind `what` was sent.
    pub(crate) async fn note_answers(&mut self, what: &str) {
        self.send("PING the-end").await;
        let mut replies = vec![];
        loop {
            let reply = self.receive().await;
            if reply == Reply::Bulk(b"the-end".to_vec()) {
                break;
            }
            replies.push(reply.to_string());
            if reply == Reply::Closed {
                break;
            }
        }
        self.at.note(format_args!("{what}: {}", replies.join(" ")));
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = vec![];
        let read = self.stream.read_until(b'\n', &mut line).await.unwrap_or(0);
        (read > 0).then(|| String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
    }

    pub(crate) async fn receive(&mut self) -> Reply {
        let Some(line) = self.line().await else { return Reply::Closed };
        let (kind, rest) = line.split_at(1);
        match kind {
            "_" => Reply::Nil,
            "$" if rest == "-1" => Reply::Nil,
            "*" if rest == "-1" => Reply::Line("no array".into()),
            "$" => {
                let mut bytes = vec![0; rest.parse::<usize>().unwrap() + 2];
                self.stream.read_exact(&mut bytes).await.unwrap();
                bytes.truncate(bytes.len() - 2);
                Reply::Bulk(bytes)
            }
            "*" | "%" => {
                let count = rest.parse::<usize>().unwrap() * if kind == "%" { 2 } else { 1 };
                let mut items = vec![];
                for _ in 0..count {
                    items.push(Box::pin(self.receive()).await);
                }
                if kind == "%" { Reply::Map(items) } else { Reply::Array(items) }
            }
            _ => Reply::Line(line),
        }
    }
}
