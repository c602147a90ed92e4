//! Lines of requirements files, good and bad.

use super::*;

fn folder() -> &'static Path {
    Path::new("/srv/course")
}

fn requirement(text: &str) -> Requirement {
    match parse_line(text, folder()) {
        Ok(Line::Requirement(found)) => found,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn packages_are_read_in_all_their_forms() {
    for (text, name, expected) in [
        ("six", "six", "six"),
        (
            "Jupyter_Server.Proxy",
            "jupyter-server-proxy",
            "Jupyter_Server.Proxy",
        ),
        (
            "pandas[excel, plot]>=2,<3",
            "pandas",
            "pandas[excel, plot]>=2,<3",
        ),
        ("numpy (>=2)", "numpy", "numpy (>=2)"),
        ("x ~= 1.4.2", "x", "x ~= 1.4.2"),
        ("x==1.*", "x", "x==1.*"),
        (
            "x!=2;python_version<'3.9'",
            "x",
            "x!=2 ; python_version<'3.9'",
        ),
        (
            "x @ git+https://example.org/x.git@v1#subdirectory=py",
            "x",
            "x @ git+https://example.org/x.git@v1#subdirectory=py",
        ),
        (
            "git+https://example.org/x.git@v1#egg=My_X",
            "my-x",
            "git+https://example.org/x.git@v1#egg=My_X",
        ),
        (
            "git+ssh://git@example.org/x.git#egg=x",
            "x",
            "git+ssh://git@example.org/x.git#egg=x",
        ),
        (
            "https://example.org/A_b-1.0-py3-none-any.whl#sha256=00",
            "a-b",
            "https://example.org/A_b-1.0-py3-none-any.whl#sha256=00",
        ),
        (
            "./wheels/a-1-py3-none-any.whl",
            "a",
            "file:///srv/course/wheels/a-1-py3-none-any.whl",
        ),
        (
            "./my wheels/a-1+x-py3-none-any.whl",
            "a",
            "file:///srv/course/my%20wheels/a-1+x-py3-none-any.whl",
        ),
        (
            "a @ file:///srv/my%20wheels/50%25/a-1%2Bx-py3-none-any.whl",
            "a",
            "a @ file:///srv/my%20wheels/50%25/a-1+x-py3-none-any.whl",
        ),
        ("b @ ../b-1.tar.gz", "b", "b @ file:///srv/b-1.tar.gz"),
        (
            "c @ file:///srv/c-1.zip ; sys_platform == 'linux'",
            "c",
            "c @ file:///srv/c-1.zip ; sys_platform == 'linux'",
        ),
    ] {
        let found = requirement(text);
        assert_eq!(found.name.as_deref(), Some(name), "{text}");
        assert_eq!(found.text, expected, "{text}");
    }
    assert_eq!(requirement("git+https://example.org/x.git").name, None);
    let file = requirement("a @ file:///srv/my%20wheels/a-1%2Bx.whl").file;
    assert_eq!(file.as_deref(), Some(Path::new("/srv/my wheels/a-1+x.whl")));
    let hashed = requirement("six==1.17 --hash=sha256:AB --hash sha512:cd");
    assert_eq!(hashed.hashes, ["sha256:ab", "sha512:cd"]);
    assert_eq!(hashed.text, "six==1.17 --hash=sha256:ab --hash=sha512:cd");
}

#[test]
fn options_go_on_and_files_get_whole_paths() {
    let parse = |text: &str| parse_line(text, folder()).unwrap();
    let include = |path: &str, constraints| Line::Include {
        path: path.into(),
        constraints,
    };
    assert_eq!(parse("-r more.txt"), include("/srv/course/more.txt", false));
    assert_eq!(parse("-rmore.txt"), include("/srv/course/more.txt", false));
    assert_eq!(
        parse("--requirement=../more.txt"),
        include("/srv/more.txt", false)
    );
    assert_eq!(parse("-c /pins.txt"), include("/pins.txt", true));
    assert_eq!(
        parse("--constraint pins.txt"),
        include("/srv/course/pins.txt", true)
    );
    let option = |text: &str| Line::Option(text.to_owned());
    assert_eq!(parse("--pre"), option("--pre"));
    assert_eq!(
        parse("-f wheels"),
        option("--find-links /srv/course/wheels")
    );
    assert_eq!(
        parse("--index-url=https://example.org/simple"),
        option("--index-url https://example.org/simple")
    );
}

#[test]
fn what_is_not_sound_is_refused_with_what_to_do() {
    for (text, what) in [
        ("-e .", "editable"),
        ("-e git+https://example.org/x", "editable"),
        ("--global-option=x", "no option"),
        ("-r https://example.org/r.txt", "an address"),
        ("-r", "no value"),
        ("six --install-option=x", "cannot be used after"),
        ("six --hash=md5:00", "cannot be used after"),
        ("six >=> 1", "no versions"),
        ("six 1.0", "no versions"),
        ("six[", "not closed"),
        ("six[]", "no extras"),
        ("=1", "no requirement"),
        ("_x", "no requirement"),
        ("./folder", "no wheel"),
        ("x @ file:///srv/my wheels/x-1.zip", "no address"),
        ("x @ ftp://example.org/x.whl", "no way to fetch"),
        ("x @ http://example.org/x.whl", "plain http"),
        ("x @ https://user:word@example.org/x.whl", "password"),
        ("x @ git+https://token@example.org/x", "password"),
        ("x @ https://example.org/${VERSION}.whl", "variable"),
        ("six\u{7}", "control character"),
    ] {
        let fault = parse_line(text, folder()).expect_err(text);
        assert!(fault.what.contains(what), "{text}: {}", fault.what);
        assert!(!fault.help.is_empty(), "{text}");
        assert!(!fault.what.contains("word@"), "{text}");
    }
}

#[test]
fn variables_are_put_in_and_passwords_taken_out() {
    let value = |name: &str| (name == "TOKEN").then(|| "secret".to_owned());
    let text = "--index-url https://me:${TOKEN}@example.org/simple";
    let expanded = expand(text, value).unwrap();
    assert_eq!(expanded, "--index-url https://me:secret@example.org/simple");
    assert!(expand("${OTHER}", value).is_err());
    assert!(expand("${", value).is_err());
    assert_eq!(
        without_password(&expanded),
        "--index-url https://example.org/simple"
    );
}
