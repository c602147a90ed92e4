//! The rules of the OAuth2 provider, as pure functions.
