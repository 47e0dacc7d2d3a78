//! Connecting to nodes, for tonic's clients.
//!
//! In TLS 1.3 the side that connects is done before the other has looked at its certificate, so a refusal would
//! surface later, as a broken connection of unknown cause. Therefore a connection counts as made here only when the
//! other side's first bytes (HTTP/2's SETTINGS, RFC 9113 section 3.4) have come.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::certificate;
use crate::credentials::{Credentials, CredentialsError};
use crate::live::Shared;
use crate::principal::Identity;
use crate::ties::Tie;
use crate::verify::{Expected, Refusal};

/// How long resolving, connecting and the handshake may take together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// How often a connection is tested for life while nothing else moves on it.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// How long the answer to such a test may take before the connection counts as broken. A host that dies in silence is
/// noticed within the sum of both; nothing is concluded from it alone, and it is connected to again at once.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not `host:port`.
    #[error("{target:?} is not an address: write HOST:PORT")]
    BadTarget {
        /// What was given.
        target: String,
    },
    /// The host name has no address.
    #[error("{target} cannot be resolved: {source}")]
    Unresolved {
        /// What was given.
        target: String,
        /// Why, when the resolver said.
        source: io::Error,
    },
    /// The host answered that nobody listens: the process is gone.
    #[error("{target} refused the connection: nothing listens there")]
    Refused {
        /// What was given.
        target: String,
    },
    /// The network has no way there, or broke the connection.
    #[error("{target} cannot be reached: {source}")]
    Unreachable {
        /// What was given.
        target: String,
        /// Why.
        source: io::Error,
    },
    /// No answer.
    #[error("{target} did not answer within {CONNECT_TIMEOUT:?}")]
    TimedOut {
        /// What was given.
        target: String,
    },
    /// We do not accept who answered.
    #[error("we refused {target}: {refusal}")]
    RefusedByUs {
        /// What was given.
        target: String,
        /// What we hold against it.
        refusal: Refusal,
    },
    /// Who answered does not accept us.
    #[error("{target} refused us: {refusal}")]
    RefusedByThem {
        /// What was given.
        target: String,
        /// What it holds against us.
        refusal: Refusal,
    },
    /// Our own credentials cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Connected, but what answers does not speak HTTP/2.
    #[error("{target} does not speak HTTP/2: {reason}")]
    NotHttp2 {
        /// What was given.
        target: String,
        /// What was seen.
        reason: String,
    },
}

impl ConnectError {
    /// Whether nothing listens: the one failure that proves the other process gone.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// The connect error inside another error, such as a `tonic::Status` of a lazy channel or a transport error.
    pub fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut current = Some(error);
        while let Some(error) = current {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found);
            }
            if let Some(found) = error.downcast_ref::<Arc<Self>>() {
                return Some(found);
            }
            current = error.source();
        }
        None
    }
}

/// A channel that is connected, and to whom.
#[derive(Debug, Clone)]
pub struct Connection {
    /// For tonic's clients. It connects again by itself when it breaks.
    pub channel: Channel,
    /// Who answered.
    pub peer: Identity,
}

/// Connects to `target` (`host:port`) and waits until that has succeeded or failed.
///
/// # Errors
/// Why there is no connection.
pub async fn connect(
    credentials: &Credentials,
    target: &str,
    expected: Expected,
) -> Result<Connection, ConnectError> {
    Dial::new(credentials, target, expected)?.connect().await
}

/// A channel to `target` (`host:port`) that connects when it is first used, and again whenever it has to.
/// [`ConnectError::within`] finds the reason in the errors of its calls.
///
/// # Errors
/// When `target` is not an address or our credentials cannot be used.
pub fn connect_lazy(
    credentials: &Credentials,
    target: &str,
    expected: Expected,
) -> Result<Channel, ConnectError> {
    let dial = Dial::new(credentials, target, expected)?;
    let endpoint = dial.endpoint()?;
    let connector = service_fn(move |_: http::Uri| {
        let dial = dial.clone();
        async move {
            dial.run()
                .await
                .map(|(stream, _)| TokioIo::new(stream))
                .map_err(Arc::new)
        }
    });
    Ok(endpoint.connect_with_connector_lazy(connector))
}

/// All that is needed to connect to one target, any number of times.
#[derive(Clone)]
pub(crate) struct Dial {
    config: Arc<ClientConfig>,
    shared: Option<Arc<Shared>>,
    target: Arc<str>,
}

impl Dial {
    fn new(
        credentials: &Credentials,
        target: &str,
        expected: Expected,
    ) -> Result<Self, ConnectError> {
        let config = credentials.client_config(expected)?;
        Self::to(config, Some(credentials.shared()), target)
    }

    /// The way to `target` with `config`. With `shared`, connections break when their other side is revoked.
    pub(crate) fn to(
        config: Arc<ClientConfig>,
        shared: Option<Arc<Shared>>,
        target: &str,
    ) -> Result<Self, ConnectError> {
        let has_port = target
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !has_port {
            return Err(ConnectError::BadTarget {
                target: target.to_owned(),
            });
        }
        Ok(Self {
            config,
            shared,
            target: target.into(),
        })
    }

    /// Connects once, and waits until that has succeeded or failed.
    pub(crate) async fn connect(&self) -> Result<Connection, ConnectError> {
        let outcome = Arc::new(Mutex::new(None));
        let connector = {
            let (dial, outcome) = (self.clone(), Arc::clone(&outcome));
            service_fn(move |_: http::Uri| {
                let (dial, outcome) = (dial.clone(), Arc::clone(&outcome));
                async move {
                    let dialled = dial.run().await;
                    let (stream, report) = match dialled {
                        Ok((stream, peer)) => (Ok(TokioIo::new(stream)), Ok(peer)),
                        Err(error) => (Err(io::Error::other("no connection")), Err(error)),
                    };
                    *outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
                    stream
                }
            })
        };
        let connected = self.endpoint()?.connect_with_connector(connector).await;
        let reported = outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match (connected, reported) {
            (Ok(channel), Some(Ok(peer))) => Ok(Connection { channel, peer }),
            (_, Some(Err(error))) => Err(error),
            (Err(error), _) => Err(ConnectError::NotHttp2 {
                target: self.target.to_string(),
                reason: error.to_string(),
            }),
            (Ok(_), None) => Err(ConnectError::TimedOut {
                target: self.target.to_string(),
            }),
        }
    }

    fn endpoint(&self) -> Result<Endpoint, ConnectError> {
        // Plain http: TLS is the connector's affair, and tonic must not add its own.
        let endpoint = Endpoint::from_shared(format!("http://{}", self.target)).map_err(|_| {
            ConnectError::BadTarget {
                target: self.target.to_string(),
            }
        })?;
        Ok(endpoint
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true))
    }

    async fn run(&self) -> Result<(ProvenStream, Identity), ConnectError> {
        let attempt = timeout(CONNECT_TIMEOUT, self.attempt()).await;
        attempt.unwrap_or_else(|_| {
            Err(ConnectError::TimedOut {
                target: self.target.to_string(),
            })
        })
    }

    async fn attempt(&self) -> Result<(ProvenStream, Identity), ConnectError> {
        let (stream, address) = self.reach().await?;
        let name = ServerName::IpAddress(address.ip().into());
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let mut stream = connector
            .connect(name, stream)
            .await
            .map_err(|error| self.tls_error(error))?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let tie = self.shared.as_ref().map(|shared| shared.tie(chain));
        let certificate = chain.first();
        let holder = certificate.and_then(|certificate| certificate::holder(certificate).ok());
        let (peer, _) = holder.ok_or_else(|| ConnectError::RefusedByUs {
            target: self.target.to_string(),
            refusal: Refusal::Missing,
        })?;
        let first = self.first_bytes(&mut stream).await?;
        Ok((
            ProvenStream {
                first,
                taken: 0,
                tie,
                stream,
            },
            peer,
        ))
    }

    /// Tries each address of the target in turn, and reports the failure of the last.
    async fn reach(&self) -> Result<(TcpStream, SocketAddr), ConnectError> {
        let target = || self.target.to_string();
        let addresses = tokio::net::lookup_host(&*self.target)
            .await
            .map_err(|source| ConnectError::Unresolved {
                target: target(),
                source,
            })?;
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Only costs latency when it fails.
                    let _ = stream.set_nodelay(true);
                    return Ok((stream, address));
                }
                Err(error) => failure = error,
            }
        }
        Err(match failure.kind() {
            io::ErrorKind::ConnectionRefused => ConnectError::Refused { target: target() },
            io::ErrorKind::TimedOut => ConnectError::TimedOut { target: target() },
            io::ErrorKind::NotFound => ConnectError::Unresolved {
                target: target(),
                source: failure,
            },
            _ => ConnectError::Unreachable {
                target: target(),
                source: failure,
            },
        })
    }

    async fn first_bytes(
        &self,
        stream: &mut TlsStream<TcpStream>,
    ) -> Result<Vec<u8>, ConnectError> {
        let mut first = vec![0; 1024];
        let count = stream
            .read(&mut first)
            .await
            .map_err(|error| self.tls_error(error))?;
        if count == 0 {
            let source = io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection was closed at once",
            );
            return Err(ConnectError::Unreachable {
                target: self.target.to_string(),
                source,
            });
        }
        first.truncate(count);
        Ok(first)
    }

    fn tls_error(&self, error: io::Error) -> ConnectError {
        let target = self.target.to_string();
        match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            Some(inner @ rustls::Error::AlertReceived(_)) => ConnectError::RefusedByThem {
                target,
                refusal: Refusal::of(inner),
            },
            Some(inner) => ConnectError::RefusedByUs {
                target,
                refusal: Refusal::of(inner),
            },
            None => ConnectError::Unreachable {
                target,
                source: error,
            },
        }
    }
}

/// A connection on which the other side has spoken; its first bytes are read again from here.
struct ProvenStream {
    first: Vec<u8>,
    taken: usize,
    tie: Option<Tie>,
    stream: TlsStream<TcpStream>,
}

impl AsyncRead for ProvenStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let cut = this.tie.as_mut().map(|tie| tie.poll_cut(context));
        if let Some(Poll::Ready(cut)) = cut {
            return Poll::Ready(Err(cut));
        }
        let rest = this.first.get(this.taken..).unwrap_or_default();
        if rest.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(rest.get(..count).unwrap_or_default());
        this.taken += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ProvenStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.tie.as_ref().map_or(Ok(()), Tie::check)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.tie.as_ref().map_or(Ok(()), Tie::check)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
