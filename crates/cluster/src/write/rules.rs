//! The rules of one write, without the wire: what to ask of whom, what the answers mean, when it is committed.
//!
//! Each step says what to do next; what comes of it goes into the method that the step names. Before the first write of
//! a term the leader hears from a majority what the newest revision is, and makes them promise not to store for another
//! leader of that term, or of an earlier one.

use std::collections::BTreeSet;
use std::sync::Arc;

use hafleet_model::{Digest, Document, DocumentKind, Header, NodeId, Revision, Stamp, Term};

use super::{Expect, Holding, WriteError, WriteRequest, Written};
use crate::absent::Absent;
use crate::documents::Documents;
use crate::exchange::client::{AskError, PushOutcome};
use crate::leadership::Role;
use crate::limits::{MAX_BODY_LEN, MAX_COMMENT_LEN};
use crate::repair::RepairError;
use crate::view::View;

/// How many stamps of ancestry a push carries at first. A peer that was away for longer asks for more.
const SHORT_ANCESTRY: usize = 16;

/// What to do next for a write.
#[derive(Debug)]
pub enum Step {
    /// Ask those peers for their heads and their promise for [`Write::term`]; then [`Write::heard`].
    AskHeads {
        /// All who seem to be live.
        peers: Vec<NodeId>,
    },
    /// Fetch the newest revision that this peer holds and take it in; then [`Write::fetched`].
    Fetch {
        /// Who holds the newest of all.
        from: NodeId,
    },
    /// [`Write::append`], then hand what it gives to all live peers, each with a [`Push`]; then [`Write::pushed`].
    Append,
    /// Nothing was written.
    Refuse {
        /// Why.
        error: WriteError,
        /// A later term that has to be noted: once it is known here, this node claims above it, and peers store what it
        /// writes again.
        learned: Option<Term>,
    },
}

/// What a peer holds, if it answered.
pub type Answer = Result<Vec<(DocumentKind, Stamp)>, AskError>;

/// One write under way. Writes of one document are one at a time.
#[derive(Debug)]
pub struct Write {
    me: NodeId,
    request: WriteRequest,
    term: Term,
    goes_on_alone: bool,
    /// The fleet as it was when heads were asked for.
    view: Arc<View>,
    now_ms: i64,
}

impl Write {
    /// Begins a write on the node `me`, at `now_ms` (milliseconds since 1970). `ready` is the term for which the
    /// document was made ready by an earlier write.
    ///
    /// # Errors
    /// When the request is too large, this node does not lead, or too few nodes are live.
    pub fn begin(
        me: &NodeId,
        request: WriteRequest,
        view: &Arc<View>,
        ready: Option<Term>,
        now_ms: i64,
    ) -> Result<(Self, Step), WriteError> {
        check_size(&request)?;
        let term = leading(view)?;
        let goes_on_alone = request.force || request.kind.is_observed();
        if !goes_on_alone && !view.has_majority() {
            return Err(no_majority(view, now_ms));
        }
        let step = if ready == Some(term) {
            Step::Append
        } else {
            Step::AskHeads {
                peers: live_peers(view),
            }
        };
        let write = Self {
            me: me.clone(),
            request,
            term,
            goes_on_alone,
            view: Arc::clone(view),
            now_ms,
        };
        Ok((write, step))
    }

    /// The term in which it is written.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Which document is written.
    pub fn kind(&self) -> DocumentKind {
        self.request.kind
    }

    /// What the peers that could be asked answered; `own` is this node's newest revision.
    pub fn heard(&self, own: Option<Stamp>, answers: &[(NodeId, Answer)]) -> Step {
        let later = answers
            .iter()
            .filter_map(|(_, answer)| answer.as_ref().err().and_then(later_term));
        if let Some(later) = later.max() {
            return Step::Refuse {
                error: WriteError::Overtaken,
                learned: Some(later),
            };
        }
        let answered = answers.iter().filter(|(_, answer)| answer.is_ok());
        let answered: Vec<_> = answered.map(|(id, _)| id).chain([&self.me]).collect();
        if !self.view.is_majority(answered.iter().copied()) && !self.goes_on_alone {
            return refuse(self.unanswered(answered.len(), answers));
        }
        let heads = answers.iter().flat_map(|(id, answer)| {
            let heads = answer.as_ref().map(Vec::as_slice).unwrap_or_default();
            heads
                .iter()
                .filter(|(kind, _)| *kind == self.kind())
                .map(move |(_, stamp)| (*stamp, id))
        });
        match heads.max() {
            Some((highest, holder)) if own.is_none_or(|own| own < highest) => Step::Fetch {
                from: holder.clone(),
            },
            _ => Step::Append,
        }
    }

    /// What became of fetching the newest revision.
    pub fn fetched(&self, result: Result<(), RepairError>) -> Step {
        match result {
            Ok(()) => Step::Append,
            Err(RepairError::Store(error)) => refuse(WriteError::Store(error)),
            Err(error) => {
                tracing::warn!(kind = %self.kind(), %error, "the newest revision could not be had before writing");
                refuse(WriteError::Overtaken)
            }
        }
    }

    /// Writes the successor of this node's newest revision. `still_leads` says whether it leads in that term, and is
    /// asked under the document's lock: what was prepared may have been overtaken since.
    ///
    /// # Errors
    /// When it has been, when something else is there than was expected, or when the store fails.
    pub fn append(
        &self,
        documents: &Documents,
        still_leads: impl FnOnce(Term) -> bool,
    ) -> Result<Arc<Document>, WriteError> {
        let append = || {
            documents.append(self.kind(), |newest| {
                if !still_leads(self.term)
                    || newest.is_some_and(|newest| newest.revision.term > self.term)
                {
                    return Err(WriteError::Overtaken);
                }
                self.successor(newest)
            })
        };
        // This node may have promised another leader already, and not have looked around since.
        match documents.promised((&self.me, self.term), append)? {
            Ok(appended) => appended,
            Err(later) => {
                // It then claims above that, if it is still to lead.
                documents.raise_term(later)?;
                Err(WriteError::Overtaken)
            }
        }
    }

    /// What follows `newest`, if the writer expected that.
    fn successor(&self, newest: Option<Stamp>) -> Result<Document, WriteError> {
        let request = &self.request;
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
            revision: Revision::new(self.term, sequence),
            digest: Digest::of(request.body.as_bytes()),
        };
        let header = Header {
            kind: request.kind,
            stamp,
            parent: newest,
            author: request.author.clone(),
            comment: request.comment.clone(),
            written_at_ms: self.now_ms,
        };
        // The digest was just taken of this body, so there is nothing that could differ.
        Document::new(header, Arc::clone(&request.body)).map_err(|_| WriteError::Overtaken)
    }

    /// The end: `stored` are the peers of `view` that have stored `document`.
    pub fn pushed(&self, document: &Document, view: &View, stored: Vec<NodeId>) -> Written {
        let mut stored_by = stored;
        stored_by.push(self.me.clone());
        stored_by.sort();
        Written {
            header: document.header().clone(),
            committed: view.is_majority(&stored_by),
            known_members: view.known_count(),
            stored_by,
        }
    }

    /// Too few answered, though enough seemed to be live.
    fn unanswered(&self, answered: usize, answers: &[(NodeId, Answer)]) -> WriteError {
        let mut missing = self.view.absent(self.now_ms);
        for id in live_peers(&self.view) {
            let answer = answers.iter().find(|(answering, _)| *answering == id);
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
            known: self.view.known_count(),
            missing,
        }
    }
}

/// Handing one revision to one peer: first with the last stamps of its ancestry, and with all of them if it says that it
/// needs more.
#[derive(Debug, Clone)]
pub struct Push {
    ancestry: Arc<[Stamp]>,
    is_whole: bool,
}

/// What an answer to a push means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// The peer has stored the revision.
    Stored,
    /// Send it again, with what [`Push::ancestry`] gives now.
    Again,
    /// It has not stored it, as far as is known.
    NotStored {
        /// A later term that it knows, to be noted.
        learned: Option<Term>,
    },
}

impl Push {
    /// The push of a revision with that ancestry, newest first.
    pub fn new(ancestry: Arc<[Stamp]>) -> Self {
        let is_whole = ancestry.len() <= SHORT_ANCESTRY;
        Self { ancestry, is_whole }
    }

    /// What to send along.
    pub fn ancestry(&self) -> &[Stamp] {
        match self.is_whole {
            true => &self.ancestry,
            false => self.ancestry.get(..SHORT_ANCESTRY).unwrap_or_default(),
        }
    }

    /// The peer's answer.
    pub fn answered(&mut self, answer: &Result<PushOutcome, AskError>) -> Pushed {
        match answer {
            Ok(PushOutcome::Stored) => Pushed::Stored,
            Ok(PushOutcome::NeedsAncestry) if !self.is_whole => {
                self.is_whole = true;
                Pushed::Again
            }
            Ok(PushOutcome::NeedsAncestry | PushOutcome::Refused) => {
                Pushed::NotStored { learned: None }
            }
            Err(error) => Pushed::NotStored {
                learned: later_term(error),
            },
        }
    }
}

/// What is known of a revision that `acknowledged` have stored for the leader that wrote it, and that `newest` say is their
/// newest.
pub fn holding(view: &View, acknowledged: &BTreeSet<NodeId>, newest: &BTreeSet<NodeId>) -> Holding {
    Holding {
        nodes: acknowledged.union(newest).cloned().collect(),
        known: view.known_count(),
        is_committed: view.is_majority(acknowledged) || view.is_everyone(newest),
    }
}

/// The peers that seem to be live.
pub fn live_peers(view: &View) -> Vec<NodeId> {
    let peers = view.live_peers();
    peers.map(|member| member.report.id.clone()).collect()
}

fn refuse(error: WriteError) -> Step {
    Step::Refuse {
        error,
        learned: None,
    }
}

fn no_majority(view: &View, now_ms: i64) -> WriteError {
    let (live, known) = (view.live_count(), view.known_count());
    // Of the nodes there may be enough, and too few of those that are named as seeds.
    let (live, known) = match &view.seeds_short {
        Some(short) if live * 2 > known => (short.of - short.silent.len(), short.of),
        _ => (live, known),
    };
    WriteError::NoMajority {
        live,
        known,
        missing: view.absent(now_ms),
    }
}

fn leading(view: &View) -> Result<Term, WriteError> {
    let reason = match &view.leadership.role {
        Role::Leader(term) => return Ok(*term),
        Role::Follower(id, term) => format!("{id} leads in term {term}"),
        Role::Settling { reason } => (*reason).to_owned(),
        Role::Unfit { reason } => format!("nobody does, and this node cannot: {reason}"),
    };
    let leader = view.leader().map(|(id, address)| (id.clone(), address));
    Err(WriteError::NotLeader { leader, reason })
}

fn later_term(error: &AskError) -> Option<Term> {
    match error {
        AskError::LaterTerm(term) => Some(*term),
        _ => None,
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

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
