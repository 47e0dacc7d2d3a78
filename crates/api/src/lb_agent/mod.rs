//! The HTTP listener for callers of lb-agent, an older program that gave one HAProxy a new haproxy.cfg and told the state
//! of one backend's servers. What it was asked is asked here in the same words, and answered for a whole fleet.
//!
//! - `door`: who calls, by a token, a certificate, or being on this machine.
//! - `backends`: how HAProxy's words for servers become ELB's, and what a fleet agrees on.
//! - `answer`: the forms of answers, and the HTTP status of each failure.
//!
//! What a caller may is decided by the same table as for all other calls ([`crate::access`]), and noted in the same
//! audit log.

mod answer;
mod backends;
mod door;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::routing::{get, post};
use futures_util::StreamExt as _;
use hafleet_identity::{Caller, Visitor, VisitorStream, Visitors};
use hafleet_model::Revision;
use hafleet_model::spec::MAX_SPEC_BYTES;
use hafleet_query::Asked;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::Failure;
use crate::access;
use crate::fleet::Scope;
use crate::gate::{Gate, Note};
use answer::{Answer, Refusal};
use door::Door;

pub use backends::{StateWords, wanted};
pub use door::{Keys, Local, TokenFiles, read_token};

/// How many configurations may be on their way in or being applied at once.
const MAX_RELOADS: usize = 4;
/// How long the head of a request may take, and a connection may be idle.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);
/// The longest head of a request, in bytes.
const MAX_HEAD_LEN: usize = 16 * 1024;

/// What the listener needs of an agent.
#[async_trait]
pub trait LbAgent: Send + Sync + 'static {
    /// Makes `configuration`, a whole haproxy.cfg, what the fleet or this node has, and returns when this node's HAProxy
    /// runs it: the fleet's revision with it, if it is the fleet's. `comment` is for the history; `author` asked for it.
    ///
    /// # Errors
    /// Why it is not so. Nothing was changed, unless the words say otherwise.
    async fn configure(
        &self,
        configuration: String,
        author: String,
        comment: String,
    ) -> Result<Option<Revision>, Failure>;

    /// What is [`wanted`] of `backend`: of all load balancers, or of this node alone.
    async fn servers(&self, backend: &str, scope: Scope) -> Asked;
}

/// What the listener is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose configuration is changed.
    pub scope: Scope,
    /// The backend whose servers are told.
    pub default_backend: String,
    /// Only servers whose names begin so; all if it is empty.
    pub only_prefix: String,
    /// In whose words their states are told.
    pub states: StateWords,
    /// How long a body may take to arrive.
    pub body_deadline: Duration,
}

/// The listener's part that is the same for all connections.
struct Shared {
    agent: Arc<dyn LbAgent>,
    gate: Gate,
    door: Door,
    settings: Settings,
    reloads: Semaphore,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Serves `visitors` until `stop`.
pub async fn serve(
    mut visitors: Visitors,
    agent: Arc<dyn LbAgent>,
    gate: Gate,
    keys: Keys,
    settings: Settings,
    stop: CancellationToken,
) {
    let router = router(agent, gate, keys, settings);
    loop {
        let stream = tokio::select! {
            stream = visitors.next() => stream,
            () = stop.cancelled() => None,
        };
        let Some(stream) = stream else {
            return;
        };
        let router = router.clone();
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = converse(stream, router) => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

fn router(agent: Arc<dyn LbAgent>, gate: Gate, keys: Keys, settings: Settings) -> Router {
    let shared = Arc::new(Shared {
        agent,
        door: Door::new(keys, gate.credentials()),
        gate,
        settings,
        reloads: Semaphore::new(MAX_RELOADS),
    });
    let reload = || post(reload).fallback(|method: Method| wrong_method(method, "POST"));
    Router::new()
        .route("/reloadHaproxy", reload())
        .route("/reload", reload())
        .route(
            "/getBackends",
            get(get_backends)
                .post(get_backends)
                .fallback(|method: Method| wrong_method(method, "GET, POST")),
        )
        .fallback(|uri: Uri| async move { Refusal::unknown_path(uri.path()).answer() })
        .with_state(shared)
}

async fn wrong_method(method: Method, allowed: &'static str) -> Answer {
    Refusal::wrong_method(&method, allowed).answer()
}

/// One connection, to its end.
async fn converse(stream: VisitorStream, router: Router) {
    let visitor = stream.visitor().clone();
    let remote = visitor.remote;
    let service = TowerToHyperService::new(router.layer(Extension(visitor)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(MAX_HEAD_LEN)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%remote, %error, "a connection of a caller of lb-agent broke");
    }
}

async fn reload(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let done = shared.reload(&visitor, &uri, &headers, body).await;
    done.map_or_else(Refusal::answer, |()| {
        Answer::success("Haproxy up to date".into())
    })
}

async fn get_backends(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    match shared.backends(&visitor, &uri, &headers).await {
        Ok(message) => Answer::success(message),
        Err(refusal) => refusal.answer(),
    }
}

impl Shared {
    async fn reload(
        &self,
        visitor: &Visitor,
        uri: &Uri,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(), Refusal> {
        let method = match self.settings.scope {
            Scope::Fleet => access::RELOAD_FLEET,
            Scope::ThisNode => access::RELOAD_NODE,
        };
        let caller = self.caller(visitor, uri, headers)?;
        // Before the body is read: nobody is to send megabytes for nothing.
        self.gate.admit_to(&caller, method)?;
        let Ok(_place) = self.reloads.try_acquire() else {
            return Err(Refusal::busy(MAX_RELOADS));
        };
        let configuration = self.text(headers, body).await?;
        let author = caller.identity.principal.to_string();
        let comment = format!("POST {} from {}", uri.path(), caller.remote);
        let note = Note::default();
        note.about(match self.settings.scope {
            Scope::Fleet => "the fleet",
            Scope::ThisNode => "this node",
        });
        let configured = async {
            let revision = self.agent.configure(configuration, author, comment).await?;
            note.made_revision(revision);
            Ok(())
        };
        Ok(self.gate.note(caller, method, &note, configured).await?)
    }

    async fn backends(
        &self,
        visitor: &Visitor,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<serde_json::Value, Refusal> {
        let caller = self.caller(visitor, uri, headers)?;
        self.gate.admit_to(&caller, access::GET_BACKENDS)?;
        let scope = scope(uri)?;
        let backend = &self.settings.default_backend;
        let asked = async { Ok(self.agent.servers(backend, scope).await) };
        let note = Note::default();
        let asked = self.gate.note(caller, access::GET_BACKENDS, &note, asked);
        let mut instances = backends::instances(backend, &asked.await?, self.settings.states)?;
        instances.retain(|instance| instance.instance_id.starts_with(&self.settings.only_prefix));
        serde_json::to_value(instances)
            .map_err(|error| Refusal::from(Failure::Internal(error.to_string())))
    }

    fn caller(&self, visitor: &Visitor, uri: &Uri, headers: &HeaderMap) -> Result<Caller, Refusal> {
        self.door.caller(visitor, headers).inspect_err(|refusal| {
            if self.door.is_worth_noting(visitor) {
                self.gate
                    .turned_away(visitor.remote, uri.path(), refusal.words());
            }
        })
    }

    /// The body as text, whole and in time.
    async fn text(&self, headers: &HeaderMap, body: Body) -> Result<String, Refusal> {
        if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
            && encoding != "identity"
        {
            return Err(Refusal::encoded(encoding));
        }
        let deadline = self.settings.body_deadline;
        let bytes = tokio::time::timeout(deadline, whole(body)).await;
        let bytes = bytes.map_err(|_| Refusal::slow(deadline))??;
        let text = String::from_utf8(bytes).map_err(|error| {
            Refusal::bad_body(&format!("it is not UTF-8: {}", error.utf8_error()))
        })?;
        if text.trim().is_empty() {
            return Err(Refusal::bad_body("it is empty: send the whole haproxy.cfg"));
        }
        let form = "application/x-www-form-urlencoded";
        let is_form = headers.get(header::CONTENT_TYPE).is_some_and(|t| t == form);
        if is_form && !text.trim_end().contains('\n') {
            return Err(Refusal::bad_body(
                "it is one line: curl takes line ends out with --data and -d, and leaves them with --data-binary",
            ));
        }
        Ok(text)
    }
}

/// All of a body that is not too long.
async fn whole(body: Body) -> Result<Vec<u8>, Refusal> {
    let mut whole = Vec::new();
    let mut parts = body.into_data_stream();
    while let Some(part) = parts.next().await {
        let part: Bytes = part.map_err(|error| Refusal::bad_body(&error.to_string()))?;
        if whole.len() + part.len() > MAX_SPEC_BYTES {
            return Err(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is too long: at most {MAX_SPEC_BYTES} bytes are taken"),
            ));
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole)
}

/// The load balancers that a question is about, by its `scope`.
fn scope(uri: &Uri) -> Result<Scope, Refusal> {
    let mut scope = Scope::ThisNode;
    let query = uri.query().unwrap_or_default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        scope = match pair {
            "scope=fleet" => Scope::Fleet,
            "scope=node" => Scope::ThisNode,
            other => {
                let other: String = other.chars().take(80).collect();
                return Err(Refusal::new(
                    StatusCode::BAD_REQUEST,
                    format!("{other:?} is not known: scope=node and scope=fleet are"),
                ));
            }
        };
    }
    Ok(scope)
}

#[cfg(test)]
mod tests;
