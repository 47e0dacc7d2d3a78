//! Calls that another agent has to answer: writes, which the leader takes, and questions that only a node itself can
//! answer.

mod dns;
mod questions;
mod trust;

use std::time::Duration;

use hafleet_api::certificates::{CertificateChange, CertificateWrite};
use hafleet_api::convert::BadAnswer;
use hafleet_api::fleet::{Intent, NodePlan, Rendering, Rollback, Write, Written};
use hafleet_api::overrides::{Leave, OverrideChange, OverrideWrite, duration, state_message};
use hafleet_api::v1::{self, admin_client::AdminClient};
use hafleet_api::{Failure, failure, vouching};
use hafleet_cluster::Cluster;
use hafleet_identity::ConnectError;
use hafleet_model::NodeId;
use hafleet_model::spec::Finding;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// How long another agent may take for a write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(12);
/// How long the leader may take to take down what a node published.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long another agent may take to leave: it yields, waits for another leader, and has it write.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(27);
/// How long another agent may take to answer for itself.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a call did not come back with an answer.
pub(crate) enum Unanswered {
    /// The other agent never had it, so it may be sent again, there or elsewhere.
    NotSent(String),
    /// The other agent refused it, or may have done it.
    Final(Failure),
}

/// A write that the leader does: of the spec, by its text or by an earlier revision, or of a certificate.
pub(crate) enum LeaderWrite {
    /// This text.
    New(Write),
    /// What that revision was.
    Earlier(Rollback),
    /// This certificate.
    Certificate(CertificateWrite),
    /// All secrets under a new key.
    NewKey(Intent),
}

impl LeaderWrite {
    /// Who writes, why, and on which conditions.
    pub(crate) fn intent(&self) -> &Intent {
        match self {
            Self::New(write) => &write.intent,
            Self::Earlier(rollback) => &rollback.intent,
            Self::Certificate(write) => &write.intent,
            Self::NewKey(intent) => intent,
        }
    }

    /// The command that tells whether it was done.
    fn telling(&self) -> &'static str {
        match self {
            Self::New(_) | Self::Earlier(_) => "hafleet spec history",
            Self::Certificate(_) | Self::NewKey(_) => "hafleet certificate list",
        }
    }
}

/// The way to one other agent.
pub(crate) struct Forward {
    node: NodeId,
    channel: Channel,
    admin: AdminClient<Channel>,
}

impl Forward {
    pub(crate) fn to(cluster: &Cluster, node: &NodeId) -> Result<Self, Failure> {
        let channel = cluster.channel(node).map_err(|error| Failure::NoLeader {
            reason: error.to_string(),
        })?;
        let admin = hafleet_api::client(channel.clone());
        Ok(Self {
            node: node.clone(),
            channel,
            admin,
        })
    }

    /// Hands a write to the other agent, which should lead.
    pub(crate) async fn write(mut self, write: &LeaderWrite) -> Result<Written, Unanswered> {
        let intent = write.intent();
        let expected_revision = intent.expect.map(|revision| revision.to_string());
        let expected_revision = expected_revision.unwrap_or_default();
        let (comment, force_without_majority) = (intent.comment.clone(), intent.force);
        let telling = write.telling();
        match write {
            LeaderWrite::New(write) => {
                let message = v1::ApplySpecRequest {
                    spec: write.spec.clone(),
                    expected_revision,
                    comment,
                    force_without_majority,
                };
                let request = errand(message);
                let answer = self.admin.apply_spec(request).await;
                self.written(answer, telling)
            }
            LeaderWrite::Earlier(rollback) => {
                let message = v1::RollbackSpecRequest {
                    revision: rollback.revision.to_string(),
                    expected_revision,
                    comment,
                    force_without_majority,
                };
                let request = errand(message);
                let answer = self.admin.rollback_spec(request).await;
                self.written(answer, telling)
            }
            LeaderWrite::Certificate(write) => {
                let answer = self.write_certificate(write).await;
                self.written(answer, telling)
            }
            LeaderWrite::NewKey(_) => {
                let message = v1::RotateSecretsKeyRequest {
                    comment,
                    force_without_majority,
                };
                let request = errand(message);
                let answer = self.admin.rotate_secrets_key(request).await;
                self.written(answer, telling)
            }
        }
    }

    async fn write_certificate(
        &mut self,
        write: &CertificateWrite,
    ) -> Result<tonic::Response<v1::WriteCertificateResponse>, Status> {
        let CertificateWrite {
            name,
            change,
            intent,
        } = write;
        let (comment, force_without_majority) = (intent.comment.clone(), intent.force);
        match change {
            CertificateChange::Put { pem, allow_expired } => {
                let message = v1::PutCertificateRequest {
                    name: name.to_string(),
                    pem: pem.expose().to_owned(),
                    allow_expired: *allow_expired,
                    comment,
                    force_without_majority,
                };
                let request = errand(message);
                self.admin.put_certificate(request).await
            }
            CertificateChange::Remove { force } => {
                let message = v1::RemoveCertificateRequest {
                    name: name.to_string(),
                    force: *force,
                    comment,
                    force_without_majority,
                };
                let request = errand(message);
                self.admin.remove_certificate(request).await
            }
        }
    }

    /// What the other node would do with `spec`. A failure is its answer too.
    pub(crate) async fn plan(mut self, spec: &str) -> NodePlan {
        let message = v1::PlanSpecRequest {
            spec: spec.to_owned(),
            this_node_only: true,
        };
        let plan = match self
            .admin
            .plan_spec(within(message, QUESTION_TIMEOUT))
            .await
        {
            Ok(answer) => answer
                .into_inner()
                .nodes
                .into_iter()
                .next()
                .unwrap_or_default(),
            Err(status) => v1::NodePlan {
                error: words(&status),
                ..v1::NodePlan::default()
            },
        };
        let plan = v1::NodePlan {
            node_id: self.node.to_string(),
            ..plan
        };
        plan.try_into().unwrap_or_else(|error: BadAnswer| NodePlan {
            node: self.node,
            outcome: Err(error.to_string()),
        })
    }

    /// The other node in full, as it sees itself.
    pub(crate) async fn node(mut self) -> Result<v1::NodeDetail, Failure> {
        let node_id = self.node.to_string();
        let request = within(v1::GetNodeRequest { node_id }, QUESTION_TIMEOUT);
        let answer = self.admin.get_node(request).await;
        let answer = answer.map_err(|status| Failure::Answered(Box::new(status)))?;
        Ok(answer.into_inner())
    }

    pub(crate) async fn render(mut self, spec: Option<&str>) -> Result<Rendering, Failure> {
        let spec = spec.unwrap_or_default().to_owned();
        let message = v1::RenderSpecRequest {
            spec,
            node_id: self.node.to_string(),
        };
        let answer = self
            .admin
            .render_spec(within(message, QUESTION_TIMEOUT))
            .await;
        let answer = answer
            .map_err(|status| Failure::Answered(Box::new(status)))?
            .into_inner();
        Ok(Rendering {
            node: self.node,
            haproxy_cfg: answer.haproxy_cfg,
        })
    }

    /// Asks the other agent, which should lead, how the sources are.
    pub(crate) async fn sources(mut self) -> Result<v1::ListSourcesResponse, Unanswered> {
        let request = within(v1::ListSourcesRequest {}, QUESTION_TIMEOUT);
        let answer = self.admin.list_sources(request).await;
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| unanswered(&self.node, status, "hafleet sources"))
    }

    /// Has the other agent, which should lead, let through what is held back of `backend`.
    pub(crate) async fn confirm(
        mut self,
        backend: &str,
    ) -> Result<v1::ConfirmEndpointsResponse, Unanswered> {
        let backend = backend.to_owned();
        let request = errand(v1::ConfirmEndpointsRequest { backend });
        let answer = self.admin.confirm_endpoints(request).await;
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| unanswered(&self.node, status, "hafleet sources"))
    }

    /// Has the other agent, which should lead, do something by hand, or take it back.
    pub(crate) async fn write_override(
        mut self,
        write: &OverrideWrite,
    ) -> Result<v1::WriteOverrideResponse, Unanswered> {
        let intent = &write.intent;
        let (comment, force_without_majority) = (intent.comment.clone(), intent.force);
        let answer = match write.change.clone() {
            OverrideChange::Drain { node, lasting } => {
                let message = v1::DrainNodeRequest {
                    node_id: node.to_string(),
                    lasting: lasting.map(duration),
                    comment,
                    force_without_majority,
                };
                self.admin.drain_node(errand(message)).await
            }
            OverrideChange::Undrain { node } => {
                let message = v1::UndrainNodeRequest {
                    node_id: node.to_string(),
                    comment,
                    force_without_majority,
                };
                self.admin.undrain_node(errand(message)).await
            }
            OverrideChange::State {
                server,
                state,
                lasting,
            } => {
                let message = v1::SetServerStateRequest {
                    backend: server.backend,
                    server: server.server,
                    state: state_message(state).into(),
                    lasting: lasting.map(duration),
                    comment,
                    force_without_majority,
                };
                let request = errand(message);
                self.admin.set_server_state(request).await
            }
            OverrideChange::Weight {
                server,
                weight,
                lasting,
            } => {
                let message = v1::SetServerWeightRequest {
                    backend: server.backend,
                    server: server.server,
                    weight: weight.map(u32::from),
                    lasting: lasting.map(duration),
                    comment,
                    force_without_majority,
                };
                let request = errand(message);
                self.admin.set_server_weight(request).await
            }
            OverrideChange::Forget { node } => {
                let message = v1::ForgetNodeRequest {
                    node_id: node.to_string(),
                    comment,
                    force_without_majority,
                };
                self.admin.forget_node(errand(message)).await
            }
            OverrideChange::Leave { generation, .. } => {
                let message = v1::AcceptLeaveRequest {
                    generation,
                    comment,
                    force_without_majority,
                };
                self.admin.accept_leave(errand(message)).await
            }
            OverrideChange::Dismiss { kind, revision } => {
                let message = v1::DismissConflictRequest {
                    document: kind.to_string(),
                    revision: revision.to_string(),
                    comment,
                    force_without_majority,
                };
                let request = errand(message);
                self.admin.dismiss_conflict(request).await
            }
        };
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| unanswered(&self.node, status, "hafleet overrides"))
    }

    /// Has the other agent check a spec.
    pub(crate) async fn check(mut self, spec: &str) -> Result<Vec<Finding>, Unanswered> {
        let spec = spec.to_owned();
        let request = within(v1::CheckSpecRequest { spec }, QUESTION_TIMEOUT);
        match self.admin.check_spec(request).await {
            Ok(answer) => {
                let warnings = answer.into_inner().warnings.into_iter();
                Ok(warnings.map(Into::into).collect())
            }
            Err(status) if was_lost(&status) || ConnectError::within(&status).is_some() => {
                Err(Unanswered::NotSent(words(&status)))
            }
            Err(status) => Err(Unanswered::Final(Failure::Answered(Box::new(status)))),
        }
    }

    /// Has the other node run the fleet's spec again.
    pub(crate) async fn follow_fleet(mut self) -> Result<v1::FollowFleetResponse, Failure> {
        let message = v1::FollowFleetRequest {
            node_id: self.node.to_string(),
        };
        let answer = self
            .admin
            .follow_fleet(within(message, QUESTION_TIMEOUT))
            .await;
        let answer = answer.map_err(|status| Failure::Answered(Box::new(status)))?;
        Ok(answer.into_inner())
    }

    /// Has the other agent leave the fleet.
    pub(crate) async fn leave(
        mut self,
        leave: &Leave,
    ) -> Result<v1::WriteOverrideResponse, Failure> {
        let message = v1::LeaveFleetRequest {
            node_id: self.node.to_string(),
            comment: leave.intent.comment.clone(),
            force_without_majority: leave.intent.force,
            stop_haproxy: leave.stop_haproxy,
        };
        let request = within(message, LEAVE_TIMEOUT);
        let answer = self.admin.leave_fleet(request).await;
        let answer = answer.map_err(|status| Failure::Answered(Box::new(status)))?;
        Ok(answer.into_inner())
    }

    /// Tells the other agent, which should lead, what this node's own engine has.
    pub(crate) async fn publish(
        mut self,
        said: v1::publish_found_request::Said,
    ) -> Result<(), Unanswered> {
        let message = v1::PublishFoundRequest { said: Some(said) };
        let answer = self
            .admin
            .publish_found(within(message, PUBLISH_TIMEOUT))
            .await;
        answer
            .map(|_| ())
            .map_err(|status| Unanswered::NotSent(words(&status)))
    }

    /// The newest `limit` records of the other node's audit log.
    pub(crate) async fn audit(mut self, limit: u32) -> Result<Vec<v1::AuditRecord>, String> {
        let message = v1::ListAuditRequest {
            limit,
            this_node_only: true,
        };
        let answer = self
            .admin
            .list_audit(within(message, QUESTION_TIMEOUT))
            .await;
        let records = answer.map(|answer| answer.into_inner().records);
        records.map_err(|status| format!("{}: {}", self.node, words(&status)))
    }

    fn written<M: TryInto<Written, Error = BadAnswer>>(
        &self,
        answer: Result<tonic::Response<M>, Status>,
        telling: &str,
    ) -> Result<Written, Unanswered> {
        match answer {
            Ok(answer) => answer.into_inner().try_into().map_err(|error| {
                Unanswered::Final(Failure::Internal(format!("{}: {error}", self.node)))
            }),
            Err(status) => Err(unanswered(&self.node, status, telling)),
        }
    }
}

/// What it means that `leader` did not do what it was sent; `telling` is the command that tells whether it did.
fn unanswered(leader: &NodeId, status: Status, telling: &str) -> Unanswered {
    if failure::is_no_leader(&status) || ConnectError::within(&status).is_some() {
        return Unanswered::NotSent(words(&status));
    }
    if was_lost(&status) {
        return Unanswered::Final(Failure::TimedOut(format!(
            "leader {leader} went away during the call ({}), so it may or may not be done; \
             `{telling}` tells",
            status.message()
        )));
    }
    Unanswered::Final(Failure::Answered(Box::new(status)))
}

/// A call that may take as long as a write.
fn errand<T>(message: T) -> Request<T> {
    within(message, WRITE_TIMEOUT)
}

/// A call in the name of whoever asked for it.
fn within<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    vouching::vouch(&mut request);
    request
}

/// Whether the connection broke or time ran out, so that nobody knows what became of the call.
fn was_lost(status: &Status) -> bool {
    use tonic::Code;
    let has_details = !status.details().is_empty();
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded
    ) && !has_details
}

fn words(status: &Status) -> String {
    let findings = failure::findings(status);
    if findings.is_empty() {
        let cause = ConnectError::within(status).map(ToString::to_string);
        return cause.unwrap_or_else(|| status.message().to_owned());
    }
    findings
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
