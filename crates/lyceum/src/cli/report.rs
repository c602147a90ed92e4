//! How an error is told on the terminal: what failed, why, and what to do next.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use lyceum_gateway::GatewayError;

use super::FAILED;
use crate::wire::Hint;

/// An error on its way to the person at the terminal.
#[derive(Debug)]
pub(crate) struct Report {
    text: String,
    hint: Option<String>,
    code: u8,
}

impl Report {
    /// Tells an error with all its causes.
    pub(crate) fn new(error: &(dyn Error + 'static)) -> Self {
        let mut text = format!("error: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            let _ = write!(text, "\n  caused by: {cause}");
            source = cause.source();
        }
        Self {
            text,
            hint: None,
            code: FAILED,
        }
    }

    /// Tells an error of the wiring: its causes, and the hint that is among them.
    pub(crate) fn of_chain(error: &anyhow::Error) -> Self {
        let hint = error.downcast_ref::<Hint>().map(|hint| hint.0.clone());
        // A hint that was added as context stands on top of the error itself.
        let mut causes = error.chain().skip(usize::from(hint.is_some()));
        let mut text = causes
            .next()
            .map_or_else(|| "error".to_owned(), |first| format!("error: {first}"));
        for cause in causes {
            let _ = write!(text, "\n  caused by: {cause}");
        }
        Self {
            text,
            hint,
            code: FAILED,
        }
    }

    /// Tells why the gateway cannot listen.
    pub(crate) fn of_gateway(error: &GatewayError) -> Self {
        let report = Self::new(error);
        match error.hint() {
            Some(hint) => report.hint(hint),
            None => report,
        }
    }

    /// Tells a text as it is.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            hint: None,
            code: FAILED,
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what a program said, as it said it.
    #[must_use]
    pub(crate) fn detail(mut self, text: &str) -> Self {
        for line in text.lines() {
            let _ = write!(self.text, "\n    | {line}");
        }
        self
    }

    /// Sets the exit code.
    #[must_use]
    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// What failed, without the causes.
    pub(crate) fn first_line(&self) -> String {
        let line = self.text.lines().next().unwrap_or_default();
        line.strip_prefix("error: ").unwrap_or(line).to_owned()
    }

    /// Prints it, and gives the exit code.
    pub(crate) fn print(&self) -> ExitCode {
        let mut terminal = std::io::stderr();
        let _ = writeln!(terminal, "{}", self.text);
        if let Some(hint) = &self.hint {
            let _ = writeln!(terminal, "  hint: {hint}");
        }
        ExitCode::from(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_in_the_chain_is_told_last() {
        let error = anyhow::Error::new(std::io::Error::other("no space"))
            .context(Hint("make space".to_owned()));
        let report = Report::of_chain(&error);
        assert_eq!(report.text, "error: no space");
        assert_eq!(report.hint.as_deref(), Some("make space"));
    }

    #[test]
    fn causes_are_told_below_the_error() {
        let inner = std::io::Error::other("disk on fire");
        let outer = std::io::Error::other(inner);
        let report = Report::new(&outer);
        assert!(
            report.text.starts_with("error: disk on fire"),
            "{}",
            report.text
        );
    }
}
