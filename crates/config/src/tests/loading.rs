//! What is loaded from where, and how it is shown.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::Folder;
use crate::load::load_or_default;
use crate::settings::{Language, LogFormat, LogLevel, NamedServers};
use crate::{LoadOptions, Origin, Override, explain};

/// The shortest configuration that nobody warns about.
const GOOD: &str = "[access]\nadmin_users = [\"ada\"]\n";

#[test]
fn no_file_means_the_defaults() {
    let nowhere = Path::new("/no/such/folder/lyceum.toml");
    let mut options = LoadOptions::default();
    let errors = load_or_default(&options, nowhere).unwrap_err();
    assert_eq!(errors.errors().len(), 1, "{errors}");
    assert_eq!(
        errors.errors()[0].title(),
        "there is no password to log in with"
    );
    // What prepares a machine can do without.
    let loaded = errors.before_serving().unwrap();
    assert_eq!(loaded.config.hub.base_url, "/");
    options.overrides = vec![Override::text("--days", "hub.cookie_max_age", "soon")];
    let errors = load_or_default(&options, nowhere).unwrap_err();
    assert_eq!(errors.errors().len(), 2, "{errors}");
    // And what is wrong besides is told alone.
    let errors = errors.before_serving().unwrap_err();
    assert_eq!(errors.errors().len(), 1, "{errors}");
    assert!(errors.to_string().contains("cookie_max_age"), "{errors}");

    options.overrides = vec![Override::text("--auth", "auth.kind", "dummy")];
    let loaded = load_or_default(&options, nowhere).unwrap();
    assert_eq!(loaded.config.hub.base_url, "/");
    assert_eq!(loaded.config.hub.data_dir, Path::new("/var/lib/lyceum"));
    assert_eq!(loaded.config.hub.cookie_max_age.to_string(), "14 days");
    assert_eq!(loaded.origin("hub.base_url"), Origin::Default);
    assert!(loaded.files.is_empty());
    assert_eq!(loaded.warnings.len(), 1, "nobody can log in");
}

#[test]
fn later_sources_win_and_each_value_knows_its_own() {
    let folder = Folder::with(
        "[hub]\nbase_url = \"/file/\"\nhttp_timeout = \"1 min\"\nstart_timeout = \"1 min\"\n\
         active_server_limit = 1\n[access]\nadmin_users = [\"ada\", \"bob\"]\n",
    )
    .and("lyceum.d/20-b.toml", "[hub]\nstart_timeout = \"3 min\"\n")
    .and(
        "lyceum.d/10-a.toml",
        "[hub]\nstart_timeout = \"2 min\"\nhttp_timeout = \"2 min\"\n",
    )
    .and("lyceum.d/30-c.toml.bak", "this is not even TOML")
    .and("lyceum.d/.hidden.toml", "this is not even TOML")
    .env("LYCEUM_HUB__ACTIVE_SERVER_LIMIT", "2")
    .env("LYCEUM_HUB__BASE_URL", "/environment/")
    .env("LYCEUM_ACCESS__ADMIN_USERS", "bob, Eve Adams")
    .env("LYCEUM_LOG__FORMAT", "json")
    .flag(Override::text("--base-url", "hub.base_url", "/flag/"));
    let loaded = folder.good();
    let hub = &loaded.config.hub;
    assert_eq!(hub.base_url, "/flag/");
    assert_eq!(hub.start_timeout.to_string(), "3 min");
    assert_eq!(hub.http_timeout.to_string(), "2 min");
    assert_eq!(hub.active_server_limit, 2);
    assert_eq!(loaded.config.log.format, LogFormat::Json);
    let admins: Vec<_> = loaded
        .config
        .access
        .admin_users
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        admins,
        ["bob", "eve adams"],
        "lists are replaced, names normalized"
    );

    let check = |key: &str, expected: &str| {
        let origin = folder.without_folder(&loaded.origin(key).to_string());
        assert_eq!(origin, expected, "{key}");
    };
    check("hub.base_url", "flag --base-url");
    check("hub.start_timeout", "lyceum.d/20-b.toml:2");
    check("hub.http_timeout", "lyceum.d/10-a.toml:3");
    check(
        "hub.active_server_limit",
        "environment variable LYCEUM_HUB__ACTIVE_SERVER_LIMIT",
    );
    check("hub.stop_timeout", "default");
    let files: Vec<_> = loaded
        .files
        .iter()
        .filter_map(|file| file.file_name())
        .collect();
    assert_eq!(files, ["lyceum.toml", "10-a.toml", "20-b.toml"]);
}

#[test]
fn variables_are_read_as_the_setting_wants_them() {
    let loaded = Folder::with(GOOD)
        .env("LYCEUM_HUB__NAMED_SERVERS", "3")
        .env("LYCEUM_HUB__REDIRECT_TO_SERVER", "false")
        .env("LYCEUM_PAGES__TITLE", "42")
        .env("LYCEUM_PAGES__LANGUAGES", "cs,en")
        .env("LYCEUM_PAGES__LINKS", "[{ text = 'Help', url = '/help' }]")
        .env("LYCEUM_SPAWNER__ENVIRONMENT__NLTK_DATA", "/srv/nltk")
        .env("LYCEUM_SOMETHING", "of another program")
        .good();
    assert_eq!(loaded.config.hub.named_servers, NamedServers::UpTo(3));
    assert!(!loaded.config.hub.redirect_to_server);
    assert_eq!(loaded.config.pages.title, "42");
    assert_eq!(loaded.config.pages.languages, [Language::Cs, Language::En]);
    assert_eq!(loaded.config.pages.links[0].url, "/help");
    let crate::settings::SpawnerConfig::Process(process) = &loaded.config.spawner else {
        panic!("another spawner");
    };
    assert_eq!(process.environment["NLTK_DATA"], "/srv/nltk");
}

#[test]
fn texts_may_be_quoted_as_in_a_file_or_not() {
    for (given, expected) in [
        ("\"Class 1\"", "Class 1"),
        ("'Class 1'", "Class 1"),
        ("Class 1", "Class 1"),
        ("\"Class\" 1", "\"Class\" 1"),
        ("\"Class 1", "\"Class 1"),
    ] {
        let loaded = Folder::with(GOOD)
            .flag(Override::text("--set pages.title", "pages.title", given))
            .good();
        assert_eq!(loaded.config.pages.title, expected, "{given}");
    }
}

#[test]
fn typed_overrides_need_no_text() {
    let loaded = Folder::with(GOOD)
        .flag(Override::value("--debug", "log.level", "debug"))
        .flag(Override::value("--names", "hub.named_servers", true))
        .good();
    assert_eq!(loaded.config.log.level, LogLevel::Debug);
    assert_eq!(loaded.config.hub.named_servers, NamedServers::Unlimited);
}

#[test]
fn relative_paths_belong_to_their_source() {
    let folder = Folder::with("[hub]\ndata_dir = \"data\"\n")
        .and("lyceum.d/a.toml", "[pages]\nlogo = \"../logo.svg\"\n")
        .and("logo.svg", "<svg/>")
        .env("LYCEUM_HUB__RUNTIME_DIR", "run");
    let loaded = folder.good();
    assert_eq!(loaded.config.hub.data_dir, folder.path().join("data"));
    assert_eq!(loaded.config.hub.runtime_dir, Path::new("/current/run"));
    let logo = loaded.config.pages.logo.as_deref().unwrap();
    assert_eq!(logo, folder.path().join("lyceum.d/../logo.svg"));
}

#[test]
fn root_moves_the_folders_that_are_not_set() {
    let loaded = Folder::with("root = \"/opt/jupyter\"\n[hub]\nruntime_dir = \"/run/j\"\n").good();
    assert_eq!(loaded.config.hub.data_dir, Path::new("/opt/jupyter/data"));
    assert_eq!(loaded.config.hub.runtime_dir, Path::new("/run/j"));
    assert_eq!(loaded.origin("hub.data_dir"), Origin::Follows("root"));
}

#[test]
fn a_section_that_changes_its_kind_starts_afresh() {
    let loaded = Folder::with(GOOD)
        .and("secret", "0123456789abcdef")
        .and(
            "lyceum.d/a.toml",
            "[auth]\nkind = \"shared-password\"\nuser_password_file = \"../secret\"\n",
        )
        .flag(Override::text("--auth", "auth.kind", "dummy"))
        .good();
    assert!(matches!(
        loaded.config.auth,
        lyceum_auth::AuthConfig::Dummy(_)
    ));
}

#[test]
fn a_section_without_kind_has_the_default_one() {
    let loaded = Folder::with("[spawner]\nlog_limit_mib = 3\n").good();
    let crate::settings::SpawnerConfig::Process(process) = &loaded.config.spawner else {
        panic!("another spawner");
    };
    assert_eq!(process.log_limit_mib, 3);
}

#[test]
fn a_secret_file_that_others_can_read_is_refused_with_the_command_that_helps() {
    let folder = Folder::with("[auth]\nkind = \"shared-password\"\nuser_password_file = \"pw\"\n")
        .and("pw", "0123456789abcdef");
    let set_mode = |mode| {
        fs::set_permissions(folder.path().join("pw"), fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(0o644);
    let errors = folder.bad();
    assert!(
        errors.contains("everybody on this machine can use it (mode 644)"),
        "{errors}"
    );
    assert!(errors.contains("chmod o= 'pw'"), "{errors}");
    set_mode(0o640);
    folder.good();
    fs::remove_file(folder.path().join("pw")).unwrap();
    let errors = folder.bad();
    assert!(errors.contains("No such file"), "{errors}");
}

#[test]
fn what_is_in_force_is_shown_as_toml_with_its_origins() {
    let folder = Folder::with(
        "[hub]\nbase_url = \"/x/\"\n[spawner.environment]\nA = \"1\"\nAPI_TOKEN = \"hunter2\"\n",
    )
    .env("LYCEUM_HUB__NAMED_SERVERS", "2")
    .env("LYCEUM_STORE__DATABASE", "postgres://ada:hunter2@db/lyceum");
    let loaded = folder.good();
    let shown = loaded.show(false);
    insta::assert_snapshot!(folder.without_folder(&shown));
    assert!(!shown.contains("hunter2"));
    toml::from_str::<toml::Table>(&shown).unwrap();

    let all = loaded.show(true);
    assert!(!all.contains("hunter2"));
    toml::from_str::<toml::Table>(&all).unwrap();
    assert!(all.contains("cookie_max_age = \"14 days\""), "{all}");
    assert!(all.contains("# public_url is not set"), "{all}");
}

#[test]
fn what_is_shown_with_defaults_can_be_loaded_again() {
    let shown = Folder::with(GOOD).good().show(true);
    let again = Folder::with(&shown).good();
    assert_eq!(again.config.access.admin_users.len(), 1, "{shown}");
}

#[test]
fn secrets_are_in_no_error_message() {
    for text in [
        "[hub]\npassword = \"hunter2\"\n",
        "[hub]\npassword = hunter2\n",
        "[auth]\nkind = \"shared-password\"\nuser_password = \"hunter2\"\nx = 1\n",
        "[auth]\nkind = \"shared-password\"\n\"admin_password\" = 'hunter2\n",
        "[store]\ndatabase = [\"postgres://ada:hunter2@db/lyceum\"]\n",
        "[store]\ndatabase = [\"postgres://ada@db/lyceum?password=hunter2\"]\n",
        "[spawner.environment]\nAPI_TOKEN = [\"hunter2\"]\n",
        "[spawner.environment]\nAPI_TOKEN = [\n\"hunter2\"]\n",
        "[x]\npassword = \"\"\"\nhunter2\n\"\"\"\n",
    ] {
        let errors = Folder::with(text).bad();
        assert!(!errors.contains("hunter2"), "{text}\n{errors}");
    }
    let errors = Folder::with("")
        .env("LYCEUM_HUB__PASSWORD", "hunter2")
        .env(
            "LYCEUM_SPAWNER__ENVIRONMENT",
            "{ API_TOKEN = 'hunter2', B = 3 }",
        )
        .flag(Override::text("--x", "hub.password", "hunter2"))
        .bad();
    assert!(!errors.contains("hunter2"), "{errors}");
}

#[test]
fn a_key_is_explained_with_its_value_now() {
    let folder = Folder::with("[hub]\nbase_url = \"/x/\"\n");
    let loaded = folder.good();
    let text = explain("hub.base_url", Some(&loaded)).unwrap();
    insta::assert_snapshot!(folder.without_folder(&text));
    insta::assert_snapshot!(explain("auth.kind", None).unwrap());
    insta::assert_snapshot!(explain("log", None).unwrap());

    let nearest = |key: &str| explain(key, None).unwrap_err().nearest;
    assert_eq!(nearest("hub.bse_url").as_deref(), Some("hub.base_url"));
    assert_eq!(nearest("base_url").as_deref(), Some("hub.base_url"));
    assert_eq!(nearest("gateway.base_url").as_deref(), Some("hub.base_url"));
    assert_eq!(nearest("acess").as_deref(), Some("access"));
    assert_eq!(nearest("zzzzzzzzzz"), None);
}

#[test]
fn a_name_is_enough_for_https() {
    let folder = Folder::with(
        "[tls]\ndomains = [\"*.a.example.org\", \"a.example.org\"]\nacme = { agree_to_terms = true, challenge = \"dns-01\", \
         dns = { kind = \"command\", command = [\"/bin/true\"] } }\n[spawner]\nallow_public = true\n[auth]\nkind = \"dummy\"\nallow_public = true\n",
    );
    let loaded = folder.good();
    let gateway = &loaded.config.gateway;
    assert_eq!(gateway.listen[0].to_string(), "[::]:80");
    assert_eq!(gateway.listen_tls[0].to_string(), "[::]:443");
    assert!(gateway.https_redirect);
    assert_eq!(
        loaded.config.hub.public_url.as_deref(),
        Some("https://a.example.org")
    );
    assert_eq!(
        loaded.origin("gateway.listen"),
        Origin::Follows("tls.domains")
    );
}

#[test]
fn what_is_set_about_https_stays() {
    let folder = Folder::with(
        "[tls]\ndomains = [\"a.example.org\"]\nsource = \"self-signed\"\n[gateway]\nlisten = [\"127.0.0.1:8000\"]\n\
         listen_tls = [\"127.0.0.1:8443\"]\nhttps_redirect = false\n",
    );
    let config = folder.good().config;
    assert_eq!(config.gateway.listen[0].to_string(), "127.0.0.1:8000");
    assert!(!config.gateway.https_redirect);
    assert_eq!(
        config.hub.public_url.as_deref(),
        Some("https://a.example.org:8443")
    );
}

#[test]
fn a_name_that_no_public_authority_certifies_is_a_warning() {
    let told = |source: &str| {
        let open = "allow_public = true\n[auth]\nkind = \"dummy\"\nallow_public = true\n";
        let loaded = Folder::with(format!(
            "[tls]\ndomains = [\"hub.local\"]\n{source}\n[spawner]\n{open}"
        ))
        .good();
        loaded
            .warnings
            .iter()
            .fold(String::new(), |told, warning| told + &warning.to_string())
    };
    let by_acme = told("acme = { agree_to_terms = true }");
    assert!(
        by_acme.contains("gives a certificate for `hub.local`"),
        "{by_acme}"
    );
    assert!(!told("source = \"self-signed\"").contains("hub.local"));
}

#[test]
fn without_names_nothing_is_served_by_https() {
    let config = Folder::with("[tls]\nkey_type = \"rsa\"\n").good().config;
    assert!(config.gateway.listen_tls.is_empty());
    assert!(!config.gateway.https_redirect);
}
