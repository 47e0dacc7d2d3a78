//! Addresses in memory, the connections between them, and the faults.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hafleet_cluster::Network;
use hafleet_identity::connect::{CONNECT_TIMEOUT, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT};
use hafleet_identity::{Caller, ConnectError, Connection, Identity};
use hafleet_model::NodeId;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::stream::MemoryStream;

/// A network of one process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct MemoryNetwork {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    places: Mutex<HashMap<SocketAddr, Arc<Place>>>,
    /// Ends of connections that were closed while their path was cut.
    limbo: Mutex<Vec<DuplexStream>>,
}

/// One process at one address.
#[derive(Debug)]
struct Place {
    identity: Identity,
    address: SocketAddr,
    incoming: mpsc::UnboundedSender<MemoryStream>,
    /// Cancelled when the process dies.
    life: CancellationToken,
    /// Between places of different sides nothing comes through.
    side: AtomicUsize,
    sent: AtomicU64,
}

/// The way from one process to another.
#[derive(Debug)]
pub(crate) struct Path {
    from: Arc<Place>,
    to: Arc<Place>,
    shared: Arc<Shared>,
}

impl Path {
    pub(crate) fn reversed(&self) -> Self {
        Self {
            from: Arc::clone(&self.to),
            to: Arc::clone(&self.from),
            shared: Arc::clone(&self.shared),
        }
    }

    pub(crate) fn is_cut(&self) -> bool {
        let side = |place: &Place| place.side.load(Ordering::Relaxed);
        side(&self.from) != side(&self.to)
    }

    /// Resolves when either process has died.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let (from, to) = (self.from.life.clone(), self.to.life.clone());
        async move {
            tokio::select! {
                () = from.cancelled() => {}
                () = to.cancelled() => {}
            }
        }
    }

    pub(crate) fn count(&self, bytes: usize) {
        self.from.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn keep_in_limbo(&self, end: DuplexStream) {
        lock(&self.shared.limbo).push(end);
    }
}

impl MemoryNetwork {
    /// Gives `address` to a process that is `identity`: its way out, and what comes in. Whatever had the address before is
    /// there no longer.
    pub fn listen(&self, identity: Identity, address: SocketAddr) -> (Arc<MemoryPort>, Incoming) {
        let (incoming, streams) = mpsc::unbounded_channel();
        let place = Arc::new(Place {
            identity,
            address,
            incoming,
            life: CancellationToken::new(),
            side: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
        });
        lock(&self.shared.places).insert(address, Arc::clone(&place));
        let port = MemoryPort {
            place,
            shared: Arc::clone(&self.shared),
        };
        (Arc::new(port), Incoming { streams })
    }

    /// The process at `address` dies: its connections break, and further ones are refused.
    pub fn kill(&self, address: SocketAddr) {
        if let Some(place) = lock(&self.shared.places).remove(&address) {
            place.life.cancel();
        }
    }

    /// Nothing comes through any more between `addresses` and all others, whatever sides there were before. Among
    /// themselves they are connected if they are of one `side`, which is not 0.
    pub fn cut_off(&self, addresses: &[SocketAddr], side: usize) {
        let places = lock(&self.shared.places);
        for place in addresses.iter().filter_map(|address| places.get(address)) {
            place.side.store(side, Ordering::Relaxed);
        }
    }

    /// Everything comes through again. Connections that have lost something break, as they do when a host answers that it
    /// does not know of them.
    pub fn heal(&self) {
        for place in lock(&self.shared.places).values() {
            place.side.store(0, Ordering::Relaxed);
        }
        let limbo = std::mem::take(&mut *lock(&self.shared.limbo));
        drop(limbo);
    }

    /// How many bytes all processes that are there have sent.
    pub fn sent(&self) -> u64 {
        let places = lock(&self.shared.places);
        let sent = places
            .values()
            .map(|place| place.sent.load(Ordering::Relaxed));
        sent.sum()
    }
}

/// A process's way out.
#[derive(Debug)]
pub struct MemoryPort {
    place: Arc<Place>,
    shared: Arc<Shared>,
}

impl MemoryPort {
    async fn dial(&self, to: SocketAddr) -> Result<(MemoryStream, Identity), ConnectError> {
        let target = to.to_string();
        let place = lock(&self.shared.places).get(&to).cloned();
        let Some(place) = place else {
            return Err(ConnectError::Refused { target });
        };
        let path = Path {
            from: Arc::clone(&self.place),
            to: Arc::clone(&place),
            shared: Arc::clone(&self.shared),
        };
        if path.is_cut() {
            tokio::time::sleep(CONNECT_TIMEOUT).await;
            return Err(ConnectError::TimedOut { target });
        }
        let caller = Caller {
            identity: self.place.identity.clone(),
            remote: self.place.address,
            addresses: Vec::new(),
            // Nobody looks at it: there is no TLS.
            certificate: Arc::new(Vec::new().into()),
            via: None,
        };
        let (near, far) = MemoryStream::pair(path, &caller);
        match place.incoming.send(far) {
            Ok(()) => Ok((near, place.identity.clone())),
            Err(_) => Err(ConnectError::Refused { target }),
        }
    }

    fn again(&self) -> Self {
        Self {
            place: Arc::clone(&self.place),
            shared: Arc::clone(&self.shared),
        }
    }
}

#[tonic::async_trait]
impl Network for MemoryPort {
    fn identity(&self) -> Identity {
        self.place.identity.clone()
    }

    fn granted(&self) -> Vec<IpAddr> {
        Vec::new()
    }

    async fn connect(&self, address: SocketAddr) -> Result<Connection, ConnectError> {
        let (stream, peer) = self.dial(address).await?;
        let stream = Arc::new(Mutex::new(Some(stream)));
        let connector = service_fn(move |_: http::Uri| {
            let stream = lock(&stream).take();
            async move {
                let stream = stream.map(TokioIo::new);
                stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
            }
        });
        let connected = endpoint(address).connect_with_connector(connector).await;
        let channel = connected.map_err(|error| ConnectError::NotHttp2 {
            target: address.to_string(),
            reason: error.to_string(),
        })?;
        Ok(Connection { channel, peer })
    }

    fn connect_lazy(&self, address: SocketAddr, node: &NodeId) -> Result<Channel, ConnectError> {
        let (port, node) = (Arc::new(self.again()), node.clone());
        let connector = service_fn(move |_: http::Uri| {
            let (port, node) = (Arc::clone(&port), node.clone());
            async move {
                let (stream, peer) = port.dial(address).await.map_err(io::Error::other)?;
                if peer.node_id() == Some(&node) {
                    Ok(TokioIo::new(stream))
                } else {
                    Err(io::Error::other("another node answers there"))
                }
            }
        });
        Ok(endpoint(address).connect_with_connector_lazy(connector))
    }
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}"))
        .expect("an address is an authority")
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
}

/// Connections for `Server::serve_with_incoming`. Dropping it closes the port.
#[derive(Debug)]
pub struct Incoming {
    streams: mpsc::UnboundedReceiver<MemoryStream>,
}

impl Stream for Incoming {
    type Item = io::Result<MemoryStream>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.streams.poll_recv(context).map(|next| next.map(Ok))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
