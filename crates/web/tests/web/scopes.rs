//! Who may use which endpoint: walks the table of endpoints with every role, scope and filter, asks the real
//! router, and compares what it answers with `tests/scopes.txt` and with the rule of the endpoint.
//!
//! After a change that is meant, `UPDATE_SCOPES=1 cargo test -p lyceum-web scopes` writes the file anew: read its diff.

mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use lyceum_core::GroupName;
use lyceum_core::scope::{Access, Listing, Scope, ScopeSet, Target};
use lyceum_hub::On;
use lyceum_web::{Endpoint, Rule, Web};

use self::world::{Caller, World};

/// The filters with which every scope is tried: ada is in the group `class`, bob in none.
const FILTERS: [&str; 9] = [
    "",
    "!user=ada",
    "!user=bob",
    "!server=ada/lab",
    "!server=bob/lab",
    "!group=class",
    "!group=other",
    "!service=web",
    "!service=other",
];

/// What an endpoint says to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Allowed,
    NotFound,
    Forbidden,
}

#[tokio::test]
async fn every_endpoint_lets_in_those_whom_its_rule_names_and_nobody_else() {
    let mut world = World::new().await;
    let callers = callers(&mut world).await;
    let mut table = String::new();
    let mut wrong = Vec::new();
    for endpoint in Web::api_endpoints() {
        let mut verdicts: BTreeMap<Verdict, Vec<&str>> = BTreeMap::new();
        for caller in &callers {
            let verdict = ask(&mut world, &endpoint, caller).await;
            verdicts.entry(verdict).or_default().push(&caller.name);
            if let Some(expected) = expected(&endpoint, caller)
                && expected != verdict
            {
                wrong.push(format!(
                    "{} {} by {}: {verdict:?}, but its rule says {expected:?}",
                    endpoint.method, endpoint.path, caller.name
                ));
            }
        }
        write_endpoint(&mut table, &endpoint, &verdicts);
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
    compare(&table);
}

/// Nobody, the built-in roles, and every scope with every filter.
async fn callers(world: &mut World) -> Vec<Caller> {
    let mut callers = world.roles();
    for scope in Scope::ALL {
        if scope.is_metascope() || *scope == Scope::NoScope {
            continue;
        }
        for filter in FILTERS {
            callers.push(world.holder_of(&format!("{scope}{filter}")).await);
        }
    }
    callers
}

/// Asks with a body that no endpoint can do anything with: whoever is let in hears of that, others do not.
async fn ask(world: &mut World, endpoint: &Endpoint, caller: &Caller) -> Verdict {
    let path = format!("/hub/api{}", world.fill(endpoint));
    let method = endpoint.method.as_str();
    let body = if method == "GET" { "" } else { "\"nothing\"" };
    let authorization = caller
        .token
        .as_deref()
        .map(|token| format!("token {token}"));
    let mut headers = vec![("content-type", "application/json")];
    if let Some(value) = &authorization {
        headers.push(("authorization", value));
    }
    let status = world.site.status(method, &path, &headers, body).await;
    assert!(status < 500, "{method} {path} by {}: {status}", caller.name);
    match status {
        403 => Verdict::Forbidden,
        404 => Verdict::NotFound,
        _ => {
            if method == "DELETE" || method == "POST" {
                world.restore().await;
            }
            Verdict::Allowed
        }
    }
}

/// What the rule of an endpoint says, for callers whose scopes are known exactly.
fn expected(endpoint: &Endpoint, caller: &Caller) -> Option<Verdict> {
    let known = caller.token.is_some();
    match endpoint.rule {
        Rule::Known | Rule::Scopes { .. } if !known => Some(Verdict::Forbidden),
        Rule::Public | Rule::Known => Some(Verdict::Allowed),
        Rule::Scopes { on, any } => {
            let scopes = caller.scopes.as_ref()?;
            Some(by_rule(endpoint, scopes, on, any))
        }
        Rule::Other(_) => None,
    }
}

fn by_rule(endpoint: &Endpoint, scopes: &ScopeSet, on: On, any: &[Scope]) -> Verdict {
    let class = [GroupName::parse("class").unwrap()];
    let server = if endpoint.path.contains("{server}") {
        "lab"
    } else {
        ""
    };
    let target = match on {
        On::Hub => Target::Any,
        On::List => {
            let shown = any
                .iter()
                .any(|scope| shows(scopes.listing(*scope), endpoint.path));
            return if shown {
                Verdict::Allowed
            } else {
                Verdict::Forbidden
            };
        }
        On::User => Target::User {
            name: "ada",
            groups: &class,
        },
        On::Server => Target::Server {
            user: "ada",
            server,
            groups: &class,
        },
        On::Group => Target::Group("class"),
        On::Service => Target::Service("web"),
    };
    match scopes.check_any(any, target) {
        Access::Allowed => Verdict::Allowed,
        Access::NotThisOne => Verdict::NotFound,
        Access::Denied => Verdict::Forbidden,
    }
}

/// Whether a list can be filtered so: what does not say which of its items may be seen opens none of it.
fn shows(listing: Listing<'_>, path: &str) -> bool {
    match listing {
        Listing::Denied => false,
        Listing::Everything => true,
        Listing::Only(filters) => match path {
            "/users" => filters.servers.is_empty() && filters.services.is_empty(),
            "/groups" => !filters.groups.is_empty(),
            _ => true,
        },
    }
}

fn write_endpoint(
    table: &mut String,
    endpoint: &Endpoint,
    verdicts: &BTreeMap<Verdict, Vec<&str>>,
) {
    let rule = match endpoint.rule {
        Rule::Public => "everybody".to_owned(),
        Rule::Known => "whoever has proved who they are".to_owned(),
        Rule::Other(text) => text.to_owned(),
        Rule::Scopes { on, any } => {
            let names: Vec<_> = any.iter().map(|scope| scope.name()).collect();
            format!("{} (on: {on:?})", names.join(" or "))
        }
    };
    let _ = writeln!(
        table,
        "\n{} {}\n  rule: {rule}",
        endpoint.method, endpoint.path
    );
    let usual = verdicts.iter().max_by_key(|(_, callers)| callers.len());
    let usual = usual.map(|(verdict, _)| *verdict);
    for (verdict, callers) in verdicts {
        let label = match verdict {
            Verdict::Allowed => "allowed",
            Verdict::NotFound => "404",
            Verdict::Forbidden => "403",
        };
        if Some(*verdict) == usual {
            let _ = writeln!(table, "  {label}: all others");
        } else {
            let _ = writeln!(table, "  {label}: {}", callers.join(" "));
        }
    }
}

fn compare(table: &str) {
    const HEAD: &str = "\
# Who may do what: each endpoint of the API with every role, scope and filter, as the router answers.
# Written by the test `every_endpoint_lets_in_those_whom_its_rule_names_and_nobody_else`; see tests/web/scopes.rs.
#
# The objects: user ada, member of the group class, with the default server and the server lab; the group class; the service
# web; in `shared` paths, the servers of bob, which are shared with ada and with class.
# The callers: nobody; root, an administrator; ada and bob with tokens of the role `token`; ada's server (role `server`);
# and for each scope a service that holds nothing else.
";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scopes.txt");
    let now = format!("{HEAD}{table}");
    if std::env::var_os("UPDATE_SCOPES").is_some() {
        std::fs::write(&path, &now).unwrap();
        return;
    }
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    if before == now {
        return;
    }
    let changed: Vec<_> = now
        .lines()
        .filter(|line| !before.lines().any(|old| old == *line))
        .collect();
    panic!(
        "who may do what has changed; if that is meant, run `UPDATE_SCOPES=1 cargo test -p lyceum-web scopes` and read \
         the diff of {}. New lines:\n{}",
        path.display(),
        changed.join("\n")
    );
}
