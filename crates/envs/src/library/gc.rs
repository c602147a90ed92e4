//! Removes generations that nobody uses and nobody may want back, and what interrupted runs have left.

use std::cmp::Ordering;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::build::{Stamp, blocking, clean};
use super::list::sizes;
use super::settings::{Places, Settings, remove};
use super::uses::{self, Uses};
use crate::error::EnvError;
use crate::generations::Generations;
use crate::progress::Progress;

/// What was removed, and what was kept for which reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Removal {
    /// What went, or would go.
    pub removed: Vec<Removed>,
    /// What stays.
    pub kept: Vec<Kept>,
    /// Whether somebody is building at the moment, so that what is half-built was left alone.
    pub building: bool,
}

/// A generation that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Its number.
    pub number: u32,
    /// How much room that makes, in bytes.
    pub bytes: u64,
}

/// A generation that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Its number.
    pub number: u32,
    /// Why, such as `in use by 3 processes`.
    pub why: String,
}

pub(super) async fn gc(
    settings: &Settings,
    dry_run: bool,
    progress: &dyn Progress,
) -> Result<Removal, EnvError> {
    let places = Places::prepare(settings)?;
    let generations = Generations::new(places.generations.clone());
    // Whoever builds keeps on building; what is complete can be removed beside it.
    let lock = generations.lock(Duration::ZERO, |_| {}).await;
    let building = match &lock {
        Ok(_) => false,
        Err(EnvError::Busy { .. }) => true,
        Err(_) => {
            lock?;
            false
        }
    };
    if !building && !dry_run {
        clean(&places, &generations, progress).await?;
    }
    let keep = usize::try_from(settings.keep).unwrap_or(usize::MAX);
    blocking(move || {
        let mut removal = decide(&generations, keep)?;
        removal.building = building;
        if !dry_run {
            take_away(&generations, &mut removal)?;
        }
        Ok(removal)
    })
    .await
}

pub(super) fn look(folder: &Path) -> Result<Uses, EnvError> {
    uses::find(folder).map_err(|source| EnvError::Io {
        doing: "read",
        path: "/proc".into(),
        source,
    })
}

fn decide(generations: &Generations, keep: usize) -> Result<Removal, EnvError> {
    let mut removal = Removal::default();
    let Some((current, _)) = generations.find_current::<Stamp>() else {
        // Which one was used last cannot be told: then all may be wanted.
        for number in generations.list()? {
            let why = "none is current".to_owned();
            removal.kept.push(Kept { number, why });
        }
        return Ok(removal);
    };
    let uses = look(generations.folder())?;
    let mut older = 0;
    for number in generations.list()?.into_iter().rev() {
        if generations.find_stamp::<Stamp>(number).is_none() {
            continue;
        }
        let users = uses.of.get(&number).map_or(0, Vec::len);
        let why = match number.cmp(&current) {
            Ordering::Equal => Some("current".to_owned()),
            Ordering::Greater => Some("newer than the current one".to_owned()),
            Ordering::Less => {
                older += 1;
                (older <= keep).then(|| format!("one of the last {keep} before"))
            }
        };
        let why = match (why, users) {
            (Some(why), _) => Some(why),
            (None, 0) => None,
            (None, 1) => Some("in use by a process".to_owned()),
            (None, count) => Some(format!("in use by {count} processes")),
        };
        if let Some(why) = why {
            removal.kept.push(Kept { number, why });
        } else {
            let (bytes, _) = sizes(&generations.path(number));
            removal.removed.push(Removed { number, bytes });
        }
    }
    Ok(removal)
}

/// Moves each generation away first and looks again: whoever has begun to use it meanwhile gets it back, and so does
/// whoever has switched to it.
fn take_away(generations: &Generations, removal: &mut Removal) -> Result<(), EnvError> {
    let mut removed = Vec::new();
    for one in std::mem::take(&mut removal.removed) {
        let in_use = || Ok(look(generations.folder())?.includes(one.number));
        let Some(gone) = generations.move_away(one.number, in_use)? else {
            removal.kept.push(Kept {
                number: one.number,
                why: "in use since a moment ago".to_owned(),
            });
            continue;
        };
        remove(&gone)?;
        let _ = fs::remove_file(generations.log_path(one.number));
        removed.push(one);
    }
    removal.removed = removed;
    remove_old_logs(generations)
}

/// Removes logs of builds that have no generation any more, but for the newest: it tells why the last one failed.
fn remove_old_logs(generations: &Generations) -> Result<(), EnvError> {
    let mut logs = generations.list_logs()?;
    logs.pop();
    for number in logs {
        if !generations.path(number).exists() {
            let _ = fs::remove_file(generations.log_path(number));
        }
    }
    Ok(())
}
