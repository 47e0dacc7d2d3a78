//! Putting a cluster together: reads the store, makes the parts, starts their tasks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chitchat::{
    ChitchatConfig, ChitchatHandle, ChitchatId, ChitchatMessage, FailureDetectorConfig,
    spawn_chitchat,
};
use hafleet_model::report::NodeReport;
use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::PeerServer;
use crate::clock::{Clock, now_ms};
use crate::cluster::{ClusterError, Shared};
use crate::config::{ClusterConfig, KeyShares};
use crate::documents::Documents;
use crate::driver::Driver;
use crate::exchange::server::PeerService;
use crate::facts;
use crate::gather::Gatherer;
use crate::gossip::{FrameRules, GossipTransport, Inbox};
use crate::heard::Listener;
use crate::limits::MAX_MESSAGE_LEN;
use crate::links::Links;
use crate::membership::{Membership, MembershipConfig, OwnReport};
use crate::network::Network;
use crate::offload::offload;
use crate::repair::Repairer;
use crate::seeds::Seeds;
use crate::store::{Store, StoreError};
use crate::view::View;
use crate::write::Writer;

/// When gossip takes silence for death (the phi of its failure detector).
const PHI: f64 = 8.0;
/// Over how many of a node's last heartbeats the failure detector takes the mean. Each node keeps 8 bytes for each of every
/// other's, so that thousands would be megabytes in a large fleet.
const SAMPLES: usize = 100;
/// How long gossip keeps the dead: long enough for all to hear of it, and short enough that an agent that crashes
/// and restarts every few seconds does not fill everyone's digests with its past generations.
const GOSSIP_GRACE: Duration = Duration::from_secs(300);
/// Starts a node's part in the cluster.
pub(crate) async fn start(
    config: ClusterConfig,
    store: Arc<Store>,
    network: Arc<dyn Network>,
) -> Result<(Shared, PeerServer), ClusterError> {
    check_identity(&config, &*network)?;
    let parts = Parts::new(&config, store, network).await?;
    parts.run(config).await
}

fn check_identity(config: &ClusterConfig, network: &dyn Network) -> Result<(), ClusterError> {
    let identity = network.identity();
    if identity.fleet != config.fleet || identity.node_id() != Some(&config.node_id) {
        return Err(ClusterError::OtherIdentity {
            found: identity.to_string(),
            node: config.node_id.clone(),
            fleet: config.fleet.clone(),
        });
    }
    let granted = network.granted();
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
    links: Arc<Links>,
    network: Arc<dyn Network>,
    generation: u64,
    wake: Arc<Notify>,
    /// Told whenever gossip has dealt with a message.
    gossiped: Arc<Notify>,
    stop: CancellationToken,
}

impl Parts {
    async fn new(
        config: &ClusterConfig,
        store: Arc<Store>,
        network: Arc<dyn Network>,
    ) -> Result<Self, ClusterError> {
        let (wake, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let interval = config.timing.gossip_interval;
        let (node, limit) = (config.node_id.clone(), config.history_limit);
        let (of_store, of_wake) = (Arc::clone(&store), Arc::clone(&wake));
        let read = offload(move || {
            let generation = of_store.begin_generation(&node, now_ms())?;
            let documents = Documents::load(of_store, Clock::of_machine(), limit, of_wake)?;
            Ok::<_, StoreError>((generation, documents))
        });
        let (generation, documents) = read.await.ok_or(ClusterError::Stopping)??;
        let links = Links::new(
            Arc::clone(&network),
            config.address,
            interval,
            Arc::clone(&wake),
            stop.clone(),
        );
        let documents = Arc::new(documents);
        Ok(Self {
            store,
            documents,
            links,
            network,
            generation,
            wake,
            gossiped: Arc::default(),
            stop,
        })
    }

    async fn run(self, config: ClusterConfig) -> Result<(Shared, PeerServer), ClusterError> {
        let rules = FrameRules::new(
            config.fleet.clone(),
            config.node_id.clone(),
            self.generation,
        );
        let key_shares = config.key_shares.clone();
        let (inbox, received) = Inbox::new(rules.clone(), self.stop.clone());
        let report = own_report(&config, self.generation);
        let own = OwnReport::new(report, Arc::clone(&self.wake));
        let membership = self.membership(&config, &own).await?;
        let (view_sender, view) = watch::channel(Arc::new(membership.first_view()?));
        let chitchat = self.gossip(&config, received.frames).await?;
        let seeds = Seeds::start(
            config.seeds.clone(),
            Arc::clone(&self.wake),
            self.stop.clone(),
        );
        tokio::spawn(self.repairer(&config, view.clone()).run());
        tokio::spawn(self.gatherer(&config, view.clone()).run());
        let writer = self.writer(&config, view.clone());
        let driver = Driver {
            me: config.node_id,
            gossip_interval: config.timing.gossip_interval,
            chitchat: Arc::clone(&chitchat),
            rules,
            links: Arc::clone(&self.links),
            seeds,
            membership: Arc::new(std::sync::Mutex::new(membership)),
            view: view_sender,
            openings: received.openings,
            wake: self.wake,
            gossiped: self.gossiped,
            listener: Listener::new(config.timing.gossip_interval),
            looked_at: Instant::now(),
            stop: self.stop.clone(),
            published: BTreeMap::new(),
            store: self.store,
        };
        let (failed, failure) = watch::channel(None);
        let driver = spawn_watched(driver, chitchat, failed, self.stop.clone());
        let server = serve(&self.documents, &inbox, key_shares);
        let shared = Shared {
            documents: self.documents,
            writer,
            own,
            links: self.links,
            inbox,
            network: self.network,
            view,
            failure,
            driver: Mutex::new(Some(driver)),
            stop: self.stop,
        };
        Ok((shared, server))
    }

    async fn membership(
        &self,
        config: &ClusterConfig,
        own: &Arc<OwnReport>,
    ) -> Result<Membership, ClusterError> {
        let made_for = MembershipConfig {
            me: config.node_id.clone(),
            timing: config.timing,
            retention: config.member_retention,
            removed: config.removed,
        };
        let (store, documents) = (Arc::clone(&self.store), Arc::clone(&self.documents));
        let own = Arc::clone(own);
        let made = move || Membership::new(made_for, store, documents, own, Clock::of_machine());
        Ok(offload(made).await.ok_or(ClusterError::Stopping)??)
    }

    async fn gossip(
        &self,
        config: &ClusterConfig,
        frames: mpsc::Receiver<(SocketAddr, ChitchatMessage)>,
    ) -> Result<Arc<ChitchatHandle>, ClusterError> {
        let transport =
            GossipTransport::new(Arc::clone(&self.links), frames, Arc::clone(&self.gossiped));
        let config = chitchat_config(config, self.generation);
        let started = spawn_chitchat(config, Vec::new(), &transport).await;
        started.map(Arc::new).map_err(|error| ClusterError::Gossip {
            reason: error.to_string(),
        })
    }

    fn repairer(&self, config: &ClusterConfig, view: watch::Receiver<Arc<View>>) -> Repairer {
        Repairer {
            documents: Arc::clone(&self.documents),
            links: Arc::clone(&self.links),
            view,
            grace: config.timing.gossip_interval / 4,
            interval: config.timing.gossip_interval * 2,
            stop: self.stop.clone(),
        }
    }

    fn gatherer(&self, config: &ClusterConfig, view: watch::Receiver<Arc<View>>) -> Gatherer {
        Gatherer {
            documents: Arc::clone(&self.documents),
            links: Arc::clone(&self.links),
            view,
            pause: config.timing.gossip_interval * 2,
            stop: self.stop.clone(),
        }
    }

    fn writer(&self, config: &ClusterConfig, view: watch::Receiver<Arc<View>>) -> Writer {
        Writer {
            me: config.node_id.clone(),
            documents: Arc::clone(&self.documents),
            links: Arc::clone(&self.links),
            view,
            push_deadline: config.timing.push_deadline,
            ready: Default::default(),
            acknowledged: Default::default(),
        }
    }
}

fn serve(
    documents: &Arc<Documents>,
    inbox: &Inbox,
    key_shares: Option<Arc<dyn KeyShares>>,
) -> PeerServer {
    let service = PeerService {
        documents: Arc::clone(documents),
        inbox: inbox.clone(),
        key_shares,
    };
    PeerServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE_LEN)
        .max_encoding_message_size(MAX_MESSAGE_LEN)
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
                Ok(Ok(())) if stop.is_cancelled() => None,
                Ok(Ok(())) => Some(ClusterError::Driver { reason: "it returned".to_owned() }),
                Ok(Err(error)) => Some(error),
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
        addresses: config.addresses.clone(),
        weight: config.weight,
        zone: config.zone.clone(),
        is_witness: config.is_witness,
        instance: config.instance.clone(),
        version: config.version.clone(),
        sealing_key: config.sealing_key.clone(),
        ..facts::blank_report(config.node_id.clone(), generation, config.address)
    }
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
            sampling_window_size: SAMPLES,
        },
        marked_for_deletion_grace_period: GOSSIP_GRACE * 12,
        catchup_callback: None,
        // For its watchers alone, for whom it would copy all that all nodes say at each change. There are none.
        extra_liveness_predicate: Some(Box::new(|_| false)),
    }
}
