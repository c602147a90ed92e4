//! The pages for administrators: what their templates need.

use jiff::Timestamp;
use serde::Serialize;

use super::pages::{Page, ServerState};
use super::usage::{Meter, PythonLine};

macro_rules! pages {
    ($($page:ty => $template:literal,)*) => {
        $(impl Page for $page {
            const TEMPLATE: &'static str = $template;
        })*
    };
}

pages! {
    AdminUsersPage => "admin-users.html",
    AdminUserPage => "admin-user.html",
    AdminGroupsPage => "admin-groups.html",
    AdminGroupPage => "admin-group.html",
}

/// The users, with their servers. A form creates more: fields `names`, `admin`, `_xsrf`. Servers are started and
/// stopped by forms with the fields `user`, `server`, `do` and `back`.
#[derive(Debug, Clone, Serialize)]
pub struct AdminUsersPage {
    /// The XSRF token of all forms.
    pub xsrf: String,
    /// This page, as it is asked for now; forms come back to it.
    pub here: String,
    /// Where the form for new users is posted to.
    pub create_action: String,
    /// Where the forms of servers are posted to.
    pub server_action: String,
    /// Whether new users may be created.
    pub may_create: bool,
    /// What was typed as names, if that did not work.
    pub typed: String,
    /// Why something was not done, a sentence in English.
    pub problem: Option<String>,
    /// What the list is limited to.
    pub name_filter: String,
    /// What the list is limited to: `active`, `ready`, `inactive`, or empty.
    pub state: String,
    /// By what it is sorted, as in the API.
    pub sort: String,
    /// The headings that sort.
    pub headings: Vec<Heading>,
    /// The users of this part; `None` if the viewer may not list users.
    pub users: Option<Vec<AdminUser>>,
    /// Which part this is.
    pub part: Part,
    /// Whether something changes by itself soon.
    pub changing: bool,
}

/// The heading of a column.
#[derive(Debug, Clone, Serialize)]
pub struct Heading {
    /// Which: `name` or `last_activity`.
    pub column: &'static str,
    /// The page sorted by it; the other way round if it is sorted by it already.
    pub url: String,
    /// How it is sorted now, if by this.
    pub order: Option<Order>,
}

/// How a list is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The smallest first.
    Ascending,
    /// The largest first.
    Descending,
}

/// A part of a long list.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Part {
    /// The number of its first item, from 1; 0 if there is none.
    pub first: u64,
    /// The number of its last item.
    pub last: u64,
    /// The number of all items.
    pub total: u64,
    /// The part before.
    pub previous: Option<String>,
    /// The part after.
    pub next: Option<String>,
}

/// A user in the list.
#[derive(Debug, Clone, Serialize)]
pub struct AdminUser {
    /// The name.
    pub name: String,
    /// The user's own page among these.
    pub url: String,
    /// Whether they are an administrator.
    pub admin: bool,
    /// When they were last seen, if ever.
    pub last_activity: Option<Timestamp>,
    /// Their servers, the default one first.
    pub servers: Vec<AdminServer>,
}

/// A server of a user, and what the viewer may do with it.
#[derive(Debug, Clone, Serialize)]
pub struct AdminServer {
    /// Whose it is.
    pub user: String,
    /// Its name; empty for the default server.
    pub name: String,
    /// What it is doing.
    pub state: ServerState,
    /// Whether its last start failed.
    pub failed: bool,
    /// Where it answers, if the viewer may use it.
    pub open_url: Option<String>,
    /// Where its start can be watched.
    pub progress_url: String,
    /// The server in the REST API.
    pub api_url: String,
    /// When it was last used, if ever.
    pub last_activity: Option<Timestamp>,
    /// What its profile is called, if it has one.
    pub profile: Option<String>,
    /// The Python environment that it runs from, if it is one of the configuration's.
    pub python: Option<PythonLine>,
    /// Its memory, if it runs and that is known.
    pub memory: Option<Meter>,
    /// When it will be stopped, if it is about to be.
    pub stops_at: Option<Timestamp>,
    /// Whether the viewer may start it.
    pub may_start: bool,
    /// Whether the viewer may stop it.
    pub may_stop: bool,
}

/// A user by themself. Forms with `do`: `rename` (with `name`), `admin`, `no-admin`, `delete` (with `confirm`).
#[derive(Debug, Clone, Serialize)]
pub struct AdminUserPage {
    /// The XSRF token of all forms.
    pub xsrf: String,
    /// This page; forms are posted to it.
    pub here: String,
    /// Where the forms of servers are posted to.
    pub server_action: String,
    /// The name.
    pub name: String,
    /// Whether they are an administrator.
    pub admin: bool,
    /// When they were created, if the viewer may know.
    pub created: Option<Timestamp>,
    /// When they were last seen, if ever and if the viewer may know.
    pub last_activity: Option<Timestamp>,
    /// The groups that they are in.
    pub groups: Vec<GroupLink>,
    /// Their roles.
    pub roles: Vec<String>,
    /// Their servers, the default one first.
    pub servers: Vec<AdminServer>,
    /// Whether the viewer may rename them.
    pub may_change: bool,
    /// Whether the viewer may make them an administrator, or end that.
    pub may_change_admin: bool,
    /// Whether the viewer may delete them.
    pub may_delete: bool,
    /// What was typed as a new name.
    pub typed: String,
    /// Why something was not done, a sentence in English.
    pub problem: Option<String>,
    /// Whether something changes by itself soon.
    pub changing: bool,
}

/// A group, as a link.
#[derive(Debug, Clone, Serialize)]
pub struct GroupLink {
    /// The name.
    pub name: String,
    /// Its page.
    pub url: String,
    /// How many members it has, where that is counted and the viewer may know.
    pub members: Option<usize>,
}

/// The groups. A form creates more: fields `name`, `_xsrf`.
#[derive(Debug, Clone, Serialize)]
pub struct AdminGroupsPage {
    /// The XSRF token of the form.
    pub xsrf: String,
    /// Where the form is posted to.
    pub create_action: String,
    /// Whether new groups may be created.
    pub may_create: bool,
    /// What was typed as name, if that did not work.
    pub typed: String,
    /// Why something was not done, a sentence in English.
    pub problem: Option<String>,
    /// The groups of this part; `None` if the viewer may not list groups.
    pub groups: Option<Vec<GroupLink>>,
    /// Which part this is.
    pub part: Part,
}

/// A group by itself. Forms with `do`: `add` (with `users`), `remove` (with `user`), `properties` (with
/// `properties`), `delete` (with `confirm`).
#[derive(Debug, Clone, Serialize)]
pub struct AdminGroupPage {
    /// The XSRF token of all forms.
    pub xsrf: String,
    /// This page; forms are posted to it.
    pub here: String,
    /// The name.
    pub name: String,
    /// The roles.
    pub roles: Vec<String>,
    /// The members.
    pub members: Vec<Member>,
    /// The properties, as JSON, or what was typed for them.
    pub properties: String,
    /// What was typed as new members.
    pub typed: String,
    /// Whether the viewer may see members and properties.
    pub may_read: bool,
    /// Whether the viewer may change members and properties.
    pub may_change: bool,
    /// Whether the viewer may delete the group.
    pub may_delete: bool,
    /// Why something was not done, a sentence in English.
    pub problem: Option<String>,
}

/// A member of a group.
#[derive(Debug, Clone, Serialize)]
pub struct Member {
    /// The name.
    pub name: String,
    /// The user's page.
    pub url: String,
}
