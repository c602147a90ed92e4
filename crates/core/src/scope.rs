//! Scopes and roles: what may be done, by whom, to what.
