//! Between those who call and the loop that leads: what is asked of it, and what it says of itself.

use std::sync::{Arc, Mutex, PoisonError};

use hafleet_api::v1;
use hafleet_discovery::{Answer, SourceError};
use hafleet_model::{Header, NodeId};
use tokio::sync::{Notify, oneshot, watch};

/// Where requests are put and the status hangs. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub(crate) struct Board {
    requests: Arc<Mutex<Vec<Request>>>,
    pinned: Arc<Notify>,
    /// None while this node does not ask.
    status: Arc<watch::Sender<Option<v1::ListSourcesResponse>>>,
}

/// Something for the loop to do at its next round.
pub(crate) enum Request {
    /// A node says what its own engine has.
    Publish {
        /// Whose it is.
        node: NodeId,
        /// What it has, or why that is not known.
        result: Result<Answer, SourceError>,
    },
    /// A person lets through what is held back of a backend.
    Confirm {
        /// Which backend.
        backend: String,
        /// Who.
        author: String,
        /// Where they wait.
        reply: oneshot::Sender<Result<Confirmed, Unconfirmed>>,
    },
}

/// What became of a confirmation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Confirmed {
    /// The servers that went.
    pub(crate) gone: Vec<String>,
    /// The newest endpoints after it.
    pub(crate) header: Option<Header>,
}

/// Why nothing was confirmed.
#[derive(Debug, Clone)]
pub(crate) enum Unconfirmed {
    /// This node does not lead, or no longer.
    NotLeading,
    /// No source is a source of that backend.
    UnknownBackend {
        /// Those that have sources.
        known: Vec<String>,
    },
    /// It could not be written.
    Unwritten(String),
}

impl Board {
    /// Puts a request there for the loop.
    pub(crate) fn pin(&self, request: Request) {
        self.requests().push(request);
        self.pinned.notify_one();
    }

    /// Has what is held back of `backend` let through, and waits until it is written.
    pub(crate) async fn confirm(
        &self,
        backend: String,
        author: String,
    ) -> Result<Confirmed, Unconfirmed> {
        let (reply, answer) = oneshot::channel();
        self.pin(Request::Confirm {
            backend,
            author,
            reply,
        });
        answer.await.unwrap_or(Err(Unconfirmed::NotLeading))
    }

    /// The sources; none while this node does not ask.
    pub(crate) fn status(&self) -> Option<v1::ListSourcesResponse> {
        self.status.borrow().clone()
    }

    /// Takes all requests.
    pub(super) fn take(&self) -> Vec<Request> {
        std::mem::take(&mut *self.requests())
    }

    /// Resolves when a request was put there since the last time. Cancel-safe.
    pub(super) async fn pinned(&self) {
        self.pinned.notified().await;
    }

    pub(super) fn show(&self, status: Option<v1::ListSourcesResponse>) {
        self.status.send_replace(status);
    }

    fn requests(&self) -> std::sync::MutexGuard<'_, Vec<Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
