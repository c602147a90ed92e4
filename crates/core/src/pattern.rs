//! Patterns of names: regular expressions that must match the whole name.
//!
//! They are matched in time that grows with the name's length alone, whatever the pattern.

use std::fmt;

use regex::{Regex, RegexBuilder};
use thiserror::Error;

/// How large a pattern may become, in bytes of memory.
const MAX_SIZE: usize = 256 * 1024;

/// A regular expression for whole names.
#[derive(Clone)]
pub struct NamePattern {
    text: String,
    regex: Regex,
}

/// What is wrong with a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PatternError {
    /// It is no regular expression.
    #[error("{reason}, at character {position}")]
    Syntax {
        /// What is wrong.
        reason: String,
        /// Where, counted from 1.
        position: usize,
    },
    /// It would take too much memory.
    #[error("it is too large: less repetition, or a shorter list, would do")]
    TooLarge,
    /// It matches every name, or none that is not empty.
    #[error("it is empty, and so matches no name")]
    Empty,
}

impl NamePattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if let Err(error) = regex_syntax::ast::parse::Parser::new().parse(text) {
            return Err(PatternError::Syntax {
                reason: error.kind().to_string(),
                position: error.span().start.column,
            });
        }
        let whole = format!(r"\A(?:{text})\z");
        let regex = RegexBuilder::new(&whole).size_limit(MAX_SIZE).build();
        let regex = regex.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => PatternError::TooLarge,
            error => PatternError::Syntax {
                reason: last_line(&error.to_string()),
                position: 1,
            },
        })?;
        Ok(Self {
            text: text.to_owned(),
            regex,
        })
    }

    /// Tells whether the whole name matches.
    pub fn matches(&self, name: &str) -> bool {
        self.regex.is_match(name)
    }

    /// Gives the pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The line that says what is wrong; the ones before draw a picture.
fn last_line(text: &str) -> String {
    let line = text.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

impl fmt::Debug for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, name: &str, expected: bool) {
        let pattern = NamePattern::parse(pattern).unwrap();
        assert_eq!(pattern.matches(name), expected, "{pattern:?} {name}");
    }

    #[test]
    fn the_whole_name_must_match() {
        check("ada", "ada", true);
        check("ada", "adam", false);
        check("ada", "xada", false);
        check("a|b", "b", true);
        check("a|b", "ab", false);
        check("s[0-9]{6}", "s123456", true);
        check("s[0-9]{6}", "s123456\n", false);
        check(r"\w+@example\.org", "jürgen@example.org", true);
        check("(?i)ADA", "ada", true);
        // Anchors and flags of one pattern do not reach beyond it.
        check("^a$|^b$", "b", true);
        check("(?m)^a$", "a\nb", false);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let error = |text: &str| NamePattern::parse(text).unwrap_err();
        assert_eq!(
            error("s[0-9").to_string(),
            "unclosed character class, at character 2"
        );
        assert!(matches!(
            error("a)(b"),
            PatternError::Syntax { position: 2, .. }
        ));
        assert!(matches!(
            error(r"\p{Nonsense}"),
            PatternError::Syntax { .. }
        ));
        assert_eq!(error("(a{1000}){1000}"), PatternError::TooLarge);
        assert_eq!(error(""), PatternError::Empty);
    }
}
