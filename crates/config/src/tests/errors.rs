//! What people see when their configuration is wrong.

use super::Folder;
use crate::Override;
use insta::assert_snapshot;

#[test]
fn an_unknown_key_is_shown_with_the_nearest_one() {
    assert_snapshot!(Folder::with("[hub]\nbse_url = \"/x/\"\n").bad());
}

#[test]
fn an_unknown_section_is_shown_with_the_nearest_one() {
    assert_snapshot!(Folder::with("[hubb]\nbase_url = \"/x/\"\n").bad());
}

#[test]
fn a_key_of_another_section_is_sent_there() {
    assert_snapshot!(Folder::with("base_url = \"/x/\"\n[hub]\nadmin_users = [\"ada\"]\n").bad());
}

#[test]
fn a_key_of_another_kind_is_told_so() {
    assert_snapshot!(
        Folder::with("[auth]\nkind = \"dummy\"\nuser_password_file = \"/etc/pw\"\n").bad()
    );
}

#[test]
fn a_key_near_nothing_gets_the_list_of_keys() {
    assert_snapshot!(Folder::with("[log]\nzzzzzz = 1\n").bad());
}

#[test]
fn all_errors_of_a_file_are_shown_at_once() {
    assert_snapshot!(
        Folder::with(
            "\
[hub]
base_url = \"jupyter\"
start_timeout = 60
http_timeout = \"30 fortnights\"
redirect_to_server = \"yes\"
named_servers = -1

[access]
admin_users = \"ada\"
allowed_users = [\"bob\", \"a/b\", 7]

[log]
level = \"verbose\"

[[pages.links]]
text = \"Help\"
"
        )
        .bad()
    );
}

#[test]
fn values_in_lists_are_counted_as_they_are_written() {
    let told = Folder::with(
        "[tls]\ndomains = [\"a b.org\", 7, \"good.example.org\", \"https://x.org\", \"y:1\", \"büro.example\"]\n\
         acme = { agree_to_terms = true }\n",
    )
    .bad();
    for (at, value) in [(0, "a b.org"), (1, ""), (3, "https://x.org"), (4, "y:1")] {
        let title = format!("`tls.domains[{at}]`");
        assert_eq!(told.matches(&title).count(), 1, "{title}: {told}");
        assert!(told.contains(value), "{value}: {told}");
    }
    for good in [2, 5] {
        assert!(!told.contains(&format!("tls.domains[{good}]")), "{told}");
    }
    // What follows from a name that is wrong is no mistake of its own.
    assert!(!told.contains("hub.public_url"), "{told}");
}

#[test]
fn patterns_that_cannot_be_read_are_pointed_at() {
    let told = Folder::with(
        "[access]\nallow_all = true\nallowed_patterns = [\"ok.*\", \"s[0-9\"]\nblocked_patterns = [\"\"]\n\
         [throttle]\nper_account = 0\nlongest_pause = \"0s\"\nexempt = [\"10.0.0.1/8\"]\n[audit]\nkeep = \"1h\"\n",
    )
    .bad();
    for part in [
        "access.allowed_patterns[1]",
        "unclosed character class, at character 2",
        "access.blocked_patterns[0]",
        "throttle.per_account",
        "throttle.longest_pause",
        "10.0.0.0/8",
        "audit.keep",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn values_in_quotes_are_told_to_lose_them() {
    assert_snapshot!(
        Folder::with("[hub]\nredirect_to_server = \"true\"\nactive_server_limit = \"7\"\n").bad()
    );
}

#[test]
fn numbers_out_of_range_are_refused() {
    assert_snapshot!(
        Folder::with(
            "[hub]\nactive_server_limit = -1\nconcurrent_spawn_limit = 99999999999999999999\n"
        )
        .bad()
    );
}

#[test]
fn an_unknown_kind_lists_the_kinds() {
    assert_snapshot!(Folder::with("[auth]\nkind = \"shared-pasword\"\n").bad());
    assert_snapshot!(Folder::with("[spawner]\nkind = 3\n").bad());
}

#[test]
fn values_inside_of_a_kind_are_pointed_at() {
    assert_snapshot!(
        Folder::with("[spawner]\nstop_timeout = \"soon\"\nkind = \"process\"\n").bad()
    );
}

#[test]
fn syntax_errors_are_shown_all_and_the_rest_is_looked_at() {
    assert_snapshot!(
        Folder::with(
            "\
[hub]
base_url = /jupyter/
data_dir \"/srv\"
http_timeout = \"1 min
strat_timeout = \"1 min\"

[log
level = \"info\"
"
        )
        .bad()
    );
}

#[test]
fn a_key_that_is_set_twice_is_shown_twice() {
    assert_snapshot!(
        Folder::with(
            "[hub]\nbase_url = \"/a/\"\n\n[log]\nlevel = \"info\"\n\n[hub]\nbase_url = \"/b/\"\n"
        )
        .bad()
    );
    assert_snapshot!(Folder::with("[hub]\nbase_url = \"/a/\"\nbase_url = \"/b/\"\n").bad());
}

#[test]
fn rules_across_settings_point_at_both() {
    assert_snapshot!(
        Folder::with(
            "\
[hub]
api_listen = \"0.0.0.0:8081\"
data_dir = \"/srv/x\"
runtime_dir = \"/srv/x\"
default_url = \"https://elsewhere.example\"
public_url = \"jupyter.example.org\"
cookie_max_age = \"0s\"

[access]
allowed_users = [\"ada\", \"bob\"]
blocked_users = [\"Ada\"]

[pages]
languages = []
links = [{ text = \"Help\", url = \"javascript:alert(1)\" }]
"
        )
        .bad()
    );
}

#[test]
fn tls_with_users_servers_opens_the_api_to_other_hosts() {
    let hub = |keys: &str| Folder::with(format!("[hub]\ninternal_tls = true\n{keys}\n"));
    hub("api_listen = \"10.0.0.5:8081\"").good();
    hub("api_listen = \"0.0.0.0:8081\"\napi_connect = \"hub.example.org\"").good();
    let plain = Folder::with("[hub]\napi_connect = \"hub.example.org\"\n").bad();
    assert!(plain.contains("over a network without TLS"), "{plain}");
    Folder::with("[hub]\napi_connect = \"localhost\"\n").good();
    assert_snapshot!(hub("api_listen = \"0.0.0.0:8081\"").bad());
    assert_snapshot!(
        hub(
            "api_connect = \"https://hub.example.org\"\n[proxy]\nkind = \"configurable-http-proxy\""
        )
        .bad()
    );
}

#[test]
fn errors_in_the_environment_name_the_variable() {
    assert_snapshot!(
        Folder::with("")
            .env("LYCEUM_HUB__BASE_URL", "jupyter")
            .env("LYCEUM_HUB__STRAT_TIMEOUT", "1 min")
            .env("LYCEUM_HUB_HTTP_TIMEOUT", "1 min")
            .env("LYCEUM_HUB__ACTIVE_SERVER_LIMIT", "many")
            .env("LYCEUM_CONFIG", "not a setting at all")
            .bad()
    );
}

#[test]
fn errors_on_the_command_line_name_the_flag() {
    assert_snapshot!(
        Folder::with("")
            .flag(Override::text("--base-url", "hub.base_url", "jupyter"))
            .flag(Override::text("--set hub.bas_url", "hub.bas_url", "/x/"))
            .flag(Override::value("--limit", "hub.active_server_limit", -5))
            .bad()
    );
}

#[test]
fn errors_in_a_fragment_name_the_fragment() {
    assert_snapshot!(
        Folder::with("[log]\nlevel = \"info\"\n")
            .and("lyceum.d/10-class.toml", "[log]\nlevel = \"loud\"\n")
            .bad()
    );
}

#[test]
fn a_file_that_is_not_text_is_refused() {
    assert_snapshot!(Folder::with(b"[hub]\nbase_url = \"/\xff/\"\n").bad());
}

#[test]
fn a_missing_file_is_an_error_when_it_was_asked_for() {
    let folder = Folder::with("");
    std::fs::remove_file(folder.path().join("lyceum.toml")).unwrap();
    assert_snapshot!(folder.bad());
}

#[test]
fn colours_are_for_terminals_only() {
    let errors = Folder::with("[hub]\nbse_url = \"/x/\"\n")
        .load()
        .unwrap_err();
    assert!(!errors.to_string().contains('\u{1b}'));
    assert!(errors.render(true).contains('\u{1b}'));
}

#[test]
fn a_problem_tells_programs_where_it_is() {
    let errors = Folder::with("[hub]\n\n  bse_url = \"/x/\"\n")
        .load()
        .unwrap_err();
    let [problem] = errors.errors() else {
        panic!("{errors}")
    };
    assert_eq!(problem.line_and_column(), Some((3, 3)));
    assert_eq!(problem.title(), "unknown key `hub.bse_url`");
    assert!(
        problem
            .origin()
            .unwrap()
            .to_string()
            .ends_with("lyceum.toml:3")
    );
}

#[test]
fn an_unclosed_list_is_one_error() {
    assert_snapshot!(
        Folder::with("[pages]\nlanguages = [\"en\",\ntitle = \"x\"\n\n[log]\nlevle = \"info\"\n")
            .bad()
    );
}

#[test]
fn a_secret_in_the_file_is_refused() {
    assert_snapshot!(
        Folder::with("[auth]\nkind = \"shared-password\"\nuser_password = \"correct horse\"\n")
            .bad()
    );
}

#[test]
fn a_login_that_lets_anybody_in_is_for_this_machine_alone() {
    let text =
        "[gateway]\nlisten = [\"127.0.0.1:8000\", \"0.0.0.0:80\"]\n[auth]\nkind = \"dummy\"\n";
    let spawner = "[spawner]\nkind = \"process\"\nallow_public = true\n";
    assert_snapshot!(Folder::with(format!("{text}{spawner}")).bad());
    Folder::with(format!("{text}allow_public = true\n{spawner}")).good();
}

#[test]
fn servers_under_our_own_account_are_for_this_machine_alone() {
    let text = "[gateway]\nlisten = [\"127.0.0.1:8000\", \"[::]:80\"]\n[auth]\nkind = \"dummy\"\nallow_public = true\n[spawner]\nkind = \"process\"\n";
    assert_snapshot!(Folder::with(text).bad());
    Folder::with(format!("{text}allow_public = true\n")).good();
    for local in [
        "127.0.0.1:80",
        "[::1]:80",
        "[::ffff:127.0.0.1]:80",
        "unix:/run/lyceum/http.sock",
    ] {
        Folder::with(format!("[gateway]\nlisten = [\"{local}\"]\n")).good();
    }
}

#[test]
fn passwords_that_cannot_be_used_are_refused() {
    let text = "[auth]\nkind = \"shared-password\"\nuser_password_file = \"user\"\nadmin_password_file = \"admin\"\n";
    let long = "a password that is long enough, surely";
    let check = |user: &str, admin: &str| {
        let folder = Folder::with(text)
            .and_secret("user", user)
            .and_secret("admin", admin);
        folder.bad()
    };
    assert_snapshot!(check(long, long));
    assert_snapshot!(check("short", long));
    assert_snapshot!(check("open sesame", "\nin the second line"));
    assert_snapshot!(Folder::bare("[auth]\n").bad());
}

#[test]
fn a_password_in_the_url_of_the_database_is_warned_about() {
    let loaded = Folder::with("[store]\ndatabase = \"postgres://ada:hunter2@db/lyceum\"\n").good();
    let warning = loaded
        .warnings
        .iter()
        .find(|problem| problem.title().contains("password"))
        .unwrap();
    assert!(!warning.to_string().contains("hunter2"), "{warning}");
    assert!(
        warning.to_string().contains("LYCEUM_STORE__DATABASE"),
        "{warning}"
    );
}

#[test]
fn two_listeners_cannot_have_one_address() {
    assert_snapshot!(
        Folder::with("[gateway]\nlisten = [\"127.0.0.1:9000\"]\nmax_headers = 1\n[hub]\napi_listen = \"127.0.0.1:9000\"\n")
            .bad()
    );
}

#[test]
fn a_flood_of_errors_is_cut_short() {
    let names = "\"a/b\", ".repeat(3000);
    let text = format!(
        "[access]\nallowed_users = [{names}]\n{}",
        "x = 1\n".repeat(3000)
    );
    let errors = Folder::with(text).bad();
    assert!(errors.contains("more\n"), "{errors}");
    assert!(errors.len() < 200_000);
}

#[test]
fn what_is_not_a_file_is_not_read() {
    for path in ["/dev/zero", "/"] {
        let options = crate::LoadOptions::file_alone(path);
        let errors = crate::load(&options).unwrap_err().to_string();
        assert!(errors.contains("this is not a file"), "{errors}");
    }
}

#[test]
fn a_placeholder_that_stands_for_nothing_is_refused() {
    let shown = Folder::with("[spawner]\nkind = \"process\"\nhome = \"/home/{user}\"\n").bad();
    for expected in ["lyceum.toml:3", "{username}", "spawner.home"] {
        assert!(
            shown.contains(expected),
            "{expected} is missing in:\n{shown}"
        );
    }
}

#[test]
fn what_servers_and_metrics_cannot_work_with_is_refused() {
    let shown = Folder::with(
        "[servers]\ndefault_name = \"My Lab\"\nretry_range = [60, 30]\n\
         [metrics]\nprefix = \"2nd class\"\nspawn_buckets = [1.0, 1.0]\nstop_buckets = []\n",
    )
    .bad();
    for key in [
        "servers.default_name",
        "servers.retry_range",
        "metrics.prefix",
        "metrics.spawn_buckets",
        "metrics.stop_buckets",
    ] {
        assert!(shown.contains(&format!("`{key}`")), "{key}:\n{shown}");
    }
}

#[test]
fn the_urls_of_a_proxy_elsewhere_are_looked_at() {
    assert_snapshot!(
        Folder::with(
            "\
[proxy]
kind = \"configurable-http-proxy\"
api_url = \"127.0.0.1:8001\"
hub_target = \"ftp://hub\"
"
        )
        .bad()
    );
}
