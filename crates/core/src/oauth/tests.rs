//! The provider's rules, case by case.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::clock::Timestamp;
use crate::names::{GroupName, ServerName, ServerRef, ServiceName, UserName};
use crate::scope::{Catalogue, ClientOf, Expansion, Owner, RawScope, ScopeSet};
use crate::secret::Secret;

const CALLBACK: &str = "/user/ada/oauth_callback";

fn client() -> Client<'static> {
    Client {
        id: "jupyterhub-user-ada",
        has_secret: true,
        redirect_uri: CALLBACK,
    }
}

fn good() -> Vec<(&'static str, &'static str)> {
    vec![
        ("client_id", "jupyterhub-user-ada"),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("state", "s=1 &x"),
    ]
}

fn with<'a>(
    mut pairs: Vec<(&'a str, &'a str)>,
    key: &'a str,
    value: Option<&'a str>,
) -> Vec<(&'a str, &'a str)> {
    pairs.retain(|(name, _)| *name != key);
    pairs.extend(value.map(|value| (key, value)));
    pairs
}

fn check(pairs: Vec<(&str, &str)>) -> Result<AuthorizeRequest, AuthorizeError> {
    AuthorizeParams::from_pairs(pairs).check(Some(client()), false)
}

#[test]
fn a_good_request_is_answered_at_the_registered_address() {
    let request = check(good()).unwrap();
    assert_eq!(
        request.accept("c0de"),
        "/user/ada/oauth_callback?code=c0de&state=s%3D1%20%26x"
    );
    assert_eq!(request.scopes, Vec::<String>::new());
    // Without an address the registered one is meant.
    assert_eq!(check(with(good(), "redirect_uri", None)).unwrap(), request);
    let scoped = check(with(good(), "scope", Some("self  read:users"))).unwrap();
    assert_eq!(scoped.scopes, ["self", "read:users"]);
}

#[test]
fn codes_are_added_to_an_address_that_has_a_query_already() {
    let request = AuthorizeRequest {
        client_id: "service-x".to_owned(),
        redirect_uri: "https://x.example/cb?a=b#top".to_owned(),
        state: None,
        scopes: Vec::new(),
        challenge: None,
    };
    assert_eq!(request.accept("c"), "https://x.example/cb?a=b&code=c#top");
}

#[test]
fn a_request_whose_sender_is_not_certain_gets_a_page_and_no_redirect() {
    let page = |pairs, expected| {
        assert_eq!(check(pairs), Err(AuthorizeError::Page(expected)));
    };
    page(with(good(), "client_id", None), PageError::NoClientId);
    page(with(good(), "client_id", Some("")), PageError::NoClientId);
    page(
        with(good(), "client_id", Some("x")),
        PageError::UnknownClient,
    );
    for uri in [
        "",
        "/user/ada/oauth_callback/",
        "/user/ada/oauth_callback?x",
        "/user/ADA/oauth_callback",
        "https://evil.example/user/ada/oauth_callback",
        "//evil.example",
    ] {
        page(
            with(good(), "redirect_uri", Some(uri)),
            PageError::RedirectUri,
        );
    }
    for name in [
        "client_id",
        "redirect_uri",
        "state",
        "scope",
        "code_challenge",
    ] {
        let mut pairs = with(good(), name, Some("x"));
        pairs.push((name, "y"));
        page(pairs, PageError::Duplicate(name));
    }
    // A client without a secret, or one that is not there.
    let params = || AuthorizeParams::from_pairs(good());
    let unknown = Err(AuthorizeError::Page(PageError::UnknownClient));
    assert_eq!(params().check(None, false), unknown);
    let open = Client {
        has_secret: false,
        ..client()
    };
    assert_eq!(params().check(Some(open), false), unknown);
}

#[test]
fn other_errors_go_to_the_client_with_its_state() {
    let redirect = |pairs: Vec<(&str, &str)>, code: &str| {
        let Err(AuthorizeError::Redirect { location, .. }) = check(pairs) else {
            panic!("no redirect");
        };
        assert!(
            location.starts_with(&format!("{CALLBACK}?error={code}&error_description=")),
            "{location}"
        );
        assert!(location.ends_with("&state=s%3D1%20%26x"), "{location}");
    };
    redirect(with(good(), "response_type", None), "invalid_request");
    for other in ["token", "code token", ""] {
        redirect(
            with(good(), "response_type", Some(other)),
            "unsupported_response_type",
        );
    }
    let challenged = with(good(), "code_challenge", Some("abc"));
    redirect(
        with(challenged, "code_challenge_method", Some("S512")),
        "invalid_request",
    );
    redirect(with(good(), "code_challenge", Some("")), "invalid_request");
    let required = AuthorizeParams::from_pairs(good()).check(Some(client()), true);
    assert!(matches!(required, Err(AuthorizeError::Redirect { .. })));
    let request = check(good()).unwrap();
    assert!(
        request
            .refuse(Refusal::AccessDenied)
            .contains("error=access_denied")
    );
    let invalid = request.invalid_scope(&InvalidScope("x".to_owned()));
    assert!(matches!(
        invalid,
        AuthorizeError::Redirect {
            refusal: Refusal::InvalidScope,
            ..
        }
    ));
}

struct People {
    catalogue: Catalogue,
    ada: UserName,
    server: ServerRef,
    service: ServiceName,
}

impl People {
    fn new() -> Self {
        let ada = UserName::parse("ada").unwrap();
        Self {
            catalogue: Catalogue::built_in(),
            server: ServerRef::new(ada.clone(), ServerName::parse("lab").unwrap()),
            ada,
            service: ServiceName::parse("grader").unwrap(),
        }
    }

    fn grant(
        &self,
        client: ClientOf<'_>,
        allowed: &[&str],
        user: &[&str],
        asked: Option<&[&str]>,
    ) -> Result<Vec<String>, String> {
        let parse = |texts: &[&str]| self.catalogue.parse_all(texts).unwrap();
        let user_scopes: BTreeSet<RawScope> = parse(user).into_iter().collect();
        let grantor = Grantor {
            catalogue: &self.catalogue,
            user: &self.ada,
            user_scopes: &user_scopes,
            client,
            client_allowed: &parse(allowed),
            membership: &|_: &str, _: &str| false,
        };
        let roles = BTreeMap::from([("reader".to_owned(), parse(&["read:users"]))]);
        let names: Option<Vec<String>> =
            asked.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        let asked = names.as_deref().map_or(Asked::Default, Asked::These);
        resolve_grant(&grantor, asked, &roles)
            .map(|scopes| scopes.iter().map(ToString::to_string).collect())
            .map_err(|InvalidScope(name)| name)
    }
}

fn sorted<const N: usize>(texts: [&str; N]) -> Vec<String> {
    let scopes = Catalogue::built_in().parse_all(texts).unwrap();
    let scopes: BTreeSet<RawScope> = scopes.into_iter().collect();
    scopes.iter().map(ToString::to_string).collect()
}

#[test]
fn a_server_learns_who_somebody_is_and_may_be_opened() {
    let people = People::new();
    let required = sorted([
        "read:users:name!user",
        "read:users:groups!user",
        "access:servers!server=ada/lab",
    ]);
    let server = ClientOf::Server(&people.server);
    for asked in [None, Some(&["identify"][..]), Some(&[][..])] {
        assert_eq!(
            people.grant(server, &[], &["self"], asked).unwrap(),
            required
        );
    }
    // Also when the user's own roles do not say so: the access was checked before.
    assert_eq!(people.grant(server, &[], &[], None).unwrap(), required);
}

#[test]
fn clients_get_what_they_may_ask_for_as_far_as_the_user_has_it() {
    let people = People::new();
    let service = ClientOf::Service(&people.service);
    let grant = |allowed: &[&str], user: &[&str], asked: Option<&[&str]>| {
        people.grant(service, allowed, user, asked)
    };
    let base = [
        "read:users:name!user",
        "read:users:groups!user",
        "access:services!service=grader",
    ];
    let [name, groups, access] = base;
    // All that is allowed, in its short form, where the user has it.
    assert_eq!(
        grant(&["servers!user"], &["self"], None).unwrap(),
        sorted([name, groups, access, "servers!user"])
    );
    // What the user does not have is left out.
    assert_eq!(
        grant(&["shutdown", "read:hub"], &["self"], None).unwrap(),
        sorted(base)
    );
    // A part of what is allowed may be asked for; a role stands for its scopes.
    assert_eq!(
        grant(&["servers"], &["servers"], Some(&["read:servers"])).unwrap(),
        sorted([name, groups, access, "read:servers"])
    );
    assert_eq!(
        grant(&["read:users"], &["read:users"], Some(&["reader"])).unwrap(),
        sorted([name, groups, access, "read:users"])
    );
    assert_eq!(
        grant(&["inherit"], &["self"], None).unwrap(),
        sorted([name, groups, access, "inherit"])
    );
    // More than allowed, and what does not exist, are errors.
    for asked in [
        "shutdown",
        "no:such",
        "servers!user=bob",
        "inherit",
        "read:users!",
    ] {
        assert_eq!(
            grant(&["servers!user"], &["self"], Some(&[asked])),
            Err(asked.to_owned())
        );
    }
}

#[test]
fn users_are_asked_unless_it_is_theirs_trusted_or_agreed_before() {
    let scopes = |texts: &[&str]| -> BTreeSet<RawScope> {
        Catalogue::built_in()
            .parse_all(texts)
            .unwrap()
            .into_iter()
            .collect()
    };
    let (few, more) = (scopes(&["tokens"]), scopes(&["tokens", "servers"]));
    let none = BTreeSet::new();
    assert!(needs_confirmation(false, false, &few, &none));
    assert!(needs_confirmation(false, false, &none, &none));
    assert!(needs_confirmation(false, false, &more, &few));
    assert!(!needs_confirmation(false, false, &few, &more));
    assert!(!needs_confirmation(true, false, &more, &none));
    assert!(!needs_confirmation(false, true, &more, &none));
}

#[test]
fn the_confirm_page_describes_what_goes_beyond_knowing_the_user() {
    let people = People::new();
    let client = ClientOf::Service(&people.service);
    let mut granted = required_scopes(client);
    assert_eq!(Offer::of(&granted, client).described, []);
    granted.extend(people.catalogue.parse("servers!user"));
    let offer = Offer::of(&granted, client);
    assert_eq!((offer.fields.len(), offer.described.len()), (4, 1));
    granted.extend(people.catalogue.parse("inherit"));
    assert_eq!(Offer::of(&granted, client).fields.len(), 1);
}

#[test]
fn only_who_may_use_a_server_can_log_in_to_it() {
    let people = People::new();
    let client = ClientOf::Server(&people.server);
    let expand = |text: &str| -> ScopeSet {
        let scopes = people.catalogue.parse_all([text]).unwrap();
        Expansion::of(Owner::User(&people.ada)).expand(&people.catalogue, &scopes)
    };
    let class = [GroupName::parse("class").unwrap()];
    assert!(may_open(client, &expand("self"), &[]));
    assert!(may_open(
        client,
        &expand("access:servers!group=class"),
        &class
    ));
    assert!(!may_open(
        client,
        &expand("access:servers!group=class"),
        &[]
    ));
    assert!(!may_open(
        client,
        &expand("access:servers!user=bob"),
        &class
    ));
    assert!(!may_open(
        ClientOf::Service(&people.service),
        &expand("self"),
        &[]
    ));
}

fn form() -> Vec<(&'static str, &'static str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("code", "c0de"),
        ("redirect_uri", CALLBACK),
        ("client_id", "jupyterhub-user-ada"),
        ("client_secret", "s3cret"),
    ]
}

#[test]
fn token_requests_are_refused_by_kind() {
    let refuse = |pairs: Vec<(&str, &str)>, expected: TokenError| {
        assert_eq!(TokenRequest::parse(pairs).unwrap_err(), expected);
    };
    refuse(
        with(form(), "grant_type", None),
        TokenError::UnsupportedGrantType,
    );
    refuse(
        with(form(), "grant_type", Some("password")),
        TokenError::UnsupportedGrantType,
    );
    let mut refresh = with(form(), "grant_type", Some("refresh_token"));
    refuse(
        refresh.clone(),
        TokenError::InvalidRequest("refresh_token is missing"),
    );
    refresh.push(("refresh_token", "x"));
    let refused = TokenRequest::parse(refresh).unwrap().check_grant();
    assert_eq!(refused, Err(TokenError::UnauthorizedClient));
    assert_eq!(TokenRequest::parse(form()).unwrap().check_grant(), Ok(()));
    refuse(
        with(form(), "code", None),
        TokenError::InvalidRequest("code is missing"),
    );
    refuse(with(form(), "client_id", None), TokenError::InvalidClient);
    refuse(
        with(form(), "client_secret", None),
        TokenError::InvalidClient,
    );
    refuse(
        with(form(), "client_secret", Some("")),
        TokenError::InvalidClient,
    );
    let mut double = form();
    double.push(("code", "other"));
    assert_eq!(
        TokenRequest::parse(double).unwrap_err().code(),
        "invalid_request"
    );
    assert!(
        TokenRequest::parse(form())
            .unwrap()
            .client_secret
            .matches("s3cret")
    );
}

#[test]
fn a_code_works_for_its_client_in_time_and_with_its_verifier() {
    let now = Timestamp::from_second(1_795_446_750).unwrap();
    let later = |seconds: i64| Timestamp::from_second(1_795_446_750 + seconds).unwrap();
    let challenge = CodeChallenge::parse(None, "verifier").unwrap();
    let stored = StoredCode {
        client_id: "jupyterhub-user-ada",
        redirect_uri: CALLBACK,
        expires_at: now + CODE_LIFETIME,
        challenge: None,
    };
    let bound = StoredCode {
        challenge: Some(&challenge),
        ..stored
    };
    let try_with = |verifier, stored, at, required| {
        TokenRequest::parse(with(form(), "code_verifier", verifier))
            .unwrap()
            .check_code(stored, at, required)
    };
    let missing = Err(TokenError::InvalidRequest("code_verifier is missing"));
    let invalid = Err(TokenError::InvalidGrant);
    assert_eq!(try_with(None, Some(stored), later(299), false), Ok(()));
    assert_eq!(try_with(None, Some(stored), later(300), false), invalid);
    assert_eq!(try_with(None, None, now, false), invalid);
    assert_eq!(try_with(Some("verifier"), Some(bound), now, true), Ok(()));
    assert_eq!(try_with(Some("Verifier"), Some(bound), now, false), invalid);
    assert_eq!(try_with(None, Some(bound), now, false), missing);
    // Without a challenge a verifier is ignored, unless challenges are required.
    assert_eq!(try_with(Some("x"), Some(stored), now, false), Ok(()));
    assert_eq!(try_with(Some("x"), Some(stored), now, true), invalid);
    assert_eq!(try_with(None, Some(stored), now, true), missing);
    let foreign = StoredCode {
        client_id: "service-x",
        ..stored
    };
    assert_eq!(try_with(None, Some(foreign), now, false), invalid);
    let elsewhere = TokenRequest::parse(with(form(), "redirect_uri", Some("/x"))).unwrap();
    let error = elsewhere.check_code(Some(stored), now, false).unwrap_err();
    assert_eq!(error.code(), "invalid_request");
    let unsaid = TokenRequest::parse(with(form(), "redirect_uri", None)).unwrap();
    assert_eq!(unsaid.check_code(Some(stored), now, false), Ok(()));
}

#[test]
fn errors_have_the_status_and_headers_of_the_specification() {
    assert_eq!(TokenError::InvalidClient.status(), 401);
    assert_eq!(
        TokenError::InvalidClient.header(),
        Some(("www-authenticate", "Bearer error=\"invalid_client\""))
    );
    assert_eq!(TokenError::InvalidGrant.status(), 400);
    assert_eq!(TokenError::InvalidGrant.header(), None);
    assert_eq!(TokenError::InvalidGrant.body()["error"], "invalid_grant");
}

#[test]
fn secrets_of_the_exchange_are_not_printed() {
    let request = TokenRequest::parse(with(form(), "code_verifier", Some("v3rifier"))).unwrap();
    let response = TokenResponse::new(&Secret::from("t0ken"), 60, &["self".to_owned()]);
    let printed = format!("{request:?} {response:?}");
    for secret in ["c0de", "s3cret", "v3rifier", "t0ken"] {
        assert!(!printed.contains(secret), "{printed}");
    }
    assert_eq!(new_code().len(), 30);
    assert_ne!(new_access_token(), new_access_token());
}
