//! No input makes the loader panic, and whatever it refuses, it can show.

use super::Folder;
use crate::Override;
use std::fmt::Write as _;

use proptest::prelude::*;

/// Loads, and shows what came of it.
fn exercise(folder: &Folder) {
    match folder.load() {
        Ok(loaded) => {
            let shown = loaded.show(true);
            assert!(toml::from_str::<toml::Table>(&shown).is_ok(), "{shown}");
        }
        Err(errors) => {
            assert!(!errors.errors().is_empty());
            assert!(!errors.render(true).is_empty());
            assert!(!errors.render(false).is_empty());
        }
    }
}

/// TOML values of all kinds.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|value| value.to_string()),
        Just("1.5".to_owned()),
        Just("1979-05-27".to_owned()),
        "[a-z/ 0-9:.]{0,12}".prop_map(|text| format!("\"{text}\"")),
        Just("\"5 min\"".to_owned()),
        Just("\"127.0.0.1:80\"".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::btree_map("[a-z]{1,5}", inner, 0..4).prop_map(|entries| {
                let entries: Vec<_> = entries
                    .into_iter()
                    .map(|(key, value)| format!("{key} = {value}"))
                    .collect();
                format!("{{ {} }}", entries.join(", "))
            }),
        ]
    })
}

/// Real keys, so that the values get past the unknown-key check.
const KEYS: [(&str, &str); 16] = [
    ("hub", "base_url"),
    ("hub", "start_timeout"),
    ("hub", "named_servers"),
    ("hub", "api_listen"),
    ("hub", "data_dir"),
    ("hub", "active_server_limit"),
    ("gateway", "listen"),
    ("auth", "kind"),
    ("access", "allowed_users"),
    ("spawner", "kind"),
    ("spawner", "environment"),
    ("store", "database"),
    ("pages", "links"),
    ("pages", "languages"),
    ("log", "level"),
    ("log", "no_such_key"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        exercise(&Folder::with(bytes));
    }

    #[test]
    fn arbitrary_text_never_panics(text in "([\\[\\]{}\"'=.,#a-zé_ 0-9]|\n|hub|log|base_url|level){0,60}") {
        exercise(&Folder::with(text));
    }

    #[test]
    fn values_of_any_type_never_panic(picks in prop::collection::vec((0..KEYS.len(), value()), 1..5)) {
        let mut text = String::new();
        for (index, value) in &picks {
            let (section, key) = KEYS[*index];
            let _ = writeln!(text, "{section}.{key} = {value}");
        }
        exercise(&Folder::with(text));
    }

    #[test]
    fn variables_and_flags_never_panic(
        (index, value) in (0..KEYS.len(), "\\PC{0,40}"),
        (name, other) in ("[A-Z_]{0,30}", "\\PC{0,40}"),
        key in "\\PC{0,30}",
    ) {
        let (section, setting) = KEYS[index];
        let variable = format!("LYCEUM_{}__{}", section.to_uppercase(), setting.to_uppercase());
        let folder = Folder::with("")
            .env(&variable, &value.replace('\0', ""))
            .env(&format!("LYCEUM_{name}"), &other)
            .flag(Override::text("--set", format!("{section}.{setting}"), &value))
            .flag(Override::text("--set", key, other));
        exercise(&folder);
    }
}
