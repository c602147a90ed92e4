//! `[shared]` and `[courses]`: what is read of them, and what people see when they make no sense.

use std::path::Path;

use insta::assert_snapshot;

use super::Folder;

#[test]
fn shared_folders_and_courses_that_cannot_be_are_all_shown() {
    assert_snapshot!(
        Folder::with(
            "\
[shared.\"a/b\"]
[shared.edu]
path = \"/\"
link = \".bashrc\"
variable = \"LD_PRELOAD\"
read = { groups = [\"a b\"] }
write = \"all\"

[shared.one]
link = \"material\"
variable = \"MATERIAL\"
write = {}

[shared.two]
link = \"material\"
variable = \"MATERIAL\"

[shared.three]
variable = \"A=B\"

[courses]
root = \"/srv/x\"
exchange = \"/srv/x\"
timezone = \"Europe/Atlantis\"
execution_timeout = \"0s\"
"
        )
        .bad()
    );
}

#[test]
fn shared_folders_have_usual_places_and_tell_them_to_servers() {
    let loaded = Folder::with(
        "[shared.nltk]\nvariable = \"NLTK_DATA\"\n[shared.corpora]\npath = \"/mnt/c\"\nvariable = \"CORPORA\"\n[shared.x]\n",
    )
    .load()
    .unwrap();
    let variables = loaded.config.shared_variables();
    let expected = [
        ("CORPORA", "/mnt/c"),
        ("NLTK_DATA", "/srv/lyceum/data/nltk"),
    ];
    assert!(
        variables
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .eq(expected)
    );
    let below = Folder::with("root = \"/opt/jupyter\"")
        .load()
        .unwrap()
        .config;
    assert_eq!(
        below.shared_path("edu"),
        Path::new("/opt/jupyter/shared/edu")
    );
    assert_eq!(below.courses.exchange, Path::new("/opt/jupyter/exchange"));
}
