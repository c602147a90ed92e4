//! The table against a naive model, and the rules of replacement.

use proptest::prelude::*;

use super::*;

fn route(spec: &str, port: u16) -> Route {
    Route {
        spec: RouteSpec::parse(spec).unwrap(),
        target: Upstream::Tcp {
            host: "127.0.0.1".to_owned(),
            port,
        },
        target_path: String::new(),
        data: serde_json::Map::default(),
    }
}

fn table(specs: &[&str]) -> RouteTable {
    let table = RouteTable::new();
    for spec in specs {
        table.put_now(route(spec, 1));
    }
    table
}

fn check(table: &RouteTable, host: &str, path: &str, expected: Option<&str>) {
    let found = table.find_spec(host, path).map(|spec| spec.to_string());
    assert_eq!(found.as_deref(), expected, "{host}{path}");
}

#[test]
fn the_longest_prefix_of_whole_segments_wins() {
    let table = table(&[
        "/user/ada/",
        "/user/ada/second/",
        "/user/a b/",
        "/services/x/",
    ]);
    check(&table, "h", "/user/ada/", Some("/user/ada/"));
    check(&table, "h", "/user/ada", Some("/user/ada/"));
    check(
        &table,
        "h",
        "/user/ada/api/kernels/1/channels",
        Some("/user/ada/"),
    );
    check(
        &table,
        "h",
        "/user/ada/second/lab",
        Some("/user/ada/second/"),
    );
    check(&table, "h", "/user/ada/seconds/lab", Some("/user/ada/"));
    check(&table, "h", "/user/adam/", None);
    check(&table, "h", "/user/a%20b/lab", Some("/user/a b/"));
    check(&table, "h", "/user%2Fada/lab", Some("/user/ada/"));
    check(&table, "h", "//user/ada/", None);
    check(&table, "h", "/user/%FF", None);
    check(&table, "h", "/", None);
    check(&table, "h", "", None);
}

#[test]
fn a_route_for_the_host_wins_over_one_for_every_host() {
    let table = table(&["/", "/user/ada/", "hub.example.org/", "[::1]/x/"]);
    check(
        &table,
        "Hub.Example.org:8000",
        "/user/ada/",
        Some("hub.example.org/"),
    );
    check(
        &table,
        "other.example.org",
        "/user/ada/",
        Some("/user/ada/"),
    );
    check(&table, "other.example.org", "/else", Some("/"));
    check(&table, "[::1]:80", "/x/y", Some("[::1]/x/"));
}

#[test]
fn activity_outlives_a_replacement_and_not_a_removal() {
    let table = table(&["/user/ada/"]);
    let last = |table: &RouteTable| {
        let entry = table.find("h", "/user/ada/").unwrap();
        (entry.activity.traffic.last(), entry.target_id)
    };
    let at = |second| Timestamp::from_second(second).unwrap();
    let first = table.find("h", "/user/ada/").unwrap();
    first.touch(at(50));
    first.touch(at(40));
    let (activity, target_id) = last(&table);
    assert_eq!(activity, Some(at(50)));

    table.put_now(route("/user/ada/", 1));
    assert_eq!(
        last(&table),
        (Some(at(50)), target_id),
        "same target: nothing moves"
    );

    table.put_now(route("/user/ada/", 2));
    let (activity, new_target_id) = last(&table);
    assert_eq!(activity, Some(at(50)));
    assert_ne!(new_target_id, target_id);
    first.touch(at(60));
    first.touch_action(at(55));
    assert_eq!(last(&table).0, Some(at(60)), "open connections still count");
    let status = table.get(&RouteSpec::path("/user/ada/")).unwrap();
    assert_eq!(status.last_action, Some(at(55)));

    table.remove_now(&RouteSpec::path("/user/ada/"));
    table.put_now(route("/user/ada/", 1));
    assert_eq!(last(&table).0, None);
}

/// What the table should find, written as plainly as possible.
fn model(specs: &[RouteSpec], host: &str, path: &str) -> Option<RouteSpec> {
    let with_slash = format!("{}/", path::decode(path).trim_end_matches('/'));
    specs
        .iter()
        .filter(|spec| spec.host().is_none_or(|of| of == host))
        .filter(|spec| with_slash.starts_with(spec.path_prefix()))
        .max_by_key(|spec| (spec.host().is_some(), spec.path_prefix().len()))
        .cloned()
}

proptest! {
    #[test]
    fn the_table_agrees_with_a_naive_model(
        changes in proptest::collection::vec(
            (any::<bool>(), "(a\\.example|)(/(a|b|a b)){0,3}/"), 0..12),
        requests in proptest::collection::vec(
            ("(a\\.example|c\\.example)", "(/(a|b|a%20b|ab|%61|a%2Fb)){0,4}/?"), 1..12),
    ) {
        let table = RouteTable::new();
        let mut specs: Vec<RouteSpec> = Vec::new();
        for (put, text) in changes {
            let spec = RouteSpec::parse(&text).unwrap();
            specs.retain(|other| *other != spec);
            if put {
                table.put_now(route(&text, 1));
                specs.push(spec);
            } else {
                table.remove_now(&spec);
            }
        }
        for (host, path) in requests {
            prop_assert_eq!(
                table.find_spec(&host, &path), model(&specs, &host, &path), "{}{}", host, path
            );
        }
    }

    #[test]
    fn no_path_makes_it_panic(host in "\\PC*", path in "\\PC*") {
        let table = table(&["/", "/user/ada/", "hub.example.org/x/"]);
        let _ = table.find_spec(&host, &path);
    }
}
