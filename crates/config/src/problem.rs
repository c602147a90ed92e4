//! What is wrong with a configuration, and how it is shown: file, line, a pointer at the text, and what helps.

use std::fmt;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::load::Loaded;
use crate::source::{Origin, Place, SourceKind, Sources};

/// How many problems are shown; nobody reads more, and each shows a part of the text.
const MAX_SHOWN: usize = 100;

/// How grave a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can be used, but it is probably not what was meant.
    Warning,
}

/// One thing that is wrong, with the place where it is written.
#[derive(Debug, Clone)]
pub struct Problem {
    severity: Severity,
    title: String,
    marks: Vec<Mark>,
    notes: Vec<String>,
    helps: Vec<String>,
    only_serving: bool,
    sources: Option<Arc<Sources>>,
}

/// A pointer at a text; the first one of a problem is where the problem is.
#[derive(Debug, Clone)]
struct Mark {
    at: Place,
    label: String,
}

impl Problem {
    pub(crate) fn error(title: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            title: title.into(),
            marks: Vec::new(),
            notes: Vec::new(),
            helps: Vec::new(),
            only_serving: false,
            sources: None,
        }
    }

    pub(crate) fn warning(title: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(title)
        }
    }

    pub(crate) fn mark(mut self, at: &Place, label: impl Into<String>) -> Self {
        self.marks.push(Mark {
            at: at.clone(),
            label: label.into(),
        });
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.helps.push(help.into());
        self
    }

    /// Makes it one of serving alone: something is not there yet that nothing else needs.
    pub(crate) fn only_serving(mut self) -> Self {
        self.only_serving = true;
        self
    }

    /// Adds a help if there is one.
    pub(crate) fn maybe_help(self, help: Option<String>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }

    pub(crate) fn place(&self) -> Option<&Place> {
        self.marks.first().map(|mark| &mark.at)
    }

    /// How grave it is.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// What is wrong, in one line.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Where it is written: a file with its line, a variable, a flag; `None` if it stands nowhere.
    pub fn origin(&self) -> Option<Origin> {
        let place = self.place()?;
        Some(self.sources.as_ref()?.origin(place))
    }

    /// Line and column in the file, both counted from 1.
    pub fn line_and_column(&self) -> Option<(usize, usize)> {
        let place = self.place()?;
        let sources = self.sources.as_ref()?;
        matches!(sources.get(place.source)?.kind, SourceKind::File(_))
            .then(|| sources.line_and_column(place))
    }

    /// Shows it as the compiler shows its errors; `styled` with colours, for a terminal.
    pub fn render(&self, styled: bool) -> String {
        let renderer = if styled {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = level.primary_title(&*self.title).elements(self.snippets());
        for note in &self.notes {
            group = group.element(Level::NOTE.message(&**note));
        }
        for help in &self.helps {
            group = group.element(Level::HELP.message(&**help));
        }
        let report: [Group<'_>; 1] = [group];
        renderer.render(&report)
    }

    /// The texts that the marks point at, one snippet for each source.
    fn snippets(&self) -> Vec<Snippet<'_, annotate_snippets::Annotation<'_>>> {
        let Some(sources) = &self.sources else {
            return Vec::new();
        };
        let mut done = Vec::new();
        let mut snippets = Vec::new();
        for mark in &self.marks {
            let number = mark.at.source;
            if done.contains(&number) {
                continue;
            }
            done.push(number);
            let Some(source) = sources.get(number) else {
                continue;
            };
            let mut snippet = Snippet::source(source.text.as_str());
            snippet = match &source.kind {
                SourceKind::File(path) => snippet.path(display_path(path)),
                _ => snippet.line_numbering(false),
            };
            for mark in self.marks.iter().filter(|mark| mark.at.source == number) {
                let is_first = self.place() == Some(&mark.at);
                let kind = if is_first {
                    AnnotationKind::Primary
                } else {
                    AnnotationKind::Context
                };
                let label = (!mark.label.is_empty()).then_some(mark.label.as_str());
                snippet =
                    snippet.annotation(kind.span(within(&source.text, &mark.at.span)).label(label));
            }
            snippets.push(snippet);
        }
        snippets
    }

    fn rank(&self) -> (Severity, usize, usize) {
        let (source, start) = self
            .place()
            .map_or((0, 0), |place| (place.source, place.span.start));
        (self.severity, source, start)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

fn display_path(path: &Path) -> String {
    path.display().to_string()
}

/// Keeps a span inside the text and on the borders of characters.
fn within(text: &str, span: &std::ops::Range<usize>) -> std::ops::Range<usize> {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.ceil_char_boundary(span.end.clamp(start, text.len()));
    start..end
}

/// Collects what is wrong during a load.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Problem>);

impl Report {
    pub(crate) fn add(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    pub(crate) fn problems(&self) -> &[Problem] {
        &self.0
    }

    /// Ends the collection: errors first, each in the order of the text.
    pub(crate) fn finish(self, sources: &Arc<Sources>) -> (Vec<Problem>, Vec<Problem>) {
        let mut problems = self.0;
        for problem in &mut problems {
            problem.sources = Some(Arc::clone(sources));
        }
        problems.sort_by_key(Problem::rank);
        problems
            .into_iter()
            .partition(|problem| problem.severity == Severity::Error)
    }
}

/// Everything that is wrong with a configuration; never empty. `Display` shows it all, without colours.
#[derive(Debug, Clone)]
pub struct ConfigErrors {
    pub(crate) errors: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
    pub(crate) readable: Option<Box<Loaded>>,
}

impl std::error::Error for ConfigErrors {}

impl ConfigErrors {
    /// What makes the configuration unusable, in the order of the text.
    pub fn errors(&self) -> &[Problem] {
        &self.errors
    }

    /// What else is worth a look.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// What could be read, with defaults in place of what could not: to show and explain it, never to run with it.
    pub fn readable(&self) -> Option<&Loaded> {
        self.readable.as_deref()
    }

    /// What was read, if all that is wrong is that something is not there yet which only serving needs, such as a way to
    /// log in: commands that prepare a machine run with it.
    pub fn before_serving(self) -> Result<Loaded, Self> {
        match self.readable {
            Some(loaded) if self.errors.iter().all(|error| error.only_serving) => Ok(*loaded),
            readable => {
                let mut errors = self.errors;
                // Beside what is wrong, what only serving needs would lead astray.
                if errors.iter().any(|error| !error.only_serving) {
                    errors.retain(|error| !error.only_serving);
                }
                Err(Self {
                    readable,
                    errors,
                    warnings: self.warnings,
                })
            }
        }
    }

    /// Shows everything, and how much it is; `styled` with colours, for a terminal.
    pub fn render(&self, styled: bool) -> String {
        let mut text = String::new();
        for problem in self.errors.iter().chain(&self.warnings).take(MAX_SHOWN) {
            text.push_str(&problem.render(styled));
            text.push_str("\n\n");
        }
        let left_out = (self.errors.len() + self.warnings.len()).saturating_sub(MAX_SHOWN);
        if left_out > 0 {
            let _ = write!(text, "… and {left_out} more\n\n");
        }
        text.push_str(&count(self.errors.len(), "error"));
        if !self.warnings.is_empty() {
            text.push_str(" and ");
            text.push_str(&count(self.warnings.len(), "warning"));
        }
        text.push_str(" in the configuration");
        text
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

fn count(number: usize, thing: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{end}")
}
