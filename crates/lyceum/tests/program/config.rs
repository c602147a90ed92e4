//! `lyceum config`, and what `lyceum serve` says of a bad configuration.

use crate::support::{Site, output, text};

#[test]
fn every_mistake_is_told_at_once_with_its_line_and_the_nearest_key() {
    let site = Site::new();
    site.write("[hub]\nbase_ulr = \"/\"\nstart_timeout = 60\n\n[gatway]\nlisten = []\n");
    for command in [&["config", "check"][..], &["serve"]] {
        let file = site.file_text();
        let mut args = command.to_vec();
        args.extend(["--config", &file]);
        let answer = output(&args);
        assert_eq!(answer.status.code(), Some(78));
        let errors = text(&answer.stderr);
        for expected in [
            "lyceum.toml:2",
            "base_url",
            "lyceum.toml:3",
            "start_timeout",
            "lyceum.toml:5",
            "gateway",
        ] {
            assert!(
                errors.contains(expected),
                "{expected} is missing in:\n{errors}"
            );
        }
    }
}

#[test]
fn a_good_configuration_is_said_to_be_fine() {
    let site = Site::new();
    let answer = output(&["config", "check", "--config", &site.file_text()]);
    assert_eq!(answer.status.code(), Some(0), "{}", text(&answer.stderr));
    assert!(
        text(&answer.stdout).contains("is fine"),
        "{}",
        text(&answer.stdout)
    );
}

#[test]
fn a_named_file_that_is_missing_is_an_error() {
    let answer = output(&["config", "check", "--config", "/nowhere/lyceum.toml"]);
    assert_eq!(answer.status.code(), Some(78));
    assert!(text(&answer.stderr).contains("/nowhere/lyceum.toml"));
}

#[test]
fn shown_settings_name_where_they_come_from() {
    let site = Site::new();
    let file = site.file_text();
    let answer = output(&[
        "config",
        "show",
        "--config",
        &file,
        "--set",
        "hub.start_timeout=90s",
    ]);
    let shown = text(&answer.stdout);
    assert!(
        shown.contains("start_timeout = \"90s\"") && shown.contains("--set"),
        "{shown}"
    );
    assert!(shown.contains("lyceum.toml:"), "{shown}");
    assert!(!shown.contains("slow_stop_timeout"), "{shown}");
    let answer = output(&["config", "show", "--defaults", "--config", &file]);
    assert!(text(&answer.stdout).contains("slow_stop_timeout"));
}

#[test]
fn a_key_is_explained_even_with_a_broken_file() {
    let site = Site::new();
    site.write("[hub]\nnonsense = 1\n");
    let file = site.file_text();
    let answer = output(&["config", "explain", "hub.base_url", "--config", &file]);
    assert_eq!(answer.status.code(), Some(0), "{}", text(&answer.stderr));
    assert!(
        text(&answer.stdout).contains("begins and ends with a slash"),
        "{}",
        text(&answer.stdout)
    );
    let answer = output(&["config", "explain", "hub.base_ulr", "--config", &file]);
    assert_eq!(answer.status.code(), Some(1));
    assert!(
        text(&answer.stderr).contains("hub.base_url"),
        "{}",
        text(&answer.stderr)
    );
}

#[test]
fn the_schema_is_json() {
    let answer = output(&["config", "schema"]);
    let schema: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert!(schema["properties"]["hub"].is_object());
}

#[test]
fn a_reader_that_has_gone_is_no_mistake() {
    let mut child = crate::support::lyceum(&["config", "schema"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let answer = child.wait_with_output().unwrap();
    assert_eq!(text(&answer.stderr), "");
    assert_eq!(answer.status.code(), Some(0));
}

#[test]
fn paths_in_a_file_that_is_named_relatively_lie_in_its_folder() {
    let site = Site::new();
    let answer = crate::support::lyceum(&["config", "show", "--config", "lyceum.toml"])
        .current_dir(site.dir.path())
        .output()
        .unwrap();
    assert_eq!(answer.status.code(), Some(0), "{}", text(&answer.stderr));
    let data = site.dir.path().join("data");
    let shown = text(&answer.stdout);
    assert!(shown.contains(&data.display().to_string()), "{shown}");
}
