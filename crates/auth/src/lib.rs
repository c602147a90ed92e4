//! Authenticators: the ways to find out who somebody is.
