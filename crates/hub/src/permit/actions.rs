//! Everything that can be done and needs a permission: one type for each, with the scopes of which one is needed.
//!
//! The scopes are those of JupyterHub 6 (`apihandlers`, the decorators `needs_scope`). Whatever walks the
//! endpoints reads them from here, too, so that table, checks and documents cannot differ.

use std::fmt;

use lyceum_core::scope::Scope;

/// On what something is done; the filters of the caller's scopes are compared with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum On {
    /// On the hub as a whole: a scope with a filter is not enough.
    Hub,
    /// On a list, which shows what the filters allow.
    List,
    /// On a user.
    User,
    /// On a user's server.
    Server,
    /// On a group.
    Group,
    /// On a service.
    Service,
}

/// Something that can be done.
pub trait Action: fmt::Debug + Send + Sync + 'static {
    /// The scopes of which one is needed.
    const SCOPES: &'static [Scope];
    /// On what it is done.
    const ON: On;
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident on $on:ident = [$($scope:ident),+];)+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl Action for $name {
            const SCOPES: &'static [Scope] = &[$(Scope::$scope),+];
            const ON: On = On::$on;
        }
    )+};
}

actions! {
    /// To read what the hub is made of.
    ReadHub on Hub = [ReadHub];
    /// To read the routes, have them checked, or move to another proxy.
    ManageProxy on Hub = [Proxy];
    /// To end the hub.
    ShutDown on Hub = [Shutdown];
    /// To open the page for administrators.
    OpenAdminPage on Hub = [AdminUi];
    /// To create several users.
    CreateUsers on Hub = [AdminUsers];
    /// To create several groups.
    CreateGroups on Hub = [AdminGroups];

    /// To list users.
    ListUsers on List = [ListUsers];
    /// To list groups.
    ListGroups on List = [ListGroups];
    /// To list services.
    ListServices on List = [ListServices];
    /// To read the metrics; a filter of the scope plays no part.
    ReadMetrics on List = [ReadMetrics];

    /// To see a user, as far as the caller may.
    ReadUser on User = [ReadUsers, ReadUsersName, ReadServers, ReadUsersGroups, ReadUsersActivity, ReadRolesUsers];
    /// To create a user of this name, or to change one.
    ManageUser on User = [AdminUsers];
    /// To see and to set what the login method keeps for a user.
    ManageAuthState on User = [AdminAuthState];
    /// To delete a user with everything that belongs to them.
    DeleteUser on User = [DeleteUsers];
    /// To report that a user, or a server, was active.
    ReportActivity on User = [UsersActivity];
    /// To manage all servers of a user.
    ManageServers on User = [Servers];
    /// To see a user's tokens, not their secrets.
    ReadTokens on User = [ReadTokens];
    /// To make and revoke a user's tokens.
    ManageTokens on User = [Tokens];
    /// To see with whom a user's servers are shared.
    ListShares on User = [ReadShares];
    /// To share something with a user by name.
    ShareWithUser on User = [ReadUsersName];
    /// To see what is shared with a user.
    ReadUserShares on User = [ReadUsersShares];
    /// To give up what is shared with a user.
    ManageUserShares on User = [UsersShares];

    /// To see a server.
    ReadServer on Server = [ReadServers];
    /// To start a server, create it, or change it.
    StartServer on Server = [StartServers];
    /// To stop or delete a server.
    StopServer on Server = [DeleteServers];
    /// To start and stop a server on its pages.
    ManageServer on Server = [Servers];
    /// To use a server.
    AccessServer on Server = [AccessServers];
    /// To see with whom a server is shared.
    ReadShares on Server = [ReadShares];
    /// To share a server, and to end that.
    ManageShares on Server = [Shares];

    /// To see a group, as far as the caller may.
    ReadGroup on Group = [ReadGroups, ReadGroupsName, ReadRolesGroups];
    /// To create a group of this name.
    CreateGroup on Group = [AdminGroups];
    /// To change who is in a group, and its properties.
    ManageGroup on Group = [Groups];
    /// To delete a group.
    DeleteGroup on Group = [DeleteGroups];
    /// To share something with a group by name.
    ShareWithGroup on Group = [ReadGroupsName];
    /// To see what is shared with a group.
    ReadGroupShares on Group = [ReadGroupsShares];
    /// To give up what is shared with a group.
    ManageGroupShares on Group = [GroupsShares];

    /// To see a service, as far as the caller may.
    ReadService on Service = [ReadServices, ReadServicesName, ReadRolesServices];
    /// To create a service of this name, or to delete one.
    ManageService on Service = [AdminServices];
}
