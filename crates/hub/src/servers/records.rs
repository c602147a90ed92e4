//! What the store is told of a server's life: each step is one transaction.

use lyceum_core::lifecycle::{Cause, Failure, Running};
use lyceum_core::scope::{KnownMembers, RawScope, default_role, server_token_scopes};
use lyceum_core::seams::{Handle, StartRequest};
use lyceum_core::{ServerRef, random, token};
use lyceum_store::{NewOAuthClient, NewToken, Server, StoreError, TokenOwner, Tx, User};
use serde_json::{Map, Value};

use super::{Shared, environment};
use crate::principal::{Owner, roles_of};

/// What a start was asked with.
#[derive(Debug, Clone, Default)]
pub struct StartInput {
    /// The options chosen by the user; `None` for those of the last start.
    pub user_options: Option<Map<String, Value>>,
    /// The name shown to people, for a new named server.
    pub display_name: Option<String>,
}

/// Writes down a start: the server's row, its fresh token, its OAuth client; gives what the spawner needs.
pub(super) async fn prepare(
    shared: &Shared,
    server: &ServerRef,
    input: &StartInput,
) -> Result<Box<StartRequest>, Failure> {
    try_prepare(shared, server, input).await.map_err(|error| {
        tracing::error!(server.name = %server, error = &error as &dyn std::error::Error, "could not write down a start");
        store_failure(&error)
    })
}

async fn try_prepare(
    shared: &Shared,
    server: &ServerRef,
    input: &StartInput,
) -> Result<Box<StartRequest>, StoreError> {
    let now = shared.clock.now();
    let base = shared.settings.base_url.as_str();
    let user = shared.store.get_user(&server.user).await?;
    let scopes = token_scopes(shared, server, &user).await?;
    let api_token = token::new_token();
    let marker = random::hex(16);
    let url = server.url_path(base);

    let mut tx = shared.store.begin().await?;
    let (row, _) = tx.ensure_server(user.id, &server.server, now).await?;
    if let Some(display_name) = &input.display_name {
        tx.set_display_name(row.id, Some(display_name)).await?;
    }
    let user_options = input.user_options.clone().or(row.user_options);
    tx.record_start(row.id, &marker, now, user_options.as_ref())
        .await?;
    // A token of an earlier run may be left if Lyceum was killed in between.
    tx.delete_tokens_of_server(row.id).await?;
    tx.create_token(NewToken {
        secret: &api_token,
        owner: TokenOwner::User(user.id),
        client_id: None,
        session_id: None,
        server_id: Some(row.id),
        scopes: &scopes,
        note: &format!("Server at {url}"),
        created: now,
        expires_at: None,
    })
    .await?;
    tx.upsert_oauth_client(NewOAuthClient {
        identifier: &server.client_id(),
        description: &format!("Server at {url}"),
        secret: Some(&api_token),
        redirect_uri: &format!("{url}oauth_callback"),
        allowed_scopes: &[],
        server_id: Some(row.id),
        service_id: None,
    })
    .await?;
    tx.commit().await?;

    Ok(Box::new(StartRequest {
        server: server.clone(),
        marker,
        environment: environment::for_server(&shared.settings, server, api_token.expose()),
        service_prefix: url,
        user_options: user_options.unwrap_or_default(),
    }))
}

/// The scopes of a server's own token: those of the `server` role, as far as its owner has them.
async fn token_scopes(
    shared: &Shared,
    server: &ServerRef,
    user: &User,
) -> Result<Vec<String>, StoreError> {
    let (groups, roles) =
        roles_of(&shared.store, &shared.catalogue, &Owner::User(user.clone())).await?;
    let asked = match shared.store.find_role("server").await? {
        Some(role) => shared.catalogue.parse_stored(&role.scopes),
        None => shared.catalogue.parse_stored(
            default_role("server")
                .map(|role| role.scopes)
                .unwrap_or_default(),
        ),
    };
    let mut members = KnownMembers::default();
    for group in groups.iter() {
        members.insert(&user.name, group);
    }
    let scopes = server_token_scopes(&shared.catalogue, server, &asked, &roles, &members);
    Ok(scopes.iter().map(RawScope::to_string).collect())
}

/// Writes down what there is to stop.
pub(super) async fn handle_known(
    shared: &Shared,
    server: &ServerRef,
    handle: &Handle,
) -> Result<(), StoreError> {
    let Some(row) = find(shared, server).await? else {
        return Ok(());
    };
    let mut tx = shared.store.begin().await?;
    tx.record_handle(row.id, handle).await?;
    tx.commit().await
}

/// Writes down where the server answers, so that a restart of Lyceum finds it again.
pub(super) async fn running(
    shared: &Shared,
    server: &ServerRef,
    running: &Running,
) -> Result<(), StoreError> {
    let Some(row) = find(shared, server).await? else {
        return Ok(());
    };
    let mut tx = shared.store.begin().await?;
    tx.record_running(row.id, &running.handle, &running.upstream)
        .await?;
    tx.commit().await
}

/// Writes down that the server is being stopped, so that a restart of Lyceum goes on stopping it.
pub(super) async fn stopping(shared: &Shared, server: &ServerRef) -> Result<(), StoreError> {
    let Some(row) = find(shared, server).await? else {
        return Ok(());
    };
    let mut tx = shared.store.begin().await?;
    tx.record_stopping(row.id).await?;
    tx.commit().await
}

/// Writes down that the server does not run, and takes its token and OAuth client away.
pub(super) async fn cleared(
    shared: &Shared,
    server: &ServerRef,
    failure: Option<&Failure>,
) -> Result<(), StoreError> {
    let Some(row) = find(shared, server).await? else {
        return Ok(());
    };
    let mut tx = shared.store.begin().await?;
    clear_row(&mut tx, server, &row, failure).await?;
    tx.commit().await
}

/// The same, within a transaction.
pub(crate) async fn clear_row(
    tx: &mut Tx,
    server: &ServerRef,
    row: &Server,
    failure: Option<&Failure>,
) -> Result<(), StoreError> {
    tx.delete_tokens_of_server(row.id).await?;
    tx.delete_oauth_client(&server.client_id()).await?;
    tx.record_stopped(row.id, failure).await
}

async fn find(shared: &Shared, server: &ServerRef) -> Result<Option<Server>, StoreError> {
    let Some(user) = shared.store.find_user(&server.user).await? else {
        return Ok(None);
    };
    shared.store.find_server(user.id, &server.server).await
}

/// Puts a failure of the store into words for the person who waits.
pub(super) fn store_failure(error: &StoreError) -> Failure {
    match error {
        StoreError::Full { .. } => Failure::new(
            Cause::System,
            "The disk of this machine is full, so that the start could not be written down.",
            "Tell the administrator; nothing can be started until there is space again.",
        ),
        _ => Failure::new(
            Cause::Internal,
            "The hub's database did not accept the start.",
            "Try again; if this repeats, the administrator finds the reason in Lyceum's log.",
        ),
    }
}
