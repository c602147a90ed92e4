//! How Python environments are told on the terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lyceum_config::settings::EnvConfig;
use lyceum_core::Timestamp;
use lyceum_envs::library::{
    Built, Change, ChangeKind, InUse, Interpreter, Library, Listed, Removal, Switched,
};

/// How many processes are named; of more, how many there are.
const NAMED: usize = 3;
/// How many changes are listed when there are many; the rest is counted.
const CHANGES: usize = 40;

/// What a build has come to.
pub(super) fn built(library: &Library, built: &Built, dry_run: bool, switched: bool) -> String {
    let name = &library.settings().name;
    let mut text = String::new();
    let count = match built.packages {
        1 => "1 package".to_owned(),
        count => format!("{count} packages"),
    };
    match built.generation {
        None => {
            let _ = writeln!(
                text,
                "A new generation of {name} would have {count}, with Python {}.",
                built.python
            );
        }
        Some(number) if built.fresh => {
            let _ = writeln!(
                text,
                "Generation {number} of {name} is ready: {count} with Python {}, {} ({} of it shared), built in {} by {}.",
                built.python,
                size(built.bytes),
                size(built.shared),
                time(built.seconds),
                built.installer,
            );
        }
        Some(number) => {
            let _ = writeln!(
                text,
                "Generation {number} of {name} has just these packages; there is nothing to build."
            );
        }
    }
    if built.fresh || dry_run {
        match built.before {
            Some(before) => {
                let _ = writeln!(text, "Against generation {before}:");
                text.push_str(&changes(&built.changes));
            }
            None if dry_run && !built.changes.is_empty() => {
                text.push_str(&changes(&built.changes));
            }
            None => {}
        }
    }
    for note in &built.notes {
        let _ = writeln!(text, "note: {note}");
    }
    let Some(number) = built.generation else {
        return text;
    };
    if switched || library.current() == Some(number) {
        let _ = writeln!(
            text,
            "New servers get generation {number}; servers that run stay on theirs."
        );
    } else {
        let _ = writeln!(
            text,
            "Nobody uses it yet. Next step: lyceum env python switch {name} {number}"
        );
    }
    text
}

/// Between which generations was switched.
pub(super) fn switched(library: &Library, switched: &Switched) -> String {
    let name = &library.settings().name;
    let to = switched.to;
    let mut text = String::new();
    for (number, what) in &switched.skipped {
        let _ = writeln!(text, "Generation {number} is passed over: {what}.");
    }
    let line = match switched.from {
        Some(from) if from == to => {
            format!("Generation {to} of {name} is the current one already.")
        }
        Some(from) => format!(
            "New servers get generation {to} of {name}; those that run stay on {from} and the ones before. \
             Back: lyceum env python switch {name} {from}"
        ),
        None => format!("New servers get generation {to} of {name}."),
    };
    text + &line
}

/// What differs between two generations.
pub(super) fn difference(name: &str, from: u32, to: u32, list: &[Change]) -> String {
    if from == to {
        return format!("{name} has one complete generation only: {to}.");
    }
    format!(
        "From generation {from} of {name} to {to}:\n{}",
        changes(list).trim_end()
    )
}

fn changes(list: &[Change]) -> String {
    if list.is_empty() {
        return "  the packages are the same\n".to_owned();
    }
    let width = list
        .iter()
        .map(|one| one.name.len())
        .max()
        .unwrap_or(0)
        .min(40);
    let mut text = String::new();
    for one in list.iter().take(CHANGES) {
        let before = one.before.as_deref().unwrap_or_default();
        let after = one.after.as_deref().unwrap_or_default();
        let (sign, versions) = match one.kind {
            ChangeKind::Added => ("added", after.to_owned()),
            ChangeKind::Removed => ("removed", before.to_owned()),
            ChangeKind::Up => ("up", format!("{before} -> {after}")),
            ChangeKind::Down => ("DOWN", format!("{before} -> {after}")),
            ChangeKind::Changed => ("changed", format!("{before} -> {after}")),
        };
        let _ = writeln!(text, "  {sign:<8} {:<width$}  {versions}", one.name);
    }
    if let Some(more) = list.len().checked_sub(CHANGES).filter(|more| *more > 0) {
        let _ = writeln!(text, "  and {more} more; --json lists all");
    }
    text
}

/// All generations of some environments.
///
/// Who uses them, only root sees: with `is_root` false that is said.
pub(super) fn list(env: &EnvConfig, all: &BTreeMap<String, Vec<Listed>>, is_root: bool) -> String {
    let mut text = String::new();
    for (name, listed) in all {
        let title = env
            .python
            .get(name)
            .map_or(name.as_str(), |one| one.title(name));
        let default = if env.default_python() == Some(name) {
            ", the default"
        } else {
            ""
        };
        let place = env.python_folder(name);
        let _ = if title == name {
            writeln!(text, "{name}{default}  {}", place.display())
        } else {
            writeln!(text, "{name} ({title}){default}  {}", place.display())
        };
        if listed.is_empty() {
            let _ = writeln!(
                text,
                "  nothing is built yet: lyceum env python build {name} --switch"
            );
        } else {
            let _ = writeln!(
                text,
                "    {:>3}  {:<16}  {:<8} {:>8} {:>9} {:>9}  used by",
                "no.", "built (UTC)", "Python", "packages", "own", "shared"
            );
        }
        for one in listed {
            generation(&mut text, one);
        }
        text.push('\n');
    }
    if !is_root && all.values().any(|listed| !listed.is_empty()) {
        text.push_str("note: only root sees which other accounts use a generation\n");
    }
    text
}

fn generation(text: &mut String, one: &Listed) {
    let mark = if one.current { "*" } else { " " };
    let when = Timestamp::from_second(one.time).map_or_else(
        |_| String::new(),
        |at| at.strftime("%Y-%m-%d %H:%M").to_string(),
    );
    if !one.complete {
        let _ = writeln!(
            text,
            "  {mark} {:>3}  {when:<16}  not complete: it is being built, or the next build removes it",
            one.number
        );
        return;
    }
    let _ = writeln!(
        text,
        "  {mark} {:>3}  {when:<16}  {:<8} {:>8} {:>9} {:>9}  {}",
        one.number,
        one.python,
        one.packages,
        size(one.own),
        size(one.shared),
        users(&one.used_by)
    );
    if let Some(fault) = &one.fault {
        let _ = writeln!(text, "         cannot be used: {fault}");
    }
}

fn users(list: &[InUse]) -> String {
    if list.is_empty() {
        return "nobody".to_owned();
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for one in list {
        *counts.entry(&one.account).or_default() += 1;
    }
    let mut names: Vec<String> = counts
        .iter()
        .take(NAMED)
        .map(|(name, count)| format!("{name} ({count})"))
        .collect();
    if counts.len() > NAMED {
        names.push(format!("{} others", counts.len() - NAMED));
    }
    names.join(", ")
}

/// What was removed.
pub(super) fn removal(all: &BTreeMap<String, Removal>, dry_run: bool) -> String {
    let mut text = String::new();
    let done = if dry_run {
        "would be removed"
    } else {
        "removed"
    };
    for (name, removal) in all {
        if removal.removed.is_empty() && removal.kept.is_empty() && !removal.building {
            continue;
        }
        let _ = writeln!(text, "{name}");
        for one in &removal.removed {
            let _ = writeln!(
                text,
                "  {:>3}  {done}: {} free",
                one.number,
                size(one.bytes)
            );
        }
        for one in &removal.kept {
            let _ = writeln!(text, "  {:>3}  kept: {}", one.number, one.why);
        }
        if removal.building {
            text.push_str(
                "  somebody is building at the moment; what is half-built was left alone\n",
            );
        }
    }
    if all
        .values()
        .all(|one| one.removed.is_empty() && one.kept.is_empty())
    {
        text.push_str("Nothing is built yet.");
    }
    text
}

/// The Pythons of this machine.
pub(super) fn versions(found: &[Interpreter]) -> String {
    let mut text = String::new();
    let width = found
        .iter()
        .map(|one| one.path.as_os_str().len())
        .max()
        .unwrap_or(0);
    let newest = found
        .iter()
        .filter(|one| one.fault.is_none())
        .max_by_key(|one| (one.numbers(), one.optimised));
    for one in found {
        let version = one.version.as_deref().unwrap_or("?");
        let mut facts = vec![one.origin.as_str().to_owned()];
        if let Some(fault) = &one.fault {
            facts.push(fault.clone());
        } else {
            if !one.optimised {
                facts.push("not optimised, so a tenth to a third slower".to_owned());
            }
            if !one.venv {
                facts.push("without venv: needs uv, or apt install python3-venv".to_owned());
            }
            if newest.is_some_and(|newest| newest.path == one.path) {
                facts.push("the newest".to_owned());
            }
        }
        let _ = writeln!(
            text,
            "{version:<8}  {:<width$}  {}",
            one.path.display(),
            facts.join(", ")
        );
    }
    text.push_str(
        "An environment stays on its Python until another one is asked for: lyceum env python build NAME --python VERSION\n",
    );
    text
}

fn size(bytes: u64) -> String {
    let units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)];
    for (unit, factor) in units {
        if bytes >= factor {
            let tenths = bytes / (factor / 10);
            return if tenths < 100 {
                format!("{}.{} {unit}", tenths / 10, tenths % 10)
            } else {
                format!("{} {unit}", bytes / factor)
            };
        }
    }
    format!("{bytes} B")
}

fn time(seconds: u64) -> String {
    if seconds < 120 {
        format!("{seconds} s")
    } else {
        format!("{} min", seconds / 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1500, "1.5 kB"),
            (12_345, "12 kB"),
            (1_234_567, "1.2 MB"),
            (812_000_000, "812 MB"),
            (1_900_000_000, "1.9 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(time(90), "90 s");
        assert_eq!(time(200), "3 min");
    }

    #[test]
    fn users_are_counted_by_account() {
        let one = |account: &str| InUse {
            pid: 1,
            account: account.to_owned(),
            program: "python".to_owned(),
        };
        assert_eq!(users(&[]), "nobody");
        let many = ["ada", "bob", "ada", "cyd", "dan", "eve"].map(one);
        assert_eq!(users(&many), "ada (2), bob (1), cyd (1), 2 others");
    }

    #[test]
    fn a_version_that_goes_down_stands_out() {
        let list = [Change {
            name: "tornado".to_owned(),
            kind: ChangeKind::Down,
            before: Some("6.5".to_owned()),
            after: Some("6.4".to_owned()),
        }];
        assert_eq!(
            difference("base", 1, 2, &list),
            "From generation 1 of base to 2:\n  DOWN     tornado  6.5 -> 6.4"
        );
    }
}
