//! What a service does past its `Env` ends the run with a sentence that says who did what, and what is right; the real
//! machine is not reached, even if the service doesn't look at the error that it gets.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the forbidden calls are what is tested")]

use backbone::env::Env;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use rumqttc::{AsyncClient, MqttOptions};
use sim::{Class, Cluster, Settings, Simulation, SimulationError, broker::amqp};
use std::{
    env, io,
    net::{SocketAddr, TcpListener, ToSocketAddrs as _},
    panic::catch_unwind,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net, signal,
    task::{JoinSet, spawn_blocking, spawn_local},
    time::sleep,
};

const WHO: &str = "the simulation (seed 1) ended, since something tried to leave it: task `careless` of shop";

fn world<F: Future<Output = ()>>(main: impl FnOnce(Cluster) -> F + Send + 'static) -> Result<(), SimulationError> {
    let mut simulation = Simulation::new(Settings::default());
    simulation.add_pod("shop", Class::Service).add_pod("till", Class::Service);
    simulation.run(main).map(|finished| finished.output)
}

/// How a run ends in which a service does `deed`, and nobody minds what comes of it.
fn end_of<F: Future<Output = ()> + Send + 'static>(deed: impl FnOnce(Env) -> F + Send + 'static) -> String {
    let run = world(async move |cluster: Cluster| {
        let env = cluster.env("shop");
        env.clone().spawn("careless", deed(env));
        sleep(Duration::from_secs(3_600)).await;
    });
    run.expect_err("the run goes on").to_string()
}

/// A real listener, and its address.
struct Machine(TcpListener, SocketAddr);

impl Machine {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        Self(listener, addr)
    }

    #[track_caller]
    fn assert_untouched(&self) {
        self.0.set_nonblocking(true).unwrap();
        assert_eq!(self.0.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "somebody has connected");
    }
}

#[track_caller]
fn assert_says(message: &str, what: &str, instead: &str) {
    let rest = message.strip_prefix(WHO).unwrap_or_else(|| panic!("{message}"));
    let (said, advice) = rest.split_once("; ").unwrap_or_else(|| panic!("{message}"));
    assert!(said.contains(what) && advice.contains(instead), "{message}");
}

#[test]
fn a_task_past_the_environment_ends_the_run() {
    let message = end_of(|_| async { drop(tokio::spawn(async {})) });
    assert_says(&message, "spawned a task past `Env::spawn`", "spawn it by `Env::spawn`");
    let message = end_of(|_| async { drop(JoinSet::new().spawn(async {})) });
    assert_says(&message, "spawned a task past `Env::spawn`", "spawn it by `Env::spawn`");
    let message = end_of(|_| async { drop(spawn_local(async {})) });
    assert_says(&message, "spawned a task past `Env::spawn`", "spawn it by `Env::spawn`");
}

#[test]
fn a_task_past_the_environment_ends_the_run_even_if_its_panic_is_caught() {
    let message = end_of(|_| async {
        let _ = catch_unwind(|| drop(tokio::spawn(async {})));
        sleep(Duration::from_millis(1)).await;
    });
    assert_says(&message, "spawned a task past `Env::spawn`", "spawn it by `Env::spawn`");
}

#[test]
fn a_blocking_task_ends_the_run() {
    let message = end_of(|_| async { drop(spawn_blocking(|| ())) });
    assert_says(&message, "called `tokio::task::spawn_blocking`", "do short work in the task itself");
    let message = end_of(|_| async { drop(net::lookup_host("localhost:80").await) });
    assert_says(&message, "`tokio::net::lookup_host`", "leave names to `Env::connect`");
}

#[test]
fn a_thread_ends_the_run() {
    let message = end_of(|_| async { drop(std::thread::spawn(|| ())) });
    assert_says(&message, "started a thread", "use `Env::spawn`");
    let message = end_of(|_| async { drop(std::thread::Builder::new().spawn(|| ())) });
    assert_says(&message, "started a thread", "use `Env::spawn`");
}

#[test]
fn a_socket_of_tokios_ends_the_run() {
    let machine = Machine::new();
    let addr = machine.1;
    let connects = end_of(move |_| async move { drop(net::TcpStream::connect(addr).await) });
    let listens = end_of(|_| async { drop(net::TcpListener::bind("127.0.0.1:0").await) });
    let sends = end_of(|_| async { drop(net::UdpSocket::bind("127.0.0.1:0").await) });
    for message in [connects, listens, sends] {
        assert_says(&message, "opened a socket of the real machine", "use `Env::connect` and `Env::listen`");
    }
    machine.assert_untouched();
}

#[test]
fn a_socket_of_stds_ends_the_run() {
    let machine = Machine::new();
    let addr = machine.1;
    let message = end_of(move |_| async move { drop(std::net::TcpStream::connect(addr)) });
    assert_says(&message, "opened a socket of the real machine", "use `Env::connect` and `Env::listen`");
    machine.assert_untouched();
}

#[test]
fn a_wait_for_a_signal_ends_the_run() {
    let message = end_of(|_| async { drop(signal::ctrl_c().await) });
    assert_says(&message, "waited for a socket, signal or process", "a token or a channel that tells it to stop");
}

#[test]
fn a_name_looked_up_by_libc_ends_the_run() {
    let message = end_of(|_| async { drop("localhost:80".to_socket_addrs()) });
    assert_says(&message, "looked up a host name", "finds pods by their names");
}

#[test]
fn a_dial_of_redis_rs_ends_the_run() {
    let machine = Machine::new();
    let port = machine.1.port();
    for host in ["127.0.0.1", "localhost"] {
        let message = end_of(move |_| async move {
            let client = redis::Client::open(format!("redis://{host}:{port}")).unwrap();
            let _ = client.get_multiplexed_async_connection().await;
        });
        assert_says(&message, "let redis-rs dial by itself", "`MultiplexedConnection::new_with_config`");
    }
    machine.assert_untouched();
}

#[test]
fn a_dial_of_lapin_ends_the_run() {
    let machine = Machine::new();
    let port = machine.1.port();
    for host in ["127.0.0.1", "localhost"] {
        let uri = format!("amqp://guest:guest@{host}:{port}/%2f");
        let message = end_of(move |_| async move {
            let runtime = async_rs::Runtime::tokio_current();
            let _ = Connection::connect_with_runtime(&uri, ConnectionProperties::default(), runtime).await;
        });
        assert_says(&message, "let lapin dial by itself", "`backbone::amqp::connect`");
    }
    machine.assert_untouched();
}

#[test]
fn a_dial_of_rumqttc_ends_the_run_though_its_error_is_only_a_reason_to_try_again() {
    let machine = Machine::new();
    let port = machine.1.port();
    for host in ["127.0.0.1", "localhost"] {
        let message = end_of(move |_| async move {
            let (_client, mut events) = AsyncClient::builder(MqttOptions::new("careless", (host, port))).build();
            while events.poll().await.is_err() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        assert_says(&message, "let rumqttc dial by itself", "`MqttOptions::set_socket_connector`");
    }
    machine.assert_untouched();
}

#[test]
fn the_main_future_can_leave_the_simulation_no_more_than_a_service() {
    let run = world(async |_| drop(std::net::UdpSocket::bind("127.0.0.1:0")));
    let message = run.unwrap_err().to_string();
    assert!(message.contains(": the main future opened a socket"), "{message}");
}

/// Opens a socket when it is dropped.
struct Farewell;

impl Drop for Farewell {
    fn drop(&mut self) {
        drop(std::net::UdpSocket::bind("127.0.0.1:0"));
    }
}

fn say_farewell_at_the_end_of(env: &Env) {
    let farewell = Farewell;
    env.spawn("dropped", async move {
        let _farewell = farewell;
        std::future::pending().await
    });
}

#[test]
fn a_destructor_that_leaves_the_simulation_ends_the_run_at_that_moment() {
    let seconds = Arc::new(AtomicU32::new(0));
    let counted = seconds.clone();
    let run = world(async move |cluster: Cluster| {
        say_farewell_at_the_end_of(&cluster.env("shop"));
        sleep(Duration::from_secs(1)).await;
        let _ = cluster.crash("shop");
        for _ in 0..60 {
            counted.fetch_add(1, Relaxed);
            sleep(Duration::from_secs(1)).await;
        }
    });
    let message = run.unwrap_err().to_string();
    assert!(message.contains(": a destructor on shop opened a socket"), "{message}");
    assert_eq!(seconds.load(Relaxed), 1);
}

#[test]
fn a_destructor_that_leaves_the_simulation_after_its_end_fails_it_yet() {
    let run = world(async |cluster: Cluster| {
        say_farewell_at_the_end_of(&cluster.env("shop"));
        sleep(Duration::from_secs(1)).await;
    });
    let message = run.unwrap_err().to_string();
    assert!(message.contains("something outside of any task"), "{message}");
}

#[test]
fn what_lapin_calls_back_can_leave_the_simulation_no_more_than_a_service() {
    let run = world(async |cluster: Cluster| {
        let env = cluster.env("till");
        env.clone().spawn("rabbitmq", async move {
            let listener = env.listen(([0, 0, 0, 0], 5672).into()).await.unwrap();
            match amqp::Broker::new(amqp::Config::default()).serve(env, listener).await {}
        });
        let env = cluster.env("shop");
        env.clone().spawn("consumer", async move {
            sleep(Duration::from_millis(1)).await;
            let uri = "amqp://guest:guest@till".parse().unwrap();
            let connection = backbone::amqp::connect(&env, uri, None, ConnectionProperties::default()).await.unwrap();
            let channel = connection.create_channel().await.unwrap();
            channel.queue_declare("prices".into(), Default::default(), Default::default()).await.unwrap();
            let consumer = channel
                .basic_consume("prices".into(), "".into(), Default::default(), Default::default())
                .await
                .unwrap();
            consumer.set_delegate(|_| async { drop(std::net::UdpSocket::bind("127.0.0.1:0")) });
            let properties = BasicProperties::default();
            channel.basic_publish("".into(), "prices".into(), Default::default(), b"1", properties).await.unwrap();
            std::future::pending::<()>().await;
        });
        sleep(Duration::from_secs(10)).await;
    });
    let message = run.unwrap_err().to_string();
    assert!(message.contains(": a task of lapin's on shop opened a socket"), "{message}");
}

#[test]
fn other_threads_of_the_process_use_the_real_machine_as_ever() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (ping, pong) = std::sync::mpsc::channel();
    let ping = Mutex::new(ping);
    let simulation = std::thread::spawn(move || {
        world(async move |_| {
            sleep(Duration::from_secs(1)).await;
            ping.lock().unwrap().send(()).unwrap();
        })
    });
    pong.recv().unwrap();
    runtime.block_on(async {
        let listener = net::TcpListener::bind("localhost:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = tokio::spawn(async move {
            let mut stream = net::TcpStream::connect(("localhost", port)).await.unwrap();
            stream.write_all(b"real").await.unwrap();
        });
        let mut heard = [0; 4];
        listener.accept().await.unwrap().0.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"real");
        client.await.unwrap();
        spawn_blocking(|| ()).await.unwrap();
    });
    simulation.join().unwrap().unwrap();
}

const ENDLESS: &str = "SIM_TEST_TRIES_WITHOUT_END";

#[test]
fn a_task_that_tries_without_a_pause_is_aborted() {
    if env::var_os(ENDLESS).is_some() {
        end_of(|_| async { while std::net::UdpSocket::bind("127.0.0.1:0").is_err() {} });
    }
    let mut itself = Command::new(env::current_exe().unwrap());
    let output = itself.args(["a_task_that_tries_without_a_pause", "--nocapture"]).env(ENDLESS, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("opened a socket of the real machine") && said.contains("100 times"), "{said}");
}
