//! Services, roles, groups and custom scopes in the file.

use insta::assert_snapshot;

use super::Folder;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn what_is_declared_is_read() {
    let text = format!(
        "\
[custom_scopes.\"custom:forum:read\"]
description = \"Read the forum.\"

[custom_scopes.\"custom:forum:write\"]
description = \"Write in the forum.\"
subscopes = [\"custom:forum:read\"]

[groups.class]
users = [\"Ada\", \"bob\"]
properties = {{ room = \"B12\", seats = 30, floor = {{ number = 2 }}, tags = [\"x\", 1] }}

[groups.empty]

[[services]]
name = \"forum\"
url = \"http://127.0.0.1:10101/forum\"
command = [\"forum\", \"--plain\"]
cwd = \"srv\"
environment = {{ TITLE = \"Questions\" }}
api_token = \"{TOKEN}\"
oauth_client_allowed_scopes = [\"custom:forum:write\", \"read:servers!user\"]
oauth_no_confirm = true
display = false
info = {{ contact = \"ada\" }}

[[services]]
name = \"culler\"
command = [\"culler\"]
scopes = [\"list:users\"]

[[roles]]
name = \"teacher\"
description = \"Teaches\"
scopes = [\"read:users!group=class\", \"custom:forum:*\"]
users = [\"Carol\"]
groups = [\"teachers\"]
services = [\"forum\"]

[[roles]]
name = \"user\"
scopes = [\"self\", \"list:services\"]

[hub]
server_token_scopes = [\"users:activity!user\"]
oauth_client_allowed_scopes = [\"custom:forum:read\"]
"
    )
    .replace("custom:forum:*", "custom:forum:read");
    let folder = Folder::with(text);
    let loaded = folder.good();
    let declared = loaded.config.declared().unwrap();
    let [forum, culler] = declared.services.as_slice() else {
        panic!("{declared:?}")
    };
    let process = forum.process.as_ref().unwrap();
    assert_eq!(process.command, ["forum", "--plain"]);
    assert_eq!(
        process.cwd.as_deref(),
        Some(folder.path().join("srv").as_path())
    );
    assert_eq!(forum.api_token.as_ref().unwrap().expose(), TOKEN);
    assert!(forum.oauth_no_confirm && !forum.display && culler.display);
    assert!(culler.oauth.is_none() && forum.oauth.is_some());
    let names: Vec<_> = declared
        .roles
        .iter()
        .map(|role| role.name.as_str())
        .collect();
    assert_eq!(names, ["teacher", "user", "service-culler"]);
    let teacher = &declared.roles[0];
    assert_eq!(teacher.users.as_ref().unwrap()[0].as_str(), "carol");
    assert_eq!(declared.roles[1].users, None);
    assert_eq!(declared.groups.len(), 2);
    assert_eq!(declared.groups[0].users[0].as_str(), "ada");
    let properties = declared.groups[0].properties.as_ref().unwrap();
    assert_eq!(properties["floor"]["number"], 2);
    assert_eq!(properties["tags"][1], 1);
    assert_eq!(declared.groups[1].properties, None);
    assert!(declared.catalogue.find("custom:forum:write").is_some());
    assert!(
        !format!("{loaded:?}").contains(TOKEN),
        "a token in the debug output"
    );
}

#[test]
fn what_is_declared_is_shown_with_its_headings_and_without_its_secrets() {
    let shown = Folder::with(format!(
        "\
[groups.class]
users = [\"ada\"]
properties = {{ room = \"B12\" }}

[custom_scopes.\"custom:forum\"]
description = \"Read the forum.\"

[[services]]
name = \"forum\"
url = \"http://127.0.0.1:10101\"
api_token = \"{TOKEN}\"
info = {{ contact = \"ada\" }}
"
    ))
    .and(
        "lyceum.d/culler.toml",
        "[[services]]\nname = \"culler\"\ncommand = [\"culler\"]\nscopes = [\"list:users\"]\n",
    );
    let loaded = shown.good();
    let text = shown.without_folder(&loaded.show(false));
    assert_snapshot!(text);
    // What is shown is a file again.
    let again = text.replace("[secret]", TOKEN);
    let declared = Folder::with(again).good().config.declared().unwrap();
    assert_eq!(declared.services.len(), 2);
}

#[test]
fn all_mistakes_in_what_is_declared_are_shown_at_once() {
    assert_snapshot!(
        Folder::with(
            "\
[[services]]
name = \"a/b\"
url = \"ftp://somewhere\"
user = \"nobody\"
oauth_client_id = \"forum\"

[[services]]
name = \"forum\"
api_token = \"short\"
oauth_no_confirm = true
scopes = [\"list:user\"]
nmae = \"x\"

[[services]]
name = \"twice\"

[[services]]
name = \"twice\"

[[services]]
url = \"http://127.0.0.1:1\"

[[services]]
name = 7

[[roles]]
name = \"Teacher\"

[[roles]]
name = \"teacher\"
scopes = [\"read:users!grup=class\", \"read:usres\", \"self!user\", \"list:users\"]
users = [\"a/b\"]
groups = [\"..\"]

[[roles]]
name = \"teacher\"
scopes = [\"list:users\"]

[[roles]]
name = \"admin\"
scopes = [\"list:users\"]
users = [\"ada\"]

[groups.\"a/b\"]
users = [\"ada/\"]

[custom_scopes.forum]
description = \"x\"

[custom_scopes.\"custom:forum\"]
description = \" \"
subscopes = [\"list:users\", \"custom:none\"]

[hub]
server_token_scopes = [\"custom:forum\", \"custom:none\"]
"
        )
        .bad()
    );
}

#[test]
fn two_services_do_not_share_a_token_or_a_client() {
    let shown = Folder::with(format!(
        "[[services]]\nname = \"one\"\napi_token = \"{TOKEN}\"\nurl = \"http://127.0.0.1:1\"\n\n\
         [[services]]\nname = \"two\"\napi_token = \"{TOKEN}\"\nurl = \"http://127.0.0.1:2\"\n\
         oauth_client_id = \"service-one\"\n"
    ))
    .bad();
    for expected in [
        "have the same token",
        "the same OAuth client `service-one`",
        "lyceum.toml:6",
    ] {
        assert!(
            shown.contains(expected),
            "{expected} is missing in:\n{shown}"
        );
    }
    assert!(!shown.contains(TOKEN), "{shown}");
}

#[test]
fn a_role_names_only_services_that_there_are() {
    assert_snapshot!(
        Folder::with(
            "[[services]]\nname = \"forum\"\n\n[[roles]]\nname = \"reader\"\nscopes = [\"list:users\"]\nservices = [\"forum\", \"fourm\", \"culler\"]\n"
        )
        .bad()
    );
}

#[test]
fn an_account_that_cannot_be_used_is_refused() {
    let shown = Folder::with(
        "[[services]]\nname = \"forum\"\ncommand = [\"x\"]\nuser = \"no-such-account-here\"\n",
    )
    .bad();
    for expected in ["lyceum.toml:4", "no account `no-such-account-here`"] {
        assert!(
            shown.contains(expected),
            "{expected} is missing in:\n{shown}"
        );
    }
}

#[test]
fn a_role_of_a_services_own_is_not_there_twice() {
    let shown = Folder::with(
        "[[services]]\nname = \"forum\"\nscopes = [\"list:users\"]\n\n[[roles]]\nname = \"service-forum\"\nscopes = [\"list:users\"]\n",
    )
    .bad();
    assert!(shown.contains("`service-forum` is there twice"), "{shown}");
}

#[test]
fn a_token_comes_from_a_file_that_is_nobody_elses() {
    let text = "[[services]]\nname = \"forum\"\napi_token_file = \"token\"\n";
    let good = Folder::with(text).and_secret("token", &format!("{TOKEN}\n"));
    let declared = good.good().config.declared().unwrap();
    assert_eq!(
        declared.services[0].api_token.as_ref().unwrap().expose(),
        TOKEN
    );
    let check = |folder: Folder, expected: &str| {
        let shown = folder.bad();
        assert!(
            shown.contains(expected),
            "{expected} is missing in:\n{shown}"
        );
        assert!(!shown.contains(TOKEN), "{shown}");
    };
    check(Folder::with(text), "No such file");
    check(Folder::with(text).and("token", TOKEN), "chmod o=");
    check(
        Folder::with(text).and_secret("token", "\nx"),
        "first line is empty",
    );
    check(Folder::with(text).and_secret("token", "tiny"), "8 to 64");
    check(
        Folder::with(format!("{text}api_token = \"{TOKEN}\"\n")).and_secret("token", TOKEN),
        "has two tokens",
    );
}

#[test]
fn a_token_in_a_file_of_everybody_is_warned_about() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = Folder::with(format!(
        "[[services]]\nname = \"forum\"\napi_token = \"{TOKEN}\"\n"
    ));
    let file = folder.path().join("lyceum.toml");
    let warnings = |mode| {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let loaded = folder.good();
        let told = |problem: &crate::Problem| problem.title().contains("token of the service");
        for warning in &loaded.warnings {
            assert!(!warning.to_string().contains(TOKEN), "{warning}");
        }
        loaded
            .warnings
            .iter()
            .filter(|problem| told(problem))
            .count()
    };
    assert_eq!(warnings(0o644), 1);
    assert_eq!(warnings(0o600), 0);
}

#[test]
fn keys_with_names_of_ones_own_are_explained() {
    for (key, expected) in [
        ("services", "[[services]]"),
        ("services.url", "services[].url"),
        ("services[0].url", "services[].url"),
        ("groups", "[groups.NAME]"),
        ("groups.class.users", "groups.NAME.users"),
        (
            "custom_scopes.\"custom:x:y\".description",
            "custom_scopes.NAME.description",
        ),
        ("roles.scopes", "roles[].scopes"),
    ] {
        let text = crate::explain(key, None).unwrap();
        assert!(text.starts_with(expected), "{key}: {text}");
    }
    assert!(crate::explain("services.nothing", None).is_err());
}
