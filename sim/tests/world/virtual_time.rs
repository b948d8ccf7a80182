//! Time, order and faults of the simulated network, seen through plain sockets.

use backbone::env::{Env, Stream};
use sim::{Class, ClockError, Cluster, Disturbance, Finished, Line, Settings, Simulation};
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

const PORT: u16 = 7;

fn any_address(port: u16) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], port))
}

fn run<T, F>(settings: Settings, main: impl FnOnce(Cluster) -> F + Send + 'static) -> Finished<T>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let mut simulation = Simulation::new(settings);
    simulation.add_pod("server", Class::Redis).add_pod("client", Class::Service);
    simulation.run(main).unwrap()
}

/// Sends back what it gets.
fn serve_echo(env: Env) {
    env.clone().spawn("listener", async move {
        let mut listener = env.listen(any_address(PORT)).await.unwrap();
        while let Ok(mut stream) = listener.accept().await {
            env.clone().spawn("echo", async move {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..n]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
}

/// Pings the server every 10 ms; reports the round trip times, then how it ended.
fn start_pinging(env: Env, pings: usize) -> mpsc::UnboundedReceiver<Result<Duration, io::ErrorKind>> {
    let (report, reports) = mpsc::unbounded_channel();
    env.clone().spawn("pinger", async move {
        let ping = async {
            let mut stream = env.connect("server", PORT).await?;
            for _ in 0..pings {
                let start = Instant::now();
                stream.write_all(b"ping").await?;
                stream.read_exact(&mut [0; 4]).await?;
                let _ = report.send(Ok(start.elapsed()));
                sleep(Duration::from_millis(10)).await;
            }
            io::Result::Ok(())
        };
        if let Err(error) = ping.await {
            let _ = report.send(Err(error.kind()));
        }
    });
    reports
}

async fn all<T>(mut reports: mpsc::UnboundedReceiver<T>) -> Vec<T> {
    let mut seen = vec![];
    while let Some(report) = reports.recv().await {
        seen.push(report);
    }
    seen
}

async fn ping_server(cluster: &Cluster, pings: usize) -> Vec<Result<Duration, io::ErrorKind>> {
    serve_echo(cluster.env("server"));
    sleep(Duration::from_millis(1)).await;
    all(start_pinging(cluster.env("client"), pings)).await
}

#[test]
fn a_round_trip_takes_twice_the_latency() {
    let finished = run(Settings::default(), async |cluster: Cluster| ping_server(&cluster, 100).await);
    assert_eq!(finished.output.len(), 100);
    for round_trip in finished.output {
        let us = round_trip.unwrap().as_micros();
        assert!((200..=500).contains(&us), "{us} us"); // 2 x 100 to 200 us, each rounded up to 50 us
    }
}

#[test]
fn the_seed_alone_decides_the_digest() {
    let digest = |seed| {
        let settings = Settings { seed, quantum_us: 1, ..Settings::default() };
        run(settings, async |cluster: Cluster| ping_server(&cluster, 50).await).digest
    };
    assert_eq!(digest(1), digest(1));
    assert_ne!(digest(1), digest(2));
}

#[test]
fn simulations_side_by_side_do_not_see_each_other() {
    let alone = run(Settings::default(), async |cluster: Cluster| ping_server(&cluster, 50).await).digest;
    let together: Vec<_> = std::thread::scope(|scope| {
        let run = || run(Settings::default(), async |cluster: Cluster| ping_server(&cluster, 50).await).digest;
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(together, [alone; 4]);
}

#[test]
fn a_sleep_ends_exactly_on_its_millisecond() {
    let finished = run(Settings::default(), async |_cluster| {
        let start = Instant::now();
        for us in (0..400_u64).map(|i| i * 7_919 % 7_000) {
            let before_us = start.elapsed().as_micros() as u64;
            sleep(Duration::from_micros(us)).await;
            let expected_us = (before_us + us).next_multiple_of(1_000);
            assert_eq!(start.elapsed().as_micros() as u64, expected_us);
        }
    });
    assert!(finished.virtual_us > 1_000_000);
}

#[test]
fn idle_time_costs_no_steps() {
    let finished = run(Settings::default(), async |_cluster| sleep(Duration::from_secs(3_600)).await);
    assert_eq!(finished.virtual_us, 3_600_000_000);
    assert!(finished.counters.idle_moments < 10, "{:?}", finished.counters);
}

#[test]
fn a_slow_reader_gets_every_byte_of_a_bulk_transfer() {
    const BYTES: usize = 1 << 20;
    let finished = run(Settings::default(), async |cluster: Cluster| {
        let (server, client) = (cluster.env("server"), cluster.env("client"));
        let (report, mut received) = mpsc::unbounded_channel();
        server.clone().spawn("slow reader", async move {
            let mut stream = server.listen(any_address(PORT)).await.unwrap().accept().await.unwrap();
            sleep(Duration::from_millis(50)).await; // lets the window close
            let (mut total, mut buffer) = (0, [0; 4096]);
            while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                total += n;
            }
            report.send(total).unwrap();
        });
        client.clone().spawn("writer", async move {
            sleep(Duration::from_millis(1)).await;
            let mut stream = client.connect("server", PORT).await.unwrap();
            stream.write_all(&vec![7; BYTES]).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        timeout(Duration::from_secs(100), received.recv()).await
    });
    assert_eq!(finished.output, Ok(Some(BYTES)));
}

#[test]
fn the_peer_of_a_crashed_pod_sees_the_end_at_once() {
    let finished = run(Settings::default(), async |cluster: Cluster| {
        serve_echo(cluster.env("server"));
        sleep(Duration::from_millis(1)).await;
        let reports = start_pinging(cluster.env("client"), 1_000);
        sleep(Duration::from_millis(100)).await;
        let outage = cluster.crash("server");
        assert!(outage.sockets >= 2 && outage.tasks >= 2, "{outage:?}");
        (all(reports).await, cluster.now_us())
    });
    let (reports, ended_us) = finished.output;
    assert!(matches!(reports.last(), Some(Err(_))), "{reports:?}");
    assert!(ended_us < 120_000, "{ended_us}");
}

#[test]
fn the_peer_of_a_pod_without_power_hears_nothing_for_minutes() {
    let finished = run(Settings::default(), async |cluster: Cluster| {
        serve_echo(cluster.env("server"));
        sleep(Duration::from_millis(1)).await;
        let reports = start_pinging(cluster.env("client"), 1_000);
        sleep(Duration::from_millis(100)).await;
        let outage = cluster.power_off("server");
        assert!(outage.tasks >= 2, "{outage:?}");
        sleep(Duration::from_millis(1)).await;
        assert_eq!(cluster.sockets("server"), 0);
        (all(reports).await, cluster.now_us())
    });
    let (reports, ended_us) = finished.output;
    assert_eq!(reports.last(), Some(&Err(io::ErrorKind::ConnectionReset)));
    assert!(ended_us > 600_000_000, "Linux gives up after about 15 minutes; this was after {ended_us} us");
}

#[test]
fn a_pod_that_was_cut_off_goes_on_after_a_retransmission() {
    let finished = run(Settings::default(), async |cluster: Cluster| {
        serve_echo(cluster.env("server"));
        sleep(Duration::from_millis(1)).await;
        let reports = start_pinging(cluster.env("client"), 100);
        sleep(Duration::from_millis(100)).await;
        let cut = cluster.disturb(Line::Of("server"), Disturbance::Silence);
        sleep(Duration::from_millis(500)).await;
        let lost = cluster.end(cut);
        (all(reports).await, lost)
    });
    let (reports, lost) = finished.output;
    assert!(lost > 0, "the fault hit something");
    assert_eq!(reports.len(), 100);
    let slowest = reports.into_iter().map(|round_trip| round_trip.unwrap()).max().unwrap();
    assert!(slowest > Duration::from_millis(500) && slowest < Duration::from_millis(900), "{slowest:?}");
}

#[test]
fn pods_that_are_cut_from_each_other_go_on_after_a_retransmission() {
    let finished = run(Settings::default(), async |cluster: Cluster| {
        serve_echo(cluster.env("server"));
        sleep(Duration::from_millis(1)).await;
        let reports = start_pinging(cluster.env("client"), 50);
        sleep(Duration::from_millis(100)).await;
        let cut = cluster.disturb(Line::Between("server", "client"), Disturbance::Silence);
        sleep(Duration::from_millis(300)).await;
        let lost = cluster.end(cut);
        (all(reports).await, lost)
    });
    let (reports, lost) = finished.output;
    assert!(lost > 0, "the fault hit something");
    assert!(reports.len() == 50 && reports.iter().all(Result::is_ok), "{reports:?}");
}

#[test]
fn a_stall_delays_what_is_sent_during_it_and_loses_nothing() {
    let finished = run(Settings::default(), async |cluster: Cluster| {
        serve_echo(cluster.env("server"));
        sleep(Duration::from_millis(1)).await;
        let reports = start_pinging(cluster.env("client"), 50);
        sleep(Duration::from_millis(100)).await;
        let until_us = cluster.now_us() + 70_000;
        let hold = cluster.disturb(Line::Between("client", "server"), Disturbance::Hold { until_us });
        let reports = all(reports).await;
        assert!(cluster.end(hold) > 0, "the fault hit something");
        (reports, cluster.network().lost)
    });
    let (reports, lost) = finished.output;
    let slowest = reports.into_iter().map(|round_trip| round_trip.unwrap()).max().unwrap();
    assert!((50..=75).contains(&slowest.as_millis()), "{slowest:?}");
    assert_eq!(lost, 0);
}

#[test]
fn a_pod_that_is_cut_off_stays_so_when_it_comes_back_as_a_new_host() {
    let settings = Settings { restarts_max: 1, ..Settings::default() };
    let finished = run(settings, async |cluster: Cluster| {
        serve_echo(cluster.env("server"));
        let cut = cluster.disturb(Line::Between("client", "server"), Disturbance::Silence);
        let _ = cluster.crash("server");
        sleep(Duration::from_millis(10)).await;
        serve_echo(cluster.restart("server").env());
        let reports = start_pinging(cluster.env("client"), 3);
        sleep(Duration::from_millis(500)).await;
        let began_us = cluster.now_us();
        assert!(cluster.end(cut) > 0, "the fault hit something");
        (all(reports).await, cluster.now_us() - began_us)
    });
    let (reports, took_us) = finished.output;
    assert!(reports.len() == 3 && reports.iter().all(Result::is_ok), "{reports:?}");
    assert!(took_us > 400_000, "the client's SYN was lost, and comes again a second after the first");
}

#[test]
fn a_pod_that_is_killed_while_it_stands_still_comes_back_on_its_feet() {
    let settings = Settings { restarts_max: 1, ..Settings::default() };
    let finished = run(settings, async |cluster: Cluster| {
        serve_echo(cluster.env("server"));
        let [first, second] = ["server", "server"].map(|name| cluster.freeze(name));
        let _ = cluster.crash("server");
        serve_echo(cluster.restart("server").env());
        let third = cluster.freeze("server");
        assert_eq!([first, second].map(|freeze| cluster.end(freeze)), [0, 0], "its process is gone");
        sleep(Duration::from_millis(1)).await;
        assert!(cluster.end(third) > 0, "the new one had something to do");
        all(start_pinging(cluster.env("client"), 3)).await
    });
    assert!(finished.output.iter().all(Result::is_ok) && finished.output.len() == 3, "{:?}", finished.output);
}

#[test]
fn a_clock_that_is_wrong_is_so_for_its_pod_alone() {
    let finished = run(Settings::default(), async |cluster: Cluster| {
        let now = |name| cluster.env(name).unix_ms();
        let right = now("client");
        let error = cluster.set_clock("server", ClockError { ahead_ms: -1_500, drift_ppm: 1_000_000 });
        let wrong = now("server");
        sleep(Duration::from_millis(100)).await;
        let later = now("server");
        assert_eq!(cluster.end(error), 2);
        [right - wrong, later - wrong, now("server") - right, now("client") - right]
    });
    assert_eq!(finished.output, [1_500, 200, 100, 100]);
}

#[test]
fn a_restarted_pod_is_found_under_its_name() {
    let settings = Settings { restarts_max: 1, ..Settings::default() };
    let finished = run(settings, async |cluster: Cluster| {
        serve_echo(cluster.env("server"));
        let _ = cluster.crash("server");
        sleep(Duration::from_millis(10)).await;
        serve_echo(cluster.restart("server").env());
        sleep(Duration::from_millis(1)).await;
        all(start_pinging(cluster.env("client"), 3)).await
    });
    assert!(finished.output.iter().all(Result::is_ok) && finished.output.len() == 3, "{:?}", finished.output);
}

#[test]
fn nobody_listening_means_connection_refused() {
    let finished =
        run(Settings::default(), async |cluster: Cluster| all(start_pinging(cluster.env("client"), 1)).await);
    assert_eq!(finished.output, [Err(io::ErrorKind::ConnectionRefused)]);
}

/// Runs `server` with the connection that `client` makes, and gives what both report, in order.
fn converse<S, C>(
    server: impl FnOnce(Stream, mpsc::UnboundedSender<String>) -> S + Send + 'static,
    client: impl FnOnce(Stream, mpsc::UnboundedSender<String>) -> C + Send + 'static,
) -> Vec<String>
where
    S: Future<Output = ()> + Send + 'static,
    C: Future<Output = ()> + Send + 'static,
{
    let finished = run(Settings::default(), async move |cluster: Cluster| {
        let (near, far) = (cluster.env("server"), cluster.env("client"));
        let (report, reports) = mpsc::unbounded_channel();
        let servers_report = report.clone();
        near.clone().spawn("server", async move {
            let mut listener = near.listen(any_address(PORT)).await.unwrap();
            server(listener.accept().await.unwrap(), servers_report).await;
        });
        sleep(Duration::from_millis(1)).await;
        far.clone().spawn("client", async move { client(far.connect("server", PORT).await.unwrap(), report).await });
        all(reports).await
    });
    finished.output
}

#[test]
fn what_was_written_before_a_close_arrives_before_the_end() {
    let read_all = async |mut stream: Stream, report: mpsc::UnboundedSender<String>| {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        report.send(text).unwrap();
    };
    let seen = converse(read_all, async |mut stream, _report| {
        for part in ["to", " be", " read"] {
            stream.write_all(part.as_bytes()).await.unwrap();
        }
        drop(stream);
    });
    assert_eq!(seen, ["to be read"]);
}

#[test]
fn a_peer_that_closes_with_unread_data_resets_the_connection() {
    let leave = async |stream: Stream, _report| {
        sleep(Duration::from_millis(10)).await;
        drop(stream);
    };
    let seen = converse(leave, async |mut stream, report| {
        stream.write_all(b"nobody reads this").await.unwrap();
        report.send(format!("{:?}", stream.read_u8().await.map_err(|error| error.kind()))).unwrap();
        report.send(format!("{:?}", stream.write_all(b"more").await.map_err(|error| error.kind()))).unwrap();
    });
    assert_eq!(seen, ["Err(ConnectionReset)", "Err(ConnectionReset)"]);
}

#[test]
fn a_peer_that_has_read_everything_ends_the_connection_without_a_reset() {
    let read_and_leave = async |mut stream: Stream, _report| drop(stream.read_u8().await);
    let seen = converse(read_and_leave, async |mut stream, report| {
        stream.write_all(b"?").await.unwrap();
        report.send(format!("{:?}", stream.read_u8().await.map_err(|error| error.kind()))).unwrap();
    });
    assert_eq!(seen, ["Err(UnexpectedEof)"]);
}

#[test]
fn a_writer_that_waits_for_room_hears_that_its_peer_is_gone() {
    let leave = async |stream: Stream, report: mpsc::UnboundedSender<String>| {
        sleep(Duration::from_millis(50)).await;
        report.send("the reader leaves".into()).unwrap();
        drop(stream);
    };
    let seen = converse(leave, async |mut stream, report| {
        let written = stream.write_all(&vec![7; 1 << 20]).await;
        report.send(format!("{:?}", written.map_err(|error| error.kind()))).unwrap();
    });
    assert_eq!(seen, ["the reader leaves", "Err(ConnectionReset)"]);
}

#[test]
fn a_writer_goes_on_as_the_reader_reads_and_no_faster_than_the_news_of_it() {
    const WINDOW: usize = 65_535;
    let read_slowly = async |mut stream: Stream, _report| {
        let mut buffer = vec![0; WINDOW];
        for _ in 0..4 {
            sleep(Duration::from_millis(10)).await;
            stream.read_exact(&mut buffer).await.unwrap();
        }
    };
    let seen = converse(read_slowly, async |mut stream, report| {
        let start = Instant::now();
        for _ in 0..4 {
            stream.write_all(&vec![7; WINDOW]).await.unwrap();
            report.send((start.elapsed().as_micros() / 10_000).to_string()).unwrap();
        }
    });
    assert_eq!(seen, ["0", "1", "2", "3"], "each window waits for the one before it to be read");
}

#[test]
fn data_for_a_socket_that_is_gone_are_answered_with_a_reset_and_what_came_before_can_still_be_read() {
    let say_goodbye = async |mut stream: Stream, _report| {
        stream.read_u8().await.unwrap();
        stream.write_all(b"goodbye").await.unwrap();
        drop(stream); // nothing is unread, so no reset yet
    };
    let seen = converse(say_goodbye, async |mut stream, report| {
        stream.write_all(b"?").await.unwrap();
        sleep(Duration::from_millis(5)).await;
        stream.write_all(b"too late").await.unwrap();
        sleep(Duration::from_millis(5)).await;
        let mut last_words = [0; 7];
        stream.read_exact(&mut last_words).await.unwrap();
        report.send(String::from_utf8_lossy(&last_words).into_owned()).unwrap();
        report.send(format!("{:?}", stream.read_u8().await.map_err(|error| error.kind()))).unwrap();
        report.send(format!("{:?}", stream.write_all(b"!").await.map_err(|error| error.kind()))).unwrap();
    });
    assert_eq!(seen, ["goodbye", "Err(ConnectionReset)", "Err(ConnectionReset)"]);
}

#[test]
fn a_writer_that_fills_the_window_of_a_socket_that_is_gone_does_not_wait_for_ever() {
    let leave = async |mut stream: Stream, _report| drop(stream.read_u8().await);
    let seen = converse(leave, async |mut stream, report| {
        stream.write_all(b"?").await.unwrap();
        sleep(Duration::from_millis(5)).await;
        report.send(format!("{:?}", stream.write_all(&vec![7; 1 << 20]).await.map_err(|error| error.kind()))).unwrap();
    });
    assert_eq!(seen, ["Err(ConnectionReset)"]);
}

/// Takes so many bytes.
struct Disk(usize);

impl std::io::Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_log_that_cannot_be_written_ends_the_run_at_once_and_is_told() {
    let mut simulation = Simulation::new(Settings::default());
    simulation.add_pod("one", Class::Service).write_trace_to(Box::new(Disk(100)));
    let ran = simulation.run(async |cluster: Cluster| {
        let one = cluster.incarnation("one");
        for hour in 0..1_000_000_000 {
            one.trace(format_args!("hour {hour}"));
            sleep(Duration::from_secs(3_600)).await;
        }
    });
    let error = ran.map(|finished| finished.virtual_us).unwrap_err();
    assert_eq!(error.to_string(), "the event log could not be written: no storage space");
}

#[test]
fn a_task_that_spins_without_a_wait_ends_the_run_instead_of_hanging_it() {
    let mut simulation = Simulation::new(Settings::default());
    simulation.add_pod("server", Class::Redis);
    let run = simulation.run(|cluster| async move {
        sleep(Duration::from_millis(3)).await;
        cluster.env("server").spawn("spinning", async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        sleep(Duration::from_secs(1)).await;
    });
    let said = run.unwrap_err().to_string();
    assert!(said.contains("task `spinning` of server: time stands still at 3000 us"), "{said}");
}
