//! The log in systemd's journal: one entry for each event, with its fields as fields of the entry. Not its reading.
//!
//! The protocol is that of `systemd.journal-fields(7)` and of "Native Journal Protocol" in systemd's documentation: one
//! datagram of `NAME=value` lines; a value of several lines follows its length.

use std::error::Error;
use std::fmt::{Debug, Write as _};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::fs::fstat;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Where the journal takes entries.
const SOCKET: &str = "/run/systemd/journal/socket";
/// How systemd tells a service that its standard error is the journal.
const STREAM: &str = "JOURNAL_STREAM";
/// How long the journal may take for an entry before that is given up: the log must not hold up what it tells of.
const LIMIT: Duration = Duration::from_secs(1);
/// The longest value; the rest is cut off.
const LONGEST_VALUE: usize = 8 * 1024;
/// The longest entry; further fields are left out.
const LONGEST_ENTRY: usize = 64 * 1024;
/// The longest name of a field, a limit of the journal.
const LONGEST_NAME: usize = 64;

/// Sends events to the journal.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
}

impl Journal {
    /// Opens the way to the journal; `None` if standard error does not lead there, or the journal cannot be reached.
    pub(super) fn find() -> Option<Self> {
        let stream = std::env::var(STREAM).ok()?;
        // A variable alone says little: it is inherited by programs whose output goes elsewhere.
        let stderr = fstat(io::stderr()).ok()?;
        if stream != format!("{}:{}", stderr.st_dev, stderr.st_ino) {
            return None;
        }
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_write_timeout(Some(LIMIT)).ok()?;
        socket.send_to(b"", SOCKET).ok()?;
        Some(Self { socket })
    }
}

impl<S> Layer<S> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut entry = Entry::begin(*event.metadata().level(), event.metadata().target());
        entry.add("MESSAGE", &fields.sentence());
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                entry.add_all(of_span);
            }
        }
        entry.add_all(&fields);
        // There is nobody else to whom one could complain.
        let _ = self.socket.send_to(&entry.0, SOCKET);
    }
}

/// The fields of an event or of a span, as texts.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Fields {
    /// The message, with what only the fields say and everybody who reads it wants to know.
    fn sentence(&self) -> String {
        let mut sentence = self.message.clone();
        for (name, value) in &self.others {
            if matches!(*name, "error" | "reason") {
                let _ = write!(sentence, ": {value}");
            }
        }
        sentence
    }

    fn set(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            self.others.push((field.name(), value));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.set(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(error) = source {
            let _ = write!(text, ": {error}");
            source = error.source();
        }
        self.set(field, text);
    }
}

/// One entry, as it is sent.
struct Entry(Vec<u8>);

impl Entry {
    fn begin(level: Level, target: &str) -> Self {
        let mut entry = Self(Vec::with_capacity(512));
        entry.add("PRIORITY", priority(level));
        entry.add("SYSLOG_IDENTIFIER", env!("CARGO_PKG_NAME"));
        entry.add("LYCEUM_TARGET", target);
        entry
    }

    fn add_all(&mut self, fields: &Fields) {
        for (name, value) in &fields.others {
            self.add(&field_name(name), value);
        }
    }

    fn add(&mut self, name: &str, value: &str) {
        let value = value.get(..floor(value, LONGEST_VALUE)).unwrap_or_default();
        if self.0.len() + name.len() + value.len() > LONGEST_ENTRY {
            return;
        }
        self.0.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            self.0.push(b'\n');
            self.0
                .extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

/// The largest number of bytes, not above `limit`, that does not cut a letter.
fn floor(text: &str, limit: usize) -> usize {
    text.floor_char_boundary(limit)
}

/// As `syslog(3)` has them.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// `user.name` becomes `LYCEUM_USER_NAME`: the journal takes capitals, digits and underscores only.
fn field_name(name: &str) -> String {
    let letters = name.chars().map(|letter| {
        if letter.is_ascii_alphanumeric() {
            letter.to_ascii_uppercase()
        } else {
            '_'
        }
    });
    "LYCEUM_"
        .chars()
        .chain(letters)
        .take(LONGEST_NAME)
        .collect()
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Logs to a socket of the test, and gives what came.
    fn sent(log: impl FnOnce()) -> Vec<String> {
        let (socket, other) = UnixDatagram::pair().unwrap();
        other.set_nonblocking(true).unwrap();
        let layer = Collected(socket);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let mut buffer = [0; 4096];
        let mut entries = Vec::new();
        while let Ok(length) = other.recv(&mut buffer) {
            entries.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        entries
    }

    /// The same layer with another end.
    struct Collected(UnixDatagram);

    impl<S> Layer<S> for Collected
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            let mut entry = Entry::begin(*event.metadata().level(), "target");
            entry.add("MESSAGE", &fields.sentence());
            entry.add_all(&fields);
            self.0.send(&entry.0).unwrap();
        }
    }

    #[test]
    fn an_event_has_its_fields_and_a_sentence_that_tells_the_error() {
        let error = io::Error::other("the disk is full");
        let entries = sent(|| {
            tracing::warn!(user.name = "ada", servers = 3, error = %error, "could not write");
        });
        assert_eq!(
            entries,
            [
                "PRIORITY=4\nSYSLOG_IDENTIFIER=lyceum\nLYCEUM_TARGET=target\n\
                 MESSAGE=could not write: the disk is full\n\
                 LYCEUM_USER_NAME=ada\nLYCEUM_SERVERS=3\nLYCEUM_ERROR=the disk is full\n"
            ]
        );
    }

    #[test]
    fn several_lines_cannot_become_fields_of_their_own() {
        let mut entry = Entry(Vec::new());
        entry.add("LYCEUM_USER_NAME", "eve\nPRIORITY=0");
        assert_eq!(
            entry.0,
            b"LYCEUM_USER_NAME\n\x0e\0\0\0\0\0\0\0eve\nPRIORITY=0\n"
        );
    }

    #[test]
    fn what_is_too_long_is_cut_and_then_left_out() {
        let mut entry = Entry(Vec::new());
        for _ in 0..20 {
            entry.add("LYCEUM_X", &"ä".repeat(LONGEST_VALUE));
        }
        assert!(entry.0.len() <= LONGEST_ENTRY + 2);
        assert!(entry.0.len() > LONGEST_ENTRY / 2);
        assert_eq!(field_name(&"x.".repeat(100)).len(), LONGEST_NAME);
    }
}
