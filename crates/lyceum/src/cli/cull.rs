//! `lyceum cull`: which servers would be stopped because nobody uses them, and to stop them now.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use http::{Method, StatusCode};
use lyceum_core::{HumanDuration, Timestamp, UserName};
use serde::de::DeserializeOwned;

use super::report::Report;
use super::running::Running;
use super::{ConfigArgs, say};
use crate::admin::cull::{CULL_PATH, CullWish, ToldCull, ToldServer, ToldServers};
use crate::cli;

/// How long it may take until all servers have said what they compute.
const LOOK: Duration = Duration::from_mins(1);
/// How long it may take until servers have stopped.
const STOP: Duration = Duration::from_mins(30);

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct CullArgs {
    #[command(subcommand)]
    command: Option<CullCommand>,
    /// Stop nothing, but say what would be stopped, and when: the same as `lyceum cull list`
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum CullCommand {
    /// Lists the servers that run: when each was last used, by what, and when it goes if nothing happens any more
    List(ListArgs),
    /// Stops servers now that nobody uses. Asks the servers first; warnings and class hours do not count
    Now {
        /// Stop those that were idle for so long, such as `30 min`, whatever their own limit is
        #[arg(long, value_name = "TIME")]
        idle: Option<HumanDuration>,
        /// Only those of one user
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) fn run(args: &CullArgs) -> ExitCode {
    match answer(args) {
        Ok(text) => {
            say(text.trim_end());
            ExitCode::SUCCESS
        }
        Err(report) => report.print(),
    }
}

fn answer(args: &CullArgs) -> Result<String, Report> {
    match &args.command {
        Some(CullCommand::List(list)) => show_list(list),
        None if args.dry_run => show_list(&args.list),
        None => Err(Report::text("error: what shall be done?".to_owned())
            .hint("`lyceum cull list` says what would be stopped, `lyceum cull now` stops it")
            .code(2)),
        Some(CullCommand::Now {
            idle,
            user,
            json,
            config,
        }) => {
            let user = user.as_deref().map(UserName::parse).transpose();
            let user = user.map_err(|error| Report::new(&error).code(2))?;
            let wish = CullWish { idle: *idle, user };
            let body = serde_json::to_vec(&wish).map_err(|error| Report::new(&error))?;
            let (culled, text): (Vec<ToldCull>, _) = ask(config, Method::POST, "/now", body, STOP)?;
            Ok(if *json { text } else { shown_culled(&culled) })
        }
    }
}

fn show_list(list: &ListArgs) -> Result<String, Report> {
    let (told, text): (ToldServers, _) = ask(&list.config, Method::GET, "", Vec::new(), LOOK)?;
    Ok(if list.json { text } else { shown(&told) })
}

/// Asks the running Lyceum; gives the answer, and its text.
fn ask<T: DeserializeOwned>(
    config: &ConfigArgs,
    method: Method,
    what: &str,
    body: Vec<u8>,
    limit: Duration,
) -> Result<(T, String), Report> {
    let config = cli::config::load(config)?.config;
    let running = Running::find(&config.hub.runtime_dir)?;
    let answer = running.ask(method, &format!("{CULL_PATH}{what}"), body, limit)?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    if answer.status != StatusCode::OK {
        return Err(Report::text(format!(
            "error: the running Lyceum says: {}",
            text.trim_matches('"')
        ))
        .hint("its log says more"));
    }
    let told = serde_json::from_str(&text).map_err(|error| {
        Report::new(&error).hint("is the running Lyceum of another version? restart it")
    })?;
    Ok((told, text))
}

fn shown(told: &ToldServers) -> String {
    if told.servers.is_empty() {
        return "no server runs".to_owned();
    }
    let mut text = String::new();
    for server in &told.servers {
        let _ = writeln!(text, "{}", server.server);
        let _ = writeln!(
            text,
            "  unused for {}: last {}{}",
            span(server.idle_seconds),
            used_by(&server.used_by),
            if server.answered {
                ""
            } else {
                "; it did not say what it computes"
            }
        );
        let _ = writeln!(text, "  {}", fate(server, told.now));
    }
    text
}

/// What becomes of a server, and by which rule.
fn fate(server: &ToldServer, now: Timestamp) -> String {
    if !server.enabled {
        return format!("stays: `{}` says so", server.rules.enabled);
    }
    let (Some(at), Some(reason)) = (server.stops_at, &server.reason) else {
        return format!(
            "stays: no limit, `{}` and `{}`",
            server.rules.idle, server.rules.max_age
        );
    };
    let (limit, key) = if reason == "max-age" {
        (&server.max_age, &server.rules.max_age)
    } else {
        (&server.idle_limit, &server.rules.idle)
    };
    let left = Duration::try_from(at.duration_since(now)).unwrap_or_default();
    let when = if left.is_zero() {
        "now".to_owned()
    } else {
        format!("in {}, at {at:.0}", span(left.as_secs()))
    };
    let warned = if server.warned {
        "; people are being warned"
    } else {
        ""
    };
    format!("goes {when}: `{key}` is {limit}{warned}")
}

fn used_by(word: &str) -> &str {
    match word {
        "start" => "it was started",
        "action" => "somebody did something",
        "open-tab" => "a page was open",
        "busy-kernel" => "a kernel was computing",
        "kernel" => "a kernel or a terminal did something",
        "report" => "it said that it was in use",
        other => other,
    }
}

fn shown_culled(culled: &[ToldCull]) -> String {
    if culled.is_empty() {
        return "no server was stopped: none has been unused for long enough".to_owned();
    }
    let mut text = String::new();
    for one in culled {
        let _ = writeln!(
            text,
            "stopped {}, unused for {}",
            one.server,
            span(one.idle_seconds)
        );
    }
    text
}

/// A time for people, not finer than its two largest units.
fn span(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::cull::ToldRules;

    fn server(change: impl FnOnce(&mut ToldServer)) -> ToldServer {
        let now: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
        let mut server = ToldServer {
            server: "ada/".to_owned(),
            user: "ada".to_owned(),
            started: now,
            last_use: now,
            used_by: "open-tab".to_owned(),
            idle_seconds: 4000,
            enabled: true,
            idle_limit: "2h".to_owned(),
            max_age: "off".to_owned(),
            rules: ToldRules {
                enabled: "cull.enabled".to_owned(),
                idle: "cull.groups.class.idle".to_owned(),
                max_age: "cull.max_age".to_owned(),
            },
            stops_at: "2026-11-26T12:53:20Z".parse().ok(),
            reason: Some("idle".to_owned()),
            warned: false,
            answered: true,
        };
        change(&mut server);
        server
    }

    #[test]
    fn the_list_says_what_counts_which_rule_and_when() {
        let told = ToldServers {
            now: "2026-11-26T12:00:00Z".parse().unwrap(),
            servers: vec![
                server(|_| {}),
                server(|one| one.warned = true),
                server(|one| one.enabled = false),
                server(|one| {
                    one.stops_at = None;
                    one.answered = false;
                }),
                server(|one| {
                    one.reason = Some("max-age".to_owned());
                    one.max_age = "1 day".to_owned();
                    one.stops_at = "2026-11-26T11:00:00Z".parse().ok();
                }),
            ],
        };
        let text = shown(&told);
        let lines: Vec<&str> = text.lines().collect();
        let used = "  unused for 1 h 6 min: last a page was open";
        let goes = "  goes in 53 min, at 2026-11-26T12:53:20Z: `cull.groups.class.idle` is 2h";
        let warned = format!("{goes}; people are being warned");
        let silent = format!("{used}; it did not say what it computes");
        let expected = [
            ["ada/", used, goes],
            ["ada/", used, &warned],
            ["ada/", used, "  stays: `cull.enabled` says so"],
            [
                "ada/",
                &silent,
                "  stays: no limit, `cull.groups.class.idle` and `cull.max_age`",
            ],
            ["ada/", used, "  goes now: `cull.max_age` is 1 day"],
        ];
        assert_eq!(lines, expected.as_flattened());
    }

    #[test]
    fn times_are_short() {
        let check = |seconds, expected: &str| assert_eq!(span(seconds), expected);
        check(7, "7 s");
        check(61, "1 min");
        check(3661, "1 h 1 min");
        check(90_000, "1 d 1 h");
    }
}
