//! Who is let in without a certificate, and who is not with one.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use super::*;
use crate::credentials::provider;
use crate::handshake_tests::{ada, authority, issue, node};
use crate::verify::{Expected, ServerRules};

async fn serve(own: &Credentials) -> (Visitors, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let visitors = Visitors::over_tls(listener, own, ConnectionLimits::default());
    (visitors.unwrap(), address)
}

/// What a caller speaks who shows the certificate of `shown`.
fn showing(shown: &Credentials) -> ClientConfig {
    let config = shown.client_config(Expected::AnyNode).unwrap();
    let mut config = Arc::unwrap_or_clone(config);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// What a caller speaks who shows none, and knows the authority of `known`.
fn showing_none(known: &Credentials) -> ClientConfig {
    let rules = ServerRules::new(known.shared(), Expected::AnyNode);
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(rules))
        .with_no_client_auth()
}

/// Says hello and waits for an answer.
async fn call(address: SocketAddr, config: ClientConfig) -> io::Result<u8> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::IpAddress(address.ip().into());
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await?;
    stream.write_u8(1).await?;
    stream.read_u8().await
}

async fn answer(visitors: &mut Visitors) -> Visitor {
    let mut stream = visitors.next().await.unwrap();
    let said = stream.read_u8().await.unwrap();
    stream.write_u8(said + 1).await.unwrap();
    stream.flush().await.unwrap();
    stream.visitor().clone()
}

#[tokio::test]
async fn who_shows_no_certificate_is_nobody_and_who_does_is_held_to_it() {
    let shop = authority("shop");
    let (own, ada) = (issue(&shop, node("lb1")), issue(&shop, self::ada()));
    let (mut visitors, address) = serve(&own).await;
    for (config, expected) in [
        (showing_none(&ada), None),
        (showing(&ada), Some(ada.identity().clone())),
    ] {
        let (said, visitor) = tokio::join!(call(address, config), answer(&mut visitors));
        assert_eq!(said.unwrap(), 2);
        assert_eq!(visitor.caller.map(|caller| caller.identity), expected);
    }
    // One that shows a certificate of somebody else's fleet is not let in as nobody.
    let foreign = issue(&authority("shop"), self::ada());
    let mut config = showing_none(&ada);
    config.client_auth_cert_resolver = showing(&foreign).client_auth_cert_resolver;
    tokio::select! {
        said = call(address, config) => assert!(said.is_err()),
        visitor = answer(&mut visitors) => panic!("{visitor:?} was let in"),
    }
}

#[tokio::test]
async fn on_loopback_nothing_is_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut visitors = Visitors::in_clear(listener, ConnectionLimits::default());
    let call = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_u8(1).await.unwrap();
        stream.read_u8().await.unwrap()
    };
    let (said, visitor) = tokio::join!(call, answer(&mut visitors));
    assert_eq!((said, visitor.caller), (2, None));
}
