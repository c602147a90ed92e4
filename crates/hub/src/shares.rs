//! Shares: servers that people let others use, directly, through groups, or by codes.

use lyceum_core::Timestamp;
use lyceum_core::scope::{Catalogue, Filter, RawScope, ScopeName, Shares};
use lyceum_store::{Store, StoreError};

use crate::Owner;

/// What an owner may do because servers are shared with them; nothing for a service.
pub(crate) async fn received(
    store: &Store,
    catalogue: &Catalogue,
    owner: &Owner,
    now: Timestamp,
) -> Result<Shares, StoreError> {
    let mut shares = Shares::default();
    let Owner::User(user) = owner else {
        return Ok(shares);
    };
    for share in store.received_shares(user.id, now).await? {
        let scopes = share
            .scopes
            .iter()
            .filter_map(|name| catalogue.find(name))
            .filter(can_be_shared)
            .map(|name| RawScope {
                name,
                filter: Filter::Server(share.server.clone()),
            });
        if share.by_group {
            shares.by_group.extend(scopes);
        } else {
            shares.direct.extend(scopes);
        }
    }
    Ok(shares)
}

/// Whether a scope can be limited to a server: `self` and `inherit` stand for other scopes.
fn can_be_shared(name: &ScopeName) -> bool {
    !matches!(name, ScopeName::BuiltIn(scope) if scope.is_metascope())
}
