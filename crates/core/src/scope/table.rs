//! The table of all built-in scopes: name, what it contains, and one sentence for people.
//!
//! Custom scopes are not here; they come from the configuration ([`super::Catalogue`]).

use std::fmt;

macro_rules! scopes {
    ($($variant:ident = $name:literal, $description:literal, [$($sub:ident),*];)+) => {
        /// A built-in scope, without a filter.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Scope {
            $(
                #[doc = concat!("`", $name, "`: ", $description)]
                $variant,
            )+
        }

        impl Scope {
            /// All built-in scopes, in the order of the reference page.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The scope's name, as roles and tokens write it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What the scope allows, as a sentence for the confirm page and the reference.
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => $description,)+
                }
            }

            /// The scopes that this one contains directly; they may contain others.
            pub const fn subscopes(self) -> &'static [Self] {
                match self {
                    $(Self::$variant => &[$(Self::$sub),*],)+
                }
            }

            /// Finds a built-in scope by its name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

scopes! {
    NoScope = "(no_scope)", "Know who you are, and nothing more.", [];
    Itself = "self", "Everything that is yours: your account, servers and tokens.", [];
    Inherit = "inherit", "Everything that you may do yourself.", [];
    AdminUi = "admin-ui", "Open the administration page; what can be done there needs other permissions.", [];
    AdminUsers = "admin:users", "Create, change and delete users and see how they logged in. Whoever has this can make themselves administrator.",
        [AdminAuthState, Users, ReadRolesUsers, DeleteUsers];
    AdminAuthState = "admin:auth_state", "Read what the login method has stored about users.", [];
    Users = "users", "Read and change users, but not their servers, tokens or login data.", [ReadUsers, ListUsers, UsersActivity];
    DeleteUsers = "delete:users", "Delete users.", [];
    ListUsers = "list:users", "List the users, by name at least.", [ReadUsersName];
    ReadUsers = "read:users", "Read users' accounts, with the address of a running default server.",
        [ReadUsersName, ReadUsersGroups, ReadUsersActivity];
    ReadUsersName = "read:users:name", "Read users' names.", [];
    ReadUsersGroups = "read:users:groups", "Read which groups users are in.", [];
    ReadUsersActivity = "read:users:activity", "Read when users were last active.", [];
    ReadRoles = "read:roles", "Read who has which role.", [ReadRolesUsers, ReadRolesServices, ReadRolesGroups];
    ReadRolesUsers = "read:roles:users", "Read users' roles.", [];
    ReadRolesServices = "read:roles:services", "Read services' roles.", [];
    ReadRolesGroups = "read:roles:groups", "Read groups' roles.", [];
    UsersActivity = "users:activity", "Report when users were last active.", [ReadUsersActivity];
    AdminServers = "admin:servers", "Start, stop, change and delete users' servers and read their inner state.", [AdminServerState, Servers];
    AdminServerState = "admin:server_state", "Read the inner state of users' servers.", [];
    Servers = "servers", "Start and stop users' servers.", [ReadServers, StartServers, DeleteServers];
    ReadServers = "read:servers", "Read users' names and servers, but not the servers' inner state.", [ReadUsersName];
    StartServers = "start:servers", "Start users' servers and change their settings.", [];
    DeleteServers = "delete:servers", "Stop and delete users' servers.", [];
    Tokens = "tokens", "Read, make and revoke users' tokens.", [ReadTokens];
    ReadTokens = "read:tokens", "Read the list of users' tokens.", [];
    AdminGroups = "admin:groups", "Create, change and delete groups.", [Groups, ReadRolesGroups, DeleteGroups];
    Groups = "groups", "Read groups and change who is in them, which may give people further permissions.", [ReadGroups, ListGroups];
    ListGroups = "list:groups", "List the groups, by name at least.", [ReadGroupsName];
    ReadGroups = "read:groups", "Read groups and their members.", [ReadGroupsName];
    ReadGroupsName = "read:groups:name", "Read groups' names.", [];
    DeleteGroups = "delete:groups", "Delete groups.", [];
    AdminServices = "admin:services", "Create, change and delete services, except those of the configuration.",
        [ListServices, ReadServices, ReadRolesServices];
    ListServices = "list:services", "List the services, by name at least.", [ReadServicesName];
    ReadServices = "read:services", "Read services' settings.", [ReadServicesName];
    ReadServicesName = "read:services:name", "Read services' names.", [];
    ReadHub = "read:hub", "Read details about this hub.", [];
    AccessServers = "access:servers", "Open users' servers and work in them.", [];
    AccessServices = "access:services", "Open services.", [];
    UsersShares = "users:shares", "Read which servers are shared with a user, and give up such shares.", [ReadUsersShares];
    ReadUsersShares = "read:users:shares", "Read which servers are shared with a user.", [];
    GroupsShares = "groups:shares", "Read which servers are shared with a group, and give up such shares.", [ReadGroupsShares];
    ReadGroupsShares = "read:groups:shares", "Read which servers are shared with a group.", [];
    ReadShares = "read:shares", "Read with whom servers are shared.", [];
    Shares = "shares", "Share servers with others, and end it again.", [AccessServers, ReadShares, UsersShares, GroupsShares];
    Proxy = "proxy", "Read the table of routes, and have it checked or moved to another proxy.", [];
    Shutdown = "shutdown", "Shut the hub down.", [];
    ReadMetrics = "read:metrics", "Read the hub's metrics.", [];
}

impl Scope {
    /// What `self` stands for, each with all that it contains and only for the user in question.
    pub const SELF_SCOPES: &[Self] = &[
        Self::ReadUsers,
        Self::UsersActivity,
        Self::UsersShares,
        Self::ReadShares,
        Self::Servers,
        Self::Tokens,
        Self::AccessServers,
    ];

    /// Whether the scope stands for others that depend on its owner (`self`, `inherit`).
    pub const fn is_metascope(self) -> bool {
        matches!(self, Self::Itself | Self::Inherit)
    }

    /// Whether a filter by server makes no sense for this scope, because it is about users
    /// (JupyterHub `scopes._expand_scope`).
    pub fn refuses_server_filter(self) -> bool {
        self.name().starts_with("read:user")
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again_and_no_scope_contains_itself() {
        fn walk(scope: Scope, depth: usize) {
            assert!(depth < 6, "{scope} contains itself");
            for sub in scope.subscopes() {
                walk(*sub, depth + 1);
            }
        }
        for scope in Scope::ALL {
            assert_eq!(Scope::from_name(scope.name()), Some(*scope));
            assert!(scope.description().ends_with('.'), "{scope}");
            walk(*scope, 0);
        }
        assert_eq!(Scope::from_name("all"), None);
    }
}
