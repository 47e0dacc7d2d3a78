//! A leader's write: checked, stored here, pushed to everyone live.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use hafleet_model::{Digest, Document, DocumentKind, Header, NodeId, Revision, Stamp, Term};
use tokio::sync::{Mutex, watch};

use crate::absent::{self, Absent};
use crate::clock::now_ms;
use crate::documents::Documents;
use crate::exchange::client::{AskError, Peer, PushOutcome};
use crate::leadership::Role;
use crate::limits::{MAX_BODY_LEN, MAX_COMMENT_LEN};
use crate::links::Links;
use crate::offload::offload;
use crate::repair;
use crate::store::StoreError;
use crate::view::View;

/// How many stamps of ancestry a push carries at first. A peer that was away for longer asks for more.
const SHORT_ANCESTRY: usize = 16;

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
    /// The body, whole, at most [`MAX_BODY_LEN`] bytes. It is the caller's to validate.
    pub body: Arc<str>,
    /// What must be there for the write to happen.
    pub expect: Expect,
    /// Who asks, at most [`MAX_COMMENT_LEN`] bytes.
    pub author: String,
    /// Why, at most [`MAX_COMMENT_LEN`] bytes.
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
    /// How many nodes are known, or may be: see [`View::known_count`].
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
    /// How many nodes are known: see [`View::known_count`].
    pub known: usize,
    /// Whether `nodes` are more than half of them.
    pub is_majority: bool,
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

/// Writes documents while this node leads.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) me: NodeId,
    pub(crate) documents: Arc<Documents>,
    pub(crate) links: Arc<Links>,
    pub(crate) view: watch::Receiver<Arc<View>>,
    pub(crate) push_deadline: Duration,
    /// The term for which each document was made ready, one lock each: writes of one document are one at a time.
    pub(crate) ready: [Mutex<Option<Term>>; DocumentKind::ALL.len()],
    /// The last revision of each document that was written here, and who acknowledged it.
    pub(crate) acknowledged: std::sync::Mutex<BTreeMap<DocumentKind, (Stamp, Vec<NodeId>)>>,
}

impl Writer {
    pub(crate) async fn write(&self, request: WriteRequest) -> Result<Written, WriteError> {
        check_size(&request)?;
        let [spec, endpoints, overrides, secrets] = &self.ready;
        let ready = match request.kind {
            DocumentKind::Spec => spec,
            DocumentKind::Endpoints => endpoints,
            DocumentKind::Overrides => overrides,
            DocumentKind::Secrets => secrets,
        };
        let mut ready = ready.lock().await;
        let term = self.leading()?;
        let goes_on_alone = request.force || request.kind.is_observed();
        self.check_majority(goes_on_alone)?;
        if *ready != Some(term) {
            self.make_ready(request.kind, term, goes_on_alone).await?;
            *ready = Some(term);
        }
        let document = self.append(request, term).await?;
        Ok(self.push(term, &document).await)
    }

    /// Which nodes have stored `stamp`: those that acknowledged it here, and live ones that say it is their newest.
    pub(crate) fn holding(&self, kind: DocumentKind, stamp: Stamp) -> Holding {
        let view = self.view();
        let mut nodes: BTreeSet<NodeId> = view.holders(kind, stamp).cloned().collect();
        if self.documents.newest(kind).map(|newest| newest.stamp()) == Some(stamp) {
            nodes.insert(self.me.clone());
        }
        let acknowledged = self
            .acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, by)) = acknowledged.get(&kind).filter(|(last, _)| *last == stamp) {
            nodes.extend(by.iter().filter(|id| view.member(id).is_some()).cloned());
        }
        Holding {
            is_majority: view.is_majority(&nodes),
            known: view.known_count(),
            nodes: nodes.into_iter().collect(),
        }
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    fn leading(&self) -> Result<Term, WriteError> {
        let view = self.view();
        let reason = match &view.leadership.role {
            Role::Leader(term) => return Ok(*term),
            Role::Follower(id, term) => format!("{id} leads in term {term}"),
            Role::Settling { reason } => (*reason).to_owned(),
            Role::Unfit { reason } => format!("nobody does, and this node cannot: {reason}"),
        };
        let leader = view.leader().map(|(id, address)| (id.clone(), address));
        Err(WriteError::NotLeader { leader, reason })
    }

    fn check_majority(&self, goes_on_alone: bool) -> Result<(), WriteError> {
        let view = self.view();
        if goes_on_alone || view.has_majority() {
            return Ok(());
        }
        Err(WriteError::NoMajority {
            live: view.live_count(),
            known: view.known_count(),
            missing: view.absent(now_ms()),
        })
    }

    /// Before the first write of a term: hears from a majority what the newest revision is, and makes them promise
    /// not to store for an earlier leader.
    async fn make_ready(
        &self,
        kind: DocumentKind,
        term: Term,
        goes_on_alone: bool,
    ) -> Result<(), WriteError> {
        let view = self.view();
        let answers = self.ask_heads(&view, term).await;
        let later = answers
            .iter()
            .filter_map(|(_, answer)| answer.as_ref().err().and_then(later_term));
        if let Some(later) = later.max() {
            self.learn(later).await;
            return Err(WriteError::Overtaken);
        }
        let answered = answers.iter().filter(|(_, answer)| answer.is_ok());
        let answered: Vec<_> = answered.map(|(id, _)| id).chain([&self.me]).collect();
        if !view.is_majority(answered.iter().copied()) && !goes_on_alone {
            return Err(unanswered(&view, answered.len(), &answers));
        }
        let heads = answers.iter().flat_map(|(id, answer)| {
            let heads = answer.as_ref().map(Vec::as_slice).unwrap_or_default();
            heads
                .iter()
                .filter(|(found, _)| *found == kind)
                .map(move |(_, stamp)| (*stamp, id))
        });
        let Some((highest, holder)) = heads.max() else {
            return Ok(());
        };
        if self
            .documents
            .newest(kind)
            .is_some_and(|own| own.stamp().revision >= highest.revision)
        {
            return Ok(());
        }
        let Some(channel) = self.links.channel(holder) else {
            return Err(WriteError::Overtaken);
        };
        let fetched = repair::fetch_newest(
            &self.documents,
            Peer::new(channel, self.push_deadline),
            kind,
        )
        .await;
        fetched.map_err(|error| match error {
            repair::RepairError::Store(error) => WriteError::Store(error),
            other => {
                tracing::warn!(%kind, %holder, error = %other, "the newest revision could not be had before writing");
                WriteError::Overtaken
            }
        })
    }

    async fn ask_heads(&self, view: &View, term: Term) -> Vec<(NodeId, Answer)> {
        let asked = view.live_peers().filter_map(|member| {
            let id = member.report.id.clone();
            let mut peer = Peer::new(self.links.channel(&id)?, self.push_deadline);
            Some(async move { (id, peer.heads(term).await) })
        });
        join_all(asked).await
    }

    /// A peer knows a term that gossip has not told us of: a claim of somebody who is gone by now. Once it is known
    /// here, this node claims above it, and peers store what it writes again.
    async fn learn(&self, term: Term) {
        let documents = Arc::clone(&self.documents);
        if let Some(Err(error)) = offload(move || documents.raise_term(term)).await {
            tracing::error!(%error, "a later term could not be written down");
        }
    }

    async fn append(&self, request: WriteRequest, term: Term) -> Result<Arc<Document>, WriteError> {
        let documents = Arc::clone(&self.documents);
        let view = self.view.clone();
        let appended = offload(move || {
            documents.append(request.kind, |newest| {
                // Looked at again under the document's lock: what was prepared may have been overtaken since.
                let still_leads = view.borrow().leadership.role == Role::Leader(term);
                if !still_leads || newest.is_some_and(|newest| newest.revision.term > term) {
                    return Err(WriteError::Overtaken);
                }
                successor(request, term, newest)
            })
        });
        appended.await.ok_or(WriteError::Stopping)?
    }

    async fn push(&self, term: Term, document: &Arc<Document>) -> Written {
        let view = self.view();
        let ancestry: Arc<[Stamp]> = self
            .documents
            .ancestry(document.kind(), document.stamp())
            .into();
        let mut pushes: FuturesUnordered<_> = view
            .live_peers()
            .filter_map(|member| {
                let id = member.report.id.clone();
                let peer = Peer::new(self.links.channel(&id)?, self.push_deadline);
                let (document, ancestry) = (Arc::clone(document), Arc::clone(&ancestry));
                Some(async move { (id, push_to(peer, term, &document, &ancestry).await) })
            })
            .collect();
        let mut stored_by = vec![self.me.clone()];
        while let Some((id, outcome)) = pushes.next().await {
            match outcome {
                Ok(PushOutcome::Stored) => stored_by.push(id),
                Ok(other) => {
                    tracing::warn!(node = %id, stamp = %document.stamp(), ?other, "a push was not stored");
                }
                Err(error) => {
                    if let Some(later) = later_term(&error) {
                        self.learn(later).await;
                    }
                    tracing::warn!(node = %id, stamp = %document.stamp(), %error, "a push failed");
                }
            }
        }
        stored_by.sort();
        self.acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(document.kind(), (document.stamp(), stored_by.clone()));
        let known_members = view.known_count();
        let committed = view.is_majority(&stored_by);
        Written {
            header: document.header().clone(),
            stored_by,
            known_members,
            committed,
        }
    }
}

/// What a peer holds, if it answered.
type Answer = Result<Vec<(DocumentKind, Stamp)>, AskError>;

/// Too few answered, though enough seemed to be live.
fn unanswered(view: &View, answered: usize, answers: &[(NodeId, Answer)]) -> WriteError {
    let mut missing = view.absent(now_ms());
    for peer in view.live_peers() {
        let id = &peer.report.id;
        let answer = answers.iter().find(|(answering, _)| answering == id);
        let reason = match answer {
            Some((_, Ok(_))) => continue,
            Some((_, Err(error))) => error.to_string(),
            None => "not connected".to_owned(),
        };
        missing.push(Absent {
            name: id.to_string(),
            reason,
            unseen_for: None,
        });
    }
    WriteError::NoMajority {
        live: answered,
        known: view.known_count(),
        missing,
    }
}

fn later_term(error: &AskError) -> Option<Term> {
    match error {
        AskError::LaterTerm(term) => Some(*term),
        _ => None,
    }
}

async fn push_to(
    mut peer: Peer,
    term: Term,
    document: &Document,
    ancestry: &[Stamp],
) -> Result<PushOutcome, AskError> {
    let short = ancestry.get(..SHORT_ANCESTRY).unwrap_or(ancestry);
    match peer.store(term, document, short).await? {
        PushOutcome::NeedsAncestry if short.len() < ancestry.len() => {
            peer.store(term, document, ancestry).await
        }
        outcome => Ok(outcome),
    }
}

fn check_size(request: &WriteRequest) -> Result<(), WriteError> {
    let parts = [
        ("body", request.body.len(), MAX_BODY_LEN),
        ("author", request.author.len(), MAX_COMMENT_LEN),
        ("comment", request.comment.len(), MAX_COMMENT_LEN),
    ];
    match parts.into_iter().find(|(_, len, limit)| len > limit) {
        Some((what, len, limit)) => Err(WriteError::TooLarge { what, len, limit }),
        None => Ok(()),
    }
}

/// What follows `newest`, if the writer expected that.
fn successor(
    request: WriteRequest,
    term: Term,
    newest: Option<Stamp>,
) -> Result<Document, WriteError> {
    let found = newest.map(|newest| newest.revision);
    let is_expected = match request.expect {
        Expect::Any => true,
        Expect::Absent => found.is_none(),
        Expect::Revision(revision) => found == Some(revision),
    };
    if !is_expected {
        return Err(WriteError::Unexpected {
            kind: request.kind,
            expected: request.expect,
            found,
        });
    }
    let sequence = found.map_or(0, |found| found.sequence).saturating_add(1);
    let stamp = Stamp {
        revision: Revision::new(term, sequence),
        digest: Digest::of(request.body.as_bytes()),
    };
    let header = Header {
        kind: request.kind,
        stamp,
        parent: newest,
        author: request.author,
        comment: request.comment,
        written_at_ms: now_ms(),
    };
    // The digest was just taken of this body, so there is nothing that could differ.
    Document::new(header, request.body).map_err(|_| WriteError::Overtaken)
}
