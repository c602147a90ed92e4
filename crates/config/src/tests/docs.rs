//! The committed reference page and schema are those that the source makes; and what the page says is true.

use std::fs;
use std::path::PathBuf;

use super::Folder;
use crate::{json_schema, reference_page};

/// Compares a committed file with what it should be; with `UPDATE_DOCS=1` writes it instead.
fn check(name: &str, expected: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name);
    if std::env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1") {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/{name} is not what the source says; write it again with: UPDATE_DOCS=1 cargo test -p lyceum-config"
    );
}

#[test]
fn the_reference_page_is_up_to_date() {
    check("config-reference.md", &reference_page());
}

#[test]
fn the_schema_is_up_to_date() {
    check("lyceum.schema.json", &json_schema());
}

/// The examples of the page, each with the heading of its setting.
fn examples() -> Vec<(String, String)> {
    let page = reference_page();
    let mut examples = Vec::new();
    let mut heading = "";
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(text) = line.strip_prefix("#### ") {
            heading = text;
        } else if line == "```toml" {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            examples.push((heading.to_owned(), block.join("\n")));
        }
    }
    examples
}

#[test]
fn every_example_of_the_page_can_be_loaded() {
    let examples = examples();
    assert!(examples.len() > 20, "only {} examples", examples.len());
    for (heading, text) in examples {
        // What an example names need not be on this machine.
        if let Err(errors) = Folder::with(&text).load() {
            // And tests have the login that is for this machine alone.
            let is_fine = |problem: &crate::Problem| {
                let text = problem.to_string();
                ["No such file", "others can reach", "no Python environment"]
                    .iter()
                    .any(|word| text.contains(word))
            };
            assert!(
                errors.errors().iter().all(is_fine),
                "{heading}\n{text}\n{errors}"
            );
        }
    }
}

#[test]
fn every_example_of_services_under_paths_of_their_own_can_be_loaded() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/services.md");
    let page = fs::read_to_string(path).unwrap();
    let part = page
        .split("## A service under a path of its own")
        .nth(1)
        .unwrap();
    let part = part.split("## Services made by API").next().unwrap();
    let examples: Vec<_> = part.split("```toml\n").skip(1).collect();
    assert!(examples.len() >= 4, "only {} examples", examples.len());
    for example in examples {
        let text = example.split("```").next().unwrap();
        if let Err(errors) = Folder::with(text).load() {
            // What an example names need not be on this machine.
            let is_fine = |problem: &crate::Problem| problem.to_string().contains("No such file");
            assert!(errors.errors().iter().all(is_fine), "{text}\n{errors}");
        }
    }
}

#[test]
fn every_setting_is_documented() {
    let page = reference_page();
    let mut sections = page.split("\n#### ");
    sections.next();
    for section in sections {
        let heading = section.lines().next().unwrap();
        let text = section.lines().nth(2).unwrap_or_default();
        assert!(!text.starts_with("Type:"), "{heading} has no documentation");
    }
}
