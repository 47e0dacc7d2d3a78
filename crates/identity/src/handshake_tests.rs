//! Real handshakes on loopback: who is let in, and with which words the others are not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hafleet_model::{FleetName, NodeId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::accept::{Caller, HandshakeCounts, Incoming};
use crate::authority::{Authority, IssueRequest};
use crate::connect::{ConnectError, connect, connect_lazy};
use crate::credentials::{Credentials, CredentialsError, IdentityFiles};
use crate::principal::{PersonName, Principal, Role};
use crate::verify::{Expected, Refusal};

const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);

pub(crate) fn authority(fleet: &str) -> Authority {
    Authority::create(FleetName::new(fleet).unwrap()).unwrap()
}

pub(crate) fn node(name: &str) -> Principal {
    Principal::Node(NodeId::new(name).unwrap())
}

pub(crate) fn ada() -> Principal {
    Principal::Person {
        name: PersonName::new("ada").unwrap(),
        role: Role::Admin,
    }
}

pub(crate) fn issue_at(
    authority: &Authority,
    principal: Principal,
    now: SystemTime,
) -> Credentials {
    let issued = authority
        .issue_at(&IssueRequest::new(principal), now)
        .unwrap();
    let pem = [
        authority.certificate_pem(),
        &issued.certificate_pem,
        &issued.key_pem,
    ]
    .map(str::as_bytes);
    Credentials::from_pem(pem, &IdentityFiles::from_directory("test".as_ref()), now).unwrap()
}

pub(crate) fn issue(authority: &Authority, principal: Principal) -> Credentials {
    issue_at(authority, principal, SystemTime::now())
}

pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    pub(crate) counts: Arc<HandshakeCounts>,
    task: JoinHandle<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn serve(credentials: &Credentials) -> Serving {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let incoming = Incoming::new(listener, credentials).unwrap();
    let (address, counts) = (incoming.local_addr(), incoming.counts());
    let (_, health) = tonic_health::server::health_reporter();
    let task = tokio::spawn(async move {
        let _ = Server::builder()
            .layer(tonic::service::interceptor::InterceptorLayer::new(
                name_the_caller,
            ))
            .add_service(health)
            .serve_with_incoming(incoming)
            .await;
    });
    Serving {
        address,
        counts,
        task,
    }
}

/// Fails each request whose caller is a person with their name, to show what a service learns.
fn name_the_caller(request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
    let caller = request.extensions().get::<Caller>().unwrap();
    match caller.identity.principal {
        Principal::Node(_) => Ok(request),
        Principal::Person { .. } => Err(tonic::Status::permission_denied(
            caller.identity.principal.to_string(),
        )),
    }
}

async fn refusal(
    client: &Credentials,
    server: &Credentials,
    expected: Expected,
) -> (ConnectError, u64) {
    let serving = serve(server).await;
    let error = connect(client, &serving.address.to_string(), expected)
        .await
        .unwrap_err();
    (error, serving.counts.accepted())
}

#[tokio::test]
async fn nodes_and_people_of_the_fleet_are_let_in_and_known() {
    let authority = authority("shop");
    let serving = serve(&issue(&authority, node("lb1"))).await;
    let target = serving.address.to_string();

    let connection = connect(&issue(&authority, node("lb2")), &target, Expected::AnyNode)
        .await
        .unwrap();
    assert_eq!(connection.peer.principal, node("lb1"));
    HealthClient::new(connection.channel)
        .check(HealthCheckRequest::default())
        .await
        .unwrap();

    let connection = connect(&issue(&authority, ada()), &target, Expected::AnyNode)
        .await
        .unwrap();
    let status = HealthClient::new(connection.channel)
        .check(HealthCheckRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.message(), "ada (admin)");
    assert_eq!(serving.counts.accepted(), 2);
}

#[tokio::test]
async fn another_authority_is_refused_by_either_side() {
    let (ours, theirs) = (authority("shop"), authority("shop"));
    let (error, accepted) = refusal(
        &issue(&theirs, node("lb2")),
        &issue(&ours, node("lb1")),
        Expected::AnyNode,
    )
    .await;
    assert!(
        matches!(
            &error,
            ConnectError::RefusedByUs {
                refusal: Refusal::OtherAuthority,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(accepted, 0);
}

#[tokio::test]
async fn a_client_of_another_authority_is_told_so() {
    let (ours, theirs) = (authority("shop"), authority("shop"));
    // It trusts our authority, but its certificate is another's.
    let issued = theirs.issue(&IssueRequest::new(node("lb2"))).unwrap();
    let mut both = ours.certificate_pem().to_owned();
    both.push_str(theirs.certificate_pem());
    let pem = [both.as_str(), &issued.certificate_pem, &issued.key_pem].map(str::as_bytes);
    let files = IdentityFiles::from_directory("test".as_ref());
    let client = Credentials::from_pem(pem, &files, SystemTime::now()).unwrap();
    let (error, accepted) = refusal(&client, &issue(&ours, node("lb1")), Expected::AnyNode).await;
    assert!(
        matches!(
            &error,
            ConnectError::RefusedByThem {
                refusal: Refusal::OtherAuthority,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("another authority"), "{error}");
    assert_eq!(accepted, 0);
}

/// Credentials of the fleet `stray`, certified by the authority of `shop`.
fn stray(shop: &Authority, principal: Principal) -> Credentials {
    let key = rcgen::KeyPair::generate().unwrap();
    let identity = crate::Identity {
        fleet: FleetName::new("stray").unwrap(),
        principal,
    };
    let directory = tempfile::tempdir().unwrap();
    shop.save(directory.path()).unwrap();
    let signer = std::fs::read_to_string(directory.path().join("ca-key.pem")).unwrap();
    let signer = rcgen::KeyPair::from_pem(&signer).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(shop.certificate_pem(), signer).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.subject_alt_names = vec![rcgen::SanType::URI(identity.to_uri().try_into().unwrap())];
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let (certificate, key) = (certificate.pem(), key.serialize_pem());
    let pem = [shop.certificate_pem(), &certificate, &key].map(str::as_bytes);
    Credentials::from_pem(
        pem,
        &IdentityFiles::from_directory("test".as_ref()),
        SystemTime::now(),
    )
    .unwrap()
}

#[tokio::test]
async fn another_fleet_under_the_same_authority_is_refused_by_either_side() {
    let shop = authority("shop");
    let (ours, theirs) = (issue(&shop, node("lb1")), stray(&shop, node("lb1")));

    let (error, accepted) = refusal(&ours, &theirs, Expected::AnyNode).await;
    assert!(
        error.to_string().contains("we refused")
            && error.to_string().contains("another fleet, stray"),
        "{error}"
    );
    assert_eq!(accepted, 0);

    let (refusal, accepted) = refusal_of_client(&theirs, &ours).await;
    assert_eq!(refusal, Refusal::NotAccepted);
    assert_eq!(accepted, 0);
}

/// Connects with TLS rules that accept any server, to see what the server makes of the client.
async fn refusal_of_client(client: &Credentials, server: &Credentials) -> (Refusal, u64) {
    let serving = serve(server).await;
    let mut config = (*client.client_config(Expected::AnyNode).unwrap()).clone();
    config
        .dangerous()
        .set_certificate_verifier(Arc::new(Credulous));
    let stream = TcpStream::connect(serving.address).await.unwrap();
    let name = rustls::pki_types::ServerName::IpAddress(serving.address.ip().into());
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await.unwrap();
    let error = stream.read_u8().await.unwrap_err();
    let inner = error
        .get_ref()
        .unwrap()
        .downcast_ref::<rustls::Error>()
        .unwrap();
    (Refusal::of(inner), serving.counts.accepted())
}

#[derive(Debug)]
struct Credulous;

impl rustls::client::danger::ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let shop = authority("shop");
    let serving = serve(&issue(&shop, node("lb1"))).await;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous))
        .with_no_client_auth();
    let stream = TcpStream::connect(serving.address).await.unwrap();
    let name = rustls::pki_types::ServerName::IpAddress(serving.address.ip().into());
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap();
    let error = stream.read_u8().await.unwrap_err();
    let inner = error
        .get_ref()
        .unwrap()
        .downcast_ref::<rustls::Error>()
        .unwrap();
    assert_eq!(Refusal::of(inner), Refusal::Missing);
    assert_eq!(serving.counts.accepted(), 0);
}

#[tokio::test]
async fn a_person_cannot_pose_as_a_server() {
    let shop = authority("shop");
    let (error, _) = refusal(
        &issue(&shop, node("lb2")),
        &issue(&shop, ada()),
        Expected::AnyNode,
    )
    .await;
    assert!(
        error.to_string().contains("of a person, ada (admin)"),
        "{error}"
    );
}

#[tokio::test]
async fn one_node_cannot_pose_as_another() {
    let shop = authority("shop");
    let expected = Expected::Node(NodeId::new("lb3").unwrap());
    let (error, _) = refusal(
        &issue(&shop, node("lb2")),
        &issue(&shop, node("lb1")),
        expected,
    )
    .await;
    assert!(
        error
            .to_string()
            .contains("of node lb1, but lb3 is expected"),
        "{error}"
    );
}

#[tokio::test]
async fn an_expired_certificate_is_refused_by_either_side() {
    let shop = authority("shop");
    let fresh = issue(&shop, node("lb1"));
    let expired = issue_at(&shop, node("lb2"), SystemTime::now() - YEAR);
    let (error, _) = refusal(&fresh, &expired, Expected::AnyNode).await;
    assert!(
        matches!(
            &error,
            ConnectError::RefusedByUs {
                refusal: Refusal::Expired,
                ..
            }
        ),
        "{error}"
    );
    let (error, _) = refusal(&expired, &fresh, Expected::AnyNode).await;
    assert!(
        matches!(
            &error,
            ConnectError::RefusedByThem {
                refusal: Refusal::Expired,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_port_on_which_nothing_listens_refuses() {
    let shop = authority("shop");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    drop(listener);
    let client = issue(&shop, ada());
    let error = connect(&client, &target, Expected::AnyNode)
        .await
        .unwrap_err();
    assert!(error.is_refused(), "{error}");
    // The same through a lazy channel: found within the status.
    let channel = connect_lazy(&client, &target, Expected::AnyNode).unwrap();
    let status = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await
        .unwrap_err();
    assert!(
        ConnectError::within(&status).is_some_and(ConnectError::is_refused),
        "{status:?}"
    );
    let error = connect(&client, "nowhere", Expected::AnyNode)
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::BadTarget { .. }), "{error}");
}

#[tokio::test]
async fn silent_and_babbling_connections_hold_up_nobody() {
    let shop = authority("shop");
    let serving = serve(&issue(&shop, node("lb1"))).await;
    let mut strangers = Vec::new();
    for _ in 0..50 {
        strangers.push(TcpStream::connect(serving.address).await.unwrap());
    }
    for stranger in strangers.iter_mut().take(10) {
        stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    }
    let client = issue(&shop, ada());
    connect(&client, &serving.address.to_string(), Expected::AnyNode)
        .await
        .unwrap();
    assert_eq!(serving.counts.accepted(), 1);
}

#[tokio::test]
async fn who_dribbles_the_beginning_of_http_2_is_ended() {
    let shop = authority("shop");
    let serving = serve(&issue(&shop, node("lb1"))).await;
    let config = issue(&shop, ada())
        .client_config(Expected::AnyNode)
        .unwrap();
    let connector = tokio_rustls::TlsConnector::from(config);
    let stream = TcpStream::connect(serving.address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let stream = connector.connect(name, stream).await.unwrap();
    let (mut answers, mut words) = tokio::io::split(stream);
    let begun = std::time::Instant::now();
    // A byte of the preface and settings every half second would take sixteen seconds.
    let dribble = tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(500));
        for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" {
            pace.tick().await;
            if words.write_all(&[*byte]).await.is_err() || words.flush().await.is_err() {
                return;
            }
        }
    });
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(
        Duration::from_secs(14),
        tokio::io::AsyncReadExt::read_to_end(&mut answers, &mut answer),
    );
    assert!(ended.await.is_ok(), "it is held for ever");
    assert!(begun.elapsed() >= Duration::from_secs(4));
    dribble.abort();
    let client = issue(&shop, ada());
    connect(&client, &serving.address.to_string(), Expected::AnyNode)
        .await
        .unwrap();
}

#[test]
fn credentials_that_do_not_belong_together_are_refused_with_the_file_named() {
    let (shop, other) = (authority("shop"), authority("shop"));
    let one = shop.issue(&IssueRequest::new(ada())).unwrap();
    let two = shop.issue(&IssueRequest::new(ada())).unwrap();
    let files = IdentityFiles::from_directory("/id".as_ref());
    let load = |ca: &str, certificate: &str, key: &str, now: SystemTime| {
        Credentials::from_pem([ca, certificate, key].map(str::as_bytes), &files, now).unwrap_err()
    };
    let now = SystemTime::now();
    let ca = shop.certificate_pem();
    let cases = [
        (
            load(ca, &one.certificate_pem, &two.key_pem, now),
            "/id/key.pem is not the key of /id/cert.pem",
        ),
        (
            load(
                other.certificate_pem(),
                &one.certificate_pem,
                &one.key_pem,
                now,
            ),
            "/id/ca.pem",
        ),
        (
            load(ca, &one.certificate_pem, &one.key_pem, now + YEAR),
            "/id/cert.pem expired at",
        ),
        (
            load(ca, &one.certificate_pem, &one.key_pem, now - YEAR),
            "not valid before",
        ),
        (
            load("", &one.certificate_pem, &one.key_pem, now),
            "/id/ca.pem",
        ),
        (load(ca, "x", &one.key_pem, now), "/id/cert.pem"),
        (
            load(ca, &one.certificate_pem, "x", now),
            "/id/key.pem holds no PEM private key",
        ),
        (load(ca, ca, &one.key_pem, now), "names nobody"),
    ];
    for (error, words) in cases {
        assert!(
            error.to_string().contains(words),
            "{error} does not say {words:?}"
        );
    }
    assert!(matches!(
        Credentials::load(&IdentityFiles::from_directory("/nowhere".as_ref())),
        Err(CredentialsError::Unreadable { .. })
    ));
}
