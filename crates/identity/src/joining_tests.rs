//! Whom a token lets somebody believe.

use hafleet_model::NodeId;
use hafleet_model::secrets::Confidential;
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use tonic::transport::Server;

use super::*;
use crate::authority::Authority;
use crate::handshake_tests::{authority, issue, node};

async fn serve(credentials: &Credentials) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let incoming = JoinIncoming::new(listener, credentials).unwrap();
    let address = incoming.local_addr();
    let (_, health) = tonic_health::server::health_reporter();
    let task = tokio::spawn(async move {
        let server = Server::builder().add_service(health);
        let _ = server.serve_with_incoming(incoming).await;
    });
    (address, task)
}

fn token(fleet: &str, authority: &Authority, issuer: SocketAddr) -> JoinToken {
    let der = CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).unwrap();
    JoinToken {
        id: "x".into(),
        secret: Confidential::new("y"),
        fleet: FleetName::new(fleet).unwrap(),
        node: Some(NodeId::new("lb9").unwrap()),
        authority: Digest::of(der.as_ref()),
        issuer,
        expires_at: Timestamp::MAX,
    }
}

#[tokio::test]
async fn the_issuer_is_known_by_the_tokens_authority_and_fleet() {
    let shop = authority("shop");
    let own = issue(&shop, node("lb1"));
    let (address, task) = serve(&own).await;
    let target = address.to_string();
    let known = token("shop", &shop, address);
    assert_eq!(own.authority_digest(), Some(known.authority));
    join_channel(&known, &target).await.unwrap();
    for (stranger, expected) in [
        (
            token("shop", &authority("shop"), address),
            Refusal::OtherAuthority,
        ),
        (
            token("other", &shop, address),
            Refusal::OtherFleet {
                found: FleetName::new("shop").unwrap(),
            },
        ),
    ] {
        match join_channel(&stranger, &target).await {
            Err(ConnectError::RefusedByUs { refusal, .. }) => assert_eq!(refusal, expected),
            other => panic!("{other:?}"),
        }
    }
    task.abort();
}

#[tokio::test]
async fn an_authority_that_is_shown_and_did_not_sign_is_not_believed() {
    // Whoever has seen the authority's certificate can show it.
    let (shop, own) = (authority("shop"), authority("shop"));
    let forged = issue(&own, node("lb1"));
    let both = format!("{}{}", own.certificate_pem(), shop.certificate_pem());
    let issued = own.issue(&crate::IssueRequest::new(node("lb1"))).unwrap();
    let pem = [both.as_str(), &issued.certificate_pem, &issued.key_pem].map(str::as_bytes);
    let files = crate::IdentityFiles::from_directory("test".as_ref());
    let shown = Credentials::from_pem(pem, &files, std::time::SystemTime::now()).unwrap();
    forged.replace(&shown).unwrap();
    let (address, task) = serve(&forged).await;
    let refused = join_channel(&token("shop", &shop, address), &address.to_string()).await;
    assert!(
        matches!(
            refused,
            Err(ConnectError::RefusedByUs {
                refusal: Refusal::OtherAuthority,
                ..
            })
        ),
        "{refused:?}"
    );
    task.abort();
}
