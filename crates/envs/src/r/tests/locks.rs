//! Lock files: what was built can be built again exactly, elsewhere and later; what cannot is named.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::super::*;
use super::place::{INSTALL_R, Made, Place, cause, series, state, tar};
use crate::progress::Silent;

/// Another machine with the same list and repositories: a folder with other libraries.
fn another(place: &Place, name: &str) -> RLibrary {
    RLibrary::new(&place.path(name), "base").unwrap()
}

fn versions(library: &RLibrary, number: u32) -> Vec<(String, String, String)> {
    let stamps = RLibrary::stamps(&library.generations(&series())).unwrap();
    let packages = stamps[&number].packages.iter();
    packages
        .map(|(name, one)| (name.clone(), one.version.clone(), one.identity.clone()))
        .collect()
}

fn git(repository: &PathBuf, arguments: &[&str]) {
    let output = Command::new("git")
        .arg("-C")
        .arg(repository)
        .args(["-c", "user.name=A", "-c", "user.email=a@example.org"])
        .args(arguments)
        .output()
        .expect(INSTALL_R);
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn a_lock_builds_the_same_when_repositories_have_gone_on() {
    let place = Place::new();
    place.publish(&[
        Made::new("lyca", "1.0"),
        Made::new("lycb", "1.0").needs("Imports: lyca, R6"),
    ]);
    let repository = Made::new("lycgit", "0.1")
        .needs("Imports: lyca")
        .write(&place.path("git"));
    git(&repository, &["init", "--quiet"]);
    git(&repository, &["add", "."]);
    git(&repository, &["commit", "--quiet", "-m", "first"]);
    let archive = place.path("lyclocal_1.0.tar.gz");
    tar(
        &Made::new("lyclocal", "1.0").write(&place.path("sources")),
        &archive,
    );
    let list = format!(
        "cran = [\"lycb\"]\n[[package]]\nname = \"lycgit\"\nmethod = \"git\"\nlocator = \"file://{}\"\n\
         [[package]]\nname = \"lyclocal\"\nmethod = \"local\"\nlocator = \"{}\"\n\
         [[package]]\nname = \"lycnowhere\"\nrequired = false\n",
        repository.display(),
        archive.display()
    );
    let file = place.path("base.toml");
    fs::write(&file, &list).unwrap();
    let report = place.build(&list).await;
    assert!(report.complete, "{report:#?}");
    let library = place.library();
    let wanted = PackageList::parse(&list, &file).unwrap();
    let written = library.write_lock(&series(), &wanted, &file).unwrap();
    assert_eq!(written, Some(place.path("base.lock")));
    let again = library.write_lock(&series(), &wanted, &file).unwrap();
    assert_eq!(again, None, "it is as it should be");
    let text = fs::read_to_string(place.path("base.lock")).unwrap();
    assert!(
        text.contains("package = \"r-cran-r6="),
        "the distribution's are in it, too: {text}"
    );

    // All goes on: newer packages, another commit; and what the newer one needs, the older one did not.
    place.publish(&[
        Made::new("lyca", "1.5"),
        Made::new("lycb", "2.0").needs("Imports: lycnew"),
        Made::new("lycnew", "1.0"),
    ]);
    fs::write(repository.join("R/code.R"), "answer <- function() 43\n").unwrap();
    git(&repository, &["commit", "--quiet", "-am", "second"]);

    let exactly = |list: &str| RSpec {
        lock: Some(RLock::read(&place.path("base.lock")).unwrap()),
        ..place.spec(list)
    };
    let elsewhere = another(&place, "elsewhere");
    let planned = elsewhere
        .plan(&exactly(&list), &Upgrade::Nothing, &Silent)
        .await
        .unwrap();
    assert_eq!(*state(&planned, "lycb"), State::Planned);
    let built = elsewhere
        .build(&exactly(&list), &Upgrade::Nothing, &Silent)
        .await
        .unwrap();
    assert_eq!(built.generation, Some(1), "{built:#?}");
    assert!(built.complete, "{built:#?}");
    assert!(cause(&built, "lycnowhere").contains("not in the lock file"));
    assert_eq!(versions(&elsewhere, 1), versions(&library, 1));
    let own = fs::read_to_string(elsewhere.folder().join(series()).join("1/packages.lock"));
    assert_eq!(own.unwrap(), text, "and says so itself");
    let nothing = elsewhere
        .build(&exactly(&list), &Upgrade::Nothing, &Silent)
        .await
        .unwrap();
    assert_eq!(nothing.generation, None, "{nothing:#?}");

    // Where newer ones are current, it goes back to the locked ones, and shares what is the same.
    let report = place.upgrade(&list, &Upgrade::All).await;
    assert_eq!(report.generation, Some(2), "{report:#?}");
    assert_ne!(versions(&library, 2), versions(&library, 1));
    let back = library
        .build(&exactly(&list), &Upgrade::Nothing, &Silent)
        .await
        .unwrap();
    assert_eq!(back.generation, Some(3), "{back:#?}");
    assert_eq!(*state(&back, "lyclocal"), State::Kept);
    assert_eq!(versions(&library, 3), versions(&library, 1));

    // An entry that was needed by others before asks for nothing new, and the lock follows.
    let more = list.replace("\"lycb\"", "\"lycb\", \"lyca\"");
    let stale = library
        .build(&exactly(&more), &Upgrade::Nothing, &Silent)
        .await
        .unwrap_err();
    assert!(matches!(stale, RError::StaleLock { .. }), "{stale}");
    place.build(&more).await;
    let wanted = PackageList::parse(&more, &file).unwrap();
    assert!(
        library
            .write_lock(&series(), &wanted, &file)
            .unwrap()
            .is_some()
    );
    let fits = library
        .build(&exactly(&more), &Upgrade::Nothing, &Silent)
        .await
        .unwrap();
    assert!(fits.complete, "{fits:#?}");
}

#[tokio::test]
async fn what_a_lock_names_and_nobody_has_any_more_is_told_in_plain_words() {
    let place = Place::new();
    place.publish(&[
        Made::new("lyca", "1.0"),
        Made::new("lycb", "1.0"),
        Made::new("lycc", "1.0"),
    ]);
    let list = "cran = [\"lyca\", \"lycb\", \"lycc\"]\napt = [\"R6\"]\n";
    let file = place.path("base.toml");
    place.build(list).await;
    let library = place.library();
    library.switch(&series(), None).await.unwrap();
    let wanted = PackageList::parse(list, &file).unwrap();
    library.write_lock(&series(), &wanted, &file).unwrap();
    let lock = place.path("base.lock");
    let good = fs::read_to_string(&lock).unwrap();
    let build = async |text: String| {
        fs::write(&lock, text).unwrap();
        let spec = RSpec {
            lock: Some(RLock::read(&lock)?),
            ..place.spec(list)
        };
        // Each on a machine that has nothing yet.
        let _ = fs::remove_dir_all(place.path("elsewhere"));
        let elsewhere = another(&place, "elsewhere");
        elsewhere.build(&spec, &Upgrade::Nothing, &Silent).await
    };

    // A changed archive, one that is gone, and the distribution's in another version than the machine has.
    let sum = good.split("sha256 = \"").nth(1).unwrap().get(..64).unwrap();
    let r6 = good.split("package = \"r-cran-r6=").nth(1).unwrap();
    let (r6, _) = r6.split_once('"').unwrap();
    let version = place.says("cat(as.character(packageVersion('R6')))");
    let archive = place.path("cran/src/contrib/lycb_1.0.tar.gz");
    fs::rename(&archive, place.path("hidden")).unwrap();
    let other = good.replace(sum, &"0".repeat(64)).replace(
        &format!("version = \"{version}\"\nmethod = \"apt\""),
        "version = \"0.0.1\"\nmethod = \"apt\"",
    );
    let report = build(other).await.unwrap();
    assert!(!report.complete);
    assert_eq!(*state(&report, "lycc"), State::Installed, "{report:#?}");
    for (name, told) in [
        (
            "lyca",
            format!("the archive's sha256 is {sum}, and the lock file says 000"),
        ),
        (
            "lycb",
            "no repository has the version that the lock file names".to_owned(),
        ),
        ("lycb", "or build without --from-lock".to_owned()),
        (
            "R6",
            format!("the machine has version {version}, and the lock file says 0.0.1"),
        ),
        ("R6", format!("apt install r-cran-r6={r6}")),
    ] {
        let said = cause(&report, name);
        assert!(said.contains(&told), "{told}: {said}");
    }

    // One that apt never had, and one that it has in another version.
    let never = good.replace("name = \"R6\"", "name = \"lycnever\"");
    let gone = "\n[[package]]\nname = \"lycgone\"\nversion = \"0.1\"\nmethod = \"apt\"\npackage = \"hello=0.1-1\"\n";
    let never = never.replace("r-cran-r6=", "r-cran-lycnever=") + gone;
    let report = build(never).await.unwrap();
    let told = cause(&report, "lycnever");
    assert!(told.contains("apt has no r-cran-lycnever"), "{told}");
    let told = cause(&report, "lycgone");
    assert!(
        told.contains("apt no longer has hello 0.1-1, but "),
        "{told}"
    );

    let error = build(good.replace("r = \"4", "r = \"3")).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("and this is R {}", series())),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("without --from-lock"));
    let error = build("pandas==1.0\n".to_owned()).await.unwrap_err();
    assert!(error.to_string().contains("base.lock: "), "{error}");
    assert_eq!(
        place.says("cat(lyca::answer())"),
        "42",
        "what is in use stays"
    );
}
