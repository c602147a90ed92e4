//! The languages agree with each other and with the templates.

use std::collections::{BTreeMap, BTreeSet};

use lyceum_core::lifecycle::Cause;

use crate::render::Language;
use crate::render::catalog::Catalog;
use crate::render::{engine, oauth_scopes};

/// All causes; the match fails to compile when one is added and not listed.
fn causes() -> Vec<Cause> {
    let all = [
        Cause::CommandMissing,
        Cause::System,
        Cause::ExitedEarly,
        Cause::StartTimeout,
        Cause::NeverAnswered,
        Cause::BadAnswer,
        Cause::Died,
        Cause::StoppedFromOutside,
        Cause::GoneAtRestart,
        Cause::NotAllowed,
        Cause::Internal,
    ];
    for cause in all {
        match cause {
            Cause::CommandMissing
            | Cause::System
            | Cause::ExitedEarly
            | Cause::StartTimeout
            | Cause::NeverAnswered
            | Cause::BadAnswer
            | Cause::Died
            | Cause::StoppedFromOutside
            | Cause::GoneAtRestart
            | Cause::NotAllowed
            | Cause::Internal => {}
        }
    }
    all.to_vec()
}

/// The keys that templates use, with the names of the values that they give.
fn used() -> BTreeMap<String, BTreeSet<String>> {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, source) in engine::built_in_sources() {
        for (at, call) in source.match_indices("t(\"") {
            if source[..at].ends_with(|letter: char| letter.is_alphanumeric()) {
                continue;
            }
            let (key, after) = source[at + call.len()..].split_once('"').unwrap();
            if after.starts_with(" ~ failure.cause)") {
                for cause in causes() {
                    let cause = serde_json::to_value(cause).unwrap();
                    used.insert(format!("{key}{}", cause.as_str().unwrap()), BTreeSet::new());
                }
                continue;
            }
            assert!(
                after.starts_with([')', ',']),
                "{name}: t(\"{key}\"…) is not a plain call"
            );
            let names: BTreeSet<String> = arguments(after)
                .split(',')
                .filter_map(|argument| argument.split_once('='))
                .map(|(name, _)| name.trim().to_owned())
                .collect();
            let known = used.entry(key.to_owned()).or_insert_with(|| names.clone());
            assert_eq!(*known, names, "{name}: `{key}` has other values elsewhere");
        }
    }
    used.extend(oauth_scopes::text_keys().map(|key| (key, BTreeSet::new())));
    let minutes = || BTreeSet::from(["minutes".to_owned()]);
    for key in [crate::notices::IDLE, crate::notices::AGE] {
        used.insert(key.to_owned(), minutes());
    }
    used.insert(crate::notices::DISMISS.to_owned(), BTreeSet::new());
    used
}

/// The text up to the parenthesis that closes the call.
fn arguments(text: &str) -> &str {
    let mut depth = 1;
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

#[test]
fn all_languages_have_the_same_keys_and_placeholders() {
    let english = Catalog::load(Language::English).unwrap();
    for language in Language::ALL {
        let catalog = Catalog::load(language).unwrap();
        let (ours, theirs) = (catalog.keys(), english.keys());
        for (key, placeholders) in &theirs {
            assert_eq!(ours.get(key), Some(placeholders), "{language:?}: `{key}`");
        }
        for key in ours.keys() {
            assert!(theirs.contains_key(key), "{language:?} alone has `{key}`");
        }
        for key in ours.keys() {
            let text = catalog.fill(key, |_| Some("x")).unwrap();
            assert!(!text.trim().is_empty(), "{language:?}: `{key}` is empty");
        }
    }
}

#[test]
fn templates_use_the_texts_that_there_are_and_all_of_them() {
    let english = Catalog::load(Language::English).unwrap();
    let keys = english.keys();
    let used = used();
    for (key, values) in &used {
        let placeholders = keys
            .get(key.as_str())
            .unwrap_or_else(|| panic!("a template uses `{key}`, which is not there"));
        let placeholders: BTreeSet<String> =
            placeholders.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(*values, placeholders, "values of `{key}`");
    }
    for key in keys.keys() {
        assert!(used.contains_key(*key), "no template uses `{key}`");
    }
}
