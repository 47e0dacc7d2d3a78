//! How much anybody may ask of this agent over a connection that was let in: how often, how much at once, and how slowly.
//!
//! What connections may come at all is decided before ([`hafleet_identity::admission`]). A call that is over a limit is
//! refused with `RESOURCE_EXHAUSTED` or `DEADLINE_EXCEEDED` and words that say which; the connection goes on. Gossip is a
//! call that lasts as long as its connection, and has limits of its own where its frames are read.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hafleet_identity::rate::Rates;
use hafleet_identity::{Caller, Identity};
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::Server;

/// The one call whose request never ends.
const GOSSIP: &str = "/hafleet.v1.Peer/Gossip";
/// What a node may do more than a person: it passes on what all people ask of it.
const NODE_FACTOR: NonZeroU32 = const { NonZeroU32::new(20).unwrap() };
/// A silent connection is asked for a sign of life after this time, and is given it once more to answer.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// The longest headers of a call, in bytes.
const MAX_HEADERS_LEN: u32 = 16 * 1024;
/// How often a line in the log tells of calls that were refused.
const TELL_INTERVAL: Duration = Duration::from_secs(10);
/// Above so many callers, those who ask nothing now are forgotten.
const MAX_CALLERS: usize = 1_000;

/// What may be asked over connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLimits {
    /// Calls at once on one connection.
    pub streams_per_connection: u32,
    /// Calls a second by one person, twice as many in a burst; a node may make twenty times as many.
    pub requests_per_second: NonZeroU32,
    /// How long the message of a call may take to arrive.
    pub message_deadline: Duration,
    /// How many bytes of messages that are not answered yet one person or node may have sent, over all its connections.
    pub message_bytes: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            streams_per_connection: 128,
            requests_per_second: const { NonZeroU32::new(500).unwrap() },
            message_deadline: Duration::from_secs(30),
            message_bytes: 256 * 1024 * 1024,
        }
    }
}

impl RequestLimits {
    /// A server whose connections keep to the limits that HTTP/2 has itself.
    pub(crate) fn server(&self) -> Server {
        Server::builder()
            .max_concurrent_streams(self.streams_per_connection)
            .http2_max_header_list_size(MAX_HEADERS_LEN)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
    }
}

/// The layer around all services.
#[derive(Clone)]
pub(crate) struct RequestGuard {
    shared: Arc<Shared>,
}

struct Shared {
    limits: RequestLimits,
    people: Rates<Identity>,
    nodes: Rates<Identity>,
    sent: Mutex<HashMap<Identity, Arc<AtomicUsize>>>,
    refused: Mutex<Refused>,
}

/// Calls that were refused since the start.
#[derive(Default)]
struct Refused {
    count: u64,
    /// When that was last told, and how many there were then.
    told: Option<(Instant, u64)>,
}

impl Refused {
    /// Counts one more at `now`; gives how many there are and how many of them are new, when it is time to tell.
    fn one_more(&mut self, now: Instant) -> Option<(u64, u64)> {
        self.count += 1;
        let before = match self.told {
            Some((at, _)) if now.duration_since(at) < TELL_INTERVAL => return None,
            told => told.map_or(0, |(_, before)| before),
        };
        self.told = Some((now, self.count));
        Some((self.count, self.count - before))
    }
}

impl RequestGuard {
    pub(crate) fn new(limits: RequestLimits) -> Self {
        let people = limits.requests_per_second;
        let shared = Shared {
            people: Rates::new(people),
            nodes: Rates::new(people.saturating_mul(NODE_FACTOR)),
            limits,
            sent: Mutex::default(),
            refused: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }
}

impl Shared {
    fn admit(&self, caller: &Identity) -> Result<(), Status> {
        let rates = match caller.node_id() {
            Some(_) => &self.nodes,
            None => &self.people,
        };
        if rates.allow(caller.clone(), Instant::now()) {
            return Ok(());
        }
        self.count(caller, "too many calls a second");
        let per_second = self.limits.requests_per_second;
        Err(Status::resource_exhausted(format!(
            "too many calls: {per_second} a second are allowed to a person; wait a moment (limits.requests_per_second in agent.toml)"
        )))
    }

    /// What `caller` has sent and was not answered.
    fn sent_by(&self, caller: &Identity) -> Arc<AtomicUsize> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if sent.len() > MAX_CALLERS {
            sent.retain(|_, bytes| Arc::strong_count(bytes) > 1);
        }
        Arc::clone(sent.entry(caller.clone()).or_default())
    }

    /// A line in the log now and then, since somebody may cause many.
    fn count(&self, caller: &Identity, reason: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let told = refused.one_more(Instant::now());
        drop(refused);
        if let Some((count, since_last)) = told {
            tracing::warn!(%caller, reason, count, since_last, "calls are refused");
        }
    }
}

impl<S> tower::Layer<S> for RequestGuard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            shared: Arc::clone(&self.shared),
            inner,
        }
    }
}

/// A service behind the guard.
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    shared: Arc<Shared>,
    inner: S,
}

impl<S> tower::Service<http::Request<Body>> for Guarded<S>
where
    S: tower::Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Some(caller) = request.extensions().get::<Caller>().cloned() else {
            let unknown = Status::unauthenticated("the caller is not known");
            return Box::pin(async move { Ok(unknown.into_http()) });
        };
        let caller = caller.identity;
        if let Err(refused) = self.shared.admit(&caller) {
            return Box::pin(async move { Ok(refused.into_http()) });
        }
        if request.uri().path() == GOSSIP {
            return Box::pin(self.inner.call(request));
        }
        let sending = Arc::new(Sending {
            bytes: AtomicUsize::default(),
            total: self.shared.sent_by(&caller),
        });
        let (shared, of_body) = (Arc::clone(&self.shared), Arc::clone(&sending));
        let request = request.map(|inner| {
            Body::new(TimedBody {
                deadline: Box::pin(tokio::time::sleep(shared.limits.message_deadline)),
                shared,
                caller,
                sending: of_body,
                inner,
            })
        });
        let answered = self.inner.call(request);
        Box::pin(async move {
            // What was sent counts until it is answered.
            let _sending = sending;
            answered.await
        })
    }
}

/// What one call has sent. It counts for the caller until it is dropped.
struct Sending {
    bytes: AtomicUsize,
    total: Arc<AtomicUsize>,
}

impl Drop for Sending {
    fn drop(&mut self) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.total.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A call's message on its way in, which has to end in time.
struct TimedBody {
    deadline: Pin<Box<Sleep>>,
    shared: Arc<Shared>,
    caller: Identity,
    sending: Arc<Sending>,
    inner: Body,
}

impl TimedBody {
    fn count(&self, len: usize) -> Result<(), Status> {
        self.sending.bytes.fetch_add(len, Ordering::Relaxed);
        let total = self.sending.total.fetch_add(len, Ordering::Relaxed) + len;
        if total <= self.shared.limits.message_bytes {
            return Ok(());
        }
        self.shared
            .count(&self.caller, "too much that is not answered yet");
        Err(Status::resource_exhausted(
            "too much was sent that is not answered yet: wait for answers",
        ))
    }
}

impl http_body::Body for TimedBody {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let len = frame.data_ref().map_or(0, bytes::Bytes::len);
                Poll::Ready(Some(self.count(len).map(|()| frame)))
            }
            Poll::Pending if self.deadline.as_mut().poll(context).is_ready() => {
                self.shared
                    .count(&self.caller, "a message does not come to its end");
                let within = self.shared.limits.message_deadline;
                let late = format!("the message did not come to its end within {within:?}");
                Poll::Ready(Some(Err(Status::deadline_exceeded(late))))
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
