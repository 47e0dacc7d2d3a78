//! What the administration API asks, answered from the cluster and this node's HAProxy.

mod audit;
mod certificates;
mod dns;
mod leaving;
mod overrides;
mod sources;
mod trust;
mod written;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::BoxStream;
use hafleet_api::certificates::{CertificateList, CertificateStatus, CertificateWrite};
use hafleet_api::fleet::{
    FleetPlan, History, Intent, LeaderRole, NodeDetail, NodePlan, NodeStatus, OldProcess,
    Rendering, Rollback, Scope, Status, Steps, Write, Written,
};
use hafleet_api::overrides::{Leave, OverrideWrite};
use hafleet_api::{Failure, Fleet, v1};
use hafleet_cluster::{
    Cluster, Expect, Liveness, Member, Role, StoreError, View, WriteError, WriteRequest,
};
use hafleet_haproxy::Inspector;
use hafleet_identity::Caller;
use hafleet_model::overrides::Provenance;
use hafleet_model::report::{Change, NodeReport};
use hafleet_model::secrets::CertificateName;
use hafleet_model::spec::Finding;
use hafleet_model::{Document, DocumentKind, FleetName, Header, NodeId, Revision, diff};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_stream::wrappers::WatchStream;

use crate::audit::AuditLog;
use crate::candidate::Candidate;
use crate::certificates::CertificateKeeper;
use crate::compute::compute;
use crate::data_plane::LastSeen;
use crate::discovery::Board;
use crate::endpoints::EndpointsKeeper;
use crate::fitness::Fitness;
use crate::forward::{Forward, LeaderWrite, Unanswered};
use crate::overrides::{OverridesKeeper, ServerOverrides};
use crate::own::OwnKeeper;
use crate::publication::DnsBoard;
use crate::reloads::ReloadLog;
use crate::trust::joins::Issuing;
use crate::trust::revocations::RevocationKeeper;
use dns::{AdoptDns, ListDns, PlanDns, ReleaseDns};
use hafleet_model::with_causes;
pub(crate) use leaving::Leaving;
use sources::{ConfirmEndpoints, ListSources};

/// How long a write waits for a leader to be there. Together with what the leader may take (`forward`), it fits in
/// the 30 s that clients give a call.
const LEADER_WAIT: Duration = Duration::from_secs(12);
/// How long a revision that is written again may take to be known to a majority: gossip may lag behind.
const HOLDERS_WAIT: Duration = Duration::from_secs(2);
/// Between two attempts to hand a write to a leader that is just changing.
const LEADER_RETRY: Duration = Duration::from_millis(100);

/// This agent's answer to the administration API.
#[derive(Clone)]
pub(crate) struct AgentFleet {
    pub(crate) name: FleetName,
    pub(crate) node: NodeId,
    pub(crate) cluster: Cluster,
    pub(crate) inspector: Inspector,
    /// It runs no HAProxy.
    pub(crate) is_witness: bool,
    pub(crate) certificates: CertificateKeeper,
    pub(crate) endpoints: EndpointsKeeper,
    pub(crate) overrides: OverridesKeeper,
    pub(crate) own: OwnKeeper,
    pub(crate) board: Board,
    pub(crate) dns: DnsBoard,
    pub(crate) fitness: Fitness,
    pub(crate) reloads: ReloadLog,
    pub(crate) audit: AuditLog,
    pub(crate) revocations: RevocationKeeper,
    pub(crate) issuing: Option<Arc<Issuing>>,
    pub(crate) last_seen: watch::Receiver<LastSeen>,
    pub(crate) leaving: Leaving,
}

impl AgentFleet {
    fn status_of(&self, view: &View) -> Status {
        let leadership = &view.leadership;
        let role = match &leadership.role {
            Role::Leader(_) => LeaderRole::Leader,
            Role::Follower(..) => LeaderRole::Follower,
            Role::Settling { reason } => LeaderRole::Settling((*reason).to_owned()),
            Role::Unfit { reason } => LeaderRole::Unfit(reason.clone()),
        };
        let drained = self.overrides.holding();
        let node = |member: &hafleet_cluster::Member| NodeStatus {
            report: NodeReport::clone(&member.report),
            dead: dead_reason(member),
            drained: drained
                .nodes
                .get(&member.report.id)
                .map(|drain| drain.provenance.clone()),
            is_removed: !member.is_counted,
        };
        let newest = |kind| {
            let document = self.cluster.document(kind).borrow().clone();
            document.map(|document| document.header().clone())
        };
        Status {
            fleet: self.name.clone(),
            node: self.node.clone(),
            role,
            leader: leadership.leader.clone(),
            term: leadership.term,
            nodes: view.members.iter().map(node).collect(),
            spec: newest(DocumentKind::Spec),
            endpoints: newest(DocumentKind::Endpoints),
            conflicts: self.conflicts_of(DocumentKind::Spec),
            unmet_seeds: view.unmet_seeds.clone(),
            removed: drained.removed.clone().into_iter().collect(),
            majority: majority(view.known_count()),
            at_ms: jiff::Timestamp::now().as_millisecond(),
        }
    }

    /// Has the leader do something, wherever that is, waiting for one to be there. What another agent has forwarded is
    /// not forwarded again.
    async fn through_leader<E: Errand>(&self, errand: &E) -> Result<E::Done, Failure> {
        let deadline = Instant::now() + LEADER_WAIT;
        let is_forwarded = errand.is_forwarded();
        loop {
            let reason = match errand.here(self).await {
                Ok(done) => return Ok(done),
                Err(WriteFailure::Final(failure)) => return Err(failure),
                Err(WriteFailure::NotLeader {
                    leader: Some(leader),
                    ..
                }) if !is_forwarded => {
                    match errand.there(Forward::to(&self.cluster, &leader)?).await {
                        Ok(done) => return Ok(done),
                        Err(Unanswered::Final(failure)) => return Err(failure),
                        Err(Unanswered::NotSent(reason)) => reason,
                    }
                }
                Err(WriteFailure::NotLeader { reason, .. }) => reason,
            };
            if is_forwarded || Instant::now() >= deadline {
                return Err(Failure::NoLeader { reason });
            }
            tokio::time::sleep(LEADER_RETRY).await;
        }
    }

    /// Does a write here, if this node leads.
    async fn do_here(&self, write: &LeaderWrite) -> Result<Written, WriteFailure> {
        self.lead()?;
        match write {
            LeaderWrite::New(write) => self.write_here(&write.spec, &write.intent).await,
            LeaderWrite::Earlier(rollback) => {
                let earlier = self.find(rollback.revision).map_err(WriteFailure::Final)?;
                let mut intent = rollback.intent.clone();
                if intent.comment.is_empty() {
                    intent.comment = format!("back to {}", rollback.revision);
                }
                self.write_here(earlier.body(), &intent).await
            }
            LeaderWrite::Certificate(write) => self.write_certificate_here(write).await,
            LeaderWrite::NewKey(intent) => self.rotate_key_here(intent).await,
        }
    }

    /// Writes `spec` here, where the leader is.
    async fn write_here(&self, spec: &str, intent: &Intent) -> Result<Written, WriteFailure> {
        let warnings = self.validate(spec).await.map_err(WriteFailure::Final)?;
        if let Some(current) = self.unchanged(spec, intent) {
            let author = &intent.author;
            return Ok(written::as_it_is(&self.cluster, &current, author, warnings).await);
        }
        let written = self
            .cluster
            .write(WriteRequest {
                kind: DocumentKind::Spec,
                body: spec.into(),
                expect: intent.expect.map_or(Expect::Any, Expect::Revision),
                author: intent.author.clone(),
                comment: intent.comment.clone(),
                force: intent.force,
            })
            .await
            .map_err(WriteFailure::from)?;
        Ok(written::new_revision(written, warnings))
    }

    /// Ends early on a node that does not lead, so that only the leader validates.
    fn lead(&self) -> Result<(), WriteFailure> {
        let view = self.cluster.view();
        let view = view.borrow();
        match &view.leadership.role {
            Role::Leader(_) => Ok(()),
            role => Err(WriteFailure::NotLeader {
                leader: view.leadership.leader.clone(),
                reason: words(role),
            }),
        }
    }

    async fn validate(&self, spec: &str) -> Result<Vec<Finding>, Failure> {
        let candidate = self.candidate(spec)?;
        match self.is_witness {
            false => candidate.check(&self.inspector).await,
            true => self.check_elsewhere(spec).await,
        }
    }

    /// Has a node with HAProxy check `spec`: this one is a witness.
    async fn check_elsewhere(&self, spec: &str) -> Result<Vec<Finding>, Failure> {
        let mut reasons = Vec::new();
        for node in self.others_with_haproxy() {
            match Forward::to(&self.cluster, &node)?.check(spec).await {
                Ok(findings) => return Ok(findings),
                Err(Unanswered::Final(failure)) => return Err(failure),
                Err(Unanswered::NotSent(reason)) => reasons.push(format!("{node}: {reason}")),
            }
        }
        Err(Failure::NoHaproxy(match reasons.is_empty() {
            true => "there is none".to_owned(),
            false => reasons.join("; "),
        }))
    }

    /// `spec` as this node would have it, with the newest certificates, endpoints and overrides of the fleet.
    fn candidate(&self, spec: &str) -> Result<Candidate, Failure> {
        let brought = self.certificates.bring();
        brought.map_err(|error| Failure::Internal(with_causes(&error)))?;
        let found = self.endpoints.newest().found;
        let overrides = ServerOverrides::from(&self.overrides.holding());
        compute(|| Candidate::read(spec, &self.inspector, &found.endpoints, &overrides))
    }

    /// The current revision, when `spec` is the same to the letter and is what the writer expected to replace.
    fn unchanged(&self, spec: &str, intent: &Intent) -> Option<Arc<Document>> {
        let current = self.cluster.document(DocumentKind::Spec).borrow().clone()?;
        let is_expected = intent
            .expect
            .is_none_or(|expected| expected == current.revision());
        (current.body() == spec && is_expected).then_some(current)
    }

    /// A revision of the line, or one that lost in a conflict.
    fn find(&self, revision: Revision) -> Result<Arc<Document>, Failure> {
        let kind = DocumentKind::Spec;
        if let Some(document) = self
            .cluster
            .revision(kind, revision)
            .map_err(|error| internal(&error))?
        {
            return Ok(Arc::new(document));
        }
        let lost = self.cluster.conflicts(kind);
        let lost = lost
            .iter()
            .find(|conflict| conflict.header.stamp.revision == revision)
            .ok_or(Failure::UnknownRevision(revision))?;
        let document = self
            .cluster
            .stamped(kind, lost.header.stamp)
            .map_err(|error| internal(&error))?;
        document
            .map(Arc::new)
            .ok_or(Failure::UnknownRevision(revision))
    }

    /// The revisions of `kind` that lost in a conflict and that nobody has dismissed, newest first.
    fn conflicts_of(&self, kind: DocumentKind) -> Vec<Header> {
        let overrides = self.overrides.newest().overrides;
        let lost = self.cluster.conflicts(kind);
        let lost = lost.iter().rev().map(|conflict| &conflict.header);
        let lost = lost.filter(|header| overrides.dismissal(kind, header.stamp).is_none());
        lost.cloned().collect()
    }

    /// Those that somebody has dismissed, newest first.
    fn dismissed_of(&self, kind: DocumentKind) -> Vec<(Header, Provenance)> {
        let overrides = self.overrides.newest().overrides;
        let lost = self.cluster.conflicts(kind);
        let lost = lost.iter().rev().map(|conflict| &conflict.header);
        let dismissed = lost.filter_map(|header| {
            let dismissal = overrides.dismissal(kind, header.stamp)?;
            Some((header.clone(), dismissal.provenance.clone()))
        });
        dismissed.collect()
    }
}

/// How many of so many known nodes a write needs.
fn majority(known: usize) -> usize {
    known / 2 + 1
}

/// Why a member is not to be counted on; none when it is.
fn dead_reason(member: &Member) -> Option<String> {
    match &member.liveness {
        Liveness::Dead { reason } => Some(reason.clone()),
        Liveness::Live | Liveness::Suspect { .. } => None,
    }
}

/// What a node that does not lead is, in words.
fn words(role: &Role) -> String {
    match role {
        Role::Leader(term) => format!("this node leads term {term}"),
        Role::Follower(leader, term) => format!("{leader} leads term {term}"),
        Role::Settling { reason } => format!("nobody leads yet: {reason}"),
        Role::Unfit { reason } => format!("nobody leads, and this node cannot: {reason}"),
    }
}

fn internal(error: &StoreError) -> Failure {
    Failure::Internal(with_causes(error))
}

/// Something that only the leader does.
#[async_trait]
trait Errand: Sync {
    /// What comes of it.
    type Done: Send;

    /// Whether another agent has forwarded it.
    fn is_forwarded(&self) -> bool;

    /// Does it here, if this node leads.
    async fn here(&self, fleet: &AgentFleet) -> Result<Self::Done, WriteFailure>;

    /// Has the leader do it.
    async fn there(&self, leader: Forward) -> Result<Self::Done, Unanswered>;
}

#[async_trait]
impl Errand for LeaderWrite {
    type Done = Written;

    fn is_forwarded(&self) -> bool {
        self.intent().is_forwarded
    }

    async fn here(&self, fleet: &AgentFleet) -> Result<Written, WriteFailure> {
        fleet.do_here(self).await
    }

    async fn there(&self, leader: Forward) -> Result<Written, Unanswered> {
        leader.write(self).await
    }
}

/// Why a write was not done here.
enum WriteFailure {
    /// Another node has to do it.
    NotLeader {
        leader: Option<NodeId>,
        reason: String,
    },
    /// Nobody will.
    Final(Failure),
}

impl From<WriteError> for WriteFailure {
    fn from(error: WriteError) -> Self {
        let words = with_causes(&error);
        Self::Final(match error {
            WriteError::NotLeader { leader, .. } => {
                let leader = leader.map(|(node, _)| node);
                return Self::NotLeader {
                    leader,
                    reason: words,
                };
            }
            WriteError::Overtaken => {
                return Self::NotLeader {
                    leader: None,
                    reason: words,
                };
            }
            WriteError::NoMajority {
                live,
                known,
                missing,
            } => Failure::NoMajority {
                live,
                known,
                needed: majority(known),
                missing: missing.iter().map(ToString::to_string).collect(),
            },
            WriteError::Unexpected {
                expected: Expect::Revision(expected),
                found: current,
                ..
            } => Failure::Conflict { expected, current },
            WriteError::TooLarge { what, .. } => Failure::InvalidArgument {
                field: what,
                problem: words,
            },
            _ => Failure::Internal(words),
        })
    }
}

impl AgentFleet {
    /// Connections of clients to this node's HAProxy; none when it does not say.
    async fn client_connections(&self) -> Option<u64> {
        let counted = self.inspector.client_connections().await;
        if let Err(error) = &counted {
            tracing::warn!(error = %with_causes(error), "HAProxy does not say how many connections it has");
        }
        counted.ok()
    }
}

#[async_trait]
impl Fleet for AgentFleet {
    fn status(&self) -> Status {
        let view = self.cluster.view();
        let view = view.borrow().clone();
        self.status_of(&view)
    }

    fn watch(&self) -> BoxStream<'static, Status> {
        let fleet = self.clone();
        WatchStream::new(self.cluster.view())
            .map(move |view| fleet.status_of(&view))
            .boxed()
    }

    async fn node(&self, node: Option<NodeId>) -> Result<v1::NodeDetail, Failure> {
        if let Some(node) = node.filter(|node| *node != self.node) {
            self.known(&node)?;
            return Forward::to(&self.cluster, &node)?.node().await;
        }
        let status = self.status();
        let is_leader = status.leader.as_ref() == Some(&self.node);
        let own = status
            .nodes
            .into_iter()
            .find(|node| node.report.id == self.node);
        let node = own.ok_or_else(|| Failure::UnknownNode(self.node.clone()))?;
        let reloads = self
            .reloads
            .newest_first()
            .into_iter()
            .map(Into::into)
            .collect();
        let seen = self.last_seen.borrow().clone();
        let old = |old: &hafleet_haproxy::OldProcess| OldProcess {
            pid: old.pid,
            age_ms: u64::try_from(old.age.as_millis()).unwrap_or(u64::MAX),
            connections: old.connections,
        };
        Ok(NodeDetail {
            node,
            is_leader,
            reloads,
            old_processes: seen.old_processes.iter().map(old).collect(),
            drift: seen.drift,
            overrides: seen.overrides,
            current_connections: self.client_connections().await,
        }
        .into())
    }

    async fn check(&self, spec: &str) -> Result<Vec<Finding>, Failure> {
        self.validate(spec).await
    }

    async fn render(&self, spec: Option<&str>, node: Option<NodeId>) -> Result<Rendering, Failure> {
        if let Some(node) = node.filter(|node| *node != self.node) {
            self.known(&node)?;
            return Forward::to(&self.cluster, &node)?.render(spec).await;
        }
        let text = match spec {
            Some(text) => text.to_owned(),
            None => self.spec(None).await?.1,
        };
        let candidate = self.candidate(&text)?;
        Ok(Rendering {
            node: self.node.clone(),
            haproxy_cfg: self.inspector.preview(candidate.rendered()),
        })
    }

    async fn plan(&self, spec: &str, scope: Scope) -> Result<FleetPlan, Failure> {
        self.validate(spec).await?;
        let base = self.cluster.document(DocumentKind::Spec).borrow().clone();
        let name = base
            .as_ref()
            .map_or_else(|| "nothing".to_owned(), |base| base.revision().to_string());
        let diff = diff::unified(
            &name,
            base.as_ref().map_or("", |base| base.body()),
            "this spec",
            spec,
        );
        let mut nodes = Vec::new();
        if !self.is_witness {
            nodes.push(NodePlan {
                node: self.node.clone(),
                outcome: self.plan_here(spec).await?,
            });
        }
        if scope == Scope::Fleet {
            nodes.extend(
                join_all(
                    self.others_with_haproxy()
                        .into_iter()
                        .map(|node| self.plan_there(node, spec)),
                )
                .await,
            );
            nodes.sort_by(|a, b| a.node.cmp(&b.node));
        }
        Ok(FleetPlan {
            base: base.map(|base| base.revision()),
            diff,
            nodes,
        })
    }

    async fn apply(&self, write: Write) -> Result<Written, Failure> {
        self.through_leader(&LeaderWrite::New(write)).await
    }

    async fn rollback(&self, rollback: Rollback) -> Result<Written, Failure> {
        self.through_leader(&LeaderWrite::Earlier(rollback)).await
    }

    async fn spec(&self, revision: Option<Revision>) -> Result<(Header, String), Failure> {
        let document = match revision {
            Some(revision) => self.find(revision)?,
            None => {
                let newest = self.cluster.document(DocumentKind::Spec);
                let newest = newest.borrow().clone();
                newest.ok_or(Failure::NoSpec)?
            }
        };
        Ok((document.header().clone(), document.body().to_owned()))
    }

    async fn history(&self) -> Result<History, Failure> {
        Ok(History {
            revisions: self
                .cluster
                .history(DocumentKind::Spec)
                .map_err(|error| internal(&error))?,
            conflicts: self.conflicts_of(DocumentKind::Spec),
            dismissed: self.dismissed_of(DocumentKind::Spec),
        })
    }

    async fn certificates(&self) -> Result<CertificateList, Failure> {
        self.certificate_list()
    }

    async fn certificate(&self, name: &CertificateName) -> Result<CertificateStatus, Failure> {
        self.certificate_status(name)
    }

    async fn write_certificate(&self, write: CertificateWrite) -> Result<Written, Failure> {
        self.through_leader(&LeaderWrite::Certificate(write)).await
    }

    async fn rotate_secrets_key(&self, intent: Intent) -> Result<Written, Failure> {
        self.through_leader(&LeaderWrite::NewKey(intent)).await
    }

    async fn sources(&self, is_forwarded: bool) -> Result<v1::ListSourcesResponse, Failure> {
        self.through_leader(&ListSources { is_forwarded }).await
    }

    async fn confirm_endpoints(
        &self,
        backend: String,
        intent: Intent,
    ) -> Result<v1::ConfirmEndpointsResponse, Failure> {
        self.through_leader(&ConfirmEndpoints { backend, intent })
            .await
    }

    async fn overrides(&self) -> Result<v1::ListOverridesResponse, Failure> {
        Ok(self.override_list())
    }

    async fn write_override(
        &self,
        write: OverrideWrite,
    ) -> Result<v1::WriteOverrideResponse, Failure> {
        self.through_leader(&write).await
    }

    async fn leave(&self, leave: Leave) -> Result<v1::WriteOverrideResponse, Failure> {
        self.leave_fleet(leave).await
    }

    async fn follow_fleet(&self, node: Option<NodeId>) -> Result<v1::FollowFleetResponse, Failure> {
        if let Some(node) = node.filter(|node| *node != self.node) {
            self.known(&node)?;
            return Forward::to(&self.cluster, &node)?.follow_fleet().await;
        }
        let given_up = self.own.give_up().await;
        let given_up = given_up.map_err(|error| Failure::Internal(error.to_string()))?;
        if let Some(own) = &given_up {
            tracing::info!(was = own.words(), "this node follows the fleet again");
        }
        Ok(v1::FollowFleetResponse {
            node_id: self.node.to_string(),
            given_up: given_up.map(|own| own.report(None).into()),
        })
    }

    async fn dns(&self, is_forwarded: bool) -> Result<v1::ListDnsResponse, Failure> {
        self.through_leader(&ListDns { is_forwarded }).await
    }

    async fn plan_dns(&self, is_forwarded: bool) -> Result<v1::PlanDnsResponse, Failure> {
        self.through_leader(&PlanDns { is_forwarded }).await
    }

    async fn adopt_dns(&self, name: String, intent: Intent) -> Result<(), Failure> {
        self.through_leader(&AdoptDns { name, intent }).await
    }

    async fn release_dns(
        &self,
        names: Vec<String>,
        intent: Intent,
    ) -> Result<Vec<String>, Failure> {
        self.through_leader(&ReleaseDns { names, intent }).await
    }

    async fn audit(&self, limit: usize, scope: Scope) -> v1::ListAuditResponse {
        match scope {
            Scope::ThisNode => v1::ListAuditResponse {
                records: self.audit.newest(limit),
                missing: Vec::new(),
            },
            Scope::Fleet => self.audit_of_all(limit).await,
        }
    }

    async fn publish_revocations(
        &self,
        list: Vec<u8>,
    ) -> Result<v1::PublishRevocationsResponse, Failure> {
        self.take_revocations(&list)
    }

    async fn revocations(&self, authority: &str) -> Result<Vec<u8>, Failure> {
        let list = self.revocations.list(authority);
        list.ok_or_else(|| Failure::UnknownRevocations(authority.chars().take(40).collect()))
    }

    async fn create_join_token(
        &self,
        request: v1::CreateJoinTokenRequest,
        author: String,
    ) -> Result<v1::CreateJoinTokenResponse, Failure> {
        self.make_token(request, author).await
    }

    async fn join_tokens(&self, scope: Scope) -> v1::ListJoinTokensResponse {
        self.list_tokens(scope).await
    }

    async fn remove_join_token(&self, id: String, scope: Scope) -> Result<NodeId, Failure> {
        self.take_token_back(id, scope).await
    }

    async fn renew_certificate(
        &self,
        caller: &Caller,
        request: Vec<u8>,
    ) -> Result<String, Failure> {
        let nobody = || Failure::NoIssuer(format!("node {} has no issuer", self.node));
        let issuing = self.issuing.as_ref().ok_or_else(nobody)?;
        issuing.renew(caller, &request)
    }

    async fn publish_found(
        &self,
        node: NodeId,
        said: v1::publish_found_request::Said,
    ) -> Result<(), Failure> {
        self.take_published(node, said)
    }
}

impl AgentFleet {
    /// Refuses a node that nobody knows.
    fn known(&self, node: &NodeId) -> Result<(), Failure> {
        match self.cluster.view().borrow().member(node) {
            Some(_) => Ok(()),
            None => Err(Failure::UnknownNode(node.clone())),
        }
    }

    /// The live nodes but this one.
    fn others(&self) -> Vec<NodeId> {
        let view = Arc::clone(&self.cluster.view().borrow());
        let others = view.live_peers();
        others.map(|member| member.report.id.clone()).collect()
    }

    /// The live nodes but this one that run an HAProxy.
    fn others_with_haproxy(&self) -> Vec<NodeId> {
        let view = Arc::clone(&self.cluster.view().borrow());
        let others = view.live_peers();
        let others = others.filter(|member| !member.report.is_witness);
        others.map(|member| member.report.id.clone()).collect()
    }

    /// What it would take to run `spec` here, or why nobody can say.
    async fn plan_here(&self, spec: &str) -> Result<Result<Steps, String>, Failure> {
        let candidate = self.candidate(spec)?;
        Ok(match self.own.newest() {
            None => candidate.plan(&self.inspector).await,
            Some(own) => Ok(Steps {
                change: Change::Nothing,
                steps: Vec::new(),
                reason: own.words(),
            }),
        })
    }

    async fn plan_there(&self, node: NodeId, spec: &str) -> NodePlan {
        match Forward::to(&self.cluster, &node) {
            Ok(forward) => forward.plan(spec).await,
            Err(failure) => NodePlan {
                node,
                outcome: Err(failure.to_string()),
            },
        }
    }
}
