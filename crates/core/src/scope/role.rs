//! Roles, and what users and tokens may do in the end.

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;

use super::custom::Catalogue;
use super::expand::{ClientOf, Expansion, Owner, access_scope, identify_scopes};
use super::intersect::Membership;
use super::raw::{Filter, RawScope};
use super::set::ScopeSet;
use super::table::Scope;
use crate::names::ServerRef;

/// The name of a role: 3 to 255 of `[a-z0-9-_~.]`, a letter first, a letter or digit last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName(String);

/// A text cannot be the name of a role.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` cannot be the name of a role: write 3 to 255 lowercase letters, digits and `-_~.`, a letter first and a letter or digit last"
)]
pub struct RoleNameError(pub String);

impl RoleName {
    /// Accepts a role's name.
    pub fn parse(name: &str) -> Result<Self, RoleNameError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let good = (3..=255).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.ends_with(plain)
            && name
                .chars()
                .all(|c| plain(c) || matches!(c, '-' | '_' | '~' | '.'));
        if good {
            Ok(Self(name.to_owned()))
        } else {
            Err(RoleNameError(name.to_owned()))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A role that every hub has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultRole {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// Its scopes, as they are stored.
    pub scopes: &'static [&'static str],
}

/// The roles that every hub has: `user`, `admin`, `server` and `token`.
pub const fn default_roles() -> &'static [DefaultRole] {
    const ROLES: &[DefaultRole] = &[
        DefaultRole {
            name: "user",
            description: "What every user may do",
            scopes: &["self"],
        },
        DefaultRole {
            name: "admin",
            description: "Administrators, who may do everything",
            scopes: &[
                "admin-ui",
                "admin:users",
                "admin:servers",
                "admin:services",
                "tokens",
                "admin:groups",
                "list:services",
                "read:services",
                "read:hub",
                "proxy",
                "shutdown",
                "access:services",
                "access:servers",
                "read:roles",
                "read:metrics",
                "shares",
            ],
        },
        DefaultRole {
            name: "server",
            description: "What a user's server may do by itself",
            scopes: &["users:activity!user", "access:servers!server"],
        },
        DefaultRole {
            name: "token",
            description: "Tokens that may do whatever their owner may",
            scopes: &["inherit"],
        },
    ];
    ROLES
}

/// Finds a default role by its name.
pub fn default_role(name: &str) -> Option<&'static DefaultRole> {
    default_roles().iter().find(|role| role.name == name)
}

/// The scopes of shares that somebody has received, as they are stored (each with `!server=OWNER/SERVER`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shares {
    /// Shared with the user.
    pub direct: Vec<RawScope>,
    /// Shared with a group that the user is in.
    pub by_group: Vec<RawScope>,
}

/// What an owner may do in a browser session: its roles', its groups' roles' and its shares' scopes.
pub fn session_scopes<'a>(
    catalogue: &Catalogue,
    owner: Owner<'_>,
    roles: impl IntoIterator<Item = &'a RawScope>,
    shares: &Shares,
) -> ScopeSet {
    let expansion = Expansion::of(owner);
    let mut set = expansion.expand(catalogue, roles);
    set.extend(&expansion.expand(catalogue, shares.direct.iter().chain(&shares.by_group)));
    set
}

/// What an owner may do as far as its tokens are concerned: shares count, but are not expanded, so that a
/// shared `shares` opens nothing (JupyterHub `scopes.get_scopes_for`).
///
/// JupyterHub leaves out what is shared with groups, so that their members get past the hub, but not into the
/// server, which knows them by an OAuth token.
pub fn token_owner_scopes<'a>(
    catalogue: &Catalogue,
    owner: Owner<'_>,
    roles: impl IntoIterator<Item = &'a RawScope>,
    shares: &Shares,
) -> ScopeSet {
    let mut set = Expansion::of(owner).expand(catalogue, roles);
    for scope in shares.direct.iter().chain(&shares.by_group) {
        set.insert(scope.clone());
    }
    set
}

/// What a token may do now: what it was given, as far as its owner may still do it.
///
/// `client` is what the issuing OAuth client belongs to; `None` for tokens that the hub issued itself.
/// `owner_scopes` come from [`token_owner_scopes`].
pub fn token_scopes(
    catalogue: &Catalogue,
    raw: &[RawScope],
    owner: Owner<'_>,
    owner_scopes: &ScopeSet,
    client: Option<ClientOf<'_>>,
    membership: &dyn Membership,
) -> ScopeSet {
    if raw.iter().any(RawScope::is_inherit) {
        return owner_scopes.clone();
    }
    let mut set = Expansion::of(owner).by(client).expand(catalogue, raw);
    if let Some(client) = client {
        set.insert(access_scope(client));
    }
    for scope in identify_scopes(owner) {
        set.insert(scope);
    }
    set.intersect(owner_scopes, membership)
}

/// Cuts requested raw scopes down to held raw scopes, and keeps the short forms where it can: first by
/// text, then by what they expand to (JupyterHub `scopes._resolve_requested_scopes`).
///
/// Returns what is granted and what was asked for but not, or not wholly, granted.
pub fn resolve_requested(
    catalogue: &Catalogue,
    requested: &BTreeSet<RawScope>,
    held: &BTreeSet<RawScope>,
    expansion: Expansion<'_>,
    membership: &dyn Membership,
) -> (BTreeSet<RawScope>, BTreeSet<RawScope>) {
    let mut granted: BTreeSet<RawScope> = requested.intersection(held).cloned().collect();
    let mut refused = BTreeSet::new();
    let held_expanded = expansion.expand(catalogue, held);
    for scope in requested.difference(held) {
        let already = expansion.expand(catalogue, &granted).to_raw();
        let wanted: ScopeSet = expansion
            .expand(catalogue, [scope])
            .to_raw()
            .into_iter()
            .filter(|single| !already.contains(single))
            .collect();
        let allowed = wanted.intersect(&held_expanded, membership);
        if allowed == wanted {
            granted.insert(scope.clone());
        } else {
            granted.extend(allowed.to_raw());
            refused.insert(scope.clone());
        }
    }
    (granted, refused)
}

/// The scopes for the token of a server that starts: what `asked` says (the `server` role or the
/// configuration), for this server, with the right to report activity, cut to what the owner's roles allow.
///
/// `roles` are the raw scopes of the owner's roles. Nothing is refused: what the owner may not do is left out.
pub fn server_token_scopes(
    catalogue: &Catalogue,
    server: &ServerRef,
    asked: &[RawScope],
    roles: &BTreeSet<RawScope>,
    membership: &dyn Membership,
) -> BTreeSet<RawScope> {
    let mut requested: BTreeSet<RawScope> = asked
        .iter()
        .cloned()
        .map(|mut scope| {
            // The token is the hub's own, so nothing else would know which server is meant.
            if scope.filter == Filter::OwnServer {
                scope.filter = Filter::Server(server.clone());
            }
            scope
        })
        .collect();
    let own_activity = RawScope::filtered(Scope::UsersActivity, Filter::OwnUser);
    let enough = [
        RawScope::unfiltered(Scope::UsersActivity),
        RawScope::unfiltered(Scope::Inherit),
    ];
    if !enough.iter().any(|scope| requested.contains(scope)) {
        requested.insert(own_activity);
    }
    let mut held = roles.clone();
    held.insert(RawScope::unfiltered(Scope::Inherit));
    let expansion = Expansion::of(Owner::User(&server.user));
    resolve_requested(catalogue, &requested, &held, expansion, membership).0
}
