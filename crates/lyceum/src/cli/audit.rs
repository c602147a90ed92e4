//! `lyceum audit`: shows what is in the audit table. It reads the database, and asks no running Lyceum.

mod print;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use lyceum_core::{Clock as _, HumanDuration, SystemClock, Timestamp};
use lyceum_hub::AuditKind;
use lyceum_store::{AuditQuery, AuditRow, OpenError, Store, StoreSettings};

use self::print::{Form, line};
use super::ConfigArgs;
use super::report::Report;
use crate::{cli, lifecycle};

/// How often is looked for what is new.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How far behind the latest event others may still appear: they were written at the same time.
const BEHIND: i64 = 500;
/// How many events are read at once while following.
const AT_ONCE: u64 = 2_000;

/// What `lyceum audit` can be told.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Only what happened since then: `2d`, `30 min`, `2026-11-26`, `2026-11-26T14:00` (UTC)
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only what happened before then; written as `--since`
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Only what this user did, or what was done to them; `service:NAME` for what a service did
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only these kinds of events
    #[arg(long = "kind", value_name = "KIND,…", value_delimiter = ',', value_parser = kinds())]
    kinds: Vec<String>,
    /// Only what came from this address
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// How many events at most: the latest
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    /// Print one JSON object on each line
    #[arg(long)]
    json: bool,
    /// Go on with what happens from now on
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

fn kinds() -> PossibleValuesParser {
    PossibleValuesParser::new(AuditKind::ALL.iter().map(|kind| kind.as_str()))
}

pub(crate) fn run(args: &AuditArgs) -> ExitCode {
    match show(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) => report.print(),
    }
}

fn show(args: &AuditArgs) -> Result<(), Report> {
    let query = query(args, SystemClock.now())?;
    let config = cli::config::load(&args.config)?.config;
    let settings = config
        .store
        .settings(&config.hub.data_dir)
        .map_err(|error| Report::new(&error))?;
    let runtime = lifecycle::runtime().map_err(|error| Report::of_chain(&error))?;
    let shown = runtime.block_on(async {
        let mut rows = read(&settings, &query).await?;
        rows.reverse();
        let form = if args.json {
            Form::Json
        } else {
            Form::table(&rows)
        };
        if rows.is_empty() && !args.follow {
            if !config.audit.enabled {
                eprintln_hint("nothing is written down, as `audit.enabled` is off");
            }
            return Ok(());
        }
        // If nobody reads any more, that is their choice.
        if print(&rows, form).is_ok() && args.follow {
            follow(&settings, query, &rows, form).await?;
        }
        Ok(())
    });
    runtime.shutdown_background();
    shown
}

/// Says something beside the events, which programs may read.
fn eprintln_hint(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn query(args: &AuditArgs, now: Timestamp) -> Result<AuditQuery, Report> {
    let when = |option: &str, text: &Option<String>| {
        let parsed = text.as_deref().map(|text| instant(text, now));
        match parsed {
            Some(None) => Err(Report::text(format!(
                "error: `{}` is no time for `{option}`",
                text.as_deref().unwrap_or_default()
            ))
            .hint("write how long ago, such as `2d` or `30 min`, or a time, such as `2026-11-26T14:00`")
            .code(USAGE)),
            Some(Some(at)) => Ok(Some(at)),
            None => Ok(None),
        }
    };
    Ok(AuditQuery {
        since: when("--since", &args.since)?,
        until: when("--until", &args.until)?,
        kinds: args.kinds.clone(),
        user: args.user.clone(),
        client_addr: args
            .address
            .map(|address| address.to_canonical().to_string()),
        limit: args.limit,
        ..AuditQuery::default()
    })
}

/// The command was called in a wrong way, as clap ends it.
const USAGE: u8 = 2;

/// Reads a time: how long ago, or an instant; without a zone it is UTC.
fn instant(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(ago) = HumanDuration::parse(text) {
        return Some(now.checked_sub(ago.get()).unwrap_or(Timestamp::UNIX_EPOCH));
    }
    ["", "Z", ":00Z", "T00:00:00Z"]
        .iter()
        .find_map(|rest| format!("{text}{rest}").parse().ok())
}

async fn read(settings: &StoreSettings, query: &AuditQuery) -> Result<Vec<AuditRow>, Report> {
    let store = Store::open_to_read(settings)
        .await
        .map_err(|error| open_error(&error))?;
    let rows = store.list_audit(query).await;
    store.close().await;
    rows.map_err(|error| {
        let report = Report::new(&error);
        match error.hint() {
            Some(hint) => report.hint(hint),
            None => report,
        }
    })
}

fn open_error(error: &OpenError) -> Report {
    let report = Report::new(error);
    match error.hint() {
        Some(hint) => report.hint(hint),
        None => report,
    }
}

/// Prints what is new, until nobody reads any more. The database is opened anew each time, so that a Lyceum that is
/// brought up to date meanwhile finds nobody in its way.
async fn follow(
    settings: &StoreSettings,
    mut query: AuditQuery,
    rows: &[AuditRow],
    form: Form,
) -> Result<(), Report> {
    let mut shown: BTreeSet<i64> = rows.iter().map(|row| row.id).collect();
    let begun = SystemClock.now();
    if shown.is_empty() {
        // What is old was not asked for.
        query.since = Some(query.since.map_or(begun, |since| since.max(begun)));
    }
    query.oldest_first = true;
    query.limit = AT_ONCE;
    let first = shown.first().copied();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let behind = shown.last().map(|last| last - BEHIND);
        // Not what came before the first that was shown: the limit has left it out.
        query.after = behind.max(first.map(|first| first - 1));
        let mut new = read(settings, &query).await?;
        new.retain(|row| !shown.contains(&row.id));
        if print(&new, form).is_err() {
            return Ok(());
        }
        shown.extend(new.iter().map(|row| row.id));
        if let Some(last) = shown.last().copied() {
            shown = shown.split_off(&(last - BEHIND * 2));
        }
    }
}

fn print(rows: &[AuditRow], form: Form) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for row in rows {
        writeln!(out, "{}", line(row, form))?;
    }
    out.flush()
}
