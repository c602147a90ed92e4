//! The users, groups and services on which the endpoints are tried, and those who try.

use lyceum_core::lifecycle::{Cause, Failure};
use lyceum_core::scope::{Catalogue, Expansion, Owner, ScopeSet};
use lyceum_core::{Clock as _, GroupName, Secret, ServerName, ServiceName, UserName, random};
use lyceum_store::{
    NewRole, NewToken, NewUser, ReceiverId, RoleHolder, Service, ServiceData, TokenOwner, User,
};
use lyceum_web::Endpoint;

use crate::support::Site;

/// Somebody who asks.
pub(super) struct Caller {
    pub(super) name: String,
    pub(super) token: Option<String>,
    /// What they may do, if it is known exactly.
    pub(super) scopes: Option<ScopeSet>,
}

/// A token that comes back when its owner has been deleted and made anew.
struct Kept {
    secret: Secret<String>,
    owner: &'static str,
    scopes: Vec<String>,
}

/// A hub with everything that an endpoint can be about.
pub(super) struct World {
    pub(super) site: Site,
    tokens: Vec<Kept>,
    token_id: String,
    holders: u32,
}

impl World {
    pub(super) async fn new() -> Self {
        let site = Site::with(|settings| settings.allow_named_servers = true).await;
        let mut world = Self {
            site,
            tokens: Vec::new(),
            token_id: String::new(),
            holders: 0,
        };
        for (owner, scopes) in [
            ("root", &["inherit"][..]),
            ("ada", &["inherit"]),
            ("bob", &["inherit"]),
            (
                "ada",
                &["users:activity!user=ada", "access:servers!server=ada/"],
            ),
        ] {
            world.tokens.push(Kept {
                secret: Secret::new(random::hex(16)),
                owner,
                scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            });
        }
        world.restore().await;
        world
    }

    /// Nobody, and the built-in roles.
    pub(super) fn roles(&self) -> Vec<Caller> {
        let names = [
            "root(role:admin)",
            "ada(role:token)",
            "bob(role:token)",
            "ada's-server(role:server)",
        ];
        let mut callers = vec![Caller {
            name: "nobody".to_owned(),
            token: None,
            scopes: None,
        }];
        for (name, kept) in names.iter().zip(&self.tokens) {
            callers.push(Caller {
                name: (*name).to_owned(),
                token: Some(kept.secret.expose().clone()),
                scopes: None,
            });
        }
        callers
    }

    /// A service that holds this scope and nothing else.
    pub(super) async fn holder_of(&mut self, scope: &str) -> Caller {
        self.holders += 1;
        let name = format!("holder{}", self.holders);
        let service = self.service(&name).await;
        let secret = Secret::new(random::hex(16));
        let mut tx = self.site.store.begin().await.unwrap();
        let role = NewRole {
            name: &format!("only-{name}"),
            description: "",
            scopes: &[scope.to_owned()],
            managed_by_auth: false,
        };
        let role = tx.upsert_role(role).await.unwrap();
        tx.grant_role(role.id, RoleHolder::Service(service.id))
            .await
            .unwrap();
        tx.create_token(token(
            &self.site,
            &secret,
            TokenOwner::Service(service.id),
            &["inherit".to_owned()],
        ))
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let catalogue = Catalogue::built_in();
        let raw = catalogue.parse(scope).unwrap();
        let owner = ServiceName::parse(&name).unwrap();
        let scopes = Expansion::of(Owner::Service(&owner)).expand(&catalogue, [&raw]);
        Caller {
            name: scope.to_owned(),
            token: Some(secret.expose().clone()),
            scopes: Some(scopes),
        }
    }

    /// Writes an example for each name in an endpoint's path.
    pub(super) fn fill(&self, endpoint: &Endpoint) -> String {
        let mut path = endpoint.path.to_owned();
        for (name, example) in [
            ("{user}", "ada"),
            ("{owner}", "bob"),
            ("{server}", "lab"),
            ("{group}", "class"),
            ("{service}", "web"),
            ("{token_id}", &self.token_id),
            ("{token}", self.tokens[1].secret.expose()),
            ("{cookie_name}", "jupyterhub-hub-login"),
            ("{cookie_value}", "of-nobody"),
        ] {
            path = path.replace(name, example);
        }
        assert!(
            !path.contains('{'),
            "{path} has a name for which there is no example: add one to World::fill"
        );
        path
    }

    /// Makes again what is missing.
    pub(super) async fn restore(&mut self) {
        self.user("root", true).await;
        let ada = self.user("ada", false).await;
        let bob = self.user("bob", false).await;
        let store = &self.site.store;
        let now = self.site.clock.now();
        let mut tx = store.begin().await.unwrap();
        for (user, name) in [(&ada, ""), (&ada, "lab"), (&bob, ""), (&bob, "lab")] {
            let name = ServerName::parse(name).unwrap();
            let (server, _) = tx.ensure_server(user.id, &name, now).await.unwrap();
            // Of a server whose start failed there is always something to tell.
            let failure = Failure {
                cause: Cause::NeverAnswered,
                message: String::new(),
                hint: String::new(),
                log: Vec::new(),
            };
            tx.record_stopped(server.id, Some(&failure)).await.unwrap();
        }
        for name in ["class", "other"] {
            let name = GroupName::parse(name).unwrap();
            let group = match tx.find_group(&name).await.unwrap() {
                Some(group) => group,
                None => tx.create_group(&name).await.unwrap(),
            };
            if name.as_str() == "class" {
                tx.add_member(group.id, ada.id).await.unwrap();
            }
        }
        tx.commit().await.unwrap();
        self.share(&ada, &bob).await;
        self.service("web").await;
        for kept in &self.tokens {
            let now = self.site.clock.now();
            let known = self.site.store.find_token(&kept.secret, now).await.unwrap();
            if known.is_some() {
                continue;
            }
            let owner = UserName::parse(kept.owner).unwrap();
            let owner = self.site.store.find_user(&owner).await.unwrap().unwrap();
            let new = token(
                &self.site,
                &kept.secret,
                TokenOwner::User(owner.id),
                &kept.scopes,
            );
            let mut tx = self.site.store.begin().await.unwrap();
            tx.create_token(new).await.unwrap();
            tx.commit().await.unwrap();
        }
        self.token_to_delete(&ada).await;
    }

    /// Shares bob's servers with ada and with her group.
    async fn share(&self, ada: &User, bob: &User) {
        let store = &self.site.store;
        let servers = store.servers_of_user(bob.id).await.unwrap();
        let class = GroupName::parse("class").unwrap();
        let class = store.find_group(&class).await.unwrap().unwrap();
        let scopes = ["access:servers".to_owned()];
        let now = self.site.clock.now();
        let mut tx = store.begin().await.unwrap();
        for server in servers {
            for with in [ReceiverId::User(ada.id), ReceiverId::Group(class.id)] {
                tx.grant_share(server.id, with, &scopes, now).await.unwrap();
            }
        }
        tx.commit().await.unwrap();
    }

    /// A token of ada's that may be deleted.
    async fn token_to_delete(&mut self, ada: &User) {
        let now = self.site.clock.now();
        let tokens = self.site.store.tokens_of(TokenOwner::User(ada.id), now);
        let found = tokens
            .await
            .unwrap()
            .into_iter()
            .find(|token| token.note == "spare");
        let id = if let Some(found) = found {
            found.id
        } else {
            let secret = Secret::new(random::hex(16));
            let mut new = token(&self.site, &secret, TokenOwner::User(ada.id), &[]);
            new.note = "spare";
            let mut tx = self.site.store.begin().await.unwrap();
            let made = tx.create_token(new).await.unwrap();
            tx.commit().await.unwrap();
            made.id
        };
        self.token_id = format!("a{id}");
    }

    async fn user(&self, name: &str, admin: bool) -> User {
        let name = UserName::parse(name).unwrap();
        if let Some(user) = self.site.store.find_user(&name).await.unwrap() {
            return user;
        }
        let mut tx = self.site.store.begin().await.unwrap();
        let user = tx
            .create_user(NewUser {
                name: &name,
                admin,
                created: self.site.clock.now(),
                cookie_id: &Secret::new(random::hex(16)),
            })
            .await
            .unwrap();
        tx.commit().await.unwrap();
        user
    }

    async fn service(&self, name: &str) -> Service {
        let name = ServiceName::parse(name).unwrap();
        if let Some(service) = self.site.store.find_service(&name).await.unwrap() {
            return service;
        }
        let mut tx = self.site.store.begin().await.unwrap();
        let service = tx.upsert_service(&ServiceData::named(name)).await.unwrap();
        tx.commit().await.unwrap();
        service
    }
}

fn token<'a>(
    site: &Site,
    secret: &'a Secret<String>,
    owner: TokenOwner,
    scopes: &'a [String],
) -> NewToken<'a> {
    NewToken {
        secret,
        owner,
        client_id: None,
        session_id: None,
        server_id: None,
        scopes,
        note: "",
        created: site.clock.now(),
        expires_at: None,
    }
}
