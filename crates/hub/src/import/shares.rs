//! Shares of servers, and the codes that can be exchanged for one.

use lyceum_core::ServerRef;
use lyceum_core::scope::Filter;
use lyceum_core::token::{PREFIX_CHARS, TokenHash};
use lyceum_store::jupyterhub::{Share as Foreign, ShareReceiver};
use lyceum_store::{AdoptedShare, AdoptedShareCode, ReceiverId, StoreError};

use super::report::{Item, Kind, Outcome};
use super::{Import, listed};

impl Import<'_> {
    pub(super) async fn import_shares(&mut self) -> Result<(), StoreError> {
        for foreign in &self.source.shares {
            let item = self.import_share(foreign).await?;
            self.report.add(item);
        }
        Ok(())
    }

    async fn import_share(&mut self, foreign: &Foreign) -> Result<Item, StoreError> {
        let receiver = match foreign.with {
            Some(ShareReceiver::User(id)) => self.user_name(id).to_owned(),
            Some(ShareReceiver::Group(id)) => format!("group {}", self.group_name(id)),
            None => "(nobody)".to_owned(),
        };
        let shown = format!("{} with {receiver}", self.server_name(foreign.server));
        let skipped = |reason: &str| Ok(Item::skipped(Kind::Share, &shown, reason));
        let Some((server, server_ref)) = self.servers.get(&foreign.server).cloned() else {
            return skipped("its server is not taken");
        };
        let with = match foreign.with {
            Some(ShareReceiver::User(id)) => {
                self.users.get(&id).map(|(user, _)| ReceiverId::User(*user))
            }
            Some(ShareReceiver::Group(id)) => self
                .groups
                .get(&id)
                .map(|(group, _)| ReceiverId::Group(*group)),
            None => None,
        };
        let Some(with) = with else {
            return skipped("whoever it is shared with is not taken");
        };
        if self.has_ended(foreign.expires_at) {
            return skipped("it has expired");
        }
        let (scopes, other) = self.scopes_of_share(&foreign.scopes, &server_ref);
        if scopes.is_empty() {
            return skipped("none of its scopes exists here");
        }
        let adopted = AdoptedShare {
            server,
            with,
            scopes: &scopes,
            created: foreign.created.unwrap_or(self.options.now),
            expires_at: foreign.expires_at,
        };
        let new = self.tx.adopt_share(adopted).await?;
        let outcome = if new { Outcome::Added } else { Outcome::Kept };
        let mut item = Item::new(Kind::Share, shown, outcome);
        if !new {
            let held = self.tx.find_share(server, with, self.options.now).await?;
            let held = held.map(|share| share.scopes).unwrap_or_default();
            if !scopes.iter().all(|scope| held.contains(scope)) {
                self.tx
                    .grant_share(server, with, &scopes, self.options.now)
                    .await?;
                item.change("permits more now");
            }
        }
        tell_left_out(&mut item, &other);
        Ok(item)
    }

    pub(super) async fn import_share_codes(&mut self) -> Result<(), StoreError> {
        let mut expired = 0_usize;
        for foreign in &self.source.share_codes {
            if self.has_ended(foreign.expires_at) {
                expired += 1;
                continue;
            }
            let shown = format!("{}: sc_{}", self.server_name(foreign.server), foreign.id);
            let Some((server, server_ref)) = self.servers.get(&foreign.server).cloned() else {
                let item = Item::skipped(Kind::ShareCode, shown, "its server is not taken");
                self.report.add(item);
                continue;
            };
            let (scopes, other) = self.scopes_of_share(&foreign.scopes, &server_ref);
            let hash = TokenHash::parse(&foreign.hashed);
            let reason = match &hash {
                Err(error) => Some(error.to_string()),
                Ok(_) if foreign.prefix.chars().count() != PREFIX_CHARS => {
                    Some("its first characters, by which it is found, are damaged".to_owned())
                }
                Ok(_) if scopes.is_empty() => Some("none of its scopes exists here".to_owned()),
                Ok(_) => None,
            };
            let hash = match (hash, reason) {
                (Ok(hash), None) => hash,
                (_, reason) => {
                    let reason = reason.unwrap_or_default();
                    self.report
                        .add(Item::skipped(Kind::ShareCode, shown, reason));
                    continue;
                }
            };
            let adopted = AdoptedShareCode {
                server,
                hash: &hash,
                prefix: &foreign.prefix,
                scopes: &scopes,
                created: foreign.created.unwrap_or(self.options.now),
                expires_at: foreign.expires_at,
                exchange_count: foreign.exchange_count,
                last_exchanged_at: foreign.last_exchanged_at,
            };
            let new = self.tx.adopt_share_code(adopted).await?;
            let outcome = if new { Outcome::Added } else { Outcome::Kept };
            let mut item = Item::new(Kind::ShareCode, shown, outcome);
            tell_left_out(&mut item, &other);
            self.report.add(item);
        }
        if expired > 0 {
            self.report
                .note(format!("expired share codes that are not taken: {expired}"));
        }
        Ok(())
    }

    /// The scopes of a share as they are stored here, sorted and without the filter, which must be the server's; and
    /// those that cannot be stored so.
    fn scopes_of_share(&self, scopes: &[String], server: &ServerRef) -> (Vec<String>, Vec<String>) {
        let (mut good, mut other) = (Vec::new(), Vec::new());
        for text in scopes {
            match self.options.catalogue.parse(text) {
                Ok(scope) if scope.filter == Filter::Server(server.clone()) => {
                    good.push(scope.name.as_str().to_owned());
                }
                _ => other.push(text.clone()),
            }
        }
        good.sort();
        good.dedup();
        (good, other)
    }

    fn server_name(&self, id: i64) -> String {
        let found = self.source.servers.iter().find(|server| server.id == id);
        found.map_or_else(
            || "(no server)".to_owned(),
            |server| format!("{}/{}", self.user_name(server.user), server.name),
        )
    }
}

fn tell_left_out(item: &mut Item, scopes: &[String]) {
    if !scopes.is_empty() {
        item.note(format!("scopes that are not taken: {}", listed(scopes)));
    }
}
