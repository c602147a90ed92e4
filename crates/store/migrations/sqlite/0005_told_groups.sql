-- The groups that the login method told of at a user's last login, as a list in JSON; beside those of the hub. Keep in
-- step with the file for PostgreSQL.

ALTER TABLE users ADD COLUMN told_groups TEXT;
