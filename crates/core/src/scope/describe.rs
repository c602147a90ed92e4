//! Scopes in words, for the page on which somebody lets an application act for them.

use super::custom::Catalogue;
use super::raw::{Filter, RawScope};
use crate::names::UserName;

/// One line of the confirm page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The raw scope, as it is granted.
    pub scope: String,
    /// What it allows, as a sentence.
    pub text: String,
    /// To what it is limited, such as `only you` or `users in group class`; empty for everything.
    pub limit: String,
}

/// Describes raw scopes to the user who is asked to grant them, in the order given.
pub fn describe<'a>(
    catalogue: &Catalogue,
    scopes: impl IntoIterator<Item = &'a RawScope>,
    reader: &UserName,
) -> Vec<Description> {
    scopes
        .into_iter()
        .map(|scope| Description {
            scope: scope.to_string(),
            text: catalogue.description(&scope.name).to_owned(),
            limit: limit(&scope.filter, reader),
        })
        .collect()
}

fn limit(filter: &Filter, reader: &UserName) -> String {
    match filter {
        Filter::None => String::new(),
        Filter::OwnUser => "only you".to_owned(),
        Filter::User(name) if name == reader => "only you".to_owned(),
        Filter::OwnServer => "only this server".to_owned(),
        Filter::OwnService => "only this service".to_owned(),
        Filter::User(name) => format!("only user {name}"),
        Filter::Server(server) if server.server.is_default() => {
            format!("only the default server of {}", server.user)
        }
        Filter::Server(server) => format!("only server {server}"),
        Filter::Group(name) => format!("only users in group {name}"),
        Filter::Service(name) => format!("only service {name}"),
    }
}
