//! API tokens: their hashes are good here too, so whoever has a token goes on using it.

use lyceum_core::token::{PREFIX_CHARS, TokenHash};
use lyceum_store::jupyterhub::{Token as Foreign, TokenOwner as ForeignOwner};
use lyceum_store::{AdoptedToken, StoreError, TokenOwner};

use super::Import;
use super::report::{Item, Kind, Outcome};

/// JupyterHub's OAuth client for tokens that it has issued itself.
const HUB: &str = "jupyterhub";

/// How many tokens were left out for reasons that need no list.
#[derive(Debug, Default)]
struct LeftOut {
    expired: usize,
    of_clients: usize,
    of_servers: usize,
}

impl Import<'_> {
    pub(super) async fn import_tokens(&mut self) -> Result<(), StoreError> {
        let mut left_out = LeftOut::default();
        for foreign in &self.source.tokens {
            if self.has_ended(foreign.expires_at) {
                left_out.expired += 1;
            } else if foreign.client_id.as_deref() != Some(HUB) {
                left_out.of_clients += 1;
            } else if is_of_server(foreign) {
                left_out.of_servers += 1;
            } else {
                let item = self.import_token(foreign).await?;
                self.report.add(item);
            }
        }
        self.tell_left_out(&left_out);
        Ok(())
    }

    async fn import_token(&mut self, foreign: &Foreign) -> Result<Item, StoreError> {
        let shown = self.token_name(foreign);
        let skipped = |reason: &str| Ok(Item::skipped(Kind::Token, &shown, reason));
        let owner = match foreign.owner {
            Some(ForeignOwner::User(id)) => match self.users.get(&id) {
                Some((user, _)) => TokenOwner::User(*user),
                None => return skipped("its user is not taken"),
            },
            Some(ForeignOwner::Service(id)) => match self.services.get(&id) {
                Some((service, _)) => TokenOwner::Service(*service),
                None => {
                    return skipped(
                        "its service is not taken; for one of the configuration, the token goes into \
                         `api_token_file` of its [[services]]",
                    );
                }
            },
            None => return skipped("it has no owner"),
        };
        let hash = match TokenHash::parse(&foreign.hashed) {
            Ok(hash) => hash,
            Err(error) => return skipped(&error.to_string()),
        };
        if foreign.prefix.chars().count() != PREFIX_CHARS {
            return skipped("its first characters, by which it is found, are damaged");
        }
        let adopted = AdoptedToken {
            hash: &hash,
            prefix: &foreign.prefix,
            owner,
            scopes: &foreign.scopes,
            note: &foreign.note,
            created: foreign.created.unwrap_or(self.options.now),
            last_activity: foreign.last_activity,
            expires_at: foreign.expires_at,
        };
        let new = self.tx.adopt_token(adopted).await?;
        let outcome = if new { Outcome::Added } else { Outcome::Kept };
        let mut item = Item::new(Kind::Token, shown, outcome);
        if !new {
            return Ok(item);
        }
        if let Some(at) = foreign.expires_at {
            item.note(format!("until {}", at.strftime("%Y-%m-%d %H:%M UTC")));
        }
        if foreign.scopes.is_empty() {
            item.note("it has no scopes, and only tells who its owner is");
        }
        self.tell_unknown(&mut item, &foreign.scopes);
        Ok(item)
    }

    fn tell_left_out(&mut self, left_out: &LeftOut) {
        if left_out.expired > 0 {
            self.report.note(format!(
                "expired tokens that are not taken: {}",
                left_out.expired
            ));
        }
        if left_out.of_servers > 0 {
            self.report.note(format!(
                "tokens of running servers that are not taken: {}; servers that run there know the other hub only: stop \
                 them, and start them here",
                left_out.of_servers
            ));
        }
        if left_out.of_clients > 0 {
            self.report.note(format!(
                "tokens of OAuth clients that are not taken: {}; these are logins at servers and services, which log in \
                 anew",
                left_out.of_clients
            ));
        }
    }

    /// A name for a token, which has none: whose it is and what it is for.
    fn token_name(&self, foreign: &Foreign) -> String {
        let owner = match foreign.owner {
            Some(ForeignOwner::User(id)) => self.user_name(id).to_owned(),
            Some(ForeignOwner::Service(id)) => {
                let found = self.source.services.iter().find(|service| service.id == id);
                format!(
                    "service {}",
                    found.map_or("(none)", |service| &service.name)
                )
            }
            None => "(nobody)".to_owned(),
        };
        if foreign.note.is_empty() {
            format!("{owner}: a{}", foreign.id)
        } else {
            format!("{owner}: a{} ({})", foreign.id, foreign.note)
        }
    }
}

/// Whether a token was made for a server that runs (`User.spawn` of JupyterHub): by its note and its scopes.
fn is_of_server(foreign: &Foreign) -> bool {
    let for_server = |scope: &String| scope.starts_with("access:servers!server=");
    let activity = |scope: &String| scope.starts_with("users:activity") || scope == "inherit";
    foreign.note.starts_with("Server at /")
        && (foreign.scopes.iter().any(for_server) || foreign.scopes.iter().any(activity))
}
