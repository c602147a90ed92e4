//! What can be wrong with a service, and what comes of one that is right.

use super::*;

fn draft(name: &str) -> ServiceDraft {
    ServiceDraft {
        name: name.to_owned(),
        ..ServiceDraft::default()
    }
}

fn faults(draft: ServiceDraft) -> Vec<&'static str> {
    match draft.check(&Catalogue::built_in()) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.into_iter().map(|fault| fault.key).collect(),
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let bad = ServiceDraft {
        url: Some("gopher://x".to_owned()),
        user: Some("ada".to_owned()),
        cwd: Some("here".into()),
        api_token: Some(Secret::new("short".to_owned())),
        oauth_client_id: Some("forum".to_owned()),
        oauth_redirect_uri: Some("javascript:alert(1)".to_owned()),
        oauth_client_allowed_scopes: vec!["self".to_owned(), "read:nothing".to_owned()],
        ..draft("a/b")
    };
    let expected = [
        "name",
        "url",
        "oauth_client_allowed_scopes",
        "api_token",
        "user",
        "cwd",
        "cwd",
        "oauth_client_id",
        "oauth_redirect_uri",
    ];
    assert_eq!(faults(bad), expected);
}

#[test]
fn a_service_that_logs_nobody_in_is_entered_by_its_prefix() {
    let spec = ServiceDraft {
        url: Some("https://10.0.0.7:8787".to_owned()),
        place: Some(RouteSpec::path("/r/")),
        visitors: Some(Visitors::Users),
        ..draft("rstudio")
    };
    let spec = spec.check(&Catalogue::built_in()).unwrap();
    assert!(spec.oauth_no_confirm);
    assert_eq!(spec.route("/x/").to_string(), "/r/");
    assert_eq!(spec.redirect_uri("/x/").as_deref(), Some("/r/lyceum-enter"));
    let open = ServiceDraft {
        visitors: Some(Visitors::Everybody),
        ..draft("open")
    };
    let open = open.check(&Catalogue::built_in()).unwrap();
    assert!(open.oauth.is_none());
    let elsewhere = ServiceDraft {
        url: Some("http://127.0.0.1:3838/app".to_owned()),
        visitors: Some(Visitors::Users),
        ..draft("shiny")
    };
    assert_eq!(faults(elsewhere), ["url"]);
}

#[test]
fn a_client_needs_a_place_to_return_to() {
    let id = || Some("service-forum".to_owned());
    assert_eq!(
        faults(ServiceDraft {
            oauth_client_id: id(),
            ..draft("forum")
        }),
        ["oauth_client_id"]
    );
    let spec = ServiceDraft {
        oauth_client_id: id(),
        url: Some("http://127.0.0.1:1".to_owned()),
        ..draft("forum")
    };
    let spec = spec.check(&Catalogue::built_in()).unwrap();
    assert_eq!(
        spec.redirect_uri("/x/").as_deref(),
        Some("/x/services/forum/oauth_callback")
    );
    assert!(
        draft("plain")
            .check(&Catalogue::built_in())
            .unwrap()
            .oauth
            .is_none()
    );
}
