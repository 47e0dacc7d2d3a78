//! What nodes send each other.

use std::sync::Arc;

use hafleet_cluster::machines::{AskError, Facts, PushOutcome, Refusal};
use hafleet_dns::RecordSet;
use hafleet_dns::provider::Change;
use hafleet_model::{Document, DocumentKind, Stamp, Term};

/// What gossip carries of one run of a node.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) node: usize,
    pub(crate) generation: u64,
    /// Grows with each change of the facts.
    pub(crate) version: u64,
    /// Grows while it is alive.
    pub(crate) heartbeat: u64,
    pub(crate) facts: Arc<Facts>,
}

/// One message.
#[derive(Debug, Clone)]
pub(crate) enum Packet {
    /// All that the sender has heard; the receiver answers a first one in kind.
    Gossip {
        entries: Vec<Entry>,
        is_answer: bool,
    },
    Request {
        call: u64,
        request: Request,
    },
    Reply {
        call: u64,
        reply: Reply,
    },
}

/// What is asked of a peer.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Heads {
        term: Term,
    },
    Store {
        term: Term,
        document: Arc<Document>,
        ancestry: Vec<Stamp>,
    },
    Fetch {
        kind: DocumentKind,
        stamp: Option<Stamp>,
    },
    Conflicts {
        kind: DocumentKind,
    },
}

/// What a peer answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Heads(Vec<(DocumentKind, Stamp)>),
    Pushed(PushOutcome),
    Document(Document, Vec<Stamp>),
    Conflicts(Vec<Stamp>),
}

pub(crate) type Reply = Result<Answer, AskError>;

/// A refusal as it comes over the wire.
pub(crate) fn refused(refusal: Refusal) -> AskError {
    match refusal {
        Refusal::LaterTerm(term) => AskError::LaterTerm(term),
        Refusal::NotFound => AskError::NotFound,
        other => AskError::Failed(other.to_string()),
    }
}

/// What is asked of Route53.
#[derive(Debug, Clone)]
pub(crate) enum ZoneRequest {
    Read,
    Change(Batch),
}

/// A batch of changes.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) changes: Vec<Change>,
    /// Whether its leader had a majority when it decided upon it.
    pub(crate) has_majority: bool,
}

/// What Route53 answers; nothing at all comes as a call that timed out.
#[derive(Debug, Clone)]
pub(crate) enum ZoneReply {
    Records(Vec<RecordSet>),
    /// The batch was applied, or refused: the next round reads which.
    Changed,
}
