//! Pages as HTML: one typed context for each page, the templates, the translations, the static files.
//!
//! A [`Renderer`] is built once from the configuration. A handler fills the struct of its page (in
//! [`pages`]) and calls [`Renderer::render`] with it and with a [`Visit`]: who looks, and in which language.

mod admin_pages;
mod assets;
mod catalog;
mod engine;
mod language;
mod oauth_scopes;
mod pages;
mod site;
mod token_page;
mod usage;

pub use admin_pages::{
    AdminGroupPage, AdminGroupsPage, AdminServer, AdminUser, AdminUserPage, AdminUsersPage,
    GroupLink, Heading, Member, Order, Part,
};
pub use assets::{Asset, asset, asset_url};
pub use engine::{RenderError, Renderer};
pub use language::Language;
pub use oauth_scopes::{Reach, ScopeLine};
pub use pages::{
    AcceptSharePage, ConfirmPage, ErrorPage, FailedPage, HomePage, LoggedOutPage, LoginPage,
    LoginProblem, MaintenancePage, NewServerForm, NoEntryPage, NoEntryReason, NotRunningPage, Page,
    ProgressPage, ServerCard, ServerEdit, ServerState, ServiceLink, SpawnPage, StopNotice,
    StoppingPage, UnreachablePage,
};
pub use site::{Announcement, AnnouncementLevel, Branding, Link, Notice, Options, Viewer, Visit};
pub use token_page::{ApplicationLine, Lifetime, LifetimeKind, MadeToken, TokenLine, TokenPage};
pub use usage::{Meter, ProfileOption, PythonLine, ServerNews, SpaceLine, SpaceState};

/// What the pages need of a browser, and nothing else: scripts, styles and pictures of our own, no framing.
///
/// There is no `form-action` here, since browsers apply it to redirects too, and a login may well end
/// at a service on another host.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests;
