//! Why a case fails: one text, made by the checks.

use std::fmt;

/// What a case gives back.
pub(crate) type Done = Result<(), Failure>;

/// What the hub did, and what was expected.
#[derive(Debug, Clone)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self(format!("malformed JSON: {error}"))
    }
}

/// Fails the case with a text unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::failure::Failure::new(format!($($text)+)));
        }
    };
}

/// Fails the case unless two values are equal; the first is what the hub gave.
macro_rules! same {
    ($got:expr, $wanted:expr, $($text:tt)+) => {
        // A match keeps temporaries alive.
        match (&$got, &$wanted) {
            (got, wanted) => {
                if got != wanted {
                    return Err($crate::failure::Failure::new(format!(
                        "{}: {got:?} instead of {wanted:?}",
                        format_args!($($text)+)
                    )));
                }
            }
        }
    };
}

pub(crate) use {ensure, same};
