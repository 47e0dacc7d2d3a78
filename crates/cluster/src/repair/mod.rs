//! Catching up: fetching what peers hold and this node does not. The rules are in [`rules`], pure; [`Repairer`] drives
//! them.
//!
//! Pushes are fast and may miss a node; what peers say they hold never does. Bodies come from whoever has them, with
//! their digests verified.

pub mod rules;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hafleet_model::{DocumentKind, Stamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::documents::{AdoptError, Documents};
use crate::exchange::client::{AskError, Peer};
use crate::links::Links;
use crate::offload::offload;
use crate::store::StoreError;
use crate::view::View;
use rules::{Course, Fetch, Next, take_in};

/// How long one fetch may take: the largest document over a slow line.
const FETCH_DEADLINE: Duration = Duration::from_secs(60);
/// How many revisions of a document are fetched before the others have their turn.
const BATCH: usize = 64;

/// Why a repair did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// Nobody could be asked.
    #[error("no peer that holds it is connected")]
    NoHolder,
    /// The answer is of no use.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// What came cannot be taken in.
    #[error("what came does not fit: {0}")]
    Adopt(AdoptError),
    /// The disk refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The agent is stopping.
    #[error("this agent is stopping")]
    Stopping,
}

/// Fetches the newest revision that `peer` holds and takes it in, with its ancestry.
pub(crate) async fn fetch_newest(
    documents: &Arc<Documents>,
    peer: Peer,
    kind: DocumentKind,
) -> Result<(), RepairError> {
    fetch(documents, peer, kind, None).await
}

async fn fetch(
    documents: &Arc<Documents>,
    mut peer: Peer,
    kind: DocumentKind,
    stamp: Option<Stamp>,
) -> Result<(), RepairError> {
    let (document, ancestry) = peer.fetch(kind, stamp).await?;
    let documents = Arc::clone(documents);
    let taken = offload(move || take_in(&documents, document, &ancestry)).await;
    taken.ok_or(RepairError::Stopping)?
}

/// The task that keeps this node's documents up to its peers'.
pub(crate) struct Repairer {
    pub(crate) documents: Arc<Documents>,
    pub(crate) links: Arc<Links>,
    pub(crate) view: watch::Receiver<Arc<View>>,
    /// How long a push gets before it is taken for missed.
    pub(crate) grace: Duration,
    /// How often to look without being told of a change.
    pub(crate) interval: Duration,
    pub(crate) stop: CancellationToken,
}

impl Repairer {
    pub(crate) async fn run(mut self) {
        let mut courses =
            DocumentKind::ALL.map(|kind| Course::new(kind, self.grace, self.interval));
        loop {
            let mut wait = self.interval;
            let view = Arc::clone(&self.view.borrow_and_update());
            for course in &mut courses {
                if let Some(again) = self.attend(course, &view).await {
                    wait = wait.min(again);
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = self.view.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Does what is due for a document. Returns when to look again, if sooner than usual.
    async fn attend(&self, course: &mut Course, view: &View) -> Option<Duration> {
        for _ in 0..BATCH {
            match course.next(view, &self.documents, Instant::now()) {
                Next::Wait(again) => return again,
                Next::Fetch(mut fetch) => {
                    let is_fetched = self.carry_out(&mut fetch).await;
                    course.ended(fetch, is_fetched, Instant::now());
                }
            }
            if self.stop.is_cancelled() {
                return None;
            }
        }
        Some(Duration::ZERO)
    }

    async fn carry_out(&self, fetch: &mut Fetch) -> bool {
        while let Some(channel) = fetch.next_holder(|holder| self.links.channel(holder)) {
            let peer = Peer::new(channel, FETCH_DEADLINE);
            let (kind, stamp) = (fetch.kind(), fetch.stamp());
            let fetched = tokio::select! {
                () = self.stop.cancelled() => Err(RepairError::Stopping),
                fetched = self::fetch(&self.documents, peer, kind, Some(stamp)) => fetched,
            };
            match fetched {
                Ok(()) => return true,
                Err(error) => fetch.failed(error),
            }
        }
        false
    }
}
