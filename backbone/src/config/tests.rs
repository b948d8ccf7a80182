use super::*;
use figment::{
    Figment,
    providers::{Format, Serialized, Toml},
};
use std::io::Write;

fn load(text: &str) -> Result<Config, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().display().to_string();
    Config::load(file.path()).map_err(|error| error.to_string().replace(&path, "FILE"))
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
    let values = |figment: Figment| figment.extract::<serde_json::Value>().unwrap();
    let example = values(Figment::from(Toml::string(include_str!("../../config.example.toml"))));
    assert_eq!(example, values(Figment::from(Serialized::defaults(Config::default()))));
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
    assert_eq!(error.trim_end(), "FILE: `routing.mode` is \"best\"; expected one of rssi, fixed");
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
