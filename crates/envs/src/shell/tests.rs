//! The script in real shells, and the files that it is read from.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::*;

const HARD: &str = "/srv/it's \"here\"; $HOME `id` \\ ä";

fn settings(python: &Path) -> ShellSettings {
    let bad = ("X; echo no", "x");
    let variables = [("NLTK_DATA", "/srv/nltk"), ("HARD", HARD), bad];
    ShellSettings {
        python: Some(python.to_owned()),
        variables: variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    }
}

/// The number of somebody who is not root.
const ADA: u32 = 54_341;

/// Reads the script in a shell of an account's, and gives what the words after it print.
fn run(uid: u32, shell: &str, script: &Path, variables: &[(&str, &str)], words: &str) -> String {
    let text = format!("set -eu; . {}; {words}", script.display());
    let mut command = Command::new(format!("/bin/{shell}"));
    command
        .args(["-c", &text])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(variables.iter().copied());
    if uid != rustix::process::geteuid().as_raw() {
        command.uid(uid).gid(uid).current_dir("/");
    }
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("install {shell}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && errors.is_empty(),
        "{shell}: {errors}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The path is in front for people, and behind for root.
fn expected(uid: u32, bin: &Path) -> String {
    let bin = bin.join("bin").display().to_string();
    if uid == 0 {
        format!("/usr/bin:/bin:{bin}")
    } else {
        format!("{bin}:/usr/bin:/bin")
    }
}

/// A folder that everybody can enter.
fn open_folder() -> tempfile::TempDir {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test has to be run as root"
    );
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn every_shell_has_the_same_of_it_once_and_nothing_that_is_missing_harms() {
    let folder = open_folder();
    let python = folder.path().join("it's base/current");
    let script = folder.path().join("lyceum.sh");
    fs::write(&script, settings(&python).script()).unwrap();
    let told = "printf %s \"$PATH|$NLTK_DATA|$HARD\"";
    for shell in ["dash", "bash"] {
        let without = run(ADA, shell, &script, &[], told);
        assert_eq!(without, format!("/usr/bin:/bin|/srv/nltk|{HARD}"));
    }
    fs::create_dir_all(python.join("bin")).unwrap();
    for (shell, uid) in [("dash", ADA), ("bash", ADA), ("dash", 0), ("bash", 0)] {
        let again = format!(". {}; {told}", script.display());
        for words in [told, &again] {
            let path = expected(uid, &python);
            assert_eq!(
                run(uid, shell, &script, &[], words),
                format!("{path}|/srv/nltk|{HARD}")
            );
        }
        // Who has said otherwise keeps that.
        let own = [("NLTK_DATA", ""), ("HARD", "own")];
        assert!(run(uid, shell, &script, &own, told).ends_with("||own"));
    }
    // Without any path, there is one afterwards.
    let bare = run(ADA, "dash", &script, &[("PATH", "")], "printf %s \"$PATH\"");
    assert_eq!(bare, python.join("bin").display().to_string());
}

#[test]
fn terminals_of_a_server_have_its_generation_and_root_installs_nothing_there() {
    let folder = open_folder();
    let (python, own) = (folder.path().join("current"), folder.path().join("3"));
    for folder in [&python, &own] {
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::write(
            folder.join("bin/pip"),
            "#!/bin/sh\necho \"the environment's pip\"\n",
        )
        .unwrap();
        fs::set_permissions(folder.join("bin/pip"), Permissions::from_mode(0o755)).unwrap();
    }
    let script = folder.path().join("lyceum.sh");
    fs::write(&script, settings(&python).script()).unwrap();
    let variables = [("LYCEUM_PYTHON", own.to_str().unwrap())];
    let told = run(ADA, "dash", &script, &variables, "command -v pip");
    assert_eq!(told.trim_end(), own.join("bin/pip").to_str().unwrap());
    let told = run(0, "dash", &script, &variables, "printf %s \"$PATH\"");
    assert_eq!(
        told,
        format!("/usr/bin:/bin:{}", python.join("bin").display())
    );
    let asked = "pip install x 2>/dev/null || echo refused; pip3 list";
    // Where the system has no pip of its own.
    let elsewhere = [("PATH", "/nowhere")];
    for shell in ["dash", "bash"] {
        let told = run(0, shell, &script, &elsewhere, asked);
        assert_eq!(told, "refused\nthe environment's pip\n", "{shell}");
    }
}

#[test]
fn files_get_their_block_once_and_lose_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    fs::create_dir_all(at("etc/zsh")).unwrap();
    let (bash, zsh) = (
        "# bash\n[ -z \"$PS1\" ] && return\n",
        "# zsh without an end",
    );
    fs::write(at("etc/bash.bashrc"), bash).unwrap();
    fs::write(at("etc/zsh/zshenv"), zsh).unwrap();
    fs::set_permissions(at("etc/zsh/zshenv"), Permissions::from_mode(0o604)).unwrap();
    let settings = settings(Path::new("/opt/lyceum/envs/python/base/current"));
    let write = || {
        let all = changes(root.path(), Some(&settings)).unwrap();
        for change in &all {
            change.apply().unwrap();
        }
        all.len()
    };
    assert!(!is_written(root.path()));
    assert_eq!(write(), 3);
    assert!(is_written(root.path()));
    assert_eq!(write(), 0);
    let text = fs::read_to_string(at("etc/bash.bashrc")).unwrap();
    assert!(text.starts_with(BEGIN) && text.ends_with(bash), "{text}");
    let text = fs::read_to_string(at("etc/zsh/zshenv")).unwrap();
    assert!(
        text.starts_with(zsh) && text.trim_end().ends_with(END),
        "{text}"
    );
    let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("etc/zsh/zshenv"), mode(SCRIPT)), (0o604, 0o644));
    assert!(
        !at("etc/zshenv").exists(),
        "a file that is not there is not made"
    );

    for change in changes(root.path(), None).unwrap() {
        change.apply().unwrap();
    }
    assert_eq!(fs::read_to_string(at("etc/bash.bashrc")).unwrap(), bash);
    assert_eq!(
        fs::read_to_string(at("etc/zsh/zshenv")).unwrap(),
        format!("{zsh}\n")
    );
    assert!(!at(SCRIPT).exists());
    assert!(changes(root.path(), None).unwrap().is_empty());
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join(SCRIPT);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "export X=1\n").unwrap();
    let settings = settings(Path::new("/opt/x"));
    let error = changes(root.path(), Some(&settings)).unwrap_err();
    assert!(matches!(error, ShellError::Foreign(_)), "{error}");
    assert!(changes(root.path(), None).unwrap().is_empty());
    fs::remove_file(&path).unwrap();
    let bash = root.path().join("etc/bash.bashrc");
    fs::write(&bash, format!("{BEGIN}\nx\n")).unwrap();
    let error = changes(root.path(), Some(&settings)).unwrap_err();
    assert!(error.hint().contains("bash.bashrc"), "{error}");
    // An end that belongs to another beginning is none.
    fs::write(&bash, format!("{BEGIN}\nx\nmine\n{BEGIN}\nx\n{END}\n")).unwrap();
    let error = changes(root.path(), Some(&settings)).unwrap_err();
    assert!(matches!(error, ShellError::Broken(_)), "{error}");
}
