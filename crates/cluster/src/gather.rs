//! Gathering what lost: in the end every node keeps every conflict, so that any of them can list it and bring it back,
//! and no conflict is gone with the one node that found it (invariant I4).
//!
//! Gossip carries a digest over each node's conflicts. Where a peer's differs from ours, its list is asked for, and
//! what is not known here is fetched.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hafleet_model::{Digest, DocumentKind, NodeId};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::documents::{Documents, Gathered};
use crate::exchange::client::{AskError, Peer};
use crate::links::Links;
use crate::offload::offload;
use crate::store::StoreError;
use crate::view::View;

/// How long one answer may take: the largest document over a slow line.
const DEADLINE: Duration = Duration::from_secs(60);

/// Why a peer's conflicts were not all taken in.
#[derive(Debug, thiserror::Error)]
enum GatherError {
    #[error("it is not connected")]
    NotConnected,
    #[error("this node's own line is behind")]
    Behind,
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("this agent is stopping")]
    Stopping,
}

/// The task that takes in its peers' conflicts.
pub(crate) struct Gatherer {
    pub(crate) documents: Arc<Documents>,
    pub(crate) links: Arc<Links>,
    pub(crate) view: watch::Receiver<Arc<View>>,
    /// Between two attempts, when one has failed.
    pub(crate) pause: Duration,
    pub(crate) stop: CancellationToken,
}

/// The digest of each peer's conflicts of which all are known here, or that could not be had.
type Settled = HashMap<(NodeId, DocumentKind), Digest>;

impl Gatherer {
    pub(crate) async fn run(mut self) {
        let mut settled = Settled::new();
        let mut not_before = Instant::now();
        loop {
            let view = Arc::clone(&self.view.borrow_and_update());
            let mut is_done = true;
            if Instant::now() >= not_before {
                is_done = tokio::select! {
                    () = self.stop.cancelled() => return,
                    is_done = self.gather_all(&view, &mut settled) => is_done,
                };
                if !is_done {
                    not_before = Instant::now() + self.pause;
                }
            } else if self.differing(&view, &settled).next().is_some() {
                is_done = false;
            }
            let again = async {
                match is_done {
                    true => std::future::pending().await,
                    false => tokio::time::sleep_until(not_before).await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = self.view.changed() => if changed.is_err() { return },
                () = again => {}
            }
        }
    }

    /// Whose conflicts are not ours, and were not looked at yet.
    fn differing<'a>(
        &self,
        view: &'a View,
        settled: &Settled,
    ) -> impl Iterator<Item = (&'a NodeId, DocumentKind, Digest)> {
        let own = self.documents.lost();
        let theirs = view.live_peers().flat_map(|member| {
            let lost = member.lost.iter();
            lost.map(|(kind, digest)| (&member.report.id, *kind, *digest))
        });
        theirs.filter(move |(id, kind, digest)| {
            let is_settled = settled.get(&((*id).clone(), *kind)) == Some(digest);
            own.get(kind) != Some(digest) && !is_settled
        })
    }

    /// Whether nothing is left to be done.
    async fn gather_all(&self, view: &View, settled: &mut Settled) -> bool {
        let mut is_done = true;
        let differing: Vec<_> = self.differing(view, settled).collect();
        for (id, kind, digest) in differing {
            match self.gather_from(id, kind).await {
                Ok(()) => drop(settled.insert((id.clone(), kind), digest)),
                Err(error) => {
                    is_done = false;
                    tracing::debug!(%kind, node = %id, %error, "its conflicts could not be had, and are asked for again");
                }
            }
        }
        is_done
    }

    async fn gather_from(&self, id: &NodeId, kind: DocumentKind) -> Result<(), GatherError> {
        let channel = self.links.channel(id).ok_or(GatherError::NotConnected)?;
        let mut peer = Peer::new(channel, DEADLINE);
        for stamp in peer.conflicts(kind).await? {
            if self.documents.is_known(kind, stamp) {
                continue;
            }
            let document = match peer.fetch(kind, Some(stamp)).await {
                Ok((document, _)) => document,
                // It has dropped it since.
                Err(AskError::NotFound) => continue,
                Err(error) => return Err(error.into()),
            };
            let documents = Arc::clone(&self.documents);
            let gathered = offload(move || documents.gather(document)).await;
            match gathered.ok_or(GatherError::Stopping)?? {
                Gathered::Kept => {
                    tracing::warn!(%kind, %stamp, found_by = %id, "a revision lost against a later one");
                }
                Gathered::Known => {}
                Gathered::Ahead => return Err(GatherError::Behind),
            }
        }
        Ok(())
    }
}
