//! The fleet's four documents on this node: memory over store, changed by one rule.
//!
//! Whatever brings a revision here, a leader's push or an own repair, goes through [`Documents::adopt`], and only the
//! own writes of a leader through [`Documents::append`]. Calls block for the time of a sync.

mod shelf;
mod trouble;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hafleet_model::{Digest, Document, DocumentKind, Header, NodeId, Revision, Stamp, Term};
use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::line::{Adoption, AncestryError, Judgement, Line, check_ancestry};
use crate::storage::Storage;
use crate::store::{Change, Conflict, ConflictReason, StoreError};
use shelf::{Lost, Shelf, read_document};
use trouble::Trouble;

/// How many revisions are kept of what is observed: enough to look back, of bodies that may be large and change often.
const OBSERVED_HISTORY_LIMIT: usize = 50;

/// What became of a revision that came from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the line now, as the newest.
    Adopted {
        /// How many own revisions became conflicts for it. Of what is observed none do: they are dropped.
        lost: usize,
    },
    /// It was in the line before.
    Known,
    /// Older than the line and not in it; kept as a conflict where that can be told.
    Superseded,
    /// Another body under the same revision; kept as a conflict.
    Divergent,
    /// Its ancestry is too short to tell.
    NeedsAncestry,
}

/// Why a revision was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// What is said to come before it cannot.
    #[error("its ancestry is impossible: {0}")]
    Ancestry(#[from] AncestryError),
    /// Header and ancestry do not agree.
    #[error("its header names {header:?} as parent, its ancestry {ancestry:?}")]
    OtherParent {
        /// What the header says.
        header: Option<Stamp>,
        /// The newest of the ancestry.
        ancestry: Option<Stamp>,
    },
    /// The disk refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The documents of this node.
#[derive(Debug)]
pub struct Documents {
    store: Arc<dyn Storage>,
    clock: Clock,
    history_limit: usize,
    /// Held from a promise to what is stored under it.
    promise: Mutex<()>,
    shelves: [Shelf; DocumentKind::ALL.len()],
    /// Told whenever a newest revision changes.
    changed: Arc<Notify>,
    trouble: Trouble,
}

/// What became of a revision that a peer keeps as a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gathered {
    /// It is a conflict here too now.
    Kept,
    /// It was one, or is in the line.
    Known,
    /// The line here ends before it, so that it cannot be told yet.
    Ahead,
}

impl Documents {
    /// Reads what the store has.
    pub fn load(
        store: Arc<dyn Storage>,
        clock: Clock,
        history_limit: usize,
        changed: Arc<Notify>,
    ) -> Result<Self, StoreError> {
        let [spec, endpoints, overrides, secrets] =
            DocumentKind::ALL.map(|kind| Shelf::load(&*store, kind));
        let shelves = [spec?, endpoints?, overrides?, secrets?];
        Ok(Self {
            store,
            clock,
            history_limit,
            promise: Mutex::default(),
            shelves,
            changed,
            trouble: Trouble::default(),
        })
    }

    /// The newest revision, and its successors.
    pub fn watch(&self, kind: DocumentKind) -> watch::Receiver<Option<Arc<Document>>> {
        self.shelf(kind).newest.subscribe()
    }

    /// The newest revision.
    pub fn newest(&self, kind: DocumentKind) -> Option<Arc<Document>> {
        self.shelf(kind).newest.borrow().clone()
    }

    /// The stamp of the newest revision of each kind.
    pub fn heads(&self) -> Vec<(DocumentKind, Stamp)> {
        let newest = |kind| self.newest(kind).map(|document| (kind, document.stamp()));
        DocumentKind::ALL.into_iter().filter_map(newest).collect()
    }

    /// What comes before `stamp` in the line, newest first.
    pub fn ancestry(&self, kind: DocumentKind, stamp: Stamp) -> Vec<Stamp> {
        self.line(kind).ancestry(stamp)
    }

    /// The headers that are held, newest first.
    pub fn history(&self, kind: DocumentKind) -> Result<Vec<Header>, StoreError> {
        let records = self.store.line(kind)?;
        Ok(records
            .into_iter()
            .rev()
            .filter_map(|record| record.header)
            .collect())
    }

    /// The revision `revision` of the line, when it is held.
    pub fn revision(
        &self,
        kind: DocumentKind,
        revision: Revision,
    ) -> Result<Option<Document>, StoreError> {
        let records = self.store.line(kind)?;
        let record = records
            .into_iter()
            .find(|record| record.stamp.revision == revision);
        self.read(record.and_then(|record| record.header))
    }

    /// Exactly `stamp`, be it in the line or in conflict.
    pub fn stamped(
        &self,
        kind: DocumentKind,
        stamp: Stamp,
    ) -> Result<Option<Document>, StoreError> {
        if let Some(document) = self
            .revision(kind, stamp.revision)?
            .filter(|document| document.stamp() == stamp)
        {
            return Ok(Some(document));
        }
        let conflicts = self.conflicts(kind);
        let conflict = conflicts
            .iter()
            .find(|conflict| conflict.header.stamp == stamp);
        self.read(conflict.map(|conflict| conflict.header.clone()))
    }

    /// The revisions that lost, lowest first.
    pub fn conflicts(&self, kind: DocumentKind) -> Arc<[Conflict]> {
        Arc::clone(&self.shelf(kind).lost.borrow().conflicts)
    }

    /// Of each kind that has conflicts: a digest over which they are.
    pub fn lost(&self) -> BTreeMap<DocumentKind, Digest> {
        let digest = |kind| Some((kind, self.shelf(kind).lost.borrow().digest?));
        DocumentKind::ALL.into_iter().filter_map(digest).collect()
    }

    /// Whether `stamp` is in the line or a conflict.
    pub fn is_known(&self, kind: DocumentKind, stamp: Stamp) -> bool {
        self.line(kind).contains(stamp) || self.is_conflict(kind, stamp)
    }

    /// Whether `stamp` is a conflict.
    pub fn is_conflict(&self, kind: DocumentKind, stamp: Stamp) -> bool {
        let conflicts = self.conflicts(kind);
        conflicts
            .iter()
            .any(|conflict| conflict.header.stamp == stamp)
    }

    /// Takes in a revision that a peer keeps as a conflict, so that all nodes list it and can bring it back.
    pub fn gather(&self, document: Document) -> Result<Gathered, StoreError> {
        let (kind, stamp) = (document.kind(), document.stamp());
        let line = self.line_to_change(kind)?;
        if kind.is_observed() || line.contains(stamp) || self.is_conflict(kind, stamp) {
            return Ok(Gathered::Known);
        }
        if line.head().is_none_or(|head| head < stamp) {
            return Ok(Gathered::Ahead);
        }
        let reason = if line.diverges(stamp) {
            ConflictReason::Divergent
        } else {
            ConflictReason::Fork
        };
        let change = Change {
            conflict: Some((document, reason)),
            ..self.change(kind)
        };
        self.commit(kind, &change)?;
        Ok(Gathered::Kept)
    }

    /// Erases the bodies of revisions that are not the newest and for which `is_to_go` holds; how many went.
    pub(crate) fn erase_bodies(
        &self,
        kind: DocumentKind,
        is_to_go: fn(&str) -> bool,
    ) -> Result<usize, StoreError> {
        // No revision comes or goes meanwhile.
        let line = self.line_to_change(kind)?;
        let Some(newest) = line.head() else {
            return Ok(0);
        };
        self.store.erase_bodies(kind, newest, is_to_go)
    }

    /// The stamps of the line whose bodies are yet to be fetched.
    pub fn missing(&self, kind: DocumentKind) -> Result<Vec<Stamp>, StoreError> {
        let records = self.store.line(kind)?;
        Ok(records
            .into_iter()
            .filter(|record| record.header.is_none())
            .map(|record| record.stamp)
            .collect())
    }

    /// Promises `leader` of `term` to store nothing for another one of that term or of an earlier one, and does `act`; or
    /// gives the term above which it has to claim, since another was promised that before. Nothing comes between: whoever is
    /// told under a promise what is newest here would otherwise not be told of what another leader has stored a moment
    /// later, and counts as committed.
    ///
    /// # Errors
    /// When the promise cannot be made durable.
    pub fn promised<T>(
        &self,
        (leader, term): (&NodeId, Term),
        act: impl FnOnce() -> T,
    ) -> Result<Result<T, Term>, StoreError> {
        // It guards no data, so one left by a panic is as good as any.
        let _held = self.promise.lock().unwrap_or_else(PoisonError::into_inner);
        let highest = self.store.promise(term, leader)?;
        Ok(if highest > term {
            Err(highest)
        } else {
            Ok(act())
        })
    }

    /// Writes the successor of the newest revision, as leader of `term`. `make` gets the stamp of the newest and
    /// returns what follows it.
    pub fn append<E: From<StoreError>>(
        &self,
        kind: DocumentKind,
        make: impl FnOnce(Option<Stamp>) -> Result<Document, E>,
    ) -> Result<Arc<Document>, E> {
        let mut line = self.line_to_change(kind)?;
        let document = make(line.head())?;
        let mut next = line.clone();
        next.adopt(document.stamp(), &Adoption::default());
        let trimmed = next.trim(self.limit(kind));
        let change = Change {
            put: Some(document.clone()),
            trimmed,
            ..self.change(kind)
        };
        self.commit(kind, &change)?;
        *line = next;
        Ok(self.publish(kind, document))
    }

    /// Takes in a revision from a peer. With `is_final` the ancestry is all that there is, and what it does not
    /// prove to come before counts as lost.
    pub fn adopt(
        &self,
        document: Document,
        ancestry: &[Stamp],
        is_final: bool,
    ) -> Result<Outcome, AdoptError> {
        let (kind, stamp) = (document.kind(), document.stamp());
        check_ancestry(stamp, ancestry)?;
        check_parent(document.header(), ancestry)?;
        let mut line = self.line_to_change(kind)?;
        let judged = if is_final {
            line.judge_finally(stamp, ancestry)
        } else {
            line.judge(stamp, ancestry)
        };
        match judged {
            Judgement::Known => Ok(self.fill(document, &line)?),
            Judgement::NeedsAncestry => Ok(Outcome::NeedsAncestry),
            Judgement::Older => Ok(Outcome::Superseded),
            Judgement::Lost => {
                self.keep_conflict(document, ConflictReason::Fork, Outcome::Superseded)
            }
            Judgement::Divergent => {
                self.keep_conflict(document, ConflictReason::Divergent, Outcome::Divergent)
            }
            Judgement::Adopt(adoption) => self.take_over(&mut line, document, adoption),
        }
    }

    fn take_over(
        &self,
        line: &mut Line,
        document: Document,
        adoption: Adoption,
    ) -> Result<Outcome, AdoptError> {
        let kind = document.kind();
        let mut next = line.clone();
        next.adopt(document.stamp(), &adoption);
        let lost: Vec<_> = adoption
            .lost
            .into_iter()
            .map(|stamp| match next.diverges(stamp) {
                true => (stamp, ConflictReason::Divergent),
                false => (stamp, ConflictReason::Fork),
            })
            .collect();
        let trimmed = next.trim(self.limit(kind));
        let count = match kind.is_observed() {
            true => 0,
            false => lost.len(),
        };
        for (stamp, _) in lost
            .iter()
            .filter(|(_, reason)| *reason == ConflictReason::Divergent)
        {
            alarm(kind, *stamp);
        }
        let change = Change {
            put: Some(document.clone()),
            between: adoption.between,
            lost,
            trimmed,
            ..self.change(kind)
        };
        self.commit(kind, &change)?;
        *line = next;
        self.publish(kind, document);
        Ok(Outcome::Adopted { lost: count })
    }

    /// A revision of the line has come: its body may have been missing.
    fn fill(&self, document: Document, line: &Line) -> Result<Outcome, StoreError> {
        let kind = document.kind();
        let is_missing = line.head() != Some(document.stamp())
            && self.missing(kind)?.contains(&document.stamp());
        if is_missing {
            let change = Change {
                put: Some(document),
                ..self.change(kind)
            };
            self.commit(kind, &change)?;
        }
        Ok(Outcome::Known)
    }

    fn keep_conflict(
        &self,
        document: Document,
        reason: ConflictReason,
        outcome: Outcome,
    ) -> Result<Outcome, AdoptError> {
        let (kind, stamp) = (document.kind(), document.stamp());
        if kind.is_observed() {
            tracing::info!(%kind, %stamp, "a revision lost against a later one, and is dropped");
        } else if !self.is_conflict(kind, stamp) {
            match reason {
                ConflictReason::Divergent => alarm(kind, stamp),
                ConflictReason::Fork => {
                    tracing::warn!(%kind, %stamp, "a revision lost against a later one");
                }
            }
            let change = Change {
                conflict: Some((document, reason)),
                ..self.change(kind)
            };
            self.commit(kind, &change)?;
        }
        Ok(outcome)
    }

    /// How many revisions of `kind` are kept.
    fn limit(&self, kind: DocumentKind) -> usize {
        match kind.is_observed() {
            true => self.history_limit.min(OBSERVED_HISTORY_LIMIT),
            false => self.history_limit,
        }
    }

    /// Why documents cannot be written down, as far as is known: none once one was, or when nothing was tried for a while.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.recent(self.clock.now())
    }

    /// A change that changes nothing yet. Of what is observed no conflicts are kept.
    fn change(&self, kind: DocumentKind) -> Change {
        let conflict_limit = match kind.is_observed() {
            true => 0,
            false => self.history_limit,
        };
        Change {
            now_ms: self.clock.now_ms(),
            conflict_limit: Some(conflict_limit),
            ..Change::default()
        }
    }

    /// Writes `change` down, and shows what it made of the conflicts.
    fn commit(&self, kind: DocumentKind, change: &Change) -> Result<(), StoreError> {
        let written = self.store.change(kind, change);
        self.trouble.note(&written, self.clock.now());
        let shelf = self.shelf(kind);
        if written.is_err() {
            shelf.is_doubtful.store(true, Ordering::Relaxed);
        }
        written?;
        let adds = !change.lost.is_empty() || change.conflict.is_some();
        if !adds && shelf.lost.borrow().conflicts.is_empty() {
            return Ok(());
        }
        match self.store.conflicts(kind) {
            Ok(conflicts) => {
                shelf.lost.send_replace(Lost::of(conflicts));
                self.changed.notify_one();
            }
            // What was written stands; the list is behind until the next change.
            Err(error) => tracing::error!(%kind, %error, "the conflicts could not be read"),
        }
        Ok(())
    }

    fn publish(&self, kind: DocumentKind, document: Document) -> Arc<Document> {
        let document = Arc::new(document);
        self.shelf(kind)
            .newest
            .send_replace(Some(Arc::clone(&document)));
        self.changed.notify_one();
        document
    }

    fn read(&self, header: Option<Header>) -> Result<Option<Document>, StoreError> {
        header.map_or(Ok(None), |header| read_document(&*self.store, header))
    }

    fn shelf(&self, kind: DocumentKind) -> &Shelf {
        let [spec, endpoints, overrides, secrets] = &self.shelves;
        match kind {
            DocumentKind::Spec => spec,
            DocumentKind::Endpoints => endpoints,
            DocumentKind::Overrides => overrides,
            DocumentKind::Secrets => secrets,
        }
    }

    fn line(&self, kind: DocumentKind) -> MutexGuard<'_, Line> {
        let shelf = self.shelf(kind);
        debug_assert_eq!(shelf.kind, kind);
        // A line is replaced whole after the store has it, so one left by a panic is still true.
        shelf.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The line, to be changed. A change that failed as far as was known may have come down all the same: then what the disk
    /// has is the truth, as it will be after a restart.
    fn line_to_change(&self, kind: DocumentKind) -> Result<MutexGuard<'_, Line>, StoreError> {
        let mut line = self.line(kind);
        let shelf = self.shelf(kind);
        if shelf.is_doubtful.load(Ordering::Relaxed) {
            let found = Shelf::load(&*self.store, kind)?;
            *line = found
                .line
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner);
            shelf.newest.send_replace(found.newest.borrow().clone());
            shelf.lost.send_replace(found.lost.borrow().clone());
            shelf.is_doubtful.store(false, Ordering::Relaxed);
            self.changed.notify_one();
        }
        Ok(line)
    }

    /// The highest term ever seen.
    pub fn highest_term(&self) -> Result<Term, StoreError> {
        self.store.highest_term()
    }

    /// Makes `term` the highest ever seen, durably, unless a higher one is; returns the highest.
    pub fn raise_term(&self, term: Term) -> Result<Term, StoreError> {
        self.store.raise_term(term)
    }
}

/// `stamp` is not in the line, another body bears its revision there.
fn alarm(kind: DocumentKind, stamp: Stamp) {
    if kind.is_observed() {
        // Two leaders of one term that could not see each other have observed. Nobody has written anything.
        tracing::info!(%kind, %stamp, "two bodies bear the same revision, and the other one is kept");
    } else {
        tracing::error!(%kind, %stamp, "two bodies bear the same revision");
    }
}

/// The header's parent and the ancestry's first must be the same, unless no ancestry was sent.
fn check_parent(header: &Header, ancestry: &[Stamp]) -> Result<(), AdoptError> {
    let first = ancestry.first().copied();
    let is_root = header.stamp.revision.sequence == 1;
    if (first.is_some() && header.parent != first) || header.parent.is_none() != is_root {
        return Err(AdoptError::OtherParent {
            header: header.parent,
            ancestry: first,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
