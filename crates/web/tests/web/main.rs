//! The hub on HTTP, from request to answer, in process: pages, OAuth2 and API, and above all who may not.
//!
//! No listener is involved: what the gateway checks of a request is tested with the gateway.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a helper of tests that fails is a test that fails"
)]

mod access;
mod admin;
mod answers;
mod api;
mod bad_input;
mod gate;
mod groups;
mod login;
mod named_servers;
mod next;
mod notices;
mod oauth;
mod oauth_services;
mod operations;
mod options;
mod pages;
mod profiles;
mod scopes;
mod servers;
mod services;
mod share_codes;
mod shares;
mod support;
mod token_page;
mod tokens;
mod users;
mod xsrf;
