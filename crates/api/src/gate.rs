//! The gate before all services of an agent: who calls, whether they may, and a note of it in the audit log.
//!
//! It stands before the services rather than in them, so that there is no method that somebody forgot to guard: what the
//! table of [`crate::access`] does not name is not served, to nobody.
//!
//! A node may hand on what a person has asked of it. It shows that person's certificate, and the call counts as that
//! person's, with their role as the authority has written it; in its own name a node may do little more than gossip.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hafleet_identity::{Caller, Credentials, Principal};
use http::{HeaderMap, Request, Response};
use rustls_pki_types::CertificateDer;
use tonic::Status;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tower::{Layer, Service};

use crate::Failure;
use crate::access::{self, Method};
use crate::audit::{Attempt, Outcome, Recorder};
use crate::vouching::{self, CALLER_ADDRESS, ON_BEHALF_OF, ON_BEHALF_OF_BIN};

/// What makes the gate; a layer for tonic's server.
#[derive(Clone)]
pub struct Gate {
    credentials: Arc<Credentials>,
    recorder: Arc<dyn Recorder>,
}

impl Gate {
    /// A gate that believes what `credentials` believe, and tells `recorder` what was denied and what was changed.
    pub fn new(credentials: Arc<Credentials>, recorder: Arc<dyn Recorder>) -> Self {
        Self {
            credentials,
            recorder,
        }
    }

    /// Who calls: the holder of the connection's certificate, or the person for whom a node hands a call on.
    fn caller(&self, connected: Caller, headers: &HeaderMap) -> Result<Caller, Status> {
        let Principal::Node(node) = &connected.identity.principal else {
            return Ok(connected);
        };
        if !headers.contains_key(ON_BEHALF_OF_BIN) {
            return Ok(connected);
        }
        let metadata = MetadataMap::from_headers(headers.clone());
        let certificate = metadata
            .get_bin(ON_BEHALF_OF_BIN)
            .and_then(|value| value.to_bytes().ok());
        let certificate = certificate.ok_or_else(|| {
            Status::invalid_argument(format!("{ON_BEHALF_OF_BIN} cannot be read"))
        })?;
        let certificate = CertificateDer::from(certificate.to_vec());
        let identity = self.credentials.vouch_for_person(&certificate);
        let identity = identity.map_err(|refusal| {
            Status::permission_denied(format!(
                "node {node} hands on a call of somebody who may not: {refusal}; {}",
                refusal.remedy()
            ))
        })?;
        let said = metadata.get(CALLER_ADDRESS);
        let said: Option<SocketAddr> = said.and_then(|said| said.to_str().ok()?.parse().ok());
        Ok(Caller {
            via: Some(node.clone()),
            remote: said.unwrap_or(connected.remote),
            addresses: Vec::new(),
            certificate: Arc::new(certificate),
            identity,
        })
    }

    /// Whose word the gate takes.
    pub(crate) fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.credentials)
    }

    /// Lets `caller`, who did not come over gRPC, through to `method`, or says why not.
    pub(crate) fn admit_to(&self, caller: &Caller, method: Method) -> Result<(), Failure> {
        access::allow(caller, method).inspect_err(|failure| {
            let denied = Outcome::Denied(failure.to_string());
            let attempt = Attempt::new(caller, method.name);
            self.recorder.record(attempt.ended(denied));
        })
    }

    /// Does `work` for `caller`, who was let through to `method`, in their name, and notes how it ended.
    pub(crate) async fn note<T>(
        &self,
        caller: Caller,
        method: Method,
        note: &Note,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut attempt = Attempt::new(&caller, method.name);
        let done = vouching::for_caller(caller, work).await;
        if method.needed.is_audited() {
            let noted = note.noted().clone();
            attempt.subject = noted.subject;
            attempt.revision = noted.revision;
            let outcome = match &done {
                Ok(_) => Outcome::Done,
                Err(failure @ Failure::Denied { .. }) => Outcome::Denied(failure.to_string()),
                Err(failure) => Outcome::Failed(failure.to_string()),
            };
            self.recorder.record(attempt.ended(outcome));
        }
        done
    }

    /// Notes that somebody at `remote` was turned away, of whom no more is known.
    pub(crate) fn turned_away(&self, remote: SocketAddr, path: &str, why: &str) {
        let attempt = Attempt::of_stranger(remote, path);
        self.recorder
            .record(attempt.ended(Outcome::Denied(why.to_owned())));
    }

    fn admit(&self, path: &str, caller: &Caller) -> Result<Method, Status> {
        let method = access::method(path)
            .ok_or_else(|| Status::unimplemented(format!("this agent has no method {path}")))?;
        access::allow(caller, method)?;
        Ok(method)
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated {
            gate: self.clone(),
            inner,
        }
    }
}

/// The refusal of what a node hands on as agents of an earlier version did: with the caller's name, which proves nothing, and
/// without the certificate.
fn of_an_earlier_version(caller: &Caller, headers: &HeaderMap) -> Option<Status> {
    let node = caller.identity.node_id()?;
    headers.get(ON_BEHALF_OF)?;
    Some(Status::permission_denied(format!(
        "node {node} hands on a call without its caller's certificate, as agents of an earlier version do: upgrade it, and until then ask a node that is"
    )))
}

/// Services behind a [`Gate`].
#[derive(Clone)]
pub struct Gated<S> {
    gate: Gate,
    inner: S,
}

/// In the extensions of each request that the gate let through. What has none did not come through it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admitted;

/// In the extensions of each request that will be in the audit log: what the service knows of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Note(Arc<Mutex<Noted>>);

#[derive(Debug, Clone, Default)]
struct Noted {
    subject: String,
    revision: String,
}

impl Note {
    /// What a call is about, such as a node's name.
    pub(crate) fn about(&self, subject: impl Into<String>) {
        self.noted().subject = subject.into();
    }

    /// The revision that it made.
    pub(crate) fn made(&self, revision: Option<&crate::v1::RevisionInfo>) {
        if let Some(info) = revision {
            self.noted().revision.clone_from(&info.revision);
        }
    }

    /// The same.
    pub(crate) fn made_revision(&self, revision: Option<hafleet_model::Revision>) {
        if let Some(revision) = revision {
            self.noted().revision = revision.to_string();
        }
    }

    fn noted(&self) -> std::sync::MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Answering<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answering<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let refuse = |status: Status| -> Self::Future {
            Box::pin(std::future::ready(Ok(status.into_http())))
        };
        let Some(connected) = request.extensions_mut().remove::<Caller>() else {
            return refuse(Status::unauthenticated(
                "no client certificate was shown; see `hafleet pki issue`",
            ));
        };
        let recorder = Arc::clone(&self.gate.recorder);
        let path = request.uri().path().to_owned();
        let attempt = |caller: &Caller| Attempt::new(caller, &path);
        let caller = match self.gate.caller(connected.clone(), request.headers()) {
            Ok(caller) => caller,
            Err(status) => {
                let denied = Outcome::Denied(status.message().to_owned());
                recorder.record(attempt(&connected).ended(denied));
                return refuse(status);
            }
        };
        let method = match self.gate.admit(&path, &caller) {
            Ok(method) => method,
            Err(status) => {
                let earlier = of_an_earlier_version(&caller, request.headers());
                let status = earlier.unwrap_or(status);
                let denied = Outcome::Denied(status.message().to_owned());
                recorder.record(attempt(&caller).ended(denied));
                return refuse(status);
            }
        };
        let attempt = method.needed.is_audited().then(|| attempt(&caller));
        let note = Note::default();
        let extensions = request.extensions_mut();
        extensions.insert(caller.clone());
        extensions.insert(note.clone());
        extensions.insert(Admitted);
        // The clone takes the place of the one that was found ready.
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        Box::pin(async move {
            let answer = vouching::for_caller(caller, inner.call(request)).await;
            if let (Some(mut attempt), Ok(answer)) = (attempt, &answer) {
                let noted = note.noted().clone();
                attempt.subject = noted.subject;
                attempt.revision = noted.revision;
                recorder.record(attempt.ended(Outcome::of(answer.headers())));
            }
            answer
        })
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
