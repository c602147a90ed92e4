//! What the server asks of the hub: its version, tokens for codes, who a token's owner is; and the report of activity.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use lyceum_core::Secret;
use lyceum_core::clock::{Clock as _, SystemClock, iso_format};
use serde_json::{Value, json};

use super::{NotebookError, Settings, say};
use crate::http::{HttpError, Target, send};

/// How often the hub is asked at the start, as often as `jupyterhub-singleuser` does.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// The hub, as seen from one of its servers.
#[derive(Debug, Clone)]
pub(super) struct Hub {
    api_url: String,
    activity_url: String,
    client_id: String,
    callback_url: String,
    server_name: String,
    token: Secret<String>,
}

/// What the hub says to a request that a visitor made necessary.
#[derive(Debug)]
pub(super) enum Answer {
    /// This.
    Yes(Value),
    /// Nobody, or no more.
    No,
    /// The hub does not work: answer the visitor with this status.
    Trouble(StatusCode),
}

impl Hub {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            api_url: settings.api_url.clone(),
            activity_url: settings.activity_url.clone(),
            client_id: settings.client_id.clone(),
            callback_url: settings.callback_url.clone(),
            server_name: settings.server_name.clone(),
            token: settings.api_token.clone(),
        }
    }

    /// Asks for the hub's version, before anything else.
    pub(super) async fn check(&self) -> Result<(), NotebookError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self
                .call(Method::GET, &self.api_url, None, Bytes::new())
                .await
            {
                Ok(answer) if answer.status().is_success() => {
                    if !answer.headers().contains_key("x-jupyterhub-version") {
                        say("the hub does not tell its version");
                    }
                    return Ok(());
                }
                Ok(answer) => NotebookError::HubStatus {
                    url: self.api_url.clone(),
                    status: answer.status().as_u16(),
                },
                Err(source) => NotebookError::Hub {
                    url: self.api_url.clone(),
                    source,
                },
            };
            if tries == TRIES {
                return Err(error);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Asks who a token's owner is.
    pub(super) async fn user(&self, token: &str) -> Answer {
        let url = format!("{}/user", self.api_url);
        let answer = self
            .call(Method::GET, &url, Some(token), Bytes::new())
            .await;
        read(&url, answer, StatusCode::FORBIDDEN)
    }

    /// Redeems a code.
    pub(super) async fn token(&self, code: &str, verifier: &str) -> Answer {
        let url = format!("{}/oauth2/token", self.api_url);
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", &self.client_id)
            .append_pair("client_secret", self.token.expose())
            .append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &self.callback_url)
            .append_pair("code_verifier", verifier)
            .finish();
        let answer = self.call(Method::POST, &url, None, form.into()).await;
        read(&url, answer, StatusCode::BAD_REQUEST)
    }

    /// Reports activity now and again and again; never ends.
    pub(super) async fn report_activity(self, interval: Duration) {
        if self.activity_url.is_empty() || interval.is_zero() {
            return;
        }
        loop {
            let now = iso_format(SystemClock.now());
            let mut servers = serde_json::Map::new();
            servers.insert(self.server_name.clone(), json!({"last_activity": now}));
            let body = json!({"servers": servers, "last_activity": now}).to_string();
            let token = Some(self.token.expose().as_str());
            let answer = self
                .call(Method::POST, &self.activity_url, token, body.into())
                .await;
            match answer {
                Ok(answer) if answer.status().is_success() => {}
                Ok(answer) => say(&format!(
                    "reporting activity gave status {}",
                    answer.status()
                )),
                Err(error) => say(&format!("could not report activity: {error}")),
            }
            tokio::time::sleep(interval).await;
        }
    }

    async fn call(
        &self,
        method: Method,
        url: &str,
        token: Option<&str>,
        body: Bytes,
    ) -> Result<http::Response<Bytes>, HttpError> {
        let uri: Uri = url
            .parse()
            .map_err(|_| HttpError::Address(url.to_owned()))?;
        Target::of(&uri)?;
        let kind = if url.ends_with("/oauth2/token") {
            "application/x-www-form-urlencoded"
        } else {
            "application/json"
        };
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::CONTENT_TYPE, kind);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("token {token}"));
        }
        send(request.body(body)?).await
    }
}

/// Sorts answers as JupyterHub's `HubAuth` does: the hub's faults are 502, other errors 500.
fn read(url: &str, answer: Result<http::Response<Bytes>, HttpError>, no: StatusCode) -> Answer {
    match answer {
        Ok(answer) if answer.status() == no => Answer::No,
        Ok(answer) if answer.status().is_success() => match serde_json::from_slice(answer.body()) {
            Ok(value) => Answer::Yes(value),
            Err(_) => Answer::Trouble(StatusCode::BAD_GATEWAY),
        },
        Ok(answer) => {
            say(&format!("{url} gave status {}", answer.status()));
            if answer.status().is_server_error() {
                Answer::Trouble(StatusCode::BAD_GATEWAY)
            } else {
                Answer::Trouble(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
        Err(error) => {
            say(&format!("{url}: {error}"));
            Answer::Trouble(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}
