use super::*;
use crate::spec::{CommandedEsls, Quantity};
use backbone::config::{Acknowledgement, Correlation, ReplyQueue, RoutingMode};

/// A directory with these specs in it.
fn specs(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(format!("{name}.toml")), text).unwrap();
    }
    directory
}

/// The built-in specs, and those in `directory`.
fn library(directory: &tempfile::TempDir) -> Library {
    Library::repository().with_folder(directory.path())
}

fn error(files: &[(&str, &str)], name: &str, overrides: &[&str]) -> String {
    let directory = specs(files);
    let overrides: Vec<Override> = overrides.iter().map(|text| Override::parse(text).unwrap()).collect();
    let error = load(&library(&directory), name, &overrides).unwrap_err().to_string();
    error.replace(&format!("{}/", directory.path().display()), "")
}

#[test]
fn all_committed_specs_are_sound() {
    let listed: Vec<String> = Library::repository().list_all().unwrap().into_iter().map(|spec| spec.name).collect();
    for name in ["smoke", "store", "chain", "custom_1k_1", "custom_10k_2", "custom_10k_10", "custom_10k_20"] {
        assert!(listed.iter().any(|listed| listed == name), "{name} is not in {listed:?}");
    }
    assert!(!listed.iter().any(|name| name == "thesis_base"));
}

#[test]
fn custom_10k_20_is_set_up_as_the_figure_was() {
    let spec = Library::repository().load("custom_10k_20").unwrap();
    assert_eq!(
        (spec.workload.tasks, spec.workload.commands_per_task, spec.workload.esls),
        (10_000, 2, CommandedEsls::Fresh)
    );
    assert_eq!((spec.replicas.task_workers, spec.replicas.routers), (50, 20));
    assert_eq!((spec.fleet.gateways, spec.fleet.shared_mac), (10, true));
    let services = &spec.backbone;
    assert_eq!((services.routing.mode, services.correlation), (RoutingMode::Fixed, Correlation::EslMac));
    assert_eq!(services.task_worker.reply_queue, ReplyQueue::PerCall);
    assert_eq!((services.task_worker.reply_timeout_ms, services.task_worker.attempts_max), (25_000, 1));
    assert_eq!((services.fwd_router.acknowledgement, services.bck_router.in_flight_max), (Acknowledgement::Auto, 1));
    // `docker compose` gives each router a tenth of a CPU.
    let router = spec.machines.router;
    assert_eq!((router.cpu_quota_us, router.cpu_period_us, router.threads), (10_000, 100_000, 12));
    assert!(router.frame_us > 0, "a quota of work that costs nothing limits nothing");
}

#[test]
fn workers_start_at_their_pace_until_the_rush() {
    let files = [("a", "[replicas]\nworker_stagger_ms = 300\nworkers_before_rush = 2\nworker_rush_ms = 50")];
    let replicas = load(&library(&specs(&files)), "a", &[]).unwrap().replicas;
    let pauses_ms = [1, 2, 3].map(|workers| replicas.pause_after(workers).as_millis());
    assert_eq!((replicas.all_at_once(), pauses_ms), (false, [300, 50, 50]));
    let steady =
        load(&library(&specs(&files)), "a", &[Override::parse("replicas.workers_before_rush=0").unwrap()]).unwrap();
    assert_eq!(steady.replicas.pause_after(9).as_millis(), 300);
    let rule = error(&files, "a", &["replicas.worker_stagger_ms=0"]);
    assert!(rule.contains("`replicas.workers_before_rush` is set, but all workers start at once"), "{rule}");
}

#[test]
fn the_nearest_layer_wins_and_tables_join_key_by_key() {
    let directory = specs(&[
        ("base", "seed = 3\n[workload]\ntasks = 10\ncommands_per_task = 4"),
        ("middle", "extends = 'base'\n[workload]\ntasks = 20"),
        ("top", "extends = 'middle'\n[replicas]\nrouters = 7"),
    ]);
    let overrides = [Override::parse("replicas.task_workers=9").unwrap()];
    let spec = load(&library(&directory), "top", &overrides).unwrap();
    assert_eq!((spec.seed, spec.workload.tasks, spec.workload.commands_per_task), (3, 20, 4));
    assert_eq!((spec.replicas.routers, spec.replicas.task_workers, spec.name.as_str()), (7, 9, "top"));
}

#[test]
fn what_show_prints_is_the_same_spec_again() {
    for listed in Library::repository().list_all().unwrap() {
        let spec = Library::repository().load(&listed.name).unwrap();
        let directory = specs(&[(&listed.name, &spec.to_toml())]);
        // Whether a spec is one of the gate's says nothing of what happens in it, so it is not printed.
        let expected = Spec { gate: false, origin: Origin::default(), ..spec };
        assert_eq!(load(&library(&directory), &listed.name, &[]).unwrap(), expected);
    }
}

#[test]
fn being_abstract_is_not_inherited() {
    let directory = specs(&[("base", "abstract = true"), ("leaf", "extends = 'base'")]);
    assert_eq!(load(&library(&directory), "leaf", &[]).unwrap().name, "leaf");
    assert!(matches!(load(&library(&directory), "base", &[]), Err(SpecError::Abstract(_))));
    assert_eq!(library(&directory).list_all().unwrap().len(), 1);
}

#[test]
fn an_unknown_key_is_refused_with_file_line_and_suggestion() {
    let error = error(&[("a", "seed = 1\n[workload]\ntaks = 5")], "a", &[]);
    let expected = "a.toml:3: unknown key `taks`; did you mean `tasks`? (known: tasks, arrivals, duration_s, ";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn an_unknown_key_in_a_base_is_reported_there() {
    let files = [("base", "\n\nsed = 1"), ("a", "extends = 'base'")];
    assert!(error(&files, "a", &[]).starts_with("base.toml:3: unknown key `sed`; did you mean `seed`?"));
}

#[test]
fn a_value_of_another_type_is_refused_with_its_line() {
    let error = error(&[("a", "[workload]\n\ntasks = 'many'")], "a", &[]);
    assert!(error.starts_with("a.toml:3: `workload.tasks` is string \"many\"; expected a whole number"), "{error}");
}

#[test]
fn broken_toml_is_refused_with_its_line() {
    let error = error(&[("a", "seed = 1\n[workload\n")], "a", &[]);
    assert!(error.starts_with("a.toml:2: "), "{error}");
}

#[test]
fn a_value_that_breaks_a_rule_is_reported_where_it_was_set() {
    let files = [("base", "[workload]\ncommands_per_task = 0"), ("a", "extends = 'base'\n[workload]\ntasks = 5")];
    assert_eq!(error(&files, "a", &[]), "base.toml:2: `workload.commands_per_task` is 0; accepted are 1 to 1000");
    let fault = "[[faults]]\nat_ms = 1\nkind = 'crash'\ntarget = 'mqtt'\n\n\
                 [[faults]]\nat_ms = 2\nkind = 'cut'\ntarget = 'fwd_router-1'";
    assert_eq!(
        error(&[("a", fault)], "a", &[]),
        "a.toml:9: `faults.1.target` is fwd_router-1, but the 1 forward routers count from 0"
    );
}

#[test]
fn arrivals_and_mixes_that_make_no_sense_are_refused() {
    for (text, expected) in [
        ("arrivals = 'poisson'", "`workload.duration_s` is 0; these `workload.arrivals` need a time"),
        ("duration_s = 5", "`workload.duration_s` is 5, but with these `workload.arrivals` it has no meaning"),
        ("arrivals = 'steps'\nduration_s = 5", "`workload.steps` is empty"),
        ("arrivals = 'steps'\nduration_s = 5\nsteps = [0]", "`workload.steps` has no rate but 0"),
        (
            "arrivals = 'poisson'\nduration_s = 5\nsteps = [1]",
            "`workload.steps` is for `workload.arrivals = \"steps\"`",
        ),
        ("arrivals = 'day'\nduration_s = 5\ncurves = [[1]]", "`workload.curves` has 1 rates; accepted are 2 to 1440"),
        ("arrivals = 'day'\nduration_s = 5\ncurves = [[1, 2], [2, 1]]", "`workload.curves` has 2 curves for 1 stores"),
        ("arrivals = 'poisson'\nduration_s = 5\nwarm_up_s = 5", "`workload.warm_up_s` is 5, but tasks come for 5 s"),
        ("arrivals = 'poisson'\nduration_s = 3_600", "`limits.virtual_s_max` is 3600, but tasks come until 3600 s"),
        ("commands_per_task_max = 1", "`workload.commands_per_task_max` is 1, less than `workload.commands_per_task`"),
        ("body_bytes_min = 9", "`workload.body_bytes_max` is 0, less than `workload.body_bytes_min`, which is 9"),
        (
            "commands_per_task = 50\nbody_bytes_max = 9_000",
            "`workload.body_bytes_max` makes tasks of up to 456400 bytes",
        ),
        ("esls = 'each_once'", "`workload.tasks` makes up to 2000 commands, and there are 100 labels"),
        ("esls = 'fresh'\nzipf_percent = 5", "`workload.zipf_percent` is for labels drawn with"),
        ("zipf_percent = 5\ncommands_per_task = 21", "`workload.zipf_percent` is set, with up to 21 commands a task"),
        ("arrivals = 'replay'", "`workload.replay` is empty"),
        ("replay = 'tasks.csv'", "`workload.replay` is for `workload.arrivals = \"replay\"`"),
        ("arrivals = 'replay'\nreplay = 'none.csv'", "none.csv, which can't be read"),
    ] {
        let error = error(&[("a", &format!("[workload]\n{text}"))], "a", &[]);
        assert!(error.starts_with("a.toml:") && error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_wrong_override_is_named() {
    let files = [("a", "seed = 1")];
    assert!(
        error(&files, "a", &["workload.taks=5"])
            .starts_with("--set workload.taks=5: unknown key `taks`; did you mean `tasks`?")
    );
    assert_eq!(
        error(&files, "a", &["fleet.gateways=0"]),
        "--set fleet.gateways=0: `fleet.gateways` is 0; accepted are 1 to 20000"
    );
    let wrong_value = error(&files, "a", &["fleet.mode=seral"]);
    assert_eq!(
        wrong_value,
        "--set fleet.mode=seral: unknown value `seral`; did you mean `serial`? (known: serial, concurrent)"
    );
}

#[test]
fn a_fault_on_something_unknown_is_refused() {
    let text = "[[faults]]\nat_ms = 1\nkind = 'crash'\ntarget = 'rabbit'";
    let error = error(&[("a", text)], "a", &[]);
    assert!(error.starts_with("a.toml:4: `faults.0.target`: \"rabbit\" names nothing that can break"), "{error}");
}

#[test]
fn a_fault_on_a_router_that_this_way_of_calling_has_not_is_refused() {
    let fault = |kind: &str, target: &str| {
        let text = "[[faults]]\nat_ms = 1\nkind = 'crash'\ntarget =";
        error(&[("a", &format!("[backbone.rpc]\nkind = '{kind}'\n{text} '{target}'"))], "a", &[])
    };
    let http = fault("http", "fwd_router-0");
    assert!(http.contains("is fwd_router-0, but there are no forward routers"), "{http}");
    let queue = fault("queue", "http_router-0");
    assert!(queue.contains("is http_router-0, but there are no HTTP routers"), "{queue}");
}

#[test]
fn the_services_configuration_is_checked_as_in_production() {
    let unknown = error(&[("a", "[backbone.task_worker]\nprefetsch = 4")], "a", &[]);
    assert!(unknown.starts_with("a.toml:2: unknown key `prefetsch`; did you mean `prefetch`?"), "{unknown}");
    let out_of_range = error(&[("a", "[backbone.task_worker]\nprefetch = 0")], "a", &[]);
    assert_eq!(out_of_range, "a.toml:2: `backbone.task_worker.prefetch` is 0; expected 1 to 10000");
}

#[test]
fn a_request_that_could_reach_no_gateway_is_refused() {
    let fresh = error(&[("a", "[workload]\nesls = 'fresh'")], "a", &[]);
    assert!(fresh.starts_with("a.toml:2: `workload.esls` is \"fresh\", labels that nobody hears"), "{fresh}");
    let silent = error(&[("a", "[fleet]\nrssi_period_ms = 0")], "a", &[]);
    assert!(silent.starts_with("a.toml:2: `fleet.rssi_period_ms` is 0"), "{silent}");
    let fixed = error(&[("a", "[backbone.routing]\nmode = 'fixed'")], "a", &[]);
    assert!(fixed.starts_with("a.toml:2: `backbone.routing.mode` is \"fixed\", one gateway for all"), "{fixed}");
}

#[test]
fn routes_that_would_be_forgotten_between_two_heartbeats_are_refused() {
    let changes = |heartbeat| format!("[fleet]\nrssi_change_db = 6\nrssi_heartbeat_ms = {heartbeat}");
    let late = error(&[("a", &changes("4_000"))], "a", &[]);
    let rule = "a.toml:3: `fleet.rssi_heartbeat_ms` is 4000; with a period of 2000 ms for the report itself routes \
                would be forgotten between two heartbeats, since `backbone.routing.route_fresh_ms` is 6000";
    assert_eq!(late, rule);
    let never = error(&[("a", "[fleet]\nrssi_change_db = 6")], "a", &[]);
    assert!(never.starts_with("a.toml:2: `fleet.rssi_change_db` needs `fleet.rssi_heartbeat_ms`"), "{never}");
    let directory = specs(&[("a", &changes("3_999"))]);
    assert!(load(&library(&directory), "a", &[]).is_ok());
}

#[test]
fn a_radio_needs_labels_that_are_somewhere_and_noise_that_lasts() {
    let fresh =
        "[workload]\nesls = 'fresh'\n[backbone.routing]\nmode = 'fixed'\n[fleet]\ngateways = 1\n[fleet.radio]\n";
    let error_of = |text: &str| error(&[("a", text)], "a", &[]);
    assert!(
        error_of(fresh).contains("`workload.esls` is \"fresh\", labels that are in no store"),
        "{}",
        error_of(fresh)
    );
    let noise = error_of("[fleet.radio]\ninterference_db = 6");
    assert!(noise.starts_with("a.toml:2: `fleet.radio.interference_db` is set, but for no time"), "{noise}");
}

#[test]
fn extends_in_a_circle_is_refused() {
    let files = [("a", "extends = 'b'"), ("b", "extends = 'c'"), ("c", "extends = 'b'")];
    assert_eq!(error(&files, "a", &[]), "c.toml: `extends` goes in a circle: a -> b -> c -> b");
}

#[test]
fn a_missing_base_is_reported_where_it_is_named() {
    let files = [("a", "seed = 1\nextends = 'thesis_bas'"), ("thesis_base", "")];
    assert_eq!(
        error(&files, "a", &[]),
        "a.toml:2: extends `thesis_bas`, which does not exist; did you mean `thesis_base`?"
    );
}

#[test]
fn an_unknown_name_gets_the_nearest_ones() {
    let files = [("smoke", ""), ("chain", ""), ("custom_1k_1", "")];
    assert!(error(&files, "smok", &[]).starts_with("no experiment is called `smok`; did you mean `smoke`?"));
    assert!(matches!(load(&library(&specs(&files)), "../a", &[]), Err(SpecError::Unknown { .. })));
}

#[test]
fn an_override_is_toml_or_else_text() {
    let value = |text| Override::parse(text).unwrap().value;
    assert_eq!(value("a.b=5"), Value::Integer(5));
    assert_eq!(value("a=true"), Value::Boolean(true));
    assert_eq!(value("a=serial"), Value::String("serial".into()));
    assert_eq!(value("a=\"5\""), Value::String("5".into()));
    assert!(Override::parse("a").is_err());
    assert!(Override::parse("a..b=1").is_err());
}

const SCALED_OBJECT: &str = "
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: { name: workers }
spec:
  scaleTargetRef: { name: workers }
  minReplicaCount: 1
  maxReplicaCount: 60
  triggers:
    - type: rabbitmq
      metadata: { queueName: task_queue, protocol: amqp, mode: QueueLength, value: '5' }
";

/// Specs, and the file `keda.yaml` beside them.
fn specs_with(yaml: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = specs(files);
    std::fs::write(directory.path().join("keda.yaml"), yaml).unwrap();
    directory
}

#[test]
fn a_scaled_object_is_part_of_the_spec_that_names_its_file_and_says_less_than_the_spec_itself() {
    let text = "[autoscale.task_workers]\nscaled_object = \"keda.yaml\"\nmax_replica_count = 70\nstart_ms = 3000";
    let directory =
        specs_with(SCALED_OBJECT, &[("a", text), ("b", "extends = \"a\"\n[autoscale.task_workers]\ngrace_s = 5")]);
    let spec = load(&library(&directory), "b", &[]).unwrap();
    let rules = spec.autoscale.task_workers.as_ref().unwrap();
    assert_eq!((rules.min_replica_count, rules.max_replica_count, rules.start_ms, rules.grace_s), (1, 70, 3_000, 5));
    assert_eq!((rules.triggers[0].queue.as_str(), rules.triggers[0].value), ("task_queue", Quantity::whole(5)));
    // What is written out needs no other file.
    let written = specs(&[("c", &spec.to_toml())]);
    assert_eq!(load(&library(&written), "c", &[]).unwrap().autoscale, spec.autoscale);
}

#[test]
fn a_file_with_a_scaled_object_that_is_wrong_or_not_there_is_named() {
    let text = "[autoscale.task_workers]\nscaled_object = \"keda.yaml\"";
    assert!(error(&[("a", text)], "a", &[]).starts_with("cannot read keda.yaml: "));
    let wrong = |yaml: &str| {
        let directory = specs_with(yaml, &[("a", text)]);
        let error = load(&library(&directory), "a", &[]).unwrap_err().to_string();
        error.replace(&format!("{}/", directory.path().display()), "")
    };
    assert_eq!(
        wrong(&SCALED_OBJECT.replace("rabbitmq", "kafka")),
        "keda.yaml: has a trigger of type `kafka`; only `rabbitmq` is modelled"
    );
    let unknown = wrong(&SCALED_OBJECT.replace("minReplicaCount", "minReplicas"));
    assert!(unknown.starts_with("keda.yaml: line 7 column 3: unknown field `minReplicas`"), "{unknown}");
    // Within its own rules, against those of the world.
    let few = wrong(&SCALED_OBJECT.replace("60", "10"));
    assert!(
        few.contains("`replicas.task_workers` is 50, more than `autoscale.task_workers.max_replica_count`, 10"),
        "{few}"
    );
}

#[test]
fn what_can_not_be_scaled_is_refused() {
    let trigger = "\n[[autoscale.routers.triggers]]\nqueue = \"routing\"\n";
    let cases = [
        (String::new(), "`autoscale.routers.triggers` are 0; expected are 1 to 10"),
        (format!("{trigger}value = 0"), "`autoscale.routers.triggers.0.value` is 0"),
        (format!("{trigger}mode = \"message_rate\""), "needs `protocol = \"http\"`"),
        (format!("{trigger}exclude_unacknowledged = true"), "is for `protocol = \"http\"`"),
        (format!("min_replica_count = 200{trigger}"), "is 200, more than `max_replica_count`, 100"),
        (format!("idle_replica_count = 0{trigger}"), "is 0; it must be less than `min_replica_count`, 0"),
        (format!("polling_interval_s = 0{trigger}"), "`autoscale.routers.polling_interval_s` is 0; accepted are 1 to"),
        (
            format!("behavior.scale_up.policies = [{{kind = \"pods\", value = 1, period_s = 1801}}]{trigger}"),
            "policies.0.period_s` is 1801; accepted are 1 to 1800",
        ),
        (format!("{trigger}[backbone.rpc]\nkind = \"http\""), "workers know each HTTP router by its name"),
        (
            format!("{trigger}[[faults]]\nat_ms = 1\nkind = \"crash\"\ntarget = \"bck_router-0\""),
            "is bck_router-0, which comes and goes with `autoscale.routers`",
        ),
    ];
    for (text, expected) in cases {
        let text = format!("[autoscale.routers]\n{text}");
        let error = error(&[("a", &text)], "a", &[]);
        assert!(error.contains(expected), "{expected}: {error}\n{text}");
    }
    assert!(error(&[("a", "replicas.routers = 0")], "a", &[]).contains("is 0, and nothing lets any come"));
    let fault = "[[faults]]\nat_ms = 1\nkind = \"crash\"\ntarget = \"autoscaler\"";
    assert!(error(&[("a", fault)], "a", &[]).contains("nothing is scaled"));
}
