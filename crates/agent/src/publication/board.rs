//! Between those who call and the loop that publishes: what is asked of it, and what it says of itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hafleet_api::v1;
use hafleet_dns::publisher::{NamePlan, OperateError};
use tokio::sync::{Notify, oneshot, watch};

/// Where requests are put and the status hangs. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub(crate) struct DnsBoard {
    requests: Arc<Mutex<Vec<Request>>>,
    pinned: Arc<Notify>,
    /// None while this node does not publish.
    status: Arc<watch::Sender<Option<v1::ListDnsResponse>>>,
}

/// Something for the loop to do at its next round.
pub(super) enum Request {
    /// Somebody asks what a round would change.
    Plan(Reply<Vec<NamePlan>>),
    /// A name whose records somebody else made is taken over.
    Adopt(String, Reply<()>),
    /// These names are given up; all, if none is named.
    Release(Vec<String>, Reply<Vec<String>>),
}

/// Where somebody waits.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Undone>>;

/// Why nothing was done.
#[derive(Debug)]
pub(crate) enum Undone {
    /// This node does not lead, or no longer.
    NotLeading,
    /// The publisher does not do it.
    Refused(OperateError),
    /// The spec publishes nothing, or cannot be read.
    NothingPublished,
}

impl DnsBoard {
    /// What a round would change now, after all zones were read.
    pub(crate) async fn plan(&self) -> Result<Vec<NamePlan>, Undone> {
        self.pin(Request::Plan).await
    }

    /// Takes `name` over.
    pub(crate) async fn adopt(&self, name: String) -> Result<(), Undone> {
        self.pin(|reply| Request::Adopt(name, reply)).await
    }

    /// Gives `names` up, or all; which they were.
    pub(crate) async fn release(&self, names: Vec<String>) -> Result<Vec<String>, Undone> {
        self.pin(|reply| Request::Release(names, reply)).await
    }

    /// How names stand; none while this node does not publish.
    pub(crate) fn status(&self) -> Option<v1::ListDnsResponse> {
        self.status.borrow().clone()
    }

    async fn pin<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, Undone> {
        let (reply, answer) = oneshot::channel();
        self.requests().push(request(reply));
        self.pinned.notify_one();
        answer.await.unwrap_or(Err(Undone::NotLeading))
    }

    /// Takes all requests. Whoever waits for one that is dropped is told that this node does not lead.
    pub(super) fn take(&self) -> Vec<Request> {
        std::mem::take(&mut *self.requests())
    }

    /// Resolves when a request was put there since the last time. Cancel-safe.
    pub(super) async fn pinned(&self) {
        self.pinned.notified().await;
    }

    pub(super) fn show(&self, status: Option<v1::ListDnsResponse>) {
        self.status.send_replace(status);
    }

    fn requests(&self) -> MutexGuard<'_, Vec<Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
