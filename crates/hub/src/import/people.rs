//! Users: their flags, times, and what the login method keeps for them.

use lyceum_core::random;
use lyceum_core::{Secret, UserName};
use lyceum_store::jupyterhub::User as Foreign;
use lyceum_store::{NewUser, StoreError, User};

use super::report::{Item, Kind, Outcome};
use super::{Import, listed};

impl Import<'_> {
    pub(super) async fn import_users(&mut self) -> Result<(), StoreError> {
        let (mut without_key, mut with_key) = (Vec::new(), false);
        for foreign in &self.source.users {
            let name = match UserName::parse(&foreign.name) {
                Ok(name) => name,
                Err(error) => {
                    let item = Item::skipped(Kind::User, &foreign.name, error.to_string());
                    self.report.add(item);
                    continue;
                }
            };
            let (user, mut item) = self.merge_user(&name, foreign).await?;
            match (&foreign.auth_state, self.options.keys) {
                (Some(_), None) => without_key.push(foreign.name.as_str()),
                (Some(state), Some(keys)) => {
                    with_key = true;
                    let fits = keys.fit(state);
                    self.merge_auth_state(&user, state, fits, &mut item).await?;
                }
                (None, _) => {}
            }
            self.report.add(item);
            self.users.insert(foreign.id, (user.id, name));
        }
        if !without_key.is_empty() {
            self.report.note(format!(
                "what the login method keeps for users (`auth_state`) is not taken, as it is encrypted: set \
                 JUPYTERHUB_CRYPT_KEY to JupyterHub's to take it ({})",
                listed(&without_key)
            ));
        }
        if with_key && !self.options.keeps_auth_state {
            self.report.note(
                "what the login method keeps for users (`auth_state`) is deleted at each one's next login, unless \
                 `enabled` in [auth_state] is true and the key of JUPYTERHUB_CRYPT_KEY is among its keys",
            );
        }
        Ok(())
    }

    async fn merge_user(
        &mut self,
        name: &UserName,
        foreign: &Foreign,
    ) -> Result<(User, Item), StoreError> {
        let (user, mut item) = if let Some(user) = self.tx.find_user(name).await? {
            (user, Item::new(Kind::User, &foreign.name, Outcome::Kept))
        } else {
            let new = NewUser {
                name,
                admin: foreign.admin,
                created: foreign.created.unwrap_or(self.options.now),
                cookie_id: &Secret::new(random::hex(16)),
            };
            let user = self.tx.create_user(new).await?;
            let mut item = Item::new(Kind::User, &foreign.name, Outcome::Added);
            if foreign.admin {
                item.note("is an administrator");
            }
            (user, item)
        };
        if foreign.admin && !user.admin {
            self.tx.set_admin(user.id, true).await?;
            item.change("is an administrator now");
        }
        match (&foreign.user_info, &user.user_info) {
            (Some(info), None) if !info.is_empty() => {
                self.tx.set_user_info(user.id, Some(info)).await?;
                item.change("user_info taken");
            }
            (Some(theirs), Some(ours)) if theirs != ours => {
                item.note("user_info stays as it is here");
            }
            _ => {}
        }
        if let Some(seen) = foreign.last_activity
            && user.last_activity.is_none_or(|known| known < seen)
        {
            self.activity.user(user.id, seen);
            if item.outcome != Outcome::Added {
                item.change("was last active there");
            }
        }
        Ok((user, item))
    }

    async fn merge_auth_state(
        &mut self,
        user: &User,
        state: &[u8],
        fits: bool,
        item: &mut Item,
    ) -> Result<(), StoreError> {
        if let Some(ours) = self.tx.find_auth_state(user.id).await? {
            if ours != state {
                item.note("auth_state stays as it is here");
            }
        } else if fits {
            self.tx.set_auth_state(user.id, Some(state)).await?;
            item.change("auth_state taken");
        } else {
            item.note("auth_state is not taken: it is encrypted with another key");
        }
        Ok(())
    }
}
