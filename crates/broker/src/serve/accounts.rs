//! Verbs about accounts: logins, accounts that are found or made, space of homes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lyceum_core::names::UserName;
use lyceum_core::secret::Secret;

use super::Server;
use crate::account::Account;
use crate::children::{Creation, Home, Job, Login, Outcome, Purpose, Verdict};
use crate::decide;
use crate::policy::{AccountCreation, PamPolicy, Policy};
use crate::protocol::{HomeSpace, Made, Refusal, RefusalKind};

/// How long the name service may take.
const FIND_LIMIT: Duration = Duration::from_secs(10);
/// How long making an account may take; the system's tool waits for others.
const CREATE_LIMIT: Duration = Duration::from_mins(1);
/// How long a home folder may take.
const HOME_LIMIT: Duration = Duration::from_secs(20);
/// How long a look at a home's space may take.
const SPACE_LIMIT: Duration = Duration::from_secs(5);
/// The longest password that is tried, in bytes (`PAM_MAX_RESP_SIZE`).
const MAX_PASSWORD: usize = 511;

/// What was made for users and is not told yet: the next answer to a start tells it, also if a login or a start that
/// failed had it made. Forgotten when the broker ends; its log has it, too.
#[derive(Debug, Default)]
pub(super) struct Untold(Mutex<BTreeMap<UserName, Made>>);

impl Untold {
    fn note(&self, user: &UserName, change: impl FnOnce(&mut Made)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(all.entry(user.clone()).or_default());
    }

    /// Gives what was made for a user, to be told.
    pub(super) fn take(&self, user: &UserName) -> Made {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(user).unwrap_or_default()
    }
}

impl Server {
    /// Asks PAM whether this is somebody's password, and gives the account.
    pub(super) async fn authenticate(
        &self,
        policy: &Policy,
        user: &UserName,
        password: Secret<String>,
        client_addr: &str,
    ) -> Result<Account, Refusal> {
        let Some(pam) = &policy.pam else {
            return Err(Refusal::policy(
                "Logins by PAM are not switched on.",
                "Set `auth.kind = \"pam\"` in the configuration.",
            ));
        };
        decide::check_user(policy, user)?;
        let name = decide::account_name(&policy.accounts, user)?;
        // An account without password must not be one that everybody can use.
        if password.expose().is_empty() || password.expose().len() > MAX_PASSWORD {
            return Err(wrong());
        }
        // First, so that root's password cannot even be tried.
        let found = self.find(Purpose::Login, &name).await?;
        if let Some(account) = &found {
            decide::check_account(policy, user, &name, account)?;
        }
        self.ask_pam(pam, &name, password, client_addr).await?;
        match found {
            Some(account) => Ok(account),
            None => Ok(self.account(policy, user).await?.0),
        }
    }

    async fn ask_pam(
        &self,
        pam: &PamPolicy,
        name: &str,
        password: Secret<String>,
        client_addr: &str,
    ) -> Result<(), Refusal> {
        let plain =
            client_addr.len() <= 64 && client_addr.bytes().all(|byte| byte.is_ascii_graphic());
        let job = Job::Authenticate(Login {
            service: pam.service.clone(),
            name: name.to_owned(),
            password,
            client_addr: if plain { client_addr } else { "" }.to_owned(),
        });
        let (verdict, messages) = self.verdict(Purpose::Login, pam, name, &job).await?;
        if verdict != Verdict::Accepted {
            tracing::info!(
                user.name = name,
                client.addr = client_addr,
                ?messages,
                "PAM does not let {name} in: {verdict}"
            );
        }
        of_verdict(pam, verdict)
    }

    /// Asks PAM whether an account may be used now: a login lasts for days, and an account may be closed meanwhile.
    pub(super) async fn may_start(&self, policy: &Policy, name: &str) -> Result<(), Refusal> {
        let Some(pam) = policy.pam.as_ref().filter(|pam| pam.check_at_start) else {
            return Ok(());
        };
        let job = Job::CheckAccount {
            service: pam.service.clone(),
            name: name.to_owned(),
        };
        let (verdict, messages) = self.verdict(Purpose::Work, pam, name, &job).await?;
        of_verdict(pam, verdict).map_err(|mut refusal| {
            tracing::info!(
                user.name = name,
                ?messages,
                "PAM does not let {name} start a server: {verdict}"
            );
            let about_the_account = matches!(
                refusal.kind,
                RefusalKind::AccountClosed | RefusalKind::PasswordExpired
            );
            // It is the account's own user who reads this.
            if about_the_account && !messages.is_empty() {
                let said = messages.join(" ");
                refusal.message = format!("{} PAM says: “{}”", refusal.message, said.trim());
            }
            refusal
        })
    }

    async fn verdict(
        &self,
        purpose: Purpose,
        pam: &PamPolicy,
        name: &str,
        job: &Job,
    ) -> Result<(Verdict, Vec<String>), Refusal> {
        match self.children.run(purpose, name, job, pam.limit).await? {
            Outcome::Pam { verdict, messages } => Ok((verdict, messages)),
            outcome => Err(unexpected(job, outcome)),
        }
    }

    /// Finds the account of a user, or makes it, with its home, where the configuration says so. Tells whether the
    /// account was made.
    pub(super) async fn account(
        &self,
        policy: &Policy,
        user: &UserName,
    ) -> Result<(Account, bool), Refusal> {
        decide::check_user(policy, user)?;
        let name = decide::account_name(&policy.accounts, user)?;
        let (account, created) = match self.find(Purpose::Work, &name).await? {
            Some(account) => (account, false),
            None => self.create(policy, user, &name).await?,
        };
        decide::check_account(policy, user, &name, &account)?;
        if created || makes_home(policy, &name, &account) {
            let job = Job::MakeHome(Home {
                account: account.clone(),
                skeleton: policy.accounts.skeleton.clone(),
                mode: policy.accounts.home_mode,
            });
            match self
                .children
                .run(Purpose::Work, &name, &job, HOME_LIMIT)
                .await?
            {
                Outcome::Done {} => {
                    tracing::info!(user.name = name, "made the home folder of {name}");
                    self.made
                        .note(user, |made| made.home = Some(account.home.clone()));
                }
                Outcome::Exists {} => {}
                outcome => return Err(unexpected(&job, outcome)),
            }
        }
        Ok((account, created))
    }

    async fn create(
        &self,
        policy: &Policy,
        user: &UserName,
        name: &str,
    ) -> Result<(Account, bool), Refusal> {
        let rules = &policy.accounts;
        let Some(creation) = &rules.create else {
            return Err(no_account(name));
        };
        if !decide::is_portable(name) {
            return Err(Refusal::policy(
                format!("There is no account {name}, and none of such a name is made."),
                "Accounts that are made have names of lower-case letters, digits, `_` and `-`.",
            ));
        }
        decide::check_new_account(policy, user, &creation.groups)?;
        let AccountCreation {
            shell,
            groups,
            home_root,
        } = creation;
        let job = Job::Create(Creation {
            name: name.to_owned(),
            first_uid: (*rules.uids.start()).max(1),
            last_uid: *rules.uids.end(),
            shell: shell.clone(),
            home: home_root.join(name),
            groups: groups.clone(),
        });
        let created = match self
            .children
            .run(Purpose::Work, name, &job, CREATE_LIMIT)
            .await?
        {
            Outcome::Done {} => {
                self.made
                    .note(user, |made| made.account = Some(name.to_owned()));
                true
            }
            Outcome::Exists {} => false,
            outcome => return Err(unexpected(&job, outcome)),
        };
        match self.find(Purpose::Work, name).await? {
            Some(account) => {
                if created {
                    tracing::info!(
                        user.name = name,
                        uid = account.uid,
                        "made the account {name}"
                    );
                }
                Ok((account, created))
            }
            None => Err(no_account(name)),
        }
    }

    async fn find(&self, purpose: Purpose, name: &str) -> Result<Option<Account>, Refusal> {
        let job = Job::Find {
            name: name.to_owned(),
        };
        match self.children.run(purpose, name, &job, FIND_LIMIT).await? {
            Outcome::Account(found) => Ok(found),
            outcome => Err(unexpected(&job, outcome)),
        }
    }

    /// Looks at the space of a user's home.
    pub(super) async fn space(
        &self,
        policy: &Policy,
        user: &UserName,
    ) -> Result<HomeSpace, Refusal> {
        decide::check_user(policy, user)?;
        let name = decide::account_name(&policy.accounts, user)?;
        let account = self
            .find(Purpose::Work, &name)
            .await?
            .ok_or_else(|| no_account(&name))?;
        decide::check_account(policy, user, &name, &account)?;
        let job = Job::Space { account };
        match self
            .children
            .run(Purpose::Work, &name, &job, SPACE_LIMIT)
            .await?
        {
            Outcome::Space(space) => Ok(space),
            outcome => Err(unexpected(&job, outcome)),
        }
    }
}

/// Whether a missing home is made: also that of an account that we have made, if the making was broken off after it.
fn makes_home(policy: &Policy, name: &str, account: &Account) -> bool {
    let rules = &policy.accounts;
    let ours = |creation: &AccountCreation| account.home == creation.home_root.join(name);
    rules.create_home || rules.create.as_ref().is_some_and(ours)
}

/// What a verdict means for whoever asks.
fn of_verdict(pam: &PamPolicy, verdict: Verdict) -> Result<(), Refusal> {
    match verdict {
        Verdict::Accepted => Ok(()),
        Verdict::Wrong => Err(wrong()),
        Verdict::PasswordExpired => Err(Refusal::new(
            RefusalKind::PasswordExpired,
            "The password has to be changed before it can be used here.",
            "Change it with `passwd` on the machine, for example over SSH.",
        )),
        Verdict::Closed => Err(Refusal::new(
            RefusalKind::AccountClosed,
            "The account may not be used: it has expired, is locked, or is closed at this hour.",
            "An administrator of the machine can tell which.",
        )),
        Verdict::Question => Err(Refusal::new(
            RefusalKind::System,
            "A module of PAM asks for more than a password, and nobody can answer.",
            format!("See /etc/pam.d/{}.", pam.service),
        )),
        Verdict::Broken => Err(Refusal::new(
            RefusalKind::System,
            "PAM does not work: a service or a module is missing, or a directory does not answer.",
            format!("See /etc/pam.d/{} and the machine's log.", pam.service),
        )),
        Verdict::OtherName => Err(Refusal::policy(
            "A module of PAM has put another name in the place of the user's.",
            "Log in with the account's own name.",
        )),
    }
}

fn wrong() -> Refusal {
    Refusal::new(
        RefusalKind::Credentials,
        "The password is wrong, or there is no such account.",
        "",
    )
}

fn no_account(name: &str) -> Refusal {
    Refusal::new(
        RefusalKind::NoAccount,
        format!("There is no account {name} on this machine."),
        "An administrator can make it, or let Lyceum make accounts (`accounts.create`).",
    )
}

fn unexpected(job: &Job, outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Failed(why) => Refusal::system(job.doing(), &std::io::Error::other(why)),
        _ => Refusal::new(
            RefusalKind::Internal,
            format!(
                "The broker's helper gave no fitting answer when it was to {}.",
                job.doing()
            ),
            "Please report the mistake.",
        ),
    }
}
