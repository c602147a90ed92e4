//! How an event is printed: a line of a table for people, a JSON object for programs.

use lyceum_core::clock::iso_format;
use lyceum_store::AuditRow;
use serde_json::{Value, json};

/// How wide a column may become, in characters; longer texts move the rest of their line.
const WIDEST: usize = 32;

/// The form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Objects for programs.
    Json,
    /// Columns of these widths, in characters.
    Table {
        kind: usize,
        actor: usize,
        about: usize,
        address: usize,
    },
}

impl Form {
    /// A table that fits these events.
    pub(super) fn table(rows: &[AuditRow]) -> Self {
        let widest = |least: usize, text: &dyn Fn(&AuditRow) -> String| {
            let widths = rows.iter().map(|row| text(row).chars().count());
            widths.max().unwrap_or(0).clamp(least, WIDEST)
        };
        Self::Table {
            kind: widest(12, &|row| row.kind.clone()),
            actor: widest(8, &|row| row.actor.clone()),
            about: widest(8, &about),
            address: widest(9, &address),
        }
    }
}

/// Prints one event.
pub(super) fn line(row: &AuditRow, form: Form) -> String {
    match form {
        Form::Json => json!({
            "id": row.id,
            "at": iso_format(row.at),
            "kind": row.kind,
            "actor": row.actor,
            "about": row.about,
            "server": row.server,
            "client_addr": row.client_addr,
            "detail": row.detail,
        })
        .to_string(),
        Form::Table {
            kind: kind_width,
            actor: actor_width,
            about: about_width,
            address: address_width,
        } => {
            let text = format!(
                "{}  {:kind_width$}  {:actor_width$}  {:about_width$}  {:address_width$}  {}",
                row.at.strftime("%Y-%m-%d %H:%M:%SZ"),
                plain(&row.kind),
                plain(&row.actor),
                about(row),
                address(row),
                detail(&row.detail),
            );
            text.trim_end().to_owned()
        }
    }
}

/// Whom it is about: the user, and the server if it is one.
fn about(row: &AuditRow) -> String {
    let user = row.about.as_deref().unwrap_or("-");
    let text = match &row.server {
        Some(server) => format!("{user}/{server}"),
        None => user.to_owned(),
    };
    plain(&text)
}

fn address(row: &AuditRow) -> String {
    plain(row.client_addr.as_deref().unwrap_or("-"))
}

/// The rest, as `key=value`; what is empty is left out.
fn detail(detail: &Value) -> String {
    let Value::Object(map) = detail else {
        return plain(&detail.to_string());
    };
    let pairs = map.iter().filter_map(|(key, value)| {
        let text = match value {
            Value::Null => return None,
            // That somebody is no administrator any more is what one looks for.
            Value::Bool(false) if key != "admin" => return None,
            Value::Array(list) if list.is_empty() => return None,
            Value::Bool(true) => return Some(key.clone()),
            Value::Array(list) if list.iter().all(Value::is_string) => list
                .iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(","),
            Value::String(text) if !text.is_empty() && !text.contains([' ', '=', '"']) => {
                text.clone()
            }
            value => value.to_string(),
        };
        Some(format!("{key}={text}"))
    });
    plain(&pairs.collect::<Vec<_>>().join(" "))
}

/// Takes away what would do something to the terminal.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
