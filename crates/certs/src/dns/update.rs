//! Changes of a zone (RFC 2136), signed (RFC 8945): one message there, one back. Does not know what they are for.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::TsigError;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, TSigVerifier, TSigner};
use lyceum_core::Clock;
use tokio::time::timeout;

use super::key::name_of;
use super::lookup::plain;
use super::transport::{new_id, over_tcp, read_answer};
use crate::trouble::{Trouble, TroubleKind};

/// How long one change may take: the server writes it to its disk.
const LIMIT: Duration = Duration::from_secs(10);
/// How long resolvers may keep the record, in seconds.
const TTL: u32 = 60;

/// What is done with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Add,
    /// Only the one with this value; others of the same name stay.
    Remove,
}

/// A text in a zone.
#[derive(Debug, Clone)]
pub(super) struct TextRecord {
    pub(super) zone: Name,
    pub(super) name: Name,
    pub(super) value: String,
}

/// Where changes go to, and how they are signed.
pub(super) struct Channel<'a> {
    /// The server's name or address, for people.
    pub(super) shown: &'a str,
    /// Its addresses, the best first.
    pub(super) addresses: &'a [SocketAddr],
    pub(super) key: Option<&'a TSigner>,
    pub(super) clock: &'a dyn Clock,
}

impl Channel<'_> {
    /// Changes one record, and returns the address of the server that has done it.
    pub(super) async fn send(
        &self,
        change: Change,
        record: &TextRecord,
    ) -> Result<SocketAddr, Trouble> {
        let mut update = message(change, record);
        let now = u64::try_from(self.clock.now().as_second()).unwrap_or(0);
        let verifier = match self.key {
            Some(key) => update
                .finalize(key, now)
                .map_err(|error| unusual(self.shown).caused_by(&error))?,
            None => None,
        };
        let bytes = update
            .to_vec()
            .map_err(|error| unusual(self.shown).caused_by(&error))?;
        let (address, answer) = self.exchange(&bytes).await?;
        self.check(record, &update, verifier, &answer)?;
        Ok(address)
    }

    /// Checks that an answer is the right one, and says that the change is done.
    fn check(
        &self,
        record: &TextRecord,
        update: &Message,
        verifier: Option<TSigVerifier>,
        answer: &[u8],
    ) -> Result<(), Trouble> {
        // First as a plain message: what checks signatures trusts its lengths.
        let read = read_answer(answer, update).ok_or_else(|| unusual(self.shown))?;
        if read.metadata.response_code != ResponseCode::NoError {
            return Err(self.told(record, &read));
        }
        if let Some(mut verifier) = verifier {
            verifier.verify(answer).map_err(|error| {
                Trouble::new(
                    TroubleKind::Dns,
                    format!(
                        "the answer of the name server {} is not signed with our key",
                        self.shown
                    ),
                    "check that `server` is the name server itself, and that nothing on the way changes its answers",
                )
                .because(error.to_string())
            })?;
        }
        Ok(())
    }

    /// Sends a message to the first address that takes it.
    async fn exchange(&self, bytes: &[u8]) -> Result<(SocketAddr, Vec<u8>), Trouble> {
        let mut last = "it has no address".to_owned();
        for address in self.addresses {
            match timeout(LIMIT, over_tcp(*address, bytes)).await {
                Ok(Ok(answer)) => return Ok((*address, answer)),
                Ok(Err(error)) => last = format!("{address}: {error}"),
                Err(_) => {
                    last = format!("{address}: no answer within {} seconds", LIMIT.as_secs());
                }
            }
        }
        Err(Trouble::new(
            TroubleKind::Dns,
            format!("the name server {} cannot be reached over TCP", self.shown),
            "check `server`, and that its firewall lets this machine connect to its port 53 by TCP",
        )
        .because(last))
    }

    /// Says why the server did not do it.
    fn told(&self, record: &TextRecord, answer: &Message) -> Trouble {
        let (server, zone, name) = (self.shown, plain(&record.zone), plain(&record.name));
        let key = self.key.map(name_of);
        let key = key.as_deref().unwrap_or("KEY");
        let signature = answer.signature.as_ref().map(|signature| &signature.data);
        let code = answer.metadata.response_code;
        let (kind, what, hint) = match (signature.and_then(|signature| signature.error), code) {
            (Some(TsigError::BadKey), _) | (None, ResponseCode::BADKEY) => (
                TroubleKind::Dns,
                format!("the name server {server} does not know the key `{key}` (BADKEY)"),
                "check `tsig_name` and `tsig_algorithm`: both must be as in the name server's `key` statement, and the \
                 name server must have been reloaded since"
                    .to_owned(),
            ),
            (Some(TsigError::BadSig), _) | (None, ResponseCode::BADSIG) => (
                TroubleKind::Dns,
                format!("the name server {server} has another secret for the key `{key}` (BADSIG)"),
                "copy the secret from the name server's `key` statement into the file of `tsig_secret_file` again"
                    .to_owned(),
            ),
            (Some(TsigError::BadTime), _) | (None, ResponseCode::BADTIME) => (
                TroubleKind::Clock,
                format!(
                    "the clocks of this machine and of the name server {server} differ {}(BADTIME)",
                    signature
                        .and_then(|signature| server_time(&signature.other).map(|time| time.abs_diff(signature.time)))
                        .map(|seconds| format!("by {seconds} seconds "))
                        .unwrap_or_default()
                ),
                "set both clocks, here with `timedatectl set-ntp true`".to_owned(),
            ),
            (_, ResponseCode::Refused) => (
                TroubleKind::Dns,
                format!("the name server {server} refuses to change `{name}` in the zone `{zone}` (REFUSED)"),
                format!(
                    "let the key change it; in BIND, in the zone's statement: `update-policy {{ grant {key} name {name}. \
                     TXT; }};` or `allow-update {{ key {key}; }};`"
                ),
            ),
            (_, ResponseCode::NotAuth) => (
                TroubleKind::Dns,
                format!("the name server {server} is not the primary of the zone `{zone}` (NOTAUTH)"),
                "check `server` and `zone`: updates go to the server that the zone is edited on".to_owned(),
            ),
            (_, ResponseCode::NotZone) => (
                TroubleKind::Dns,
                format!("for the name server {server}, `{name}` is not in the zone `{zone}` (NOTZONE)"),
                "check `zone`, or leave it out: then the name server is asked for it".to_owned(),
            ),
            (_, ResponseCode::NotImp) => (
                TroubleKind::Dns,
                format!("the name server {server} does not take updates (NOTIMP)"),
                "name a server that does, or change the DNS by a program: `kind = \"command\"`".to_owned(),
            ),
            (_, ResponseCode::ServFail) => (
                TroubleKind::Dns,
                format!("the name server {server} failed to change the zone `{zone}` (SERVFAIL)"),
                "look at the name server's log: often it may not write into the folder of the zone's file".to_owned(),
            ),
            (_, code) => (
                TroubleKind::Dns,
                format!("the name server {server} did not change the zone `{zone}`: {code:?} ({})", u16::from(code)),
                "look at the name server's log".to_owned(),
            ),
        };
        Trouble::new(kind, what, hint)
    }
}

/// The server's time in an answer that complains of ours (RFC 8945 §5.2.3).
fn server_time(other: &[u8]) -> Option<u64> {
    let bytes: [u8; 6] = other.try_into().ok()?;
    Some(
        bytes
            .iter()
            .fold(0, |time, byte| (time << 8) | u64::from(*byte)),
    )
}

fn unusual(server: &str) -> Trouble {
    Trouble::new(
        TroubleKind::Dns,
        format!("the name server {server} gave an answer that cannot be read"),
        "check that `server` is a name server that takes updates (RFC 2136)",
    )
}

fn message(change: Change, record: &TextRecord) -> Message {
    let mut update = Message::new(new_id(), MessageType::Query, OpCode::Update);
    update.add_query(Query::query(record.zone.clone(), RecordType::SOA));
    let data = RData::TXT(TXT::new(vec![record.value.clone()]));
    let mut change_of = Record::from_rdata(record.name.clone(), TTL, data);
    if change == Change::Remove {
        // RFC 2136 §2.5.4: class NONE and no time to live say that this one goes.
        change_of.dns_class = DNSClass::NONE;
        change_of.ttl = 0;
    }
    update.add_authority(change_of);
    update
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::TSigResponseContext;
    use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
    use lyceum_core::SystemClock;
    use proptest::prelude::*;

    use super::super::lookup::name;
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn key(secret: &[u8]) -> TSigner {
        let key_name = name("lyceum").unwrap();
        TSigner::new(secret.to_vec(), TsigAlgorithm::HmacSha256, key_name, 300).unwrap()
    }

    fn record() -> TextRecord {
        TextRecord {
            zone: name("example.org").unwrap(),
            name: name("_acme-challenge.example.org").unwrap(),
            value: "value".to_owned(),
        }
    }

    /// Signs an update and an answer to it, as the server of a key does, and checks what becomes of the answer.
    fn checked(server_key: &TSigner, damage: impl FnOnce(&mut Vec<u8>)) -> Result<(), Trouble> {
        let ours = key(b"secret");
        let mut update = message(Change::Add, &record());
        let verifier = update.finalize(&ours, NOW).unwrap();
        let mac = update.signature.as_ref().unwrap().data.mac.clone();
        let mut answer = Message::new(update.metadata.id, MessageType::Response, OpCode::Update);
        answer.add_queries(update.queries.clone());
        let context =
            TSigResponseContext::new(update.metadata.id, NOW, server_key.clone(), mac, None);
        let signature = context.sign(&answer.to_vec().unwrap()).unwrap();
        answer.set_signature(signature);
        let mut bytes = answer.to_vec().unwrap();
        damage(&mut bytes);
        let channel = Channel {
            shown: "192.0.2.53",
            addresses: &[],
            key: Some(&ours),
            clock: &SystemClock,
        };
        channel.check(&record(), &update, verifier, &bytes)
    }

    #[test]
    fn only_answers_that_are_signed_with_the_key_are_believed() {
        checked(&key(b"secret"), |_| {}).unwrap();
        let trouble = checked(&key(b"another"), |_| {}).unwrap_err();
        assert!(
            trouble.what.contains("not signed with our key"),
            "{trouble}"
        );
    }

    proptest! {
        #[test]
        fn damaged_answers_are_refused_without_a_panic(at in 0_usize..200, by in 1_u8..=255, cut in 1_usize..200) {
            // Not every byte is signed: what the signature's own record says of its time to live is not.
            let _ = checked(&key(b"secret"), |bytes| {
                let length = bytes.len();
                bytes[at % length] ^= by;
            });
            let shortened = checked(&key(b"secret"), |bytes| bytes.truncate(bytes.len().saturating_sub(cut)));
            prop_assert!(shortened.is_err());
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let refused = checked(&key(b"secret"), |answer| {
                // The number stays, so that the rest is looked at.
                answer.truncate(2);
                answer.extend(bytes);
            });
            prop_assert!(refused.is_err());
        }
    }

    #[test]
    fn the_time_of_a_server_has_six_bytes() {
        assert_eq!(server_time(&[0, 0, 0x65, 0, 0, 1]), Some(0x6500_0001));
        assert_eq!(server_time(&[0, 0, 0, 0, 0]), None);
        assert_eq!(server_time(&[]), None);
    }
}
