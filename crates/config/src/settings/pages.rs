//! `[pages]`: how the pages look, and what they say.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the pages look, and what they say.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PagesConfig {
    /// The name of this place, in the head of each page and in the browser's tab.
    #[schemars(example = "Statistics, winter term")]
    pub title: String,

    /// An image for the head of each page, instead of our own: an SVG, PNG, JPEG or WebP file.
    #[schemars(example = "/etc/lyceum/logo.svg", extend("format" = "path"))]
    pub logo: Option<PathBuf>,

    /// A folder with templates of your own for pages, in place of ours of the same names: such as `404.html` or
    /// `error.html` for errors, `maintenance.html`, `no-entry.html`. A template that cannot be used is passed over, and
    /// the log says why. They are read when Lyceum starts.
    #[schemars(example = "/etc/lyceum/templates", extend("format" = "path"))]
    pub templates: Option<PathBuf>,

    /// A sentence above the login form, such as what the user name is. Plain text.
    #[schemars(example = "Your user name is your student number.")]
    pub login_text: Option<String>,

    /// A sentence on top of every page. Plain text.
    #[schemars(example = "Maintenance on Friday from 18:00: please save your work.")]
    pub announcement: Option<String>,

    /// Links in the foot of each page.
    #[schemars(example = [Link { text: "Help".to_owned(), url: "https://example.org/help".to_owned() }])]
    pub links: Vec<Link>,

    /// The languages that the pages speak; the browser's wish decides among them, the first is for all others.
    #[schemars(example = [Language::Cs, Language::En])]
    pub languages: Vec<Language>,
}

impl Default for PagesConfig {
    fn default() -> Self {
        Self {
            title: "Lyceum".to_owned(),
            logo: None,
            templates: None,
            login_text: None,
            announcement: None,
            links: Vec::new(),
            languages: vec![Language::En, Language::Cs, Language::De],
        }
    }
}

/// A link in the foot of the pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// What is shown.
    pub text: String,
    /// Where it leads: a web address (`https://…`, `http://…`, `mailto:…`) or a path that begins with a slash.
    pub url: String,
}

/// A language of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English
    En,
    /// Czech
    Cs,
    /// German
    De,
}

impl Language {
    /// The language's code (BCP 47), such as `en`.
    pub fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Cs => "cs",
            Self::De => "de",
        }
    }
}
