//! From where users have logged in before. The place itself is not stored, only a keyed hash that the caller makes.

use jiff::Timestamp;
use lyceum_core::ids::UserId;
use lyceum_core::names::UserName;

use crate::engine::{Db, values};
use crate::error::StoreError;
use crate::tx::{Tx, reads};

reads! {
    /// Whether a user of this name has logged in from this place since an instant.
    has_logged_in_from(user: &UserName, place: &[u8], since: Timestamp) -> bool;
}

async fn has_logged_in_from(
    db: &mut Db<'_>,
    user: &UserName,
    place: &[u8],
    since: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "SELECT login_places.last_login AS last_login FROM login_places \
               JOIN users ON users.id = login_places.user_id \
               WHERE users.name = $1 AND login_places.place = $2 AND login_places.last_login >= $3";
    let row = db
        .first("find a place", sql, values![user, place, since])
        .await?;
    Ok(row.is_some())
}

impl Tx {
    /// Notes that a user has logged in from a place.
    pub async fn note_login_place(
        &mut self,
        user: UserId,
        place: &[u8],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO login_places (user_id, place, last_login) VALUES ($1, $2, $3) \
                   ON CONFLICT (user_id, place) DO UPDATE SET last_login = excluded.last_login";
        self.touching([])
            .run("note a place", sql, values![user, place, now])
            .await
            .map(drop)
    }

    /// Forgets the places from which nobody has logged in since an instant; gives their number.
    pub async fn purge_login_places(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        let sql = "DELETE FROM login_places WHERE last_login < $1";
        self.touching([])
            .run("forget places", sql, values![before])
            .await
    }
}
