//! Contexts for the pages for administrators.

use jiff::Timestamp;

use super::samples::{Sample, sample};
use crate::render::{
    AdminGroupPage, AdminGroupsPage, AdminServer, AdminUser, AdminUserPage, AdminUsersPage,
    GroupLink, Heading, Member, Meter, Order, Part, PythonLine, ServerState,
};

fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

fn server(user: &str, name: &str, state: ServerState) -> AdminServer {
    AdminServer {
        user: user.to_owned(),
        name: name.to_owned(),
        state,
        failed: name == "broken",
        open_url: Some(format!("/user/ada/{name}")),
        progress_url: format!("/hub/spawn-pending/ada/{name}"),
        api_url: "/hub/api/users/ada/server".to_owned(),
        last_activity: time("2026-11-23T18:04:05Z"),
        profile: (name == "lab").then(|| "For rats & mice".to_owned()),
        python: matches!(state, ServerState::Running).then(|| PythonLine {
            title: "Rats & mice".to_owned(),
            generation: 3,
            next: name.is_empty().then_some(4),
            newer: name.is_empty(),
        }),
        memory: matches!(state, ServerState::Running).then_some(Meter {
            used: 3 << 29,
            limit: name.is_empty().then_some(2 << 30),
            percent: name.is_empty().then_some(75),
            high: false,
        }),
        stops_at: None,
        may_start: true,
        may_stop: true,
    }
}

fn users(text: &str, problem: bool) -> AdminUsersPage {
    let user = |name: &str, admin, servers| AdminUser {
        name: name.to_owned(),
        url: "/hub/admin/users/ada".to_owned(),
        admin,
        last_activity: admin.then(|| time("2026-11-23T18:04:05Z")).flatten(),
        servers,
    };
    AdminUsersPage {
        xsrf: "token".to_owned(),
        here: "/hub/admin?sort=name".to_owned(),
        create_action: "/hub/admin".to_owned(),
        server_action: "/hub/admin/server".to_owned(),
        may_create: true,
        typed: text.to_owned(),
        problem: problem.then(|| format!("{text} cannot be a user name.")),
        name_filter: text.to_owned(),
        state: "active".to_owned(),
        sort: "name".to_owned(),
        headings: vec![
            Heading {
                column: "name",
                url: "/hub/admin?sort=-name".to_owned(),
                order: Some(Order::Ascending),
            },
            Heading {
                column: "last_activity",
                url: "/hub/admin?sort=-last_activity".to_owned(),
                order: None,
            },
        ],
        users: Some(vec![
            user(
                text,
                true,
                vec![
                    server(text, "", ServerState::Running),
                    server(text, "lab", ServerState::Starting),
                    server(text, "broken", ServerState::Stopped),
                ],
            ),
            user("bob", false, vec![server("bob", "", ServerState::Stopping)]),
            user("eve", false, vec![server("eve", "", ServerState::Checking)]),
        ]),
        part: Part {
            first: 51,
            last: 53,
            total: 120,
            previous: Some("/hub/admin?sort=name".to_owned()),
            next: Some("/hub/admin?sort=name&offset=100".to_owned()),
        },
        changing: true,
    }
}

fn user(text: &str, admin: bool) -> AdminUserPage {
    AdminUserPage {
        xsrf: "token".to_owned(),
        here: "/hub/admin/users/ada".to_owned(),
        server_action: "/hub/admin/server".to_owned(),
        name: text.to_owned(),
        admin,
        created: time("2026-09-01T08:00:00Z"),
        last_activity: None,
        groups: ["class", text]
            .map(|name| GroupLink {
                name: name.to_owned(),
                url: "/hub/admin/groups/class".to_owned(),
                members: None,
            })
            .to_vec(),
        roles: vec!["user".to_owned()],
        servers: vec![server(text, "", ServerState::Stopped)],
        may_change: true,
        may_change_admin: true,
        may_delete: true,
        typed: text.to_owned(),
        problem: admin.then(|| format!("There is a user {text} already.")),
        changing: false,
    }
}

fn groups(text: &str) -> AdminGroupsPage {
    AdminGroupsPage {
        xsrf: "token".to_owned(),
        create_action: "/hub/admin/groups".to_owned(),
        may_create: true,
        typed: text.to_owned(),
        problem: Some(format!("There is a group {text} already.")),
        groups: Some(vec![GroupLink {
            name: text.to_owned(),
            url: "/hub/admin/groups/class".to_owned(),
            members: Some(3),
        }]),
        part: Part {
            first: 1,
            last: 1,
            total: 1,
            ..Part::default()
        },
    }
}

fn group(text: &str, may_change: bool) -> AdminGroupPage {
    AdminGroupPage {
        xsrf: "token".to_owned(),
        here: "/hub/admin/groups/class".to_owned(),
        name: text.to_owned(),
        roles: vec!["reader".to_owned()],
        members: vec![Member {
            name: text.to_owned(),
            url: "/hub/admin/users/ada".to_owned(),
        }],
        properties: format!("{{\"note\": \"{text}\"}}"),
        typed: text.to_owned(),
        may_read: true,
        may_change,
        may_delete: may_change,
        problem: may_change.then(|| format!("There is no user {text}.")),
    }
}

pub(super) fn all() -> Vec<Sample> {
    let root = Some("root");
    vec![
        sample("admin-users", root, users("ada", false)),
        sample("admin-users-problem", root, users("a/b", true)),
        sample(
            "admin-users-none",
            root,
            AdminUsersPage {
                users: Some(Vec::new()),
                part: Part::default(),
                changing: false,
                ..users("", false)
            },
        ),
        sample(
            "admin-users-denied",
            root,
            AdminUsersPage {
                users: None,
                may_create: false,
                part: Part::default(),
                changing: false,
                ..users("", false)
            },
        ),
        sample("admin-user", root, user("ada", false)),
        sample("admin-user-admin", root, user("ada", true)),
        sample("admin-groups", root, groups("class")),
        sample(
            "admin-groups-none",
            root,
            AdminGroupsPage {
                groups: Some(Vec::new()),
                problem: None,
                ..groups("")
            },
        ),
        sample("admin-group", root, group("class", true)),
        sample("admin-group-reader", root, group("class", false)),
    ]
}

pub(super) fn hostile(text: &'static str) -> Vec<Sample> {
    vec![
        sample("admin-users", Some(text), users(text, true)),
        sample("admin-user", Some(text), user(text, true)),
        sample("admin-groups", Some(text), groups(text)),
        sample("admin-group", Some(text), group(text, true)),
        sample("admin-group-reader", Some(text), group(text, false)),
    ]
}
