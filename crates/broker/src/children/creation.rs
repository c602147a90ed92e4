//! Making an account, with the system's own tool.

use std::io;
use std::process::{Command, Stdio};

use super::job::{Creation, Outcome};

/// The tool, which is not looked for anywhere else.
const USERADD: &str = "/usr/sbin/useradd";
/// Its exit status if the name exists.
const NAME_TAKEN: i32 = 9;
/// Its exit status if it cannot lock or write the files of accounts: another tool is at work.
const BUSY: i32 = 1;
/// How often it is tried while another tool is at work.
const TRIES: u32 = 5;

/// Makes an account, without password and without home folder. Whether the name is somebody's the tool sees itself.
pub(super) fn create(creation: &Creation) -> io::Result<Outcome> {
    if !crate::decide::is_portable(&creation.name) {
        return Err(io::Error::other("the name is not one that is made"));
    }
    for attempt in 1..=TRIES {
        let output = Command::new(USERADD)
            .args(arguments(creation))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()?;
        match output.status.code() {
            Some(0) => return Ok(Outcome::Done {}),
            Some(NAME_TAKEN) => return Ok(Outcome::Exists {}),
            // The tool itself has waited for the lock already.
            Some(BUSY) if attempt < TRIES => {}
            _ => {
                let said = String::from_utf8_lossy(&output.stderr);
                let said: String = said.chars().take(300).collect();
                return Err(io::Error::other(format!(
                    "useradd has failed: {}",
                    said.trim().replace('\n', "; ")
                )));
            }
        }
    }
    Err(io::Error::other(
        "other programs keep the files of accounts locked",
    ))
}

fn arguments(creation: &Creation) -> Vec<String> {
    let text = |value: &str| value.to_owned();
    let mut all = vec![
        text("--no-create-home"),
        text("--user-group"),
        text("--home-dir"),
        creation.home.display().to_string(),
        text("--shell"),
        creation.shell.display().to_string(),
        text("--key"),
        format!("UID_MIN={}", creation.first_uid),
        text("--key"),
        format!("UID_MAX={}", creation.last_uid),
    ];
    if !creation.groups.is_empty() {
        all.push(text("--groups"));
        all.push(creation.groups.join(","));
    }
    all.push(text("--"));
    all.push(creation.name.clone());
    all
}
