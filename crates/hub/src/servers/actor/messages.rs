//! What is asked of the actor of a server, and what it shows of it.

use std::sync::Arc;

use lyceum_core::Timestamp;
use lyceum_core::ids::ServerId;
use lyceum_core::lifecycle::{Failure, Refusal, Running, State};
use lyceum_core::route::Upstream;
use lyceum_core::seams::Handle;
use lyceum_store::{Server, StoreError};
use tokio::sync::oneshot;

use crate::servers::progress::ProgressEvent;
use crate::servers::records::{Change, StartInput};

/// What can be seen of a server at any time.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Where it is in its life.
    pub state: State,
    /// When the present or last run started.
    pub started: Option<Timestamp>,
    /// What was said of the present or last start.
    pub progress: Arc<Vec<ProgressEvent>>,
}

/// What is asked of the actor. One whose reply is dropped was not dealt with: the actor has ended.
#[derive(Debug)]
pub(crate) enum Message {
    /// Start the server.
    Start {
        input: Arc<StartInput>,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// Stop it.
    Stop {
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// It was found in the store at the start of Lyceum.
    Found {
        found: Found,
        reply: oneshot::Sender<()>,
    },
    /// Traffic could not reach it: look whether it lives.
    Suspect,
    /// The table of routes has this target for it, or none: see whether that is right.
    MendRoute {
        target: Option<Upstream>,
        reply: oneshot::Sender<()>,
    },
    /// Delete its record, if it does not run; the answer says whether that was so. The actor ends with it.
    Remove {
        reply: oneshot::Sender<Result<bool, StoreError>>,
    },
    /// Change its record, if it does not run; the answer is `None` if it does. With a new name, the actor ends.
    Change {
        change: Change,
        reply: oneshot::Sender<Result<Option<Server>, StoreError>>,
    },
}

/// A server that was not stopped when Lyceum ended.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its record.
    pub(crate) row: ServerId,
    /// When its run began.
    pub(crate) started: Option<Timestamp>,
    /// What it was doing.
    pub(crate) life: FoundLife,
}

/// What a server that is found in the store was doing.
#[derive(Debug)]
pub(crate) enum FoundLife {
    /// It ran, or its process had been started.
    Running(Running),
    /// A start or a stop was under way, and is to be brought to an end.
    Unfinished {
        handle: Option<Handle>,
        failure: Option<Failure>,
    },
}
