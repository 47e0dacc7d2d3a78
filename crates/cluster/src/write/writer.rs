//! The leader's part, driven: carries out what the rules of a write ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use hafleet_model::{Document, DocumentKind, NodeId, Stamp, Term};
use tokio::sync::{Mutex, watch};

use super::rules::{Answer, Push, Pushed, Step, Write, holding, live_peers};
use super::{Holding, WriteError, WriteRequest, Written};
use crate::clock::now_ms;
use crate::documents::Documents;
use crate::exchange::client::Peer;
use crate::leadership::Role;
use crate::links::Links;
use crate::offload::offload;
use crate::repair::{self, RepairError};
use crate::view::View;

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
        let [spec, endpoints, overrides, secrets] = &self.ready;
        let ready = match request.kind {
            DocumentKind::Spec => spec,
            DocumentKind::Endpoints => endpoints,
            DocumentKind::Overrides => overrides,
            DocumentKind::Secrets => secrets,
        };
        let mut ready = ready.lock().await;
        let (write, mut step) = Write::begin(&self.me, request, &self.view(), *ready, now_ms())?;
        loop {
            step = match step {
                Step::AskHeads { peers } => {
                    let answers = self.ask_heads(&peers, write.term()).await;
                    let own = self.documents.newest(write.kind());
                    write.heard(own.map(|own| own.stamp()), &answers)
                }
                Step::Fetch { from } => write.fetched(self.fetch(&from, write.kind()).await),
                Step::Refuse { error, learned } => {
                    if let Some(later) = learned {
                        self.learn(later).await;
                    }
                    return Err(error);
                }
                Step::Append => break,
            };
        }
        *ready = Some(write.term());
        let write = Arc::new(write);
        let document = self.append(&write).await?;
        Ok(self.push(&write, &document).await)
    }

    /// Which nodes have stored `stamp`: those that acknowledged it here, and live ones that say it is their newest.
    pub(crate) fn holding(&self, kind: DocumentKind, stamp: Stamp) -> Holding {
        let view = self.view();
        let mut newest: BTreeSet<NodeId> = view.holders(kind, stamp).cloned().collect();
        if self.documents.newest(kind).map(|newest| newest.stamp()) == Some(stamp) {
            newest.insert(self.me.clone());
        }
        let acknowledged = self
            .acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let acknowledged = acknowledged.get(&kind).filter(|(last, _)| *last == stamp);
        let by = acknowledged.iter().flat_map(|(_, by)| by);
        let by = by.filter(|id| view.member(id).is_some()).cloned();
        holding(&view, &by.collect(), &newest)
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    fn peer(&self, id: &NodeId) -> Option<Peer> {
        Some(Peer::new(self.links.channel(id)?, self.push_deadline))
    }

    async fn ask_heads(&self, peers: &[NodeId], term: Term) -> Vec<(NodeId, Answer)> {
        let asked = peers.iter().filter_map(|id| {
            let mut peer = self.peer(id)?;
            Some(async move { (id.clone(), peer.heads(term).await) })
        });
        join_all(asked).await
    }

    async fn fetch(&self, from: &NodeId, kind: DocumentKind) -> Result<(), RepairError> {
        let peer = self.peer(from).ok_or(RepairError::NoHolder)?;
        repair::fetch_newest(&self.documents, peer, kind).await
    }

    async fn learn(&self, term: Term) {
        let documents = Arc::clone(&self.documents);
        if let Some(Err(error)) = offload(move || documents.raise_term(term)).await {
            tracing::error!(%error, "a later term could not be written down");
        }
    }

    async fn append(&self, write: &Arc<Write>) -> Result<Arc<Document>, WriteError> {
        let (documents, write) = (Arc::clone(&self.documents), Arc::clone(write));
        let view = self.view.clone();
        let still_leads = move |term| view.borrow().leadership.role == Role::Leader(term);
        let appended = offload(move || write.append(&documents, still_leads));
        appended.await.ok_or(WriteError::Stopping)?
    }

    async fn push(&self, write: &Write, document: &Arc<Document>) -> Written {
        let view = self.view();
        let ancestry: Arc<[Stamp]> = self
            .documents
            .ancestry(document.kind(), document.stamp())
            .into();
        let mut pushes: FuturesUnordered<_> = live_peers(&view)
            .into_iter()
            .filter_map(|id| {
                let (peer, document) = (self.peer(&id)?, Arc::clone(document));
                let push = Push::new(Arc::clone(&ancestry));
                let term = write.term();
                Some(async move { (push_to(peer, &id, term, &document, push).await, id) })
            })
            .collect();
        let mut stored = Vec::new();
        while let Some((pushed, id)) = pushes.next().await {
            match pushed {
                Pushed::Stored => stored.push(id),
                Pushed::NotStored {
                    learned: Some(later),
                } => self.learn(later).await,
                Pushed::NotStored { learned: None } | Pushed::Again => {}
            }
        }
        let written = write.pushed(document, &view, stored);
        self.acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(
                document.kind(),
                (document.stamp(), written.stored_by.clone()),
            );
        written
    }
}

async fn push_to(
    mut peer: Peer,
    id: &NodeId,
    term: Term,
    document: &Document,
    mut push: Push,
) -> Pushed {
    loop {
        let answer = peer.store(term, document, push.ancestry()).await;
        match push.answered(&answer) {
            Pushed::Again => {}
            pushed => {
                if pushed != Pushed::Stored {
                    tracing::warn!(node = %id, stamp = %document.stamp(), ?answer, "a push was not stored");
                }
                return pushed;
            }
        }
    }
}
