//! Live runs on brokers of the user's, with logins and TLS: afterwards these are as they were.

use crate::{
    MACHINE,
    certificates::Files,
    place::{Place, text},
};
use backbone::env::Env;
use lapin::{
    BasicProperties, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use sim::real::{
    broker::{Kind, Real, RealError, skip},
    port::Port,
};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Output},
    time::Duration,
};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{Instant, sleep},
};

/// Each with characters that a URL can't hold as they are.
const PASSWORDS: [&str; 3] = ["rabbit/Secret@1", "mosquitto:Secret@2", "redis?Secret#3"];
const DEFAULT_ROUTE: &str = "shelfwire:route:default";
/// RabbitMQ deletes what belonged to a connection soon after that has ended.
const SETTLE_LIMIT: Duration = Duration::from_secs(20);

/// Brokers that nobody gets into without a login, with TLS on a second port each.
struct Brokers {
    amqp: Real,
    mqtt: Real,
    redis: Real,
    tls_ports: [Port; 3],
    files: Files,
}

/// One set for all tests, which take turns. Static things are never dropped; the brokers end with the process.
static BROKERS: Mutex<Option<Brokers>> = Mutex::const_new(None);

/// The brokers, for the test called `who`; without an answer they are not installed.
async fn brokers(who: &str) -> Option<MutexGuard<'static, Option<Brokers>>> {
    let mut brokers = BROKERS.lock().await;
    if brokers.is_none() {
        *brokers = match Brokers::start() {
            Ok(brokers) => Some(brokers),
            Err(RealError::NotInstalled(reason)) => {
                skip(who, &reason);
                return None;
            }
            Err(error) => panic!("{error}"),
        };
    }
    Some(brokers)
}

fn encoded(password: &str) -> String {
    password.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

impl Brokers {
    fn start() -> Result<Self, RealError> {
        let files = Files::make(&["localhost"]);
        let tls_ports = [(); 3].map(|()| Port::claim().unwrap());
        let logins = files.path("logins");
        let [rabbitmq, mosquitto, redis] = PASSWORDS;
        // Mosquitto's tool comes with it; where it is missing, the broker is, too, and says so below.
        let _ = Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(&logins).args(["bench", mosquitto]).output();
        let rabbitmq = format!(
            "default_user = bench\ndefault_pass = {rabbitmq}\nlisteners.ssl.1 = 127.0.0.1:PORT\n\
             ssl_options.cacertfile = CA\nssl_options.certfile = CERT\nssl_options.keyfile = KEY\n"
        );
        let mosquitto = format!(
            "allow_anonymous false\npassword_file {}\nlistener PORT 127.0.0.1\ncertfile CERT\nkeyfile KEY\n",
            logins.display()
        );
        let redis = format!(
            "user default off\nuser bench on >{redis} ~shelfwire:* +@all\ntls-port PORT\ntls-ca-cert-file CA\n\
             tls-cert-file CERT\ntls-key-file KEY\ntls-auth-clients no\n"
        );
        Ok(Self {
            amqp: Real::start_with(Kind::RabbitMq, &files.fill(&rabbitmq, tls_ports[0].number()))?,
            mqtt: Real::start_with(Kind::Mosquitto, &files.fill(&mosquitto, tls_ports[1].number()))?,
            redis: Real::start_with(Kind::Redis, &files.fill(&redis, tls_ports[2].number()))?,
            tls_ports,
            files,
        })
    }

    /// `--amqp`, `--mqtt` and `--redis` with their addresses.
    fn options(&self) -> Vec<String> {
        let [rabbitmq, mosquitto, redis] = PASSWORDS.map(encoded);
        let (amqp_port, mqtt_port, redis_port) = (self.amqp.port(), self.mqtt.port(), self.redis.port());
        let amqp = format!("amqp://bench:{rabbitmq}@127.0.0.1:{amqp_port}/%2f");
        let mqtt = format!("mqtt://bench:{mosquitto}@127.0.0.1:{mqtt_port}");
        let redis = format!("redis://bench:{redis}@127.0.0.1:{redis_port}/0");
        ["--amqp", &amqp, "--mqtt", &mqtt, "--redis", &redis].map(str::to_owned).into()
    }

    /// The same over TLS.
    fn tls_options(&self) -> Vec<String> {
        let plain = [self.amqp.port(), self.mqtt.port(), self.redis.port()];
        let mut options = self.options();
        for (i, scheme) in ["amqp", "mqtt", "redis"].into_iter().enumerate() {
            let place = |port| format!("@127.0.0.1:{port}");
            let tls_place = format!("@localhost:{}", self.tls_ports[i].number());
            let url = &mut options[2 * i + 1];
            *url = url.replace(scheme, &format!("{scheme}s")).replace(&place(plain[i]), &tls_place);
        }
        options.extend(["--ca-file".into(), self.files.path("ca.pem").display().to_string()]);
        options
    }

    /// Runs `spec` on these brokers.
    fn run(&self, place: &Place, spec: &[&str], options: &[String]) -> Output {
        let arguments = spec.iter().copied().chain(["--live", "--no-quota"]).chain(options.iter().map(String::as_str));
        place.experiments(&arguments.collect::<Vec<_>>()).output().unwrap()
    }

    async fn redis(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.options()[5].as_str()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    async fn keys(&self) -> Vec<String> {
        redis::cmd("KEYS").arg("*").query_async(&mut self.redis().await).await.unwrap()
    }

    /// Names of queues and how many messages they have, as RabbitMQ tells.
    fn queues(&self) -> String {
        let output = self.amqp.rabbitmqctl(&["list_queues", "--silent", "name", "messages"]).unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    }

    /// Waits until RabbitMQ has these queues and no others.
    async fn assert_queues(&self, expected: &str) {
        let deadline = Instant::now() + SETTLE_LIMIT;
        while self.queues() != expected && Instant::now() < deadline {
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(self.queues(), expected);
    }

    async fn channel(&self) -> lapin::Channel {
        let uri = self.options()[1].parse().unwrap();
        let connection = backbone::amqp::connect(&Env::tokio(), uri, None, ConnectionProperties::default()).await;
        connection.unwrap().create_channel().await.unwrap()
    }

    /// What Mosquitto would keep over a restart: sessions, subscriptions, messages. Restarts it.
    fn mosquitto_database(&mut self) -> Vec<u8> {
        self.mqtt.stop().unwrap();
        let database = fs::read(self.mqtt.folder().join("mosquitto.db")).unwrap();
        self.mqtt.start_again().unwrap();
        database
    }
}

/// Leaves a session called `gateway-0`, as the first gateway of a spec is, and a retained message. MQTT 5.
fn leave_a_session(port: u16) {
    let text = |text: &str| [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat();
    let packet = |kind: u8, body: &[&[u8]]| {
        let body = body.concat();
        [&[kind, u8::try_from(body.len()).unwrap()], body.as_slice()].concat()
    };
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut ask = |packet: Vec<u8>, answer: u8| {
        stream.write_all(&packet).unwrap();
        let mut head = [0; 2];
        stream.read_exact(&mut head).unwrap();
        let mut body = vec![0; head[1].into()];
        stream.read_exact(&mut body).unwrap();
        assert_eq!(head[0], answer, "{body:?}");
    };
    // Login, no clean start, a session of an hour.
    let protocol = b"\0\x04MQTT\x05\xc0\0\x3c\x05\x11\0\0\x0e\x10";
    ask(packet(0x10, &[protocol, &text("gateway-0"), &text("bench"), &text(PASSWORDS[1])]), 0x20);
    ask(packet(0x82, &[b"\0\x01\0", &text("mine/#"), b"\x01"]), 0x90);
    ask(packet(0x33, &[&text("kept"), b"\0\x02\0", b"mine"]), 0x40);
}

fn contains(database: &[u8], text: &str) -> bool {
    database.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Everything that a run said and wrote.
fn all_output(place: &Place, output: &Output) -> String {
    fn read(path: &Path, all: &mut String) {
        if path.is_dir() {
            fs::read_dir(path).unwrap().for_each(|entry| read(&entry.unwrap().path(), all));
        } else {
            *all += &text(&fs::read(path).unwrap());
        }
    }
    let mut all = text(&output.stdout) + &text(&output.stderr);
    read(place.path(), &mut all);
    all
}

fn assert_no_password(place: &Place, output: &Output) {
    let all = all_output(place, output);
    for password in PASSWORDS {
        assert!(!all.contains(password) && !all.contains(&encoded(password)), "{all}");
    }
}

#[tokio::test]
async fn a_run_on_brokers_with_logins_leaves_them_as_they_were() {
    let _machine = MACHINE.read().await;
    let Some(mut brokers) = brokers("a_run_on_brokers_with_logins").await else { return };
    let brokers = brokers.as_mut().unwrap();
    leave_a_session(brokers.mqtt.port());
    let mut redis = brokers.redis().await;
    let route = "00:11:22:33:44:55";
    redis::cmd("SET").arg(DEFAULT_ROUTE).arg(route).arg("EX").arg(1_000).exec_async(&mut redis).await.unwrap();

    let place = Place::new();
    // Fixed routing, correlations by label and a reply queue for each call.
    let run = brokers.run(
        &place,
        &["custom_1k_1", "--tasks", "20", "--set", "replicas.task_workers=2", "--set", "fleet.ble_service_ms.median=5"],
        &brokers.options(),
    );
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert!(text(&run.stdout).contains("20 dispatched  ·  20 done"), "{}", text(&run.stdout));
    assert!(!text(&run.stderr).contains("not tidied up"), "{}", text(&run.stderr));
    place.assert_clean();
    assert_no_password(&place, &run);
    assert!(place.read("results/live/custom_1k_1/summary.json").contains("not ours"));

    brokers.assert_queues("").await;
    assert_eq!(brokers.keys().await, [DEFAULT_ROUTE]);
    let (value, ttl_s): (String, u64) =
        redis::pipe().get(DEFAULT_ROUTE).ttl(DEFAULT_ROUTE).query_async(&mut redis).await.unwrap();
    assert!(value == route && (1..=1_000).contains(&ttl_s), "{value} for {ttl_s} s");
    redis::cmd("DEL").arg(DEFAULT_ROUTE).exec_async(&mut redis).await.unwrap();

    let database = brokers.mosquitto_database();
    assert!(contains(&database, "gateway-0") && contains(&database, "kept"), "the user's own is gone");
    for trace in ["shelfwire", "/gw/", "fwd_router", "bck_router"] {
        assert!(!contains(&database, trace), "{trace} is left in {}", String::from_utf8_lossy(&database));
    }
}

#[tokio::test]
async fn a_run_over_tls_works_and_leaves_nothing() {
    let _machine = MACHINE.read().await;
    let Some(brokers) = brokers("a_run_over_tls").await else { return };
    let brokers = brokers.as_ref().unwrap();
    let place = Place::new();
    let run = brokers.run(&place, &["smoke", "--tasks", "20"], &brokers.tls_options());
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert!(text(&run.stdout).contains("20 dispatched  ·  20 done"), "{}", text(&run.stdout));
    assert_no_password(&place, &run);
    brokers.assert_queues("").await;
    assert_eq!(brokers.keys().await, [""; 0]);
}

#[tokio::test]
async fn a_run_that_fails_leaves_nothing_either_and_says_how_to_run_it_again() {
    let _machine = MACHINE.read().await;
    let Some(brokers) = brokers("a_run_that_fails").await else { return };
    let brokers = brokers.as_ref().unwrap();
    // As a bench leaves it that is killed: the user's default route aside, and its own in the place.
    let (mut redis, route, place) = (brokers.redis().await, "00:11:22:33:44:55", Place::new());
    let left = redis::pipe().set("shelfwire:bench:route:default", route).set(DEFAULT_ROUTE, "of the bench").to_owned();
    left.exec_async(&mut redis).await.unwrap();
    // Labels so slow that it would take minutes.
    let slow = ["--set", "fleet.ble_service_ms.median=5000", "--set", "limits.virtual_s_max=2"];
    let run = brokers.run(&place, &[&["smoke"][..], &slow].concat(), &brokers.options());
    let said = text(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{said}");
    // So there was something to tidy up.
    assert!(said.contains("not done after 2 s") && said.contains("messages in queue task_queue"), "{said}");
    let again =
        format!(" --live --amqp 'amqp://bench:***@127.0.0.1:{}/%2f' --mqtt 'mqtt://bench:***@", brokers.amqp.port());
    assert!(said.contains(&again) && said.contains(" --redis 'redis://bench:***@"), "{said}");
    place.assert_clean();
    assert_no_password(&place, &run);
    brokers.assert_queues("").await;
    let (value, keys): (String, Vec<String>) =
        redis::pipe().get(DEFAULT_ROUTE).cmd("KEYS").arg("*").query_async(&mut redis).await.unwrap();
    assert!(value == route && keys == [DEFAULT_ROUTE], "{value} in {keys:?}");
    redis::cmd("DEL").arg(DEFAULT_ROUTE).exec_async(&mut redis).await.unwrap();
}

#[tokio::test]
async fn where_another_backbone_could_be_at_work_a_run_is_refused_and_touches_nothing() {
    let _machine = MACHINE.read().await;
    let Some(brokers) = brokers("where_another_backbone_could_be_at_work").await else { return };
    let brokers = brokers.as_ref().unwrap();
    let refused = || {
        let place = Place::new();
        let run = brokers.run(&place, &["smoke", "--tasks", "20"], &brokers.options());
        assert_eq!(run.status.code(), Some(1));
        assert_no_password(&place, &run);
        text(&run.stderr)
    };
    let channel = brokers.channel().await;
    let queue = "task_queue.dead";
    channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), FieldTable::default()).await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    channel.basic_publish("".into(), queue.into(), options, b"mine", properties).await.unwrap().await.unwrap();
    let said = refused();
    assert!(said.contains("a queue `task_queue.dead` already, with 1 messages"), "{said}");
    brokers.assert_queues("task_queue.dead\t1").await;
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();

    let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
    channel.queue_declare("shelfwire-bench".into(), exclusive, FieldTable::default()).await.unwrap();
    let said = refused();
    assert!(said.contains("another run uses this virtual host"), "{said}");
    brokers.assert_queues("shelfwire-bench\t0").await;
    channel.queue_delete("shelfwire-bench".into(), QueueDeleteOptions::default()).await.unwrap();

    let (mut redis, route) = (brokers.redis().await, "shelfwire:route:00:11:22:33:44:55");
    redis::cmd("HSET").arg(route).arg("gateway").arg("mine").exec_async(&mut redis).await.unwrap();
    let said = refused();
    assert!(said.contains(&format!("Redis has `{route}`")), "{said}");
    assert_eq!(brokers.keys().await, [route]);
    redis::cmd("DEL").arg(route).exec_async(&mut redis).await.unwrap();
    brokers.assert_queues("").await;
}
