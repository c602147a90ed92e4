//! What an import did, or would do, item by item.

use std::collections::BTreeMap;

use serde::Serialize;

/// What an import did with everything that it found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Each thing that was found, with what was done with it.
    pub items: Vec<Item>,
    /// What is to be known of the whole.
    pub notes: Vec<String>,
    /// What belongs into `lyceum.toml`; empty if nothing does.
    pub configuration: String,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// Its name, as the other hub has it.
    pub name: String,
    /// What was done with it.
    pub outcome: Outcome,
    /// Details and reasons, for people.
    pub notes: Vec<String>,
}

/// The kinds of things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A user.
    User,
    /// A group.
    Group,
    /// A service.
    Service,
    /// A role.
    Role,
    /// A user's server.
    Server,
    /// An API token.
    Token,
    /// A share of a server.
    Share,
    /// A code for a share.
    ShareCode,
}

/// What was done with a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was not here, and now is.
    Added,
    /// It was here, and something of it was added.
    Changed,
    /// It was here, with all that is to be taken.
    Kept,
    /// It was not taken.
    Skipped,
}

impl Kind {
    /// The word for several of them.
    pub fn plural(self) -> &'static str {
        match self {
            Self::User => "users",
            Self::Group => "groups",
            Self::Service => "services",
            Self::Role => "roles",
            Self::Server => "servers",
            Self::Token => "API tokens",
            Self::Share => "shares",
            Self::ShareCode => "share codes",
        }
    }
}

impl Outcome {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Kept => "kept",
            Self::Skipped => "skipped",
        }
    }
}

impl Item {
    pub(super) fn new(kind: Kind, name: impl Into<String>, outcome: Outcome) -> Self {
        Self {
            kind,
            name: name.into(),
            outcome,
            notes: Vec::new(),
        }
    }

    pub(super) fn skipped(kind: Kind, name: impl Into<String>, reason: impl Into<String>) -> Self {
        let mut item = Self::new(kind, name, Outcome::Skipped);
        item.note(reason);
        item
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Notes something that was added to what may have been here already.
    pub(super) fn change(&mut self, note: impl Into<String>) {
        self.note(note);
        if self.outcome == Outcome::Kept {
            self.outcome = Outcome::Changed;
        }
    }
}

/// How many items of one kind there are of each outcome.
pub type Totals = BTreeMap<Outcome, usize>;

impl Report {
    pub(super) fn add(&mut self, item: Item) {
        self.items.push(item);
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The number of things that were added or changed.
    pub fn changes(&self) -> usize {
        let changed = |item: &&Item| matches!(item.outcome, Outcome::Added | Outcome::Changed);
        self.items.iter().filter(changed).count()
    }

    /// How many items there are of each kind and outcome.
    pub fn totals(&self) -> BTreeMap<Kind, Totals> {
        let mut totals: BTreeMap<Kind, Totals> = BTreeMap::new();
        for item in &self.items {
            *totals
                .entry(item.kind)
                .or_default()
                .entry(item.outcome)
                .or_default() += 1;
        }
        totals
    }
}
