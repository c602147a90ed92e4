//! Share codes: whoever shows one has a server shared with them.

use std::time::Duration;

use lyceum_core::ids::ShareCodeId;
use lyceum_core::{Secret, ServerRef, random};
use lyceum_store::{
    NewShareCode, Page, Paged, ReceiverId, ShareCode, ShareCodesOf, StoreError, User,
};
use thiserror::Error;

use crate::permit::{ListShares, ManageShares, ReadShares};
use crate::sessions::after;
use crate::shares::{ShareError, ShareEvent, log_change, server_to_share, texts};
use crate::{Actor, Hub, Principal, ServerPermit, UserPermit};

/// The length of a code in random bytes; as text it has 43 characters.
const CODE_BYTES: usize = 32;

/// A code, and whether its server is ready now.
#[derive(Debug, Clone)]
pub struct ShareCodeView {
    /// The code's record.
    pub code: ShareCode,
    /// Whether the server is ready.
    pub ready: bool,
}

/// Which codes of a server are deleted.
#[derive(Debug)]
pub enum DeleteCodes {
    /// All of them.
    All,
    /// This one.
    Code(Secret<String>),
    /// The one with this id.
    Id(ShareCodeId),
}

/// Why a code was not exchanged.
#[derive(Debug, Error)]
pub enum ExchangeError {
    /// There is no such code, or it has ended.
    #[error("this invitation does not exist, or it has expired")]
    Unknown,
    /// It is for a server of the one who shows it.
    #[error("this invitation is for your own server")]
    Own,
    /// The store failed.
    #[error("the hub's database did not do its part")]
    Store(#[from] StoreError),
}

impl Hub {
    /// Lists the codes of a server.
    pub async fn codes_of_server(
        &self,
        permit: &ServerPermit<ReadShares>,
        page: Page,
    ) -> Result<Paged<ShareCodeView>, ShareError> {
        match self.shared_server(permit).await? {
            Some(server) => self.list_codes(ShareCodesOf::Server(server.id), page).await,
            None => Ok(Paged {
                items: Vec::new(),
                total: 0,
            }),
        }
    }

    /// Lists the codes of a user's servers.
    pub async fn codes_of_owner(
        &self,
        permit: &UserPermit<ListShares>,
        page: Page,
    ) -> Result<Paged<ShareCodeView>, ShareError> {
        self.list_codes(ShareCodesOf::Owner(permit.user().id), page)
            .await
    }

    /// Makes a code that works for a while; without scopes, it stands for the right to use the server.
    pub async fn create_share_code(
        &self,
        caller: &Principal,
        permit: &ServerPermit<ManageShares>,
        scopes: &[String],
        lifetime: Duration,
    ) -> Result<(ShareCodeView, Secret<String>), ShareError> {
        let names = self.to_share(permit, scopes)?;
        self.check_held(caller, permit, &names).await?;
        let secret = Secret::new(random::url_safe(CODE_BYTES));
        let now = self.now();
        let mut tx = self.store().begin().await?;
        let server = server_to_share(&mut tx, permit.user(), permit.server(), now).await?;
        let code = tx
            .create_share_code(NewShareCode {
                code: &secret,
                server: server.id,
                scopes: &texts(&names),
                created: now,
                expires_at: Some(after(now, lifetime)),
            })
            .await?;
        let event = ShareEvent::new("code-created", permit.server()).permitting(&code.scopes);
        self.write_share(&mut tx, Actor::Caller(caller), event)
            .await?;
        tx.commit().await?;
        tracing::info!(server.name = %code.server, scopes = ?code.scopes, "made a share code for server {}", code.server);
        Ok((self.code_view(code), secret))
    }

    /// Deletes codes of a server. Shares that came of them stay.
    pub async fn delete_share_codes(
        &self,
        permit: &ServerPermit<ManageShares>,
        which: &DeleteCodes,
    ) -> Result<(), ShareError> {
        let server = self.shared_server(permit).await?;
        let Some(server) = server else {
            return match which {
                DeleteCodes::All => Ok(()),
                DeleteCodes::Code(_) | DeleteCodes::Id(_) => Err(ShareError::NoShare),
            };
        };
        let mut tx = self.store().begin().await?;
        let found = match which {
            DeleteCodes::All => {
                tx.delete_share_codes_of_server(server.id).await?;
                let event = ShareEvent::new("all-codes-deleted", permit.server());
                self.write_share(&mut tx, Actor::Caller(permit.by()), event)
                    .await?;
                tx.commit().await?;
                return Ok(());
            }
            DeleteCodes::Code(code) => tx.find_share_code(code, self.now()).await?,
            DeleteCodes::Id(id) => tx.find_share_code_by_id(*id).await?,
        };
        // A code of another server is none of this one's.
        let found = found.filter(|code| code.server_id == server.id);
        let code = found.ok_or(ShareError::NoShare)?;
        tx.delete_share_code(code.id).await?;
        let event = ShareEvent::new("code-deleted", permit.server());
        self.write_share(&mut tx, Actor::Caller(permit.by()), event)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Finds what a code stands for, for the one who may accept it.
    pub async fn invitation(
        &self,
        user: &User,
        code: &Secret<String>,
    ) -> Result<ShareCodeView, ExchangeError> {
        let found = self.store().find_share_code(code, self.now()).await?;
        let code = found.ok_or(ExchangeError::Unknown)?;
        if code.owner_id == user.id {
            return Err(ExchangeError::Own);
        }
        Ok(self.code_view(code))
    }

    /// Exchanges a code for a share, or widens the share that there is; gives the server.
    pub async fn accept_invitation(
        &self,
        user: &User,
        code: &Secret<String>,
    ) -> Result<ServerRef, ExchangeError> {
        let now = self.now();
        let mut tx = self.store().begin().await?;
        let found = tx.find_share_code(code, now).await?;
        let code = found.ok_or(ExchangeError::Unknown)?;
        if code.owner_id == user.id {
            return Err(ExchangeError::Own);
        }
        // Counted even if the share was there already, as in JupyterHub. It also tells whether the code was deleted
        // a moment ago.
        if !tx.count_exchange(code.id, now).await? {
            return Err(ExchangeError::Unknown);
        }
        let with = ReceiverId::User(user.id);
        let share = tx
            .grant_share(code.server_id, with, &code.scopes, now)
            .await?;
        let event = ShareEvent::new("code-used", &share.server).of(&share);
        self.write_share(&mut tx, Actor::User(&user.name), event)
            .await?;
        tx.commit().await?;
        log_change("by a code, shared", &share);
        Ok(share.server)
    }

    fn code_view(&self, code: ShareCode) -> ShareCodeView {
        let ready = self.is_ready(&code.server);
        ShareCodeView { code, ready }
    }

    async fn list_codes(
        &self,
        of: ShareCodesOf,
        page: Page,
    ) -> Result<Paged<ShareCodeView>, ShareError> {
        let found = self.store().list_share_codes(of, page, self.now()).await?;
        let items = found.items.into_iter();
        Ok(Paged {
            items: items.map(|code| self.code_view(code)).collect(),
            total: found.total,
        })
    }
}
