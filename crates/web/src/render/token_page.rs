//! The page of a user's tokens: what its template needs.

use jiff::Timestamp;
use serde::Serialize;

use super::oauth_scopes::ScopeLine;
use super::pages::Page;

/// The user's tokens, the applications that they let in, and a form for a new token: fields `note`, `lifetime`,
/// `scopes` and `_xsrf`. What is revoked is posted as `id`.
#[derive(Debug, Clone, Serialize)]
pub struct TokenPage {
    /// The XSRF token of all forms.
    pub xsrf: String,
    /// Where the form for a new token is posted to.
    pub create_action: String,
    /// Where the forms that revoke are posted to.
    pub revoke_action: String,
    /// A token that was just made; its secret is shown this once.
    pub made: Option<MadeToken>,
    /// Why none was made, a sentence in English.
    pub problem: Option<String>,
    /// Whether the user may make and revoke tokens.
    pub may_manage: bool,
    /// What was typed as note.
    pub note: String,
    /// What was typed as scopes.
    pub scopes: String,
    /// How long a token may last; one is chosen.
    pub lifetimes: Vec<Lifetime>,
    /// What the user may give a token.
    pub available: Vec<ScopeLine>,
    /// The user's own tokens, the last used first.
    pub tokens: Vec<TokenLine>,
    /// The applications with tokens of the user's, the last used first.
    pub applications: Vec<ApplicationLine>,
}

impl Page for TokenPage {
    const TEMPLATE: &'static str = "token.html";
}

/// A token that was just made.
#[derive(Clone, Serialize)]
pub struct MadeToken {
    /// The text to copy.
    pub secret: String,
    /// What it is for.
    pub note: String,
    /// When it ends.
    pub expires: Option<Timestamp>,
}

impl std::fmt::Debug for MadeToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MadeToken")
            .field("note", &self.note)
            .finish_non_exhaustive()
    }
}

/// How long a token may last.
#[derive(Debug, Clone, Serialize)]
pub struct Lifetime {
    /// The field's value: seconds, or empty for as long as possible.
    pub value: String,
    /// In words.
    pub kind: LifetimeKind,
    /// How many hours or days, where the words want it.
    pub count: String,
    /// Whether it is chosen.
    pub chosen: bool,
}

/// A lifetime in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LifetimeKind {
    /// One hour.
    Hour,
    /// One day.
    Day,
    /// One week.
    Week,
    /// Thirty days.
    Month,
    /// One year.
    Year,
    /// For ever.
    Never,
    /// The most that is allowed, in hours.
    MostHours,
    /// The most that is allowed, in days.
    MostDays,
}

/// A token of the user's.
#[derive(Debug, Clone, Serialize)]
pub struct TokenLine {
    /// The id.
    pub id: String,
    /// What it is for.
    pub note: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last used.
    pub last_activity: Option<Timestamp>,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// Whether it may do all that its owner may.
    pub may_all: bool,
    /// What it may do, as it was asked for.
    pub scopes: Vec<ScopeLine>,
}

/// An application with tokens of the user's.
#[derive(Debug, Clone, Serialize)]
pub struct ApplicationLine {
    /// The id of one of its tokens; revoking that revokes all.
    pub id: String,
    /// What it calls itself.
    pub name: String,
    /// When its first token was made.
    pub created: Timestamp,
    /// When one was last used.
    pub last_activity: Option<Timestamp>,
    /// What it may do in the user's name.
    pub scopes: Vec<ScopeLine>,
}
