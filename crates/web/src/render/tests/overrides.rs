//! The administrator's own templates: they win, may extend the built-in ones, and cannot break a page.

use std::path::Path;

use tempfile::TempDir;

use super::samples;
use crate::render::{Options, RenderError, Renderer, Visit};

fn with(files: &[(&str, &str)]) -> (TempDir, Renderer) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let renderer = Renderer::new(from(folder.path())).unwrap();
    (folder, renderer)
}

fn from(folder: &Path) -> Options {
    Options {
        override_dir: Some(folder.to_owned()),
        ..samples::options()
    }
}

fn login(renderer: &Renderer) -> String {
    renderer
        .render(&Visit::default(), &samples::login(None, "ada"))
        .unwrap()
}

fn error(renderer: &Renderer, status: u16) -> String {
    renderer
        .render(&Visit::default(), &samples::error(status))
        .unwrap()
}

#[test]
fn an_own_template_wins_over_the_built_in_one() {
    let (_folder, renderer) = with(&[("login.html", "hello {{ page.username }}")]);
    assert_eq!(login(&renderer), "hello ada");
    assert!(error(&renderer, 500).contains("Something went wrong"));
}

#[test]
fn an_own_template_may_extend_the_one_that_it_replaces() {
    let (_folder, renderer) = with(&[(
        "login.html",
        "{% extends \"builtin/login.html\" %}{% block login_text %}<p>Ours & {{ \"<\" }}</p>{% endblock %}",
    )]);
    let html = login(&renderer);
    assert!(html.contains("<p>Ours & &lt;</p>"), "{html}");
    assert!(html.contains("name=\"password\""), "{html}");
}

#[test]
fn an_own_frame_is_used_by_the_built_in_pages() {
    let (_folder, renderer) = with(&[("base.html", "[{% block main %}{% endblock %}]")]);
    let html = login(&renderer);
    assert!(
        html.starts_with('[') && html.contains("name=\"password\""),
        "{html}"
    );
}

#[test]
fn a_broken_template_is_passed_over() {
    for broken in [
        "{% if %}",
        "{{ page.nothing }}",
        "{{ t(\"no-such-text\") }}",
        "{% extends \"gone.html\" %}",
    ] {
        let (_folder, renderer) = with(&[("login.html", broken), ("readme.txt", "{% if %}")]);
        assert!(login(&renderer).contains("name=\"password\""), "{broken}");
        assert!(
            login(&renderer).contains("name=\"password\""),
            "{broken}, again"
        );
    }
}

#[test]
fn a_template_for_one_status_wins_over_the_general_one() {
    let (_folder, renderer) = with(&[("404.html", "gone: {{ page.status }}")]);
    assert_eq!(error(&renderer, 404), "gone: 404");
    assert!(error(&renderer, 403).contains("You may not do this"));
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let error = Renderer::new(from(&missing)).unwrap_err();
    assert!(matches!(error, RenderError::OverrideFolder { path, .. } if path == missing));
}
