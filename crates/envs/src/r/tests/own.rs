//! Users' own packages, after a new series of R.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::super::*;
use super::place::{Made, Place, series, snapshot};
use crate::progress::Silent;

#[tokio::test]
async fn own_packages_are_installed_again_beside_the_old_ones() {
    let place = Place::new();
    place.publish(&[Made::new("lyca", "1.5"), Made::new("lycb", "1.0")]);
    // As a library of an older R looks; the sources stand for what was installed.
    let libraries = place.home().join("R/x86_64-pc-linux-gnu-library");
    let old = libraries.join("3.6");
    for package in [
        Made::new("lyca", "1.0"),
        Made::new("lycb", "1.0"),
        Made::new("lyclost", "1.0"),
    ] {
        package.write(&old);
    }
    let lost = old.join("lyclost/DESCRIPTION");
    let text = fs::read_to_string(&lost)
        .unwrap()
        .replace("Repository: CRAN\n", "");
    fs::write(&lost, text).unwrap();
    let before = snapshot(&old);
    // The function asks R as the user's R is; here, as one with another home.
    let program = place.path("R-of-ada/bin");
    fs::create_dir_all(&program).unwrap();
    let real = find("").unwrap();
    let script = format!(
        "#!/bin/sh\nexport HOME='{}' R_LIBS_USER='{}'\nexec {} \"$@\"\n",
        place.home().display(),
        libraries.join(series()).display(),
        real.home.join("bin/Rscript").display()
    );
    fs::write(program.join("Rscript"), script).unwrap();
    fs::set_permissions(program.join("Rscript"), fs::Permissions::from_mode(0o755)).unwrap();
    let asking = Interpreter {
        program: program.join("R"),
        home: place.path("R-of-ada/nothing"),
        version: real.version,
    };
    let found = find_own(&asking).await.unwrap();
    assert_eq!(found.before.as_deref(), Some("3.6"));
    let shown: Vec<_> = found
        .packages
        .iter()
        .map(|one| (one.name.as_str(), one.source.as_deref()))
        .collect();
    assert_eq!(
        shown,
        [
            ("lyca", Some("lyca")),
            ("lycb", Some("lycb")),
            ("lyclost", None)
        ]
    );
    let report = reinstall_own(&real, found, Some(vec![place.repository()]), &Silent)
        .await
        .unwrap();
    assert!(
        report.results.iter().all(|one| one.state.is_good()),
        "{report:#?}"
    );
    assert!(libraries.join(series()).join("lyca/R/lyca.rdb").is_file());
    assert_eq!(snapshot(&old), before, "the old ones are as they were");
    let again = find_own(&asking).await.unwrap();
    let left: Vec<_> = again.packages.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(left, ["lyclost"]);
}
