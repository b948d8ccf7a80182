//! The tasks of a connection. The reader hands what arrives to the state machine, all complete frames of one read at a
//! time; the writer sends all that has gathered in one write, and heartbeats when there is nothing else to send.

use super::{broker::Broker, codec, ids::ConnectionId, phase::Phase, state::Signals};
use crate::broker::accept::Place;
use backbone::env::{Env, Stream, Task};
use bytes::{Buf, BytesMut};
use std::{
    future::pending,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    time::{Instant, sleep, timeout, timeout_at},
};

/// From the TCP connection to `connection.open` (RabbitMQ's `handshake_timeout`).
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// For the other side to answer `connection.close`, and for our last words to get out (RabbitMQ's `CLOSING_TIMEOUT`).
const CLOSING_TIMEOUT: Duration = Duration::from_secs(30);
/// Room for a read. Frames that don't fit grow the buffer, up to the negotiated size and this.
const READ_BYTES: usize = 16 * 1024;

/// Starts both tasks. `place` is kept until the connection ends.
pub(super) fn spawn(broker: &Broker, env: &Env, stream: Stream, place: Option<Place>) {
    let (reader, writer) = tokio::io::split(stream);
    let (id, signals) = broker.state().connect();
    let writer = env.spawn("amqp writer", write(broker.clone(), id, Arc::clone(&signals), writer));
    let broker = broker.clone();
    env.spawn("amqp reader", async move {
        let _place = place;
        read(broker, id, &signals, reader, writer).await;
    });
}

async fn read<R: AsyncRead>(
    broker: Broker,
    id: ConnectionId,
    signals: &Signals,
    mut reader: ReadHalf<R>,
    writer: Task,
) {
    let mut input = BytesMut::new();
    let mut deadline = Instant::now() + HANDSHAKE_TIMEOUT;
    let mut phase = Phase::Header;
    let mut silence_max = None;
    loop {
        input.reserve(READ_BYTES);
        let arrived = async {
            while signals.is_blocked.load(Relaxed) {
                signals.unblocked.notified().await;
            }
            match (phase, silence_max) {
                (Phase::Running, None) => reader.read_buf(&mut input).await.ok(),
                (Phase::Running, Some(max)) => timeout(max, reader.read_buf(&mut input)).await.ok()?.ok(),
                _ => timeout_at(deadline, reader.read_buf(&mut input)).await.ok()?.ok(),
            }
        };
        let arrived = tokio::select! {
            biased;
            () = signals.dropped.notified() => None,
            arrived = arrived => arrived,
        };
        let now = match arrived {
            Some(1..) => handle(&broker, id, signals, &mut input).await,
            _ => None,
        };
        let Some(now) = now else {
            tracing::debug!(connection = id.0, ?phase, "AMQP connection lost, silent for too long, or dropped");
            writer.abort();
            break;
        };
        if now.is_over() {
            // The writer may be stuck with a peer that doesn't read.
            let _ = timeout(CLOSING_TIMEOUT, signals.flushed.notified()).await;
            writer.abort();
            // The peer closes the socket. RabbitMQ resets it soon after a client's close; here that could be at the
            // same instant, and a client that finds the end behind the answer takes it for an accident.
            let closed = Instant::now() + CLOSING_TIMEOUT;
            input.clear();
            while let Ok(Ok(1..)) = timeout_at(closed, reader.read_buf(&mut input)).await {
                input.clear();
            }
            break;
        }
        if now == Phase::Closing && phase != Phase::Closing {
            deadline = Instant::now() + CLOSING_TIMEOUT;
        }
        if now != phase {
            phase = now;
            silence_max = broker.state().silence_max(id); // negotiated before the connection runs, and for good
        }
    }
    broker.state().disconnect(id);
}

/// Hands over what has arrived, and pays for each change of metadata before it is made. How far the connection has
/// come; `None` if it was dropped meanwhile.
async fn handle(broker: &Broker, id: ConnectionId, signals: &Signals, input: &mut BytesMut) -> Option<Phase> {
    let cost = broker.metadata_cost();
    let mut paid_changes = if cost.is_some() { 0 } else { usize::MAX };
    loop {
        let received = broker.state().receive(id, input, paid_changes);
        input.advance(received.used_bytes);
        match cost {
            Some(cost) if received.change_is_next => {
                tokio::select! {
                    biased;
                    () = signals.dropped.notified() => return None,
                    () = cost.change() => paid_changes = 1,
                }
            }
            _ => return Some(received.phase),
        }
    }
}

async fn write<W: AsyncWrite>(broker: Broker, id: ConnectionId, signals: Arc<Signals>, mut writer: WriteHalf<W>) {
    let mut bytes = Vec::new();
    loop {
        let last;
        (bytes, last) = broker.state().take_output(id, bytes);
        if !bytes.is_empty() {
            if let Err(error) = writer.write_all(&bytes).await {
                tracing::debug!(connection = id.0, %error, "writing to an AMQP client failed");
                signals.dropped.notify_one();
                break;
            }
            broker.state().written(id);
        } else if last {
            break;
        } else {
            let heartbeat = broker.state().heartbeat_interval(id);
            let pause = async {
                match heartbeat {
                    Some(interval) => sleep(interval).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = signals.output.notified() => {}
                () = pause => broker.state().append(id, codec::put_heartbeat),
            }
        }
    }
    if broker.state().phase(id) == Phase::Ended {
        let _ = writer.shutdown().await; // the peer may be gone already
    }
    signals.flushed.notify_one();
}
