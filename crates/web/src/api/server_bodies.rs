//! The bodies of requests that make, start, change and stop servers.

use lyceum_core::ServerRef;
use lyceum_hub::display_name;
use lyceum_hub::{Edit, StartInput};
use serde_json::{Map, Value};

use crate::ApiError;
use crate::forms::{MAX_FIELDS, too_many_fields};

/// What keys begin with that JupyterHub keeps for itself (6.1).
const RESERVED: &str = "__jupyterhub_";

/// Reads what a server is made or started with. Without one of the two keys, the whole object is the options
/// (clients from before JupyterHub 6 send that); an empty list counts as no body.
pub(super) fn start_input(server: &ServerRef, body: Option<Value>) -> Result<StartInput, ApiError> {
    let Some(mut body) = object_or_nothing(body)? else {
        return Ok(StartInput::default());
    };
    if !body.contains_key("user_options") && !body.contains_key("display_name") {
        return Ok(StartInput {
            user_options: Some(checked_options(body)?),
            display_name: None,
        });
    }
    let user_options = match body.remove("user_options") {
        None | Some(Value::Null) => None,
        Some(Value::Object(options)) => Some(checked_options(options)?),
        Some(_) => {
            return Err(ApiError::bad_request(
                "`user_options` must be an object or null",
            ));
        }
    };
    let shown = match body.remove("display_name") {
        None => None,
        Some(Value::String(name)) => Some(name),
        Some(_) => return Err(ApiError::bad_request("`display_name` must be a text")),
    };
    // The default server has none: the key is there for clients that always send it.
    let shown = shown.filter(|_| !server.server.is_default());
    Ok(StartInput {
        user_options,
        display_name: checked_display_name(shown)?,
    })
}

/// Reads how a server is to be changed.
pub(super) fn edit(body: Option<Value>) -> Result<Edit, ApiError> {
    let Some(body) = object_or_nothing(body)? else {
        return Err(ApiError::bad_request(
            "name at least one of `name`, `display_name` and `user_options`",
        ));
    };
    let mut edit = Edit::default();
    let mut shown = None;
    for (key, value) in body {
        match (key.as_str(), value) {
            // `null` changes nothing, as in JupyterHub.
            ("name" | "display_name", Value::Null) => {}
            ("name", Value::String(name)) => edit.name = Some(name),
            ("display_name", Value::String(name)) => shown = Some(name),
            ("user_options", Value::Object(options)) => {
                edit.user_options = Some(checked_options(options)?);
            }
            ("name" | "display_name", _) => {
                return Err(ApiError::bad_request(format!("`{key}` must be a text")));
            }
            ("user_options", _) => {
                return Err(ApiError::bad_request("`user_options` must be an object"));
            }
            _ => {
                return Err(ApiError::bad_request(format!(
                    "`{key}` cannot be changed: there are `name`, `display_name` and `user_options`"
                )));
            }
        }
    }
    edit.display_name = checked_display_name(shown)?;
    Ok(edit)
}

/// Reads whether a server is to be deleted when it has stopped.
pub(super) fn remove(body: Option<Value>) -> Result<bool, ApiError> {
    let Some(body) = object_or_nothing(body)? else {
        return Ok(false);
    };
    match body.get("remove") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(remove)) => Ok(*remove),
        Some(_) => Err(ApiError::bad_request("`remove` must be true or false")),
    }
}

/// An object with something in it, or nothing: what is empty in Python counts as no body in JupyterHub.
fn object_or_nothing(body: Option<Value>) -> Result<Option<Map<String, Value>>, ApiError> {
    match body {
        None | Some(Value::Null | Value::Bool(false)) => Ok(None),
        Some(Value::Array(list)) if list.is_empty() => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::Number(number)) if number.as_f64() == Some(0.0) => Ok(None),
        Some(Value::Object(body)) => Ok((!body.is_empty()).then_some(body)),
        Some(_) => Err(ApiError::bad_request("the body must be a JSON object")),
    }
}

/// Keys that JupyterHub keeps for itself cannot be options.
pub(crate) fn checked_options(options: Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
    if options.len() > MAX_FIELDS {
        return Err(too_many_fields());
    }
    match options.keys().find(|key| key.starts_with(RESERVED)) {
        Some(key) => Err(ApiError::bad_request(format!(
            "`{key}` cannot be an option: the name is reserved"
        ))),
        None => Ok(options),
    }
}

/// An empty name is none.
fn checked_display_name(name: Option<String>) -> Result<Option<String>, ApiError> {
    name.filter(|name| !name.is_empty())
        .map(|name| display_name::display_name(&name))
        .transpose()
        .map_err(|error| ApiError::bad_request(error.to_string()))
}

#[cfg(test)]
mod tests {
    use lyceum_core::{ServerName, UserName};
    use serde_json::json;

    use super::*;

    fn server(name: &str) -> ServerRef {
        let user = UserName::parse("ada").unwrap();
        ServerRef::new(user, ServerName::parse(name).unwrap())
    }

    #[test]
    fn a_body_without_the_two_keys_is_all_options() {
        let read = |body| start_input(&server("lab"), Some(body)).unwrap();
        let input = read(json!({"memory": "2G"}));
        assert_eq!(
            input.user_options,
            json!({"memory": "2G"}).as_object().cloned()
        );
        let input = read(json!({"user_options": {"a": 1}, "display_name": "x"}));
        assert_eq!(input.user_options, json!({"a": 1}).as_object().cloned());
        assert_eq!(input.display_name.as_deref(), Some("x"));
        for nothing in [json!([]), json!({}), json!(null), json!("")] {
            assert!(read(nothing).user_options.is_none());
        }
        assert_eq!(
            read(json!({"user_options": {}})).user_options,
            Some(Map::new()),
            "an empty object replaces the options of before"
        );
    }

    #[test]
    fn bodies_of_other_types_are_refused() {
        for body in [
            json!("x"),
            json!(1),
            json!([1]),
            json!({"user_options": 1}),
            json!({"display_name": 1}),
            json!({"display_name": null}),
            json!({"display_name": "a\u{202e}b"}),
            json!({"__jupyterhub_bytes__": true}),
        ] {
            assert!(
                start_input(&server("lab"), Some(body.clone())).is_err(),
                "{body}"
            );
        }
        let input = start_input(&server(""), Some(json!({"display_name": "a  b"}))).unwrap();
        assert_eq!(input.display_name, None, "the default server has none");
    }

    #[test]
    fn a_change_names_what_there_is_to_change() {
        for body in [
            json!({}),
            json!([]),
            json!([1]),
            json!(5),
            json!({"x": 1}),
            json!({"name": 5}),
            json!({"display_name": []}),
            json!({"display_name": "a\nb"}),
            json!({"user_options": null}),
            json!({"user_options": []}),
            json!({"name": "lab", "state": {}}),
        ] {
            assert!(edit(Some(body.clone())).is_err(), "{body}");
        }
        let read = edit(Some(
            json!({"name": "", "display_name": "", "user_options": {}}),
        ))
        .unwrap();
        assert_eq!(read.name.as_deref(), Some(""));
        assert_eq!(read.display_name, None);
        assert_eq!(read.user_options, Some(Map::new()));
    }
}
