-- Servers shared with users and groups, and the codes that can be exchanged for that. Scopes are stored without
-- their filter, which is always the server: so they follow when the server or its owner gets another name.

CREATE TABLE shares (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    server_id BIGINT NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    user_id BIGINT REFERENCES users (id) ON DELETE CASCADE,
    group_id BIGINT REFERENCES groups (id) ON DELETE CASCADE,
    scopes TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires_at BIGINT,
    UNIQUE (server_id, user_id),
    UNIQUE (server_id, group_id),
    CHECK ((user_id IS NULL) <> (group_id IS NULL))
);
CREATE INDEX shares_by_user ON shares (user_id);
CREATE INDEX shares_by_group ON shares (group_id);
CREATE INDEX shares_by_expiry ON shares (expires_at);

CREATE TABLE share_codes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    server_id BIGINT NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    prefix TEXT NOT NULL,
    hashed TEXT NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires_at BIGINT,
    exchange_count BIGINT NOT NULL,
    last_exchanged_at BIGINT
);
CREATE INDEX share_codes_by_server ON share_codes (server_id);
CREATE INDEX share_codes_by_prefix ON share_codes (prefix);
CREATE INDEX share_codes_by_expiry ON share_codes (expires_at);
