//! Rules that are not in the observed table, and properties that hold for all sets.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::names::{GroupName, ServerName, ServerRef, UserName};

fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

fn raw(texts: &[&str]) -> Vec<RawScope> {
    Catalogue::built_in().parse_all(texts).unwrap()
}

fn expand(texts: &[&str], owner: &str) -> ScopeSet {
    let owner = user(owner);
    Expansion::of(Owner::User(&owner)).expand(&Catalogue::built_in(), &raw(texts))
}

#[test]
fn self_expands_to_exactly_what_a_plain_user_has_in_jupyterhub() {
    let expected = "access:servers delete:servers read:servers read:shares read:tokens read:users \
        read:users:activity read:users:groups read:users:name read:users:shares servers start:servers \
        tokens users:activity users:shares";
    let expected: Vec<String> = expected
        .split_whitespace()
        .map(|name| format!("{name}!user=ada"))
        .collect();
    assert_eq!(expand(&["self"], "ada").to_strings(), expected);
}

#[test]
fn malformed_scopes_are_refused_with_their_text() {
    let parse = |text: &str| Catalogue::built_in().parse(text);
    let filter = |text: &str| Err(ScopeError::Filter(text.to_owned()));
    for text in [
        "read:users!",
        "read:users!!user",
        "read:users!users",
        "read:users!group",
        "read:users!User=ada",
        "read:users! user",
        "read:users!=ada",
        "read:users!role=x",
    ] {
        assert_eq!(parse(text), filter(text));
    }
    for text in [
        "",
        "all",
        "Users",
        "users ",
        " users",
        "!user",
        "user",
        "custom:x:y",
        "identify",
    ] {
        assert_eq!(parse(text), Err(ScopeError::Unknown(text.to_owned())));
    }
    for text in ["self!user", "inherit!user=ada", "self!server=ada/"] {
        assert_eq!(
            parse(text),
            Err(ScopeError::FilteredMetascope(text.to_owned()))
        );
    }
    for text in ["servers!server=ada", "servers!server="] {
        assert_eq!(parse(text), Err(ScopeError::ServerFilter(text.to_owned())));
    }
    for text in [
        "users!user=",
        "users!user=..",
        "users!user=a/b",
        "users!group=",
        "servers!server=/lab",
        "servers!server=ada/lab/x",
        "read:services!service=",
    ] {
        assert!(
            matches!(parse(text), Err(ScopeError::FilterName(..))),
            "{text}"
        );
    }
}

#[test]
fn unusual_names_in_filters_survive() {
    for text in [
        "users!user=a!b",
        "users!user=a=b",
        "users!group=Ümläut x",
        "servers!server=a@b.cz/",
    ] {
        assert_eq!(Catalogue::built_in().parse(text).unwrap().to_string(), text);
    }
}

#[test]
fn stored_scopes_that_exist_no_more_grant_nothing() {
    let stored = Catalogue::built_in().parse_stored(["self", "custom:gone", "users!"]);
    assert_eq!(stored, raw(&["self"]));
}

#[test]
fn custom_scopes_bring_their_subscopes_even_in_a_circle() {
    let scope = |subscopes: &[&str]| CustomScope {
        description: "x".to_owned(),
        subscopes: subscopes.iter().map(|&sub| sub.to_owned()).collect(),
    };
    let catalogue = Catalogue::with_custom([
        ("custom:one".to_owned(), scope(&["custom:two"])),
        ("custom:two".to_owned(), scope(&["custom:one"])),
    ])
    .unwrap();
    let scopes = catalogue.parse_all(["custom:one!user=ada"]).unwrap();
    assert_eq!(
        Expansion::default()
            .expand(&catalogue, &scopes)
            .to_strings(),
        ["custom:one!user=ada", "custom:two!user=ada"]
    );
    assert_eq!(describe(&catalogue, &scopes, &user("ada"))[0].text, "x");
}

#[test]
fn the_default_roles_exist_and_are_well_formed() {
    for role in default_roles() {
        RoleName::parse(role.name).unwrap();
        Catalogue::built_in().parse_all(role.scopes).unwrap();
    }
    assert!(default_role("admin").is_some());
    assert!(default_role("root").is_none());
}

#[test]
fn role_names_follow_the_rules() {
    for name in ["abc", "a-b", "a_~.9", &"x".repeat(255)] {
        assert!(RoleName::parse(name).is_ok(), "{name}");
    }
    for name in [
        "",
        "ab",
        "1ab",
        "Abc",
        "ab-",
        "a b",
        "ábc",
        &"x".repeat(256),
    ] {
        assert!(RoleName::parse(name).is_err(), "{name}");
    }
}

#[test]
fn a_starting_servers_token_may_report_activity_and_open_the_server() {
    let kim = ServerRef::new(user("kim"), ServerName::default_server());
    let catalogue = Catalogue::built_in();
    let roles: BTreeSet<RawScope> = raw(&["self"]).into_iter().collect();
    let nobody = |_: &str, _: &str| false;
    let check = |asked: &[&str], expected: &[&str]| {
        let granted = server_token_scopes(&catalogue, &kim, &raw(asked), &roles, &nobody);
        let expected: BTreeSet<RawScope> = raw(expected).into_iter().collect();
        assert_eq!(granted, expected, "{asked:?}");
    };
    check(
        default_role("server").unwrap().scopes,
        &["users:activity!user", "access:servers!server=kim/"],
    );
    check(
        &["access:servers!server"],
        &["users:activity!user", "access:servers!server=kim/"],
    );
    check(&["inherit"], &["inherit"]);
    // What the owner may not do is left out, without an error.
    check(
        &["shutdown", "users:activity!user"],
        &["users:activity!user"],
    );
    check(
        &["read:users:name"],
        &["users:activity!user", "read:users:name!user=kim"],
    );
}

#[test]
fn shares_open_a_server_to_a_session_wholly_and_to_tokens_unexpanded() {
    let (catalogue, bob) = (Catalogue::built_in(), user("bob"));
    let shares = Shares {
        direct: raw(&["access:servers!server=ada/lab"]),
        by_group: raw(&["shares!server=eve/"]),
    };
    let owner = Owner::User(&bob);
    let session = session_scopes(&catalogue, owner, &[], &shares);
    assert_eq!(
        session.to_strings(),
        [
            "access:servers!server=ada/lab",
            "access:servers!server=eve/",
            "groups:shares!server=eve/",
            "read:groups:shares!server=eve/",
            "read:shares!server=eve/",
            "shares!server=eve/",
            "users:shares!server=eve/",
        ]
    );
    let token = token_owner_scopes(&catalogue, owner, &[], &shares);
    assert_eq!(
        token.to_strings(),
        ["access:servers!server=ada/lab", "shares!server=eve/"]
    );
}

#[test]
fn lists_show_what_the_filters_name() {
    let set = expand(
        &[
            "list:users!group=class",
            "list:users!user=eve",
            "list:groups",
        ],
        "ada",
    );
    let Listing::Only(filters) = set.listing(Scope::ListUsers) else {
        panic!("filtered");
    };
    let groups = [GroupName::parse("class").unwrap()];
    let covers = |name, groups| filters.covers(Target::User { name, groups });
    assert!(covers("ada", &groups) && covers("eve", &[]));
    assert!(!covers("ada", &[]));
    assert_eq!(set.listing(Scope::ListGroups), Listing::Everything);
    assert_eq!(set.listing(Scope::ListServices), Listing::Denied);
    assert_eq!(set.groups_mentioned().len(), 1);
}

#[test]
fn any_of_several_scopes_is_enough() {
    let set = expand(
        &["read:servers!server=ada/lab", "read:users:name!user=ada"],
        "bob",
    );
    let ada = Target::User {
        name: "ada",
        groups: &[],
    };
    let scopes = [Scope::ReadUsers, Scope::ReadServers, Scope::ReadUsersName];
    assert_eq!(set.check_any(&scopes, ada), Access::Allowed);
    // A server's filter says nothing about its user.
    assert_eq!(set.check(Scope::ReadServers, ada), Access::NotThisOne);
    assert_eq!(set.check(Scope::ReadServers, Target::Any), Access::Denied);
    assert_eq!(set.check(Scope::ReadUsers, ada), Access::Denied);
}

#[test]
fn what_exceeds_an_owners_scopes_is_named() {
    let (asked, owner) = (expand(&["read:users"], "ada"), expand(&["self"], "ada"));
    let allowed = asked.intersect(&owner, &|_: &str, _: &str| false);
    assert!(asked.beyond(&allowed).contains(&"read:users".to_owned()));
    let within = expand(&["read:users!user=ada"], "ada");
    assert!(
        within
            .beyond(&within.intersect(&owner, &KnownMembers::default()))
            .is_empty()
    );
}

#[test]
fn grants_are_described_for_the_one_who_grants() {
    let lines = describe(
        &Catalogue::built_in(),
        &raw(&[
            "servers!user",
            "read:users!user=ada",
            "users!user=bob",
            "tokens",
            "servers!server=bob/",
        ]),
        &user("ada"),
    );
    let limits: Vec<&str> = lines.iter().map(|line| line.limit.as_str()).collect();
    assert_eq!(
        limits,
        [
            "only you",
            "only you",
            "only user bob",
            "",
            "only the default server of bob"
        ]
    );
    assert!(lines.iter().all(|line| !line.text.is_empty()));
}

fn any_set() -> impl Strategy<Value = ScopeSet> {
    let name = prop::sample::select(vec![
        "servers",
        "read:users",
        "list:groups",
        "read:services",
    ]);
    let filter = prop::sample::select(vec![
        "",
        "!user=ada",
        "!user=bob",
        "!server=ada/",
        "!server=bob/x",
        "!group=class",
        "!group=staff",
        "!service=grader",
    ]);
    prop::collection::vec((name, filter), 0..6).prop_map(|scopes| {
        let texts: Vec<String> = scopes.iter().map(|(a, b)| format!("{a}{b}")).collect();
        let scopes = Catalogue::built_in().parse_all(texts).unwrap();
        Expansion::default().expand(&Catalogue::built_in(), &scopes)
    })
}

fn class_member(user: &str, group: &str) -> bool {
    user == "ada" && group == "class"
}

proptest! {
    #[test]
    fn intersections_are_symmetric_and_never_widen(a in any_set(), b in any_set()) {
        let both = a.intersect(&b, &class_member);
        prop_assert_eq!(&both, &b.intersect(&a, &class_member));
        prop_assert_eq!(&both.intersect(&a, &class_member), &both);
        let class = [GroupName::parse("class").unwrap()];
        let groups = |user: &str| if user == "ada" { &class[..] } else { &[] };
        for (name, _) in both.iter() {
            let ScopeName::BuiltIn(scope) = name else { continue };
            for user in ["ada", "bob", "eve"] {
                for target in [
                    Target::User { name: user, groups: groups(user) },
                    Target::Server { user, server: "x", groups: groups(user) },
                ] {
                    if both.check(*scope, target).is_allowed() {
                        prop_assert!(a.check(*scope, target).is_allowed());
                        prop_assert!(b.check(*scope, target).is_allowed());
                    }
                }
            }
        }
    }

    #[test]
    fn everything_is_kept_by_an_intersection_with_itself(a in any_set()) {
        prop_assert_eq!(&a.intersect(&a, &class_member), &a);
    }

    #[test]
    fn printed_sets_are_read_back_the_same(a in any_set()) {
        let scopes = Catalogue::built_in().parse_all(a.to_strings()).unwrap();
        prop_assert_eq!(scopes.into_iter().collect::<ScopeSet>(), a);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,40}") {
        if let Ok(scope) = Catalogue::built_in().parse(&text) {
            prop_assert_eq!(scope.to_string(), text);
        }
    }
}
