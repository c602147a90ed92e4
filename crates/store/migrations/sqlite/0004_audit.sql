-- What happened, for administrators; and from where users have logged in before. Keep in step with the file for
-- PostgreSQL. Names are kept as text: an event outlives whom it is about.

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    about TEXT,
    server TEXT,
    client_addr TEXT,
    detail TEXT NOT NULL
);
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_by_about ON audit (about);
CREATE INDEX audit_by_actor ON audit (actor);

CREATE TABLE login_places (
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    place BLOB NOT NULL,
    last_login INTEGER NOT NULL,
    PRIMARY KEY (user_id, place)
);
CREATE INDEX login_places_by_time ON login_places (last_login);
