//! The hub on HTTP: REST API, OAuth2 endpoints and pages.
