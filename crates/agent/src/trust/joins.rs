//! New nodes that obtain their certificates from this node's issuer, on a port of its own.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hafleet_api::audit::Recorder as _;
use hafleet_api::join::v1 as wire;
use hafleet_api::v1::audit_record::Outcome;
use hafleet_api::{Failure, v1};
use hafleet_cluster::Cluster;
use hafleet_identity::rate::Rates;
use hafleet_identity::{
    AuthorityError, Caller, Credentials, IssueRequest, JoinIncoming, JoinToken, Joiner, NodeIssuer,
    Source, certificate,
};
use hafleet_model::{Digest, FleetName, NodeId, with_causes};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::tokens::{KeptToken, TokenRefusal, Tokens};
use crate::audit::AuditLog;

/// How long a token is good unless it is said.
const DEFAULT_LASTING: Duration = Duration::from_secs(15 * 60);
/// The longest that a token may be good.
const MAX_LASTING: Duration = Duration::from_secs(24 * 3600);
/// The most addresses of one node.
const MAX_ADDRESSES: usize = 16;
/// How many tokens that are not good are looked at in a minute, from one address.
const WRONG_PER_MINUTE: NonZeroU32 = const { NonZeroU32::new(10).unwrap() };

/// An agent's issuer, as its file names it.
#[derive(Debug, Clone)]
pub struct IssuerConfig {
    /// Its certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Where it listens for new nodes.
    pub listen: SocketAddr,
    /// Where new nodes reach it.
    pub address: SocketAddr,
    /// How long the certificates that it makes are valid.
    pub valid_for: Duration,
}

/// This node's issuer at work.
pub(crate) struct Issuing {
    pub(crate) fleet: FleetName,
    pub(crate) node: NodeId,
    pub(crate) config: IssuerConfig,
    pub(crate) tokens: Tokens,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) cluster: Cluster,
    pub(crate) audit: AuditLog,
}

/// Reads the issuer of `config` and sees whether one of our authorities stands behind it.
///
/// # Errors
/// In words, when it cannot be used.
pub(crate) fn issuer(
    fleet: &FleetName,
    config: &IssuerConfig,
    credentials: &Credentials,
) -> Result<NodeIssuer, String> {
    let issuer = NodeIssuer::load(fleet, &config.certificate, &config.key)
        .map_err(|error| format!("issuer: {}", with_causes(&error)))?;
    if !credentials.vouch_for_issuer(&issuer) {
        let file = config.certificate.display();
        return Err(format!(
            "issuer.certificate: {file} is not signed by an authority in this agent's ca.pem: make one with `hafleet pki issuer`"
        ));
    }
    Ok(issuer)
}

impl Issuing {
    /// The file with the tokens of an agent that keeps its state in `data_dir`.
    pub(crate) fn tokens_in(data_dir: &Path) -> PathBuf {
        data_dir.join("join-tokens.json")
    }

    /// Makes a token.
    pub(crate) fn create(
        &self,
        request: &v1::CreateJoinTokenRequest,
        author: String,
    ) -> Result<v1::CreateJoinTokenResponse, Failure> {
        let now = Timestamp::now();
        let node = node_of(&request.node_id)?;
        let addresses = addresses_of(&request.addresses)?;
        let expires_at = expiry(request.lasting.as_ref(), now)?;
        let authority = self.credentials.authority_digest();
        let authority = authority.ok_or_else(|| {
            Failure::Internal("no authority stands behind this node's own certificate".to_owned())
        })?;
        let secret = JoinToken::make_secret();
        let (id, secret) = secret.map_err(|error| Failure::Internal(error.to_string()))?;
        let kept = KeptToken {
            id: id.clone(),
            secret: Digest::of(secret.expose().as_bytes()),
            node: node.clone(),
            addresses,
            expires_at_ms: expires_at.as_millisecond(),
            author,
            used_by: None,
        };
        let info = self.info(&kept);
        let added = self.tokens.add(kept, now);
        added
            .map_err(|error| Failure::Internal(format!("the token could not be kept: {error}")))?;
        let token = JoinToken {
            id,
            secret,
            fleet: self.fleet.clone(),
            node,
            authority,
            issuer: self.config.address,
            expires_at,
        };
        Ok(v1::CreateJoinTokenResponse {
            token: token.to_text().expose().to_owned(),
            info: Some(info),
        })
    }

    /// The tokens of this issuer.
    pub(crate) fn list(&self) -> Vec<v1::JoinTokenInfo> {
        let kept = self.tokens.list(Timestamp::now());
        kept.iter().map(|token| self.info(token)).collect()
    }

    /// Takes a token back. Whether it was here.
    pub(crate) fn remove(&self, id: &str) -> Result<bool, Failure> {
        let removed = self.tokens.remove(id, Timestamp::now());
        removed
            .map_err(|error| Failure::Internal(format!("the token could not be removed: {error}")))
    }

    /// Certifies a new key for `caller`, with the names that it has.
    pub(crate) fn renew(&self, caller: &Caller, request: &[u8]) -> Result<String, Failure> {
        let facts = certificate::facts(&caller.certificate)
            .map_err(|error| Failure::Internal(error.to_string()))?;
        let wanted = IssueRequest::like(&facts, self.config.valid_for)
            .map_err(|error| Failure::Internal(error.to_string()))?;
        let certified = self
            .certify(request, &wanted)
            .map_err(|error| match error {
                CertifyError::BadRequest(problem) => Failure::InvalidArgument {
                    field: "request",
                    problem,
                },
                CertifyError::Issuer(reason) => Failure::Internal(reason),
            })?;
        tracing::info!(node = %caller.identity.principal, "a certificate was renewed");
        Ok(certified)
    }

    fn info(&self, token: &KeptToken) -> v1::JoinTokenInfo {
        let name =
            |node: &Option<NodeId>| node.as_ref().map(ToString::to_string).unwrap_or_default();
        v1::JoinTokenInfo {
            id: token.id.clone(),
            node_id: name(&token.node),
            expires_at: Some(hafleet_api::convert::timestamp(token.expires_at_ms)),
            author: token.author.clone(),
            issuer: self.node.to_string(),
            addresses: token.addresses.iter().map(ToString::to_string).collect(),
            used_by: name(&token.used_by),
        }
    }

    /// The issuer is read anew each time, so that it can be replaced like any certificate.
    fn certify(&self, request: &[u8], wanted: &IssueRequest) -> Result<String, CertifyError> {
        let issuer =
            issuer(&self.fleet, &self.config, &self.credentials).map_err(CertifyError::Issuer)?;
        let certified = issuer.certify(request, wanted, SystemTime::now());
        certified.map_err(|error| match error {
            AuthorityError::BadRequest { reason } => CertifyError::BadRequest(reason),
            error => CertifyError::Issuer(with_causes(&error)),
        })
    }

    /// Does what `request` asks, if its token is good. The node that it is for, and the certificate.
    fn join(
        &self,
        request: &wire::JoinRequest,
        remote: IpAddr,
    ) -> Result<(NodeId, String), JoinRefusal> {
        let now = Timestamp::now();
        if request.fleet != self.fleet.as_str() {
            return Err(JoinRefusal::OtherFleet(self.fleet.clone()));
        }
        let named =
            node_of(&request.node_id).map_err(|error| JoinRefusal::Bad(error.to_string()))?;
        let (id, secret) = (&request.token_id, &request.secret);
        let token = self.tokens.check(id, secret, named.as_ref(), now)?;
        let node = self.name_for(&token, named)?;
        let addresses = granted(&token, &request.addresses, remote)?;
        let wanted = IssueRequest {
            valid_for: self.config.valid_for,
            ..IssueRequest::node(node.clone(), addresses)
        };
        let certified = self.certify(&request.request, &wanted)?;
        // Only now: a request that could not be granted does not use the token up.
        match self.tokens.spend(id, secret, &node, now) {
            Ok(Ok(())) => Ok((node, certified)),
            Ok(Err(refusal)) => Err(refusal.into()),
            Err(error) => Err(JoinRefusal::Failed(format!(
                "the use of the token could not be written down: {error}"
            ))),
        }
    }

    fn name_for(&self, token: &KeptToken, named: Option<NodeId>) -> Result<NodeId, JoinRefusal> {
        if let Some(meant) = &token.node {
            return Ok(meant.clone());
        }
        let node = named.ok_or_else(|| {
            JoinRefusal::Bad("the token names no node: say which with --node".to_owned())
        })?;
        let is_known = self.cluster.view().borrow().member(&node).is_some();
        if is_known || self.tokens.has_named(&node) {
            return Err(JoinRefusal::NameTaken(node));
        }
        Ok(node)
    }

    fn record(&self, request: &wire::JoinRequest, remote: SocketAddr, ended: &Ended) {
        let cut = |text: &str| text.chars().take(80).collect::<String>();
        let (outcome, subject, message) = match ended {
            Ok((node, _)) => (Outcome::Done, node.to_string(), String::new()),
            Err(refusal) => (Outcome::Denied, cut(&request.node_id), refusal.to_string()),
        };
        self.audit.record(v1::AuditRecord {
            at: Some(hafleet_api::convert::timestamp(
                Timestamp::now().as_millisecond(),
            )),
            caller: format!("token {}", cut(&request.token_id)),
            address: remote.to_string(),
            method: "Join".to_owned(),
            subject,
            outcome: outcome.into(),
            message,
            ..v1::AuditRecord::default()
        });
    }
}

type Ended = Result<(NodeId, String), JoinRefusal>;

enum CertifyError {
    BadRequest(String),
    Issuer(String),
}

/// Why a node may not join.
#[derive(Debug, thiserror::Error)]
enum JoinRefusal {
    #[error(transparent)]
    Token(#[from] TokenRefusal),
    #[error("this is an issuer of fleet {0}, and the token is of another")]
    OtherFleet(FleetName),
    #[error("there is a node {0} already: a token that shall replace it has to name it")]
    NameTaken(NodeId),
    #[error(
        "the token does not grant the address {0}, and the request comes from another one: make one with `hafleet pki token create --address {0}`"
    )]
    AddressNotGranted(IpAddr),
    #[error(
        "too many tokens that are not good have come from {0}: {WRONG_PER_MINUTE} a minute are looked at; wait some seconds, and try again with a good one"
    )]
    TooMany(IpAddr),
    #[error("{0}")]
    Bad(String),
    #[error("{0}")]
    Failed(String),
}

impl From<CertifyError> for JoinRefusal {
    fn from(error: CertifyError) -> Self {
        match error {
            CertifyError::BadRequest(reason) => Self::Bad(reason),
            CertifyError::Issuer(reason) => Self::Failed(reason),
        }
    }
}

impl From<&JoinRefusal> for Status {
    fn from(refusal: &JoinRefusal) -> Self {
        let words = refusal.to_string();
        match refusal {
            JoinRefusal::Bad(_) => Self::invalid_argument(words),
            JoinRefusal::Failed(_) => Self::internal(words),
            JoinRefusal::TooMany(_) => Self::resource_exhausted(words),
            _ => Self::permission_denied(words),
        }
    }
}

/// The addresses that a node's certificate shall grant: those of the token, or that from which it asks.
fn granted(
    token: &KeptToken,
    asked: &[String],
    remote: IpAddr,
) -> Result<Vec<IpAddr>, JoinRefusal> {
    let asked = addresses_of(asked).map_err(|error| JoinRefusal::Bad(error.to_string()))?;
    let granted = if token.addresses.is_empty() {
        vec![remote]
    } else {
        token.addresses.clone()
    };
    match asked.iter().find(|address| !granted.contains(address)) {
        Some(other) => Err(JoinRefusal::AddressNotGranted(*other)),
        None => Ok(granted),
    }
}

fn node_of(text: &str) -> Result<Option<NodeId>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    NodeId::new(text)
        .map(Some)
        .map_err(|error| Failure::InvalidArgument {
            field: "node_id",
            problem: error.to_string(),
        })
}

fn addresses_of(texts: &[String]) -> Result<Vec<IpAddr>, Failure> {
    let bad = |problem: String| Failure::InvalidArgument {
        field: "addresses",
        problem,
    };
    if texts.len() > MAX_ADDRESSES {
        let found = texts.len();
        return Err(bad(format!(
            "{found} are too many: {MAX_ADDRESSES} are allowed"
        )));
    }
    let read = |text: &String| {
        text.parse::<IpAddr>()
            .map_err(|_| bad(format!("{text:?} is not an IP address")))
    };
    let read: Result<BTreeSet<_>, _> = texts.iter().map(read).collect();
    Ok(read?.into_iter().collect())
}

fn expiry(lasting: Option<&pbjson_types::Duration>, now: Timestamp) -> Result<Timestamp, Failure> {
    let seconds = lasting.map_or(DEFAULT_LASTING.as_secs().cast_signed(), |lasting| {
        lasting.seconds
    });
    let longest = MAX_LASTING.as_secs().cast_signed();
    if !(1..=longest).contains(&seconds) {
        return Err(Failure::InvalidArgument {
            field: "lasting",
            problem: format!("{seconds} s is not allowed: 1 s to 24 h is"),
        });
    }
    let until = now.as_second().saturating_add(seconds);
    Timestamp::from_second(until).map_err(|error| Failure::Internal(error.to_string()))
}

/// The service of the issuer's port.
struct JoinService {
    issuing: Arc<Issuing>,
    /// Tokens that were not good.
    wrong: Rates<Source>,
}

impl JoinService {
    fn new(issuing: Arc<Issuing>) -> Self {
        Self {
            issuing,
            wrong: Rates::per_minute(WRONG_PER_MINUTE),
        }
    }

    /// Answers `request`, and notes it; but of an address from which too many tokens came that were not good, no token
    /// is looked at, and nothing is noted: it could fill the audit log.
    fn answer(&self, request: &wire::JoinRequest, remote: SocketAddr) -> Ended {
        let address = remote.ip().to_canonical();
        let source = Source::from(address);
        if !self.wrong.would_allow(&source, Instant::now()) {
            return Err(JoinRefusal::TooMany(address));
        }
        let ended = self.issuing.join(request, address);
        let is_wrong = matches!(ended, Err(JoinRefusal::Token(_)));
        if is_wrong
            && self.wrong.allow(source, Instant::now())
            && !self.wrong.would_allow(&source, Instant::now())
        {
            tracing::warn!(%address, "too many join tokens that are not good: no more are looked at for some seconds");
        }
        self.issuing.record(request, remote, &ended);
        ended
    }
}

#[tonic::async_trait]
impl wire::join_server::Join for JoinService {
    async fn join(
        &self,
        request: Request<wire::JoinRequest>,
    ) -> Result<Response<wire::JoinResponse>, Status> {
        let joiner = request.extensions().get::<Joiner>().copied();
        let remote = joiner
            .ok_or_else(|| Status::internal("where the request comes from is not known"))?
            .remote;
        let request = request.into_inner();
        match self.answer(&request, remote) {
            Ok((node, certificate_pem)) => {
                tracing::info!(%node, %remote, "a node has obtained its certificate by a token");
                Ok(Response::new(wire::JoinResponse {
                    certificate_pem,
                    authorities_pem: self.issuing.credentials.authorities_pem(),
                }))
            }
            Err(refusal) => Err((&refusal).into()),
        }
    }
}

/// Serves new nodes until `stop`. Without an issuer there are none.
pub(crate) async fn serve(
    issuing: Option<(Arc<Issuing>, TcpListener)>,
    stop: CancellationToken,
) -> Result<(), String> {
    let Some((issuing, listener)) = issuing else {
        stop.cancelled().await;
        return Ok(());
    };
    let incoming =
        JoinIncoming::new(listener, &issuing.credentials).map_err(|error| with_causes(&error))?;
    let address = issuing.config.address;
    tracing::info!(%address, "new nodes can obtain their certificates here");
    issuing
        .cluster
        .report(|report| report.join_address = Some(address));
    tonic::transport::Server::builder()
        .concurrency_limit_per_connection(1)
        .add_service(hafleet_api::join::server(JoinService::new(issuing)))
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await
        .map_err(|error| with_causes(&error))
}
