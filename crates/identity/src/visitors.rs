//! Connections for HTTP/1.1 of callers who may show a certificate of the fleet, and need not: on loopback without TLS,
//! else with it. Whoever shows one is held to the same rules as on the agents' own port; who shows none is somebody of
//! whom only the address is known, and what they may is for others to say.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::accept::{Caller, HANDSHAKE_DEADLINE, IncomingError, next_admitted};
use crate::admission::{Admission, ConnectionLimits, Place};
use crate::certificate;
use crate::credentials::Credentials;
use crate::live::Shared;
use crate::ties::Tie;

/// Who is at the other end of a connection, as far as the connection tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// The other end.
    pub remote: SocketAddr,
    /// Whose certificate was shown; none when none was.
    pub caller: Option<Caller>,
}

/// Connections of visitors. Dropping it closes the port.
#[derive(Debug)]
pub struct Visitors {
    ready: mpsc::Receiver<VisitorStream>,
    accepting: JoinHandle<()>,
}

impl Visitors {
    /// Accepts on `listener` without TLS. For loopback: what is said there is read by whoever listens in. Needs a tokio
    /// runtime.
    pub fn in_clear(listener: TcpListener, limits: ConnectionLimits) -> Self {
        Self::begin(listener, None, limits)
    }

    /// Accepts on `listener` with TLS in the name of `credentials`. Needs a tokio runtime.
    ///
    /// # Errors
    /// When rustls refuses the credentials.
    pub fn over_tls(
        listener: TcpListener,
        credentials: &Credentials,
        limits: ConnectionLimits,
    ) -> Result<Self, IncomingError> {
        let acceptor = TlsAcceptor::from(credentials.visitor_config()?);
        let door = Door {
            acceptor,
            shared: credentials.shared(),
        };
        Ok(Self::begin(listener, Some(door), limits))
    }

    fn begin(listener: TcpListener, door: Option<Door>, limits: ConnectionLimits) -> Self {
        let (sender, ready) = mpsc::channel(16);
        let admission = Arc::new(Admission::new(limits));
        Self {
            ready,
            accepting: tokio::spawn(accept_all(listener, door, admission, sender)),
        }
    }

    /// The next connection. Cancel-safe.
    pub async fn next(&mut self) -> Option<VisitorStream> {
        self.ready.recv().await
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// What a handshake needs.
#[derive(Clone)]
struct Door {
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
}

async fn accept_all(
    listener: TcpListener,
    door: Option<Door>,
    admission: Arc<Admission>,
    ready: mpsc::Sender<VisitorStream>,
) {
    loop {
        let (stream, remote, place) = next_admitted(&listener, &admission).await;
        let (door, ready) = (door.clone(), ready.clone());
        tokio::spawn(async move {
            match let_in(door.as_ref(), stream, remote, place).await {
                // Refused only when the server has gone, and then the connection goes too.
                Ok(stream) => drop(ready.send(stream).await),
                Err(error) => tracing::debug!(%remote, %error, "a connection was refused"),
            }
        });
    }
}

async fn let_in(
    door: Option<&Door>,
    stream: TcpStream,
    remote: SocketAddr,
    place: Place,
) -> io::Result<VisitorStream> {
    // Only costs latency when it fails.
    let _ = stream.set_nodelay(true);
    let Some(door) = door else {
        return Ok(VisitorStream {
            visitor: Visitor {
                remote,
                caller: None,
            },
            wire: Wire::Clear(stream),
            _place: place.belongs_to_nobody(),
        });
    };
    let stream = timeout(HANDSHAKE_DEADLINE, door.acceptor.accept(stream)).await??;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let (caller, place) = match chain.first() {
        None => (None, place.belongs_to_nobody()),
        Some(leaf) => {
            let (identity, addresses) = certificate::holder(leaf).map_err(io::Error::other)?;
            let place = place.belongs_to(&identity).map_err(io::Error::other)?;
            let caller = Caller {
                identity,
                remote,
                addresses,
                certificate: Arc::new(leaf.clone().into_owned()),
                via: None,
            };
            (Some(caller), place)
        }
    };
    let tie = door.shared.tie(chain);
    Ok(VisitorStream {
        visitor: Visitor { remote, caller },
        wire: Wire::Tls(tie, Box::new(stream)),
        _place: place,
    })
}

/// A connection of a visitor.
#[derive(Debug)]
pub struct VisitorStream {
    visitor: Visitor,
    wire: Wire,
    /// Free again when the connection is gone.
    _place: Place,
}

#[derive(Debug)]
enum Wire {
    Clear(TcpStream),
    /// Broken when a certificate that was shown is revoked.
    Tls(Tie, Box<TlsStream<TcpStream>>),
}

impl VisitorStream {
    /// Who is at the other end.
    pub fn visitor(&self) -> &Visitor {
        &self.visitor
    }
}

impl AsyncRead for VisitorStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Clear(stream) => Pin::new(stream).poll_read(context, buffer),
            Wire::Tls(tie, stream) => match tie.poll_cut(context) {
                Poll::Ready(cut) => Poll::Ready(Err(cut)),
                Poll::Pending => Pin::new(stream).poll_read(context, buffer),
            },
        }
    }
}

impl AsyncWrite for VisitorStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Clear(stream) => Pin::new(stream).poll_write(context, bytes),
            Wire::Tls(tie, stream) => {
                tie.check()?;
                Pin::new(stream).poll_write(context, bytes)
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Clear(stream) => Pin::new(stream).poll_flush(context),
            Wire::Tls(_, stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Clear(stream) => Pin::new(stream).poll_shutdown(context),
            Wire::Tls(_, stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
#[path = "visitors_tests.rs"]
mod tests;
