//! Accepting connections for tonic's server.
//!
//! Each connection is shaken hands with in a task of its own, under a deadline, so that one that is slow, silent or
//! refused holds up nobody. Only connections of somebody in the fleet come out, and each request on them carries its
//! [`Caller`] in its extensions.

use std::future::Future as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hafleet_model::NodeId;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tonic::transport::server::Connected;

use crate::admission::{Admission, ConnectionLimits, Place, TurnedAway};
use crate::certificate;
use crate::credentials::{Credentials, CredentialsError};
use crate::live::Shared;
use crate::principal::Identity;
use crate::refusals::Refusals;
use crate::ties::Tie;
use crate::verify::Refusal;

/// How long a handshake may take.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// How long it may take after a handshake until HTTP/2 has begun.
pub const GREETING_DEADLINE: Duration = Duration::from_secs(5);
/// The least that a client says first: its preface and the head of its settings (RFC 9113 section 3.4).
const GREETING_LEN: usize = 24 + 9;
/// How long to wait after `accept` failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who makes a request, as their certificate says. In the extensions of each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who, and in which fleet (always ours).
    pub identity: Identity,
    /// The other end of the connection.
    pub remote: SocketAddr,
    /// The addresses that the certificate grants; none when it leaves that open.
    pub addresses: Vec<IpAddr>,
    /// The certificate.
    pub certificate: Arc<CertificateDer<'static>>,
    /// The node that hands on what the caller has asked of it; none when the caller is there.
    pub via: Option<NodeId>,
}

/// How handshakes went, since the start.
#[derive(Debug)]
pub struct HandshakeCounts {
    accepted: AtomicU64,
    refused: AtomicU64,
    admission: Arc<Admission>,
}

impl HandshakeCounts {
    /// Connections that were let in.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections that were not: refused, broken off, or out of time.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Connections that did not get as far as a handshake, or were one too many for whose they are.
    pub fn turned_away(&self) -> u64 {
        self.admission.turned_away()
    }
}

/// What went wrong with one connection.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("{0}")]
    Refused(Refusal),
    #[error("{0}")]
    TurnedAway(TurnedAway),
    #[error("no handshake within {HANDSHAKE_DEADLINE:?}")]
    TimedOut,
    #[error("the connection broke: {0}")]
    Broken(io::Error),
}

/// Connections for `Server::serve_with_incoming`. Dropping it closes the port.
#[derive(Debug)]
pub struct Incoming {
    ready: mpsc::Receiver<SecureStream>,
    counts: Arc<HandshakeCounts>,
    local_addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Incoming {
    /// As [`Self::with_limits`], with those that are usual.
    ///
    /// # Errors
    /// As there.
    pub fn new(listener: TcpListener, credentials: &Credentials) -> Result<Self, IncomingError> {
        Self::with_limits(listener, credentials, ConnectionLimits::default())
    }

    /// Accepts on `listener` in the name of `credentials`, no more than `limits` allow. Needs a tokio runtime.
    ///
    /// # Errors
    /// When rustls refuses the credentials, or the listener has no address.
    pub fn with_limits(
        listener: TcpListener,
        credentials: &Credentials,
        limits: ConnectionLimits,
    ) -> Result<Self, IncomingError> {
        let acceptor = TlsAcceptor::from(credentials.server_config()?);
        let local_addr = listener.local_addr().map_err(IncomingError::Listener)?;
        let counts = Arc::new(HandshakeCounts {
            accepted: AtomicU64::default(),
            refused: AtomicU64::default(),
            admission: Arc::new(Admission::new(limits)),
        });
        let (sender, ready) = mpsc::channel(16);
        let door = Door {
            acceptor,
            shared: credentials.shared(),
            refusals: Arc::default(),
        };
        let accepting = tokio::spawn(accept_all(listener, door, sender, Arc::clone(&counts)));
        Ok(Self {
            ready,
            counts,
            local_addr,
            accepting,
        })
    }

    /// How handshakes go, for metrics.
    pub fn counts(&self) -> Arc<HandshakeCounts> {
        Arc::clone(&self.counts)
    }

    /// The address that is listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

/// What stops [`Incoming`] from starting.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    /// The credentials cannot serve.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The listener is broken.
    #[error("the listener has no address: {0}")]
    Listener(#[source] io::Error),
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Stream for Incoming {
    type Item = Result<SecureStream, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(context).map(|stream| stream.map(Ok))
    }
}

/// What a handshake needs.
#[derive(Clone)]
struct Door {
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
    refusals: Arc<Refusals>,
}

/// The next connection to `listener`, whatever accepting fails of meanwhile; `what` it is called where that is said.
pub(crate) async fn next_connection(listener: &TcpListener, what: &str) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "{what} could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The next connection for which there is a place. The others end at once.
pub(crate) async fn next_admitted(
    listener: &TcpListener,
    admission: &Arc<Admission>,
) -> (TcpStream, SocketAddr, Place) {
    loop {
        let (stream, remote) = next_connection(listener, "a connection").await;
        if let Ok(place) = admission.admit(remote.ip()) {
            return (stream, remote, place);
        }
        // Nothing is left of it in the kernel either.
        let _ = stream.set_zero_linger();
    }
}

async fn accept_all(
    listener: TcpListener,
    door: Door,
    ready: mpsc::Sender<SecureStream>,
    counts: Arc<HandshakeCounts>,
) {
    loop {
        let (stream, remote, place) = next_admitted(&listener, &counts.admission).await;
        let (door, ready, counts) = (door.clone(), ready.clone(), Arc::clone(&counts));
        tokio::spawn(async move {
            let shaken = shake_hands(&door, stream, remote, place).await;
            match shaken {
                Ok(stream) => {
                    counts.accepted.fetch_add(1, Ordering::Relaxed);
                    // Refused only when the server has gone, and then the connection goes too.
                    let _ = ready.send(stream).await;
                }
                Err(error) => {
                    counts.refused.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(%remote, %error, "a connection was refused");
                    if let HandshakeError::Refused(refusal) = &error {
                        door.refusals.tell(remote.ip(), refusal);
                    }
                }
            }
        });
    }
}

async fn shake_hands(
    door: &Door,
    stream: TcpStream,
    remote: SocketAddr,
    place: Place,
) -> Result<SecureStream, HandshakeError> {
    // Only costs latency when it fails.
    let _ = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE_DEADLINE, door.acceptor.accept(stream)).await {
        Err(_) => return Err(HandshakeError::TimedOut),
        Ok(Err(error)) => return Err(handshake_error(error)),
        Ok(Ok(stream)) => stream,
    };
    let unusable = |reason: String| HandshakeError::Refused(Refusal::Unusable { reason });
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificate = chain
        .first()
        .ok_or(HandshakeError::Refused(Refusal::Missing))?;
    let (identity, addresses) =
        certificate::holder(certificate).map_err(|error| unusable(error.to_string()))?;
    let place = place.belongs_to(&identity);
    Ok(SecureStream {
        tie: door.shared.tie(chain),
        _place: place.map_err(HandshakeError::TurnedAway)?,
        greeting: Some(Greeting::new()),
        caller: Caller {
            identity,
            remote,
            addresses,
            certificate: Arc::new(certificate.clone().into_owned()),
            via: None,
        },
        stream,
    })
}

fn handshake_error(error: io::Error) -> HandshakeError {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(inner) => HandshakeError::Refused(Refusal::of(inner)),
        None => HandshakeError::Broken(error),
    }
}

/// A connection of somebody in the fleet.
#[derive(Debug)]
pub struct SecureStream {
    tie: Tie,
    caller: Caller,
    stream: TlsStream<TcpStream>,
    greeting: Option<Greeting>,
    /// Free again when the connection is gone.
    _place: Place,
}

/// The beginning of HTTP/2, which has to come soon: what comes after it is timed by HTTP/2 itself.
#[derive(Debug)]
struct Greeting {
    deadline: Pin<Box<Sleep>>,
    lacking: usize,
}

impl Greeting {
    fn new() -> Self {
        Self {
            deadline: Box::pin(tokio::time::sleep(GREETING_DEADLINE)),
            lacking: GREETING_LEN,
        }
    }
}

impl Connected for SecureStream {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for SecureStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(cut) = self.tie.poll_cut(context) {
            return Poll::Ready(Err(cut));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some(greeting) = &mut self.greeting else {
            return read;
        };
        greeting.lacking = greeting
            .lacking
            .saturating_sub(buffer.filled().len() - before);
        if greeting.lacking == 0 {
            self.greeting = None;
        } else if read.is_pending() && greeting.deadline.as_mut().poll(context).is_ready() {
            let words = format!("HTTP/2 did not begin within {GREETING_DEADLINE:?}");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, words)));
        }
        read
    }
}

impl AsyncWrite for SecureStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.tie.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.tie.check()?;
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
