//! The shapes of bodies: what is sent, and what comes back.

use serde_json::{Value, json};

/// All schemas by name.
pub(super) fn all() -> Value {
    let mut all = answers();
    if let (Value::Object(all), Value::Object(requests)) = (&mut all, requests()) {
        all.extend(requests);
    }
    all
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time", "nullable": true})
}

fn texts() -> Value {
    json!({"type": "array", "items": {"type": "string"}})
}

fn maybe_text() -> Value {
    json!({"type": "string", "nullable": true})
}

fn maybe_texts() -> Value {
    json!({"type": "array", "nullable": true, "items": {"type": "string"}})
}

fn list_of(schema: &str) -> Value {
    json!({"type": "array", "items": {"$ref": format!("#/components/schemas/{schema}")}})
}

fn answers() -> Value {
    let pending = json!({"type": "string", "nullable": true, "enum": ["spawn", "stop", "check", "rename", null]});
    let shared_server = json!({
        "type": "object",
        "required": ["user", "name", "url", "ready"],
        "properties": {
            "user": {"type": "object", "properties": {"name": {"type": "string"}}},
            "name": {"type": "string"},
            "url": {"type": "string"},
            "full_url": maybe_text(),
            "ready": {"type": "boolean"},
        },
    });
    let name_or_null =
        json!({"type": "object", "nullable": true, "properties": {"name": {"type": "string"}}});
    let token = json!({
        "id": {"type": "string"},
        "kind": {"type": "string", "enum": ["api_token"]},
        "user": {"type": "string"},
        "service": {"type": "string"},
        "roles": texts(),
        "scopes": texts(),
        "created": time(),
        "last_activity": time(),
        "expires_at": time(),
        "note": maybe_text(),
        "session_id": maybe_text(),
        "oauth_client": maybe_text(),
    });
    let code = json!({
        "server": shared_server,
        "scopes": texts(),
        "id": {"type": "string"},
        "created_at": time(),
        "expires_at": time(),
        "exchange_count": {"type": "integer"},
        "last_exchanged_at": time(),
    });
    json!({
        "Anything": {"type": "object"},
        "Error": {
            "type": "object",
            "required": ["status", "message"],
            "properties": {
                "status": {"type": "integer"},
                "message": {"type": "string", "nullable": true, "description": "What is wrong, for people."},
            },
        },
        "OAuthError": {
            "type": "object",
            "required": ["error"],
            "properties": {"error": {"type": "string"}, "error_description": {"type": "string"}},
        },
        "Message": {"type": "object", "properties": {"message": {"type": "string"}}},
        "Version": {"type": "object", "required": ["version"], "properties": {"version": {"type": "string"}}},
        "Info": {
            "type": "object",
            "required": ["version", "python", "sys_executable", "spawner", "authenticator"],
            "properties": {
                "version": {"type": "string"},
                "python": {"type": "string"},
                "sys_executable": {"type": "string"},
                "spawner": {"$ref": "#/components/schemas/Class"},
                "authenticator": {"$ref": "#/components/schemas/Class"},
            },
        },
        "Class": {
            "type": "object",
            "properties": {"class": {"type": "string"}, "version": {"type": "string"}},
        },
        "Pagination": {
            "type": "object",
            "required": ["offset", "limit", "total", "next"],
            "properties": {
                "offset": {"type": "integer"},
                "limit": {"type": "integer"},
                "total": {"type": "integer"},
                "next": {
                    "type": "object",
                    "nullable": true,
                    "properties": {
                        "offset": {"type": "integer"},
                        "limit": {"type": "integer"},
                        "url": {"type": "string"},
                    },
                },
            },
        },
        "User": {
            "type": "object",
            "description": "Fields are there as far as the caller's scopes allow.",
            "required": ["kind", "name"],
            "properties": {
                "kind": {"type": "string", "enum": ["user"]},
                "name": {"type": "string"},
                "admin": {"type": "boolean"},
                "user_info": {"type": "object", "nullable": true},
                "roles": texts(),
                "groups": texts(),
                "server": maybe_text(),
                "pending": pending,
                "created": time(),
                "last_activity": time(),
                "servers": {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Server"}},
                "auth_state": {"type": "object", "nullable": true},
            },
        },
        "Users": list_of("User"),
        "Self": {
            "type": "object",
            "required": ["kind", "name", "token_id", "session_id", "scopes"],
            "properties": {
                "kind": {"type": "string", "enum": ["user", "service"]},
                "name": {"type": "string"},
                "token_id": maybe_text(),
                "session_id": maybe_text(),
                "scopes": texts(),
            },
        },
        "Server": {
            "type": "object",
            "required": ["name", "full_name", "ready", "stopped", "pending", "url", "progress_url"],
            "properties": {
                "name": {"type": "string", "description": "Empty for the default server."},
                "display_name": maybe_text(),
                "full_name": {"type": "string"},
                "last_activity": time(),
                "started": time(),
                "pending": pending,
                "ready": {"type": "boolean"},
                "stopped": {"type": "boolean"},
                "url": {"type": "string"},
                "full_url": maybe_text(),
                "progress_url": {"type": "string"},
                "full_progress_url": maybe_text(),
                "user_options": {"type": "object", "nullable": true},
                "state": {"type": "object", "nullable": true},
            },
        },
        "Token": {"type": "object", "required": ["id", "kind", "scopes", "created"], "properties": token},
        "Tokens": {"type": "object", "required": ["api_tokens"], "properties": {"api_tokens": list_of("Token")}},
        "NewTokenAnswer": {
            "allOf": [
                {"$ref": "#/components/schemas/Token"},
                {"type": "object", "required": ["token"], "properties": {"token": {"type": "string"}}},
            ],
        },
        "Group": {
            "type": "object",
            "required": ["kind", "name"],
            "properties": {
                "kind": {"type": "string", "enum": ["group"]},
                "name": {"type": "string"},
                "roles": texts(),
                "users": texts(),
                "properties": {"type": "object"},
            },
        },
        "Groups": list_of("Group"),
        "Service": {
            "type": "object",
            "required": ["kind", "name"],
            "properties": {
                "kind": {"type": "string", "enum": ["service"]},
                "name": {"type": "string"},
                "admin": {"type": "boolean"},
                "roles": texts(),
                "url": maybe_text(),
                "prefix": maybe_text(),
                "command": texts(),
                "pid": {"type": "integer"},
                "info": {"type": "object", "nullable": true},
                "display": {"type": "boolean", "nullable": true},
            },
        },
        "Services": {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Service"}},
        "Routes": {"type": "object"},
        "Share": {
            "type": "object",
            "required": ["server", "scopes", "kind", "created_at"],
            "properties": {
                "server": shared_server,
                "scopes": texts(),
                "user": name_or_null,
                "group": name_or_null,
                "kind": {"type": "string", "enum": ["user", "group"]},
                "created_at": time(),
            },
        },
        "ShareCode": {"type": "object", "required": ["id", "server", "scopes"], "properties": code},
        "NewShareCodeAnswer": {
            "allOf": [
                {"$ref": "#/components/schemas/ShareCode"},
                {
                    "type": "object",
                    "required": ["code", "accept_url"],
                    "properties": {
                        "code": {"type": "string"},
                        "accept_url": {"type": "string"},
                        "full_accept_url": maybe_text(),
                    },
                },
            ],
        },
        "TokenResponse": {
            "type": "object",
            "required": ["access_token", "token_type", "expires_in", "scope"],
            "properties": {
                "access_token": {"type": "string"},
                "token_type": {"type": "string"},
                "expires_in": {"type": "integer"},
                "scope": {"type": "string"},
            },
        },
    })
}

fn requests() -> Value {
    let options = json!({
        "type": "object",
        "nullable": true,
        "description": "What the user chose. Names that begin with `__jupyterhub_` are reserved.",
    });
    let display_name = json!({"type": "string", "minLength": 1, "maxLength": 255});
    let with = json!({
        "type": "object",
        "description": "With a user or with a group, not with both.",
        "additionalProperties": false,
        "properties": {"user": maybe_text(), "group": maybe_text(), "scopes": maybe_texts()},
    });
    json!({
        "Shutdown": {
            "type": "object",
            "properties": {"proxy": {"type": "boolean"}, "servers": {"type": "boolean"}},
        },
        "ProxyChange": {
            "type": "object",
            "properties": {"api_url": {"type": "string"}, "auth_token": {"type": "string"}},
        },
        "NewService": {
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "name": {"type": "string"},
                "admin": {"type": "boolean"},
                "url": maybe_text(),
                "oauth_client_allowed_scopes": texts(),
                "api_token": {"type": "string", "minLength": 8, "maxLength": 64},
                "info": {"type": "object"},
                "display": {"type": "boolean"},
                "oauth_no_confirm": {"type": "boolean"},
                "command": texts(),
                "cwd": maybe_text(),
                "environment": {"type": "object", "additionalProperties": {"type": "string"}},
                "user": maybe_text(),
                "oauth_client_id": {"type": "string"},
                "oauth_redirect_uri": {"type": "string"},
            },
        },
        "NewUsers": {
            "type": "object",
            "required": ["usernames"],
            "properties": {"usernames": {"type": "array", "items": {"type": "string"}, "minItems": 1}, "admin": {"type": "boolean"}},
        },
        "NewUser": {"type": "object", "additionalProperties": false, "properties": {"admin": {"type": "boolean"}}},
        "UserChange": {
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "name": {"type": "string"},
                "admin": {"type": "boolean"},
                "auth_state": {"type": "object", "nullable": true},
            },
        },
        "Activity": {
            "type": "object",
            "description": "At least one of the two.",
            "properties": {
                "last_activity": {"type": "string", "format": "date-time", "nullable": true},
                "servers": {
                    "type": "object",
                    "nullable": true,
                    "additionalProperties": {
                        "type": "object",
                        "required": ["last_activity"],
                        "properties": {"last_activity": {"type": "string", "format": "date-time"}},
                    },
                },
            },
        },
        "NewToken": {
            "type": "object",
            "description": "`scopes` or `roles`, not both.",
            "properties": {
                "note": maybe_text(),
                "expires_in": {"type": "integer", "nullable": true, "minimum": 1, "description": "In seconds."},
                "scopes": texts(),
                "roles": texts(),
                "auth": {
                    "type": "object",
                    "description": "Name and password, instead of credentials.",
                    "properties": {"username": {"type": "string"}, "password": {"type": "string", "format": "password"}},
                },
            },
        },
        "NewGroups": {
            "type": "object",
            "required": ["groups"],
            "properties": {"groups": {"type": "array", "items": {"type": "string"}, "minItems": 1}, "users": texts()},
        },
        "NewGroup": {
            "type": "object",
            "properties": {"users": texts(), "properties": {"type": "object"}},
        },
        "Members": {"type": "object", "required": ["users"], "properties": {"users": texts()}},
        "ServerOptions": {
            "type": "object",
            "properties": {"display_name": display_name, "user_options": options},
        },
        "Start": {
            "type": "object",
            "properties": {"display_name": display_name, "user_options": options},
        },
        "ServerChange": {
            "type": "object",
            "additionalProperties": false,
            "properties": {"name": {"type": "string"}, "display_name": display_name, "user_options": {"type": "object"}},
        },
        "Stop": {
            "type": "object",
            "properties": {"remove": {"type": "boolean", "description": "Deletes the server, too; not the default one."}},
        },
        "NewShare": with,
        "NewShareCode": {
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "scopes": texts(),
                "expires_in": {"type": "integer", "minimum": 60, "maximum": 31_536_000, "description": "In seconds."},
            },
        },
        "TokenRequest": {
            "type": "object",
            "required": ["grant_type"],
            "properties": {
                "grant_type": {"type": "string"},
                "code": {"type": "string"},
                "redirect_uri": {"type": "string"},
                "client_id": {"type": "string"},
                "client_secret": {"type": "string"},
                "code_verifier": {"type": "string"},
            },
        },
    })
}
