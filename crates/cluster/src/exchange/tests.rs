//! What a node makes of peers that misbehave, over real connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chitchat::{ChitchatId, Serializable as _};
use hafleet_identity::{
    Authority, Credentials, Expected, IdentityFiles, Incoming, IssueRequest, PersonName, Principal,
    connect,
};
use hafleet_model::{Digest, FleetName, NodeId};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};

use super::client::peer_client;
use super::wire;
use crate::links::Links;
use crate::network::SecureNetwork;
use crate::proto::peer_client::PeerClient;
use crate::view::LinkState;
use crate::{
    Cluster, ClusterConfig, ClusterError, Expect, Store, Timing, View, WriteError, WriteRequest,
    proto,
};

struct Scene {
    authority: Arc<Authority>,
    cluster: Cluster,
    store: Arc<Store>,
    address: SocketAddr,
    serving: JoinHandle<()>,
    _directory: TempDir,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn credentials(authority: &Authority, request: &IssueRequest) -> Arc<Credentials> {
    let issued = authority.issue(request).unwrap();
    let pem = [
        authority.certificate_pem(),
        &issued.certificate_pem,
        &issued.key_pem,
    ]
    .map(str::as_bytes);
    let files = IdentityFiles::from_directory("test".as_ref());
    Arc::new(Credentials::from_pem(pem, &files, SystemTime::now()).unwrap())
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

impl Scene {
    /// One node of a new fleet.
    async fn new() -> Self {
        let authority = Arc::new(Authority::create(FleetName::new("shop").unwrap()).unwrap());
        Self::start(authority, "me", Vec::new()).await
    }

    /// Another node of this one's fleet.
    async fn join(&self, name: &str) -> Self {
        Self::start(
            Arc::clone(&self.authority),
            name,
            vec![self.address.to_string()],
        )
        .await
    }

    async fn start(authority: Arc<Authority>, name: &str, seeds: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let own = credentials(
            &authority,
            &IssueRequest::node(node(name), vec![address.ip()]),
        );
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("state.redb")).unwrap();
        let config = ClusterConfig {
            seeds,
            timing: Timing::from_interval(Duration::from_millis(100)),
            ..ClusterConfig::new(authority.fleet().clone(), node(name), address)
        };
        let incoming = Incoming::new(listener, &own).unwrap();
        let (cluster, peers) = Cluster::start(config, Arc::clone(&store), own)
            .await
            .unwrap();
        let serving = tokio::spawn(async move {
            let _ = tonic::transport::Server::builder()
                .add_service(peers)
                .serve_with_incoming(incoming)
                .await;
        });
        Self {
            authority,
            cluster,
            store,
            address,
            serving,
            _directory: directory,
        }
    }

    async fn until(&self, condition: impl FnMut(&Arc<View>) -> bool) {
        let mut view = self.cluster.view();
        let waited = tokio::time::timeout(Duration::from_secs(20), view.wait_for(condition)).await;
        waited.unwrap().unwrap();
    }

    async fn client(&self, request: &IssueRequest) -> PeerClient<Channel> {
        let credentials = credentials(&self.authority, request);
        let connection = connect(&credentials, &self.address.to_string(), Expected::AnyNode)
            .await
            .unwrap();
        peer_client(connection.channel)
    }

    async fn peer(&self) -> PeerClient<Channel> {
        self.client(&IssueRequest::node(
            node("peer"),
            vec!["10.9.9.9".parse().unwrap()],
        ))
        .await
    }

    async fn gossip(&self, frames: Vec<proto::Frame>) -> Status {
        self.peer()
            .await
            .gossip(tokio_stream::iter(frames))
            .await
            .unwrap_err()
    }

    /// The node is as well as ever: it leads, writes, and nothing has died.
    async fn is_well(&self) {
        self.until(|view| view.leadership.is_leader()).await;
        self.cluster.write(write("x")).await.unwrap();
        let failed = tokio::time::timeout(Duration::ZERO, self.cluster.failed()).await;
        assert!(failed.is_err(), "{failed:?}");
    }
}

fn opening(address: &str) -> proto::Frame {
    let opening = proto::Opening {
        address: address.to_owned(),
    };
    proto::Frame {
        content: Some(proto::frame::Content::Opening(opening)),
    }
}

fn gossip(bytes: Vec<u8>) -> proto::Frame {
    proto::Frame {
        content: Some(proto::frame::Content::Gossip(bytes.into())),
    }
}

/// `first`, and then as many of `frame` as no peer may send in a row.
fn after(first: proto::Frame, frame: proto::Frame) -> Vec<proto::Frame> {
    let mut frames = vec![frame; 9];
    frames[0] = first;
    frames
}

#[tokio::test]
async fn malformed_gossip_is_refused_and_everything_goes_on() {
    let scene = Scene::new().await;
    let ours = "10.9.9.9:4433";
    let cases = [
        (
            vec![],
            Code::InvalidArgument,
            "the first frame must be the opening",
        ),
        (
            vec![gossip(vec![1])],
            Code::InvalidArgument,
            "the first frame must be the opening",
        ),
        (
            vec![opening("nowhere")],
            Code::InvalidArgument,
            "not IP:PORT",
        ),
        (
            vec![opening("10.1.1.1:4433")],
            Code::PermissionDenied,
            "not in the certificate",
        ),
        (
            vec![opening(ours); 9],
            Code::InvalidArgument,
            "a second opening",
        ),
        (
            after(opening(ours), proto::Frame { content: None }),
            Code::InvalidArgument,
            "it is empty",
        ),
        (
            after(opening(ours), gossip(vec![7; 20])),
            Code::InvalidArgument,
            "not a gossip message",
        ),
        (
            after(opening(ours), gossip(vec![0; 65_508])),
            Code::InvalidArgument,
            "65508 bytes",
        ),
    ];
    for (frames, code, words) in cases {
        let status = scene.gossip(frames).await;
        assert_eq!(status.code(), code, "{status:?}");
        assert!(
            status.message().contains(words),
            "{status:?} does not say {words:?}"
        );
    }
    assert_eq!(scene.cluster.refused_frames(), 4 * 8);
    scene.is_well().await;
}

#[tokio::test]
async fn a_single_refused_frame_does_not_close_the_stream() {
    let scene = Scene::new().await;
    let frames = vec![opening("10.9.9.9:4433"), gossip(vec![7; 20])];
    let ended = scene.peer().await.gossip(tokio_stream::iter(frames)).await;
    ended.unwrap();
    assert_eq!(scene.cluster.refused_frames(), 1);
}

/// A run of this node before its store was lost, under a clock that has been set back since: nobody listens to this
/// one, so it ends, and the next is above that.
#[tokio::test]
async fn a_node_of_which_peers_know_a_later_run_ends_and_begins_above_that() {
    let scene = Scene::new().await;
    let own = scene.cluster.view().borrow().members[0].report.generation;
    let later = own + 1_000_000;
    let frames = vec![opening("10.9.9.9:4433"), gossip(digest_of("me", later))];
    let ended = scene.peer().await.gossip(tokio_stream::iter(frames)).await;
    ended.unwrap();
    let failed = tokio::time::timeout(Duration::from_secs(20), scene.cluster.failed()).await;
    let error = failed.unwrap();
    assert!(
        matches!(*error, ClusterError::LaterRun { found, .. } if found == later),
        "{error}"
    );
    let next = scene.store.begin_generation(&node("me"), 0).unwrap();
    assert_eq!(next, later + 1);
}

/// A digest in chitchat's format that knows of one node.
fn digest_of(name: &str, generation: u64) -> Vec<u8> {
    let mut bytes = 45_139_u16.to_le_bytes().to_vec();
    bytes.extend([0, 0]);
    1_u16.serialize(&mut bytes);
    let id = ChitchatId::new(name, generation, "10.0.0.1:4433".parse().unwrap());
    id.serialize(&mut bytes);
    for counter in [3_u64, 0, 1] {
        counter.serialize(&mut bytes);
    }
    "shop".to_owned().serialize(&mut bytes);
    bytes
}

/// A peer that ends every stream of gossip and takes all else.
struct Terse(SocketAddr);

#[tonic::async_trait]
impl proto::peer_server::Peer for Terse {
    async fn gossip(
        &self,
        _: Request<Streaming<proto::Frame>>,
    ) -> Result<Response<proto::GossipEnd>, Status> {
        Err(Status::invalid_argument("no"))
    }

    async fn heads(
        &self,
        _: Request<proto::HeadsRequest>,
    ) -> Result<Response<proto::HeadsReply>, Status> {
        Ok(Response::new(proto::HeadsReply { heads: Vec::new() }))
    }

    async fn store_document(
        &self,
        _: Request<proto::StoreDocumentRequest>,
    ) -> Result<Response<proto::StoreDocumentReply>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn conflicts(
        &self,
        _: Request<proto::ConflictsRequest>,
    ) -> Result<Response<proto::ConflictsReply>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn share_key(
        &self,
        _: Request<proto::ShareKeyRequest>,
    ) -> Result<Response<proto::ShareKeyReply>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn fetch_document(
        &self,
        _: Request<proto::FetchDocumentRequest>,
    ) -> Result<Response<proto::FetchDocumentReply>, Status> {
        Err(Status::unimplemented("not asked here"))
    }
}

impl Terse {
    async fn start(authority: &Authority, name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let own = credentials(
            authority,
            &IssueRequest::node(node(name), vec![address.ip()]),
        );
        let incoming = Incoming::new(listener, &own).unwrap();
        let service = proto::peer_server::PeerServer::new(Self(address));
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming),
        );
        Self(address)
    }
}

/// Between the end of a stream of gossip and the next connection a peer can be asked all the same.
#[tokio::test]
async fn a_peer_that_ends_gossip_still_takes_calls() {
    let authority = Authority::create(FleetName::new("shop").unwrap()).unwrap();
    let address = Terse::start(&authority, "terse").await.0;
    let own = credentials(&authority, &IssueRequest::node(node("me"), Vec::new()));
    let links = Links::new(
        SecureNetwork::new(own),
        "10.9.9.9:1".parse().unwrap(),
        Duration::from_millis(100),
        Arc::default(),
        CancellationToken::new(),
    );
    links.ensure(address);
    let ended = tokio::time::timeout(Duration::from_secs(20), async {
        let is_ended = |state: &LinkState| matches!(state, LinkState::Unreachable { .. });
        while !is_ended(&links.statuses()[&address].state) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    ended.await.unwrap();
    let channel = links.channel(&node("terse")).unwrap();
    let mut client = peer_client(channel);
    client.heads(proto::HeadsRequest { term: 1 }).await.unwrap();
}

#[tokio::test]
async fn a_person_may_not_speak_as_a_peer() {
    let scene = Scene::new().await;
    let ada = Principal::Person {
        name: PersonName::new("ada").unwrap(),
        role: hafleet_identity::Role::Admin,
    };
    let mut client = scene.client(&IssueRequest::new(ada)).await;
    let status = client
        .heads(proto::HeadsRequest { term: 1 })
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let status = client
        .gossip(tokio_stream::iter([opening("10.9.9.9:1")]))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let request = proto::FetchDocumentRequest {
        kind: "secrets".into(),
        stamp: None,
    };
    let status = client.fetch_document(request).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

fn document(term: u64, sequence: u64, body: &str) -> proto::Document {
    let stamp = |sequence| proto::Stamp {
        term,
        sequence,
        digest: Digest::of(b"one").to_string(),
    };
    let header = proto::Header {
        kind: "spec".into(),
        stamp: Some(stamp(sequence)),
        parent: (sequence > 1).then(|| stamp(sequence - 1)),
        author: "ada".into(),
        comment: String::new(),
        written_at_ms: 0,
    };
    proto::Document {
        header: Some(header),
        body: body.into(),
    }
}

fn push(term: u64, document: proto::Document) -> proto::StoreDocumentRequest {
    proto::StoreDocumentRequest {
        term,
        document: Some(document),
        ancestry: Vec::new(),
    }
}

#[tokio::test]
async fn pushes_that_make_no_sense_are_refused() {
    let scene = Scene::new().await;
    let mut peer = scene.peer().await;
    let headless = proto::Document {
        header: None,
        body: String::new(),
    };
    let mut of_itself = push(5, document(5, 2, "one"));
    of_itself.ancestry = vec![
        of_itself
            .document
            .clone()
            .unwrap()
            .header
            .unwrap()
            .stamp
            .unwrap(),
    ];
    let mut unknown = document(5, 1, "one");
    unknown.header.as_mut().unwrap().kind = "dreams".into();
    let cases = [
        push(5, headless),
        push(5, document(5, 1, "another body")),
        push(5, document(5, 0, "one")),
        push(5, document(6, 1, "one")),
        push(u64::MAX, document(5, 1, "one")),
        push(5, unknown),
        of_itself,
    ];
    for case in cases {
        let status = peer.store_document(case.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{case:?}: {status:?}");
    }
    let status = peer
        .heads(proto::HeadsRequest { term: u64::MAX })
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    scene.is_well().await;
}

#[tokio::test]
async fn a_node_stores_for_no_leader_earlier_than_one_it_knows() {
    let scene = Scene::new().await;
    let mut peer = scene.peer().await;
    peer.heads(proto::HeadsRequest { term: 9 }).await.unwrap();
    let status = peer
        .store_document(push(8, document(8, 1, "one")))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let status = peer
        .heads(proto::HeadsRequest { term: 8 })
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    // As soon as it has waited long enough it claims the term above the highest that it knows, on a busy machine before the
    // leader that we play has stored anything.
    let mut term = 9;
    let heads = loop {
        let stored = peer.store_document(push(term, document(term, 1, "one")));
        match stored.await {
            Ok(reply) => {
                assert_eq!(reply.into_inner().outcome(), proto::Outcome::Stored);
                let heads = peer.heads(proto::HeadsRequest { term: term + 100 }).await;
                break heads.unwrap().into_inner().heads;
            }
            Err(status) => term = wire::refused_for(&status).unwrap().0 + 100,
        }
    };
    assert_eq!(heads[0].stamp.as_ref().unwrap().term, term);
    let request = proto::FetchDocumentRequest {
        kind: "spec".into(),
        stamp: None,
    };
    let fetched = peer.fetch_document(request).await.unwrap().into_inner();
    assert_eq!(fetched.document.unwrap().body, "one");
    // And it leads above that from then on.
    scene
        .until(|view| view.leadership.is_leader() && view.leadership.term.0 > term + 100)
        .await;
}

#[tokio::test]
async fn a_leader_learns_of_a_term_that_only_a_follower_knows() {
    let leader = Scene::new().await;
    leader.until(|view| view.leadership.is_leader()).await;
    let follower = leader.join("you").await;
    follower
        .until(|view| view.leadership.leader == Some(node("me")))
        .await;
    leader.until(|view| view.live_count() == 2).await;
    // Somebody claimed term 50, asked the follower alone, and is gone.
    let asking = credentials(
        &leader.authority,
        &IssueRequest::node(node("gone"), Vec::new()),
    );
    let connection = connect(&asking, &follower.address.to_string(), Expected::AnyNode)
        .await
        .unwrap();
    peer_client(connection.channel)
        .heads(proto::HeadsRequest { term: 50 })
        .await
        .unwrap();

    let error = leader.cluster.write(write("x")).await.unwrap_err();
    assert!(matches!(error, WriteError::Overtaken), "{error}");
    leader
        .until(|view| view.leadership.is_leader() && view.leadership.term.0 > 50)
        .await;
    let written = leader.cluster.write(write("x")).await.unwrap();
    assert_eq!(written.stored_by.len(), 2);
}

fn write(body: &str) -> WriteRequest {
    WriteRequest {
        kind: hafleet_model::DocumentKind::Spec,
        body: body.into(),
        expect: Expect::Any,
        author: String::new(),
        comment: String::new(),
        force: true,
    }
}
