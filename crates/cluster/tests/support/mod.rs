//! A fleet in one process.
#![allow(dead_code, unreachable_pub, reason = "shared by several test programs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "only tests use it")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hafleet_cluster::{
    Cluster, ClusterConfig, Expect, LinkState, PeerServer, Role, Store, Timing, View, WriteRequest,
};
use hafleet_identity::{Authority, Credentials, IdentityFiles, Incoming, IssueRequest};
use hafleet_model::{DocumentKind, FleetName, NodeId};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// Nothing here may take longer.
const DEADLINE: Duration = Duration::from_secs(30);

/// A write of the spec.
pub fn write_spec(body: &str, expect: Expect) -> WriteRequest {
    WriteRequest {
        kind: DocumentKind::Spec,
        body: body.into(),
        expect,
        author: "ada (admin)".into(),
        comment: "test".into(),
        force: false,
    }
}

/// A running node. It has a runtime of its own, so that it can end as a process does: all at once.
pub struct Node {
    pub id: NodeId,
    pub address: SocketAddr,
    pub cluster: Cluster,
    runtime: Option<Runtime>,
}

impl Node {
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.cluster.view().borrow())
    }

    pub fn generation(&self) -> u64 {
        self.view().own().unwrap().report.generation
    }

    pub fn link_to(&self, address: SocketAddr) -> Option<LinkState> {
        let view = self.view();
        let member = view
            .members
            .iter()
            .find(|member| member.report.address == address);
        member.and_then(|member| member.link.clone())
    }

    pub async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let waited = tokio::time::timeout(DEADLINE, async {
            let mut view = self.cluster.view();
            while !condition(self) {
                // Documents do not change the view at once, so it is looked at regularly, too.
                let _ = tokio::time::timeout(Duration::from_millis(20), view.changed()).await;
            }
        });
        assert!(
            waited.await.is_ok(),
            "{}: {what} never came true: {:#?}",
            self.id,
            self.view()
        );
    }

    pub async fn until_conflict_is(&self, body: &str) {
        self.until("the conflict is listed and held", |node| {
            let conflicts = node.cluster.conflicts(DocumentKind::Spec);
            let [conflict] = conflicts.as_ref() else {
                return false;
            };
            let stamp = conflict.header.stamp;
            let lost = node.cluster.stamped(DocumentKind::Spec, stamp).unwrap();
            lost.unwrap().body() == body
        })
        .await;
    }

    pub async fn until_spec_is(&self, body: &str) {
        self.until("the spec is there", |node| {
            node.cluster
                .document(DocumentKind::Spec)
                .borrow()
                .as_ref()
                .is_some_and(|spec| spec.body() == body)
        })
        .await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What outlives a node's process.
struct Home {
    directory: TempDir,
    address: SocketAddr,
    credentials: Arc<Credentials>,
}

/// Nodes of one fleet, some of them running.
pub struct Fleet {
    authority: Authority,
    homes: BTreeMap<NodeId, Home>,
    running: BTreeMap<NodeId, Node>,
    timing: Timing,
}

impl Fleet {
    /// Starts `count` nodes that all have each other as seeds, and that move ten times as fast as in production.
    pub async fn of(count: usize) -> Self {
        let timing = Timing {
            settle_refused: Duration::from_millis(300),
            ..Timing::from_interval(Duration::from_millis(100))
        };
        Self::with_timing(count, timing).await
    }

    /// Starts `count` nodes that all have each other as seeds.
    pub async fn with_timing(count: usize, timing: Timing) -> Self {
        let (mut fleet, listeners) = Self::prepare(count, timing).await;
        for (id, listener) in listeners {
            fleet.start_on(&id, listener).await;
        }
        fleet
    }

    /// `count` nodes that all have each other as seeds, none of them started yet.
    pub async fn planned(count: usize) -> Self {
        let timing = Timing::from_interval(Duration::from_millis(100));
        Self::prepare(count, timing).await.0
    }

    async fn prepare(count: usize, timing: Timing) -> (Self, Vec<(NodeId, TcpListener)>) {
        let authority = Authority::create(FleetName::new("test").unwrap()).unwrap();
        let mut fleet = Self {
            authority,
            homes: BTreeMap::new(),
            running: BTreeMap::new(),
            timing,
        };
        let mut listeners = Vec::new();
        for number in 1..=count {
            let id = NodeId::new(format!("lb{number}")).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let home = fleet.home(&fleet.authority, &id, listener.local_addr().unwrap());
            fleet.homes.insert(id.clone(), home);
            listeners.push((id, listener));
        }
        (fleet, listeners)
    }

    fn home(&self, authority: &Authority, id: &NodeId, address: SocketAddr) -> Home {
        let issued = authority
            .issue(&IssueRequest::node(id.clone(), vec![address.ip()]))
            .unwrap();
        let pem = [
            authority.certificate_pem(),
            &issued.certificate_pem,
            &issued.key_pem,
        ]
        .map(str::as_bytes);
        let files = IdentityFiles::from_directory("test".as_ref());
        let credentials = Credentials::from_pem(pem, &files, std::time::SystemTime::now()).unwrap();
        Home {
            directory: tempfile::tempdir().unwrap(),
            address,
            credentials: Arc::new(credentials),
        }
    }

    async fn start_on(&mut self, id: &NodeId, listener: TcpListener) {
        let home = self.homes.get(id).unwrap();
        let seeds = self
            .homes
            .values()
            .map(|home| home.address.to_string())
            .collect();
        let node = start_node(id, home, seeds, listener, self.timing).await;
        self.running.insert(id.clone(), node);
    }

    /// Starts a node that was killed, on the address that it had.
    pub async fn start(&mut self, id: &NodeId) {
        let address = self.homes.get(id).unwrap().address;
        let listener = bind_again(address).await;
        self.start_on(id, listener).await;
    }

    /// Ends a node as `kill -9` would: connections and port close, and nobody is told.
    pub async fn kill(&mut self, id: &NodeId) {
        let node = self.running.remove(id).unwrap();
        drop(node);
        // Its store is free again when its last task has ended.
        let path = self
            .homes
            .get(id)
            .unwrap()
            .directory
            .path()
            .join("state.redb");
        let closed = tokio::time::timeout(DEADLINE, async {
            while Store::open(&path).is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(closed.await.is_ok(), "{id} does not let go of its store");
    }

    /// Takes its store from a node that was killed.
    pub fn wipe(&mut self, id: &NodeId) {
        self.homes.get_mut(id).unwrap().directory = tempfile::tempdir().unwrap();
    }

    /// All nodes, running or not.
    pub fn ids(&self) -> Vec<NodeId> {
        self.homes.keys().cloned().collect()
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.running.values()
    }

    pub fn node(&self, id: &NodeId) -> &Node {
        self.running.get(id).unwrap()
    }

    /// Waits until all running nodes name the same leader, and it agrees.
    pub async fn agreed_leader(&self) -> &Node {
        let agreed = tokio::time::timeout(DEADLINE, async {
            loop {
                if let Some(leader) = self.leader() {
                    return leader;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        match agreed.await {
            Ok(leader) => leader,
            Err(_) => panic!(
                "no leader: {:#?}",
                self.nodes().map(Node::view).collect::<Vec<_>>()
            ),
        }
    }

    fn leader(&self) -> Option<&Node> {
        let mut named = self.nodes().map(|node| node.view().leadership.clone());
        let first = named.next()?;
        let is_agreed = named.all(|other| other.leader == first.leader && other.term == first.term);
        let leader = self
            .running
            .get(first.leader.as_ref().filter(|_| is_agreed)?)?;
        matches!(leader.view().leadership.role, Role::Leader(_)).then_some(leader)
    }

    /// A node of the same fleet's name with this fleet as seeds, certified by another authority.
    pub async fn stranger(&self) -> Node {
        let other = Authority::create(FleetName::new("test").unwrap()).unwrap();
        let id = NodeId::new("stranger").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let home = self.home(&other, &id, listener.local_addr().unwrap());
        let seeds = self
            .homes
            .values()
            .map(|home| home.address.to_string())
            .collect();
        start_node(&id, &home, seeds, listener, self.timing).await
    }
}

async fn bind_again(address: SocketAddr) -> TcpListener {
    let bound = tokio::time::timeout(DEADLINE, async {
        loop {
            match TcpListener::bind(address).await {
                Ok(listener) => return listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    bound.await.unwrap()
}

async fn start_node(
    id: &NodeId,
    home: &Home,
    seeds: Vec<String>,
    listener: TcpListener,
    timing: Timing,
) -> Node {
    let config = ClusterConfig {
        seeds,
        timing,
        ..ClusterConfig::new(FleetName::new("test").unwrap(), id.clone(), home.address)
    };
    let store = Store::open(home.directory.path().join("state.redb")).unwrap();
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let credentials = Arc::clone(&home.credentials);
    let listener = listener.into_std().unwrap();
    let started = runtime.spawn(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        let incoming = Incoming::new(listener, &credentials).unwrap();
        let (cluster, peers) = Cluster::start(config, store, credentials).await.unwrap();
        tokio::spawn(serve(incoming, peers));
        cluster
    });
    let cluster = started.await.unwrap();
    Node {
        id: id.clone(),
        address: home.address,
        cluster,
        runtime: Some(runtime),
    }
}

async fn serve(incoming: Incoming, peers: PeerServer) {
    let _ = tonic::transport::Server::builder()
        .add_service(peers)
        .serve_with_incoming(incoming)
        .await;
}
