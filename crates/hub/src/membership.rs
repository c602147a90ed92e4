//! Who is in which group, as far as it decides what a token may do.

use lyceum_core::scope::{Filter, KnownMembers, RawScope, ScopeSet};
use lyceum_core::{GroupName, UserName};
use lyceum_store::{Store, StoreError};

use crate::principal::{Owner, own_groups};

/// Memberships for the intersection of what a token is to do with what its owner may.
#[derive(Debug)]
pub(crate) struct Members {
    pub(crate) known: KnownMembers,
    /// Whether others than the owner are among them: then the answer holds for now only.
    pub(crate) fleeting: bool,
}

/// Finds the memberships that play a part: those of the owner; and if the token names others, or groups, then
/// everybody's in the groups to which either side is limited.
///
/// So a token for `read:users!user=bob` works for whoever may `read:users!group=class`, as long as bob is in it.
pub(crate) async fn members_for(
    store: &Store,
    owner: &Owner,
    own: &[GroupName],
    held: &ScopeSet,
    asked: &[RawScope],
) -> Result<Members, StoreError> {
    let mut known = own_groups(owner, own);
    if asked.iter().any(RawScope::is_inherit)
        || !asked.iter().any(|scope| names_others(owner, scope))
    {
        return Ok(Members {
            known,
            fleeting: false,
        });
    }
    let of_asked = asked.iter().filter_map(|scope| match &scope.filter {
        Filter::Group(name) => Some(name),
        _ => None,
    });
    let mut groups = held.groups_mentioned();
    groups.extend(of_asked);
    let fleeting = !groups.is_empty();
    for name in groups {
        let Some(group) = store.find_group(name).await? else {
            continue;
        };
        for (_, member) in store.members_of_group(group.id).await? {
            known.insert(&member, name);
        }
    }
    Ok(Members { known, fleeting })
}

fn names_others(owner: &Owner, scope: &RawScope) -> bool {
    let is_owner = |name: &UserName| matches!(owner, Owner::User(user) if user.name == *name);
    match &scope.filter {
        Filter::User(name) => !is_owner(name),
        Filter::Server(server) => !is_owner(&server.user),
        Filter::Group(_) => true,
        Filter::None
        | Filter::OwnUser
        | Filter::OwnServer
        | Filter::OwnService
        | Filter::Service(_) => false,
    }
}
