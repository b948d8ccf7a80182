use super::*;
use std::{ffi::OsString, io::Write};

fn load_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().display().to_string();
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Config::load_with(file.path(), variables).map_err(|error| error.to_string().replace(&path, "FILE"))
}

fn load(text: &str) -> Result<Config, String> {
    load_with(text, &[])
}

fn refused(text: &str) -> String {
    load(text).unwrap_err()
}

#[test]
fn an_empty_file_gives_the_defaults_and_they_are_valid() {
    assert_eq!(load("").unwrap(), Config::default());
    assert!(Config::default().validate().is_ok());
}

#[test]
fn the_example_holds_every_field_with_its_default() {
    let example: serde_json::Value = toml::from_str(EXAMPLE).unwrap();
    assert_eq!(example, serde_json::to_value(Config::default()).unwrap());
}

#[test]
fn the_environment_overrides_the_file_and_its_texts_are_taken_as_they_are() {
    let variables = [
        ("BACKBONE_MQTT__PASSWORD", "0123"),
        ("BACKBONE_MQTT__USERNAME", "true"),
        ("BACKBONE_MQTT__PORT", "1884"),
        ("backbone_correlation", "esl_mac"),
        ("OTHER", "value"),
    ];
    let config = load_with("[mqtt]\npassword = \"file\"\n", &variables).unwrap();
    let mqtt = &config.mqtt;
    assert_eq!((mqtt.password.as_str(), mqtt.username.as_str(), mqtt.port), ("0123", "true", 1884));
    assert_eq!(config.correlation, Correlation::EslMac);
}

#[test]
fn a_wrong_variable_is_named() {
    let error = load_with("", &[("BACKBONE_MQTT__PORT", "many")]).unwrap_err();
    assert_eq!(error, "environment variable BACKBONE_MQTT__PORT: `mqtt.port` is string \"many\"; expected u16");
    let error = load_with("", &[("BACKBONE_MQTT__PROT", "1")]).unwrap_err();
    assert!(error.starts_with("environment variable BACKBONE_MQTT__PROT: unknown key `prot` in [mqtt]"), "{error}");
    let error = load_with("", &[("BACKBONE_MQT__PORT", "1")]).unwrap_err();
    assert!(
        error.starts_with("environment variable BACKBONE_MQT__PORT: unknown key `mqt` at the top level"),
        "{error}"
    );
    let error = load_with("", &[("BACKBONE_TASK_WORKER__PREFETCH", "0")]).unwrap_err();
    assert!(
        error.starts_with("environment variable BACKBONE_TASK_WORKER__PREFETCH: `task_worker.prefetch`"),
        "{error}"
    );
}

#[test]
fn one_underscore_too_few_is_noticed() {
    let error = load_with("", &[("BACKBONE_TASK_WORKER_PREFETCH", "1")]).unwrap_err();
    assert!(
        error.contains("`task_worker_prefetch` at the top level; did you mean BACKBONE_TASK_WORKER__PREFETCH?"),
        "{error}"
    );
    let error = load_with("", &[("BACKBONE_MQTT_PORT", "1884")]).unwrap_err();
    assert!(error.contains("did you mean BACKBONE_MQTT__PORT?"), "{error}");
}

#[test]
fn what_kubernetes_says_of_services_is_no_configuration() {
    for service in ["BACKBONE", "BACKBONE_MQTT"] {
        let names = [
            ("SERVICE_HOST", "10.0.0.11"),
            ("SERVICE_PORT", "1883"),
            ("SERVICE_PORT_MQTT", "1883"),
            ("PORT", "tcp://10.0.0.11:1883"),
            ("PORT_1883_TCP", "tcp://10.0.0.11:1883"),
            ("PORT_1883_TCP_PROTO", "tcp"),
            ("PORT_1883_TCP_PORT", "1883"),
            ("PORT_1883_TCP_ADDR", "10.0.0.11"),
        ];
        let names = names.map(|(name, value)| (format!("{service}_{name}"), value));
        let variables: Vec<(&str, &str)> = names.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(load_with("", &variables).unwrap(), Config::default());
    }
}

#[test]
fn no_error_shows_a_secret() {
    for text in [
        "[mqtt]\nusername = \"u\"\npassword = 5372637\n",
        "[mqtt]\npassword = [\"5372637\"]\n",
        "[mqtt]\npassword = \"5372637\n",
        "[mqtt]\npassword = 5372637 \"\n",
        "[mqtt]\npassword = x5372637\n",
        "[mqtt]\npassword = \"\\5372637\"\n",
        "mqtt = \"5372637\"\n",
        "[amqp]\nurl = \"user:5372637@host\"\n",
        "[amqp]\nurl = \"mailto:user:5372637@host\"\n",
        "[amqp]\nurl = \"amqps://user:5372637@host\"\n",
        "[amqp]\nurl = \"amqp://user:5372637@host:port\"\n",
        "[amqp]\nurl = \"amqp://u@host?auth_mechanism=5372637\"\n",
        "[redis]\nurl = \"rediss://:5372637@host\"\n",
        "[redis]\nurl = 5372637\n",
        "redis = \"redis://:5372637@host\"\n",
    ] {
        let error = refused(text);
        assert!(!error.contains("5372637"), "{text}: {error}");
    }
    let error = load_with("", &[("BACKBONE_AMQP", "amqp://user:5372637@host")]).unwrap_err();
    assert!(error.contains("BACKBONE_AMQP") && !error.contains("5372637"), "{error}");
}

#[test]
fn a_printed_or_serialized_configuration_shows_no_secret() {
    let text = "[amqp]\nurl = \"amqp://user:5372637@host\"\n[redis]\nurl = \"redis://:5372637@host\"\n\
                password = \"5372637\"\n[mqtt]\nusername = \"user\"\npassword = \"5372637\"\n";
    let config = load(text).unwrap();
    let printed = format!("{config:?} {config:#?} {}", serde_json::to_string(&config).unwrap());
    assert!(!printed.contains("5372637") && printed.contains("amqp://user:***@host"), "{printed}");
}

#[test]
fn passwords_come_from_files_too_and_go_before_those_of_urls() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"p@ss:word\n").unwrap();
    let path = file.path().display();
    let text = format!(
        "[amqp]\nurl = \"amqp://user:old@host\"\npassword_file = \"{path}\"\n\
         [redis]\nurl = \"redis://user:old@host\"\npassword_file = \"{path}\"\n\
         [mqtt]\nusername = \"user\"\npassword_file = \"{path}\"\n"
    );
    let config = load(&text).unwrap();
    let amqp = config.amqp.uri().unwrap().authority.userinfo;
    assert_eq!((amqp.username.as_str(), amqp.password.as_str()), ("user", "p@ss:word"));
    let (_, _, redis) = config.redis.address().unwrap();
    assert_eq!((redis.username(), redis.password()), (Some("user"), Some("p@ss:word")));
    assert_eq!(config.mqtt.password, "p@ss:word");
}

#[test]
fn a_password_file_that_is_missing_or_not_the_only_password_is_refused() {
    let error = refused("[mqtt]\nusername = \"u\"\npassword_file = \"/nowhere/password\"\n");
    assert!(error.starts_with("FILE: `mqtt.password_file` is \"/nowhere/password\": No such file"), "{error}");
    let error = refused("[mqtt]\nusername = \"u\"\npassword = \"p\"\npassword_file = \"/nowhere\"\n");
    assert_eq!(error, "FILE: `mqtt.password_file` is set, and so is `mqtt.password`; expected only one of them");
}

#[test]
fn a_password_without_a_name_is_refused() {
    let error = refused("[mqtt]\npassword = \"p\"\n");
    assert_eq!(error, "FILE: `mqtt.username` is empty; expected a name, since there is a password");
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let error = refused(&"#".repeat(64 * 1024 + 1));
    assert_eq!(error, "FILE: has more than the 65536 bytes allowed");
}

#[test]
fn fields_not_in_the_file_keep_their_defaults() {
    let config = load("correlation = \"esl_mac\"\n[task_worker]\nprefetch = 4\n").unwrap();
    assert_eq!((config.correlation, config.task_worker.prefetch), (Correlation::EslMac, 4));
    assert_eq!(config.task_worker.attempts_max, 5);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let error = refused("[task_worker]\nprefetsch = 4\n");
    assert!(error.starts_with("FILE: unknown key `prefetsch` in [task_worker]; did you mean `prefetch`?"), "{error}");
    let error = refused("[taskworker]\n");
    assert!(
        error.starts_with("FILE: unknown key `taskworker` at the top level; did you mean `task_worker`?"),
        "{error}"
    );
}

#[test]
fn a_value_of_another_type_is_refused_with_key_value_and_type() {
    let error = refused("[mqtt]\nport = \"many\"\n");
    assert_eq!(error.trim_end(), "FILE: `mqtt.port` is string \"many\"; expected u16");
}

#[test]
fn an_unknown_choice_is_refused_with_the_known_ones() {
    let error = refused("[routing]\nmode = \"best\"\n");
    assert_eq!(error.trim_end(), "FILE: `routing.mode` is \"best\"; expected one of rssi, random, last_heard, fixed");
}

#[test]
fn values_out_of_range_are_refused_all_at_once() {
    let error = refused("[task_worker]\nprefetch = 0\nattempts_max = 0\n[bck_router]\ngroup = \"a/b\"\n");
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(lines[0], "FILE: `bck_router.group` is \"a/b\"; expected a name without / + # (MQTT 5, 4.8.2)");
    assert_eq!(lines[1], "FILE: `task_worker.prefetch` is 0; expected 1 to 10000");
    assert_eq!(lines[2], "FILE: `task_worker.attempts_max` is 0; expected 1 to 10000");
}

#[test]
fn hysteresis_is_of_strengths_and_has_a_size() {
    let error = refused("[routing]\nmode = \"random\"\nhysteresis_db = 6\n");
    assert_eq!(
        error,
        "FILE: `routing.hysteresis_db` is set with another `routing.mode` than \"rssi\", the only one that compares \
         strengths; expected 0"
    );
    let error = refused("[routing]\nhysteresis_ms = 6\n");
    assert_eq!(error, "FILE: `routing.hysteresis_ms` is set without `routing.hysteresis_db`; expected both");
    let error = refused("[routing]\nsmoothing_ms = 6_001\n");
    assert_eq!(error, "FILE: `routing.smoothing_ms` is 6001; expected 0 to 6000");
}

#[test]
fn an_address_for_health_and_metrics_has_a_port() {
    assert_eq!(load("").unwrap().admin.address(), Ok(None));
    let config = load("[admin]\nlisten = \"[::1]:9100\"\n").unwrap();
    assert_eq!(config.admin.address(), Ok(Some("[::1]:9100".parse().unwrap())));
    let error = refused("[admin]\nlisten = \"localhost\"\n");
    assert_eq!(error, "FILE: `admin.listen` is \"localhost\"; expected an address and a port like 127.0.0.1:9100");
}

#[test]
fn a_collector_of_traces_has_a_place_for_them() {
    let wrong = ["https://c:4318/v1/traces", "c:4318", "http://c:4318", "http://me:secret@c:4318/v1/traces"];
    for wrong in wrong.into_iter().chain(["http://c:0/v1/traces", "http://c:65536/v1/traces"]) {
        let message = refused(&format!("[tracing]\ncollector = \"{wrong}\""));
        assert!(message.contains("`tracing.collector` is"), "{message}");
    }
    assert!(refused("[tracing]\nsample_ppm = 1_000_001").contains("expected 0 to 1000000"));
    for (url, host, port, path) in [
        ("http://[::1]/v1/traces", "::1", 80, "/v1/traces"),
        ("http://c:4318/v1/traces?tenant=a", "c", 4318, "/v1/traces?tenant=a"),
    ] {
        let config = load(&format!("[tracing]\ncollector = \"{url}\"")).unwrap();
        let expected = TraceEndpoint { host: host.into(), port, path: path.into() };
        assert_eq!(config.tracing.endpoint().unwrap().unwrap(), expected);
    }
}

#[test]
fn routers_are_hosts_with_ports() {
    let routers = |text: &str| load(&format!("[rpc]\nrouters = {text}")).map(|config| config.rpc.addresses().unwrap());
    let expected = vec![("router-1".to_owned(), 80), ("::1".to_owned(), 8080)];
    assert_eq!(routers(r#"["router-1:80", "[::1]:8080"]"#).unwrap(), expected);
    for wrong in ["router", "router:0", ":80", "http://router:80", "a:b:80", "router:80000"] {
        let error = routers(&format!("[\"{wrong}\"]")).unwrap_err();
        assert!(error.contains(&format!("\"{wrong}\" is no HOST:PORT")), "{error}");
    }
    assert!(routers("[]").unwrap_err().contains("has 0 addresses; expected 1 to 1000"));
}

#[test]
fn a_bad_url_is_shown_without_its_password() {
    let error = refused("[amqp]\nurl = \"http://user:secret@host\"\n");
    assert!(error.contains("`amqp.url` is \"http://user:***@host\"") && error.contains("expected amqp://"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn no_toml_is_refused_with_its_place() {
    let error = refused("[mqtt\nport = 1\n");
    assert!(error.starts_with("FILE: ") && error.contains("line 1"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(std::path::Path::new("/nowhere/backbone.toml")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the configuration file /nowhere/backbone.toml: "), "{error}");
}

#[test]
fn tls_needs_files_that_fit_together() {
    let error = refused("[amqp]\nurl = \"amqps://host\"\n");
    assert_eq!(error, "FILE: `amqp.ca_file` is empty; expected a file with certificates, since the URL is amqps://");
    let error = refused("[redis]\nca_file = \"/nowhere\"\n");
    assert_eq!(error, "FILE: `redis.ca_file` is set, but the URL is not rediss://");
    let error = refused("[mqtt]\nca_file = \"/nowhere\"\n");
    assert!(error.starts_with("FILE: `mqtt.ca_file` can't be used for TLS: /nowhere: No such file"), "{error}");
    let error = refused("[mqtt]\ncert_file = \"/nowhere\"\n");
    assert_eq!(error, "FILE: `mqtt.cert_file` is set without `mqtt.key_file`, or that without it; expected both");
}

#[test]
fn servers_among_which_labels_are_divided_are_each_checked_and_share_the_login() {
    let config = load("[redis]\nurl = \"redis://one\"\npassword = \"old\"\nshards = [\"redis://two:7000\"]\n").unwrap();
    let servers: Vec<_> = config.redis.servers().iter().map(|server| server.address().unwrap()).collect();
    let places: Vec<_> = servers.iter().map(|(host, port, login)| (host.as_str(), *port, login.password())).collect();
    assert_eq!(places, [("one", 6_379, Some("old")), ("two", 7_000, Some("old"))]);
    let error = refused("[redis]\nshards = [\"redis://two\", \"nowhere:5372637\"]\n");
    assert!(error.starts_with("FILE: `redis.shards` has \"***\": no Redis URL; expected redis://"), "{error}");
    let error = refused("[redis]\nshards = [\"rediss://two\"]\n");
    assert!(error.contains("expected all or none"), "{error}");
    let error = refused("[redis]\nshards = [\"redis://two\"]\n[routing]\nmode = \"fixed\"\n");
    assert!(error.contains("one route for all labels, which needs no `redis.shards`"), "{error}");
}
