//! Properties of units that an administrator writes down as in a unit file: `sandbox.properties`.
//!
//! A unit file is text, but the manager wants values of the right type, and has no verb that reads text. So there is a
//! list of what is understood; anything else is refused, and the refusal names the list.

use std::collections::BTreeMap;

use lyceum_core::size::HumanSize;
use zbus::Variant;

use crate::protocol::{Refusal, RefusalKind};

/// How the text of a property becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `yes` or `no`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Paths, each perhaps with `-` or `+` before it, in an array.
    Paths,
    /// Words, of which a `~` before the first makes a list of what is refused.
    Filter,
    /// Bytes, with `K`, `M`, `G` or `T`, or `infinity`.
    Bytes,
    /// A number, or `infinity`.
    Number,
    /// From 1 to 10000.
    Weight,
    /// A number from this one to that one.
    Int(i32, i32),
    /// Seconds, or with `ms`, `s`, `min`, `h` or `d`. The property's own name ends in `USec`.
    Span,
    /// A percentage of one processor.
    Quota,
    /// A resource limit: a number of bytes or things, or two with a colon between.
    Limit,
    /// A path and a number of bytes a second.
    Bandwidth,
}

/// What `yes` and `no` can be called.
const FLAGS: [(&str, bool); 8] = [
    ("yes", true),
    ("true", true),
    ("on", true),
    ("1", true),
    ("no", false),
    ("false", false),
    ("off", false),
    ("0", false),
];

/// What is understood: the name in unit files, and the kind.
const KNOWN: &[(&str, Kind)] = &[
    ("CPUQuota", Kind::Quota),
    ("CPUWeight", Kind::Weight),
    ("DevicePolicy", Kind::Word(&["auto", "closed", "strict"])),
    ("ExecPaths", Kind::Paths),
    ("IOReadBandwidthMax", Kind::Bandwidth),
    ("IOWeight", Kind::Weight),
    ("IOWriteBandwidthMax", Kind::Bandwidth),
    ("InaccessiblePaths", Kind::Paths),
    ("KeyringMode", Kind::Word(&["inherit", "private", "shared"])),
    ("LimitAS", Kind::Limit),
    ("LimitCORE", Kind::Limit),
    ("LimitCPU", Kind::Limit),
    ("LimitDATA", Kind::Limit),
    ("LimitFSIZE", Kind::Limit),
    ("LimitMEMLOCK", Kind::Limit),
    ("LimitNOFILE", Kind::Limit),
    ("LimitNPROC", Kind::Limit),
    ("LimitSTACK", Kind::Limit),
    ("LockPersonality", Kind::Flag),
    ("MemoryDenyWriteExecute", Kind::Flag),
    ("MemoryHigh", Kind::Bytes),
    ("MemoryLow", Kind::Bytes),
    ("MemoryMax", Kind::Bytes),
    ("MemoryMin", Kind::Bytes),
    ("MemorySwapMax", Kind::Bytes),
    ("Nice", Kind::Int(-20, 19)),
    ("NoExecPaths", Kind::Paths),
    ("NoNewPrivileges", Kind::Flag),
    ("OOMPolicy", Kind::Word(&["continue", "stop", "kill"])),
    ("OOMScoreAdjust", Kind::Int(-1000, 1000)),
    ("PrivateDevices", Kind::Flag),
    ("PrivateIPC", Kind::Flag),
    ("PrivateNetwork", Kind::Flag),
    ("PrivateTmp", Kind::Flag),
    ("ProcSubset", Kind::Word(&["all", "pid"])),
    ("ProtectClock", Kind::Flag),
    ("ProtectControlGroups", Kind::Flag),
    (
        "ProtectHome",
        Kind::Word(&["yes", "no", "read-only", "tmpfs"]),
    ),
    ("ProtectHostname", Kind::Flag),
    ("ProtectKernelLogs", Kind::Flag),
    ("ProtectKernelModules", Kind::Flag),
    ("ProtectKernelTunables", Kind::Flag),
    (
        "ProtectSystem",
        Kind::Word(&["yes", "no", "full", "strict"]),
    ),
    ("ReadOnlyPaths", Kind::Paths),
    ("ReadWritePaths", Kind::Paths),
    ("RemoveIPC", Kind::Flag),
    ("RestrictAddressFamilies", Kind::Filter),
    ("RestrictRealtime", Kind::Flag),
    ("RestrictSUIDSGID", Kind::Flag),
    ("RuntimeMaxSec", Kind::Span),
    ("SystemCallFilter", Kind::Filter),
    ("TasksMax", Kind::Number),
    ("TimeoutStopSec", Kind::Span),
];

/// Turns the properties of the configuration into the manager's.
pub(super) fn properties(
    texts: &BTreeMap<String, String>,
) -> Result<Vec<(String, Variant<'static>)>, Refusal> {
    let mut all = Vec::new();
    for (name, text) in texts {
        let (_, kind) = KNOWN
            .iter()
            .find(|(known, _)| known == name)
            .ok_or_else(|| unknown(name))?;
        let values = value(name, *kind, text.trim()).ok_or_else(|| wrong(name, *kind, text))?;
        all.extend(values);
    }
    Ok(all)
}

fn value(name: &str, kind: Kind, text: &str) -> Option<Vec<(String, Variant<'static>)>> {
    let one = |value: Variant<'static>| Some(vec![(name.to_owned(), value)]);
    let words = || -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
    match kind {
        Kind::Flag => one(flag(text)?.into()),
        Kind::Word(known) => {
            let text = text.to_ascii_lowercase();
            known.contains(&text.as_str()).then_some(())?;
            one(text.into())
        }
        Kind::Paths if words().iter().all(|word| is_path(word)) => one(words().into()),
        Kind::Paths => None,
        Kind::Filter => {
            let (allow, rest) = match text.strip_prefix('~') {
                Some(rest) => (false, rest),
                None => (true, text),
            };
            let words: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
            words.iter().all(|word| is_filtered(word)).then_some(())?;
            one(Variant::new((allow, words)))
        }
        Kind::Bytes => one(bytes(text)?.into()),
        Kind::Number => one(number(text)?.into()),
        Kind::Weight => one(number(text).filter(|it| (1..=10_000).contains(it))?.into()),
        Kind::Int(least, most) => {
            let number = text.parse::<i32>().ok()?;
            (least..=most).contains(&number).then_some(())?;
            one(number.into())
        }
        Kind::Span => {
            let name = format!("{}USec", name.strip_suffix("Sec")?);
            Some(vec![(name, span(text)?.into())])
        }
        Kind::Quota => {
            let percent: u64 = text.strip_suffix('%')?.trim().parse().ok()?;
            let micros = percent.checked_mul(10_000).filter(|micros| *micros > 0)?;
            Some(vec![("CPUQuotaPerSecUSec".to_owned(), micros.into())])
        }
        Kind::Limit => {
            let (soft, hard) = text.split_once(':').unwrap_or((text, text));
            let (soft, hard) = (bytes(soft)?, bytes(hard)?);
            Some(vec![
                (name.to_owned(), hard.into()),
                (format!("{name}Soft"), soft.into()),
            ])
        }
        Kind::Bandwidth => {
            let (path, rate) = text.rsplit_once(char::is_whitespace)?;
            path.starts_with('/').then_some(())?;
            one(vec![(path.trim().to_owned(), bytes(rate)?)].into())
        }
    }
}

fn flag(text: &str) -> Option<bool> {
    let text = text.to_ascii_lowercase();
    let known = FLAGS.iter().find(|(word, _)| *word == text);
    known.map(|(_, value)| *value)
}

/// A path that systemd takes in a list, with what may stand before it.
fn is_path(word: &str) -> bool {
    let word = word.strip_prefix('-').unwrap_or(word);
    word.strip_prefix('+').unwrap_or(word).starts_with('/')
}

/// A name of a system call, of a group of these, of an address family.
fn is_filtered(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-:".contains(c);
    let name = word.strip_prefix('@').unwrap_or(word);
    !name.is_empty() && name.chars().all(plain)
}

fn bytes(text: &str) -> Option<u64> {
    if text == "infinity" {
        return Some(u64::MAX);
    }
    text.parse()
        .ok()
        .or_else(|| HumanSize::parse(text).ok().map(HumanSize::bytes))
}

fn number(text: &str) -> Option<u64> {
    if text == "infinity" {
        return Some(u64::MAX);
    }
    text.parse().ok()
}

fn span(text: &str) -> Option<u64> {
    if text == "infinity" {
        return Some(u64::MAX);
    }
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let micros = match unit.trim() {
        "ms" => 1_000,
        "" | "s" | "sec" => 1_000_000,
        "min" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(micros)
}

fn unknown(name: &str) -> Refusal {
    let known: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
    Refusal::new(
        RefusalKind::Configuration,
        format!("The property {name:?} in `sandbox.properties` is not one that Lyceum can set."),
        format!("These can be: {}.", known.join(", ")),
    )
}

fn wrong(name: &str, kind: Kind, text: &str) -> Refusal {
    let words;
    let wanted = match kind {
        Kind::Flag => "`yes` or `no`",
        Kind::Word(known) => {
            words = format!("one of {}", known.join(", "));
            words.as_str()
        }
        Kind::Paths => "paths from `/` on, with spaces between, and perhaps a `-` before each",
        Kind::Filter => "words with spaces between, and perhaps a `~` before the first",
        Kind::Bytes => "a size such as `500M`, or `infinity`",
        Kind::Number => "a number, or `infinity`",
        Kind::Weight => "a number from 1 to 10000",
        Kind::Int(least, most) => {
            words = format!("a number from {least} to {most}");
            words.as_str()
        }
        Kind::Span => "a time such as `90s` or `8h`",
        Kind::Quota => "a percentage such as `150%`",
        Kind::Limit => "a number, or two with a colon between",
        Kind::Bandwidth => "a path and a size, such as `/dev/sda 10M`",
    };
    Refusal::new(
        RefusalKind::Configuration,
        format!("The property {name} in `sandbox.properties` cannot be {text:?}."),
        format!("It has to be {wanted}."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, text: &str) -> Result<Vec<(String, Variant<'static>)>, Refusal> {
        properties(&[(name.to_owned(), text.to_owned())].into())
    }

    #[test]
    fn texts_become_values_of_the_managers_types() {
        let check = |name: &str, text: &str, expected: &[(&str, Variant<'static>)]| {
            let expected: Vec<_> = expected
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.try_clone().unwrap()))
                .collect();
            assert_eq!(of(name, text).unwrap(), expected);
        };
        check("PrivateNetwork", "yes", &[("PrivateNetwork", true.into())]);
        check("MemoryMax", "1G", &[("MemoryMax", (1_u64 << 30).into())]);
        check("MemoryMax", "infinity", &[("MemoryMax", u64::MAX.into())]);
        check(
            "CPUQuota",
            "150%",
            &[("CPUQuotaPerSecUSec", 1_500_000_u64.into())],
        );
        check(
            "RuntimeMaxSec",
            "8h",
            &[("RuntimeMaxUSec", 28_800_000_000_u64.into())],
        );
        check(
            "LimitNOFILE",
            "1024:4096",
            &[
                ("LimitNOFILE", 4096_u64.into()),
                ("LimitNOFILESoft", 1024_u64.into()),
            ],
        );
        check(
            "SystemCallFilter",
            "~@mount ptrace",
            &[(
                "SystemCallFilter",
                Variant::new((false, vec!["@mount".to_owned(), "ptrace".to_owned()])),
            )],
        );
        check("Nice", "-5", &[("Nice", (-5_i32).into())]);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_would_be() {
        let refusal = of("ExecStartPre", "/bin/true").unwrap_err();
        assert!(refusal.hint.contains("ProtectHome"), "{refusal:?}");
        for (name, text) in [
            ("PrivateNetwork", "maybe"),
            ("MemoryMax", "lots"),
            ("CPUQuota", "0%"),
            ("RuntimeMaxSec", "8 weeks"),
            ("ProtectHome", ""),
            ("ProtectHome", "perhaps"),
            ("ProtectSystem", "sterict"),
            ("DevicePolicy", "open"),
            ("OOMPolicy", "none"),
            ("Nice", "20"),
            ("OOMScoreAdjust", "-1001"),
            ("IOWeight", "0"),
            ("CPUWeight", "infinity"),
            ("ReadWritePaths", "/srv/a srv/b"),
            ("SystemCallFilter", "~@mount;ptrace"),
            ("IOReadBandwidthMax", "sda 10M"),
        ] {
            let refusal = of(name, text).unwrap_err();
            assert!(refusal.message.contains(name), "{refusal:?}");
            assert!(refusal.hint.starts_with("It has to be "), "{refusal:?}");
        }
        let refusal = of("ProtectHome", "perhaps").unwrap_err();
        assert!(refusal.hint.contains("tmpfs"), "{refusal:?}");
    }
}
