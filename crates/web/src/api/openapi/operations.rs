//! What the endpoints take and answer, in words: one entry for each.

mod hub;
mod people;
mod servers;
mod shares;

use http::Method;
use serde_json::{Value, json};

/// What there is to say of an endpoint beyond who may use it.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) method: Method,
    /// The paths; several that mean the same.
    pub(super) paths: &'static [&'static str],
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    /// More, in whole sentences.
    pub(super) more: &'static str,
    pub(super) query: &'static [Parameter],
    pub(super) body: Option<Body>,
    /// Statuses with what they mean and carry.
    pub(super) answers: &'static [(u16, &'static str, Answer)],
}

impl Operation {
    pub(super) fn is_of(&self, method: &Method, path: &str) -> bool {
        self.method == *method && self.paths.contains(&path)
    }
}

/// A parameter of the query.
#[derive(Debug)]
pub(super) struct Parameter {
    name: &'static str,
    about: &'static str,
    kind: Kind,
}

/// What a parameter of the query can be.
#[derive(Debug)]
enum Kind {
    Integer,
    Text,
    OneOf(&'static [&'static str]),
}

impl Parameter {
    pub(super) fn describe(&self) -> Value {
        let schema = match self.kind {
            Kind::Integer => json!({"type": "integer"}),
            Kind::Text => json!({"type": "string"}),
            Kind::OneOf(all) => json!({"type": "string", "enum": all}),
        };
        json!({"name": self.name, "in": "query", "description": self.about, "schema": schema})
    }
}

/// The body of a request.
#[derive(Debug)]
pub(super) enum Body {
    /// JSON of this schema, which must be there.
    Json(&'static str),
    /// JSON of this schema, or nothing.
    MaybeJson(&'static str),
    /// A form of this schema.
    Form(&'static str),
}

impl Body {
    pub(super) fn describe(&self) -> Value {
        let (kind, schema, required) = match self {
            Self::Json(schema) => ("application/json", schema, true),
            Self::MaybeJson(schema) => ("application/json", schema, false),
            Self::Form(schema) => ("application/x-www-form-urlencoded", schema, true),
        };
        // Where no body is needed, `null` is none.
        let schema = if required {
            reference(schema)
        } else {
            json!({"nullable": true, "allOf": [reference(schema)]})
        };
        json!({"required": required, "content": {kind: {"schema": schema}}})
    }
}

/// What an answer carries.
#[derive(Debug)]
pub(super) enum Answer {
    /// Nothing.
    Empty,
    /// JSON of this schema.
    Json(&'static str),
    /// A list of these, or a page of them if the request accepts `application/jupyterhub-pagination+json`.
    List(&'static str),
    /// A page of these.
    Page(&'static str),
    /// Text in Prometheus' format.
    Metrics,
    /// Server-sent events.
    Events,
    /// A page for people.
    Html,
}

impl Answer {
    pub(super) fn describe(&self, description: &str) -> Value {
        let content = match self {
            Self::Empty => return json!({"description": description}),
            Self::Json(schema) => json!({"application/json": {"schema": reference(schema)}}),
            Self::List(schema) => {
                let list = json!({"type": "array", "items": reference(schema)});
                json!({"application/json": {"schema": {"oneOf": [list, page(schema)]}}})
            }
            Self::Page(schema) => json!({"application/json": {"schema": page(schema)}}),
            Self::Metrics => json!({"text/plain": {"schema": {"type": "string"}}}),
            // Events have no schema in this version of OpenAPI.
            Self::Events => json!({"text/event-stream": {}}),
            Self::Html => json!({"text/html": {"schema": {"type": "string"}}}),
        };
        json!({"description": description, "content": content})
    }
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn page(schema: &str) -> Value {
    json!({
        "type": "object",
        "required": ["items", "_pagination"],
        "properties": {
            "items": {"type": "array", "items": reference(schema)},
            "_pagination": reference("Pagination"),
        },
    })
}

const OFFSET: Parameter = Parameter {
    name: "offset",
    about: "How many to pass over.",
    kind: Kind::Integer,
};
const LIMIT: Parameter = Parameter {
    name: "limit",
    about: "How many at most; no more than the hub's own limit.",
    kind: Kind::Integer,
};
const STOPPED: Parameter = Parameter {
    name: "include_stopped_servers",
    about: "Shows servers that do not run, too; any value but `0` and `false` means yes.",
    kind: Kind::Text,
};
const PAGING: &[Parameter] = &[OFFSET, LIMIT];
const EMPTY: Option<Body> = None;

/// Finds what there is to say of an endpoint.
pub(super) fn find(method: &Method, path: &str) -> Option<&'static Operation> {
    all().find(|operation| operation.is_of(method, path))
}

/// All of it.
pub(super) fn all() -> impl Iterator<Item = &'static Operation> {
    let all = [hub::ALL, people::ALL, servers::ALL, shares::ALL];
    all.into_iter().flatten()
}

/// Says what a name in a path is.
pub(super) fn path_parameter(name: &str) -> &'static str {
    match name {
        "user" => "The name of a user.",
        "owner" => "The name of the user whose server it is.",
        "server" => "The name of a server.",
        "group" => "The name of a group.",
        "service" => "The name of a service.",
        "token_id" => "The id of a token, such as `a12`; not its secret.",
        "token" => "A token.",
        "cookie_name" => "The name of a cookie.",
        "cookie_value" => "The value of a cookie.",
        _ => "",
    }
}
