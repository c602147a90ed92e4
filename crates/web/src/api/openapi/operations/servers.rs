//! Users' servers.

use http::Method;

use super::{Answer, Body, EMPTY, Operation};

pub(super) const ALL: &[Operation] = &[
    Operation {
        method: Method::GET,
        paths: &[
            "/users/{user}/server",
            "/users/{user}/servers/",
            "/users/{user}/servers/{server}",
        ],
        tag: "servers",
        summary: "Read a server",
        more: "",
        query: &[],
        body: EMPTY,
        answers: &[(200, "The server, running or not", Answer::Json("Server"))],
    },
    Operation {
        method: Method::PUT,
        paths: &[
            "/users/{user}/server",
            "/users/{user}/servers/",
            "/users/{user}/servers/{server}",
        ],
        tag: "servers",
        summary: "Create a server without starting it",
        more: "",
        query: &[],
        body: Some(Body::MaybeJson("ServerOptions")),
        answers: &[
            (201, "The new server", Answer::Json("Server")),
            (
                409,
                "It exists; the default server always does",
                Answer::Json("Error"),
            ),
        ],
    },
    Operation {
        method: Method::POST,
        paths: &[
            "/users/{user}/server",
            "/users/{user}/servers/",
            "/users/{user}/servers/{server}",
        ],
        tag: "servers",
        summary: "Start a server",
        more: "Without either key, the whole object is taken as the options. Without options, those of the last time.",
        query: &[],
        body: Some(Body::MaybeJson("Start")),
        answers: &[
            (201, "It runs", Answer::Empty),
            (202, "It is starting", Answer::Empty),
            (
                429,
                "Too many servers are starting, or running",
                Answer::Json("Error"),
            ),
            (
                500,
                "It could not be started; `message` says why",
                Answer::Json("Error"),
            ),
            (
                503,
                "The hub is shutting down, or could not do it just now",
                Answer::Json("Error"),
            ),
        ],
    },
    Operation {
        method: Method::PATCH,
        paths: &[
            "/users/{user}/server",
            "/users/{user}/servers/",
            "/users/{user}/servers/{server}",
        ],
        tag: "servers",
        summary: "Change a server that does not run",
        more: "",
        query: &[],
        body: Some(Body::Json("ServerChange")),
        answers: &[
            (200, "The server as it is now", Answer::Json("Server")),
            (
                409,
                "There is a server of the new name",
                Answer::Json("Error"),
            ),
        ],
    },
    Operation {
        method: Method::DELETE,
        paths: &[
            "/users/{user}/server",
            "/users/{user}/servers/",
            "/users/{user}/servers/{server}",
        ],
        tag: "servers",
        summary: "Stop a server, and delete it on request",
        more: "",
        query: &[],
        body: Some(Body::MaybeJson("Stop")),
        answers: &[
            (202, "It is stopping", Answer::Empty),
            (204, "It has stopped, or did not run", Answer::Empty),
            (500, "It could not be stopped", Answer::Json("Error")),
            (
                503,
                "The hub could not do it just now",
                Answer::Json("Error"),
            ),
        ],
    },
    Operation {
        method: Method::GET,
        paths: &[
            "/users/{user}/server/progress",
            "/users/{user}/servers/{server}/progress",
        ],
        tag: "servers",
        summary: "Follow a start",
        more: "",
        query: &[],
        body: EMPTY,
        answers: &[(
            200,
            "Events, each a `data:` line with JSON; the last one has `ready` or `failed`",
            Answer::Events,
        )],
    },
];
