//! The log of a server, from the journal.
//!
//! Read by a child, `journalctl`, with a time limit: the journal's files have a format of their own, may be many and
//! large, and reading them is not the business of a process of root's.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use crate::engine::lines::clean_lines;
use crate::protocol::{Refusal, RefusalKind};

/// How long reading may take.
const LIMIT: Duration = Duration::from_secs(15);
/// What systemd says when a stop of a unit begins (`SD_MESSAGE_UNIT_STOPPING` of sd-messages.h).
const UNIT_STOPPING: &str = "de5b426a63be47a7b6ac3eaac82e2f6f";
/// The most bytes that are taken from the child.
const MOST: u64 = 16 * 1024 * 1024;

/// Gives the last lines of a unit, oldest first.
///
/// The fields that are matched are set by the journal itself, so that no other process can write into this log; and no
/// pattern is in them, unlike in `--unit`.
pub(super) async fn tail(service: &str, lines: u32) -> Result<Vec<String>, Refusal> {
    let entries = read(&[
        "--output=json",
        "--output-fields=MESSAGE",
        &format!("--lines={lines}"),
        &format!("_SYSTEMD_UNIT={service}"),
    ])
    .await?;
    let text: Vec<u8> = entries
        .split(|byte| *byte == b'\n')
        .filter_map(message)
        .flat_map(|mut line| {
            line.push(b'\n');
            line
        })
        .collect();
    Ok(clean_lines(
        &text,
        usize::try_from(lines).unwrap_or(usize::MAX),
    ))
}

/// Tells whether the kernel has ended this process of this boot because its control group had no memory left. Where the
/// journal has no messages of the kernel, nobody can say, and it is a no.
pub(super) async fn was_out_of_memory(service: &str, pid: i32) -> bool {
    let read = read(&["--output=cat", "--dmesg", "--lines=20000"]).await;
    let Ok(text) = read else { return false };
    let text = String::from_utf8_lossy(&text);
    text.lines().any(|line| is_kill_of(line, service, pid))
}

/// Tells whether systemd was asked to stop this unit: only then does it say that it is stopping it, and not when the
/// unit's processes end. Not that of an earlier boot: then the machine went down. Where the journal cannot be read,
/// nobody can say, and it is a no.
pub(super) async fn was_stopped(service: &str, invocation: &str) -> bool {
    let read = read(&[
        "--boot",
        "--output=cat",
        "--lines=1",
        "_PID=1",
        &format!("MESSAGE_ID={UNIT_STOPPING}"),
        &format!("UNIT={service}"),
        &format!("INVOCATION_ID={invocation}"),
    ])
    .await;
    read.is_ok_and(|text| !text.is_empty())
}

/// Whether a line of the kernel's is about this process of this unit. It is made by `dump_oom_summary` of the kernel:
/// `oom-kill:constraint=…,task_memcg=/…/NAME.service,task=python3,pid=12,uid=1000`.
fn is_kill_of(line: &str, service: &str, pid: i32) -> bool {
    let Some(fields) = line.split_once("oom-kill:").map(|(_, fields)| fields) else {
        return false;
    };
    let has = |name: &str, fits: &dyn Fn(&str) -> bool| {
        fields
            .split(',')
            .filter_map(|field| field.split_once('='))
            .any(|(key, value)| key == name && fits(value))
    };
    has("task_memcg", &|group| {
        group.split('/').any(|part| part == service)
    }) && has("pid", &|number| number == pid.to_string())
}

fn message(line: &[u8]) -> Option<Vec<u8>> {
    let entry: Value = serde_json::from_slice(line).ok()?;
    match entry.get("MESSAGE")? {
        Value::String(text) => Some(text.clone().into_bytes()),
        // What is no text, or has control characters, comes as numbers.
        Value::Array(bytes) => Some(
            bytes
                .iter()
                .filter_map(|byte| u8::try_from(byte.as_u64()?).ok())
                .collect(),
        ),
        _ => None,
    }
}

async fn read(arguments: &[&str]) -> Result<Vec<u8>, Refusal> {
    let work = async {
        let mut child = Command::new("journalctl")
            .args(["--quiet", "--no-pager", "--all"])
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let mut text = Vec::new();
        if let Some(output) = child.stdout.take() {
            output.take(MOST).read_to_end(&mut text).await?;
        }
        child.wait().await?;
        Ok::<_, std::io::Error>(text)
    };
    match timeout(LIMIT, work).await {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => Err(crate::engine::refuse::of_system("run journalctl", &error)),
        Err(_) => Err(Refusal::new(
            RefusalKind::Slow,
            "The journal was not read in time.",
            "See `journalctl --disk-usage`; the disk may be very busy.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_may_be_text_or_bytes() {
        assert_eq!(message(br#"{"MESSAGE":"a"}"#).unwrap(), b"a");
        assert_eq!(message(br#"{"MESSAGE":[27,97]}"#).unwrap(), b"\x1ba");
        assert_eq!(message(br#"{"MESSAGE":null}"#), None);
        assert_eq!(message(b"x"), None);
    }

    #[test]
    fn only_this_process_of_this_unit_was_killed() {
        let line = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,\
            oom_memcg=/s.slice/lyceum-ada.service,task_memcg=/s.slice/lyceum-ada.service,task=python3,pid=12,uid=1000";
        assert!(is_kill_of(line, "lyceum-ada.service", 12));
        assert!(!is_kill_of(line, "lyceum-ada.service", 1));
        assert!(!is_kill_of(line, "lyceum-ad.service", 12));
        assert!(!is_kill_of("pid=12", "lyceum-ada.service", 12));
    }
}
