//! `/hub/admin`: the pages for administrators, with forms alone; and who may not open them.

use lyceum_core::UserName;
use lyceum_store::{NewRole, RoleHolder};
use serde_json::json;

use crate::support::{Browser, Mood, Site};

/// Somebody who is no administrator, with a role of these scopes.
async fn helper<'a>(site: &'a Site, name: &str, scopes: &[&str]) -> Browser<'a> {
    site.user(name).await;
    let user = UserName::parse(name).unwrap();
    let user = site.store.get_user(&user).await.unwrap();
    let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
    let mut tx = site.store.begin().await.unwrap();
    let role = NewRole {
        name: &format!("of-{name}"),
        description: "",
        scopes: &scopes,
        managed_by_auth: false,
    };
    let role = tx.upsert_role(role).await.unwrap();
    tx.grant_role(role.id, RoleHolder::User(user.id))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    site.user(name).await
}

#[tokio::test]
async fn the_pages_are_for_those_with_the_scope_alone() {
    let site = Site::new().await;
    let mut nobody = site.anonymous();
    let mut ada = site.user("ada").await;
    let mut root = site.user("root").await;
    root.api("POST", "/groups/class", None).await;
    for path in [
        "/hub/admin",
        "/hub/admin/users/ada",
        "/hub/admin/groups",
        "/hub/admin/groups/class",
    ] {
        let login = format!("/hub/login?next={path}");
        nobody.get(path).await.assert_leads_to(&login);
        ada.get(path).await.assert_page(403);
        root.get(path).await.assert_page(200);
    }
    for path in ["/hub/admin/users/nobody", "/hub/admin/groups/nobody"] {
        root.get(path).await.assert_page(404);
    }
    let fields = [
        ("names", "new"),
        ("name", "new"),
        ("do", "delete"),
        ("confirm", "yes"),
        ("user", "ada"),
    ];
    for path in [
        "/hub/admin",
        "/hub/admin/server",
        "/hub/admin/users/ada",
        "/hub/admin/groups",
        "/hub/admin/groups/class",
    ] {
        ada.post(path, &fields).await.assert_page(403);
        // Without the token of a page of ours, nothing is done for anybody.
        root.post_as_is(path, &fields).await.assert_page(403);
    }
    let users = root.api("GET", "/users", None).await.json();
    assert_eq!(users.as_array().unwrap().len(), 2);
    assert_eq!(root.api("GET", "/groups/class", None).await.status, 200);
}

#[tokio::test]
async fn the_header_leads_there_for_those_who_may() {
    let site = Site::new().await;
    let link = "href=\"/hub/admin\"";
    for (name, shown) in [("root", true), ("ada", false)] {
        let page = site.user(name).await.get("/hub/home").await;
        assert_eq!(page.text().contains(link), shown, "{name}");
    }
    let mut helper = helper(&site, "mia", &["admin-ui"]).await;
    assert!(helper.get("/hub/home").await.text().contains(link));
    // The page opens, and shows nothing that the API would not.
    let page = helper.get("/hub/admin").await;
    page.assert_page(200);
    assert!(!page.text().contains("<table"), "{}", page.text());
    assert!(!page.text().contains("name=\"names\""));
    helper.get("/hub/admin/users/root").await.assert_page(404);
    helper.get("/hub/admin/groups/class").await.assert_page(403);
    helper
        .post("/hub/admin", &[("names", "new")])
        .await
        .assert_page(403);
}

#[tokio::test]
async fn helpers_see_and_do_what_their_scopes_allow() {
    let site = Site::new().await;
    site.user("ada").await;
    site.user("root").await;
    let scopes = [
        "admin-ui",
        "list:users",
        "read:servers!user=ada",
        "start:servers!user=ada",
    ];
    let mut mia = helper(&site, "mia", &scopes).await;
    let list = mia.get("/hub/admin?sort=name").await.text();
    assert!(list.contains("users/root") && list.contains("users/ada"));
    // Of ada's server it says more than of root's.
    let start = "value=\"start\"";
    let (ada, rest) = list.split_once("users/mia").unwrap();
    assert!(ada.contains(start), "{ada}");
    assert!(!rest.split_once("users/root").unwrap().1.contains(start));
    let page = mia.get("/hub/admin/users/ada").await.text();
    for form in ["value=\"rename\"", "value=\"admin\"", "value=\"delete\""] {
        assert!(!page.contains(form), "{form}");
    }
    let form = [("user", "root"), ("server", ""), ("do", "start")];
    mia.post("/hub/admin/server", &form).await.assert_page(404);
    let form = [("user", "ada"), ("server", ""), ("do", "start")];
    mia.post("/hub/admin/server", &form)
        .await
        .assert_leads_to("/hub/admin");
    let form = [("user", "ada"), ("server", ""), ("do", "stop")];
    mia.post("/hub/admin/server", &form).await.assert_page(404);
}

#[tokio::test]
async fn users_are_added_with_a_form() {
    let site = Site::new().await;
    let mut root = site.user("root").await;
    root.post("/hub/admin", &[("names", "Ada\r\nbob, eve\n")])
        .await
        .assert_leads_to("/hub/admin?sort=-id");
    let page = root.get("/hub/admin?sort=-id").await.text();
    for name in ["ada", "bob", "eve"] {
        assert!(page.contains(&format!("/hub/admin/users/{name}")), "{name}");
    }
    root.post("/hub/admin", &[("names", "mia"), ("admin", "yes")])
        .await
        .assert_leads_to("/hub/admin?sort=-id");
    let mia = root.api("GET", "/users/mia", None).await.json();
    assert_eq!(mia["admin"], true);
    for (names, status) in [("new, a/b", 400), ("ada", 409), (" ,\n", 400), ("", 400)] {
        let answer = root.post("/hub/admin", &[("names", names)]).await;
        answer.assert_page(status);
        assert!(answer.text().contains("id=\"problem\""));
    }
    assert_eq!(root.api("GET", "/users/new", None).await.status, 404);
}

#[tokio::test]
async fn the_list_is_searched_sorted_and_turned() {
    let site = Site::with(|settings| settings.api_page_default_limit = 2).await;
    let mut root = site.user("root").await;
    let body = json!({"usernames": ["ada", "bob", "a&b", "eve"]});
    root.api("POST", "/users", Some(body)).await;
    let shown = |page: &str| -> Vec<String> {
        page.split("<th scope=\"row\"><a href=\"")
            .skip(1)
            .map(|row| row.split('"').next().unwrap().to_owned())
            .map(|url| url.trim_start_matches("/hub/admin/users/").to_owned())
            .collect()
    };
    let first = root.get("/hub/admin").await.text();
    assert_eq!(shown(&first), ["root", "ada"]);
    assert!(
        first.contains("rel=\"next\" href=\"/hub/admin?offset=2\""),
        "{first}"
    );
    assert!(!first.contains("rel=\"prev\""));
    let second = root.get("/hub/admin?offset=2").await.text();
    assert_eq!(shown(&second), ["bob", "a%26b"]);
    assert!(second.contains("rel=\"prev\" href=\"/hub/admin\""));
    let sorted = root.get("/hub/admin?sort=-name").await.text();
    assert_eq!(shown(&sorted), ["root", "eve"]);
    assert!(sorted.contains("aria-sort=\"descending\""));
    let found = root.get("/hub/admin?name_filter=A%26").await.text();
    assert_eq!(shown(&found), ["a%26b"]);
    root.api("POST", "/users/bob/server", None).await;
    let active = root.get("/hub/admin?state=ready").await.text();
    assert_eq!(shown(&active), ["bob"]);
    assert!(active.contains("href=\"/user/bob/\""));
    // What makes no sense shows the whole list.
    let odd = root.get("/hub/admin?state=x&sort=y&offset=z").await;
    odd.assert_page(200);
    assert_eq!(shown(&odd.text()), ["root", "ada"]);
    root.get("/hub/admin?offset=1000").await.assert_page(200);
}

#[tokio::test]
async fn servers_are_started_and_stopped_with_forms() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut root = site.user("root").await;
    let form = |doing| {
        [
            ("user", "ada"),
            ("server", ""),
            ("do", doing),
            ("back", "/hub/admin?sort=name"),
        ]
    };
    let server = "/hub/admin/server";
    root.post(server, &form("start"))
        .await
        .assert_leads_to("/hub/admin?sort=name");
    // A second click is no mistake.
    root.post(server, &form("start"))
        .await
        .assert_leads_to("/hub/admin?sort=name");
    let ready = root.api("GET", "/users/ada/server/progress", None).await;
    assert!(ready.text().contains("\"ready\":true"), "{}", ready.text());
    assert!(
        root.get("/hub/admin")
            .await
            .text()
            .contains("value=\"stop\"")
    );
    root.post(server, &form("stop"))
        .await
        .assert_leads_to("/hub/admin?sort=name");
    assert_eq!(
        root.api("DELETE", "/users/ada/server", None).await.status,
        204
    );
    assert_eq!(site.spawner.starts(), 1);
    // Forms lead to these pages and nowhere else.
    for back in [
        "https://evil.example/",
        "//evil.example",
        "/hub/admin.evil",
        "/hub/home",
        "",
    ] {
        let form = [
            ("user", "ada"),
            ("server", ""),
            ("do", "stop"),
            ("back", back),
        ];
        root.post(server, &form).await.assert_leads_to("/hub/admin");
    }
    for (user, server_name, doing, status) in [
        ("nobody", "", "start", 404),
        ("ada", "lab", "start", 400),
        ("ada", "", "burn", 400),
    ] {
        let form = [("user", user), ("server", server_name), ("do", doing)];
        root.post(server, &form).await.assert_page(status);
    }
    // A start that fails is marked in the list.
    site.spawner.set_mood(Mood::Fails);
    root.api("POST", "/users/ada/server", None).await;
    assert!(root.get("/hub/admin").await.text().contains("badge bad"));
}

#[tokio::test]
async fn a_user_is_renamed_made_administrator_and_deleted() {
    let site = Site::new().await;
    site.user("ada").await;
    site.user("bob").await;
    let mut root = site.user("root").await;
    let ada = "/hub/admin/users/ada";
    root.post(ada, &[("do", "admin")])
        .await
        .assert_leads_to(ada);
    assert_eq!(
        root.api("GET", "/users/ada", None).await.json()["admin"],
        true
    );
    root.post(ada, &[("do", "no-admin")])
        .await
        .assert_leads_to(ada);
    assert_eq!(
        root.api("GET", "/users/ada", None).await.json()["admin"],
        false
    );
    for name in ["bob", "a/b", ""] {
        let answer = root.post(ada, &[("do", "rename"), ("name", name)]).await;
        answer.assert_page(400);
        assert!(answer.text().contains("note bad"));
    }
    let countess = "/hub/admin/users/countess%20of%20l";
    root.post(ada, &[("do", "rename"), ("name", " Countess of L ")])
        .await
        .assert_leads_to(countess);
    root.get(ada).await.assert_page(404);
    root.get(countess).await.assert_page(200);
    // Not by mistake.
    root.post(countess, &[("do", "delete")])
        .await
        .assert_page(400);
    root.post(countess, &[("do", "burn")])
        .await
        .assert_page(400);
    root.get(countess).await.assert_page(200);
    root.post(countess, &[("do", "delete"), ("confirm", "yes")])
        .await
        .assert_leads_to("/hub/admin");
    root.get(countess).await.assert_page(404);
    // Nobody deletes themselves, nor is offered to.
    let own = root.get("/hub/admin/users/root").await.text();
    assert!(!own.contains("value=\"delete\"") && !own.contains("value=\"no-admin\""));
    root.post(
        "/hub/admin/users/root",
        &[("do", "delete"), ("confirm", "yes")],
    )
    .await
    .assert_page(400);
}

#[tokio::test]
async fn groups_are_kept_with_forms() {
    let site = Site::new().await;
    site.user("ada").await;
    site.user("bob").await;
    let mut root = site.user("root").await;
    let class = "/hub/admin/groups/class%20%231";
    root.post("/hub/admin/groups", &[("name", " class #1 ")])
        .await
        .assert_leads_to(class);
    for (name, status) in [("class #1", 409), ("a/b", 400), ("", 400)] {
        root.post("/hub/admin/groups", &[("name", name)])
            .await
            .assert_page(status);
    }
    root.post(class, &[("do", "add"), ("users", "Ada\nbob")])
        .await
        .assert_leads_to(class);
    root.post(class, &[("do", "remove"), ("user", "bob")])
        .await
        .assert_leads_to(class);
    let group = async |root: &mut Browser<'_>| {
        let group = root.api("GET", "/groups/class%20%231", None).await.json();
        (group["users"].clone(), group["properties"].clone())
    };
    assert_eq!(group(&mut root).await, (json!(["ada"]), json!({})));
    let answer = root
        .post(class, &[("do", "add"), ("users", "bob, nobody")])
        .await;
    answer.assert_page(400);
    assert!(
        answer.text().contains("bob, nobody"),
        "what was typed is kept"
    );
    root.post(
        class,
        &[("do", "properties"), ("properties", "{\"quota\": 2}")],
    )
    .await
    .assert_leads_to(class);
    for text in ["", "[]", "{", "2"] {
        root.post(class, &[("do", "properties"), ("properties", text)])
            .await
            .assert_page(400);
    }
    assert_eq!(
        group(&mut root).await,
        (json!(["ada"]), json!({"quota": 2}))
    );
    assert!(
        root.get("/hub/admin/groups")
            .await
            .text()
            .contains("class #1")
    );
    root.post(class, &[("do", "delete")]).await.assert_page(400);
    root.post(class, &[("do", "delete"), ("confirm", "yes")])
        .await
        .assert_leads_to("/hub/admin/groups");
    root.get(class).await.assert_page(404);
}
