//! A leader's write: checked, stored here, pushed to everyone live. The rules are in [`rules`], pure; [`Writer`] drives
//! them.

pub mod rules;
mod writer;

use std::net::SocketAddr;
use std::sync::Arc;

use hafleet_model::{DocumentKind, Header, NodeId, Revision};

use crate::absent::{self, Absent};
use crate::store::StoreError;

pub(crate) use writer::Writer;

/// What the writer thinks is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Whatever.
    Any,
    /// Nothing yet.
    Absent,
    /// This revision.
    Revision(Revision),
}

impl std::fmt::Display for Expect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("any revision"),
            Self::Absent => f.write_str("no revision"),
            Self::Revision(revision) => write!(f, "revision {revision}"),
        }
    }
}

/// A new body for a document. It is not shown by `Debug`, since it may hold keys.
#[derive(Clone)]
pub struct WriteRequest {
    /// Which document.
    pub kind: DocumentKind,
    /// The body, whole, at most [`MAX_BODY_LEN`](crate::MAX_BODY_LEN) bytes. It is the caller's to validate.
    pub body: Arc<str>,
    /// What must be there for the write to happen.
    pub expect: Expect,
    /// Who asks, at most [`MAX_COMMENT_LEN`](crate::MAX_COMMENT_LEN) bytes.
    pub author: String,
    /// Why, at most [`MAX_COMMENT_LEN`](crate::MAX_COMMENT_LEN) bytes.
    pub comment: String,
    /// Whether to write even without a live majority. Endpoints always are: whoever survives goes on with what it finds.
    pub force: bool,
}

impl std::fmt::Debug for WriteRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteRequest")
            .field("kind", &self.kind)
            .field("expect", &self.expect)
            .field("author", &self.author)
            .field("comment", &self.comment)
            .field("force", &self.force)
            .finish_non_exhaustive()
    }
}

/// A write that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The new revision.
    pub header: Header,
    /// The nodes that have stored it, this one included.
    pub stored_by: Vec<NodeId>,
    /// How many nodes are known, or may be: see [`View::known_count`](crate::View::known_count).
    pub known_members: usize,
    /// Whether more than half of the known nodes have stored it. When not, it may yet lose against a write of
    /// another leader, and then it is kept as a conflict.
    pub committed: bool,
}

/// Which nodes have stored a revision, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Those that said so, dead ones included if they answered this leader.
    pub nodes: Vec<NodeId>,
    /// How many nodes are known: see [`View::known_count`](crate::View::known_count).
    pub known: usize,
    /// Whether it is certain to stay in the line: more than half have acknowledged it to the leader that wrote it, or all
    /// have it as their newest. That more than half have it by now is not enough: one that fetched it may have promised a
    /// later leader before, and that one may have written without knowledge of it.
    pub is_committed: bool,
}

/// A revision that was there before somebody asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed {
    /// It, or the one with the same body that follows it.
    pub header: Header,
    /// Who has it.
    pub holding: Holding,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Another node leads, or none.
    #[error("this node does not lead: {reason}")]
    NotLeader {
        /// The leader, where known: send the write there.
        leader: Option<(NodeId, SocketAddr)>,
        /// What this node is instead.
        reason: String,
    },
    /// Too few nodes are there.
    #[error(
        "only {live} of {known} known nodes are live, and more than half are needed (missing: {}): wait for them, or force the write",
        absent::list(.missing)
    )]
    NoMajority {
        /// The nodes that are live, or that answered.
        live: usize,
        /// The nodes that are known, and seeds that were never met and may be nodes.
        known: usize,
        /// Those that are counted and not there.
        missing: Vec<Absent>,
    },
    /// Somebody else has written in the meantime.
    #[error("{kind} is at {}, but {expected} was expected: look at what changed and try again", revision_text(.found))]
    Unexpected {
        /// Which document.
        kind: DocumentKind,
        /// What the writer thought.
        expected: Expect,
        /// What is there.
        found: Option<Revision>,
    },
    /// Too large.
    #[error("the {what} has {len} bytes, and {limit} are allowed")]
    TooLarge {
        /// Of what there is too much.
        what: &'static str,
        /// Its length.
        len: usize,
        /// The longest that is allowed.
        limit: usize,
    },
    /// Somebody else has begun to lead while the write was being prepared.
    #[error("another node has begun to lead: try again")]
    Overtaken,
    /// The disk refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The agent is stopping.
    #[error("this agent is stopping")]
    Stopping,
}

fn revision_text(found: &Option<Revision>) -> String {
    found.map_or_else(
        || "no revision".to_owned(),
        |revision| format!("revision {revision}"),
    )
}
