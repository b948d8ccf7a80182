//! What Linux's TCP and a pod's CPU do to applications, seen through plain sockets.

use backbone::env::{Env, Stream};
use lapin::{
    ConnectionProperties,
    options::{BasicQosOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use sim::{
    Class, Cluster, CpuPlan, Finished, HostPlan, Kernel, MetadataPlan, Quota, Settings, Simulation, broker::amqp,
};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::sleep,
};

const PORT: u16 = 7;

/// Runs a conversation between two hosts: what `client` reports, in order.
fn converse<S, C, T>(
    settings: Settings,
    hosts: [HostPlan; 2],
    server: impl FnOnce(Stream, Env) -> S + Send + 'static,
    client: impl FnOnce(Stream, Env, mpsc::UnboundedSender<T>) -> C + Send + 'static,
) -> Finished<Vec<T>>
where
    S: Future<Output = ()> + Send + 'static,
    C: Future<Output = ()> + Send + 'static,
    T: Send + 'static,
{
    let mut simulation = Simulation::new(settings);
    simulation.add_pod("server", hosts[0]).add_pod("client", hosts[1]);
    let conversation = async move |cluster: Cluster| {
        let (near, far) = (cluster.env("server"), cluster.env("client"));
        near.clone().spawn("server", async move {
            let mut listener = near.listen(SocketAddr::from(([0, 0, 0, 0], PORT))).await.unwrap();
            server(listener.accept().await.unwrap(), near).await;
        });
        sleep(Duration::from_millis(1)).await;
        let (report, mut reports) = mpsc::unbounded_channel();
        far.clone()
            .spawn("client", async move { client(far.connect("server", PORT).await.unwrap(), far, report).await });
        let mut seen = vec![];
        while let Some(report) = reports.recv().await {
            seen.push(report);
        }
        seen
    };
    simulation.run(conversation).unwrap()
}

/// The wall-clock time at which every simulation starts.
const START: Duration = Duration::from_secs(1_735_689_600);

fn now_us(env: &Env) -> u64 {
    (env.unix_time() - START).as_micros().try_into().unwrap()
}

fn host(class: Class, nodelay: bool) -> HostPlan {
    HostPlan { kernel: Kernel { nodelay, ..Kernel::default() }, ..class.into() }
}

/// Round trips of a request that is answered with two small writes, in us.
fn two_writes_an_answer(nodelay: bool, settings: Settings) -> Finished<Vec<u64>> {
    let hosts = [host(Class::Mqtt, nodelay), host(Class::Gateway, true)];
    let answer_twice = async |mut stream: Stream, _| {
        while stream.read_u8().await.is_ok() {
            stream.write_all(b"abcd").await.unwrap();
            stream.write_all(b"efgh").await.unwrap();
        }
    };
    converse(settings, hosts, answer_twice, async |mut stream, env, report| {
        for _ in 0..100 {
            let asked_us = now_us(&env);
            stream.write_all(b"?").await.unwrap();
            let mut answer = [0; 8];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"abcdefgh");
            report.send(now_us(&env) - asked_us).unwrap();
        }
    })
}

#[test]
fn a_second_small_write_waits_for_a_delayed_acknowledgement() {
    let finished = two_writes_an_answer(false, Settings::default());
    let stalled = finished.output.iter().filter(|us| (39_000..46_000).contains(*us)).count();
    assert!(stalled > 90, "{stalled} of 100 round trips took 40 to 44 ms: {:?}", finished.output);
    assert!(finished.counters.network.held_back >= stalled as u64);
    assert!(finished.counters.network.delayed_acks >= stalled as u64);
}

#[test]
fn with_nodelay_nothing_waits() {
    let finished = two_writes_an_answer(true, Settings::default());
    assert!(finished.output.iter().all(|us| *us < 1_000), "{:?}", finished.output);
    assert_eq!(finished.counters.network.held_back, 0);
}

#[test]
fn a_receiver_that_counts_three_answers_stalls_less() {
    let hosts = |pingpong_thresh| {
        let client = HostPlan { kernel: Kernel { nodelay: true, pingpong_thresh }, ..Class::Gateway.into() };
        [host(Class::Mqtt, false), client]
    };
    let delayed = |thresh| {
        let server = async |mut stream: Stream, _| {
            while stream.read_u8().await.is_ok() {
                stream.write_all(b"a").await.unwrap();
                stream.write_all(b"b").await.unwrap();
            }
        };
        let client = async |mut stream: Stream, _, report: mpsc::UnboundedSender<()>| {
            for _ in 0..100 {
                stream.write_all(b"?").await.unwrap();
                stream.read_exact(&mut [0; 2]).await.unwrap();
            }
            drop(report);
        };
        converse(Settings::default(), hosts(thresh), server, client).counters.network.delayed_acks
    };
    assert!(delayed(3) < delayed(1), "{} against {}", delayed(3), delayed(1));
}

#[test]
fn the_seed_alone_decides_how_segments_are_cut() {
    let digest = |seed| two_writes_an_answer(false, Settings { seed, ..Settings::default() }).digest;
    assert_eq!(digest(1), digest(1));
    assert_ne!(digest(1), digest(2));
}

/// Sends a megabyte to a reader that takes 4 KB at a time, and then says goodbye.
fn megabyte(loss_ppm: u64, pause: Duration) -> Vec<u8> {
    const LEN: usize = 1 << 20;
    let hosts = [host(Class::Mqtt, false), host(Class::Gateway, false)];
    let send = async |mut stream: Stream, _| {
        let bytes: Vec<u8> = (0..LEN).map(|i| (i / 251) as u8).collect();
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_u8().await;
    };
    let settings = Settings { loss_ppm, ..Settings::default() };
    let finished = converse(settings, hosts, send, async move |mut stream, _, report| {
        sleep(Duration::from_millis(50)).await; // the window closes
        let mut buffer = [0; 4_096];
        while let Ok(len @ 1..) = stream.read(&mut buffer).await {
            report.send(buffer[..len].to_vec()).unwrap();
            sleep(pause).await;
        }
    });
    assert_eq!(finished.counters.network.lost > 0, loss_ppm > 0);
    finished.output.concat()
}

fn assert_is_the_megabyte(received: &[u8]) {
    assert_eq!(received.len(), 1 << 20);
    assert!(received.iter().enumerate().all(|(i, byte)| *byte == (i / 251) as u8), "bytes in another order");
}

#[test]
fn a_closed_window_opens_again_and_everything_arrives() {
    assert_is_the_megabyte(&megabyte(0, Duration::from_millis(1)));
}

#[test]
fn lost_segments_and_acknowledgements_only_delay() {
    assert_is_the_megabyte(&megabyte(20_000, Duration::ZERO));
}

/// A frame of AMQP: `basic.publish` without arguments.
const FRAME: [u8; 12] = [1, 0, 1, 0, 0, 0, 4, 0, 60, 0, 40, 0xCE];

/// When each of `count` frames reached the application on the server, in us since the start.
fn frames_read(cpu: CpuPlan, count: usize) -> Vec<u64> {
    let hosts = [HostPlan { cpu, ..Class::Amqp.into() }, Class::Service.into()];
    let (report, mut reports) = mpsc::unbounded_channel();
    let read = async move |mut stream: Stream, env: Env| {
        let mut buffer = FRAME;
        while stream.read_exact(&mut buffer).await.is_ok() {
            report.send(now_us(&env)).unwrap();
        }
    };
    converse(Settings::default(), hosts, read, async move |mut stream, _, _report: mpsc::UnboundedSender<()>| {
        stream.write_all(&FRAME.repeat(count)).await.unwrap();
        sleep(Duration::from_secs(5)).await;
    });
    let mut seen = vec![];
    while let Ok(at_us) = reports.try_recv() {
        seen.push(at_us);
    }
    seen
}

#[test]
fn a_pod_with_a_tenth_of_a_cpu_reads_a_hundred_frames_of_100_us_a_period_in_bursts() {
    let quota = Some(Quota { quota_us: 10_000, period_us: 100_000 });
    let read_us = frames_read(CpuPlan { frame_us: 100, quota, ..CpuPlan::default() }, 350);
    assert_eq!(read_us.len(), 350);
    let bursts = read_us.chunk_by(|a, b| b - a < 50_000).count();
    assert!((3..=5).contains(&bursts), "{read_us:?}");
    for (frames, us) in read_us.iter().enumerate() {
        // Two periods may meet in the first 100 ms, and a burst ends with a tick of 4 ms.
        let most = 100 * (us / 100_000 + 2) + 40;
        assert!(frames as u64 <= most, "{frames} frames were read after {us} us");
    }
    assert!(read_us[349] < 400_000, "{read_us:?}");
}

/// An emulated RabbitMQ whose metadata store takes 5 ms for a change.
fn with_metadata_store<T, F>(main: impl FnOnce(Cluster) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let metadata = MetadataPlan { change_us: 5_000, ..MetadataPlan::default() };
    let cpu = CpuPlan { metadata, threads: 2, ..CpuPlan::default() };
    let mut simulation = Simulation::new(Settings::default());
    simulation.add_pod("amqp", HostPlan { cpu, ..Class::Amqp.into() }).add_pod("client", Class::Service);
    let finished = simulation.run(async |cluster: Cluster| {
        let life = cluster.incarnation("amqp");
        life.env().spawn("broker", async move {
            let listener = life.env().listen(SocketAddr::from(([0, 0, 0, 0], 5672))).await.unwrap();
            let broker = amqp::Broker::new(amqp::Config::default()).with_metadata_cost(life.metadata_cost());
            match broker.serve(life.env(), listener).await {}
        });
        sleep(Duration::from_millis(1)).await;
        main(cluster).await
    });
    finished.unwrap().output
}

#[test]
fn queues_begin_and_end_when_the_metadata_store_has_come_to_them() {
    let done_us = with_metadata_store(async |cluster| {
        let life = cluster.incarnation("amqp");
        let (report, mut reports) = mpsc::unbounded_channel();
        for _ in 0..4 {
            let report = report.clone();
            life.env().spawn("connection", async move {
                life.metadata_cost().unwrap().change().await;
                report.send(life.now_us()).unwrap();
            });
        }
        drop(report);
        let mut done_us = vec![life.now_us()];
        while let Some(at_us) = reports.recv().await {
            done_us.push(at_us);
        }
        done_us
    });
    let gaps: Vec<u64> = done_us.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps, [5_000; 4]);
}

#[test]
fn declaring_and_deleting_a_queue_take_the_metadata_stores_time_and_nothing_else_does() {
    let took_us = with_metadata_store(async |cluster| {
        let (env, (report, mut reports)) = (cluster.env("client"), mpsc::unbounded_channel());
        env.clone().spawn("client", async move {
            let properties = ConnectionProperties::default();
            let uri = "amqp://guest:guest@amqp:5672/%2f".parse().unwrap();
            let connection = backbone::amqp::connect(&env, uri, None, properties).await.unwrap();
            let channel = connection.create_channel().await.unwrap();
            let declare =
                async || channel.queue_declare("q".into(), QueueDeclareOptions::default(), FieldTable::default()).await;
            let took_us = [
                elapsed_us(&env, declare()).await,
                elapsed_us(&env, declare()).await,
                elapsed_us(&env, channel.basic_qos(1, BasicQosOptions::default())).await,
                elapsed_us(&env, channel.queue_delete("q".into(), QueueDeleteOptions::default())).await,
            ];
            report.send(took_us).unwrap();
        });
        reports.recv().await.unwrap()
    });
    let [first, again, other, deleted] = took_us;
    assert!(other < 1_000, "{other}");
    assert_eq!([first, again, deleted].map(|us| us / 5_000), [1; 3], "{first}, {again}, {deleted}");
}

async fn elapsed_us<T>(env: &Env, work: impl Future<Output = lapin::Result<T>>) -> u64 {
    let began_us = now_us(env);
    work.await.unwrap();
    now_us(env) - began_us
}

#[test]
fn tasks_of_a_pod_wait_for_its_cpu_one_after_the_other() {
    let mut simulation = Simulation::new(Settings::default());
    let cpu = CpuPlan { poll_us: 300, ..CpuPlan::default() };
    simulation.add_pod("busy", HostPlan { cpu, ..Class::Service.into() });
    let finished = simulation.run(async |cluster: Cluster| {
        let env = cluster.env("busy");
        let (report, mut reports) = mpsc::unbounded_channel();
        for _ in 0..3 {
            let (report, clock) = (report.clone(), env.clone());
            env.spawn("task", async move {
                for _ in 0..9 {
                    tokio::task::yield_now().await;
                }
                report.send(now_us(&clock)).unwrap();
            });
        }
        drop(report);
        let mut last_us = 0;
        while let Some(at_us) = reports.recv().await {
            last_us = at_us;
        }
        last_us
    });
    assert_eq!(finished.unwrap().output, 3 * 10 * 300, "three tasks that run ten times each");
}
