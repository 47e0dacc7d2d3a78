//! The handle by which the rest of the agent uses the cluster, and the ways in which it can fail.

use std::sync::Arc;
use std::time::Duration;

use hafleet_identity::{ConnectError, Credentials};
use hafleet_model::report::NodeReport;
use hafleet_model::{Document, DocumentKind, FleetName, Header, NodeId, Revision, Stamp, Term};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::PeerServer;
use crate::assembly;
use crate::config::ClusterConfig;
use crate::documents::Documents;
use crate::exchange::client::Peer;
use crate::facts::MAX_TERM;
use crate::gossip::Inbox;
use crate::links::Links;
use crate::membership::OwnReport;
use crate::network::{Network, SecureNetwork};
use crate::offload::offload;
use crate::store::{Conflict, Store, StoreError};
use crate::view::View;
use crate::write::{Confirmed, Expect, Holding, WriteError, WriteRequest, Writer, Written};

/// How long a member may take to give a key.
const KEY_DEADLINE: Duration = Duration::from_secs(2);

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_millis(500);

/// Why a cluster could not be started, or came to its end.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The certificate is another's.
    #[error(
        "the certificate is of {found}, but this is node {node} of fleet {fleet}: issue one for it"
    )]
    OtherIdentity {
        /// Whom the certificate names.
        found: String,
        /// This node.
        node: NodeId,
        /// This fleet.
        fleet: FleetName,
    },
    /// The certificate does not grant the address that peers are told.
    #[error(
        "the certificate does not grant {address}, which peers are told to use: issue one that does, or advertise one of {granted}"
    )]
    AddressNotGranted {
        /// The advertised address.
        address: std::net::IpAddr,
        /// Those in the certificate.
        granted: String,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Gossip could not be started, or has ended.
    #[error("gossip has ended: {reason}")]
    Gossip {
        /// What was seen.
        reason: String,
    },
    /// The task that watches the fleet has ended.
    #[error("the cluster's task has ended: {reason}")]
    Driver {
        /// What was seen.
        reason: String,
    },
    /// The fleet listens to another run of this node.
    #[error(
        "the fleet knows a later run of this node (generation {found}, and this is {own}), and does not listen to this one: started again, it is above that. Should this come again and again, two agents run under this node's id"
    )]
    LaterRun {
        /// The generation of the later run.
        found: u64,
        /// The generation of this one.
        own: u64,
    },
    /// The fleet was told of this run what it never said.
    #[error(
        "a node told the fleet what this one never said, and the fleet does not hear this run any more: started again, it is heard. Warnings above name who passed it on; find the node that made it up, and revoke its certificate"
    )]
    SpokenFor,
    /// No such member.
    #[error("there is no member {node}")]
    UnknownMember {
        /// Who was asked for.
        node: NodeId,
    },
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The agent is stopping.
    #[error("this agent is stopping")]
    Stopping,
}

/// What [`Cluster::erase_bodies`] came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    /// How many bodies went.
    pub bodies: usize,
    /// Whether earlier revisions are yet to be fetched from peers, which may bring such bodies again.
    pub more_may_come: bool,
}

/// A node's part in the cluster. Cheap to clone; when the last clone is dropped, the node falls silent without a
/// farewell, as if it had died.
#[derive(Clone, Debug)]
pub struct Cluster {
    shared: Arc<Shared>,
}

/// What the handle reaches. The tasks hold their own parts of it, and end when it is dropped.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) documents: Arc<Documents>,
    pub(crate) writer: Writer,
    pub(crate) own: Arc<OwnReport>,
    pub(crate) links: Arc<Links>,
    pub(crate) inbox: Inbox,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) view: watch::Receiver<Arc<View>>,
    pub(crate) failure: watch::Receiver<Option<Arc<ClusterError>>>,
    pub(crate) driver: Mutex<Option<JoinHandle<()>>>,
    pub(crate) stop: CancellationToken,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Cluster {
    /// Joins the cluster. The returned service has to be served on `config.address` by the caller, over
    /// [`hafleet_identity::Incoming`]. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the certificate is another node's or does not grant the address, the store cannot be used, or gossip
    /// cannot be started.
    pub async fn start(
        config: ClusterConfig,
        store: Arc<Store>,
        credentials: Arc<Credentials>,
    ) -> Result<(Self, PeerServer), ClusterError> {
        Self::start_on(config, store, SecureNetwork::new(credentials)).await
    }

    /// Joins the cluster by a `network` of another kind than TCP and TLS. The returned service has to be served there,
    /// at `config.address`.
    ///
    /// # Errors
    /// As for [`Cluster::start`].
    pub async fn start_on(
        config: ClusterConfig,
        store: Arc<Store>,
        network: Arc<dyn Network>,
    ) -> Result<(Self, PeerServer), ClusterError> {
        let (parts, server) = assembly::start(config, store, network).await?;
        Ok((
            Self {
                shared: Arc::new(parts),
            },
            server,
        ))
    }

    /// The fleet as this node sees it, and how that changes.
    pub fn view(&self) -> watch::Receiver<Arc<View>> {
        self.shared.view.clone()
    }

    /// The newest revision of a document, and its successors.
    pub fn document(&self, kind: DocumentKind) -> watch::Receiver<Option<Arc<Document>>> {
        self.shared.documents.watch(kind)
    }

    /// Changes what this node says of itself, and publishes it at once. Who and where it is, what it holds and
    /// whether it claims to lead are the cluster's own to say; changes to those are ignored.
    pub fn report(&self, change: impl FnOnce(&mut NodeReport)) {
        self.shared.own.change(|facts| {
            let before = Arc::clone(&facts.report);
            let report = Arc::make_mut(&mut facts.report);
            change(report);
            report.id = before.id.clone();
            report.generation = before.generation;
            report.address = before.address;
            report.claim = before.claim;
            report.held = before.held.clone();
            report.is_witness = before.is_witness;
            report.is_settling = before.is_settling;
        });
    }

    /// Has this node lead no more, for `reason`, until that is taken back with none: it is about to go.
    pub fn resign(&self, reason: Option<&str>) {
        self.shared.own.resign(reason.map(str::to_owned));
    }

    /// Why documents could not be written down when that was last tried; none if they were, or if it is long ago.
    pub fn storage_trouble(&self) -> Option<String> {
        self.shared.documents.trouble()
    }

    /// Takes note of a term that was met outside the cluster, where a leader leaves its mark. It counts as seen from then
    /// on: a leader of a lower one claims anew above it. Terms that no leader can have are let pass.
    ///
    /// # Errors
    /// When it could not be written down; it does not count then.
    pub async fn note_term(&self, term: Term) -> Result<(), StoreError> {
        if term > MAX_TERM {
            tracing::error!(%term, "a term that no leader can have was met, and is not noted");
            return Ok(());
        }
        let documents = Arc::clone(&self.shared.documents);
        if let Some(raised) = offload(move || documents.raise_term(term)).await {
            raised?;
        }
        // The driver looks at once.
        self.shared.own.change(|_| {});
        Ok(())
    }

    /// Writes a document. Only the leader can; the error names it.
    ///
    /// # Errors
    /// When this node does not lead, too few nodes are live, something else is there than was expected, or the store
    /// fails. Nothing is written then.
    pub async fn write(&self, request: WriteRequest) -> Result<Written, WriteError> {
        self.shared.writer.write(request).await
    }

    /// Which nodes have stored the revision `stamp`, as its leader or gossip knows. Waits for up to `patience` until it is
    /// certain to stay, since gossip may lag behind.
    pub async fn holding(&self, kind: DocumentKind, stamp: Stamp, patience: Duration) -> Holding {
        let deadline = tokio::time::Instant::now() + patience;
        let mut view = self.view();
        loop {
            view.mark_unchanged();
            let holding = self.shared.writer.holding(kind, stamp);
            if holding.is_committed {
                return holding;
            }
            let changed = tokio::time::timeout_at(deadline, view.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                return holding;
            }
        }
    }

    /// As [`Cluster::holding`], of the newest revision. When that is not certain to stay, the leader writes the same again,
    /// as `author`: what comes after it in its own term makes it so. A revision of an earlier leader has no other way to
    /// become certain while a node is missing.
    pub async fn confirm(&self, newest: &Document, author: &str, patience: Duration) -> Confirmed {
        let (kind, revision) = (newest.kind(), newest.revision());
        let found = Confirmed {
            header: newest.header().clone(),
            holding: self.holding(kind, newest.stamp(), patience).await,
        };
        if found.holding.is_committed {
            return found;
        }
        let again = WriteRequest {
            kind,
            body: newest.body().into(),
            expect: Expect::Revision(revision),
            author: author.to_owned(),
            comment: format!("{revision} again, so that it stays"),
            force: false,
        };
        match self.write(again).await {
            Ok(written) => Confirmed {
                holding: Holding {
                    nodes: written.stored_by,
                    known: written.known_members,
                    is_committed: written.committed,
                },
                header: written.header,
            },
            Err(error) => {
                tracing::info!(%kind, %error, "the newest revision could not be made certain to stay");
                found
            }
        }
    }

    /// The headers of a document's line that this node holds, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn history(&self, kind: DocumentKind) -> Result<Vec<Header>, StoreError> {
        self.shared.documents.history(kind)
    }

    /// A revision of a document's line, if this node holds it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn revision(
        &self,
        kind: DocumentKind,
        revision: Revision,
    ) -> Result<Option<Document>, StoreError> {
        self.shared.documents.revision(kind, revision)
    }

    /// The revisions that were stored anywhere in the fleet and lost against others, lowest first. Every node gathers
    /// them from its peers.
    pub fn conflicts(&self, kind: DocumentKind) -> Arc<[Conflict]> {
        self.shared.documents.conflicts(kind)
    }

    /// Exactly the revision `stamp`, be it in the line or in conflict.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn stamped(
        &self,
        kind: DocumentKind,
        stamp: Stamp,
    ) -> Result<Option<Document>, StoreError> {
        self.shared.documents.stamped(kind, stamp)
    }

    /// Asks live members for the key `id`, sealed to `recipient`, one after the other and the leader first, until
    /// `accept` takes an answer; whether it did.
    pub async fn ask_for_key(
        &self,
        id: &str,
        recipient: &str,
        mut accept: impl FnMut(&str) -> bool,
    ) -> bool {
        let view = Arc::clone(&self.shared.view.borrow());
        let leader = view.leadership.leader.as_ref();
        let mut peers: Vec<_> = view.live_peers().map(|member| &member.report.id).collect();
        peers.sort_by_key(|id| leader != Some(*id));
        for peer in peers {
            let Some(channel) = self.shared.links.channel(peer) else {
                continue;
            };
            match Peer::new(channel, KEY_DEADLINE)
                .share_key(id, recipient)
                .await
            {
                Ok(sealed) if accept(&sealed) => return true,
                Ok(_) => {
                    tracing::warn!(node = %peer, key = id, "what was sent for a key is not that key");
                }
                Err(error) => {
                    tracing::debug!(node = %peer, key = id, %error, "a key could not be had");
                }
            }
        }
        false
    }

    /// Erases the bodies of revisions of `kind` that are not the newest and for which `is_to_go` holds, and leaves
    /// nothing of them in the file. The revisions stay in history and conflicts.
    ///
    /// # Errors
    /// When the store cannot be read or written; what went is gone all the same.
    pub async fn erase_bodies(
        &self,
        kind: DocumentKind,
        is_to_go: fn(&str) -> bool,
    ) -> Result<Erased, StoreError> {
        let documents = Arc::clone(&self.shared.documents);
        let erase = move || {
            // Before: what comes in between may be found or not.
            let more_may_come = !documents.missing(kind)?.is_empty();
            let bodies = documents.erase_bodies(kind, is_to_go)?;
            Ok(Erased {
                bodies,
                more_may_come,
            })
        };
        offload(erase).await.unwrap_or(Ok(Erased::default()))
    }

    /// A channel to a member's gRPC port: the connection that is there, or one that is made when it is used.
    ///
    /// # Errors
    /// When there is no such member.
    pub fn channel(&self, node: &NodeId) -> Result<Channel, ClusterError> {
        if let Some(channel) = self.shared.links.channel(node) {
            return Ok(channel);
        }
        let view = Arc::clone(&self.shared.view.borrow());
        let member = view
            .member(node)
            .ok_or_else(|| ClusterError::UnknownMember { node: node.clone() })?;
        let address = member.report.address;
        Ok(self.shared.network.connect_lazy(address, node)?)
    }

    /// How many gossip frames of peers were refused, for metrics.
    pub fn refused_frames(&self) -> u64 {
        self.shared.inbox.refused()
    }

    /// Says goodbye and leaves: peers see at once that this node is gone. The service answers no more.
    pub async fn shutdown(&self) {
        self.shared.own.change(|facts| {
            facts.has_left = true;
            Arc::make_mut(&mut facts.report).claim = None;
        });
        // The farewell is one push of gossip. There is no answer to it, so it gets a fixed time and no more.
        tokio::time::sleep(FAREWELL).await;
        self.shared.stop.cancel();
        if let Some(driver) = self.shared.driver.lock().await.take() {
            // It ends by the stop, and a panic was reported by then.
            let _ = driver.await;
        }
    }

    /// Resolves when something that the cluster cannot do without has died; never otherwise. The agent should end
    /// then, and be started anew.
    pub async fn failed(&self) -> Arc<ClusterError> {
        let mut failure = self.shared.failure.clone();
        let failed = failure
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|failure| failure.clone());
        match failed {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }
}
