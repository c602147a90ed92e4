//! Gathers what is known of the use of servers: what the gateway has seen, what is stored, what they say.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use lyceum_core::ids::UserId;
use lyceum_core::{RouteStatus, Secret, ServerRef, Timestamp, Upstream, token};
use lyceum_store::{NewToken, Server, StoreError, TokenOwner};

use super::CullError;
use super::question;
use super::rules::{Evidence, LastUse, Rule, Subject};
use crate::Hub;
use crate::models::with_told;
use crate::sessions::after;
use crate::timeline::Present;

/// How many servers are asked at the same time.
pub(super) const AT_ONCE: usize = 10;
/// How long the token lasts that a server is asked with.
const TOKEN_LIFETIME: Duration = Duration::from_mins(30);
/// How long before its end it is replaced.
const TOKEN_RESERVE: Duration = Duration::from_mins(5);

/// A server that runs, with what is known of its use.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) server: ServerRef,
    pub(super) upstream: Upstream,
    pub(super) rule: Rule,
    pub(super) row: Server,
    pub(super) user: UserId,
    /// When its run began, by the clock as it was then: by this the run is known.
    pub(super) run: Timestamp,
    /// When this was gathered.
    pub(super) present: Present,
    /// By the clock as it was then; without what it says of itself, as long as it was not asked.
    pub(super) evidence: Evidence,
    /// Whether it has said what it computes; `None` if it was not asked.
    pub(super) answered: Option<bool>,
}

impl Candidate {
    /// When it was last in use, as far as is known.
    pub(super) fn last_use(&self, hub: &Hub) -> LastUse {
        hub.settings().cull.rules.last_use(&self.evidence)
    }
}

impl Hub {
    /// Lists all servers that run and with which nothing is going on.
    pub(super) async fn cull_candidates(&self) -> Result<Vec<Candidate>, CullError> {
        let running = self.servers().running();
        let upstreams: HashMap<_, _> = running.into_iter().collect();
        let routes = self.list_routes().await?;
        let routes: HashMap<_, _> = routes
            .into_iter()
            .map(|status| (status.route.spec.clone(), status))
            .collect();
        let rows = self.store().list_active_servers().await?;
        let ids: BTreeSet<_> = rows.iter().map(|(_, row)| row.id).collect();
        let mut candidates = Vec::new();
        for (user, row) in rows {
            let server = ServerRef::new(user, row.name.clone());
            let Some(upstream) = upstreams.get(&server) else {
                continue;
            };
            let Some(started) = self.servers().snapshot(&server).started else {
                continue;
            };
            let Some(owner) = self.known_user(&server.user).await? else {
                continue;
            };
            let groups = with_told(owner.groups.to_vec(), &owner.user);
            let rule = self.settings().cull.rules.of(Subject {
                named: !server.server.is_default(),
                groups: &groups,
                profile: profile(&row),
                admin: owner.user.admin,
            });
            let route = routes.get(&self.servers().spec_of(&server));
            let present = self.present();
            candidates.push(Candidate {
                evidence: self.evidence(&server, started, &row, route, present),
                present,
                run: started,
                upstream: upstream.clone(),
                user: owner.user.id,
                answered: None,
                server,
                rule,
                row,
            });
        }
        // Also of those with which something is going on: they may be back at the next check.
        self.activity().keep_reports(&ids);
        let active: HashSet<_> = self.servers().active().into_iter().collect();
        self.culler().memory.keep(|server| active.contains(server));
        Ok(candidates)
    }

    /// Looks anew at what is known of a server without asking it; `None` if it is not the same run any more, or
    /// something is going on with it.
    pub(super) async fn look_again(
        &self,
        candidate: &Candidate,
    ) -> Result<Option<Candidate>, CullError> {
        let snapshot = self.servers().snapshot(&candidate.server);
        let started = candidate.run;
        if !snapshot.state.is_ready() || snapshot.started != Some(started) {
            return Ok(None);
        }
        let spec = self.servers().spec_of(&candidate.server);
        let routes = self.list_routes().await?;
        let route = routes.iter().find(|status| status.route.spec == spec);
        let (row, present) = (&candidate.row, self.present());
        let evidence = self.evidence(&candidate.server, started, row, route, present);
        Ok(Some(Candidate {
            evidence,
            present,
            answered: None,
            ..candidate.clone()
        }))
    }

    fn evidence(
        &self,
        server: &ServerRef,
        started: Timestamp,
        row: &Server,
        route: Option<&RouteStatus>,
        present: Present,
    ) -> Evidence {
        let timeline = self.timeline();
        let first = || {
            let begun = timeline.place(started, present);
            if begun >= timeline.begun() {
                return (begun, begun);
            }
            // Of actions before Lyceum's start nothing is known, but none was later than this.
            let last = row.last_activity.unwrap_or(started);
            (begun, timeline.place(last, present))
        };
        let known = self.culler().memory.of(server, started, first, |known| {
            if let Some(action) = route.and_then(|status| status.last_action) {
                timeline.see(&mut known.seen_action, action, present);
            }
            if let Some(traffic) = route.and_then(|status| status.last_activity) {
                timeline.see(&mut known.traffic, traffic, present);
            }
            if let Some(reported) = self.activity().reported_of(row.id) {
                timeline.see(&mut known.reported, reported, present);
            }
        });
        known.evidence(present, false)
    }

    /// Asks servers what they compute, several at a time, and gives them back with what they say. What one reports by
    /// itself counts only if it does not answer: an open page makes Jupyter Server report that it is in use.
    pub(super) async fn ask_servers(&self, candidates: Vec<Candidate>) -> Vec<Candidate> {
        stream::iter(candidates)
            .map(|candidate| self.ask_server(candidate))
            .buffered(AT_ONCE)
            .collect()
            .await
    }

    pub(super) async fn ask_server(&self, mut candidate: Candidate) -> Candidate {
        let answer = match self.question_token(&candidate).await {
            Ok(token) => {
                let internal = self.settings().internal_tls.as_ref();
                let prefix = candidate.server.url_path(&self.settings().base_url);
                question::ask(&candidate.upstream, internal, &prefix, &token).await
            }
            Err(error) => {
                tracing::warn!(server.name = %candidate.server, error = &error as &dyn std::error::Error,
                    "could not make a token to ask a server whether it is busy");
                None
            }
        };
        let (timeline, present) = (self.timeline(), self.present());
        candidate.present = present;
        candidate.answered = Some(answer.is_some());
        let (server, started) = (&candidate.server, candidate.run);
        self.culler().memory.change(server, started, |known| {
            if let Some(answer) = answer {
                known.add(answer, timeline, present);
            }
            candidate.evidence = known.evidence(present, answer.is_none());
        });
        candidate
    }

    /// Gives the token that a server is asked with, or makes one: it belongs to the server's owner, may use this
    /// server and nothing else, and goes with the server.
    async fn question_token(&self, candidate: &Candidate) -> Result<Secret<String>, StoreError> {
        let now = self.now();
        let (server, started) = (&candidate.server, candidate.run);
        if let Some((token, until)) = self.culler().memory.token(server, started)
            && now < until
        {
            return Ok(token);
        }
        let secret = token::new_token();
        let ends = after(now, TOKEN_LIFETIME);
        let mut tx = self.store().begin().await?;
        tx.create_token(NewToken {
            secret: &secret,
            owner: TokenOwner::User(candidate.user),
            client_id: None,
            session_id: None,
            server_id: Some(candidate.row.id),
            scopes: &[format!("access:servers!server={}", candidate.server)],
            note: "The hub asks whether the server is busy",
            created: now,
            expires_at: Some(ends),
        })
        .await?;
        tx.commit().await?;
        let until = ends.checked_sub(TOKEN_RESERVE).unwrap_or(now);
        self.culler().memory.change(server, started, |known| {
            known.token = Some((secret.clone(), until));
        });
        Ok(secret)
    }
}

/// The profile that a server was started with.
fn profile(row: &Server) -> Option<&str> {
    row.user_options.as_ref()?.get("profile")?.as_str()
}
