//! The pages: for each, what its template needs, and nothing more.
//!
//! URLs in here are paths on this site (or, where said, absolute); the handlers have checked them.

use jiff::Timestamp;
use lyceum_core::lifecycle::{Failure, Pending, State};
use serde::Serialize;

use super::oauth_scopes::ScopeLine;
use super::usage::{Meter, ProfileOption, PythonLine, ServerNews, SpaceLine};

/// A page that can be rendered.
pub trait Page: Serialize {
    /// The name of its template.
    const TEMPLATE: &'static str;

    /// A template that is used instead if the administrator has one of this name.
    fn special_template(&self) -> Option<String> {
        None
    }
}

macro_rules! pages {
    ($($page:ty => $template:literal,)*) => {
        $(impl Page for $page {
            const TEMPLATE: &'static str = $template;
        })*
    };
}

pages! {
    LoginPage => "login.html",
    LoggedOutPage => "logged-out.html",
    HomePage => "home.html",
    SpawnPage => "spawn.html",
    ProgressPage => "progress.html",
    StoppingPage => "stopping.html",
    FailedPage => "failed.html",
    NotRunningPage => "not-running.html",
    UnreachablePage => "unreachable.html",
    ConfirmPage => "confirm.html",
    AcceptSharePage => "accept-share.html",
    NoEntryPage => "no-entry.html",
    MaintenancePage => "maintenance.html",
}

/// The form to log in with: fields `username`, `password`, `next`, `_xsrf`.
#[derive(Debug, Clone, Serialize)]
pub struct LoginPage {
    /// Where the form is posted to.
    pub action: String,
    /// Where to go after the login, or empty.
    pub next: String,
    /// The XSRF token.
    pub xsrf: String,
    /// The user name to begin with, or empty.
    pub username: String,
    /// Why the form is shown again.
    pub problem: Option<LoginProblem>,
    /// With [`LoginProblem::TooMany`]: after how many seconds another try is looked at.
    pub wait_seconds: u64,
}

/// Why somebody is not logged in yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoginProblem {
    /// User name and password do not belong together; also what is said of unknown names.
    Credentials,
    /// What was typed can be nobody's name.
    Name,
    /// The form was too old or came from elsewhere (XSRF); nothing was tried.
    StaleForm,
    /// What checks passwords does not answer.
    Unavailable,
    /// The person is known, but may not use this hub.
    NotAllowed,
    /// The password is right, but has to be changed elsewhere first.
    PasswordExpired,
    /// The password is right, but the account has expired, is locked, or is closed at this hour.
    AccountClosed,
    /// Too many wrong passwords; wait. What was typed was not looked at.
    TooMany,
}

/// Shown after a logout where the login page would log in again by itself.
#[derive(Debug, Clone, Serialize)]
pub struct LoggedOutPage {
    /// Where to log in again.
    pub login_url: String,
}

/// The user's own page: their servers.
#[derive(Debug, Clone, Serialize)]
pub struct HomePage {
    /// The XSRF token of its forms.
    pub xsrf: String,
    /// The default server.
    pub server: ServerCard,
    /// The named servers, sorted.
    pub named: Vec<ServerCard>,
    /// How another one is made, if there may be named servers.
    pub new_server: Option<NewServerForm>,
    /// The services that the user may open.
    pub services: Vec<ServiceLink>,
    /// The space of the user's home, if that is known.
    pub space: Option<SpaceLine>,
}

/// A service on the home page.
#[derive(Debug, Clone, Serialize)]
pub struct ServiceLink {
    /// Its name.
    pub name: String,
    /// Where its pages are.
    pub url: String,
}

/// The form that makes a named server and starts it: fields `title` and `_xsrf`.
#[derive(Debug, Clone, Serialize)]
pub struct NewServerForm {
    /// Where it is posted to.
    pub action: String,
    /// How many there may be; 0 for any number.
    pub limit: u32,
    /// There are as many already.
    pub full: bool,
}

/// The forms that change a named server: `title` and `_xsrf` for another name, `_xsrf` to delete it.
#[derive(Debug, Clone, Serialize)]
pub struct ServerEdit {
    /// Where the form with the name is posted to.
    pub rename_action: String,
    /// Where the form that deletes it is posted to.
    pub delete_action: String,
}

/// A server on the home page. Start and stop are POST forms with the field `_xsrf`.
#[derive(Debug, Clone, Serialize)]
pub struct ServerCard {
    /// The server's name; empty for the default server.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// How it is renamed and deleted, if it has a name.
    pub edit: Option<ServerEdit>,
    /// What it is doing.
    pub state: ServerState,
    /// Where it answers.
    pub open_url: String,
    /// Where its start can be watched.
    pub progress_url: String,
    /// Where the form that starts it is posted to.
    pub start_action: String,
    /// Whether there is something to choose before the start: then that page is looked at first.
    pub asks: bool,
    /// What the profile that was chosen is called.
    pub profile: Option<String>,
    /// The Python environment that it runs from, if it is one of the configuration's.
    pub python: Option<PythonLine>,
    /// Its memory, if it runs and that is known.
    pub memory: Option<Meter>,
    /// What has happened to it, oldest first.
    pub notices: Vec<ServerNews>,
    /// Where the form that stops it is posted to.
    pub stop_action: String,
    /// When it was started, if it runs.
    pub since: Option<Timestamp>,
    /// When it was last used, if ever.
    pub last_activity: Option<Timestamp>,
    /// Why its last start failed, or why it ended.
    pub failure: Option<Failure>,
    /// When it will be stopped, if it is about to be.
    pub stop: Option<StopNotice>,
}

/// A server is about to be stopped.
#[derive(Debug, Clone, Serialize)]
pub struct StopNotice {
    /// When.
    pub at: Timestamp,
    /// Whether because it has run for too long, and not because nobody uses it.
    pub for_age: bool,
    /// Where the form that keeps it running is posted to, with `_xsrf`, if it can be kept.
    pub keep_action: Option<String>,
}

/// What a server is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerState {
    /// It does not run.
    Stopped,
    /// It is being started.
    Starting,
    /// It runs.
    Running,
    /// It runs, and is being looked at after a restart of Lyceum.
    Checking,
    /// It is being stopped.
    Stopping,
}

impl From<&State> for ServerState {
    fn from(state: &State) -> Self {
        match state.pending() {
            Some(Pending::Spawn) => Self::Starting,
            Some(Pending::Stop) => Self::Stopping,
            Some(Pending::Check) => Self::Checking,
            None if state.is_ready() => Self::Running,
            None => Self::Stopped,
        }
    }
}

/// What people choose before their server starts: a profile, and the administrator's fields, in our form.
#[derive(Debug, Clone, Serialize)]
pub struct SpawnPage {
    /// Which server, as in [`ProgressPage`].
    pub subject: Option<String>,
    /// Where the form is posted to.
    pub action: String,
    /// The XSRF token.
    pub xsrf: String,
    /// The profiles to choose among; none if there is no choice.
    pub profiles: Vec<ProfileOption>,
    /// The fields, as HTML that the administrator wrote; empty if there are none.
    pub fields: String,
    /// Why the server was not started with what was chosen.
    pub problem: Option<String>,
}

/// A start that is going on; follows the progress events while it is open.
#[derive(Debug, Clone, Serialize)]
pub struct ProgressPage {
    /// Which server, as `USER` or `USER/SERVER`; `None` for the viewer's own default server.
    pub subject: Option<String>,
    /// The URL of the progress events, with `_xsrf` in its query.
    pub events_url: String,
    /// Where to go when the server is ready.
    pub ready_url: String,
    /// Where the form that cancels the start is posted to.
    pub stop_action: String,
    /// The XSRF token of that form.
    pub xsrf: String,
    /// Seconds since the start was asked for.
    pub elapsed_seconds: u64,
    /// How far it is, 0 to 100.
    pub percent: u8,
    /// What has been said so far, oldest first.
    pub messages: Vec<String>,
}

/// A stop that is going on; the page looks again by itself.
#[derive(Debug, Clone, Serialize)]
pub struct StoppingPage {
    /// Which server, as in [`ProgressPage`].
    pub subject: Option<String>,
    /// Seconds between two looks.
    pub refresh_seconds: u32,
}

/// The last start failed.
#[derive(Debug, Clone, Serialize)]
pub struct FailedPage {
    /// Which server, as in [`ProgressPage`].
    pub subject: Option<String>,
    /// Why; its log lines are shown if there are any.
    pub failure: Failure,
    /// The link that starts it again.
    pub retry_url: String,
    /// The id under which the administrator finds the failure in the log.
    pub request_id: Option<String>,
}

/// The server of the wanted page does not run (424).
#[derive(Debug, Clone, Serialize)]
pub struct NotRunningPage {
    /// Which server, as in [`ProgressPage`].
    pub subject: Option<String>,
    /// The link that starts it and then leads back to the wanted page.
    pub start_url: String,
    /// Why it ended, if not on purpose.
    pub failure: Option<Failure>,
}

/// The server should run, but does not answer (503); the page tries again by itself.
#[derive(Debug, Clone, Serialize)]
pub struct UnreachablePage {
    /// Which server, as in [`ProgressPage`].
    pub subject: Option<String>,
    /// The wanted page, which is tried again.
    pub retry_url: String,
    /// Seconds between two tries.
    pub refresh_seconds: u32,
    /// The id under which the administrator finds the failure in the log.
    pub request_id: Option<String>,
}

/// Asks whether a client may act for the user. Posts `scopes` (one field for each) and `_xsrf`, and, from
/// the button that refuses, `refuse=true`.
#[derive(Debug, Clone, Serialize)]
pub struct ConfirmPage {
    /// Where the form is posted to: the same URL with its query.
    pub action: String,
    /// The XSRF token.
    pub xsrf: String,
    /// What the client calls itself.
    pub client: String,
    /// The host to which the browser goes back.
    pub destination: String,
    /// What would be granted.
    pub scopes: Vec<ScopeLine>,
}

/// Asks whether somebody accepts that a server is shared with them. Posts `code`, `next` and `_xsrf`.
#[derive(Debug, Clone, Serialize)]
pub struct AcceptSharePage {
    /// Where the form is posted to.
    pub action: String,
    /// The XSRF token.
    pub xsrf: String,
    /// The share code.
    pub code: String,
    /// Where to go afterwards, if it was asked for.
    pub next: Option<String>,
    /// Whose server it is.
    pub owner: String,
    /// Its name; empty for the default server.
    pub server: String,
    /// Whether it is ready now.
    pub ready: bool,
    /// Where the browser goes afterwards: a path.
    pub destination: String,
    /// What would be permitted.
    pub scopes: Vec<ScopeLine>,
}

/// Somebody may not open a service (403).
#[derive(Debug, Clone, Serialize)]
pub struct NoEntryPage {
    /// The service.
    pub service: String,
    /// Why.
    pub reason: NoEntryReason,
    /// The id under which the administrator finds the refusal in the log.
    pub request_id: Option<String>,
}

/// Why somebody may not open a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum NoEntryReason {
    /// They are logged in, but it is for others.
    NotAllowed {
        /// Who they are.
        user: String,
        /// The groups whose members may open it.
        groups: Vec<String>,
    },
    /// The login took too long, or the browser has kept no cookie.
    Stale {
        /// Where to try again.
        retry_url: String,
    },
}

/// Everything, or one service, is closed for a while (503).
#[derive(Debug, Clone, Serialize)]
pub struct MaintenancePage {
    /// The service, if it is only that.
    pub service: Option<String>,
    /// What the administrator says.
    pub message: Option<String>,
    /// When it will be over, if that is known.
    pub until: Option<Timestamp>,
}

/// Something went wrong; a template `STATUS.html` of the administrator's wins over the general one.
#[derive(Debug, Clone, Serialize)]
pub struct ErrorPage {
    /// The HTTP status.
    pub status: u16,
    /// What happened, a sentence for the person, if more is known than the status says.
    pub message: Option<String>,
    /// What they can do, if more is known than the status says.
    pub hint: Option<String>,
    /// The id under which the administrator finds the failure in the log.
    pub request_id: Option<String>,
}

impl Page for ErrorPage {
    const TEMPLATE: &'static str = "error.html";

    fn special_template(&self) -> Option<String> {
        Some(format!("{}.html", self.status))
    }
}
