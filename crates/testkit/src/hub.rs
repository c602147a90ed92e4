//! A whole hub in process: store, spawner, gateway and pages, put together as the program does it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot be set up fails"
)]

// The very file of the program, so that tests run what is delivered.
#[path = "../../lyceum/src/adapters.rs"]
mod adapters;
mod life;
mod room;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lyceum_auth::Dummy;
use lyceum_core::ids::ServerId;
use lyceum_core::seams::{Authenticator, Spawner};
use lyceum_core::xsrf::XsrfKey;
use lyceum_core::{
    Clock, RouteStatus, Secret, ServerName, ServerRef, SystemClock, UserName, random, token,
};
use lyceum_gateway::{MaintenanceSwitch, RouteTable, Site};
use lyceum_hub::permit::ManageServer;
use lyceum_hub::{Access, Hub, HubSettings, Principal, ServerPermit};
/// The variables by which the processes of a hub, and of one of its servers, are known.
pub use lyceum_spawn::process::{INSTANCE_VARIABLE, SERVER_VARIABLE};
use lyceum_spawn::process::{ProcessConfig, ProcessSpawner};
use lyceum_store::{NewToken, NewUser, Server, Store, TokenOwner, User};

use self::life::{Addresses, Life};
use self::room::Room;
use crate::notebook::Mode;
use crate::visitor::Visitor;

/// The name of the administrator.
pub const ADMIN: &str = "admin";

/// A hub for a test; everybody may log in, without a password.
#[derive(Debug)]
pub struct TestHub {
    // Before the room: it ends before its processes are killed.
    life: Option<Life>,
    plan: Plan,
    /// Those of the last life.
    addresses: Option<Addresses>,
    room: Room,
}

/// Says how a hub shall be, before it begins.
pub struct Builder {
    settings: HubSettings,
    edit_process: Box<dyn FnOnce(&mut ProcessConfig)>,
    spawner: Option<Arc<dyn Spawner>>,
    clock: Arc<dyn Clock>,
    authenticator: Arc<dyn Authenticator>,
    background: bool,
    sites: Vec<Site>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// What stays the same over all lives of a hub.
#[derive(Debug)]
struct Plan {
    settings: HubSettings,
    process: ProcessConfig,
    spawner: Option<Arc<dyn Spawner>>,
    clock: Arc<dyn Clock>,
    authenticator: Arc<dyn Authenticator>,
    xsrf_key: XsrfKey,
    background: bool,
    sites: Vec<Site>,
    maintenance: MaintenanceSwitch,
}

impl Plan {
    /// The spawner of a new life: as after a restart of the program, it remembers nothing.
    fn spawner(&self, room: &Room) -> Arc<dyn Spawner> {
        if let Some(given) = &self.spawner {
            return Arc::clone(given);
        }
        let spawner = ProcessSpawner::new(self.process.clone(), room.places(), &room.instance);
        Arc::new(spawner.unwrap())
    }
}

impl Builder {
    /// Changes the settings.
    #[must_use]
    pub fn settings(mut self, edit: impl FnOnce(&mut HubSettings)) -> Self {
        edit(&mut self.settings);
        self
    }

    /// Changes the configuration of the spawner `process`.
    #[must_use]
    pub fn process(mut self, edit: impl FnOnce(&mut ProcessConfig) + 'static) -> Self {
        self.edit_process = Box::new(edit);
        self
    }

    /// Takes another spawner than `process` with the tiny notebook.
    #[must_use]
    pub fn spawner(mut self, spawner: impl Spawner + 'static) -> Self {
        self.spawner = Some(Arc::new(spawner));
        self
    }

    /// Takes another clock than the machine's.
    #[must_use]
    pub fn clock(mut self, clock: &Arc<impl Clock + 'static>) -> Self {
        self.clock = Arc::clone(clock) as Arc<dyn Clock>;
        self
    }

    /// Takes another way to log in than a name without a password.
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator + 'static) -> Self {
        self.authenticator = Arc::new(authenticator);
        self
    }

    /// Leaves out what goes on by itself: nothing gathered is written.
    #[must_use]
    pub fn without_background(mut self) -> Self {
        self.background = false;
        self
    }

    /// Gives the gateway services that log nobody in themselves; the hub needs them among what is declared.
    #[must_use]
    pub fn sites(mut self, sites: Vec<Site>) -> Self {
        self.sites = sites;
        self
    }

    /// Begins the first life of the hub.
    pub async fn start(self) -> TestHub {
        self.start_in(None).await
    }

    /// The same, with its files in a folder of the test's own, such as one on a small disk.
    pub async fn start_in(self, folder: Option<PathBuf>) -> TestHub {
        let room = tokio::task::spawn_blocking(move || Room::new(folder.as_deref()))
            .await
            .expect("the hub's folders could not be made");
        let mut process = room.process_config();
        (self.edit_process)(&mut process);
        let mut hub = TestHub {
            life: None,
            plan: Plan {
                settings: self.settings,
                process,
                spawner: self.spawner,
                clock: self.clock,
                authenticator: self.authenticator,
                xsrf_key: XsrfKey::new(random::hex(32).as_bytes()),
                background: self.background,
                sites: self.sites,
                maintenance: MaintenanceSwitch::new(),
            },
            addresses: None,
            room,
        };
        hub.begin().await;
        hub
    }
}

impl TestHub {
    /// Begins to describe a hub. Its time limits are short, but longer than anything takes that works.
    pub fn builder() -> Builder {
        let admin = UserName::parse(ADMIN).unwrap();
        Builder {
            settings: HubSettings {
                start_timeout: Duration::from_secs(20),
                http_timeout: Duration::from_secs(20),
                stop_grace: Duration::from_secs(5),
                slow_spawn_timeout: Duration::from_secs(25),
                slow_stop_timeout: Duration::from_secs(25),
                access: Access {
                    allow_all: true,
                    admin_users: BTreeSet::from([admin]),
                    ..Access::default()
                },
                ..HubSettings::default()
            },
            edit_process: Box::new(|_| {}),
            spawner: None,
            clock: Arc::new(SystemClock),
            authenticator: Arc::new(Dummy::new(None)),
            background: true,
            sites: Vec::new(),
        }
    }

    /// Begins a hub with nothing special.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    fn life(&self) -> &Life {
        self.life.as_ref().expect("the hub does not run")
    }

    /// The hub itself.
    pub fn hub(&self) -> &Hub {
        &self.life().hub
    }

    /// Its database.
    pub fn store(&self) -> &Store {
        &self.life().store
    }

    /// The gateway's routes.
    pub fn routes(&self) -> &RouteTable {
        &self.life().routes
    }

    /// The routes that were there when the hub had recovered, before anybody could ask for one.
    pub fn recovered(&self) -> &[RouteStatus] {
        &self.life().recovered
    }

    /// The switch for maintenance; it stays as it is from one life to the next.
    pub fn maintenance(&self) -> &MaintenanceSwitch {
        &self.plan.maintenance
    }

    /// Where people come in.
    pub fn address(&self) -> SocketAddr {
        self.life().address
    }

    /// A path in the hub's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.room.path(name)
    }

    // --- Lives -----------------------------------------------------------------------------------

    /// Ends the hub as SIGTERM does; servers go on.
    pub async fn end(&mut self) {
        let life = self.life.take().expect("the hub does not run");
        self.addresses = Some((life.address, life.api));
        life.end().await;
    }

    /// Makes the hub vanish as `kill -9` does; servers go on.
    pub async fn crash(&mut self) {
        let life = self.life.take().expect("the hub does not run");
        self.addresses = Some((life.address, life.api));
        life.crash().await;
    }

    /// Begins the next life, at the addresses of the last one.
    pub async fn begin(&mut self) {
        self.life = Some(Life::begin(&self.room, &self.plan, self.addresses).await);
    }

    /// Changes the settings of the lives to come.
    pub fn change_settings(&mut self, edit: impl FnOnce(&mut HubSettings)) {
        edit(&mut self.plan.settings);
    }

    /// A crash, and the next life.
    pub async fn restart(&mut self) {
        self.crash().await;
        self.begin().await;
    }

    // --- Servers ---------------------------------------------------------------------------------

    /// Says how servers that are started from now on behave.
    pub fn set_mode(&self, mode: Mode) {
        self.room.set_mode(mode);
    }

    /// Takes the servers' program away.
    pub fn remove_program(&self) {
        self.room.remove_program();
    }

    /// Puts it back.
    pub fn install_program(&self) {
        self.room.install_program();
    }

    /// The living processes of all servers.
    pub fn processes(&self) -> BTreeSet<i32> {
        self.room.processes()
    }

    /// The living processes of a user's servers.
    pub fn processes_of(&self, user: &str) -> BTreeSet<i32> {
        self.room.processes_of(user)
    }

    /// The name by which this hub's processes are known.
    pub fn instance(&self) -> &str {
        &self.room.instance
    }

    /// The record of a server.
    pub async fn server_row(&self, user: &str, server: &str) -> Option<Server> {
        let name = UserName::parse(user).unwrap();
        let user = self.store().find_user(&name).await.unwrap()?;
        let server = ServerName::parse(server).unwrap();
        self.store().find_server(user.id, &server).await.unwrap()
    }

    /// A variable of the environment of a user's server.
    pub fn variable_of(&self, user: &str, name: &str) -> String {
        let pid = self.processes_of(user).first().copied();
        let environment = std::fs::read(format!("/proc/{}/environ", pid.unwrap())).unwrap();
        let text = String::from_utf8_lossy(&environment).into_owned();
        let prefix = format!("{name}=");
        let value = text.split('\0').find_map(|one| one.strip_prefix(&prefix));
        value.expect("the variable is there").to_owned()
    }

    /// How many tokens there are that were made for this server's own use.
    pub async fn token_count(&self, user: &str, server: ServerId) -> usize {
        let user = self.user_row(user).await;
        let tokens = self
            .store()
            .tokens_of(TokenOwner::User(user.id), self.hub().now());
        let tokens = tokens.await.unwrap();
        let own = tokens
            .iter()
            .filter(|token| token.server_id == Some(server));
        own.count()
    }

    /// The permission to start and stop a server, as its owner has it; the owner is created if need be.
    pub async fn permit(&self, user: &str, server: &str) -> ServerPermit<ManageServer> {
        let principal = self.principal(user).await;
        let permit = self.hub().permit_server(&principal, user, server);
        permit.await.unwrap()
    }

    // --- People ----------------------------------------------------------------------------------

    /// A browser of nobody.
    pub fn anonymous(&self) -> Visitor {
        Visitor::browser(self.address())
    }

    /// A browser in which this user has logged in.
    pub async fn user(&self, name: &str) -> Visitor {
        let mut visitor = self.anonymous();
        let answer = visitor.log_in(name, "").await;
        assert_eq!(answer.status, 302, "{}", answer.text());
        visitor
    }

    /// A browser in which the administrator has logged in.
    pub async fn admin(&self) -> Visitor {
        self.user(ADMIN).await
    }

    /// A program with a token of this user, who is created if need be.
    pub async fn token(&self, name: &str, scopes: &[&str]) -> Visitor {
        let secret = token::new_token();
        self.store_token(name, scopes, &secret).await;
        Visitor::program(self.address(), secret)
    }

    /// A program with a token that may be no one's.
    pub fn program(&self, token: &str) -> Visitor {
        Visitor::program(self.address(), Secret::from(token))
    }

    /// A program with a token, at the listener for servers.
    pub fn server_program(&self, token: &str) -> Visitor {
        Visitor::program(self.life().api, Secret::from(token))
    }

    /// A user who may do what users may; created if need be.
    pub async fn principal(&self, name: &str) -> Principal {
        let secret = token::new_token();
        self.store_token(name, &["inherit"], &secret).await;
        let found = self.hub().principal_of_token(&secret).await;
        found.unwrap().expect("the token is known")
    }

    /// A user, created if need be.
    pub async fn user_row(&self, name: &str) -> User {
        let name = UserName::parse(name).unwrap();
        let mut tx = self.store().begin().await.unwrap();
        if let Some(user) = tx.find_user(&name).await.unwrap() {
            return user;
        }
        let new = NewUser {
            name: &name,
            admin: false,
            created: self.plan.clock.now(),
            cookie_id: &Secret::new(random::hex(16)),
        };
        let user = tx.create_user(new).await.unwrap();
        tx.commit().await.unwrap();
        user
    }

    async fn store_token(&self, name: &str, scopes: &[&str], secret: &Secret<String>) {
        let user = self.user_row(name).await;
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let mut tx = self.store().begin().await.unwrap();
        let new = NewToken {
            secret,
            owner: TokenOwner::User(user.id),
            client_id: None,
            session_id: None,
            server_id: None,
            scopes: &scopes,
            note: "a test's",
            created: self.plan.clock.now(),
            expires_at: None,
        };
        tx.create_token(new).await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// Names a user's default server, or with `user/server` another one.
pub fn server_ref(text: &str) -> ServerRef {
    let (user, server) = text.split_once('/').unwrap_or((text, ""));
    ServerRef::new(
        UserName::parse(user).unwrap(),
        ServerName::parse(server).unwrap(),
    )
}
