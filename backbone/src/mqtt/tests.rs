use super::*;
use crate::{
    env::{Stream, memory::memory_env},
    telemetry::{Event, Telemetry},
};
use std::sync::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};

/// A CONNACK without session, code or properties (MQTT 5, 3.2).
const CONNACK: [u8; 5] = [0x20, 3, 0, 0, 0];

/// Connections made and lost, in order.
#[derive(Default)]
struct Connections(Mutex<Vec<String>>);

impl Telemetry for Connections {
    fn record(&self, event: &Event<'_>) {
        let what = match event {
            Event::Connected { .. } => "connected".to_owned(),
            Event::Disconnected { reason, .. } => (*reason).to_owned(),
            _ => return,
        };
        self.0.lock().unwrap().push(what);
    }
}

/// Welcomes a client and says no more.
async fn welcome(mut stream: Stream) {
    let mut buf = vec![0; 1 << 16];
    assert!(stream.read(&mut buf).await.unwrap() > 0);
    stream.write_all(&CONNACK).await.unwrap();
    while stream.read(&mut buf).await.unwrap_or(0) > 0 {}
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_answer_is_given_up_once_however_many_wait_on_it() {
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
    let publish = || mqtt.publish("topic".into(), vec![1], None, 60, Instant::now() + Duration::from_secs(1));
    let (first, second) = tokio::join!(publish(), publish());
    assert!(matches!(first, Err(MqttError::Unacknowledged { .. })), "{first:?}");
    assert!(matches!(second, Err(MqttError::Unacknowledged { .. })), "{second:?}");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(*connections.0.lock().unwrap(), ["connected", "no PUBACK in time", "connected"]);
}
