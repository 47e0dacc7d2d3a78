//! A fleet in one process.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hafleet_cluster::{
    Cluster, ClusterConfig, Expect, Role, Store, StoreError, Timing, View, WriteRequest, Written,
};
use hafleet_identity::Identity;
use hafleet_model::{DocumentKind, FleetName, NodeId, Stamp};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::network::MemoryNetwork;

/// Every node's port.
const PORT: u16 = 7440;
/// How many nodes each node has as seeds, as people configure it.
const SEEDS: usize = 3;
/// How long the tasks of a process that has died may take to end.
const RELEASE: Duration = Duration::from_secs(10);
/// How many nodes are started at once at most: all of them share this machine, on which a larger fleet would be busy with
/// nothing but greetings.
const AT_ONCE: usize = 50;
/// And how far apart those of a larger fleet start.
const BETWEEN_STARTS: Duration = Duration::from_millis(25);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);

/// A running node.
pub struct MemoryNode {
    /// Its id.
    pub id: NodeId,
    /// Where it is.
    pub address: SocketAddr,
    /// Its part in the cluster.
    pub cluster: Cluster,
    serving: JoinHandle<()>,
}

impl MemoryNode {
    /// The fleet as it sees it.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.cluster.view().borrow())
    }

    /// Whether it counts on `other`.
    pub fn counts_on(&self, other: &NodeId) -> bool {
        let view = self.view();
        view.member(other)
            .is_some_and(|member| member.liveness.is_live())
    }

    /// The newest revision of the spec that it has stored.
    pub fn spec(&self) -> Option<Stamp> {
        let spec = self.cluster.document(DocumentKind::Spec).borrow().clone();
        spec.map(|spec| spec.stamp())
    }
}

/// Nodes of one fleet, numbered from 1, some of them running.
pub struct MemoryFleet {
    network: MemoryNetwork,
    directory: TempDir,
    size: usize,
    timing: Timing,
    running: BTreeMap<usize, MemoryNode>,
}

impl MemoryFleet {
    /// Starts `size` nodes, whose stores are in memory where the machine has a file system there.
    pub async fn start(size: usize, timing: Timing) -> Self {
        let in_memory = Path::new("/dev/shm");
        let directory = if in_memory.is_dir() {
            tempfile::tempdir_in(in_memory)
        } else {
            tempfile::tempdir()
        };
        let mut fleet = Self {
            network: MemoryNetwork::default(),
            directory: directory.expect("a temporary directory"),
            size,
            timing,
            running: BTreeMap::new(),
        };
        for number in 1..=size {
            fleet.start_node(number).await;
            if size > AT_ONCE {
                tokio::time::sleep(BETWEEN_STARTS).await;
            }
        }
        fleet
    }

    /// Starts node `number`, with what it had stored if it ran before.
    pub async fn start_node(&mut self, number: usize) {
        let (id, address) = (id(number), address(number));
        // What a lost machine still holds open.
        self.network.kill(address);
        let name = FleetName::new("shop").expect("a name");
        let identity = Identity::node(name.clone(), id.clone());
        let (port, incoming) = self.network.listen(identity, address);
        let seeds = (1..=SEEDS.min(self.size)).map(|seed| self::address(seed).to_string());
        let config = ClusterConfig {
            seeds: seeds.collect(),
            timing: self.timing,
            ..ClusterConfig::new(name, id.clone(), address)
        };
        let path = self.directory.path().join(format!("{id}.redb"));
        let store = until("the store is free", RELEASE, || match Store::open(&path) {
            Ok(store) => Some(store),
            Err(StoreError::InUse { .. }) => None,
            Err(error) => panic!("{error}"),
        });
        let store = store.await;
        let (cluster, peers) = Cluster::start_on(config, store, port)
            .await
            .expect("a node that starts");
        let serving = tokio::spawn(async move {
            let server = tonic::transport::Server::builder().add_service(peers);
            // It ends with the port.
            let _ = server.serve_with_incoming(incoming).await;
        });
        let node = MemoryNode {
            id,
            address,
            cluster,
            serving,
        };
        self.running.insert(number, node);
    }

    /// The network, for faults.
    pub fn network(&self) -> &MemoryNetwork {
        &self.network
    }

    /// The running nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &MemoryNode> {
        self.running.values()
    }

    /// Node `number`, which must run.
    pub fn node(&self, number: usize) -> &MemoryNode {
        self.running.get(&number).expect("a node that runs")
    }

    /// The process of node `number` dies.
    pub fn kill(&mut self, number: usize) -> NodeId {
        let node = self.running.remove(&number).expect("a node that runs");
        self.network.kill(node.address);
        node.serving.abort();
        node.id
    }

    /// The machine of node `number` is gone: nobody hears that its process is.
    pub fn lose(&mut self, number: usize) -> NodeId {
        let node = self.running.remove(&number).expect("a node that runs");
        self.network.cut_off(&[node.address], usize::MAX);
        node.serving.abort();
        node.id
    }

    /// All processes die.
    pub fn end(&mut self) {
        let numbers: Vec<_> = self.running.keys().copied().collect();
        for number in numbers {
            self.kill(number);
        }
    }

    /// The number of the node that all running nodes say leads, and which agrees; none while that is open.
    pub fn leader(&self) -> Option<usize> {
        let mut standings = self.nodes().map(|node| node.view().leadership.clone());
        let first = standings.next()?;
        let is_agreed =
            standings.all(|other| other.leader == first.leader && other.term == first.term);
        let leader = first.leader.filter(|_| is_agreed)?;
        let (number, node) = self.running.iter().find(|(_, node)| node.id == leader)?;
        matches!(node.view().leadership.role, Role::Leader(_)).then_some(*number)
    }

    /// Waits until all running nodes count on each other and agree who leads; returns the leader's number.
    ///
    /// # Panics
    /// When that takes longer than `limit`.
    pub async fn until_whole(&self, limit: Duration) -> usize {
        let count = self.running.len();
        until("the fleet is whole", limit, || {
            let is_whole = self.nodes().all(|node| {
                node.view().live_count() == count && node.view().unmet_seeds.is_empty()
            });
            is_whole.then(|| self.leader()).flatten()
        })
        .await
    }

    /// Waits until no running node counts on `id`; returns how long that took.
    ///
    /// # Panics
    /// When that takes longer than `limit`.
    pub async fn until_noticed(&self, id: &NodeId, limit: Duration) -> Duration {
        let begun = Instant::now();
        until("all have noticed", limit, || {
            let is_noticed = !self.nodes().any(|node| node.counts_on(id));
            is_noticed.then_some(())
        })
        .await;
        begun.elapsed()
    }

    /// Has the leader write a spec.
    ///
    /// # Errors
    /// Why it was refused, in words.
    pub async fn write(&self, leader: usize, body: &str) -> Result<Written, String> {
        let request = WriteRequest {
            kind: DocumentKind::Spec,
            body: body.into(),
            expect: Expect::Any,
            author: "ada (admin)".into(),
            comment: "a fleet in memory".into(),
            force: false,
        };
        let written = self.node(leader).cluster.write(request).await;
        written.map_err(|error| error.to_string())
    }

    /// Waits until all running nodes have stored `stamp`.
    ///
    /// # Panics
    /// When that takes longer than `limit`.
    pub async fn until_stored(&self, stamp: Stamp, limit: Duration) {
        until("all have stored the revision", limit, || {
            let is_stored = self.nodes().all(|node| node.spec() == Some(stamp));
            is_stored.then_some(())
        })
        .await;
    }
}

/// Asks `probe` again and again until it gives a value.
///
/// # Panics
/// When it has not within `limit`.
pub async fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(POLL).await;
    }
}

fn id(number: usize) -> NodeId {
    NodeId::new(format!("lb{number:04}")).expect("an id")
}

fn address(number: usize) -> SocketAddr {
    let base = u32::from(Ipv4Addr::new(10, 0, 0, 0));
    let number = u32::try_from(number).expect("a small number");
    SocketAddr::new(Ipv4Addr::from(base + number).into(), PORT)
}
