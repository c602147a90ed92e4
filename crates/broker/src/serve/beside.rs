//! What stands beside a server's own things is found out and put into homes. Nothing of it keeps a server from starting.

use std::time::Duration;

use super::Server;
use crate::account::Account;
use crate::beside::{Link, Seats};
use crate::children::{Job, Links, Outcome, Purpose};
use crate::policy::Policy;

/// How long a home may take to get its links.
const LINKS_LIMIT: Duration = Duration::from_secs(5);

impl Server {
    /// Finds out what an account is in which course. What cannot be found out is nothing, and is told in the log.
    pub(super) async fn seats(&self, policy: &Policy, account: &Account) -> Seats {
        let (courses, asked) = (policy.courses.clone(), account.clone());
        let found = self.files("look for the courses of the account", move |_| {
            courses.seats(&asked)
        });
        found.await.unwrap_or_else(|refusal| {
            tracing::warn!(
                user.name = account.name,
                error = %refusal,
                "the server of {} starts without the settings of its courses",
                account.name
            );
            Seats::default()
        })
    }

    /// Puts links into the home of an account, as itself, where there is nothing of these names.
    pub(super) async fn put_links(
        &self,
        policy: &Policy,
        account: &Account,
        of_courses: Vec<Link>,
    ) {
        let shared = policy.links.iter().filter_map(|link| link.of(account));
        let links: Vec<Link> = shared.chain(of_courses).collect();
        if links.is_empty() {
            return;
        }
        let job = Job::PutLinks(Links {
            account: account.clone(),
            links,
        });
        let running = self
            .children
            .run(Purpose::Work, &account.name, &job, LINKS_LIMIT);
        let error = match running.await {
            Ok(Outcome::Done {}) => return,
            Ok(Outcome::Failed(why)) => why,
            Ok(_) => "its helper process gave no fitting answer".to_owned(),
            Err(refusal) => refusal.to_string(),
        };
        tracing::warn!(
            user.name = account.name,
            error,
            "the home of {} does not get all its links to shared folders",
            account.name
        );
    }
}
