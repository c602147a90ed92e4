//! All SQL and migrations; one Store, with SQLite or PostgreSQL under it.
