//! `[limits]` and `[profiles]`: what is read of them, and what people see when they make no sense.

use insta::assert_snapshot;

use super::Folder;

#[test]
fn limits_that_contradict_each_other_are_all_shown() {
    assert_snapshot!(
        Folder::with(
            "\
[limits]
memory = \"2G\"
memory_high = \"3G\"
cpu = 4
cpu_weight = 0
io_weight = 20000
tasks = 0
total = { memory = \"1G\", cpu = 2, tasks = 10 }

[limits.groups.\"a,b\"]
memory = \"2 Gigs\"
cpu = \"all\"

[limits.users.\"a/b\"]
memory = \"unlimited\"
named_servers = -1
"
        )
        .bad()
    );
}

#[test]
fn profiles_that_cannot_be_started_are_all_shown() {
    assert_snapshot!(
        Folder::with(
            "\
[profiles.small]
title = \" \"
default = true
groups = []

[profiles.large]
default = true
groups = [\"a,b\"]
command = [\"bin/lab\"]
memory = \"64M\"

[profiles.\"ex tra\"]
path = [\"bin\"]

[profiles.more]
default_url = \"/lab/{user}\"

[profiles.most]
environment = { \"A=B\" = \"x\" }
disk = \"10G\"
"
        )
        .bad()
    );
}

#[test]
fn limits_without_effect_are_told_with_what_helps() {
    let warnings = |text: &str| {
        let loaded = Folder::with(text).load().unwrap();
        let all = loaded.warnings.iter().map(|one| one.title().to_owned());
        all.filter(|title| title.contains("not applied"))
            .collect::<Vec<_>>()
    };
    assert_eq!(warnings("").len(), 0);
    // These are counted by the hub itself.
    let own = "[limits]\nreserve = '1G'\nnamed_servers = 2\n[profiles.a]\ntitle = 'A'\n";
    assert_eq!(warnings(own).len(), 0);
    for text in [
        "[limits]\nmemory = '2G'\n",
        "[limits.groups.class]\ntasks = 200\n",
        "[limits.total]\nmemory = '85%'\n",
    ] {
        assert!(warnings(text)[0].contains("`limits`"), "{text}");
    }
    assert!(warnings("[profiles.a]\nmemory = '2G'\n")[0].contains("`profiles`"));
}
