//! Gathering what lost: in the end every node keeps every conflict, so that any of them can list it and bring it back,
//! and no conflict is gone with the one node that found it (invariant I4). The rules are in [`rules`], pure; [`Gatherer`]
//! drives them.
//!
//! Gossip carries a digest over each node's conflicts. Where a peer's differs from ours, its list is asked for, and
//! what is not known here is fetched.

pub mod rules;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::documents::Documents;
use crate::exchange::client::{AskError, Peer};
use crate::links::Links;
use crate::offload::offload;
use crate::store::StoreError;
use crate::view::View;
use rules::{Gathering, Next, Visit};

/// How long one answer may take: the largest document over a slow line.
const DEADLINE: Duration = Duration::from_secs(60);

/// Why a peer's conflicts were not all taken in.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// Nobody could be asked.
    #[error("it is not connected")]
    NotConnected,
    /// It cannot be told yet what that conflict is here.
    #[error("this node's own line is behind")]
    Behind,
    /// The answer is of no use.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The disk refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The agent is stopping.
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

impl Gatherer {
    pub(crate) async fn run(mut self) {
        let mut gathering = Gathering::new(self.pause);
        loop {
            let view = Arc::clone(&self.view.borrow_and_update());
            let wait = match gathering.next(&view, &self.documents, Instant::now()) {
                Next::Visit(visit) => {
                    let stop = self.stop.clone();
                    let mut visit = visit;
                    let result = tokio::select! {
                        () = stop.cancelled() => return,
                        result = self.visit(&mut visit) => result,
                    };
                    gathering.ended(visit, result, Instant::now());
                    continue;
                }
                Next::Wait(wait) => wait,
            };
            let again = async {
                match wait {
                    None => std::future::pending().await,
                    Some(wait) => tokio::time::sleep(wait).await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = self.view.changed() => if changed.is_err() { return },
                () = again => {}
            }
        }
    }

    async fn visit(&self, visit: &mut Visit) -> Result<(), GatherError> {
        let channel = self.links.channel(visit.from());
        let mut peer = Peer::new(channel.ok_or(GatherError::NotConnected)?, DEADLINE);
        visit.listed(peer.conflicts(visit.kind()).await?);
        while let Some(stamp) = visit.next_stamp(&self.documents) {
            let fetched = peer.fetch(visit.kind(), Some(stamp)).await;
            let fetched = fetched.map(|(document, _)| document);
            let (documents, of_visit) = (Arc::clone(&self.documents), visit.clone());
            let taken = offload(move || of_visit.fetched(&documents, fetched)).await;
            taken.ok_or(GatherError::Stopping)??;
        }
        Ok(())
    }
}
