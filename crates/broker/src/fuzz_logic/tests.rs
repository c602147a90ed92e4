//! Made-up questions, and the seeds of the fuzz target.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::*;

const NAMES: [&str; 14] = [
    "ada", "root", "mallory", "broker", "-rf", "0", "a.b", "Ada", "a b", "..", "a/b", "ada$", "é",
    "",
];
const VARIABLES: [&str; 8] = [
    "JUPYTERHUB_USER",
    "JUPYTERHUB_HOST",
    "LD_PRELOAD",
    "PATH",
    "JUPYTER_PATH",
    "HOME",
    "A=B",
    "LYCEUM_SERVER",
];

proptest! {
    #[test]
    fn any_bytes_are_refused_or_decided_within_the_policy(data in prop::collection::vec(any::<u8>(), 0..300)) {
        question(&data);
    }

    #[test]
    fn any_start_is_refused_or_decided_within_the_policy(
        user in prop::sample::select(&NAMES[..]),
        server in prop::sample::select(&["", "lab", "a-b", ".."][..]),
        marker in "[a-z0-9]{7,9}|[a-z/.\\-]{8}",
        prefix in prop::sample::select(&["/user/", "/base/user/", "/../user/", "/x y/user/"][..]),
        variables in prop::collection::btree_map(
            prop::sample::select(&VARIABLES[..]),
            prop::sample::select(&["ada", "/usr/share/lyceum/jupyter", "a\nb", "/bin", ""][..]),
            0..3,
        ),
        profile in prop::sample::select(&[None, Some("big"), Some("plain"), Some("x")][..]),
        groups in prop::collection::vec(prop::sample::select(&["research", "sudo", "x"][..]), 0..3),
    ) {
        let server_part = if server.is_empty() { String::new() } else { format!("{server}/") };
        let asked = json!({"version": crate::protocol::VERSION, "request": {"start": {
            "key": {"user": user, "server": server, "marker": marker},
            "environment": variables,
            "service_prefix": format!("{prefix}{user}/{server_part}"),
            "profile": profile,
            "groups": groups,
            "tls": null,
        }}});
        question(asked.to_string().as_bytes());
    }
}

#[test]
fn the_seeds_of_the_fuzz_target_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/broker_question");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        question(&fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 3, "{count}");
}
