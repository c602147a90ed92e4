//! What goes on by itself: activity is written, expired rows are deleted.

use std::time::Duration;

use lyceum_core::{ServerRef, Timestamp};
use lyceum_store::StoreError;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::proxy::{CHECK_EVERY, server_of};
use crate::throttle::KNOWN_FOR;
use crate::{Actor, AuditEvent, AuditKind, Hub};

/// How often the gateway is asked which servers were used.
const TRAFFIC_EVERY: Duration = Duration::from_mins(1);
/// How often expired tokens, codes and sessions are deleted (JupyterHub: hourly).
const PURGE_EVERY: Duration = Duration::from_hours(1);
/// How long the database may take to be closed; what is written is safe without.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

impl Hub {
    /// Starts the background tasks; they end with [`Hub::shut_down`].
    pub fn run_background(&self) {
        let hub = self.clone();
        self.tasks().spawn_to_end("write activity", async move {
            hub.activity()
                .run(hub.store(), hub.tasks().stop_token())
                .await;
        });
        let hub = self.clone();
        self.tasks()
            .spawn_vital("gather the gateway's activity", async move {
                let mut seen = Timestamp::UNIX_EPOCH;
                let mut ticks = interval(TRAFFIC_EVERY);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    let now = hub.now();
                    if let Err(error) = hub.gather_traffic(seen).await {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "could not gather the activity of servers"
                        );
                    } else {
                        seen = now;
                    }
                }
            });
        let hub = self.clone();
        self.tasks().spawn_vital("check the routes", async move {
            let mut ticks = interval(CHECK_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if let Err(error) = hub.check_routes().await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "could not check the routes"
                    );
                }
            }
        });
        if self.settings().cull.runs() {
            let hub = self.clone();
            self.tasks().spawn_vital(
                "cull idle servers",
                async move { hub.cull_for_ever().await },
            );
        }
        self.tasks()
            .spawn_vital("look at what servers use", self.clone().look_at_usage());
        self.tasks()
            .spawn_vital("count active users", self.clone().count_active_users());
        self.tasks()
            .spawn_vital("measure lateness", self.clone().measure_lateness());
        let hub = self.clone();
        self.tasks()
            .spawn_vital("delete what has expired", async move {
                let mut ticks = interval(PURGE_EVERY);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    if let Err(error) = hub.purge().await {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "could not delete expired tokens and sessions"
                        );
                    }
                }
            });
    }

    /// Notes which servers had traffic since `since`, as the gateway saw it.
    async fn gather_traffic(&self, since: Timestamp) -> Result<(), StoreError> {
        let Ok(routes) = self.list_routes().await else {
            return Ok(());
        };
        for status in routes {
            let Some(at) = status.last_activity.filter(|at| *at >= since) else {
                continue;
            };
            let Some(server) = server_of(&status) else {
                continue;
            };
            if let Some((user, row)) = self.find_rows(&server).await? {
                self.activity().server_used(user, row, at);
            }
        }
        Ok(())
    }

    async fn find_rows(
        &self,
        server: &ServerRef,
    ) -> Result<Option<(lyceum_core::ids::UserId, lyceum_core::ids::ServerId)>, StoreError> {
        let Some(user) = self.store().find_user(&server.user).await? else {
            return Ok(None);
        };
        let row = self.store().find_server(user.id, &server.server).await?;
        Ok(row.map(|row| (user.id, row.id)))
    }

    async fn purge(&self) -> Result<(), StoreError> {
        let mut tx = self.store().begin().await?;
        let now = self.now();
        tx.purge_expired(now).await?;
        // What began before time itself is not thrown away.
        if let Ok(before) = now.checked_sub(self.settings().audit.keep) {
            tx.purge_audit(before).await?;
        }
        if let Ok(before) = now.checked_sub(KNOWN_FOR) {
            tx.purge_login_places(before).await?;
        }
        tx.commit().await
    }

    /// Ends the background tasks and the actors of the servers; the servers themselves go on running.
    pub async fn shut_down(&self, limit: Duration) {
        self.audit()
            .note(AuditEvent::new(AuditKind::Shutdown, Actor::Hub, None));
        if !self.stop_services(limit).await {
            tracing::warn!("some services did not end in time");
        }
        if let Err(error) = self.gather_traffic(Timestamp::UNIX_EPOCH).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not gather the last activity of servers"
            );
        }
        if !self.tasks().shut_down(limit).await {
            tracing::warn!("some background tasks did not end in time");
        }
        self.servers().shut_down(limit).await;
        if timeout(CLOSE_LIMIT, self.store().close()).await.is_err() {
            tracing::warn!("the database was not closed in time");
        }
    }
}
