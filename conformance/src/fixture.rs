//! What both hubs are configured with: people, services, roles and groups that cases count on.

/// The user who is an administrator.
pub(crate) const ADMIN_USER: &str = "boss";
/// The service that may do everything; its token is the admin token.
pub(crate) const ADMIN_SERVICE: &str = "conformance";
/// A service without any role.
pub(crate) const OUTSIDER: &str = "outsider";
pub(crate) const OUTSIDER_TOKEN: &str = "outsider-token-0123456789";
/// A service with the scopes of an idle culler (the role `watcher`).
pub(crate) const WATCHER: &str = "watcher";
pub(crate) const WATCHER_TOKEN: &str = "watcher-token-0123456789";
/// A service that manages the students alone (the role `tutor`).
pub(crate) const TUTOR: &str = "tutor";
pub(crate) const TUTOR_TOKEN: &str = "tutor-token-0123456789";
/// A service whose users confirm what it may do.
pub(crate) const APP: &str = "app";
pub(crate) const APP_TOKEN: &str = "app-token-0123456789";
pub(crate) const APP_CLIENT: &str = "service-app";
pub(crate) const APP_REDIRECT: &str = "http://127.0.0.1:9/app/oauth_callback";
/// What the service may ask for.
pub(crate) const APP_SCOPES: &[&str] = &["read:users!user", "custom:lab:read", "custom:lab:write"];
/// A service whose users are asked nothing.
pub(crate) const TRUSTED_TOKEN: &str = "trusted-token-0123456789";
pub(crate) const TRUSTED_CLIENT: &str = "service-trusted";
pub(crate) const TRUSTED_REDIRECT: &str = "/services/trusted/oauth_callback";
/// A service behind the proxy, which answers with what it was asked.
pub(crate) const WEB: &str = "web";
pub(crate) const WEB_TOKEN: &str = "web-token-0123456789abc";

/// Its members may use the two services, and hold `custom:lab:read` and `custom:lab:write`.
pub(crate) const APP_USERS: &str = "app-users";
/// Its members may share their servers, and read the names of users and groups.
pub(crate) const SHARERS: &str = "sharers";
/// The group that `tutor` manages; it has properties.
pub(crate) const STUDENTS: &str = "students";
/// Its members may list users, and read those in `students`.
pub(crate) const GRADERS: &str = "graders";
/// Its members may make services.
pub(crate) const SERVICE_MAKERS: &str = "service-makers";

/// All groups of the configuration.
pub(crate) const GROUPS: &[&str] = &[APP_USERS, SHARERS, STUDENTS, GRADERS, SERVICE_MAKERS];

/// What the profile `strict` asks before a start.
pub(crate) const OPTIONS_FORM: &str = r#"<label>Size <input name="size" value="small"></label>"#;

/// A role: its name, scopes, and the services and groups that have it.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) name: &'static str,
    pub(crate) scopes: &'static [&'static str],
    pub(crate) services: &'static [&'static str],
    pub(crate) groups: &'static [&'static str],
}

/// The roles besides `admin`, which `ADMIN_SERVICE` has.
pub(crate) const ROLES: &[Role] = &[
    Role {
        name: "watcher",
        scopes: &[
            "list:users",
            "read:users:activity",
            "read:servers",
            "delete:servers",
        ],
        services: &[WATCHER],
        groups: &[],
    },
    Role {
        name: "tutor",
        scopes: &[
            "admin:users!group=students",
            "servers!group=students",
            "groups!group=students",
            "list:users!group=students",
        ],
        services: &[TUTOR],
        groups: &[],
    },
    Role {
        name: "app-users",
        scopes: &[
            "access:services!service=app",
            "access:services!service=trusted",
            "custom:lab:write",
        ],
        services: &[],
        groups: &[APP_USERS],
    },
    Role {
        name: "sharers",
        scopes: &["shares!user", "read:users:name", "read:groups:name"],
        services: &[],
        groups: &[SHARERS],
    },
    Role {
        name: "graders",
        scopes: &[
            "list:users",
            "read:users!group=students",
            "read:servers!group=students",
        ],
        services: &[],
        groups: &[GRADERS],
    },
    Role {
        name: "service-makers",
        scopes: &["admin:services"],
        services: &[],
        groups: &[SERVICE_MAKERS],
    },
];

/// Custom scopes: name, description, subscopes.
pub(crate) const CUSTOM_SCOPES: &[(&str, &str, &[&str])] = &[
    ("custom:lab:read", "Read the laboratory's books", &[]),
    (
        "custom:lab:write",
        "Write into the laboratory's books",
        &["custom:lab:read"],
    ),
    ("custom:unused", "What nobody holds", &[]),
];

/// The properties of the group `students`.
pub(crate) fn students_properties() -> serde_json::Value {
    serde_json::json!({"term": "winter", "size": 30})
}
