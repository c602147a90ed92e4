//! Where packages come from: git, addresses, files, the distribution.

use std::fs;
use std::process::Command;

use super::super::*;
use super::place::{INSTALL_R, Made, Place, Server, cause, series, state, tar};
use crate::progress::Silent;

#[tokio::test]
async fn packages_come_from_git_addresses_and_files() {
    let place = Place::new();
    place.publish(&[Made::new("lyca", "1.0"), Made::new("lyca", "1.2")]);
    let repository = Made::new("lycgit", "0.1")
        .needs("Imports: lyca")
        .write(&place.path("git"));
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(&repository)
            .args(["-c", "user.name=A", "-c", "user.email=a@example.org"])
            .args(arguments)
            .output()
            .expect(INSTALL_R);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "first"]);
    git(&["tag", "v1"]);
    let first = git(&["rev-parse", "HEAD"]);
    Made::new("lycgit", "0.2")
        .needs("Imports: lyca")
        .write(&place.path("git2"));
    fs::copy(
        place.path("git2/lycgit/DESCRIPTION"),
        repository.join("DESCRIPTION"),
    )
    .unwrap();
    git(&["commit", "--quiet", "-am", "second"]);

    let local = place.path("lyclocal_1.0.tar.gz");
    tar(
        &Made::new("lyclocal", "1.0").write(&place.path("sources")),
        &local,
    );
    let sum = crate::digest::sha256(&local).unwrap();
    let server = Server::start(place.path("served"));
    fs::copy(&local, server.folder.join("lyclocal_1.0.tar.gz")).unwrap();
    let other = Made::new("lycurl", "2.0").write(&place.path("sources"));
    tar(&other, &server.folder.join("lycurl.tgz"));
    let url_sum = crate::digest::sha256(&server.folder.join("lycurl.tgz")).unwrap();

    let git_entry = |reference: &str| {
        format!(
            "[[package]]\nname = \"lycgit\"\nmethod = \"git\"\nlocator = \"file://{}{reference}\"\n",
            repository.display()
        )
    };
    let list = |sum: &str| {
        format!(
            "cran = [\"lyca@1.0\"]\n{}[[package]]\nname = \"lyclocal\"\nmethod = \"local\"\nlocator = \"{}\"\n\
             [[package]]\nname = \"lycurl\"\nmethod = \"url\"\nlocator = \"{}lycurl.tgz\"\n{sum}",
            git_entry("@v1"),
            local.display(),
            server.address
        )
    };
    let report = place.build(&list("")).await;
    assert!(cause(&report, "lycurl").contains(&format!(
        "add this line to its entry: sha256 = \"{url_sum}\""
    )));
    assert_eq!(*state(&report, "lycgit"), State::Installed, "{report:#?}");
    assert_eq!(*state(&report, "lyclocal"), State::Installed);
    let wrong = place.build(&list(&format!("sha256 = \"{sum}\"\n"))).await;
    assert!(
        cause(&wrong, "lycurl").contains(&format!("sha256 is {url_sum}, and the list says {sum}"))
    );
    let report = place
        .build(&list(&format!("sha256 = \"{url_sum}\"\n")))
        .await;
    assert!(report.complete, "{report:#?}");
    assert_eq!(*state(&report, "lycgit"), State::Kept);
    let library = place.library();
    library.switch(&series(), None).await.unwrap();
    let versions = "cat(sapply(c('lyca', 'lycgit', 'lyclocal', 'lycurl'), function(p) as.character(packageVersion(p))))";
    assert_eq!(place.says(versions), "1.0 0.1 1.0 2.0");

    // Another reference is another source; a commit and a branch are as good as a tag.
    let report = place
        .build(&format!("cran = [\"lyca@1.0\"]\n{}", git_entry("")))
        .await;
    assert_eq!(*state(&report, "lycgit"), State::Installed);
    let report = place
        .build(&format!(
            "cran = [\"lyca@1.0\"]\n{}",
            git_entry(&format!("@{first}"))
        ))
        .await;
    assert_eq!(*state(&report, "lycgit"), State::Installed);
    let report = place
        .build(&format!("cran = [\"lyca@1.0\"]\n{}", git_entry("@nothing")))
        .await;
    let why = cause(&report, "lycgit");
    assert!(
        why.contains("no branch, tag or commit `nothing`")
            || why.contains("couldn't find remote ref"),
        "{why}"
    );
    let report = place.build("[[package]]\nname = \"lycother\"\nmethod = \"local\"\nlocator = \"/nonexistent.tar.gz\"\n").await;
    assert!(!report.complete);
}

#[tokio::test]
async fn the_distributions_packages_are_taken_where_they_are() {
    let place = Place::new();
    place.publish(&[Made::new("lyca", "1.0").needs("Imports: R6, MASS")]);
    let installed = place.says("cat(nzchar(system.file(package = 'R6')))");
    assert_eq!(
        installed, "TRUE",
        "this test needs R6 of the distribution: apt install r-cran-r6"
    );
    let report = place
        .build("cran = [\"lyca\", \"MASS\"]\napt = [\"R6\"]")
        .await;
    assert!(report.complete, "{report:#?}");
    assert_eq!(*state(&report, "R6"), State::Here);
    assert_eq!(*state(&report, "MASS"), State::Here);
    assert!(report.apt.is_empty(), "nothing is to be installed");
    let missing = place
        .library()
        .plan(
            &place.spec("apt = [\"lycnothing\"]"),
            &Upgrade::Nothing,
            &Silent,
        )
        .await
        .unwrap();
    assert!(cause(&missing, "lycnothing").contains("apt knows no package r-cran-lycnothing"));
}

#[tokio::test]
async fn a_folder_is_built_when_a_file_in_it_has_changed() {
    let place = Place::new();
    let folder = Made::new("lycfolder", "1.0").write(&place.path("work"));
    let list = format!(
        "[[package]]\nname = \"lycfolder\"\nmethod = \"local\"\nlocator = \"{}\"\n",
        folder.display()
    );
    let report = place.build(&list).await;
    assert_eq!(report.generation, Some(1), "{report:#?}");
    assert_eq!(place.build(&list).await.generation, None, "as it was");
    // The version stays, as it does while people work on a package.
    fs::write(folder.join("R/code.R"), "answer <- function() 43\n").unwrap();
    let report = place.build(&list).await;
    assert_eq!(report.generation, Some(2), "{report:#?}");
    place.library().switch(&series(), None).await.unwrap();
    assert_eq!(place.says("cat(lycfolder::answer())"), "43");
}
