//! The rules of gathering, without the wire: whose conflicts to ask for, and what of them to fetch.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use hafleet_model::{Digest, Document, DocumentKind, NodeId, Stamp};

use super::GatherError;
use crate::documents::{Documents, Gathered};
use crate::exchange::client::AskError;
use crate::view::View;

/// What to do next.
#[derive(Debug)]
pub enum Next {
    /// Visit this peer; then [`Gathering::ended`].
    Visit(Visit),
    /// Nothing, until something changes or so much time has passed.
    Wait(Option<Duration>),
}

/// One peer's conflicts of one kind: ask [`Visit::from`] for their list, hand it to [`Visit::listed`], then fetch each
/// [`Visit::next_stamp`] and hand it to [`Visit::fetched`].
#[derive(Debug, Clone)]
pub struct Visit {
    from: NodeId,
    kind: DocumentKind,
    digest: Digest,
    listed: VecDeque<Stamp>,
}

impl Visit {
    /// Whom to ask.
    pub fn from(&self) -> &NodeId {
        &self.from
    }

    /// Of which document.
    pub fn kind(&self) -> DocumentKind {
        self.kind
    }

    /// The peer's conflicts.
    pub fn listed(&mut self, stamps: Vec<Stamp>) {
        self.listed = stamps.into();
    }

    /// The next revision to be fetched; none when all are known here.
    pub fn next_stamp(&mut self, documents: &Documents) -> Option<Stamp> {
        while let Some(stamp) = self.listed.pop_front() {
            if !documents.is_known(self.kind, stamp) {
                return Some(stamp);
            }
        }
        None
    }

    /// What came of fetching a revision.
    ///
    /// # Errors
    /// When this visit is over without all having been taken in.
    pub fn fetched(
        &self,
        documents: &Documents,
        fetched: Result<Document, AskError>,
    ) -> Result<(), GatherError> {
        let document = match fetched {
            Ok(document) => document,
            // It has dropped it since.
            Err(AskError::NotFound) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let (kind, stamp) = (self.kind, document.stamp());
        match documents.gather(document)? {
            Gathered::Kept => {
                tracing::warn!(%kind, %stamp, found_by = %self.from, "a revision lost against a later one");
            }
            Gathered::Known => {}
            Gathered::Ahead => return Err(GatherError::Behind),
        }
        Ok(())
    }
}

/// Where the gathering of conflicts stands.
#[derive(Debug)]
pub struct Gathering {
    /// Between two attempts with a peer, when one has failed.
    pause: Duration,
    /// The digest of each peer's conflicts of which all are known here, or that could not be had.
    settled: HashMap<(NodeId, DocumentKind), Digest>,
    /// Who is not asked before when, after a failure.
    paused: HashMap<(NodeId, DocumentKind), Instant>,
}

impl Gathering {
    /// Nothing was asked for yet. After a failure a peer is not asked for the length of `pause`.
    pub fn new(pause: Duration) -> Self {
        Self {
            pause,
            settled: HashMap::new(),
            paused: HashMap::new(),
        }
    }

    /// What is due.
    pub fn next(&mut self, view: &View, documents: &Documents, now: Instant) -> Next {
        self.paused.retain(|_, until| now < *until);
        let mut wait = None;
        for (from, kind, digest) in self.differing(view, documents) {
            let key = (from, kind);
            if let Some(until) = self.paused.get(&key) {
                let left = *until - now;
                wait = Some(wait.map_or(left, |wait: Duration| wait.min(left)));
                continue;
            }
            return Next::Visit(Visit {
                from: key.0,
                kind,
                digest,
                listed: VecDeque::new(),
            });
        }
        Next::Wait(wait)
    }

    /// Whose conflicts are not ours, and were not looked at yet.
    fn differing(&self, view: &View, documents: &Documents) -> Vec<(NodeId, DocumentKind, Digest)> {
        let own = documents.lost();
        let theirs = view.live_peers().flat_map(|member| {
            let lost = member.lost.iter();
            lost.map(|(kind, digest)| (member.report.id.clone(), *kind, *digest))
        });
        let differing = theirs.filter(|(id, kind, digest)| {
            let is_settled = self.settled.get(&(id.clone(), *kind)) == Some(digest);
            own.get(kind) != Some(digest) && !is_settled
        });
        differing.collect()
    }

    /// What became of a visit.
    pub fn ended(&mut self, visit: Visit, result: Result<(), GatherError>, now: Instant) {
        let Visit {
            from, kind, digest, ..
        } = visit;
        match result {
            Ok(()) => drop(self.settled.insert((from, kind), digest)),
            Err(error) => {
                tracing::debug!(%kind, node = %from, %error, "its conflicts could not be had, and are asked for again");
                self.paused.insert((from, kind), now + self.pause);
            }
        }
    }
}
