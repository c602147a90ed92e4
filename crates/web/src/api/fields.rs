//! JSON objects that the API takes: which keys they may have, and of what type each is (JupyterHub
//! `APIHandler._check_model`).

use http::StatusCode;
use serde_json::{Map, Value};

use crate::ApiError;

/// How many names one request may give: many more than a course has, few enough to be written in one go.
const MAX_NAMES: usize = 10_000;

/// What the value of a key has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Bool,
    List,
    Object,
}

impl Kind {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Bool => value.is_boolean(),
            Self::List => value.is_array(),
            Self::Object => value.is_object(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Bool => "true or false",
            Self::List => "a list",
            Self::Object => "an object",
        }
    }
}

/// The fields of an object, checked.
#[derive(Debug, Default)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Checks an object: other keys, and values of other types, are mistakes.
    pub(crate) fn read(body: Option<Value>, known: &[(&str, Kind)]) -> Result<Self, ApiError> {
        let Some(Value::Object(fields)) = body else {
            return Err(ApiError::bad_request("the body must be a JSON object"));
        };
        for (key, value) in &fields {
            let Some((name, kind)) = known.iter().find(|(name, _)| name == key) else {
                let names: Vec<_> = known.iter().map(|(name, _)| format!("`{name}`")).collect();
                return Err(ApiError::bad_request(format!(
                    "there is a key that is not known here; these are: {}",
                    names.join(", ")
                )));
            };
            if !kind.fits(value) {
                let kind = kind.name();
                return Err(ApiError::bad_request(format!("`{name}` must be {kind}")));
            }
        }
        Ok(Self(fields))
    }

    /// The same for an object that need not be there; what is empty counts as nothing.
    pub(crate) fn read_if_any(
        body: Option<Value>,
        known: &[(&str, Kind)],
    ) -> Result<Self, ApiError> {
        match body {
            None | Some(Value::Null | Value::Bool(false)) => Ok(Self::default()),
            Some(Value::Array(list)) if list.is_empty() => Ok(Self::default()),
            Some(Value::String(text)) if text.is_empty() => Ok(Self::default()),
            Some(Value::Number(number)) if number.as_f64() == Some(0.0) => Ok(Self::default()),
            body => Self::read(body, known),
        }
    }

    /// Whether a key is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Takes a truth value, if it is there.
    pub(crate) fn take_bool(&mut self, key: &str) -> Option<bool> {
        self.0.remove(key)?.as_bool()
    }

    /// Takes a text, if it is there.
    pub(crate) fn take_text(&mut self, key: &str) -> Option<String> {
        match self.0.remove(key)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Takes an object, if it is there.
    pub(crate) fn take_object(&mut self, key: &str) -> Option<Map<String, Value>> {
        match self.0.remove(key)? {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Takes a list of names; an empty one if it is not there.
    pub(crate) fn take_names(&mut self, key: &str) -> Result<Vec<String>, ApiError> {
        let Some(Value::Array(list)) = self.0.remove(key) else {
            return Ok(Vec::new());
        };
        if list.len() > MAX_NAMES {
            return Err(ApiError::with(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("`{key}` has more than {MAX_NAMES} names; send them in parts"),
            ));
        }
        list.into_iter()
            .map(|name| match name {
                Value::String(name) => Ok(name),
                _ => Err(ApiError::bad_request(format!(
                    "`{key}` must be a list of texts"
                ))),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KNOWN: [(&str, Kind); 2] = [("users", Kind::List), ("admin", Kind::Bool)];

    #[test]
    fn objects_have_known_keys_of_the_right_types() {
        for good in [json!({}), json!({"users": [], "admin": true})] {
            assert!(Fields::read(Some(good.clone()), &KNOWN).is_ok(), "{good}");
        }
        for bad in [
            json!(null),
            json!([]),
            json!("users"),
            json!({"Users": []}),
            json!({"users": "ada"}),
            json!({"admin": 1}),
            json!({"admin": null}),
        ] {
            let status = Fields::read(Some(bad.clone()), &KNOWN).map_err(|error| error.status());
            assert_eq!(status.err(), Some(StatusCode::BAD_REQUEST), "{bad}");
        }
        assert!(Fields::read(None, &KNOWN).is_err());
    }

    #[test]
    fn what_need_not_be_there_may_be_empty() {
        for nothing in [
            json!(null),
            json!([]),
            json!({}),
            json!(""),
            json!(0),
            json!(false),
        ] {
            let fields = Fields::read_if_any(Some(nothing.clone()), &KNOWN);
            assert!(fields.is_ok(), "{nothing}");
        }
        assert!(Fields::read_if_any(None, &KNOWN).is_ok());
        for bad in [
            json!([1]),
            json!("x"),
            json!(1),
            json!(true),
            json!({"x": 1}),
        ] {
            assert!(
                Fields::read_if_any(Some(bad.clone()), &KNOWN).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn lists_of_names_hold_texts_and_not_too_many() {
        let names = |list: Value| {
            let mut fields = Fields::read(Some(json!({ "users": list })), &KNOWN).unwrap();
            fields.take_names("users").map_err(|error| error.status())
        };
        assert_eq!(names(json!(["ada"])), Ok(vec!["ada".to_owned()]));
        assert_eq!(names(json!(["ada", 1])), Err(StatusCode::BAD_REQUEST));
        let many = json!(vec!["x"; MAX_NAMES + 1]);
        assert_eq!(names(many), Err(StatusCode::PAYLOAD_TOO_LARGE));
    }
}
