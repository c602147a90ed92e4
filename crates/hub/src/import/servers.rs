//! Servers: their names and the options of their last start. None of them runs here.

use lyceum_core::{ServerName, ServerRef};
use lyceum_store::StoreError;
use lyceum_store::jupyterhub::Server as Foreign;
use serde_json::{Map, Value as Json};

use super::Import;
use super::report::{Item, Kind, Outcome};
use crate::display_name::display_name;

/// The mark that JupyterHub puts on an uploaded file in the options (`orm.JSONDict`).
const BYTES: &str = "__jupyterhub_bytes__";

impl Import<'_> {
    pub(super) async fn import_servers(&mut self) -> Result<(), StoreError> {
        let mut named = false;
        for foreign in &self.source.servers {
            if self.is_blank(foreign) {
                continue;
            }
            let shown = format!("{}/{}", self.user_name(foreign.user), foreign.name);
            let Some((user, user_name)) = self.users.get(&foreign.user).cloned() else {
                let item = Item::skipped(Kind::Server, shown, "its user is not taken");
                self.report.add(item);
                continue;
            };
            let name = match ServerName::parse(&foreign.name) {
                Ok(name) => name,
                Err(error) => {
                    let item = Item::skipped(Kind::Server, shown, error.to_string());
                    self.report.add(item);
                    continue;
                }
            };
            named |= !name.is_default();
            // JupyterHub does not say when it was made.
            let created = foreign.started.or(foreign.last_activity);
            let created = created.unwrap_or(self.options.now);
            let (server, new) = self.tx.ensure_server(user, &name, created).await?;
            let outcome = if new { Outcome::Added } else { Outcome::Kept };
            let mut item = Item::new(Kind::Server, shown, outcome);
            if foreign.running {
                item.note("runs there, or did when the file was copied; here it is stopped");
            }
            match shown_name(foreign) {
                Some(Ok(name)) if server.display_name.is_none() => {
                    self.tx.set_display_name(server.id, Some(&name)).await?;
                    item.change(format!("is shown as `{name}`"));
                }
                Some(Ok(name)) if server.display_name.as_ref() != Some(&name) => {
                    item.note("is shown as it was here");
                }
                Some(Err(reason)) => item.note(reason),
                Some(Ok(_)) | None => {}
            }
            let (user_options, files) = foreign.user_options.as_ref().map_or_else(
                || (Map::new(), false),
                |options| without_files(options.clone()),
            );
            if files {
                item.note("files that were uploaded for its start are not taken");
            }
            if !user_options.is_empty() && server.user_options.is_none() {
                self.tx
                    .set_user_options(server.id, Some(&user_options))
                    .await?;
                item.change("options of its last start taken");
            } else if !user_options.is_empty()
                && server.user_options.as_ref() != Some(&user_options)
            {
                item.note("options of its last start stay as they are here");
            }
            if let Some(seen) = foreign.last_activity
                && server.last_activity.is_none_or(|known| known < seen)
            {
                self.activity.server(server.id, seen);
                if !new {
                    item.change("was last used there");
                }
            }
            self.report.add(item);
            let server_ref = ServerRef::new(user_name, name);
            self.servers.insert(foreign.id, (server.id, server_ref));
        }
        if named && !self.options.named_servers {
            self.report.note(
                "named servers are not enabled here, so that nobody can start those that were taken: set \
                 `named_servers` in [hub]",
            );
        }
        Ok(())
    }

    /// Whether nothing is known of a default server: JupyterHub keeps an empty row for everybody who has a home page.
    fn is_blank(&self, foreign: &Foreign) -> bool {
        let options = foreign.user_options.as_ref();
        foreign.name.is_empty()
            && !foreign.running
            && foreign.started.is_none()
            && foreign.last_activity.is_none()
            && options.is_none_or(Map::is_empty)
            && !self.is_shared(foreign.id)
    }

    fn is_shared(&self, server: i64) -> bool {
        self.source
            .shares
            .iter()
            .any(|share| share.server == server)
            || self
                .source
                .share_codes
                .iter()
                .any(|code| code.server == server)
    }
}

/// What pages call a server, if that is not its name.
fn shown_name(foreign: &Foreign) -> Option<Result<String, String>> {
    let text = foreign.display_name.as_deref()?;
    if text.is_empty() || text == foreign.name {
        return None;
    }
    Some(
        display_name(text)
            .map_err(|error| format!("the name under which it is shown is not taken: {error}")),
    )
}

/// Leaves uploaded files out of options; says whether there were any.
fn without_files(options: Map<String, Json>) -> (Map<String, Json>, bool) {
    let mut found = false;
    let options = options
        .into_iter()
        .filter_map(|(key, value)| strip(value, &mut found).map(|value| (key, value)))
        .collect();
    (options, found)
}

fn strip(value: Json, found: &mut bool) -> Option<Json> {
    match value {
        Json::Object(map) if map.contains_key(BYTES) => {
            *found = true;
            None
        }
        Json::Object(map) => Some(Json::Object(
            map.into_iter()
                .filter_map(|(key, value)| strip(value, found).map(|value| (key, value)))
                .collect(),
        )),
        Json::Array(list) => Some(Json::Array(
            list.into_iter()
                .filter_map(|value| strip(value, found))
                .collect(),
        )),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn uploaded_files_are_left_out_of_options() {
        let options = json!({
            "profile": "small",
            "upload": [{"__jupyterhub_bytes__": true, "data": "aGk="}],
            "nested": {"file": {"__jupyterhub_bytes__": true, "data": "aGk="}, "a": 1},
        });
        let Json::Object(options) = options else {
            panic!("not an object");
        };
        let (left, found) = without_files(options);
        assert!(found);
        assert_eq!(
            Json::Object(left),
            json!({"profile": "small", "upload": [], "nested": {"a": 1}})
        );
    }
}
