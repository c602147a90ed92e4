-- What the API tells of a service, and what it may ask its users for. Keep in step with the file for SQLite.

ALTER TABLE services ADD COLUMN command TEXT NOT NULL DEFAULT '[]';
ALTER TABLE services ADD COLUMN oauth_client_allowed_scopes TEXT NOT NULL DEFAULT '[]';
