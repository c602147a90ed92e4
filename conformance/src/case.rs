//! What a case has in hand: names of its own, people who ask, and a record of every exchange.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::browser::Browser;
use crate::failure::Failure;
use crate::fixture;
use crate::request::Request;
use crate::response::Response;
use crate::wire::Answer;

/// The longest that a case may take.
const LIMIT: Duration = Duration::from_mins(1);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(40);

/// Where the hub is.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// Host and port, as in a browser's address line.
    pub(crate) host: String,
    /// The hub's base path without the slash at its end: empty for `/`.
    pub(crate) base: String,
    pub(crate) admin_token: String,
    /// Makes names unlike those of other runs against the same hub.
    pub(crate) salt: String,
}

/// One exchange, as the comparison of two hubs wants it.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) answer: Answer,
}

/// What a case did and which of its words are different each time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    pub(crate) exchanges: Vec<Exchange>,
    /// Tokens and codes, which are different each time.
    pub(crate) secrets: Vec<String>,
    /// What all names of the run have in them.
    pub(crate) salt: String,
}

/// The surroundings of one case.
#[derive(Debug)]
pub(crate) struct Case<'t> {
    pub(crate) target: &'t Target,
    pub(crate) deadline: Instant,
    record: Mutex<Record>,
}

/// Somebody who asks with a token, or without anything.
#[derive(Debug, Clone)]
pub(crate) struct Actor<'c> {
    case: &'c Case<'c>,
    token: Option<String>,
}

impl<'t> Case<'t> {
    pub(crate) fn new(target: &'t Target) -> Self {
        Self {
            target,
            deadline: Instant::now() + LIMIT,
            record: Mutex::new(Record {
                salt: target.salt.clone(),
                ..Record::default()
            }),
        }
    }

    /// A name that nobody else uses: the stem, and letters and digits.
    pub(crate) fn name(&self, stem: &str) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        format!("{stem}-{}{number}", self.target.salt)
    }

    /// Says that a word is different each time; names that were made here are known to be.
    pub(crate) fn secret(&self, word: &str) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.secrets.push(word.to_owned());
    }

    pub(crate) fn remember(&self, exchange: Exchange) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.exchanges.push(exchange);
    }

    pub(crate) fn into_record(self) -> Record {
        self.record
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The service that may do everything.
    pub(crate) fn admin(&self) -> Actor<'_> {
        self.with(&self.target.admin_token)
    }

    /// Nobody in particular.
    pub(crate) fn anonymous(&self) -> Actor<'_> {
        Actor {
            case: self,
            token: None,
        }
    }

    /// Whoever holds a token.
    pub(crate) fn with(&self, token: &str) -> Actor<'_> {
        Actor {
            case: self,
            token: Some(token.to_owned()),
        }
    }

    /// A browser without cookies.
    pub(crate) fn browser(&self) -> Browser<'_> {
        Browser::new(self)
    }

    /// A browser in which a new user has logged in.
    pub(crate) fn browser_of(&self, user: &str) -> Result<Browser<'_>, Failure> {
        let browser = self.browser();
        browser.log_in(user)?;
        Ok(browser)
    }

    /// Makes a user, and gives its name.
    pub(crate) fn user(&self, stem: &str) -> Result<String, Failure> {
        let name = self.name(stem);
        self.admin().post(format!("users/{name}")).expect(201)?;
        Ok(name)
    }

    /// Makes a user and a token of theirs that may do all that they may.
    pub(crate) fn user_with_token(&self, stem: &str) -> Result<(String, String), Failure> {
        let name = self.user(stem)?;
        let token = self.token_of(&name, None)?;
        Ok((name, token))
    }

    /// Makes a token for a user, with scopes of its own or those of the role `token`.
    pub(crate) fn token_of(&self, user: &str, scopes: Option<&[&str]>) -> Result<String, Failure> {
        let body = match scopes {
            Some(scopes) => serde_json::json!({ "scopes": scopes }),
            None => serde_json::json!({}),
        };
        let answer = self
            .admin()
            .post(format!("users/{user}/tokens"))
            .json(&body)
            .expect(201)?;
        let token = text_of(&answer.json()?, "token")?;
        self.secret(&token);
        Ok(token)
    }

    /// Makes a token of an administrator with these scopes alone: how a case comes by any scope with any filter.
    pub(crate) fn scoped(&self, scopes: &[&str]) -> Result<String, Failure> {
        self.token_of(fixture::ADMIN_USER, Some(scopes))
    }

    /// Makes a group with members, and gives its name.
    pub(crate) fn group(&self, stem: &str, members: &[&str]) -> Result<String, Failure> {
        let name = self.name(stem);
        let body = serde_json::json!({ "users": members });
        self.admin()
            .post(format!("groups/{name}"))
            .json(&body)
            .expect(201)?;
        Ok(name)
    }

    /// Puts users into a group that exists.
    pub(crate) fn join(&self, group: &str, users: &[&str]) -> Result<(), Failure> {
        let body = serde_json::json!({ "users": users });
        self.admin()
            .post(format!("groups/{group}/users"))
            .json(&body)
            .expect(200)?;
        Ok(())
    }

    /// Makes a named server without starting it.
    pub(crate) fn stopped_server(&self, user: &str, server: &str) -> Result<(), Failure> {
        self.admin()
            .put(format!("users/{user}/servers/{server}"))
            .expect(201)?;
        Ok(())
    }

    /// Starts a server and waits until it is ready; an empty name is the default one's.
    pub(crate) fn start(&self, user: &str, server: &str) -> Result<(), Failure> {
        let path = server_path(user, server);
        self.admin().post(&path).send()?.either(
            &[201, 202],
            "a busy machine may need longer than the API waits",
        )?;
        self.wait_until(&format!("{user}/{server} is ready"), || {
            let model = self.admin().get(&path).quiet().expect(200)?.json()?;
            Ok(model["ready"] == true)
        })
    }

    /// Stops a server and waits until it has stopped.
    pub(crate) fn stop(&self, user: &str, server: &str) -> Result<(), Failure> {
        let path = server_path(user, server);
        self.admin().delete(&path).send()?.either(
            &[202, 204],
            "a busy machine may need longer than the API waits",
        )?;
        self.wait_until(&format!("{user}/{server} has stopped"), || {
            let model = self.admin().get(&path).quiet().expect(200)?.json()?;
            Ok(model["stopped"] == true)
        })
    }

    /// Looks again and again until a condition holds; fails when the case's time is over.
    pub(crate) fn wait_until(
        &self,
        what: &str,
        mut holds: impl FnMut() -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        while !holds()? {
            if Instant::now() + POLL >= self.deadline {
                return Err(Failure::new(format!("waited too long until {what}")));
            }
            pause(POLL);
        }
        Ok(())
    }
}

impl<'c> Actor<'c> {
    pub(crate) fn request(&self, method: &str, path: impl Into<String>) -> Request<'c> {
        let mut request = Request::new(self.case, method, &path.into());
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("token {token}"));
        }
        request
    }

    pub(crate) fn get(&self, path: impl Into<String>) -> Request<'c> {
        self.request("GET", path)
    }

    pub(crate) fn post(&self, path: impl Into<String>) -> Request<'c> {
        self.request("POST", path)
    }

    pub(crate) fn put(&self, path: impl Into<String>) -> Request<'c> {
        self.request("PUT", path)
    }

    pub(crate) fn patch(&self, path: impl Into<String>) -> Request<'c> {
        self.request("PATCH", path)
    }

    pub(crate) fn delete(&self, path: impl Into<String>) -> Request<'c> {
        self.request("DELETE", path)
    }

    /// Gets JSON, wants 200.
    pub(crate) fn read(&self, path: impl Into<String>) -> Result<Value, Failure> {
        self.get(path).expect(200)?.json()
    }

    /// Posts JSON.
    pub(crate) fn tell(&self, path: impl Into<String>, body: &Value) -> Result<Response, Failure> {
        self.post(path).json(body).send()
    }
}

/// The path of a server below the API: `users/NAME/server` or `users/NAME/servers/SERVER`.
pub(crate) fn server_path(user: &str, server: &str) -> String {
    if server.is_empty() {
        format!("users/{user}/server")
    } else {
        format!("users/{user}/servers/{server}")
    }
}

/// A text that an object has to hold.
pub(crate) fn text_of(object: &Value, key: &str) -> Result<String, Failure> {
    object[key]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(format!("no text {key:?} in {object}")))
}

/// The present moment.
pub(crate) fn now() -> jiff::Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "the hubs under test have real clocks, and so has the visitor"
    )]
    jiff::Timestamp::now()
}

/// Waits a moment.
pub(crate) fn pause(time: Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "each case has a thread of its own; there is no runtime to block"
    )]
    std::thread::sleep(time);
}
