//! The cases, a file for each area.

mod activity;
mod gateway;
mod groups;
mod hub;
mod login;
mod oauth;
mod pages;
mod scopes;
mod servers;
mod services;
mod shares;
mod strict;
mod tokens;
mod users;
mod xsrf;

use crate::list::List;

/// Adds all cases.
pub(crate) fn add(list: &mut List) {
    hub::add(list);
    users::add(list);
    groups::add(list);
    tokens::add(list);
    servers::add(list);
    activity::add(list);
    services::add(list);
    shares::add(list);
    scopes::add(list);
    oauth::add(list);
    login::add(list);
    pages::add(list);
    xsrf::add(list);
    gateway::add(list);
    strict::add(list);
}
