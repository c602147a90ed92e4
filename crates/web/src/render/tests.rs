//! Every page in every language: it renders, is well formed, and refers only to what is there.

mod admin_samples;
mod html;
mod overrides;
mod samples;
mod texts;

use super::{Language, Options, Renderer};

/// A renderer as it comes out of the box.
fn renderer() -> Renderer {
    Renderer::new(samples::options()).unwrap()
}

#[test]
fn every_page_renders_well_formed_in_every_language() {
    let renderer = renderer();
    for sample in samples::all() {
        for language in Language::ALL {
            let html = (sample.render)(&renderer, language).unwrap();
            if let Err(problem) = html::check(&html) {
                panic!("{} in {language:?}: {problem}\n{html}", sample.name);
            }
            assert!(
                html.contains(&format!("<html lang=\"{}\">", language.code())),
                "{} in {language:?} names another language",
                sample.name
            );
        }
    }
}

#[test]
fn pages_look_as_they_did_in_english() {
    let renderer = renderer();
    for sample in samples::all() {
        let html = (sample.render)(&renderer, Language::English).unwrap();
        insta::assert_snapshot!(sample.name, html::without_hashes(&html));
    }
}

#[test]
fn nothing_is_inline_so_that_the_strict_policy_holds() {
    let renderer = renderer();
    for sample in samples::all() {
        let html = (sample.render)(&renderer, Language::English).unwrap();
        for forbidden in [
            "<style",
            " style=",
            " onclick=",
            " onsubmit=",
            "javascript:",
        ] {
            assert!(!html.contains(forbidden), "{}: {forbidden}", sample.name);
        }
        for script in html.split("<script").skip(1) {
            let (tag, _) = script.split_once("</script>").unwrap();
            assert!(
                tag.starts_with(" type=\"module\" src=\"/hub/static/") && tag.ends_with("\">"),
                "{}: inline script {tag}",
                sample.name
            );
        }
    }
}

#[test]
fn values_from_outside_are_escaped() {
    let renderer = renderer();
    let hostile = "<script>alert(\"1\")</script>' onx=";
    for sample in samples::hostile(hostile) {
        let html = (sample.render)(&renderer, Language::English).unwrap();
        assert!(!html.contains("<script>alert"), "{}", sample.name);
        assert!(
            !html.contains("' onx="),
            "{}: quote is not escaped",
            sample.name
        );
        assert!(
            html.contains("&lt;script&gt;alert(&quot;1&quot;)"),
            "{}: the value is not there",
            sample.name
        );
        html::check(&html).unwrap();
    }
}

/// Writes every page as files, to be looked at: `LYCEUM_PAGES=folder cargo test -p lyceum-web pages_can`.
#[test]
fn pages_can_be_written_out_to_look_at() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = std::env::var_os("LYCEUM_PAGES").map(std::path::PathBuf::from);
    let folder = wanted.unwrap_or_else(|| folder.path().to_owned());
    let renderer = Renderer::new(Options {
        base_url: "hub/".to_owned(),
        ..samples::options()
    })
    .unwrap();
    let write = |path: &str, bytes: &[u8]| {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    for sample in samples::all() {
        for language in Language::ALL {
            let html = (sample.render)(&renderer, language).unwrap();
            write(
                &format!("{}.{}.html", sample.name, language.code()),
                html.as_bytes(),
            );
        }
    }
    for path in super::assets::paths() {
        write(
            &format!("hub/static/{path}"),
            &super::asset(path).unwrap().bytes,
        );
    }
    write("hub/logo", &super::asset("logo.svg").unwrap().bytes);
    assert!(folder.join("login.en.html").exists());
}
