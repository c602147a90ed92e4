//! A library's life: built, switched, upgraded, rolled back, used, collected.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::super::*;
use super::place::{Made, NATIVE, Place, series, snapshot, state};
use crate::progress::Silent;

#[tokio::test]
async fn a_library_is_built_switched_upgraded_and_rolled_back() {
    let place = Place::new();
    place.publish(&[
        Made::new("lyca", "1.0").with_c(NATIVE),
        Made::new("lycb", "1.0")
            .needs("Imports: lyca (>= 1.0), stats")
            .code("version <- function() 'b1'\n"),
        Made::new("lycc", "0.1"),
    ]);
    let list = "cran = [\"lycb\"]";
    // A user has something of their own, which nobody else touches.
    let own = place
        .home()
        .join(format!("R/x86_64-pc-linux-gnu-library/{}/mine", series()));
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("DESCRIPTION"), "Package: mine\n").unwrap();
    let before = snapshot(&place.home());
    let distribution = find("").unwrap().home.join("library");
    let distributions = snapshot(&distribution);

    let planned = place
        .library()
        .plan(&place.spec(list), &Upgrade::Nothing, &Silent)
        .await
        .unwrap();
    assert_eq!(*state(&planned, "lycb"), State::Planned);
    assert_eq!(*state(&planned, "lyca"), State::Planned);
    assert!(!place.path("envs").exists(), "asking changes nothing");

    let report = place.build(list).await;
    assert_eq!(report.generation, Some(1), "{report:#?}");
    assert!(report.complete);
    assert_eq!(*state(&report, "lyca"), State::Installed, "{report:#?}");
    let library = place.library();
    assert_eq!(
        library.find_current(&series()),
        None,
        "a build does not switch"
    );
    assert_eq!(library.switch(&series(), None).await.unwrap(), (1, None));
    assert_eq!(
        place.says("cat(lycb::version(), as.character(packageVersion('lycb')))"),
        "b1 1.0"
    );
    // A kernel has the library without any start file of the machine.
    let kernel = RKernel::new(&library, &find("").unwrap(), None);
    let (program, arguments) = kernel.argv.split_first().unwrap();
    let instead = arguments[2].replace("IRkernel::main()", "cat(lycb::version(),.libPaths()[1])");
    let output = Command::new(program)
        .args(["--slave", "--vanilla", "-e", &instead])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.starts_with("b1 /") && said.ends_with("/1/library"),
        "{said}"
    );
    assert_eq!(kernel.display_name, format!("R {}", series()));
    let built = library
        .folder()
        .join(series())
        .join("1/library/lyca/libs/lyca.so");
    let data = fs::metadata(&built).unwrap();
    assert_eq!(
        data.uid(),
        rustix::process::geteuid().as_raw(),
        "what is finished is not the builder's"
    );
    assert_eq!(data.mode() & 0o022, 0);

    assert_eq!(
        place.build(list).await.generation,
        None,
        "nothing would change"
    );

    place.publish(&[Made::new("lycb", "1.1")
        .needs("Imports: lyca")
        .code("version <- function() 'b2'\n")]);
    assert_eq!(
        place.build(list).await.generation,
        None,
        "an upgrade is made when it is asked for"
    );
    let misspelt = Upgrade::Named(vec!["lycx".to_owned()]);
    let refused = library.build(&place.spec(list), &misspelt, &Silent).await;
    assert!(
        matches!(refused, Err(RError::NotThere { .. })),
        "{refused:?}"
    );
    let report = place.upgrade(list, &Upgrade::All).await;
    assert_eq!(report.generation, Some(2), "{report:#?}");
    let report = place.build("cran = [\"lycb\", \"lycc\"]").await;
    assert_eq!(report.generation, Some(3), "{report:#?}");
    assert_eq!(*state(&report, "lyca"), State::Kept);
    assert_eq!(*state(&report, "lycc"), State::Installed);
    let shared = library
        .folder()
        .join(series())
        .join("3/library/lyca/libs/lyca.so");
    let newest = library
        .folder()
        .join(series())
        .join("2/library/lyca/libs/lyca.so");
    assert_eq!(
        fs::metadata(&shared).unwrap().ino(),
        fs::metadata(&newest).unwrap().ino(),
        "the same files"
    );

    library.switch(&series(), Some(2)).await.unwrap();
    assert_eq!(place.says("cat(lycb::version())"), "b2");
    let changes = library.diff(&series(), 1, 3).unwrap();
    let shown: Vec<_> = changes
        .iter()
        .map(|one| {
            (
                one.name.as_str(),
                one.before.as_deref(),
                one.after.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("lycb", Some("1.0"), Some("1.1")),
            ("lycc", None, Some("0.1"))
        ]
    );
    assert_eq!(library.roll_back(&series()).await.unwrap(), (1, Some(2)));
    assert_eq!(place.says("cat(lycb::version())"), "b1");
    assert!(matches!(
        library.roll_back(&series()).await,
        Err(RError::NothingBefore { .. })
    ));
    assert!(matches!(
        library.switch(&series(), Some(9)).await,
        Err(RError::NoGeneration { .. })
    ));

    let listed = library.list(&find_all()).unwrap();
    let shown: Vec<_> = listed
        .iter()
        .map(|one| (one.number, one.current, one.packages))
        .collect();
    assert_eq!(shown, [(1, true, 2), (2, false, 2), (3, false, 3)]);
    assert!(listed[0].own_bytes > 0 && listed[2].own_bytes < listed[2].bytes);

    assert_eq!(
        snapshot(&place.home()),
        before,
        "a user's library is as it was"
    );
    assert_eq!(
        snapshot(&distribution),
        distributions,
        "and the distribution's, too"
    );
}

#[tokio::test]
async fn an_r_that_runs_keeps_its_generation_and_gives_it_to_its_children() {
    let place = Place::new();
    place.publish(&[Made::new("lyca", "1.0").with_c(NATIVE)]);
    place.build("cran = [\"lyca\"]").await;
    let library = place.library();
    library.switch(&series(), None).await.unwrap();
    let code = "cat(.libPaths()[1], '\\n'); flush(stdout()); invisible(readLines(file('stdin'), 1)); \
                cat(as.character(packageVersion('lyca')), '\\n'); \
                system2(file.path(R.home('bin'), 'Rscript'), c('-e', shQuote(\"cat(as.character(packageVersion('lyca')))\")))";
    let mut running = place
        .r_command(code)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(
        first.trim().ends_with("/1/library"),
        "the generation itself, not the link: {first}"
    );

    place.publish(&[Made::new("lyca", "2.0")]);
    place
        .upgrade(
            "cran = [\"lyca\"]",
            &Upgrade::Named(vec!["lyca".to_owned()]),
        )
        .await;
    library.switch(&series(), None).await.unwrap();
    assert_eq!(
        place.says("cat(as.character(packageVersion('lyca')))"),
        "2.0"
    );
    let kept = library.collect(0, &find_all(), false).await.unwrap();
    assert!(kept.removed.is_empty(), "{kept:?}");
    assert!(
        kept.in_use[0].2.iter().any(|user| user.pid == running.id()),
        "{kept:?}"
    );
    drop(running.stdin.take());
    let rest: Vec<String> = lines.map(|line| line.unwrap().trim().to_owned()).collect();
    assert_eq!(rest, ["1.0", "1.0"], "itself, and an R that it starts");
    running.wait().unwrap();
    // Other tests have an R that is as old; it ends soon.
    let begun = Instant::now();
    loop {
        let gone = library.collect(0, &find_all(), false).await.unwrap();
        if gone.removed == [(series(), 1)] {
            break;
        }
        assert!(begun.elapsed() < Duration::from_mins(5), "{gone:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!library.folder().join(series()).join("1").exists());
}
