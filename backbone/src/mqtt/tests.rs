use super::*;
use crate::{
    env::{Stream, memory::memory_env},
    telemetry::{Event, Standing, Telemetry},
};
use std::sync::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};

/// A CONNACK without session, code or properties (MQTT 5, 3.2).
const CONNACK: [u8; 5] = [0x20, 3, 0, 0, 0];

/// Connections made and lost, in order, and whom to ask how the present one stands.
#[derive(Default)]
struct Connections(Mutex<Vec<String>>, Mutex<Option<Ask>>);

impl Telemetry for Connections {
    fn record(&self, event: &Event<'_>) {
        let what = match event {
            Event::Connected { .. } => "connected".to_owned(),
            Event::Disconnected { reason, .. } => (*reason).to_owned(),
            _ => return,
        };
        self.0.lock().unwrap().push(what);
    }

    fn keeps(&self, _: &'static str, ask: &Ask) {
        *self.1.lock().unwrap() = Some(ask.clone());
    }
}

/// Welcomes a client and says no more.
async fn welcome(mut stream: Stream) {
    let mut buf = vec![0; 1 << 16];
    assert!(stream.read(&mut buf).await.unwrap() > 0);
    stream.write_all(&CONNACK).await.unwrap();
    while stream.read(&mut buf).await.unwrap_or(0) > 0 {}
}

/// A client of a broker that welcomes it and says no more.
async fn unanswered() -> (Mqtt, Arc<Connections>) {
    let env = memory_env();
    let mut listener = env.listen(([0, 0, 0, 0], 1883).into()).await.unwrap();
    env.spawn("broker", {
        let env = env.clone();
        async move {
            while let Ok(stream) = listener.accept().await {
                env.spawn("connection", welcome(stream));
            }
        }
    });
    let connections = Arc::new(Connections::default());
    let (mqtt, _) = Mqtt::start(&env, &config::Mqtt::default(), "test", Vec::new(), connections.clone());
    (mqtt, connections)
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_work_is_given_up_if_nobody_answers_who_asks_for_readiness() {
    let (_mqtt, connections) = unanswered().await;
    sleep(Duration::from_secs(6)).await;
    let ask = connections.1.lock().unwrap().clone().unwrap();
    assert_eq!(ask(), Standing::Up, "nothing is wrong yet");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(ask(), Standing::Stalled("the MQTT broker has not answered for 3 s".into()));
    sleep(Duration::from_secs(8)).await;
    assert_eq!(*connections.0.lock().unwrap(), ["connected", "no answer in time", "connected"]);
    assert_eq!(ask(), Standing::Up);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_answer_is_given_up_once_however_many_wait_on_it() {
    let (mqtt, connections) = unanswered().await;
    let publish = || mqtt.publish("topic".into(), vec![1], None, 60, Instant::now() + Duration::from_secs(1), None);
    let (first, second) = tokio::join!(publish(), publish());
    assert!(matches!(first, Err(MqttError::Unacknowledged { .. })), "{first:?}");
    assert!(matches!(second, Err(MqttError::Unacknowledged { .. })), "{second:?}");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(*connections.0.lock().unwrap(), ["connected", "no answer in time", "connected"]);
}

/// How a broker that announces no limit says that a message is too large for it.
#[derive(Clone, Copy, Debug)]
enum Objection {
    /// By a DISCONNECT with the reason.
    Disconnect,
    /// By a PUBACK with a reason that it has not, as Mosquitto does with `message_size_limit`.
    PubAck,
}

/// Sends `connack`, and acknowledges messages whose packets have no more than 1,000 bytes.
async fn take_small_ones(mut stream: Stream, connack: Vec<u8>, objection: Objection) {
    let (mut bytes, mut buf) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let read = stream.read(&mut buf).await.unwrap_or(0);
        if read == 0 {
            return;
        }
        bytes.extend_from_slice(&buf[..read]);
        // The packets of these tests have lengths of one or two bytes.
        while let [kind, first, second, ..] = bytes[..] {
            let (length, head) = match first {
                0..0x80 => (usize::from(first), 2),
                _ => (usize::from(first & 0x7F) + (usize::from(second) << 7), 3),
            };
            if bytes.len() < head + length {
                break;
            }
            let packet: Vec<u8> = bytes.drain(..head + length).collect();
            let answer = match kind >> 4 {
                1 => connack.clone(),
                3 => {
                    let id_at = head + 2 + usize::from(u16::from_be_bytes([packet[head], packet[head + 1]]));
                    let (high, low) = (packet[id_at], packet[id_at + 1]);
                    match (packet.len(), objection) {
                        (..=1_000, _) => vec![0x40, 2, high, low],
                        (_, Objection::PubAck) => vec![0x40, 3, high, low, 0x95],
                        (_, Objection::Disconnect) => vec![0xE0, 2, 0x95, 0],
                    }
                }
                _ => continue,
            };
            stream.write_all(&answer).await.unwrap();
        }
    }
}

/// A client of a broker that takes messages of 1,000 bytes.
async fn start(connack: Vec<u8>, objection: Objection) -> (Mqtt, Arc<Connections>) {
    let env = memory_env();
    let mut listener = env.listen(([0, 0, 0, 0], 1883).into()).await.unwrap();
    env.spawn("broker", {
        let env = env.clone();
        async move {
            while let Ok(stream) = listener.accept().await {
                env.spawn("connection", take_small_ones(stream, connack.clone(), objection));
            }
        }
    });
    let connections = Arc::new(Connections::default());
    (Mqtt::start(&env, &config::Mqtt::default(), "test", Vec::new(), connections.clone()).0, connections)
}

async fn publish(mqtt: &Mqtt, bytes: usize) -> Result<Handover, MqttError> {
    mqtt.publish("topic".into(), vec![1; bytes], None, 60, Instant::now() + Duration::from_secs(5), None).await
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_announced_limit_is_not_sent_and_the_others_are() {
    // With a Maximum Packet Size of 1,000 (MQTT 5, 3.2.2.3.6).
    let connack = vec![0x20, 8, 0, 0, 5, 0x27, 0, 0, 0x03, 0xE8];
    let (mqtt, connections) = start(connack, Objection::Disconnect).await;
    // Head, topic, id, and an expiry interval: 1 + 2, 2 + 5, 2, 1 + 5.
    let (first, too_large) = tokio::join!(publish(&mqtt, 982), publish(&mqtt, 983));
    assert_eq!(first.unwrap(), Handover::Taken);
    let said = too_large.unwrap_err().to_string();
    assert!(said.contains("has 1001 bytes; allowed are 1000 bytes, the broker's Maximum Packet Size"), "{said}");
    assert_eq!(*connections.0.lock().unwrap(), ["connected"]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_not_announced_is_learnt_from_one_refusal_and_forgotten_in_time() {
    for objection in [Objection::Disconnect, Objection::PubAck] {
        let (mqtt, connections) = start(CONNACK.to_vec(), objection).await;
        assert_eq!(publish(&mqtt, 100).await.unwrap(), Handover::Taken);
        let lost = publish(&mqtt, 3_000).await;
        assert!(matches!(lost, Err(MqttError::Lost { .. })), "{objection:?}: {lost:?}");
        sleep(Duration::from_secs(5)).await;
        for _ in 0..3 {
            let said = publish(&mqtt, 3_000).await.unwrap_err().to_string();
            assert!(said.contains("has 3018 bytes; allowed are 3017 bytes, which is learnt"), "{objection:?}: {said}");
            assert_eq!(publish(&mqtt, 900).await.unwrap(), Handover::Taken);
        }
        let events = connections.0.lock().unwrap().len();
        assert_eq!(events, 3, "connected, disconnected, connected: {objection:?}");
        // The broker may have got a larger one.
        sleep(Duration::from_secs(601)).await;
        assert!(matches!(publish(&mqtt, 3_000).await, Err(MqttError::Lost { .. })), "{objection:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_takes_only_qos_0_is_no_broker() {
    let (mqtt, connections) = start(vec![0x20, 5, 0, 0, 2, 0x24, 0], Objection::Disconnect).await;
    assert!(matches!(publish(&mqtt, 1).await, Err(MqttError::Unavailable { .. })));
    let said = connections.0.lock().unwrap().clone();
    assert!(said.len() > 1 && said.iter().all(|said| said.contains("QoS 0 only")), "{said:?}");
}

/// Sends `count` messages at once, and counts the PUBACKs that come back.
async fn send_at_once(mut stream: Stream, count: u16, acknowledged: watch::Sender<usize>) {
    let mut buf = vec![0; 1 << 16];
    assert!(stream.read(&mut buf).await.unwrap() > 0);
    stream.write_all(&CONNACK).await.unwrap();
    // A topic of one letter, a packet id, no properties, one byte (MQTT 5, 3.3).
    let publish = |id: u16| [&[0x32, 7, 0, 1, b't'][..], &id.to_be_bytes(), &[0, b'x']].concat();
    let all: Vec<u8> = (1..=count).flat_map(publish).collect();
    stream.write_all(&all).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let read = stream.read(&mut buf).await.unwrap_or(0);
        if read == 0 {
            return;
        }
        bytes.extend_from_slice(&buf[..read]);
        while let [kind, length, ..] = bytes[..]
            && bytes.len() >= 2 + usize::from(length)
        {
            bytes.drain(..2 + usize::from(length));
            acknowledged.send_modify(|all| *all += usize::from(kind == 0x40));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_message_is_acknowledged_however_many_are_at_once() {
    const COUNT: u16 = 20;
    let env = memory_env();
    let mut listener = env.listen(([0, 0, 0, 0], 1883).into()).await.unwrap();
    let (acknowledged, mut seen) = watch::channel(0);
    env.spawn("broker", async move {
        let stream = listener.accept().await.unwrap();
        send_at_once(stream, COUNT, acknowledged).await;
    });
    let config = config::Mqtt { receive_maximum: 2, in_flight_max: 2, ..config::Mqtt::default() };
    let filters = vec!["t".to_owned()];
    let (mqtt, mut messages) = Mqtt::start(&env, &config, "test", filters, Arc::new(Connections::default()));
    let mut all = Vec::new();
    for _ in 0..COUNT {
        all.push(messages.recv().await.unwrap());
    }
    all.iter().for_each(|message| mqtt.acknowledge(message));
    seen.wait_for(|acknowledged| *acknowledged == usize::from(COUNT)).await.unwrap();
}
