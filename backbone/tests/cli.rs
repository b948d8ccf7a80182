//! What the binary says, and how it exits, when its input is wrong.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::{Command, Output};

fn backbone(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_backbone")).args(arguments).env("BACKBONE_MQTT__PORT", "none").output().unwrap()
}

#[track_caller]
fn refused(output: &Output) -> String {
    let message = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    message
}

#[test]
fn a_wrong_value_in_the_environment_is_refused_by_its_variables_name() {
    let message = refused(&backbone(&["fwd-router", "--config", "/dev/null"]));
    assert!(message.contains("BACKBONE_MQTT__PORT"), "{message}");
}

#[test]
fn a_missing_configuration_file_is_refused_by_its_path() {
    let message = refused(&backbone(&["fwd-router", "--config", "/nowhere/backbone.toml"]));
    assert!(message.contains("/nowhere/backbone.toml"), "{message}");
}

#[test]
fn an_unknown_service_is_refused() {
    assert!(refused(&backbone(&["router", "--config", "/dev/null"])).contains("fwd-router"));
}
