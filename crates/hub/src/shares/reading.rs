//! Shares as they are listed and found: of a server, of an owner, with a user, with a group.

use lyceum_core::{ServerName, UserName};
use lyceum_store::{Page, Paged, ReceiverId, Share, SharesOf, StoreError};

use super::{ShareError, ShareView};
use crate::permit::{ListShares, ReadGroupShares, ReadShares, ReadUserShares};
use crate::{GroupPermit, Hub, ServerPermit, UserPermit};

impl Hub {
    /// Lists with whom a server is shared.
    pub async fn shares_of_server(
        &self,
        permit: &ServerPermit<ReadShares>,
        page: Page,
    ) -> Result<Paged<ShareView>, ShareError> {
        match self.shared_server(permit).await? {
            Some(server) => self.list_shares(SharesOf::Server(server.id), page).await,
            None => Ok(nothing()),
        }
    }

    /// Lists with whom a user's servers are shared.
    pub async fn shares_of_owner(
        &self,
        permit: &UserPermit<ListShares>,
        page: Page,
    ) -> Result<Paged<ShareView>, ShareError> {
        self.list_shares(SharesOf::Owner(permit.user().id), page)
            .await
    }

    /// Lists what is shared with a user, also through groups.
    pub async fn shares_with_user(
        &self,
        permit: &UserPermit<ReadUserShares>,
        page: Page,
    ) -> Result<Paged<ShareView>, ShareError> {
        self.list_shares(SharesOf::User(permit.user().id), page)
            .await
    }

    /// Lists what is shared with a group.
    pub async fn shares_with_group(
        &self,
        permit: &GroupPermit<ReadGroupShares>,
        page: Page,
    ) -> Result<Paged<ShareView>, ShareError> {
        self.list_shares(SharesOf::Group(permit.group().id), page)
            .await
    }

    /// Finds the share of a server with a user; shares with the user's groups do not count.
    pub async fn get_share_with_user(
        &self,
        permit: &UserPermit<ReadUserShares>,
        owner: &str,
        server: &str,
    ) -> Result<ShareView, ShareError> {
        let with = ReceiverId::User(permit.user().id);
        self.find_share(with, owner, server).await
    }

    /// Finds the share of a server with a group.
    pub async fn get_share_with_group(
        &self,
        permit: &GroupPermit<ReadGroupShares>,
        owner: &str,
        server: &str,
    ) -> Result<ShareView, ShareError> {
        let with = ReceiverId::Group(permit.group().id);
        self.find_share(with, owner, server).await
    }

    pub(super) fn share_view(&self, share: Share) -> ShareView {
        let ready = self.is_ready(&share.server);
        ShareView { share, ready }
    }

    async fn list_shares(&self, of: SharesOf, page: Page) -> Result<Paged<ShareView>, ShareError> {
        let found = self.store().list_shares(of, page, self.now()).await?;
        let items = found.items.into_iter();
        Ok(Paged {
            items: items.map(|share| self.share_view(share)).collect(),
            total: found.total,
        })
    }

    pub(super) async fn find_share(
        &self,
        with: ReceiverId,
        owner: &str,
        server: &str,
    ) -> Result<ShareView, ShareError> {
        let (Ok(owner), Ok(server)) = (UserName::parse(owner), ServerName::parse(server)) else {
            return Err(ShareError::NoShare);
        };
        let found = async {
            let Some(owner) = self.store().find_user(&owner).await? else {
                return Ok(None);
            };
            let Some(server) = self.store().find_server(owner.id, &server).await? else {
                return Ok(None);
            };
            self.store().find_share(server.id, with, self.now()).await
        };
        let share: Result<Option<Share>, StoreError> = found.await;
        Ok(self.share_view(share?.ok_or(ShareError::NoShare)?))
    }
}

fn nothing<T>() -> Paged<T> {
    Paged {
        items: Vec::new(),
        total: 0,
    }
}
