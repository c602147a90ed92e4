//! Times as they are typed, and lines as they are printed.

use serde_json::json;

use super::*;

fn now() -> Timestamp {
    "2026-11-26T20:00:00Z".parse().unwrap()
}

#[test]
fn times_are_how_long_ago_or_instants_of_utc() {
    for (text, expected) in [
        ("2d", Some("2026-11-24T20:00:00Z")),
        ("1h 30min", Some("2026-11-26T18:30:00Z")),
        ("2026-11-26", Some("2026-11-26T00:00:00Z")),
        ("2026-11-26T14:00", Some("2026-11-26T14:00:00Z")),
        ("2026-11-26 14:00:07", Some("2026-11-26T14:00:07Z")),
        ("2026-11-26T14:00:00+02:00", Some("2026-11-26T12:00:00Z")),
        ("yesterday", None),
        ("", None),
        ("2026-13-01", None),
    ] {
        let expected = expected.map(|text| text.parse().unwrap());
        assert_eq!(instant(text, now()), expected, "{text}");
    }
}

fn row() -> AuditRow {
    AuditRow {
        id: 7,
        at: now(),
        kind: "server-stop".to_owned(),
        actor: "boss".to_owned(),
        about: Some("ada".to_owned()),
        server: Some("lab".to_owned()),
        client_addr: None,
        detail: json!({"why": "asked", "none": null, "off": false, "on": true, "list": ["a", "b"], "text": "two words"}),
    }
}

#[test]
fn an_event_is_a_line_for_people_or_an_object_for_programs() {
    let rows = [row()];
    assert_eq!(
        line(&row(), Form::table(&rows)),
        "2026-11-26 20:00:00Z  server-stop   boss      ada/lab   -          \
         list=a,b on text=\"two words\" why=asked"
    );
    let text = line(&row(), Form::Json);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["at"], "2026-11-26T20:00:00Z");
    assert_eq!(value["detail"]["why"], "asked");
    assert!(!text.contains('\n'));
}

#[test]
fn nothing_in_an_event_reaches_the_terminal_as_a_command() {
    let rows = [AuditRow {
        actor: "a\u{1b}[2Jb".to_owned(),
        detail: json!({"x": "\u{1b}[31m\n"}),
        ..row()
    }];
    let text = line(&rows[0], Form::table(&rows));
    assert!(!text.contains('\u{1b}') && !text.contains('\n'), "{text}");
}
