//! The OpenAPI document of the API: made of the table of endpoints, so that it can leave none out.
//!
//! What the table cannot know (bodies, answers, words) is in `openapi/`; the document is served, and committed as
//! `docs/openapi.json`.

mod operations;
mod schemas;

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use lyceum_core::scope::Scope;
use serde_json::{Map, Value, json};

use self::operations::{Answer, Operation, Parameter};
use super::endpoints::{Endpoint, Endpoints, Rule};

/// `GET /hub/api/openapi.json`.
pub(crate) fn endpoints() -> Endpoints {
    Endpoints::default().get("/openapi.json", Rule::Public, serve)
}

async fn serve() -> Response {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| text(&document(&super::endpoints().into_list())));
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (StatusCode::OK, headers, TEXT.as_str()).into_response()
}

/// Writes the document for people and version control.
pub(crate) fn text(document: &Value) -> String {
    let mut text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.push('\n');
    text
}

/// Makes the document of these endpoints.
pub(crate) fn document(endpoints: &[Endpoint]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in endpoints {
        let Some(operation) = operations::find(&endpoint.method, endpoint.path) else {
            continue;
        };
        let entry = paths
            .entry(endpoint.path)
            .or_insert_with(|| path_item(endpoint.path));
        if let Value::Object(entry) = entry {
            let method = endpoint.method.as_str().to_lowercase();
            entry.insert(method, describe(endpoint, operation));
        }
    }
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Lyceum's REST API",
            "version": lyceum_hub::JUPYTERHUB_VERSION,
            "description": "The REST API of JupyterHub 6, as Lyceum serves it. The version is that of JupyterHub whose \
                            behaviour clients find. `docs/compatibility.md` lists every difference.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "servers": [{
            "url": "{base}hub/api",
            "variables": {"base": {"default": "/", "description": "`hub.base_url` of the configuration"}},
        }],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API token, as `Authorization: Bearer …` or `Authorization: token …`. A login cookie does, too: \
                                    then the browser's token against forged requests (`_xsrf`) must be sent as well.",
                },
            },
        },
    })
}

/// What all methods of a path have in common: the names in it.
fn path_item(path: &str) -> Value {
    let names = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameters: Vec<Value> = names
        .map(|name| {
            json!({
                "name": name,
                "in": "path",
                "required": true,
                "description": operations::path_parameter(name),
                "schema": {"type": "string", "minLength": 1},
            })
        })
        .collect();
    json!({ "parameters": parameters })
}

fn describe(endpoint: &Endpoint, operation: &Operation) -> Value {
    let mut description = operation.more.to_owned();
    let (who, open) = match endpoint.rule {
        Rule::Public => ("Everybody may ask.".to_owned(), true),
        Rule::Known => ("Whoever has proved who they are may ask.".to_owned(), false),
        Rule::Other(text) => (format!("Who may: {text}."), true),
        Rule::Scopes { any, .. } => (needs(any), false),
    };
    if !description.is_empty() {
        description.push(' ');
    }
    description.push_str(&who);
    let mut described = json!({
        "summary": operation.summary,
        "description": description,
        "tags": [operation.tag],
        "responses": responses(endpoint, operation, open),
    });
    if let Value::Object(described) = &mut described {
        if open {
            described.insert("security".to_owned(), json!([]));
        }
        if !operation.query.is_empty() {
            let query: Vec<Value> = operation.query.iter().map(Parameter::describe).collect();
            described.insert("parameters".to_owned(), Value::Array(query));
        }
        if let Some(body) = &operation.body {
            described.insert("requestBody".to_owned(), body.describe());
        }
    }
    described
}

fn needs(any: &[Scope]) -> String {
    let names: Vec<String> = any.iter().map(|scope| format!("`{scope}`")).collect();
    format!("Needs the scope {}.", names.join(" or "))
}

/// The answers that the operation names, and those that follow from what it is.
fn responses(endpoint: &Endpoint, operation: &Operation, open: bool) -> Value {
    let mut responses = Map::new();
    let mut put = |status: u16, description: &str, answer: &Answer| {
        responses
            .entry(status.to_string())
            .or_insert_with(|| answer.describe(description));
    };
    for (status, description, answer) in operation.answers {
        put(*status, description, answer);
    }
    if !open {
        put(
            403,
            "No or bad credentials, or none of the scopes that are needed",
            &Answer::Json("Error"),
        );
    }
    if endpoint.path.contains('{') {
        put(
            404,
            "There is no such object, or the caller may not know of it",
            &Answer::Json("Error"),
        );
    }
    let reads_path = endpoint.path.contains('{');
    if operation.body.is_some() || !operation.query.is_empty() || reads_path {
        put(
            400,
            "The request is not as it must be; `message` says what is wrong",
            &Answer::Json("Error"),
        );
    }
    if operation.body.is_some() {
        put(
            408,
            "The body did not arrive in time",
            &Answer::Json("Error"),
        );
        put(413, "The body is too large", &Answer::Json("Error"));
    }
    Value::Object(responses)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_endpoint_is_described_and_nothing_else_is() {
        let endpoints = super::super::endpoints().into_list();
        for endpoint in &endpoints {
            assert!(
                operations::find(&endpoint.method, endpoint.path).is_some(),
                "describe {} {} in src/api/openapi/operations*.rs",
                endpoint.method,
                endpoint.path
            );
        }
        for operation in operations::all() {
            let known = endpoints
                .iter()
                .any(|endpoint| operation.is_of(&endpoint.method, endpoint.path));
            assert!(
                known,
                "there is no endpoint {} {:?}",
                operation.method, operation.paths
            );
        }
    }

    #[test]
    fn every_schema_that_is_named_exists() {
        let document = document(&super::super::endpoints().into_list());
        let text = document.to_string();
        for part in text.split("\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(
                document["components"]["schemas"][name].is_object(),
                "{name}"
            );
        }
    }

    #[test]
    fn the_committed_document_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
        let now = text(&document(&super::super::endpoints().into_list()));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &now).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == now,
            "docs/openapi.json is not that of the code: run `UPDATE_DOCS=1 cargo test -p lyceum-web openapi`"
        );
    }
}
