//! Starting a node's part in the cluster, and the handle by which the rest of the agent uses it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chitchat::{ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, spawn_chitchat};
use hafleet_identity::{ConnectError, Credentials, Expected, connect_lazy};
use hafleet_model::report::NodeReport;
use hafleet_model::{Document, DocumentKind, FleetName, Header, NodeId, Revision, Stamp};
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::PeerServer;
use crate::config::ClusterConfig;
use crate::documents::Documents;
use crate::driver::{Driver, OwnReport};
use crate::exchange::server::PeerService;
use crate::facts;
use crate::gossip::{FrameRules, GossipTransport, Inbox};
use crate::leadership::{Leadership, Role};
use crate::limits::MAX_MESSAGE_LEN;
use crate::links::Links;
use crate::offload::offload;
use crate::repair::Repairer;
use crate::roster::Roster;
use crate::seeds::Seeds;
use crate::store::{Conflict, Store, StoreError};
use crate::view::{Standing, View};
use crate::write::{WriteError, WriteRequest, Writer, Written};

/// When gossip takes silence for death (the phi of its failure detector).
const PHI: f64 = 8.0;
/// How long gossip keeps the dead: long enough for all to hear of it, and short enough that an agent that crashes
/// and restarts every few seconds does not fill everyone's digests with its past generations.
const GOSSIP_GRACE: Duration = Duration::from_secs(300);
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

/// A node's part in the cluster. Cheap to clone; when the last clone is dropped, the node falls silent without a
/// farewell, as if it had died.
#[derive(Clone, Debug)]
pub struct Cluster {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    documents: Arc<Documents>,
    writer: Writer,
    own: Arc<OwnReport>,
    links: Arc<Links>,
    inbox: Inbox,
    credentials: Arc<Credentials>,
    view: watch::Receiver<Arc<View>>,
    failure: watch::Receiver<Option<Arc<ClusterError>>>,
    driver: Mutex<Option<JoinHandle<()>>>,
    stop: CancellationToken,
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
        check_identity(&config, &credentials)?;
        let parts = Parts::new(&config, store, credentials).await?;
        parts.run(config).await
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
            let before = facts.report.clone();
            change(&mut facts.report);
            facts.report = NodeReport {
                id: before.id,
                generation: before.generation,
                address: before.address,
                claim: before.claim,
                held: before.held,
                ..facts.report.clone()
            };
        });
    }

    /// Writes a document. Only the leader can; the error names it.
    ///
    /// # Errors
    /// When this node does not lead, too few nodes are live, something else is there than was expected, or the store
    /// fails. Nothing is written then.
    pub async fn write(&self, request: WriteRequest) -> Result<Written, WriteError> {
        self.shared.writer.write(request).await
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

    /// The revisions that this node stored and that lost against others.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn conflicts(&self, kind: DocumentKind) -> Result<Vec<Conflict>, StoreError> {
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
        let target = member.report.address.to_string();
        Ok(connect_lazy(
            &self.shared.credentials,
            &target,
            Expected::Node(node.clone()),
        )?)
    }

    /// How many gossip frames of peers were refused, for metrics.
    pub fn refused_frames(&self) -> u64 {
        self.shared.inbox.refused()
    }

    /// Says goodbye and leaves: peers see at once that this node is gone. The service answers no more.
    pub async fn shutdown(&self) {
        self.shared.own.change(|facts| {
            facts.has_left = true;
            facts.report.claim = None;
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

fn check_identity(config: &ClusterConfig, credentials: &Credentials) -> Result<(), ClusterError> {
    let identity = credentials.identity();
    if identity.fleet != config.fleet || identity.node_id() != Some(&config.node_id) {
        return Err(ClusterError::OtherIdentity {
            found: identity.to_string(),
            node: config.node_id.clone(),
            fleet: config.fleet.clone(),
        });
    }
    let granted = &credentials.facts().addresses;
    if !granted.is_empty() && !granted.contains(&config.address.ip()) {
        let granted: Vec<_> = granted.iter().map(ToString::to_string).collect();
        return Err(ClusterError::AddressNotGranted {
            address: config.address.ip(),
            granted: granted.join(", "),
        });
    }
    Ok(())
}

/// What a cluster is put together from.
struct Parts {
    store: Arc<Store>,
    documents: Arc<Documents>,
    roster: Roster,
    links: Arc<Links>,
    credentials: Arc<Credentials>,
    generation: u64,
    wake: Arc<Notify>,
    stop: CancellationToken,
}

impl Parts {
    async fn new(
        config: &ClusterConfig,
        store: Arc<Store>,
        credentials: Arc<Credentials>,
    ) -> Result<Self, ClusterError> {
        let (wake, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let interval = config.timing.gossip_interval;
        let (node, retention, limit) = (
            config.node_id.clone(),
            config.member_retention,
            config.history_limit,
        );
        let (of_store, of_wake) = (Arc::clone(&store), Arc::clone(&wake));
        let read = offload(move || {
            let generation = of_store.begin_generation(&node)?;
            let documents = Documents::load(Arc::clone(&of_store), limit, of_wake)?;
            let roster = Roster::load(of_store, retention, interval)?;
            Ok::<_, StoreError>((generation, documents, roster))
        });
        let (generation, documents, roster) = read.await.ok_or(ClusterError::Stopping)??;
        let links = Links::new(
            Arc::clone(&credentials),
            config.address,
            interval,
            Arc::clone(&wake),
            stop.clone(),
        );
        let documents = Arc::new(documents);
        Ok(Self {
            store,
            documents,
            roster,
            links,
            credentials,
            generation,
            wake,
            stop,
        })
    }

    async fn run(self, config: ClusterConfig) -> Result<(Cluster, PeerServer), ClusterError> {
        let rules = FrameRules::new(
            config.fleet.clone(),
            config.node_id.clone(),
            self.generation,
        );
        let (inbox, received) = Inbox::new(rules.clone(), self.stop.clone());
        let report = own_report(&config, self.generation);
        let own = OwnReport::new(report.clone(), Arc::clone(&self.wake));
        let leadership = Leadership::new(config.node_id.clone(), config.timing, Instant::now());
        let (view_sender, view) = watch::channel(Arc::new(first_view(
            report,
            leadership.role(),
            &self.store,
        )?));
        let transport = GossipTransport::new(
            Arc::clone(&self.links),
            received.frames,
            Arc::clone(&self.wake),
        );
        let chitchat = spawn_chitchat(
            chitchat_config(&config, self.generation),
            Vec::new(),
            &transport,
        );
        let chitchat = Arc::new(chitchat.await.map_err(|error| ClusterError::Gossip {
            reason: error.to_string(),
        })?);
        let (failed, failure) = watch::channel(None);
        let driver = Driver {
            me: config.node_id.clone(),
            gossip_interval: config.timing.gossip_interval,
            chitchat: Arc::clone(&chitchat),
            rules,
            documents: Arc::clone(&self.documents),
            links: Arc::clone(&self.links),
            seeds: Seeds::start(
                config.seeds.clone(),
                Arc::clone(&self.wake),
                self.stop.clone(),
            ),
            roster: self.roster,
            own: Arc::clone(&own),
            leadership,
            view: view_sender,
            openings: received.openings,
            wake: Arc::clone(&self.wake),
            stop: self.stop.clone(),
            published: std::collections::BTreeMap::new(),
            store_trouble: None,
        };
        let repairer = Repairer {
            documents: Arc::clone(&self.documents),
            links: Arc::clone(&self.links),
            view: view.clone(),
            grace: config.timing.gossip_interval / 4,
            interval: config.timing.gossip_interval * 2,
            stop: self.stop.clone(),
        };
        let driver = spawn_watched(driver, chitchat, failed, self.stop.clone());
        tokio::spawn(repairer.run());
        let service = PeerService {
            documents: Arc::clone(&self.documents),
            inbox: inbox.clone(),
        };
        let writer = Writer {
            me: config.node_id,
            documents: Arc::clone(&self.documents),
            links: Arc::clone(&self.links),
            view: view.clone(),
            push_deadline: config.timing.push_deadline,
            ready: Default::default(),
        };
        let shared = Shared {
            documents: self.documents,
            writer,
            own,
            links: self.links,
            inbox,
            credentials: self.credentials,
            view,
            failure,
            driver: Mutex::new(Some(driver)),
            stop: self.stop,
        };
        let server = PeerServer::new(service)
            .max_decoding_message_size(MAX_MESSAGE_LEN)
            .max_encoding_message_size(MAX_MESSAGE_LEN);
        Ok((
            Cluster {
                shared: Arc::new(shared),
            },
            server,
        ))
    }
}

/// Runs the driver, and reports when it or gossip ends before the agent does.
fn spawn_watched(
    driver: Driver,
    chitchat: Arc<ChitchatHandle>,
    failed: watch::Sender<Option<Arc<ClusterError>>>,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut driving = tokio::spawn(driver.run());
        let error = tokio::select! {
            ended = &mut driving => match ended {
                Ok(()) if stop.is_cancelled() => None,
                Ok(()) => Some(ClusterError::Driver { reason: "it returned".to_owned() }),
                Err(error) => Some(ClusterError::Driver { reason: error.to_string() }),
            },
            ended = chitchat.termination_watcher() => Some(ClusterError::Gossip {
                reason: ended.err().map_or_else(|| "it returned".to_owned(), |error| error.to_string()),
            }),
        };
        if let Some(error) = error {
            tracing::error!(%error, "the cluster cannot go on");
            failed.send_replace(Some(Arc::new(error)));
        }
        stop.cancelled().await;
        chitchat.abort();
        driving.abort();
    })
}

fn own_report(config: &ClusterConfig, generation: u64) -> NodeReport {
    NodeReport {
        data_address: config.data_address,
        zone: config.zone.clone(),
        version: config.version.clone(),
        ..facts::blank_report(config.node_id.clone(), generation, config.address)
    }
}

fn first_view(report: NodeReport, role: &Role, store: &Store) -> Result<View, StoreError> {
    let leadership = Standing::of(role, &report.id, store.highest_term()?);
    let own = crate::view::Member {
        report,
        liveness: crate::view::Liveness::Live,
        last_seen_ms: crate::clock::now_ms(),
        is_self: true,
        link: None,
    };
    Ok(View {
        members: vec![own],
        leadership,
    })
}

fn chitchat_config(config: &ClusterConfig, generation: u64) -> ChitchatConfig {
    let interval = config.timing.gossip_interval;
    ChitchatConfig {
        chitchat_id: ChitchatId::new(config.node_id.as_str(), generation, config.address),
        cluster_id: config.fleet.to_string(),
        gossip_interval: interval,
        listen_addr: config.address,
        // The links know the seeds and introduce whoever answers.
        seed_nodes: Vec::new(),
        failure_detector_config: FailureDetectorConfig {
            phi_threshold: PHI,
            initial_interval: interval,
            max_interval: interval * 10,
            dead_node_grace_period: GOSSIP_GRACE,
            ..FailureDetectorConfig::default()
        },
        marked_for_deletion_grace_period: GOSSIP_GRACE * 12,
        catchup_callback: None,
        extra_liveness_predicate: None,
    }
}
