//! The OAuth clients of services: one for each that can log users in, none for any other.

use lyceum_core::Secret;
use lyceum_core::service::ServiceSpec;
use lyceum_store::{NewOAuthClient, OAuthClient, Service, StoreError, Tx};

use crate::provision::secret_hash;

/// Creates the client of a service, brings it up to date, or deletes it if there is nothing to log in to.
pub(crate) async fn store(
    tx: &mut Tx,
    base_url: &str,
    spec: &ServiceSpec,
    service: &Service,
    secret: Option<&Secret<String>>,
) -> Result<(), StoreError> {
    let wanted = spec.oauth.as_ref().map(|oauth| oauth.client_id.as_str());
    for client in tx.list_oauth_clients().await? {
        let own = client.service_id == Some(service.id);
        let named = Some(client.identifier.as_str()) == wanted;
        if own && !named {
            tracing::info!(service.name = %spec.name, "deleted the OAuth client {} of the service {}, which is not in use any more", client.identifier, spec.name);
        }
        if named && !own {
            // Tokens that it gave out were for something else.
            tracing::warn!(service.name = %spec.name, "the OAuth client {} is now the one of the service {}", client.identifier, spec.name);
        }
        if own != named {
            tx.delete_oauth_client(&client.identifier).await?;
        }
    }
    let (Some(identifier), Some(redirect_uri)) = (wanted, spec.redirect_uri(base_url)) else {
        return Ok(());
    };
    let existing = tx.find_oauth_client(identifier).await?;
    let description = format!("JupyterHub service {}", spec.name);
    let is_same = |client: &OAuthClient| {
        client.description == description
            && client.redirect_uri == redirect_uri
            && client.allowed_scopes == spec.allowed_scopes
            && match (&client.secret_hash, secret) {
                (Some(hash), Some(secret)) => hash.matches(secret.expose()),
                (None, None) => true,
                _ => false,
            }
    };
    if existing.as_ref().is_some_and(is_same) {
        return Ok(());
    }
    let new = NewOAuthClient {
        identifier,
        description: &description,
        secret: None,
        redirect_uri: &redirect_uri,
        allowed_scopes: &spec.allowed_scopes,
        server_id: None,
        service_id: Some(service.id),
    };
    let hash = secret.map(|secret| secret_hash(spec, secret));
    tx.store_oauth_client(new, hash.as_ref()).await?;
    Ok(())
}
