//! Services, as far as they must be remembered: how they are started, and their secrets, stay in the configuration.

use lyceum_core::ids::ServiceId;
use lyceum_core::names::ServiceName;
use serde_json::{Map, Value as Json};

use crate::engine::{Db, Row, Value, values};
use crate::error::{Kind, StoreError};
use crate::tx::{Tx, reads};

/// A service.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// The id.
    pub id: ServiceId,
    /// What it is.
    pub data: ServiceData,
}

/// What a service is.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceData {
    /// The name.
    pub name: ServiceName,
    /// Whether it has the role of administrators.
    pub admin: bool,
    /// Where it answers, if it has pages.
    pub url: Option<String>,
    /// Free data of the administrators.
    pub info: Map<String, Json>,
    /// Whether the home page shows it.
    pub display: bool,
    /// Whether users are not asked before it may know them.
    pub oauth_no_confirm: bool,
    /// Whether it is there because the configuration says so.
    pub from_config: bool,
    /// What the hub starts for it; empty if others do.
    pub command: Vec<String>,
    /// The scopes that it may ask its users for, as written.
    pub oauth_client_allowed_scopes: Vec<String>,
}

impl ServiceData {
    /// A service of which nothing but its name is known, and that pages show.
    pub fn named(name: ServiceName) -> Self {
        Self {
            name,
            admin: false,
            url: None,
            info: Map::new(),
            display: true,
            oauth_no_confirm: false,
            from_config: false,
            command: Vec::new(),
            oauth_client_allowed_scopes: Vec::new(),
        }
    }
}

/// The columns of a service, as [`Service::read`] wants them.
macro_rules! service_columns {
    () => {
        "services.id AS service_id, services.name AS service_name, \
         services.admin AS service_admin, services.url AS service_url, \
         services.info AS service_info, services.display AS service_display, \
         services.oauth_no_confirm AS service_oauth_no_confirm, \
         services.from_config AS service_from_config, services.command AS service_command, \
         services.oauth_client_allowed_scopes AS service_allowed_scopes"
    };
}
pub(crate) use service_columns;

impl Service {
    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("service_id")?,
            data: ServiceData {
                name: row.get("service_name")?,
                admin: row.get("service_admin")?,
                url: row.get("service_url")?,
                info: row.json("service_info")?,
                display: row.get("service_display")?,
                oauth_no_confirm: row.get("service_oauth_no_confirm")?,
                from_config: row.get("service_from_config")?,
                command: row.json("service_command")?,
                oauth_client_allowed_scopes: row.json("service_allowed_scopes")?,
            },
        })
    }
}

reads! {
    /// Finds a service by name.
    find_service(name: &ServiceName) -> Option<Service>;
    /// Finds a service by id.
    find_service_by_id(id: ServiceId) -> Option<Service>;
    /// Lists all services, by name.
    list_services() -> Vec<Service>;
}

async fn find_service(db: &mut Db<'_>, name: &ServiceName) -> Result<Option<Service>, StoreError> {
    let sql = concat!(
        "SELECT ",
        service_columns!(),
        " FROM services WHERE name = $1"
    );
    let row = db.first("find a service", sql, values![name]).await?;
    row.as_ref().map(Service::read).transpose()
}

async fn find_service_by_id(db: &mut Db<'_>, id: ServiceId) -> Result<Option<Service>, StoreError> {
    let sql = concat!(
        "SELECT ",
        service_columns!(),
        " FROM services WHERE id = $1"
    );
    let row = db.first("find a service", sql, values![id]).await?;
    row.as_ref().map(Service::read).transpose()
}

async fn list_services(db: &mut Db<'_>) -> Result<Vec<Service>, StoreError> {
    let sql = concat!(
        "SELECT ",
        service_columns!(),
        " FROM services ORDER BY name"
    );
    let rows = db.all("list the services", sql, Vec::new()).await?;
    rows.iter().map(Service::read).collect()
}

impl Tx {
    /// Creates a service, or brings the one of that name up to date; its tokens and roles stay.
    pub async fn upsert_service(&mut self, data: &ServiceData) -> Result<Service, StoreError> {
        let sql = concat!(
            "INSERT INTO services \
             (name, admin, url, info, display, oauth_no_confirm, from_config, command, \
             oauth_client_allowed_scopes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
             ON CONFLICT (name) DO UPDATE SET admin = excluded.admin, url = excluded.url, \
             info = excluded.info, display = excluded.display, \
             oauth_no_confirm = excluded.oauth_no_confirm, from_config = excluded.from_config, \
             command = excluded.command, \
             oauth_client_allowed_scopes = excluded.oauth_client_allowed_scopes \
             RETURNING ",
            service_columns!()
        );
        let all = vec![
            Value::from(&data.name),
            data.admin.into(),
            data.url.as_deref().into(),
            Value::json(&data.info)?,
            data.display.into(),
            data.oauth_no_confirm.into(),
            data.from_config.into(),
            Value::json(&data.command)?,
            Value::json(&data.oauth_client_allowed_scopes)?,
        ];
        let row = self
            .db()
            .first("store a service", sql, all)
            .await?
            .ok_or_else(|| StoreError::not_found(Kind::Service, &data.name))?;
        Service::read(&row)
    }

    /// Says whether a service has the role of administrators.
    pub async fn set_service_admin(
        &mut self,
        id: ServiceId,
        admin: bool,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE services SET admin = $2 WHERE id = $1";
        let all = values![id, admin];
        match self.db().run("change a service", sql, all).await? {
            0 => Err(StoreError::not_found(Kind::Service, id)),
            _ => Ok(()),
        }
    }

    /// Deletes a service with its tokens and OAuth clients; says whether there was one.
    pub async fn delete_service(&mut self, id: ServiceId) -> Result<bool, StoreError> {
        let sql = "DELETE FROM services WHERE id = $1";
        let count = self.db().run("delete a service", sql, values![id]).await?;
        Ok(count > 0)
    }
}
