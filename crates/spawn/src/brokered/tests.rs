//! What becomes of a start whose broker goes away.

use std::path::Path;
use std::sync::Mutex;

use lyceum_broker::protocol::{Answer, Refusal, frame};
use lyceum_core::{ServerName, UserName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::task::JoinSet;

use super::*;

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<String>>);

impl StartProgress for Heard {
    fn handle(&self, _: &Handle) {}

    fn say(&self, _: u8, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

/// Takes a question, and answers it or goes away.
async fn hear(listener: &UnixListener, answer: Option<&Answer>) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let length = stream.read_u32().await.unwrap();
    let mut question = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut question).await.unwrap();
    if let Some(answer) = answer {
        stream
            .write_all(&frame::encode(answer).unwrap())
            .await
            .unwrap();
    }
    String::from_utf8(question).unwrap()
}

fn request() -> StartRequest {
    StartRequest {
        server: ServerRef::new(UserName::parse("ada").unwrap(), ServerName::default()),
        marker: "0123456789".to_owned(),
        environment: [].into(),
        service_prefix: "/user/ada/".to_owned(),
        user_options: serde_json::Map::new(),
        groups: Vec::new(),
        tls: None,
    }
}

async fn start(path: &Path) -> (Failure, Vec<String>) {
    let brokered = Brokered::new(Broker::new(path), Kind::Systemd, false);
    let heard = Heard::default();
    let failure = brokered.start(request(), &heard).await.unwrap_err();
    (failure, heard.0.into_inner().unwrap())
}

#[tokio::test]
async fn a_start_goes_to_the_next_broker_under_its_own_mark_when_one_goes_away() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broker.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut brokers = JoinSet::new();
    let second_path = path.clone();
    brokers.spawn(async move {
        let one = hear(&listener, None).await;
        // Without systemd, nobody listens until the next one is there.
        drop(listener);
        std::fs::remove_file(&second_path).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let listener = UnixListener::bind(&second_path).unwrap();
        let refusal = Refusal::new(RefusalKind::Policy, "Heard by the second.", "No.");
        let two = hear(&listener, Some(&Answer::Refused(refusal))).await;
        (one, two)
    });
    let (failure, said) = start(&path).await;
    assert_eq!(failure.message, "Heard by the second.");
    assert!(
        said.iter().any(|line| line.contains("beginning again")),
        "{said:?}"
    );
    let (one, two) = brokers.join_next().await.unwrap().unwrap();
    assert_eq!(one, two);
    assert!(one.contains("0123456789"), "{one}");
}

#[tokio::test]
async fn a_start_that_ends_every_broker_is_given_up_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broker.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut brokers = JoinSet::new();
    brokers.spawn(async move {
        let mut heard = 0;
        while heard < 2 {
            hear(&listener, None).await;
            heard += 1;
        }
        listener
    });
    let (failure, _) = start(&path).await;
    assert!(failure.message.contains("was restarted"), "{failure}");
    assert_eq!(failure.hint, "Start the server again.");
    brokers.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_start_that_had_succeeded_when_its_broker_went_away_is_told_as_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broker.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut brokers = JoinSet::new();
    brokers.spawn(async move {
        hear(&listener, None).await;
        let refusal = Refusal::new(RefusalKind::Exists, "This server runs already.", "");
        hear(&listener, Some(&Answer::Refused(refusal))).await;
    });
    let (failure, _) = start(&path).await;
    assert!(failure.message.contains("was restarted"), "{failure}");
    brokers.join_next().await.unwrap().unwrap();
}
