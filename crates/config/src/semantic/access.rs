//! Rules about who may log in, and how guessers are slowed: patterns can be read, numbers make sense.

use lyceum_core::{HumanDuration, NamePattern, PatternError};

use super::Rules;
use crate::problem::Problem;
use crate::tree::{Step, path_text};

const DAY: HumanDuration = HumanDuration::from_secs(24 * 3600);
const SECOND: HumanDuration = HumanDuration::from_secs(1);

impl Rules<'_> {
    pub(super) fn patterns(&mut self) {
        let access = &self.config.access;
        for (key, texts) in [
            ("allowed_patterns", &access.allowed_patterns),
            ("blocked_patterns", &access.blocked_patterns),
        ] {
            // Entries that were left out have shifted the numbers: then the first error is enough.
            if !self.usable(&[&format!("access.{key}")]) {
                continue;
            }
            for (index, text) in texts.iter().enumerate() {
                let Err(error) = NamePattern::parse(text) else {
                    continue;
                };
                let path = [
                    Step::Key("access".to_owned()),
                    Step::Key(key.to_owned()),
                    Step::Index(index),
                ];
                let problem =
                    Problem::error(format!("`{}` is not a pattern of names", path_text(&path)));
                let problem = match self.tree.find(&path) {
                    Some(node) => problem.mark(&node.at, error.to_string()),
                    None => problem.note(error.to_string()),
                };
                let problem = match error {
                    PatternError::Syntax { .. } => problem.help(
                        "a pattern is a regular expression for the whole name, for example `\"s[0-9]{6}\"`",
                    ),
                    _ => problem,
                };
                self.report.add(problem);
            }
        }
    }

    pub(super) fn throttle(&mut self) {
        let throttle = &self.config.throttle;
        for (key, count) in [
            ("throttle.per_account", throttle.per_account),
            ("throttle.per_address", throttle.per_address),
        ] {
            if count == 0 {
                self.refuse(
                    key,
                    "cannot be zero",
                    "expected 1 at least",
                    "somebody may mistype a password once; to exempt nobody, leave `throttle.exempt` out",
                );
            }
        }
        let pause = throttle.longest_pause;
        if pause < SECOND || pause > DAY {
            self.refuse(
                "throttle.longest_pause",
                "makes no sense",
                "expected a time between a second and a day",
                "to slow nobody, set `throttle.enabled = false`",
            );
        }
        if self.config.audit.keep < DAY {
            self.refuse(
                "audit.keep",
                "is too short",
                "expected a day at least",
                "to write nothing down, set `audit.enabled = false`",
            );
        }
    }
}
