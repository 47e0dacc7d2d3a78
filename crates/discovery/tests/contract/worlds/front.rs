//! A way to an engine's socket by TCP, as the engine itself would have it: without TLS, or with certificates on both sides.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A front. It goes when it is dropped.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Front {
    /// One without TLS.
    pub(crate) async fn plain(socket: PathBuf) -> Self {
        Self::start(socket, None).await
    }

    /// One with the certificates in `dir`, which are made: `ca.pem`, and `client.pem` with `client.key` for those who come.
    pub(crate) async fn with_tls(socket: PathBuf, dir: &Path) -> Self {
        write_certificates(dir);
        let config = server_config(dir);
        Self::start(socket, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn start(socket: PathBuf, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (socket, tls) = (socket.clone(), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => join(stream, &socket).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                join(stream, &socket).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }
}

/// Until one of the two sides ends.
async fn join(mut stream: impl AsyncRead + AsyncWrite + Unpin, socket: &Path) {
    if let Ok(mut engine) = UnixStream::connect(socket).await {
        copy_bidirectional(&mut stream, &mut engine).await.ok();
    }
}

fn write_certificates(dir: &Path) {
    let write = |name: &str, text: String| std::fs::write(dir.join(name), text).unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    write("ca.pem", authority.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(authority, key);
    for name in ["server", "client"] {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::IpAddress(HERE)];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        write(&format!("{name}.pem"), certificate.pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}

fn server_config(dir: &Path) -> ServerConfig {
    let certificate = |name| CertificateDer::from_pem_file(dir.join(name)).unwrap();
    let mut authorities = RootCertStore::empty();
    authorities.add(certificate("ca.pem")).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(authorities));
    let key = PrivateKeyDer::from_pem_file(dir.join("server.key")).unwrap();
    ServerConfig::builder()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![certificate("server.pem")], key)
        .unwrap()
}
