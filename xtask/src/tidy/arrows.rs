//! Compares the dependencies between our crates with the allowed ones, and keeps big libraries in their rooms.
//!
//! The diagram is in `docs/ARCHITECTURE.md`; a new arrow belongs there, in an ADR and here.

use std::path::Path;

use anyhow::{Context as _, Result};
use cargo_metadata::{DependencyKind, MetadataCommand, Package};

use super::Problem;

/// Which of our crates each may use, besides `core`, which all may. `*` may use all.
const ARROWS: &[(&str, &[&str])] = &[
    ("lyceum", &["*"]),
    ("testkit", &["*"]),
    ("xtask", &[]),
    ("web", &["hub"]),
    ("hub", &["store"]),
    ("gateway", &["certs"]),
    ("proxy", &["gateway"]),
    ("auth", &["broker"]),
    ("spawn", &["broker"]),
    (
        "config",
        &[
            "auth", "spawn", "certs", "gateway", "proxy", "store", "envs",
        ],
    ),
    ("broker", &[]),
    ("conformance", &[]),
    ("certs", &[]),
    ("core", &[]),
    ("envs", &[]),
    ("store", &[]),
];

/// Libraries that one part of the house has chosen for itself, so that it can choose another.
const ROOMS: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    // The program hands the hub's router to the gateway.
    ("axum", &["web", "lyceum", "testkit"]),
    ("minijinja", &["web"]),
    ("rustls", &["gateway", "certs"]),
    ("clap", &["lyceum", "xtask", "conformance"]),
    ("indicatif", &["lyceum"]),
    ("anyhow", &["lyceum", "xtask"]),
    ("toml_edit", &["config", "envs"]),
    ("annotate-snippets", &["config"]),
    ("zbus", &["broker"]),
    ("pam-client2", &["broker"]),
    ("reqwest", &["envs"]),
    ("roxmltree", &["envs"]),
    ("tar", &["envs"]),
    ("zip", &["envs"]),
];

/// Checks the workspace's crates.
pub(super) fn check(root: &Path) -> Result<Vec<Problem>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("could not read the workspace with cargo metadata")?;
    let mut problems = Vec::new();
    for package in metadata.workspace_packages() {
        let dependencies: Vec<_> = package
            .dependencies
            .iter()
            .map(|dependency| Dependency {
                name: dependency.name.clone(),
                for_tests: dependency.kind == DependencyKind::Development,
            })
            .collect();
        check_crate(room(package), &dependencies, &mut problems);
    }
    Ok(problems)
}

#[derive(Debug)]
struct Dependency {
    name: String,
    for_tests: bool,
}

fn check_crate(name: &str, dependencies: &[Dependency], problems: &mut Vec<Problem>) {
    let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
        let text = "has no row among the allowed dependencies (xtask/src/tidy/arrows.rs)";
        problems.push(Problem::new(format!("crate {name}"), text));
        return;
    };
    for dependency in dependencies {
        if let Some(to) = ours(&dependency.name) {
            let fine = to == "core"
                || allowed.contains(&"*")
                || allowed.contains(&to)
                || (dependency.for_tests && (to == "testkit" || reaches(name, to)));
            if !fine {
                let text = format!("may not use {to} (allowed: {})", listed(allowed));
                problems.push(Problem::new(format!("crate {name}"), text));
            } else if to == "testkit" && !dependency.for_tests {
                problems.push(Problem::new(
                    format!("crate {name}"),
                    "may use testkit in tests only",
                ));
            }
        } else if let Some((library, rooms)) = ROOMS
            .iter()
            .find(|(library, _)| *library == dependency.name)
            && !dependency.for_tests
            && !rooms.contains(&name)
        {
            let text = format!(
                "may not use {library}, which belongs to {}",
                rooms.join(" and ")
            );
            problems.push(Problem::new(format!("crate {name}"), text));
        }
    }
}

/// Whether the arrows lead from one crate to another, perhaps over others: tests may put real parts under their own.
fn reaches(from: &str, to: &str) -> bool {
    ARROWS
        .iter()
        .find(|(name, _)| *name == from)
        .is_some_and(|(_, next)| next.iter().any(|next| *next == to || reaches(next, to)))
}

fn listed(allowed: &[&str]) -> String {
    std::iter::once("core")
        .chain(allowed.iter().copied())
        .collect::<Vec<_>>()
        .join(", ")
}

/// The name of a crate as in the table: its folder's name.
fn room(package: &Package) -> &str {
    ours(&package.name).unwrap_or(&package.name)
}

fn ours(name: &str) -> Option<&str> {
    name.strip_prefix("lyceum-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, dependency: &str, for_tests: bool) -> Vec<String> {
        let dependency = Dependency {
            name: dependency.to_owned(),
            for_tests,
        };
        let mut problems = Vec::new();
        check_crate(name, &[dependency], &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_the_arrows_of_the_diagram_are_allowed() {
        assert_eq!(found("web", "lyceum-hub", false), [""; 0]);
        assert_eq!(found("web", "lyceum-core", false), [""; 0]);
        assert_eq!(
            found("web", "lyceum-store", false),
            ["crate web: may not use store (allowed: core, hub)"]
        );
        assert_eq!(found("web", "lyceum-store", true), [""; 0]);
        assert_eq!(found("web", "lyceum-spawn", true).len(), 1);
        assert_eq!(found("hub", "lyceum-testkit", true), [""; 0]);
        assert_eq!(found("hub", "lyceum-testkit", false).len(), 1);
        assert_eq!(
            found("lyceum", "lyceum-testkit", false),
            ["crate lyceum: may use testkit in tests only"]
        );
        assert_eq!(found("novel", "serde", false).len(), 1);
    }

    #[test]
    fn libraries_stay_in_their_rooms() {
        assert_eq!(found("store", "sqlx", false), [""; 0]);
        assert_eq!(
            found("hub", "sqlx", false),
            ["crate hub: may not use sqlx, which belongs to store"]
        );
        assert_eq!(found("testkit", "axum", true), [""; 0]);
    }
}
