//! Runs cases: those of one hub at the same time, a few of them, each with a thread of its own.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::case::{Case, Record, Target};
use crate::failure::Done;
use crate::fixture;
use crate::list::{Entry, Profile};
use crate::start::Start;

/// How a case ended.
#[derive(Debug)]
pub(crate) struct Outcome<'l> {
    pub(crate) entry: &'l Entry,
    /// Why it failed.
    pub(crate) failure: Option<String>,
    pub(crate) record: Record,
    pub(crate) took: Duration,
}

/// Runs cases against the hubs that they need; the outcomes are in the order of the list.
///
/// A hub that does not start fails all of its cases.
pub(crate) fn run<'l>(hub: &dyn Start, entries: &[&'l Entry], jobs: usize) -> Vec<Outcome<'l>> {
    let mut outcomes: BTreeMap<usize, Outcome<'l>> = BTreeMap::new();
    for profile in Profile::ALL {
        let chosen: Vec<(usize, &Entry)> = entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.profile == profile)
            .map(|(index, entry)| (index, *entry))
            .collect();
        if chosen.is_empty() {
            continue;
        }
        let begun = Instant::now();
        match hub.start(profile) {
            Ok(running) => {
                let started = begun.elapsed();
                let jobs = if profile.is_serial() { 1 } else { jobs };
                prepare(&running.target, profile);
                outcomes.extend(run_on(&running.target, &chosen, jobs));
                let ran = begun.elapsed();
                drop(running);
                println!(
                    "{} ({profile}): {} cases in {:.1} s; started in {:.1} s, stopped in {:.1} s",
                    hub.name(),
                    chosen.len(),
                    ran.saturating_sub(started).as_secs_f64(),
                    started.as_secs_f64(),
                    begun.elapsed().saturating_sub(ran).as_secs_f64(),
                );
            }
            Err(error) => {
                println!("{} ({profile}): {error}", hub.name());
                for (index, entry) in chosen {
                    let failure = Some(
                        error
                            .to_string()
                            .lines()
                            .next()
                            .unwrap_or_default()
                            .to_owned(),
                    );
                    outcomes.insert(
                        index,
                        Outcome {
                            entry,
                            failure,
                            record: Record::default(),
                            took: Duration::ZERO,
                        },
                    );
                }
            }
        }
    }
    outcomes.into_values().collect()
}

/// Makes the administrator, who signs many tokens of cases, if a hub does not do that by itself; the case that looks
/// for that runs with another profile.
fn prepare(target: &Target, profile: Profile) {
    if profile == Profile::Main {
        let case = Case::new(target);
        let path = format!("users/{}", fixture::ADMIN_USER);
        // What fails here fails in cases as well, and is told there.
        let _ = case.admin().tell(path, &json!({"admin": true}));
    }
}

fn run_on<'l>(
    target: &Target,
    chosen: &[(usize, &'l Entry)],
    jobs: usize,
) -> Vec<(usize, Outcome<'l>)> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some((index, entry)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run_one(target, entry);
                    if let Some(failure) = &outcome.failure {
                        println!("FAILED {entry}\n    {failure}");
                    }
                    outcomes
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((*index, outcome));
                }
            });
        }
    });
    outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
}

fn run_one<'l>(target: &Target, entry: &'l Entry) -> Outcome<'l> {
    let case = Case::new(target);
    let begun = Instant::now();
    let result: Result<Done, _> = catch_unwind(AssertUnwindSafe(|| (entry.body)(&case)));
    let failure = match result {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure.to_string()),
        Err(_) => Some("the case itself has a mistake: it panicked".to_owned()),
    };
    Outcome {
        entry,
        failure,
        took: begun.elapsed(),
        record: case.into_record(),
    }
}

/// Prints how many cases of each area passed.
pub(crate) fn summarize(hub: &str, outcomes: &[Outcome<'_>]) {
    let mut areas: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for outcome in outcomes {
        let (passed, failed) = areas.entry(outcome.entry.area).or_default();
        *if outcome.failure.is_none() {
            passed
        } else {
            failed
        } += 1;
    }
    println!();
    for (area, (passed, failed)) in &areas {
        println!("{area:<14} {passed:>4} passed {failed:>4} failed");
    }
    let failed = outcomes
        .iter()
        .filter(|outcome| outcome.failure.is_some())
        .count();
    // As Rust's own tests end, for programs that count.
    println!(
        "\ntest result: {}. {} passed; {failed} failed; {hub}",
        if failed == 0 { "ok" } else { "FAILED" },
        outcomes.len() - failed
    );
}
