//! The issuer's port: TLS on which only the side that listens shows a certificate, since who comes has none yet.
//!
//! Who comes knows by the token which authority to look for: the issuer shows it behind its own certificate, and it is
//! found by its digest. Nothing but the one service that takes requests is served there.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hafleet_model::{Digest, FleetName};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tonic::transport::Channel;
use tonic::transport::server::Connected;

use crate::accept::{HANDSHAKE_DEADLINE, IncomingError, next_connection};
use crate::certificate;
use crate::connect::{ConnectError, Dial};
use crate::credentials::{Credentials, CredentialsError, HTTP_2, provider};
use crate::live::Shared;
use crate::principal::Principal;
use crate::token::JoinToken;
use crate::verify::{Refusal, algorithms, refuse};

/// How many connections there may be at once; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 32;
/// How long a connection may take from its beginning to its end.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(30);

/// Who asks: nobody that is known yet. In the extensions of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joiner {
    /// The other end of the connection.
    pub remote: SocketAddr,
}

/// Connections of those who want to join, for `Server::serve_with_incoming`. Dropping it closes the port.
#[derive(Debug)]
pub struct JoinIncoming {
    ready: mpsc::Receiver<JoinStream>,
    local_addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl JoinIncoming {
    /// Accepts on `listener` in the name of `credentials`. Needs a tokio runtime.
    ///
    /// # Errors
    /// When rustls refuses the credentials, or the listener has no address.
    pub fn new(listener: TcpListener, credentials: &Credentials) -> Result<Self, IncomingError> {
        let local_addr = listener.local_addr().map_err(IncomingError::Listener)?;
        let acceptor = TlsAcceptor::from(server_config(credentials.shared())?);
        let (sender, ready) = mpsc::channel(4);
        Ok(Self {
            ready,
            local_addr,
            accepting: tokio::spawn(accept_all(listener, acceptor, sender)),
        })
    }

    /// The address that is listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

impl Drop for JoinIncoming {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Stream for JoinIncoming {
    type Item = Result<JoinStream, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(context).map(|stream| stream.map(Ok))
    }
}

async fn accept_all(listener: TcpListener, acceptor: TlsAcceptor, ready: mpsc::Sender<JoinStream>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let what = "a connection of somebody who wants to join";
        let (stream, remote) = next_connection(&listener, what).await;
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            match timeout(HANDSHAKE_DEADLINE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let end = Box::pin(tokio::time::sleep(CONNECTION_DEADLINE));
                    // Refused only when the server has gone, and then the connection goes too.
                    let _ = ready
                        .send(JoinStream {
                            joiner: Joiner { remote },
                            stream,
                            end,
                            _place: place,
                        })
                        .await;
                }
                Ok(Err(error)) => {
                    tracing::debug!(%remote, %error, "somebody who wanted to join was not understood");
                }
                Err(_) => tracing::debug!(%remote, "somebody who wanted to join took too long"),
            }
        });
    }
}

/// A connection of somebody who wants to join. It ends by itself after a while.
#[derive(Debug)]
pub struct JoinStream {
    joiner: Joiner,
    stream: TlsStream<TcpStream>,
    end: Pin<Box<tokio::time::Sleep>>,
    _place: tokio::sync::OwnedSemaphorePermit,
}

impl Connected for JoinStream {
    type ConnectInfo = Joiner;

    fn connect_info(&self) -> Joiner {
        self.joiner
    }
}

impl AsyncRead for JoinStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for JoinStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

fn server_config(shared: Arc<Shared>) -> Result<Arc<ServerConfig>, CredentialsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(CredentialsError::versions)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(WithAuthorities(shared)));
    config.alpn_protocols = vec![HTTP_2.to_vec()];
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Shows our certificate with our authorities behind it.
#[derive(Debug)]
struct WithAuthorities(Arc<Shared>);

impl ResolvesServerCert for WithAuthorities {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let material = self.0.material();
        let own = &material.certified;
        let chain = own.cert.iter().chain(&material.authorities).cloned();
        Some(Arc::new(CertifiedKey::new(
            chain.collect(),
            Arc::clone(&own.key),
        )))
    }
}

/// A channel to the issuer that `token` names, known by the token's authority. One connection, made at once.
///
/// # Errors
/// Why there is none.
pub async fn join_channel(token: &JoinToken, target: &str) -> Result<Channel, ConnectError> {
    let rules = ByDigest {
        fleet: token.fleet.clone(),
        authority: token.authority,
    };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(CredentialsError::versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(rules))
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP_2.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    let dial = Dial::to(Arc::new(config), None, target)?;
    Ok(dial.connect().await?.channel)
}

/// Takes whoever is a node of `fleet` by the authority with this digest, which they have to show too.
#[derive(Debug)]
struct ByDigest {
    fleet: FleetName,
    authority: Digest,
}

impl ByDigest {
    fn check(&self, leaf: &CertificateDer<'_>) -> Result<(), Refusal> {
        let (identity, _) = certificate::holder(leaf).map_err(|error| Refusal::Unusable {
            reason: error.to_string(),
        })?;
        match identity.principal {
            _ if identity.fleet != self.fleet => Err(Refusal::OtherFleet {
                found: identity.fleet,
            }),
            found @ Principal::Person { .. } => Err(Refusal::NotANode { found }),
            Principal::Node(_) => Ok(()),
        }
    }
}

impl ServerCertVerifier for ByDigest {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authority = intermediates
            .iter()
            .find(|shown| Digest::of(shown.as_ref()) == self.authority)
            .ok_or_else(|| refuse(Refusal::OtherAuthority))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &roots,
            intermediates,
            now,
            algorithms().all,
        )?;
        self.check(end_entity).map_err(refuse)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

#[cfg(test)]
#[path = "joining_tests.rs"]
mod tests;
