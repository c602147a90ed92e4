//! Services that log nobody in themselves: who gets in, how, for how long, and what the service is told.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use lyceum_core::declared::{Declared, DeclaredGroup};
use lyceum_core::scope::{Catalogue, RoleName};
use lyceum_core::service::{Chosen, ServiceDraft, ServiceSpec, Visitors};
use lyceum_core::{GroupName, RouteSpec, UserName};
use lyceum_web::{Client, SiteAdmission, SiteVisit};

use crate::support::{Answer, Browser, OWN_HOST, Site};

fn service(name: &str, place: &str, visitors: Visitors) -> ServiceSpec {
    let draft = ServiceDraft {
        name: name.to_owned(),
        url: Some("http://127.0.0.1:1".to_owned()),
        place: Some(RouteSpec::parse(place).unwrap()),
        visitors: Some(visitors),
        ..ServiceDraft::default()
    };
    draft.check(&Catalogue::built_in()).unwrap()
}

fn chosen(users: &[&str], groups: &[&str], roles: &[&str]) -> Visitors {
    Visitors::Some(Chosen {
        users: users
            .iter()
            .map(|name| UserName::parse(name).unwrap())
            .collect(),
        groups: groups
            .iter()
            .map(|name| GroupName::parse(name).unwrap())
            .collect(),
        roles: roles
            .iter()
            .map(|name| RoleName::parse(name).unwrap())
            .collect(),
    })
}

/// A hub with `stats` for everybody who can log in, `grades` for teachers, and `open` for all; bob is a teacher.
async fn site() -> Site {
    let declared = Declared {
        services: vec![
            service("stats", "/stats/", Visitors::Users),
            service("grades", "/grades/", chosen(&[], &["teachers"], &[])),
            service("open", "/open/", Visitors::Everybody),
        ],
        groups: vec![DeclaredGroup {
            name: GroupName::parse("teachers").unwrap(),
            users: vec![UserName::parse("bob").unwrap()],
            properties: None,
        }],
        ..Declared::default()
    };
    Site::with(|settings| settings.declared = declared).await
}

/// Somebody at the door of a service, with cookies of their own: those of the hub do not come there.
struct AtDoor<'a> {
    site: &'a Site,
    name: &'static str,
    cookies: BTreeMap<String, String>,
}

/// What the gate says.
enum Said {
    Enter(HeaderMap, Vec<String>),
    Answer(Answer),
}

impl Said {
    #[track_caller]
    fn entered(self) -> HeaderMap {
        match self {
            Self::Enter(headers, _) => headers,
            Self::Answer(answer) => panic!("kept out: {} {}", answer.status, answer.text()),
        }
    }

    #[track_caller]
    fn answered(self) -> Answer {
        match self {
            Self::Answer(answer) => answer,
            Self::Enter(..) => panic!("let in"),
        }
    }
}

impl<'a> AtDoor<'a> {
    fn new(site: &'a Site, name: &'static str) -> Self {
        Self {
            site,
            name,
            cookies: BTreeMap::new(),
        }
    }

    async fn ask(&mut self, method: Method, path: &str, headers: &[(&str, &str)]) -> Said {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            all.append(
                "cookie",
                HeaderValue::from_str(&cookies.join("; ")).unwrap(),
            );
        }
        let admission = self
            .site
            .web
            .admit(SiteVisit {
                site: self.name.to_owned(),
                method,
                uri: path.parse().unwrap(),
                upgrade: all.contains_key("upgrade"),
                headers: all,
                client: Client {
                    addr: None,
                    https: false,
                    host: OWN_HOST.to_owned(),
                },
                request_id: None,
            })
            .await;
        match admission {
            SiteAdmission::Enter {
                headers,
                hide_cookies,
            } => Said::Enter(headers, hide_cookies),
            SiteAdmission::Answer(response) => {
                let (head, body) = response.into_parts();
                let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
                for value in head.headers.get_all("set-cookie") {
                    let text = value.to_str().unwrap();
                    assert!(text.contains(&format!("Path=/{}/", self.name)), "{text}");
                    let (pair, attributes) = text.split_once(';').unwrap();
                    let (name, value) = pair.split_once('=').unwrap();
                    if attributes.contains("Max-Age=0") {
                        self.cookies.remove(name);
                    } else {
                        assert!(attributes.contains("HttpOnly"), "{text}");
                        assert!(attributes.contains("SameSite=Lax"), "{text}");
                        self.cookies.insert(name.to_owned(), value.to_owned());
                    }
                }
                Said::Answer(Answer {
                    status: head.status.as_u16(),
                    headers: head.headers,
                    body: body.to_vec(),
                })
            }
        }
    }

    async fn open(&mut self, path: &str) -> Said {
        self.ask(Method::GET, path, &[("accept", "text/html")])
            .await
    }

    /// Goes the way of a browser that is logged in: over the hub and back. Gives the way back.
    async fn over_the_hub(&mut self, browser: &mut Browser<'_>, path: &str) -> String {
        let to_hub = self.open(path).await.answered();
        assert_eq!(to_hub.status, 302, "{}", to_hub.text());
        assert_eq!(to_hub.header("cache-control"), "no-store");
        let back = browser.get(to_hub.location()).await;
        assert_eq!(back.status, 302, "{}", back.text());
        back.location().to_owned()
    }

    async fn come_in(&mut self, browser: &mut Browser<'_>, path: &str) {
        let back = self.over_the_hub(browser, path).await;
        let answer = self.open(&back).await.answered();
        answer.assert_leads_to(path);
    }
}

#[tokio::test]
async fn a_browser_gets_in_by_a_detour_over_the_hub() {
    let site = site().await;
    let mut ada = site.user("ada").await;
    let mut door = AtDoor::new(&site, "stats");
    door.come_in(&mut ada, "/stats/plot?x=%2F&y=a").await;
    let names: Vec<_> = door.cookies.keys().cloned().collect();
    assert_eq!(names, ["lyceum-service-stats"]);
    match door.open("/stats/plot").await {
        Said::Enter(headers, hidden) => {
            assert_eq!(headers["x-forwarded-user"], "ada");
            assert_eq!(headers["remote-user"], "ada");
            assert!(!headers.contains_key("x-forwarded-groups"));
            for name in [
                "jupyterhub-hub-login",
                "jupyterhub-session-id",
                "lyceum-service-stats",
                "lyceum-service-grades",
                "lyceum-login-stats",
            ] {
                assert!(hidden.iter().any(|hidden| hidden == name), "{name}");
            }
        }
        Said::Answer(answer) => panic!("{}", answer.status),
    }
    // Who is not logged in logs in first, and then comes back.
    let mut door = AtDoor::new(&site, "stats");
    let mut nobody = site.anonymous();
    let to_hub = door.open("/stats/plot").await.answered();
    let to_login = nobody.get(to_hub.location()).await;
    assert!(
        to_login.location().starts_with("/hub/login?next="),
        "{}",
        to_login.location()
    );
    assert!(to_login.location().contains("authorize"));
}

#[tokio::test]
async fn the_service_is_told_groups_and_nobody_else_tells_it() {
    let site = site().await;
    let mut bob = site.user("bob").await;
    let mut door = AtDoor::new(&site, "grades");
    door.come_in(&mut bob, "/grades/").await;
    let headers = door.open("/grades/").await.entered();
    assert_eq!(headers["x-forwarded-user"], "bob");
    assert_eq!(headers["x-forwarded-groups"], "teachers");
}

#[tokio::test]
async fn who_may_not_come_is_told_which_group_it_takes() {
    let site = site().await;
    let mut ada = site.user("ada").await;
    let mut door = AtDoor::new(&site, "grades");
    let to_hub = door.open("/grades/").await.answered();
    let refusal = ada.get(to_hub.location()).await;
    refusal.assert_page(403);
    assert!(refusal.text().contains("teachers"), "{}", refusal.text());
    // Administrators may, as everywhere.
    let mut root = site.user("root").await;
    AtDoor::new(&site, "grades")
        .come_in(&mut root, "/grades/")
        .await;
}

#[tokio::test]
async fn who_loses_the_right_is_out_at_once() {
    let site = site().await;
    let mut bob = site.user("bob").await;
    let mut door = AtDoor::new(&site, "grades");
    door.come_in(&mut bob, "/grades/").await;
    door.open("/grades/").await.entered();
    let mut tx = site.store.begin().await.unwrap();
    let group = tx
        .find_group(&GroupName::parse("teachers").unwrap())
        .await
        .unwrap()
        .unwrap();
    let user = tx
        .find_user(&UserName::parse("bob").unwrap())
        .await
        .unwrap()
        .unwrap();
    tx.remove_member(group.id, user.id).await.unwrap();
    tx.commit().await.unwrap();
    let refusal = door.open("/grades/").await.answered();
    refusal.assert_page(403);
    assert!(refusal.headers.get("set-cookie").is_none());
    door.ask(Method::GET, "/grades/api", &[])
        .await
        .answered()
        .assert_api_error(403);
}

#[tokio::test]
async fn a_logout_ends_all_visits_of_its_browser_and_of_no_other() {
    let site = site().await;
    let (mut one, mut other) = (site.user("ada").await, site.user("ada").await);
    let (mut door, mut other_door) = (AtDoor::new(&site, "stats"), AtDoor::new(&site, "stats"));
    door.come_in(&mut one, "/stats/").await;
    other_door.come_in(&mut other, "/stats/").await;
    one.get("/hub/logout").await;
    let answer = door.open("/stats/").await.answered();
    assert_eq!(answer.status, 302);
    other_door.open("/stats/").await.entered();
}

#[tokio::test]
async fn a_code_is_good_once_and_for_the_browser_that_asked() {
    let site = site().await;
    let mut ada = site.user("ada").await;
    let mut door = AtDoor::new(&site, "stats");
    let back = door.over_the_hub(&mut ada, "/stats/").await;
    // Somebody else's browser, which another account shall be put into.
    let mut victim = AtDoor::new(&site, "stats");
    victim.open("/stats/").await.answered();
    victim.open(&back).await.answered().assert_page(403);
    assert!(!victim.cookies.contains_key("lyceum-service-stats"));
    // Tried once, it is used up.
    door.open(&back).await.answered().assert_page(403);
    // The same browser that comes back twice is in already.
    let mut door = AtDoor::new(&site, "stats");
    let back = door.over_the_hub(&mut ada, "/stats/x").await;
    door.open(&back)
        .await
        .answered()
        .assert_leads_to("/stats/x");
    door.open(&back)
        .await
        .answered()
        .assert_leads_to("/stats/x");
}

#[tokio::test]
async fn a_code_for_one_service_opens_no_other() {
    let site = site().await;
    let mut bob = site.user("bob").await;
    let mut stats = AtDoor::new(&site, "stats");
    let back = stats.over_the_hub(&mut bob, "/stats/").await;
    let query = back.split_once('?').unwrap().1;
    let mut grades = AtDoor::new(&site, "grades");
    grades.open("/grades/").await.answered();
    let proof = stats.cookies["lyceum-login-stats"].clone();
    grades
        .cookies
        .insert("lyceum-login-grades".to_owned(), proof);
    let answer = grades.open(&format!("/grades/lyceum-enter?{query}")).await;
    answer.answered().assert_page(403);
    // Nor does a cookie.
    let mut stats = AtDoor::new(&site, "stats");
    stats.come_in(&mut bob, "/stats/").await;
    let cookie = stats.cookies["lyceum-service-stats"].clone();
    grades
        .cookies
        .insert("lyceum-service-grades".to_owned(), cookie);
    let answer = grades.open("/grades/").await.answered();
    assert_eq!(answer.status, 302);
}

#[tokio::test]
async fn the_way_back_leads_nowhere_else() {
    let site = site().await;
    let mut ada = site.user("ada").await;
    for state in [
        "aHR0cHM6Ly9ldmlsLmV4YW1wbGUv", // https://evil.example/
        "Ly9ldmlsLmV4YW1wbGUv",         // //evil.example/
        "L2h1Yi9sb2dvdXQ",              // /hub/logout
        "not base64",
    ] {
        let mut door = AtDoor::new(&site, "stats");
        let back = door.over_the_hub(&mut ada, "/stats/x").await;
        let (start, _) = back.split_once("state=").unwrap();
        let forged = format!("{start}state={}", state.replace(' ', "%20"));
        door.open(&forged)
            .await
            .answered()
            .assert_leads_to("/stats/");
    }
}

#[tokio::test]
async fn programs_and_scripts_are_never_redirected() {
    let site = site().await;
    let mut door = AtDoor::new(&site, "stats");
    for (method, headers) in [
        (Method::GET, &[("accept", "application/json")][..]),
        (Method::GET, &[]),
        (Method::POST, &[("accept", "text/html")]),
        (
            Method::GET,
            &[("accept", "text/html"), ("sec-fetch-mode", "cors")],
        ),
        (
            Method::GET,
            &[("accept", "text/html"), ("upgrade", "websocket")],
        ),
    ] {
        let answer = door.ask(method, "/stats/x", headers).await.answered();
        answer.assert_api_error(401);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    let navigation = [("accept", "*/*"), ("sec-fetch-mode", "navigate")];
    let answer = door.ask(Method::GET, "/stats/x", &navigation).await;
    assert_eq!(answer.answered().status, 302);
}

#[tokio::test]
async fn pages_of_other_sites_open_no_websocket_and_change_nothing() {
    let site = site().await;
    let mut ada = site.user("ada").await;
    let mut door = AtDoor::new(&site, "stats");
    door.come_in(&mut ada, "/stats/").await;
    let own = format!("https://{OWN_HOST}");
    for (method, extra) in [(Method::GET, "upgrade"), (Method::POST, "x-none")] {
        for origin in [
            "https://evil.example",
            "null",
            "https://hub.example.evil.example",
        ] {
            let headers = [("origin", origin), (extra, "websocket")];
            let answer = door.ask(method.clone(), "/stats/ws", &headers).await;
            answer.answered().assert_api_error(403);
        }
        let headers = [("origin", own.as_str()), (extra, "websocket")];
        door.ask(method.clone(), "/stats/ws", &headers)
            .await
            .entered();
        door.ask(method, "/stats/ws", &[(extra, "websocket")])
            .await
            .entered();
    }
    // A page may be asked for from anywhere: a link is followed.
    let headers = [("origin", "https://evil.example")];
    door.ask(Method::GET, "/stats/", &headers).await.entered();
}

#[tokio::test]
async fn a_token_opens_what_its_owner_may_and_goes_no_further() {
    let site = site().await;
    for name in ["ada", "bob", "root"] {
        site.user(name).await;
    }
    let ask = async |name: &'static str, owner: &str, scopes: &[&str]| {
        let token = site.token(owner, scopes).await;
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        AtDoor::new(&site, name)
            .ask(Method::POST, "/x", &headers)
            .await
    };
    let headers = ask("stats", "ada", &["inherit"]).await.entered();
    assert_eq!(headers["x-forwarded-user"], "ada");
    assert_eq!(headers["authorization"], "", "the token goes no further");
    ask("grades", "bob", &["access:services!service=grades"])
        .await
        .entered();
    ask("grades", "root", &["access:services"]).await.entered();
    for (name, owner, scopes) in [
        ("grades", "ada", &["access:services!service=grades"][..]),
        ("grades", "ada", &["inherit"]),
        ("stats", "ada", &["read:users!user"]),
        ("stats", "ada", &["access:services!service=grades"]),
    ] {
        ask(name, owner, scopes)
            .await
            .answered()
            .assert_api_error(403);
    }
    // What is not ours may be the service's own, and is nobody's proof.
    let headers = [("authorization", "Bearer of-the-service-itself")];
    let answer = AtDoor::new(&site, "stats")
        .ask(Method::GET, "/stats/", &headers)
        .await;
    answer.answered().assert_api_error(401);
    let mut ada = site.user("ada").await;
    let mut door = AtDoor::new(&site, "stats");
    door.come_in(&mut ada, "/stats/").await;
    let admitted = door.ask(Method::GET, "/stats/", &headers).await.entered();
    assert!(
        !admitted.contains_key("authorization"),
        "the service gets its own"
    );
}

#[tokio::test]
async fn a_visit_ends_with_the_login_even_if_tokens_last_longer() {
    let declared = Declared {
        services: vec![service("stats", "/stats/", Visitors::Users)],
        ..Declared::default()
    };
    let site = Site::with(|settings| {
        settings.declared = declared;
        settings.cookie_max_age = std::time::Duration::from_hours(1);
        settings.oauth_token_lifetime = std::time::Duration::from_hours(1000);
    })
    .await;
    let mut ada = site.user("ada").await;
    let mut door = AtDoor::new(&site, "stats");
    door.come_in(&mut ada, "/stats/").await;
    site.clock.advance(std::time::Duration::from_mins(59));
    door.open("/stats/").await.entered();
    site.clock.advance(std::time::Duration::from_mins(2));
    assert_eq!(door.open("/stats/").await.answered().status, 302);
}

#[tokio::test]
async fn whoever_may_come_sees_the_service_on_the_home_page() {
    let site = site().await;
    let check = async |name: &str, expected: &[&str]| {
        let page = site.user(name).await.get("/hub/home").await.text();
        for path in ["/stats/", "/grades/", "/open/"] {
            let shown = page.contains(&format!("href=\"{path}\""));
            assert_eq!(shown, expected.contains(&path), "{name} {path}");
        }
    };
    check("ada", &["/stats/", "/open/"]).await;
    check("bob", &["/stats/", "/grades/", "/open/"]).await;
}

#[tokio::test]
async fn a_cookie_for_a_service_says_no_more_than_a_name_to_the_api() {
    let site = site().await;
    let mut ada = site.user("ada").await;
    let mut door = AtDoor::new(&site, "stats");
    door.come_in(&mut ada, "/stats/").await;
    let token = door.cookies["lyceum-service-stats"].clone();
    let me = site.call("GET", "/hub/api/user", &token, None).await;
    assert_eq!(me.status, 200, "{}", me.text());
    assert_eq!(me.json()["name"], "ada");
    let start = site
        .call("POST", "/hub/api/users/ada/server", &token, None)
        .await;
    start.assert_api_error(403);
}

#[tokio::test]
async fn the_gate_knows_only_services_that_there_are() {
    let site = site().await;
    let answer = AtDoor::new(&site, "nothing").open("/nothing/").await;
    answer.answered().assert_api_error(404);
}
