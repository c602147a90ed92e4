//! What login methods tell beside the name: groups, which replace memberships, and auth state, which is encrypted.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lyceum_core::GroupName;
use lyceum_core::seams::{Attempt, AuthError, Authenticator, Identity, Step};
use lyceum_hub::permit::ManageAuthState;
use lyceum_hub::{AuthStateError, CryptKeys, UserPermit};
use lyceum_testkit::TestHub;
use serde_json::{Map, Value, json};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const OTHER: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";
/// `{"refresh_token": "hunter2", "n": 1}`, as JupyterHub 6.1.1 encrypts it with [`KEY`].
const OF_JUPYTERHUB: &str = "gAAAAABrBNvdrBlPTDo3uO5zluFeSGlurseYP2DEnQaFlvIqc5ZuUidOhq5cc1dnx5Ff7x7nviC6UyWKQnSrvMCg7dFlt3p9iQqknqN-_4taG26S_zgcnPSqJCu6noFwgJA66Nqmps4s";

/// Admits everybody, and tells of them what the test says.
#[derive(Debug, Clone, Default)]
struct Teller(Arc<Mutex<Identity>>);

impl Teller {
    fn tell(&self, change: impl FnOnce(&mut Identity)) {
        change(&mut self.0.lock().unwrap());
    }
}

#[async_trait]
impl Authenticator for Teller {
    fn kind(&self) -> &'static str {
        "teller"
    }

    async fn begin(&self, attempt: Attempt) -> Result<Step, AuthError> {
        let told = self.0.lock().unwrap().clone();
        Ok(Step::Identity(Identity {
            name: attempt.username,
            ..told
        }))
    }
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

async fn start(teller: &Teller, keys: Option<&str>, manage_groups: bool) -> TestHub {
    let keys = keys.map(|keys| CryptKeys::parse(keys).unwrap());
    TestHub::builder()
        .settings(move |settings| {
            settings.access.allow_all = true;
            settings.auth_state = keys;
            settings.manage_groups = manage_groups;
        })
        .authenticator(teller.clone())
        .start()
        .await
}

async fn log_in(hub: &TestHub) {
    assert_eq!(hub.anonymous().log_in("ada", "").await.status, 302);
}

async fn permit(hub: &TestHub) -> UserPermit<ManageAuthState> {
    // The first login makes them an administrator.
    hub.admin().await;
    let admin = hub.principal("admin").await;
    hub.hub().permit_user(&admin, "ada").await.unwrap()
}

async fn state(hub: &TestHub) -> Option<Value> {
    let permit = permit(hub).await;
    let state = hub.hub().auth_state_of(&permit).await.unwrap();
    state.map(Value::Object)
}

async fn stored(hub: &TestHub) -> Option<String> {
    let ada = hub.user_row("ada").await;
    let stored = hub.store().find_auth_state(ada.id).await.unwrap();
    stored.map(|bytes| String::from_utf8(bytes).unwrap())
}

#[tokio::test]
async fn what_a_login_tells_is_kept_encrypted_and_forgotten_when_it_tells_nothing() {
    let teller = Teller::default();
    let hub = start(&teller, Some(KEY), false).await;
    let told = json!({"refresh_token": "hunter2"});
    teller.tell(|identity| identity.auth_state = Some(object(&told)));
    log_in(&hub).await;
    assert_eq!(state(&hub).await, Some(told));
    let text = stored(&hub).await.unwrap();
    assert!(text.starts_with("gAAAA") && !text.contains("hunter2"));
    teller.tell(|identity| identity.auth_state = None);
    log_in(&hub).await;
    assert_eq!((state(&hub).await, stored(&hub).await), (None, None));
}

#[tokio::test]
async fn nothing_is_kept_where_it_is_not_switched_on() {
    let teller = Teller::default();
    let hub = start(&teller, None, false).await;
    teller.tell(|identity| identity.auth_state = Some(object(&json!({"a": 1}))));
    log_in(&hub).await;
    assert_eq!((state(&hub).await, stored(&hub).await), (None, None));
    let permit = permit(&hub).await;
    let refused = hub
        .hub()
        .set_auth_state(&permit, Some(&object(&json!({"a": 1}))))
        .await;
    assert!(matches!(refused, Err(AuthStateError::Off)));
    hub.hub().set_auth_state(&permit, None).await.unwrap();
}

#[tokio::test]
async fn what_jupyterhub_encrypted_is_read_and_an_old_key_is_replaced_on_the_way() {
    let teller = Teller::default();
    let hub = start(&teller, Some(&format!("{OTHER};{KEY}")), false).await;
    let ada = hub.user_row("ada").await;
    let mut tx = hub.store().begin().await.unwrap();
    tx.set_auth_state(ada.id, Some(OF_JUPYTERHUB.as_bytes()))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let expected = json!({"refresh_token": "hunter2", "n": 1});
    assert_eq!(state(&hub).await, Some(expected.clone()));
    let anew = stored(&hub).await.unwrap();
    assert_ne!(anew, OF_JUPYTERHUB);
    assert!(CryptKeys::parse(OTHER).unwrap().fit(anew.as_bytes()));
    assert!(!CryptKeys::parse(KEY).unwrap().fit(anew.as_bytes()));
    assert_eq!(state(&hub).await, Some(expected));
    // What is of the first key stays as it is.
    assert_eq!(stored(&hub).await.unwrap(), anew);
}

#[tokio::test]
async fn what_no_key_opens_is_as_if_it_were_not_there_and_stays() {
    let teller = Teller::default();
    let hub = start(&teller, Some(OTHER), false).await;
    let ada = hub.user_row("ada").await;
    for blob in [OF_JUPYTERHUB.as_bytes(), b"", b"\xff\x00", &[b'g'; 4000]] {
        let mut tx = hub.store().begin().await.unwrap();
        tx.set_auth_state(ada.id, Some(blob)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(state(&hub).await, None);
        let kept = hub.store().find_auth_state(ada.id).await.unwrap();
        assert_eq!(kept.as_deref(), Some(blob));
    }
}

#[tokio::test]
async fn nobody_without_the_scope_gets_a_permit() {
    let teller = Teller::default();
    let hub = start(&teller, Some(KEY), false).await;
    log_in(&hub).await;
    let ada = hub.principal("ada").await;
    assert!(
        hub.hub()
            .permit_user::<ManageAuthState>(&ada, "ada")
            .await
            .is_err()
    );
}

async fn groups(hub: &TestHub) -> Vec<String> {
    let ada = hub.user_row("ada").await;
    let groups = hub.store().groups_of_user(ada.id).await.unwrap();
    let mut names: Vec<_> = groups.iter().map(|group| group.name.to_string()).collect();
    names.sort();
    names
}

fn names(names: &[&str]) -> Vec<GroupName> {
    let names = names.iter().map(|name| GroupName::parse(name).unwrap());
    names.collect()
}

#[tokio::test]
async fn the_groups_that_a_login_tells_of_are_those_that_count() {
    let teller = Teller::default();
    let hub = start(&teller, None, true).await;
    let ada = hub.user_row("ada").await;
    let mut tx = hub.store().begin().await.unwrap();
    for name in ["old", "stays"] {
        let group = tx.create_group(&GroupName::parse(name).unwrap()).await;
        tx.add_member(group.unwrap().id, ada.id).await.unwrap();
    }
    tx.commit().await.unwrap();
    // Nothing is told: nothing changes.
    log_in(&hub).await;
    assert_eq!(groups(&hub).await, ["old", "stays"]);
    teller.tell(|identity| identity.groups = Some(names(&["stays", "new", "new"])));
    log_in(&hub).await;
    assert_eq!(groups(&hub).await, ["new", "stays"]);
    teller.tell(|identity| identity.groups = Some(names(&[])));
    log_in(&hub).await;
    assert!(groups(&hub).await.is_empty());
    let old = GroupName::parse("old").unwrap();
    assert!(hub.store().find_group(&old).await.unwrap().is_some());
}

#[tokio::test]
async fn groups_that_are_told_do_not_count_where_that_is_not_switched_on() {
    let teller = Teller::default();
    let hub = start(&teller, None, false).await;
    teller.tell(|identity| identity.groups = Some(names(&["new"])));
    log_in(&hub).await;
    assert!(groups(&hub).await.is_empty());
}
