//! A context for every page, in its important variants.

use jiff::Timestamp;
use lyceum_core::lifecycle::{Cause, Failure};

use crate::render::{
    AcceptSharePage, Announcement, AnnouncementLevel, ApplicationLine, Branding, ConfirmPage,
    ErrorPage, FailedPage, HomePage, Language, Lifetime, LifetimeKind, Link, LoggedOutPage,
    LoginPage, LoginProblem, MadeToken, MaintenancePage, Meter, NewServerForm, NoEntryPage,
    NoEntryReason, NotRunningPage, Notice, Options, Page, ProfileOption, ProgressPage, PythonLine,
    RenderError, Renderer, ScopeLine, ServerCard, ServerEdit, ServerNews, ServerState, ServiceLink,
    SpaceLine, SpaceState, SpawnPage, StoppingPage, TokenLine, TokenPage, UnreachablePage, Viewer,
    Visit,
};

type Render = Box<dyn Fn(&Renderer, Language) -> Result<String, RenderError>>;

pub(super) struct Sample {
    pub(super) name: String,
    pub(super) render: Render,
}

pub(super) fn options() -> Options {
    Options {
        base_url: "/hub/".to_owned(),
        version: "0.1.0".to_owned(),
        branding: Branding::default(),
        override_dir: None,
    }
}

/// A site with everything that an administrator may set.
pub(super) fn branded() -> Options {
    Options {
        branding: Branding {
            title: "Institute of Applied Mathematics".to_owned(),
            login_text: Some(
                "Use your university account.\nNew here? Ask at the library.".to_owned(),
            ),
            links: vec![
                Link {
                    title: "Help".to_owned(),
                    url: "https://example.org/help?a=1&b=2".to_owned(),
                },
                Link {
                    title: "Privacy".to_owned(),
                    url: "https://example.org/privacy".to_owned(),
                },
            ],
            announcement: Some(Announcement {
                text: "On Friday from 18:00 the hub is restarted; running notebooks go on."
                    .to_owned(),
                level: AnnouncementLevel::Warning,
            }),
        },
        ..options()
    }
}

fn visit(name: &str, language: Language, user: Option<&str>) -> Visit {
    Visit {
        user: user.map(|name| Viewer {
            name: name.to_owned(),
            admin: name == "root",
        }),
        language,
        here: Some("/hub/home?a=1&b=2".to_owned()),
        notices: match name {
            "admin-users" => vec![Notice {
                level: AnnouncementLevel::Alarm,
                text: "The certificate ended yesterday.".to_owned(),
                hint: "look at <it>".to_owned(),
            }],
            _ => Vec::new(),
        },
    }
}

pub(super) fn sample<P: Page + 'static>(name: &str, user: Option<&'static str>, page: P) -> Sample {
    let name = name.to_owned();
    Sample {
        name: name.clone(),
        render: Box::new(move |renderer, language| {
            renderer.render(&visit(&name, language, user), &page)
        }),
    }
}

pub(super) fn login(problem: Option<LoginProblem>, username: &str) -> LoginPage {
    LoginPage {
        action: "/hub/login?next=%2Fhub%2Fhome".to_owned(),
        next: "/hub/home".to_owned(),
        xsrf: "token".to_owned(),
        username: username.to_owned(),
        problem,
        wait_seconds: 32,
    }
}

fn failure(cause: Cause) -> Failure {
    let mut failure = Failure::new(
        cause,
        "The server ended before it was ready, with exit status 1.",
        "The last lines of its log usually name the reason.",
    );
    failure.log = [
        "[I 2026-11-23 20:11:04.512 ServerApp] Extension package jupyterlab took 0.1204s to import",
        "Traceback (most recent call last):",
        "  File \"/home/ada/.jupyter/jupyter_server_config.py\", line 3, in <module>",
        "    import numpyy as np",
        "ModuleNotFoundError: No module named 'numpyy'",
    ]
    .map(str::to_owned)
    .to_vec();
    failure
}

fn card(name: &str, state: ServerState) -> ServerCard {
    let time = |text: &str| text.parse::<Timestamp>().ok();
    let runs = !matches!(state, ServerState::Stopped | ServerState::Starting);
    ServerCard {
        name: name.to_owned(),
        title: if name == "lab" {
            "Lab: rats & mice".to_owned()
        } else {
            name.to_owned()
        },
        edit: (!name.is_empty()).then(|| ServerEdit {
            rename_action: format!("/hub/rename/ada/{name}"),
            delete_action: format!("/hub/delete/ada/{name}"),
        }),
        state,
        open_url: format!("/user/ada/{name}"),
        progress_url: format!("/hub/spawn-pending/ada/{name}"),
        start_action: format!("/hub/spawn/ada/{name}"),
        asks: name == "lab",
        profile: (name == "lab").then(|| "For rats & mice".to_owned()),
        python: runs.then(|| PythonLine {
            title: "Rats & mice".to_owned(),
            generation: 3,
            next: match name {
                "" => Some(4),
                "lab" => Some(2),
                _ => None,
            },
            newer: name.is_empty(),
        }),
        memory: runs.then_some(Meter {
            used: 1_932_735_283,
            limit: name.is_empty().then_some(2 << 30),
            percent: name.is_empty().then_some(90),
            high: name.is_empty(),
        }),
        notices: if runs {
            [Some(2 << 30), None]
                .map(|limit| ServerNews {
                    at: "2026-11-23T19:00:00Z".parse().unwrap(),
                    times: 1,
                    limit,
                })
                .to_vec()
        } else {
            Vec::new()
        },
        stop_action: format!("/hub/stop/ada/{name}"),
        since: runs.then(|| time("2026-11-23T18:04:05.123456Z")).flatten(),
        last_activity: time("2026-11-23T20:30:00Z"),
        stop: None,
        failure: None,
    }
}

fn home(server: ServerCard, named: Vec<ServerCard>) -> HomePage {
    HomePage {
        xsrf: "token".to_owned(),
        server,
        new_server: (!named.is_empty()).then(|| NewServerForm {
            action: "/hub/new-server".to_owned(),
            limit: 2,
            full: named.len() == 2,
        }),
        services: named
            .iter()
            .map(|server| ServiceLink {
                name: server.title.clone(),
                url: "/services/forum/".to_owned(),
            })
            .collect(),
        space: match named.len() {
            0 => None,
            1 => Some(SpaceLine {
                quota: None,
                left: 100 << 20,
                state: SpaceState::Little,
            }),
            _ => Some(SpaceLine {
                quota: Some(Meter {
                    used: 10 << 30,
                    limit: Some(10 << 30),
                    percent: Some(100),
                    high: true,
                }),
                left: 0,
                state: SpaceState::Full,
            }),
        },
        named,
    }
}

fn spawn(subject: Option<&str>, problem: Option<&str>) -> SpawnPage {
    SpawnPage {
        subject: subject.map(str::to_owned),
        action: "/hub/spawn/ada?next=%2Fuser%2Fada%2Flab".to_owned(),
        xsrf: "token".to_owned(),
        profiles: Vec::new(),
        fields: "<label for=\"size\">Size</label>\n<select id=\"size\" name=\"size\">\
                 <option>small</option><option>large</option></select>"
            .to_owned(),
        problem: problem.map(str::to_owned),
    }
}

fn profiles() -> SpawnPage {
    let profile = |name: &str, memory, cpu| ProfileOption {
        name: name.to_owned(),
        title: format!("For {name} & more"),
        description: if name == "small" {
            String::new()
        } else {
            "For the <last> exercises.".to_owned()
        },
        python: (name != "free").then(|| "Rats & mice".to_owned()),
        memory,
        cpu,
        checked: name == "large",
    };
    SpawnPage {
        profiles: vec![
            profile("small", Some(3 << 29), Some(1.5)),
            profile("large", Some(16 << 30), None),
            profile("free", None, None),
        ],
        fields: String::new(),
        ..spawn(None, None)
    }
}

fn progress(subject: Option<&str>, messages: &[&str]) -> ProgressPage {
    ProgressPage {
        subject: subject.map(str::to_owned),
        events_url: "/hub/api/users/ada/server/progress?_xsrf=token".to_owned(),
        ready_url: "/user/ada/lab".to_owned(),
        stop_action: "/hub/stop/ada".to_owned(),
        xsrf: "token".to_owned(),
        elapsed_seconds: 4,
        percent: if messages.is_empty() { 0 } else { 55 },
        messages: messages.iter().map(|&message| message.to_owned()).collect(),
    }
}

fn failed(subject: Option<&str>) -> FailedPage {
    FailedPage {
        subject: subject.map(str::to_owned),
        failure: failure(Cause::ExitedEarly),
        retry_url: "/hub/spawn/ada?next=%2Fuser%2Fada%2Flab".to_owned(),
        request_id: Some("7f3a9c2e".to_owned()),
    }
}

fn accept_share(text: &str, ready: bool) -> AcceptSharePage {
    let scopes = ["access:servers", "read:servers", "custom:grades:read"];
    AcceptSharePage {
        action: "/hub/accept-share".to_owned(),
        xsrf: "token".to_owned(),
        code: text.to_owned(),
        next: (!ready).then(|| format!("/user/bob/lab?{text}")),
        owner: text.to_owned(),
        server: if ready { "" } else { text }.to_owned(),
        ready,
        destination: format!("/user/{text}/"),
        scopes: scopes
            .iter()
            .map(|scope| ScopeLine::new(&format!("{scope}!server={text}/lab"), "ada", None))
            .collect(),
    }
}

fn confirm(client: &str) -> ConfirmPage {
    let scopes = [
        "access:services!service=grader",
        "read:users:name!user",
        "read:users:groups!user",
        "read:servers!user=ada",
        "custom:grades:read",
        "list:users",
    ];
    ConfirmPage {
        action: "/hub/api/oauth2/authorize?client_id=service-grader&state=x".to_owned(),
        xsrf: "token".to_owned(),
        client: client.to_owned(),
        destination: "grader.example.org".to_owned(),
        scopes: scopes
            .iter()
            .map(|scope| {
                let custom = scope.starts_with("custom:");
                ScopeLine::new(scope, "ada", custom.then(|| "Read your grades".to_owned()))
            })
            .collect(),
    }
}

fn token_page(text: &str, made: bool) -> TokenPage {
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let scopes = ["servers!user=ada", "custom:grades:read"];
    let scopes: Vec<ScopeLine> = scopes
        .iter()
        .map(|scope| {
            let custom = scope.starts_with("custom:");
            ScopeLine::new(scope, "ada", custom.then(|| text.to_owned()))
        })
        .collect();
    let lifetime = |kind, count: &str| Lifetime {
        value: "3600".to_owned(),
        kind,
        count: count.to_owned(),
        chosen: kind == LifetimeKind::Month,
    };
    TokenPage {
        xsrf: "token".to_owned(),
        create_action: "/hub/token".to_owned(),
        revoke_action: "/hub/token/revoke".to_owned(),
        made: made.then(|| MadeToken {
            secret: "0123456789abcdef0123456789abcdef".to_owned(),
            note: text.to_owned(),
            expires: Some(time("2026-12-23T18:04:05Z")),
        }),
        problem: (!made).then(|| format!("User ada does not have: {text}.")),
        may_manage: true,
        note: text.to_owned(),
        scopes: text.to_owned(),
        lifetimes: vec![
            lifetime(LifetimeKind::Hour, ""),
            lifetime(LifetimeKind::Day, ""),
            lifetime(LifetimeKind::Week, ""),
            lifetime(LifetimeKind::Month, ""),
            lifetime(LifetimeKind::Year, ""),
            lifetime(LifetimeKind::Never, ""),
            lifetime(LifetimeKind::MostHours, "12"),
            lifetime(LifetimeKind::MostDays, "90"),
        ],
        available: scopes.clone(),
        tokens: [(text, true), ("", false)]
            .map(|(note, may_all)| TokenLine {
                id: "a12".to_owned(),
                note: note.to_owned(),
                created: time("2026-11-20T08:00:00Z"),
                last_activity: may_all.then(|| time("2026-11-23T18:04:05Z")),
                expires: may_all.then(|| time("2026-12-20T08:00:00Z")),
                may_all,
                scopes: scopes.clone(),
            })
            .into(),
        applications: vec![ApplicationLine {
            id: "a13".to_owned(),
            name: text.to_owned(),
            created: time("2026-11-20T08:00:00Z"),
            last_activity: None,
            scopes,
        }],
    }
}

pub(super) fn error(status: u16) -> ErrorPage {
    ErrorPage {
        status,
        message: None,
        hint: None,
        request_id: (status >= 500).then(|| "7f3a9c2e".to_owned()),
    }
}

/// All pages.
pub(super) fn all() -> Vec<Sample> {
    let ada = Some("ada");
    let mut died = card("", ServerState::Stopped);
    died.failure = Some(failure(Cause::Died));
    let named = vec![
        card("project-x", ServerState::Running),
        card("thesis", ServerState::Stopped),
    ];
    let mut samples = vec![
        sample("login", None, login(None, "")),
        sample(
            "login-wrong",
            None,
            login(Some(LoginProblem::Credentials), "ada"),
        ),
        sample(
            "login-stale",
            None,
            login(Some(LoginProblem::StaleForm), "ada"),
        ),
        sample(
            "login-unavailable",
            None,
            login(Some(LoginProblem::Unavailable), "ada"),
        ),
        sample(
            "login-not-allowed",
            None,
            login(Some(LoginProblem::NotAllowed), "ada"),
        ),
        sample(
            "login-password-expired",
            None,
            login(Some(LoginProblem::PasswordExpired), "ada"),
        ),
        sample(
            "login-account-closed",
            None,
            login(Some(LoginProblem::AccountClosed), "ada"),
        ),
        sample(
            "login-too-many",
            None,
            login(Some(LoginProblem::TooMany), "ada"),
        ),
        Sample {
            name: "login-branded".to_owned(),
            render: Box::new(|renderer, language| {
                // The same addresses as the renderer that was asked for, with another branding.
                let options = Options {
                    base_url: renderer.base_url().to_owned(),
                    ..branded()
                };
                Renderer::new(options)?.render(&visit("login", language, None), &login(None, ""))
            }),
        },
        sample(
            "logged-out",
            None,
            LoggedOutPage {
                login_url: "/hub/login".to_owned(),
            },
        ),
        sample(
            "home-running",
            ada,
            home(card("", ServerState::Running), vec![]),
        ),
        sample(
            "home-stopped",
            ada,
            home(card("", ServerState::Stopped), vec![]),
        ),
        sample(
            "home-starting",
            ada,
            home(card("", ServerState::Starting), vec![]),
        ),
        sample(
            "home-stopping",
            ada,
            home(card("", ServerState::Stopping), vec![]),
        ),
        sample(
            "home-checking",
            ada,
            home(card("", ServerState::Checking), vec![]),
        ),
        sample("home-died", ada, home(died, vec![])),
        sample(
            "home-named",
            ada,
            home(card("", ServerState::Running), named),
        ),
        sample(
            "home-named-one",
            ada,
            home(
                card("", ServerState::Stopped),
                vec![card("lab", ServerState::Stopped)],
            ),
        ),
        sample("spawn-form", ada, spawn(None, None)),
        sample("spawn-profiles", ada, profiles()),
        sample(
            "spawn-form-problem",
            ada,
            spawn(Some("bob/lab"), Some("no such <size>")),
        ),
        sample("progress-begin", ada, progress(None, &[])),
        sample(
            "progress",
            ada,
            progress(
                None,
                &[
                    "Server requested",
                    "Starting the process",
                    "The process runs; waiting for its first answer",
                ],
            ),
        ),
        sample(
            "progress-other",
            ada,
            progress(Some("bob/project-x"), &["Server requested"]),
        ),
        sample(
            "stopping",
            ada,
            StoppingPage {
                subject: None,
                refresh_seconds: 2,
            },
        ),
        sample("failed", ada, failed(None)),
        sample("failed-other", ada, failed(Some("bob"))),
        sample(
            "not-running",
            ada,
            NotRunningPage {
                subject: None,
                start_url: "/hub/spawn/ada?next=%2Fhub%2Fuser%2Fada%2Flab".to_owned(),
                failure: None,
            },
        ),
        sample(
            "not-running-died",
            ada,
            NotRunningPage {
                subject: Some("bob".to_owned()),
                start_url: "/hub/spawn/bob".to_owned(),
                failure: Some(failure(Cause::Died)),
            },
        ),
        sample(
            "no-entry",
            ada,
            NoEntryPage {
                service: "stats".to_owned(),
                reason: NoEntryReason::NotAllowed {
                    user: "ada".to_owned(),
                    groups: vec!["class".to_owned(), "teachers".to_owned()],
                },
                request_id: Some("7f3a9c2e".to_owned()),
            },
        ),
        sample(
            "no-entry-stale",
            None,
            NoEntryPage {
                service: "stats".to_owned(),
                reason: NoEntryReason::Stale {
                    retry_url: "/stats/".to_owned(),
                },
                request_id: None,
            },
        ),
        sample(
            "maintenance",
            None,
            MaintenancePage {
                service: None,
                message: None,
                until: Some(Timestamp::UNIX_EPOCH),
            },
        ),
        sample(
            "maintenance-service",
            None,
            MaintenancePage {
                service: Some("stats".to_owned()),
                message: Some("We are moving to a larger machine.".to_owned()),
                until: None,
            },
        ),
        sample(
            "unreachable",
            ada,
            UnreachablePage {
                subject: None,
                retry_url: "/user/ada/lab".to_owned(),
                refresh_seconds: 3,
                request_id: Some("7f3a9c2e".to_owned()),
            },
        ),
        sample("confirm", ada, confirm("Grader")),
        sample("token", ada, token_page("backup of my results", false)),
        sample("token-made", ada, token_page("backup of my results", true)),
        sample("accept-share", ada, accept_share("bob", true)),
        sample("accept-share-stopped", ada, accept_share("bob", false)),
        sample(
            "error-message",
            ada,
            ErrorPage {
                message: Some("There is no user `bob`.".to_owned()),
                hint: Some("Look at the spelling.".to_owned()),
                ..error(404)
            },
        ),
    ];
    samples.extend(super::admin_samples::all());
    for status in [400, 403, 404, 405, 413, 418, 424, 429, 500, 502, 503] {
        samples.push(sample(&format!("error-{status}"), None, error(status)));
    }
    samples
}

/// Pages with the same hostile text wherever people or programs may put one.
pub(super) fn hostile(text: &'static str) -> Vec<Sample> {
    let mut failure = Failure::new(Cause::Internal, text, text);
    failure.log = vec![text.to_owned()];
    let mut samples = vec![
        sample("login", None, login(None, text)),
        sample(
            "failed",
            Some(text),
            FailedPage {
                failure,
                ..failed(Some(text))
            },
        ),
        sample("confirm", Some(text), confirm(text)),
        sample("token", Some(text), token_page(text, false)),
        sample("token-made", Some(text), token_page(text, true)),
        sample("accept-share", Some(text), accept_share(text, false)),
        sample("progress", Some(text), progress(Some(text), &[text])),
        sample(
            "error",
            Some(text),
            ErrorPage {
                message: Some(text.to_owned()),
                ..error(500)
            },
        ),
    ];
    samples.extend(super::admin_samples::hostile(text));
    samples
}
