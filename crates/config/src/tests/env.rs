//! `[env]`: what is read of it, and what people see when it makes no sense.

use std::path::Path;

use insta::assert_snapshot;

use super::Folder;

#[test]
fn environments_that_cannot_be_are_all_shown() {
    assert_snapshot!(
        Folder::with(
            "\
[env]
folder = \"/home/ada/envs\"
default = \"bose\"

[env.python.base]
title = \" \"
python = \"three\"
smoke = [\"pandas\", \"import os\"]
build_as = \"\"
keep = -1

[env.python.current]
[env.python.\"a/b\"]
"
        )
        .bad()
    );
}

#[test]
fn requirements_have_a_usual_place_and_may_be_elsewhere() {
    let folder = Folder::with(
        "[env.python.base]\n[env.python.stats]\nrequirements = \"stats.txt\"\nwheels = \"wheels\"\n",
    );
    let loaded = folder.load().unwrap();
    let env = &loaded.config.env;
    let usual = Path::new("/etc/lyceum/python/base.txt");
    assert_eq!(env.python_requirements("base").as_deref(), Some(usual));
    assert_eq!(env.default_python(), Some("base"));
    let only = Folder::with("[env.python.stats]\n").load().unwrap();
    assert_eq!(only.config.env.default_python(), Some("stats"));
    let own = folder.path().join("stats.txt");
    assert_eq!(env.python_requirements("stats"), Some(own));
    assert_eq!(env.python_requirements("other"), None);
    assert_eq!(
        env.python_folder("base"),
        Path::new("/opt/lyceum/envs/python/base")
    );
    assert_eq!(
        env.python["stats"].wheels,
        Some(folder.path().join("wheels"))
    );
    assert_eq!(env.python["stats"].title("stats"), "stats");
}

#[test]
fn libraries_of_r_that_cannot_be_are_all_shown() {
    assert_snapshot!(
        Folder::with(
            "\
[env]
default_r = \"bose\"

[env.r.base]
r = \"newest\"
repositories = [\"https://cloud.r-project.org\", \"cran\", \"https://me:secret@example.org\"]
bioconductor = \"\"
build_as = \"\"

[env.r.current]
"
        )
        .bad()
    );
}

#[test]
fn the_account_of_the_hub_builds_nothing() {
    assert_snapshot!(
        Folder::with(
            "\
[broker]
client = \"hub\"

[env.python.base]
build_as = \"hub\"

[env.r.base]
build_as = \"hub\"
"
        )
        .bad()
    );
}

#[test]
fn what_servers_and_shells_cannot_have_of_an_environment_is_all_shown() {
    assert_snapshot!(
        Folder::with(
            "\
[spawner]
kind = \"process\"
command = [\"/opt/old/bin/jupyterhub-singleuser\"]

[env.python.base]

[env.variables]
NLTK_DATA = \"/srv/lyceum/data/nltk_data\"
PATH = \"/opt/bin\"
LD_PRELOAD = \"x.so\"
JUPYTERHUB_HOST = \"x\"
\"A-B\" = \"x\"
TWO = \"one\\ntwo\"

[profiles.stats]
python = \"stats-2026\"

[profiles.old]
python = \"base\"
"
        )
        .bad()
    );
}

#[test]
fn lists_of_r_packages_have_a_usual_place_and_may_be_elsewhere() {
    let folder = Folder::with("[env.r.stats]\n[env.r.zoo]\npackages = \"zoo.toml\"\n");
    let loaded = folder.load().unwrap();
    let env = &loaded.config.env;
    assert_eq!(env.default_r(), Some("stats"));
    let usual = Path::new("/etc/lyceum/r/stats.toml");
    assert_eq!(env.r_packages("stats").as_deref(), Some(usual));
    assert_eq!(env.r_packages("zoo"), Some(folder.path().join("zoo.toml")));
    assert_eq!(env.r_packages("other"), None);
    assert!(env.r["zoo"].prefer_apt);
}
