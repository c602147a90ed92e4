//! Services below prefixes of their own: what is read of them, and what is refused.

use insta::assert_snapshot;
use lyceum_core::service::Visitors;
use lyceum_gateway::{Site, SiteAction};

use super::Folder;

fn sites(text: &str) -> Vec<Site> {
    Folder::with(text).good().config.sites().unwrap()
}

/// A site in a few words.
fn shown(site: &Site) -> String {
    let action = match &site.action {
        SiteAction::Forward(forwarding) => format!(
            "{} {:?}{}{}",
            forwarding.target,
            forwarding.kind,
            if forwarding.strip_prefix {
                " stripped"
            } else {
                ""
            },
            if forwarding.rewrite { " rewritten" } else { "" },
        ),
        SiteAction::Files(folder) => format!("files {}", folder.display()),
        SiteAction::Redirect { to, status } => format!("{status} {to}"),
    };
    let gate = if site.access.gated { "gated" } else { "open" };
    format!("{} {} {gate} {action}", site.name, site.spec)
}

#[test]
fn five_lines_are_a_service() {
    let check = |lines: &str, expected: &str| {
        let sites = sites(&format!("[[services]]\nname = \"app\"\n{lines}"));
        let shown: Vec<_> = sites.iter().map(shown).collect();
        assert_eq!(shown, [expected], "{lines}");
    };
    check(
        "prefix = \"/r/\"\nurl = \"http://127.0.0.1:8787\"\nkind = \"rstudio\"\naccess = \"users\"\n",
        "app /r/ gated http://127.0.0.1:8787 RStudio stripped rewritten",
    );
    check(
        "prefix = \"/shiny/\"\nurl = \"http://127.0.0.1:3838\"\nkind = \"shiny\"\naccess = \"public\"\n",
        "app /shiny/ open http://127.0.0.1:3838 Shiny stripped rewritten",
    );
    check(
        "url = \"unix:/run/app.sock\"\nkind = \"generic\"\n",
        "app /services/app/ gated http+unix://%2Frun%2Fapp.sock Generic",
    );
    check(
        "url = \"https://10.0.0.7\"\nkind = \"generic\"\nstrip_prefix = true\nrewrite = false\n",
        "app /services/app/ gated https://10.0.0.7:443 Generic stripped",
    );
    check(
        "prefix = \"/old/\"\nkind = \"redirect\"\nredirect_to = \"/new/\"\nredirect_status = 308\naccess = \"public\"\n",
        "app /old/ open 308 /new/",
    );
    let folder =
        Folder::with("[[services]]\nname = \"course\"\nkind = \"static\"\nfolder = \"files\"\n")
            .and("files/index.html", "");
    let sites = folder.good().config.sites().unwrap();
    let files = folder.path().join("files");
    assert_eq!(
        shown(&sites[0]),
        format!("course /services/course/ gated files {}", files.display())
    );
}

#[test]
fn a_service_that_logs_people_in_itself_is_no_site() {
    let loaded = Folder::with(
        "[[services]]\nname = \"forum\"\nurl = \"http://127.0.0.1:1\"\nprefix = \"/forum/\"\n",
    )
    .good();
    assert!(loaded.config.sites().unwrap().is_empty());
    let declared = loaded.config.declared().unwrap();
    assert_eq!(declared.services[0].prefix("/"), "/forum/");
    assert_eq!(
        declared.services[0].redirect_uri("/").as_deref(),
        Some("/forum/oauth_callback")
    );
}

#[test]
fn rules_limits_and_headers_are_read() {
    let loaded = Folder::with(
        "\
[hub]
public_url = \"https://hub.example.org:8443\"

[[services]]
name = \"stats\"
prefix = \"Stats.example.org/\"
url = \"http://127.0.0.1:8501\"
kind = \"generic\"
access = { users = [\"Ada\"], groups = [\"class\"], roles = [\"admin\"], networks = [\"10.0.0.0/8\", \"unix\"] }
max_body = \"50M\"
connect_timeout = \"2s\"
response_timeout = \"5 min\"
tunnel_timeout = \"20 days\"
request_headers = { X-Course = \"statistics\" }
response_headers = { X-Frame-Options = \"DENY\" }
maintenance = \"Back at noon.\"
command = [\"streamlit\", \"run\", \"app.py\"]
",
    )
    .good();
    let [site] = &loaded.config.sites().unwrap()[..] else {
        panic!("one site")
    };
    assert_eq!(site.spec.to_string(), "stats.example.org/");
    assert_eq!(site.access.networks.len(), 2);
    assert_eq!(site.limits.max_body, Some(50 << 20));
    assert_eq!(site.limits.tunnel_timeout.unwrap().as_secs(), 20 * 86_400);
    assert_eq!(site.request_headers[0].0, "x-course");
    assert_eq!(site.response_headers[0].1, "DENY");
    assert_eq!(site.maintenance.as_deref(), Some("Back at noon."));
    let declared = loaded.config.declared().unwrap();
    let spec = &declared.services[0];
    let Some(Visitors::Some(chosen)) = &spec.visitors else {
        panic!("{:?}", spec.visitors)
    };
    assert!(chosen.users.iter().any(|user| user.as_str() == "ada"));
    assert_eq!((chosen.groups.len(), chosen.roles.len()), (1, 1));
    assert!(spec.process.is_some() && spec.oauth_no_confirm);
    assert_eq!(
        spec.redirect_uri("/").as_deref(),
        Some("https://stats.example.org:8443/lyceum-enter")
    );
}

#[test]
fn what_cannot_be_a_prefix_is_refused() {
    let service = |prefix: &str, kind: &str| {
        format!(
            "[[services]]\nname = \"a\"\nprefix = \"{prefix}\"\nurl = \"http://127.0.0.1:1\"\n{kind}\n"
        )
    };
    let generic = "kind = \"generic\"";
    let check = |prefix: &str, kind: &str, expected: &str| {
        let shown = Folder::with(service(prefix, kind)).bad();
        assert!(shown.contains(expected), "{prefix}: {shown}");
    };
    check("/r", generic, "write `prefix = \"/r/\"`");
    check("r", generic, "write `prefix = \"/r/\"`");
    check("r/", generic, "write `prefix = \"/r/\"`");
    check("", generic, "between slashes");
    check("/a b/", generic, "between slashes");
    check("/%72/", generic, "between slashes");
    check("/../", generic, "between slashes");
    check("/", generic, "nobody could log in");
    check("/hub/", generic, "`/hub/` belongs to the hub");
    check("/hub/static/x/", generic, "`/hub/` belongs to the hub");
    check("/user/ada/", generic, "`/user/` belongs to the hub");
    check("/services/", generic, "covers all other services");
    check("/.well-known/x/", generic, "checks of certificates");
    check("stats.example.org/", "", "needs a `kind`");
    check("stats.example.org/", generic, "`hub.public_url`");
    let based = |prefix: &str| {
        Folder::with(format!(
            "[hub]\nbase_url = \"/jupyter/\"\npublic_url = \"https://h.example\"\n{}",
            service(prefix, generic)
        ))
    };
    assert!(based("/jupyter/hub/").bad().contains("belongs to the hub"));
    assert!(based("h.example/").bad().contains("nobody could log in"));
    based("/hub/").good();
    based("other.example/").good();
}

#[test]
fn all_mistakes_in_services_below_prefixes_are_shown_at_once() {
    assert_snapshot!(
        Folder::with(
            "\
[gateway]
listen = [\"127.0.0.1:8000\"]

[[services]]
name = \"forum\"
url = \"http://127.0.0.1:10101\"
access = \"users\"
strip_prefix = true

[[services]]
name = \"one\"
kind = \"shiny\"
prefix = \"/x/\"
url = \"http://localhost:8000\"
access = { public = true, groups = [\"class\"] }
connect_timeout = \"0s\"
max_body = \"0B\"
folder = \"/srv\"
oauth_no_confirm = true
request_headers = { Connection = \"close\", X-Forwarded-User = \"admin\", \"X Y\" = \"z\" }
response_headers = { X-A = \"\\n\" }

[[services]]
name = \"two\"
kind = \"redirect\"
prefix = \"/x/\"
redirect_to = \"//evil.example\"
redirect_status = 303
url = \"http://127.0.0.1:1\"

[[services]]
name = \"loop\"
kind = \"redirect\"
prefix = \"/loop/\"
redirect_to = \"/loop/again\"

[[services]]
name = \"files\"
kind = \"static\"
folder = \"/no/such/folder\"

[[services]]
name = \"nothing\"
kind = \"generic\"
access = { users = [\"a/b\"], roles = [\"Teacher\"], networks = [\"10.0.0.1/8\"] }

[[services]]
name = \"path\"
kind = \"generic\"
url = \"http://127.0.0.1:1/app\"

[[services]]
name = \"kind\"
kind = \"rstudo\"
max_body = 50
access = \"publik\"
"
        )
        .bad()
    );
}

#[test]
fn a_kind_that_there_is_not_is_the_only_mistake_of_its_service() {
    let shown = Folder::with(
        "[[services]]\nname = \"r\"\nkind = \"rstudo\"\naccess = \"users\"\nstrip_prefix = true\n",
    )
    .bad();
    assert!(shown.contains("did you mean `\"rstudio\"`?"), "{shown}");
    assert!(
        shown.trim_end().ends_with("\n1 error in the configuration"),
        "{shown}"
    );
}

#[test]
fn what_is_probably_not_meant_is_warned_about() {
    let folder = Folder::with(
        "\
[[services]]
name = \"r\"
kind = \"rstudio\"
url = \"http://127.0.0.1:8787\"
response_timeout = \"30s\"
access = { groups = [] }

[[services]]
name = \"etc\"
kind = \"static\"
folder = \"/etc\"
access = { roles = [\"usr\"] }
",
    );
    let loaded = folder.good();
    let titles: Vec<_> = loaded
        .warnings
        .iter()
        .map(crate::Problem::title)
        .filter(|title| !title.contains("nobody can log in"))
        .collect();
    assert_eq!(
        titles,
        [
            "`response_timeout` of the service `r` cuts off people who only read",
            "only administrators may come to the service `r`",
            "the service `etc` shows all files below `/etc`",
            "there is no role `usr` in `[[roles]]`",
        ]
    );
}

#[test]
fn the_folder_of_the_database_is_never_shown() {
    let folder = Folder::with(
        "[hub]\ndata_dir = \"data\"\n[[services]]\nname = \"x\"\nkind = \"static\"\nfolder = \"data/files\"\n",
    )
    .and("data/files/x", "");
    assert!(folder.bad().contains("the database and all secrets"));
}
