//! With a real store, a real cluster of one, and a real HAProxy to ask.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hafleet_cluster::{Cluster, ClusterConfig, Expect, Store, Timing, WriteRequest};
use hafleet_haproxy::{Proxy, Settings};
use hafleet_identity::{Authority, Credentials, IdentityFiles, Incoming, IssueRequest};
use hafleet_model::report::NodeContext;
use hafleet_model::{DocumentKind, FleetName, NodeId};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::*;
use crate::vault::Vault;

const DEADLINE: Duration = Duration::from_secs(20);

const SPEC: &str = "
version: 1
discovery: {services: {prefix: /haproxy, frontend: web}, etcd: {endpoints: ['http://192.0.2.1:2379']}}
frontends: [{name: web, binds: [{port: 18080}], default_backend: app}]
backends: [{name: app, sources: [{file: {path: /x}}]}]
";

/// One node that leads itself.
struct Node {
    cluster: Cluster,
    proxy: Proxy,
    _directory: TempDir,
}

impl Node {
    async fn start() -> Self {
        hafleet_identity::install_default_provider();
        let directory = tempfile::tempdir().unwrap();
        let (fleet, id) = (FleetName::new("test").unwrap(), NodeId::new("n1").unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let authority = Authority::create(fleet.clone()).unwrap();
        let request = IssueRequest::node(id.clone(), vec![address.ip()]);
        let issued = authority.issue(&request).unwrap();
        let pem = [
            authority.certificate_pem(),
            &issued.certificate_pem,
            &issued.key_pem,
        ];
        let files = IdentityFiles::from_directory("test".as_ref());
        let credentials =
            Credentials::from_pem(pem.map(str::as_bytes), &files, SystemTime::now()).unwrap();
        let credentials = Arc::new(credentials);
        let config = ClusterConfig {
            timing: Timing::from_interval(Duration::from_millis(50)),
            ..ClusterConfig::new(fleet, id.clone(), address)
        };
        let store = Store::open(directory.path().join("state.redb")).unwrap();
        let incoming = Incoming::new(listener, &credentials).unwrap();
        let (cluster, peers) = Cluster::start(config, store, credentials).await.unwrap();
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(peers)
                .serve_with_incoming(incoming),
        );
        let mut view = cluster.view();
        let leads = view.wait_for(|view| view.leadership.is_leader());
        tokio::time::timeout(DEADLINE, leads)
            .await
            .unwrap()
            .unwrap();
        let node = NodeContext {
            fleet: "test".into(),
            id,
            address: address.ip(),
            zone: None,
            certificate_dir: directory.path().display().to_string(),
        };
        let (config, run) = (
            directory.path().join("haproxy"),
            directory.path().join("run"),
        );
        std::fs::create_dir(&config).unwrap();
        std::fs::create_dir(&run).unwrap();
        Self {
            cluster,
            proxy: Proxy::open(Settings::new(node, config, run)).await.unwrap(),
            _directory: directory,
        }
    }

    /// A composer as an agent has one that has just started.
    fn composer(&self) -> Composer {
        let inspector = self.proxy.inspector();
        let certificates = CertificateKeeper::new(
            self.cluster.clone(),
            inspector.certificates().clone(),
            self.vault(),
        );
        let endpoints = EndpointsKeeper::new(self.cluster.clone());
        let overrides = OverridesKeeper::new(self.cluster.clone());
        Composer::new(inspector, certificates, endpoints, overrides)
    }

    fn vault(&self) -> Vault {
        let directory = self._directory.path();
        let (key, keyring) = (directory.join("node.key"), directory.join("keys"));
        let (me, fleet) = (NodeId::new("n1").unwrap(), FleetName::new("test").unwrap());
        Vault::open(me, fleet, &key, keyring).unwrap()
    }

    async fn write(&self, kind: DocumentKind, body: &str) -> Document {
        let request = WriteRequest {
            kind,
            body: body.into(),
            expect: Expect::Any,
            author: "test".into(),
            comment: String::new(),
            force: false,
        };
        self.cluster.write(request).await.unwrap();
        let document = self.cluster.document(kind).borrow().clone();
        (*document.unwrap()).clone()
    }

    /// Endpoints with one server of `app`, and a service with this `balance`.
    async fn write_endpoints(&self, server: &str, balance: Option<&str>) -> Document {
        let service = |balance| serde_json::json!([{"name": "shop", "port": 80, "kind": "http", "domain": "shop.test", "balance": balance}]);
        let body = serde_json::json!({
            "version": 1,
            "backends": {"app": [{"name": server, "address": "192.0.2.7", "port": 80, "weight": 100, "source": "file /x"}]},
            "services": balance.map_or(serde_json::json!([]), service),
        });
        self.write(DocumentKind::Endpoints, &body.to_string()).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_by_hand_is_rendered_until_it_is_over() {
    let node = Node::start().await;
    let spec = node.write(DocumentKind::Spec, SPEC).await;
    node.write_endpoints("s1", None).await;
    let mut composer = node.composer();
    let overrides = |until_ms: i64| {
        let ada = serde_json::json!({"author": "ada", "since_ms": 1});
        let gone = serde_json::json!({"author": "ada", "since_ms": 1, "state": "drain"});
        let mut maint = ada.clone();
        maint["state"] = "maint".into();
        maint["weight"] = 7.into();
        maint["until_ms"] = until_ms.into();
        serde_json::json!({"version": 1, "servers": {"app/s1": maint, "app/gone": gone}})
            .to_string()
    };
    let until_ms = crate::overrides::now_ms() + 3_600_000;
    node.write(DocumentKind::Overrides, &overrides(until_ms))
        .await;
    assert!(composer.compose(&spec).is_ok());
    assert_eq!(composer.next_expiry(), Some(until_ms));
    let body = composer.wanted().unwrap().rendered.body().to_owned();
    let line = body.lines().find(|line| line.contains("server s1"));
    let line = line.unwrap_or_default();
    assert!(
        line.contains("weight 7") && line.ends_with("disabled"),
        "{body}"
    );

    node.write(DocumentKind::Overrides, "{\"version\":9}").await;
    assert!(composer.compose(&spec).is_ok());
    assert_eq!(composer.wanted().unwrap().rendered.body(), body);

    node.write(DocumentKind::Overrides, &overrides(2)).await;
    assert!(composer.compose(&spec).is_ok());
    let wanted = composer.wanted().unwrap();
    assert!(!wanted.rendered.body().contains("disabled"));
    assert_eq!(composer.next_expiry(), None);
}

fn servers(composer: &Composer) -> Vec<String> {
    let wanted = composer.wanted().unwrap();
    let servers = wanted.rendered.servers();
    servers.map(|server| server.name.clone()).collect()
}

fn error(composer: &Composer) -> String {
    composer.endpoints().1.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_cannot_be_read_leave_those_before_them() {
    let node = Node::start().await;
    let spec = node.write(DocumentKind::Spec, SPEC).await;
    let mut composer = node.composer();
    assert!(composer.compose(&spec).is_ok());
    assert!(servers(&composer).is_empty());

    let good = node.write_endpoints("s1", None).await;
    assert!(composer.compose(&spec).is_ok());
    composer.accept();
    assert_eq!(servers(&composer), ["s1"]);
    node.write(DocumentKind::Endpoints, "{\"version\":9}").await;
    for composer in [&mut composer, &mut node.composer()] {
        assert!(composer.compose(&spec).is_ok());
        composer.accept();
        assert_eq!(servers(composer), ["s1"], "also by an agent that starts");
        assert!(error(composer).contains("version 9"), "{}", error(composer));
        let (found, _) = composer.endpoints();
        assert_eq!(found.unwrap().stamp, Some(good.stamp()));
    }
    node.write_endpoints("s2", None).await;
    assert!(composer.compose(&spec).is_ok());
    assert_eq!(servers(&composer), ["s2"]);
    assert_eq!(error(&composer), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_haproxy_refuses_leave_those_before_them() {
    let node = Node::start().await;
    let spec = node.write(DocumentKind::Spec, SPEC).await;
    let mut composer = node.composer();
    node.write_endpoints("s1", Some("roundrobin")).await;
    assert!(composer.compose(&spec).is_ok());
    composer.accept();

    let bad = node.write_endpoints("s2", Some("nonsense")).await;
    for mut composer in [composer, node.composer()] {
        assert!(composer.compose(&spec).is_ok());
        assert_eq!(servers(&composer), ["s2"], "it can be rendered");
        let refused = check(&node, &composer).await;
        assert!(composer.blame_endpoints(&refused, "balance is wrong").await);
        assert!(composer.compose(&spec).is_ok());
        assert_eq!(servers(&composer), ["s1"]);
        let words = error(&composer);
        let revision = bad.revision().to_string();
        assert!(
            words.contains(&revision) && words.contains("balance"),
            "{words}"
        );
        // It is tried once more when that is due, and at once with another spec.
        composer.try_anew();
        assert!(composer.compose(&spec).is_ok());
        assert_eq!(servers(&composer), ["s2"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spec_that_haproxy_refuses_is_not_blamed_on_the_endpoints() {
    let node = Node::start().await;
    let text = SPEC.replace(
        "name: app,",
        "name: app, balance: roundrobin, raw: [nonsense],",
    );
    let spec = node.write(DocumentKind::Spec, &text).await;
    node.write_endpoints("s1", None).await;
    let mut composer = node.composer();
    assert!(composer.compose(&spec).is_ok());
    let refused = check(&node, &composer).await;
    assert!(!composer.blame_endpoints(&refused, "nonsense").await);
    assert_eq!(error(&composer), "");
}

/// What HAProxy says of what is wanted, which it refuses.
async fn check(node: &Node, composer: &Composer) -> ApplyError {
    let wanted = composer.wanted().unwrap();
    node.proxy.check(&wanted.rendered).await.unwrap_err().into()
}
