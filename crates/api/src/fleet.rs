//! The port between the wire and the agent: what an agent must be able to do for people and programs.

use crate::certificates::{CertificateList, CertificateStatus, CertificateWrite};
use crate::overrides::{Leave, OverrideWrite};
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use hafleet_identity::Caller;
use hafleet_model::overrides::{Provenance, Removal};
use hafleet_model::report::{Change, NodeReport};
use hafleet_model::secrets::CertificateName;
use hafleet_model::spec::Finding;
use hafleet_model::{FleetName, Header, NodeId, Revision, Term};

use crate::{Failure, v1};

/// Everything that the administration API asks of an agent. Texts of specs come as they were written; an
/// implementation validates them.
#[async_trait]
pub trait Fleet: Send + Sync + 'static {
    /// The fleet as this agent sees it.
    fn status(&self) -> Status;

    /// The same now, and again after each change, for as long as the caller listens.
    fn watch(&self) -> BoxStream<'static, Status>;

    /// One node in full, as it sees itself; this one if none is named. In the form of the wire, since what another
    /// node answers is passed on as it came.
    async fn node(&self, node: Option<NodeId>) -> Result<v1::NodeDetail, Failure>;

    /// Whether `spec` is valid here; warnings if it is.
    async fn check(&self, spec: &str) -> Result<Vec<Finding>, Failure>;

    /// The configuration that `node` would have from `spec`, or from the fleet's own.
    async fn render(&self, spec: Option<&str>, node: Option<NodeId>) -> Result<Rendering, Failure>;

    /// What `spec` would change, on all live nodes or on this one.
    async fn plan(&self, spec: &str, scope: Scope) -> Result<FleetPlan, Failure>;

    /// Makes `write` the fleet's newest spec.
    async fn apply(&self, write: Write) -> Result<Written, Failure>;

    /// Makes an earlier revision the newest again.
    async fn rollback(&self, rollback: Rollback) -> Result<Written, Failure>;

    /// One revision of the spec, the newest if none is named.
    async fn spec(&self, revision: Option<Revision>) -> Result<(Header, String), Failure>;

    /// The revisions that are kept, newest first.
    async fn history(&self) -> Result<History, Failure>;

    /// The fleet's certificates.
    async fn certificates(&self) -> Result<CertificateList, Failure>;

    /// One of them.
    async fn certificate(&self, name: &CertificateName) -> Result<CertificateStatus, Failure>;

    /// Adds, replaces or removes one.
    async fn write_certificate(&self, write: CertificateWrite) -> Result<Written, Failure>;

    /// Seals all of them under a new key.
    async fn rotate_secrets_key(&self, intent: Intent) -> Result<Written, Failure>;

    /// The sources of the backends' servers, as the leader sees them. In the form of the wire, since what another node
    /// answers is passed on as it came. What another agent has forwarded is not forwarded again.
    async fn sources(&self, is_forwarded: bool) -> Result<v1::ListSourcesResponse, Failure>;

    /// Lets through what is held back of a backend's servers.
    async fn confirm_endpoints(
        &self,
        backend: String,
        intent: Intent,
    ) -> Result<v1::ConfirmEndpointsResponse, Failure>;

    /// What operators did by hand. In the form of the wire, since what the leader answers to a change is passed on as it
    /// came.
    async fn overrides(&self) -> Result<v1::ListOverridesResponse, Failure>;

    /// Does something by hand, or takes it back.
    async fn write_override(
        &self,
        write: OverrideWrite,
    ) -> Result<v1::WriteOverrideResponse, Failure>;

    /// Has a node leave the fleet; its agent ends after that.
    async fn leave(&self, leave: Leave) -> Result<v1::WriteOverrideResponse, Failure>;

    /// Has a node, this one if none is named, run the fleet's spec again in place of a configuration of its own. In the form
    /// of the wire, since what another node answers is passed on as it came.
    async fn follow_fleet(&self, node: Option<NodeId>) -> Result<v1::FollowFleetResponse, Failure>;

    /// How the names in DNS stand, as the leader sees them. In the form of the wire, and forwarded, as for
    /// [`Fleet::sources`].
    async fn dns(&self, is_forwarded: bool) -> Result<v1::ListDnsResponse, Failure>;

    /// What the leader would change in DNS now.
    async fn plan_dns(&self, is_forwarded: bool) -> Result<v1::PlanDnsResponse, Failure>;

    /// Takes over a name in DNS whose records somebody else made.
    async fn adopt_dns(&self, name: String, intent: Intent) -> Result<(), Failure>;

    /// Gives up these names in DNS, or all if none is named; which they were.
    async fn release_dns(&self, names: Vec<String>, intent: Intent)
    -> Result<Vec<String>, Failure>;

    /// The newest `limit` records of the audit log, of all live nodes or of this one. In the form of the wire, as for
    /// [`Fleet::sources`].
    async fn audit(&self, limit: usize, scope: Scope) -> v1::ListAuditResponse;

    /// Takes a list of revoked certificates for the whole fleet.
    async fn publish_revocations(
        &self,
        list: Vec<u8>,
    ) -> Result<v1::PublishRevocationsResponse, Failure>;

    /// The newest list of `authority` that this node holds, in DER.
    async fn revocations(&self, authority: &str) -> Result<Vec<u8>, Failure>;

    /// Makes a join token, here or on a node that has an issuer.
    async fn create_join_token(
        &self,
        request: v1::CreateJoinTokenRequest,
        author: String,
    ) -> Result<v1::CreateJoinTokenResponse, Failure>;

    /// The join tokens of all nodes or of this one.
    async fn join_tokens(&self, scope: Scope) -> v1::ListJoinTokensResponse;

    /// Takes a join token back, on all nodes or on this one; which had it.
    async fn remove_join_token(&self, id: String, scope: Scope) -> Result<NodeId, Failure>;

    /// Certifies a new key for `caller`, a node, with the names that it has; as PEM with the issuer's certificate.
    async fn renew_certificate(&self, caller: &Caller, request: Vec<u8>)
    -> Result<String, Failure>;

    /// Takes what the Docker engine of `node` has, where this node leads.
    async fn publish_found(
        &self,
        node: NodeId,
        said: v1::publish_found_request::Said,
    ) -> Result<(), Failure>;
}

/// How far a plan asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every live node.
    Fleet,
    /// Only the node that was asked.
    ThisNode,
}

/// A fleet as one agent sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub fleet: FleetName,
    /// Who answers.
    pub node: NodeId,
    /// What the answering node is in it.
    pub role: LeaderRole,
    /// Who leads, if anyone.
    pub leader: Option<NodeId>,
    /// The highest term seen.
    pub term: Term,
    /// Every known node, by id.
    pub nodes: Vec<NodeStatus>,
    /// The newest spec held here.
    pub spec: Option<Header>,
    /// The newest endpoints held here.
    pub endpoints: Option<Header>,
    /// Revisions that lost when two lines of history met, and that nobody has dismissed.
    pub conflicts: Vec<Header>,
    /// Seeds that this node has never met and that count as nodes.
    pub unmet_seeds: Vec<String>,
    /// Nodes without which the fleet goes on.
    pub removed: Vec<(NodeId, Removal)>,
    /// How many nodes a write needs.
    pub majority: usize,
    /// By this node's clock, in milliseconds since 1970.
    pub at_ms: i64,
}

/// What a node is to the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaderRole {
    /// It leads.
    Leader,
    /// Another leads.
    Follower,
    /// It waits to see who is there, and why.
    Settling(String),
    /// It cannot lead, and why.
    Unfit(String),
}

/// A node as another sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// What it said last.
    pub report: NodeReport,
    /// Why it is taken to be dead; none while it lives.
    pub dead: Option<String>,
    /// Who drained it and why; none when nobody did.
    pub drained: Option<Provenance>,
    /// Whether the fleet has removed it, and has yet to take it in again.
    pub is_removed: bool,
}

/// A node in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDetail {
    /// As in status.
    pub node: NodeStatus,
    /// Whether it leads.
    pub is_leader: bool,
    /// Its last reloads, newest first.
    pub reloads: Vec<Reload>,
    /// Processes that are still finishing, oldest first.
    pub old_processes: Vec<OldProcess>,
    /// What was last found changed behind the agent's back and was put right, in words.
    pub drift: Vec<String>,
    /// The overrides that its HAProxy has.
    pub overrides: Option<Revision>,
    /// Connections that clients have to its HAProxy, without those of old processes; absent when it does not answer.
    pub current_connections: Option<u64>,
}

/// An HAProxy that no longer listens and finishes its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldProcess {
    /// Its process id.
    pub pid: u32,
    /// Since it was told to finish, in milliseconds.
    pub age_ms: u64,
    /// Connections that it still has.
    pub connections: u32,
}

/// A new HAProxy process in the place of an old one, or of none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    /// Counted up from 1 on each node.
    pub id: u64,
    /// When it began, in milliseconds since 1970 by the node's clock.
    pub at_ms: i64,
    /// The spec that it was for.
    pub revision: Revision,
    /// Why a new process was needed.
    pub reason: String,
    /// How the old process handed over; none when there was no old one.
    pub handover: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The new process, or why there is none.
    pub outcome: Result<u32, String>,
}

/// A configuration for one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendering {
    /// Which node.
    pub node: NodeId,
    /// Its haproxy.cfg.
    pub haproxy_cfg: String,
}

/// What a spec would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetPlan {
    /// The revision compared with.
    pub base: Option<Revision>,
    /// The difference as a unified diff.
    pub diff: String,
    /// What each node would do.
    pub nodes: Vec<NodePlan>,
}

/// What one node would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// Which node.
    pub node: NodeId,
    /// Its steps, or why it cannot say.
    pub outcome: Result<Steps, String>,
}

/// What it takes to bring one HAProxy to a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps {
    /// How much.
    pub change: Change,
    /// In words, in order.
    pub steps: Vec<String>,
    /// Why that much.
    pub reason: String,
}

/// A spec to write, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The text.
    pub spec: String,
    /// Conditions and words.
    pub intent: Intent,
}

/// A revision to return to, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback {
    /// Which revision becomes the newest again.
    pub revision: Revision,
    /// Conditions and words.
    pub intent: Intent,
}

/// Who writes, why, and on which conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Who, as their certificate names them.
    pub author: String,
    /// Why, in their words.
    pub comment: String,
    /// Refuse unless this is the current revision.
    pub expect: Option<Revision>,
    /// Write even without a live majority.
    pub force: bool,
    /// Another agent has forwarded this; it is not forwarded again.
    pub is_forwarded: bool,
}

/// A write that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// What it became.
    pub header: Header,
    /// Who has stored it.
    pub stored_by: Vec<NodeId>,
    /// How many nodes are known.
    pub known_nodes: usize,
    /// A majority has stored it.
    pub is_committed: bool,
    /// It was current already, so nothing was written.
    pub is_unchanged: bool,
    /// What HAProxy warns of.
    pub warnings: Vec<Finding>,
}

/// The revisions that a node keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The line of history, newest first.
    pub revisions: Vec<Header>,
    /// Revisions that lost, newest first.
    pub conflicts: Vec<Header>,
    /// Those about which nothing more is to be done, and who said so; newest first.
    pub dismissed: Vec<(Header, Provenance)>,
}
