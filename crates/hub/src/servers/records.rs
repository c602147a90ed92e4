//! What the store is told of a server's life: each step is one transaction.

use std::sync::Arc;

use lyceum_core::ids::ServerId;
use lyceum_core::lifecycle::{Cause, Failure, Running};
use lyceum_core::scope::{KnownMembers, RawScope, default_role, server_token_scopes};
use lyceum_core::seams::{Handle, StartRequest};
use lyceum_core::{ServerName, ServerRef, Timestamp, random, token};
use lyceum_store::{NewOAuthClient, NewToken, Phase, Server, StoreError, TokenOwner, Tx, User};
use serde_json::{Map, Value};

use super::{Shared, environment};
use crate::internal_tls::InternalTls;
use crate::named_servers::named_servers_of;
use crate::principal::{Owner, roles_of};

/// What a start was asked with.
#[derive(Debug, Clone, Default)]
pub struct StartInput {
    /// The options chosen by the user; `None` for those of the last start.
    pub user_options: Option<Map<String, Value>>,
    /// The name shown to people, for a new named server.
    pub display_name: Option<String>,
}

/// What is to become of the record of a server that does not run; what is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Its new name, which follows the rules.
    pub name: Option<ServerName>,
    /// The name shown to people.
    pub display_name: Option<String>,
    /// The options of the next start.
    pub user_options: Option<Map<String, Value>>,
}

/// A start that is written down.
#[derive(Debug)]
pub(super) struct Prepared {
    /// What the spawner needs.
    pub(super) request: StartRequest,
    /// The server's record.
    pub(super) row: ServerId,
    /// When the run began, as it is written down.
    pub(super) started: Timestamp,
}

/// Writes down a start: the server's row, its fresh token, its OAuth client.
pub(super) async fn prepare(
    shared: &Shared,
    server: &ServerRef,
    input: Arc<StartInput>,
) -> Result<Box<Prepared>, Failure> {
    try_prepare(shared, server, input).await.unwrap_or_else(|error| {
        tracing::error!(server.name = %server, error = &error as &dyn std::error::Error, "could not write down a start");
        Err(store_failure(&error))
    })
}

/// The inner error is what the person is told; nothing is written then.
async fn try_prepare(
    shared: &Shared,
    server: &ServerRef,
    input: Arc<StartInput>,
) -> Result<Result<Box<Prepared>, Failure>, StoreError> {
    let now = shared.clock.now();
    let base = shared.settings.base_url.as_str();
    let user = shared.store.get_user(&server.user).await?;
    let scopes = token_scopes(shared, server, &user).await?;
    let limit = named_servers_of(shared, &user).await?.limit();
    let api_token = token::new_token();
    let marker = random::hex(16);
    let url = server.url_path(base);
    let issue = |internal: &Arc<dyn InternalTls>| internal.issue(server, now);
    let tls = match shared.settings.internal_tls.as_ref().map(issue).transpose() {
        Ok(tls) => tls,
        Err(failure) => return Ok(Err(failure)),
    };

    let mut tx = shared.store.begin().await?;
    // Somebody may have got another name since; a server must not run under one that is not its owner's.
    let user = tx.get_user(&server.user).await?;
    let (row, new) = tx.ensure_server(user.id, &server.server, now).await?;
    if new && !server.server.is_default() && limit > 0 {
        // Asked before, too; but two names at once may both have been fine then.
        let named = tx.count_servers_of_user(user.id).await?.named;
        if named > u64::from(limit) {
            return Ok(Err(too_many_named(limit)));
        }
    }
    let client_id = client_id(&mut tx, server, row.id).await?;
    if let Some(display_name) = &input.display_name {
        tx.set_display_name(row.id, Some(display_name)).await?;
    }
    let user_options = Arc::unwrap_or_clone(input)
        .user_options
        .or(row.user_options);
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
        identifier: &client_id,
        description: &format!("Server at {url}"),
        secret: Some(&api_token),
        redirect_uri: &format!("{url}oauth_callback"),
        allowed_scopes: &shared.settings.server_oauth_scopes,
        server_id: Some(row.id),
        service_id: None,
    })
    .await?;
    let groups = tx.groups_of_user(user.id).await?;
    tx.commit().await?;

    let request = StartRequest {
        server: server.clone(),
        marker,
        environment: environment::for_server(
            &shared.settings,
            server,
            client_id,
            api_token.expose(),
        ),
        service_prefix: url,
        user_options: user_options.unwrap_or_default(),
        groups: groups.into_iter().map(|group| group.name).collect(),
        tls,
    };
    Ok(Ok(Box::new(Prepared {
        request,
        row: row.id,
        started: now,
    })))
}

/// The id of the server's OAuth client: JupyterHub's, unless a server that runs has that one.
///
/// JupyterHub's ids are ambiguous: server `lab` of user `ada` has the one of the default server of user `ada-lab`.
/// Taking it over would break the logins of the other one. The id that is used instead can be no other server's: an
/// exclamation mark is in none, as names are escaped. Servers learn theirs from their environment.
async fn client_id(tx: &mut Tx, server: &ServerRef, row: ServerId) -> Result<String, StoreError> {
    let usual = server.client_id();
    let client = tx.find_oauth_client(&usual).await?;
    let Some(other) = client
        .and_then(|client| client.server_id)
        .filter(|other| *other != row)
    else {
        return Ok(usual);
    };
    let other = tx.find_server_by_id(other).await?;
    let taken = other.is_some_and(|(_, other)| other.phase != Phase::Stopped);
    Ok(if taken {
        format!("{usual}!{row}")
    } else {
        usual
    })
}

fn too_many_named(limit: u32) -> Failure {
    Failure::new(
        Cause::NotAllowed,
        format!("The limit of {limit} named servers is reached."),
        "Delete a server that is not needed any more.",
    )
}

/// The scopes of a server's own token: those of the configuration or of the `server` role, as far as its owner has them.
async fn token_scopes(
    shared: &Shared,
    server: &ServerRef,
    user: &User,
) -> Result<Vec<String>, StoreError> {
    let (groups, roles) = roles_of(shared, &Owner::User(user.clone())).await?;
    let configured = shared.settings.server_token_scopes.as_ref();
    let role = match configured {
        Some(_) => None,
        None => shared
            .store
            .find_role("server")
            .await?
            .map(|role| role.scopes),
    };
    let asked = match configured.or(role.as_ref()) {
        Some(scopes) => shared.catalogue.parse_stored(scopes),
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
    row: Option<ServerId>,
    handle: &Handle,
) -> Result<(), StoreError> {
    let Some(row) = row else { return Ok(()) };
    let mut tx = shared.store.begin().await?;
    tx.record_handle(row, handle).await?;
    tx.commit().await
}

/// Writes down where the server answers, so that a restart of Lyceum finds it again.
pub(super) async fn running(
    shared: &Shared,
    row: Option<ServerId>,
    running: &Running,
) -> Result<(), StoreError> {
    let Some(row) = row else { return Ok(()) };
    let mut tx = shared.store.begin().await?;
    tx.record_running(row, &running.handle, &running.upstream)
        .await?;
    tx.commit().await
}

/// Writes down that the server is being stopped, so that a restart of Lyceum goes on stopping it.
pub(super) async fn stopping(shared: &Shared, row: Option<ServerId>) -> Result<(), StoreError> {
    let Some(row) = row else { return Ok(()) };
    let mut tx = shared.store.begin().await?;
    if_there(tx.record_stopping(row).await)?;
    tx.commit().await
}

/// Writes down that the server does not run, and takes its token and OAuth client away.
pub(super) async fn cleared(
    shared: &Shared,
    server: &ServerRef,
    row: Option<ServerId>,
    failure: Option<&Failure>,
) -> Result<(), StoreError> {
    let mut tx = shared.store.begin().await?;
    let Some(row) = find_row(&mut tx, server, row).await? else {
        return Ok(());
    };
    tx.delete_tokens_of_server(row).await?;
    let stored = tx.find_server_by_id(row).await?;
    if let Some(client) = stored.and_then(|(_, server)| server.oauth_client_id) {
        tx.delete_oauth_client_of(row, &client).await?;
    }
    if_there(tx.record_stopped(row, failure).await)?;
    tx.commit().await
}

/// Changes the record of a server, all of it or nothing. A default server that never ran gets one first.
pub(super) async fn change(
    shared: &Shared,
    server: &ServerRef,
    change: Change,
) -> Result<Server, StoreError> {
    let mut tx = shared.store.begin().await?;
    let user = tx.get_user(&server.user).await?;
    let mut row = if server.server.is_default() {
        tx.ensure_server(user.id, &server.server, shared.clock.now())
            .await?
            .0
    } else {
        let row = tx.find_server(user.id, &server.server).await?;
        row.ok_or_else(|| StoreError::NotFound {
            kind: lyceum_store::Kind::Server,
            name: server.to_string(),
        })?
    };
    if let Some(name) = change.name {
        tx.rename_server(row.id, &name).await?;
        row.name = name;
    }
    if let Some(display_name) = change.display_name {
        tx.set_display_name(row.id, Some(&display_name)).await?;
        row.display_name = Some(display_name);
    }
    if let Some(options) = change.user_options {
        tx.set_user_options(row.id, Some(&options)).await?;
        row.user_options = Some(options);
    }
    tx.commit().await?;
    Ok(row)
}

/// Deletes the record of a server.
pub(super) async fn delete(shared: &Shared, server: &ServerRef) -> Result<(), StoreError> {
    let mut tx = shared.store.begin().await?;
    if let Some(row) = find_row(&mut tx, server, None).await? {
        tx.delete_server(row).await?;
    }
    tx.commit().await
}

/// The record of a server; looked up if it is not known, as after a start that could not be written down.
async fn find_row(
    tx: &mut Tx,
    server: &ServerRef,
    row: Option<ServerId>,
) -> Result<Option<ServerId>, StoreError> {
    if row.is_some() {
        return Ok(row);
    }
    let Some(user) = tx.find_user(&server.user).await? else {
        return Ok(None);
    };
    let found = tx.find_server(user.id, &server.server).await?;
    Ok(found.map(|row| row.id))
}

/// What was deleted meanwhile needs no change.
fn if_there(result: Result<(), StoreError>) -> Result<(), StoreError> {
    match result {
        Err(StoreError::NotFound { .. }) => Ok(()),
        other => other,
    }
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
