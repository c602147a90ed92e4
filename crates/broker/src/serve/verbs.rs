//! Which verb is answered by what.

use std::os::fd::OwnedFd;

use tokio_util::sync::CancellationToken;

use super::Server;
use crate::children::busy;
use crate::policy::Policy;
use crate::protocol::{Answer, Refusal, Request, Status};

impl Server {
    /// Answers a question. `gone` ends whatever is of no use to a client that has gone away; all the rest is finished.
    pub(super) async fn answer(
        &self,
        request: Request,
        policy: &Policy,
        gone: &CancellationToken,
    ) -> Result<(Answer, Option<OwnedFd>), Refusal> {
        let answer = match request {
            Request::Status {} => {
                let kind = self.engine.as_ref().map_or("none", |engine| engine.kind());
                Answer::Status(Status {
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    engine: kind.to_owned(),
                    missing: self.missing(policy).await,
                })
            }
            Request::Authenticate {
                user,
                password,
                client_addr,
            } => {
                let _place = self.logins.try_acquire().map_err(|_| busy())?;
                let asking = self.authenticate(policy, &user, password, &client_addr);
                Answer::Authenticated(asking.await?)
            }
            Request::EnsureAccount { user } => {
                let (account, created) = self.account(policy, &user).await?;
                Answer::Account { account, created }
            }
            Request::Start(start) => {
                let (started, process) = self.start(policy, start, gone).await?;
                return Ok((Answer::Started(started), Some(process)));
            }
            Request::Inspect(key) => {
                let (state, process) = self.inspect(&key).await?;
                return Ok((Answer::State(state), process));
            }
            Request::Stop { key, grace } => {
                self.stop(&key, grace).await?;
                Answer::Done {}
            }
            Request::Signal { key, signal } => {
                self.signal(&key, signal).await?;
                Answer::Done {}
            }
            Request::Log {
                user,
                server,
                lines,
            } => Answer::Log(self.log_of(&user, &server, lines).await?),
            Request::List {} => Answer::Servers {
                servers: self.list().await?,
                more: false,
            },
            Request::Forget { user, server } => {
                self.forget(policy, &user, &server).await?;
                Answer::Done {}
            }
            Request::Home { user } => Answer::Home(self.space(policy, &user).await?),
        };
        Ok((answer, None))
    }
}
