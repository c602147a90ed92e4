//! Lists are read strictly, and changed with care.

use super::*;

fn parse(text: &str) -> Result<PackageList, RError> {
    PackageList::parse(text, Path::new("base.toml"))
}

fn check_error(text: &str, expected: &str) {
    let error = parse(text).expect_err(text).to_string();
    assert!(error.starts_with(expected), "{text}\n{error}");
}

const FULL: &str = r#"
cran = [
  "AER", # econometrics
  "ggplot2@3.5.1",
  "data.table",
]
apt = ["xml2"]
bioc = ["limma"]

# A book's package.
[[package]]
name = "rethinking"
method = "github"
locator = "rmcelreath/rethinking@v2.40"
required = false

[[package]]
name = "DAAGextra"
method = "url"
locator = "https://example.org/DAAGextra_1.0.tar.gz"
sha256 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"#;

#[test]
fn all_forms_of_entries_are_read() {
    let list = parse(FULL).unwrap();
    let names: Vec<_> = list
        .entries
        .iter()
        .map(|entry| (entry.method.as_str(), entry.name.as_str()))
        .collect();
    assert_eq!(
        names,
        [
            ("cran", "AER"),
            ("cran", "ggplot2"),
            ("cran", "data.table"),
            ("apt", "xml2"),
            ("bioc", "limma"),
            ("github", "rethinking"),
            ("url", "DAAGextra"),
        ]
    );
    assert_eq!(
        list.find("ggplot2").unwrap().version.as_deref(),
        Some("3.5.1")
    );
    assert!(!list.find("rethinking").unwrap().required);
    assert_eq!(
        list.find("xml2").unwrap().debian_name().as_deref(),
        Some("r-cran-xml2")
    );
    assert_eq!(
        list.find("limma").unwrap().debian_name().as_deref(),
        Some("r-bioc-limma")
    );
    assert_eq!(
        list.find("data.table").unwrap().debian_name().as_deref(),
        Some("r-cran-data.table")
    );
    assert_eq!(
        parse(&list.to_toml()).unwrap(),
        PackageList {
            entries: {
                let mut entries = list.entries.clone();
                entries.sort_by_key(|entry| !is_short(entry));
                entries
            },
        }
    );
}

#[test]
fn what_is_wrong_is_shown_with_its_line() {
    check_error(
        "cran = [\n  \"a b\",\n]",
        "base.toml:2: `a b` cannot be a package",
    );
    check_error(
        "cran = [\"rlang\"]\n\nbioc = [\"rlang\"]",
        "base.toml:3: rlang stands in line 1 already",
    );
    check_error(
        "cran = [\"rlang\"]\nconda = []",
        "base.toml:2: unknown field `conda`",
    );
    check_error("cran = [\"rlang@new\"]", "base.toml:1: `new` is no version");
    check_error(
        "bioc = [\"limma@3.1\"]",
        "base.toml:1: the version of a package from bioc cannot be chosen",
    );
    check_error(
        "apt = [\"r-cran-xml2\"]",
        "base.toml:1: `r-cran-xml2` is Debian's name",
    );
    check_error(
        "\n[[package]]\nname = \"ab\"\nmethod = \"github\"",
        "base.toml:2: a package from github needs a `locator`",
    );
    check_error(
        "[[package]]\nname = \"ab\"\nmethod = \"url\"\nlocator = \"ftp://x\"",
        "base.toml:1: `ftp://x`: expected",
    );
    check_error(
        "[[package]]\nname = \"ab\"\nmethod = \"git\"\nlocator = \"ext::sh -c id\"",
        "base.toml:1: `ext::sh -c id`",
    );
    check_error(
        "[[package]]\nname = \"ab\"\nmethod = \"git\"\nlocator = \"--upload-pack=x\"",
        "base.toml:1: ",
    );
    check_error(
        "[[package]]\nname = \"ab\"\nmethod = \"local\"\nlocator = \"/$(id)\"",
        "base.toml:1: `/$(id)`",
    );
    check_error(
        "[[package]]\nname = \"ab\"\nmethod = \"url\"\nlocator = \"https://x/$(id)\"",
        "base.toml:1: `https://x/$(id)`",
    );
    check_error(
        "[[package]]\nname = \"ab\"\nmethod = \"github\"\nlocator = \"a/b@--x\"",
        "base.toml:1: ",
    );
    check_error(
        "[[package]]\nname = \"ab\"\nmethod = \"apt\"\nlocator = \"-o Dpkg::x\"",
        "base.toml:1: ",
    );
    check_error(
        "[[package]]\nname = \"ab\"\nsha256 = \"12\"",
        "base.toml:1: a SHA-256 has 64",
    );
    check_error("cran = [\n\"AER\"\n", "base.toml:");
}

#[test]
fn what_people_type_becomes_an_entry() {
    let entry = |text: &str| Entry::parse(text, None);
    assert_eq!(
        entry("rlang@1.1.0").unwrap().version.as_deref(),
        Some("1.1.0")
    );
    assert_eq!(entry("bioc:limma").unwrap().method, Method::Bioc);
    assert_eq!(
        entry("github:rmcelreath/rethinking@slim").unwrap().name,
        "rethinking"
    );
    assert_eq!(
        entry("git:https://example.org/a/tool.git@v1").unwrap().name,
        "tool"
    );
    assert_eq!(entry("local:/srv/tool_1.0.tar.gz").unwrap().name, "tool");
    assert!(entry("conda:x").is_err());
    assert!(entry("local:/srv/1.0").unwrap_err().contains("--name"));
}

#[test]
fn references_are_told_from_places() {
    let check =
        |locator, place, reference| assert_eq!(split_reference(locator), (place, reference));
    check("a/b@v1", "a/b", Some("v1"));
    check("ssh://git@host/a.git", "ssh://git@host/a.git", None);
    check(
        "ssh://git@host/a.git@main",
        "ssh://git@host/a.git",
        Some("main"),
    );
    check(
        "https://host/a.git@feature/x",
        "https://host/a.git",
        Some("feature/x"),
    );
    check("/srv/git/a", "/srv/git/a", None);
}

#[test]
fn an_edit_keeps_comments_and_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base.toml");
    fs::write(&path, FULL).unwrap();
    let mut editor = Editor::open(&path).unwrap();
    editor.add(&Entry::parse("zoo", None).unwrap()).unwrap();
    editor
        .add(&Entry::parse("apt:curl", None).unwrap())
        .unwrap();
    editor.remove("data.table").unwrap();
    editor
        .add(&Entry::parse("git:/srv/git/tool", None).unwrap())
        .unwrap();
    assert!(editor.remove("nothere").is_err());
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        FULL,
        "nothing is written yet"
    );
    editor.save().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.contains("  \"AER\", # econometrics\n  \"ggplot2@3.5.1\",\n  \"zoo\",\n]"),
        "{text}"
    );
    assert!(text.contains("apt = [\"xml2\", \"curl\"]"), "{text}");
    assert!(text.contains("# A book's package."), "{text}");
    assert!(text.contains("locator = \"/srv/git/tool\""), "{text}");
}

#[test]
fn what_somebody_else_writes_meanwhile_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base.toml");
    fs::write(&path, "cran = [\"AER\", \"zoo\"]\n").unwrap();
    let mut editor = Editor::open(&path).unwrap();
    editor.add(&Entry::parse("rlang", None).unwrap()).unwrap();
    editor.remove("zoo").unwrap();
    fs::write(&path, "# theirs\ncran = [\"AER\", \"zoo\", \"cli\"]\n").unwrap();
    assert!(editor.save().unwrap());
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "# theirs\ncran = [\"AER\", \"cli\", \"rlang\"]\n"
    );
    let mut editor = Editor::open(&path).unwrap();
    editor.remove("cli").unwrap();
    assert!(!editor.save().unwrap());
}

#[tokio::test]
async fn only_one_at_a_time_may_change_a_list() {
    let folder = tempfile::tempdir().unwrap();
    let library = crate::r::RLibrary::new(folder.path(), "base").unwrap();
    let progress = crate::progress::Silent;
    let held = library.hold_list(&progress).await.unwrap();
    let second = library.hold_list(&progress);
    tokio::pin!(second);
    let waits = tokio::time::timeout(std::time::Duration::from_millis(10), &mut second).await;
    assert!(waits.is_err());
    drop(held);
    second.await.unwrap();
}

#[test]
fn a_link_where_the_draft_goes_is_not_written_through() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("base.toml"), folder.path().join("other"));
    fs::write(&other, "stays").unwrap();
    std::os::unix::fs::symlink(&other, folder.path().join("base.toml.new")).unwrap();
    let mut editor = Editor::open(&path).unwrap();
    editor.add(&Entry::parse("AER", None).unwrap()).unwrap();
    editor.save().unwrap();
    assert_eq!(fs::read_to_string(&other).unwrap(), "stays");
    assert!(path.symlink_metadata().unwrap().is_file());
}

#[test]
fn a_list_that_is_not_there_is_begun() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r/base.toml");
    let mut editor = Editor::open(&path).unwrap();
    editor.add(&Entry::parse("AER", None).unwrap()).unwrap();
    editor
        .add(&Entry::parse("rlang@1.1.0", None).unwrap())
        .unwrap();
    editor.save().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.ends_with("cran = [\n  \"AER\",\n  \"rlang@1.1.0\",\n]\n"),
        "{text}"
    );
}
