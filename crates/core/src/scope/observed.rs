//! Compares our rules with what JupyterHub's own functions answered (`observed.json`, written by `observe.py`).

use std::collections::BTreeSet;

use serde::Deserialize;

use super::*;
use crate::names::{GroupName, ServerName, ServerRef, ServiceName, UserName};

type Texts = Vec<String>;

#[derive(Deserialize)]
struct Observed {
    expansions: Vec<(Texts, Option<String>, Option<String>, Texts)>,
    intersections: Vec<(Texts, Texts, Texts)>,
    checks: Vec<(Texts, String, String, String)>,
    tokens: Vec<(Texts, Texts, String, String, Texts)>,
    requests: Vec<(Texts, Texts, Texts, Texts)>,
}

fn observed() -> Observed {
    serde_json::from_str(include_str!("observed.json")).unwrap()
}

/// The people of `observe.py`.
struct World {
    ada: UserName,
    bob: UserName,
    grader: ServiceName,
    lab: ServerRef,
    catalogue: Catalogue,
}

impl World {
    fn new() -> Self {
        let ada = UserName::parse("ada").unwrap();
        Self {
            bob: UserName::parse("bob").unwrap(),
            grader: ServiceName::parse("grader").unwrap(),
            lab: ServerRef::new(ada.clone(), ServerName::parse("lab").unwrap()),
            ada,
            catalogue: Catalogue::built_in(),
        }
    }

    fn owner(&self, name: Option<&str>) -> Option<Owner<'_>> {
        name.map(|name| match name {
            "ada" => Owner::User(&self.ada),
            "bob" => Owner::User(&self.bob),
            "service grader" => Owner::Service(&self.grader),
            other => panic!("{other} is not among the observed owners"),
        })
    }

    fn client(&self, name: Option<&str>) -> Option<ClientOf<'_>> {
        match name {
            None | Some("hub") => None,
            Some("server") => Some(ClientOf::Server(&self.lab)),
            Some("service") => Some(ClientOf::Service(&self.grader)),
            Some(other) => panic!("{other} is not among the observed clients"),
        }
    }

    fn raw(&self, texts: &[String]) -> Vec<RawScope> {
        self.catalogue.parse_all(texts).unwrap()
    }

    fn set(&self, texts: &[String]) -> ScopeSet {
        self.raw(texts).into_iter().collect()
    }
}

fn is_member(user: &str, group: &str) -> bool {
    matches!((user, group), ("ada" | "bob", "class") | ("eve", "staff"))
}

fn texts(scopes: &BTreeSet<RawScope>) -> Texts {
    let mut texts: Texts = scopes.iter().map(ToString::to_string).collect();
    texts.sort_unstable();
    texts
}

#[test]
fn scopes_expand_as_in_jupyterhub() {
    let world = World::new();
    for (raw, owner, client, expected) in observed().expansions {
        let expansion = Expansion {
            owner: world.owner(owner.as_deref()),
            client: world.client(client.as_deref()),
        };
        let set = expansion.expand(&world.catalogue, &world.raw(&raw));
        assert_eq!(
            set.to_strings(),
            expected,
            "{raw:?} of {owner:?} by {client:?}"
        );
    }
}

#[test]
fn sets_intersect_as_in_jupyterhub() {
    let world = World::new();
    for (a, b, expected) in observed().intersections {
        let (left, right) = (world.set(&a), world.set(&b));
        assert_eq!(
            left.intersect(&right, &is_member).to_strings(),
            expected,
            "{a:?} and {b:?}"
        );
        assert_eq!(
            right.intersect(&left, &is_member).to_strings(),
            expected,
            "{b:?} and {a:?}"
        );
    }
}

#[test]
fn checks_answer_as_in_jupyterhub() {
    let world = World::new();
    for (have, scope, filter, expected) in observed().checks {
        let groups = |user: &str| -> Vec<GroupName> {
            ["class", "staff"]
                .into_iter()
                .filter(|group| is_member(user, group))
                .map(|group| GroupName::parse(group).unwrap())
                .collect()
        };
        let (kind, name) = filter.split_once('=').unwrap_or(("", ""));
        let (user, server) = name.split_once('/').unwrap_or((name, ""));
        let groups = groups(user);
        let target = match kind {
            "" => Target::Any,
            "!user" => Target::User {
                name,
                groups: &groups,
            },
            "!server" => Target::Server {
                user,
                server,
                groups: &groups,
            },
            "!group" => Target::Group(name),
            _ => Target::Service(name),
        };
        let answer = match world
            .set(&have)
            .check(Scope::from_name(&scope).unwrap(), target)
        {
            Access::Allowed => "allowed",
            Access::NotThisOne => "not-this-one",
            Access::Denied => "denied",
        };
        assert_eq!(answer, expected, "{scope}{filter} with {have:?}");
    }
}

#[test]
fn tokens_may_do_what_they_may_in_jupyterhub() {
    let world = World::new();
    for (roles, raw, owner, client, expected) in observed().tokens {
        let owner_of = world.owner(Some(&owner)).unwrap();
        let shares = Shares::default();
        let owner_scopes =
            token_owner_scopes(&world.catalogue, owner_of, &world.raw(&roles), &shares);
        let set = token_scopes(
            &world.catalogue,
            &world.raw(&raw),
            owner_of,
            &owner_scopes,
            world.client(Some(&client)),
            &is_member,
        );
        assert_eq!(
            set.to_strings(),
            expected,
            "{raw:?} of {owner} with {roles:?} by {client}"
        );
    }
}

#[test]
fn requested_scopes_are_cut_down_as_in_jupyterhub() {
    let world = World::new();
    for (asked, held, granted, refused) in observed().requests {
        let (asked, held): (BTreeSet<_>, BTreeSet<_>) = (
            world.raw(&asked).into_iter().collect(),
            world.raw(&held).into_iter().collect(),
        );
        let expansion = Expansion {
            owner: world.owner(Some("ada")),
            client: world.client(Some("server")),
        };
        let ours = resolve_requested(&world.catalogue, &asked, &held, expansion, &is_member);
        assert_eq!(
            (texts(&ours.0), texts(&ours.1)),
            (granted, refused),
            "{asked:?} of {held:?}"
        );
    }
}
