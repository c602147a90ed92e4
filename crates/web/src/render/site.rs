//! What is on every page: the site's branding from the configuration, and who is looking.

use std::path::PathBuf;

use serde::Serialize;

use super::language::Language;

/// What a [`Renderer`](super::Renderer) is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// The URL path of the hub, with slashes at both ends: `/hub/`.
    pub base_url: String,
    /// Lyceum's version, shown small at the bottom.
    pub version: String,
    /// The site's own title, texts and links.
    pub branding: Branding,
    /// A folder with the administrator's own templates, which win over the built-in ones of the same name.
    pub override_dir: Option<PathBuf>,
}

/// What an administrator may say on the pages. All texts are plain text.
#[derive(Debug, Clone, Serialize)]
pub struct Branding {
    /// The site's name, in the header and in the window's title.
    pub title: String,
    /// A sentence or two above the login form; a new line begins a new paragraph.
    pub login_text: Option<String>,
    /// Links at the bottom of every page.
    pub links: Vec<Link>,
    /// What everybody should know now, at the top of every page.
    pub announcement: Option<Announcement>,
}

impl Default for Branding {
    fn default() -> Self {
        Self {
            title: "Lyceum".to_owned(),
            login_text: None,
            links: Vec::new(),
            announcement: None,
        }
    }
}

/// A link with its text.
#[derive(Debug, Clone, Serialize)]
pub struct Link {
    /// The text.
    pub title: String,
    /// Where it leads.
    pub url: String,
}

/// A message on every page.
#[derive(Debug, Clone, Serialize)]
pub struct Announcement {
    /// The message.
    pub text: String,
    /// How loud it is.
    pub level: AnnouncementLevel,
}

/// How loud an announcement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AnnouncementLevel {
    /// Good to know.
    Info,
    /// Something will not work as usual.
    Warning,
    /// Something does not work now.
    Alarm,
}

/// Who looks at a page, and how.
#[derive(Debug, Clone, Default)]
pub struct Visit {
    /// Who is logged in.
    pub user: Option<Viewer>,
    /// The language of the page.
    pub language: Language,
    /// Path and query of this page, if it can be asked for again with GET: the choice of languages comes
    /// back here, over `language/CODE?next=…` below the hub. Without it no choice is offered.
    pub here: Option<String>,
    /// What the viewer should know of as an administrator.
    pub notices: Vec<Notice>,
}

/// Something that administrators should know of.
#[derive(Debug, Clone, Serialize)]
pub struct Notice {
    /// How loud it is told.
    pub level: AnnouncementLevel,
    /// What it is; a whole sentence.
    pub text: String,
    /// What to do, or where to look.
    pub hint: String,
}

/// Who is logged in.
#[derive(Debug, Clone, Serialize)]
pub struct Viewer {
    /// The user's name.
    pub name: String,
    /// Whether they may open the pages for administrators.
    pub admin: bool,
}
