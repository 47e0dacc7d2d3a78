//! The `Admin` service: reads a request, asks the [`Fleet`], writes the answer. It decides nothing but access.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use hafleet_identity::{Caller, Principal};
use hafleet_model::secrets::Confidential;
use hafleet_model::{NodeId, Revision, Spec, diff};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::certificates::{CertificateChange, CertificateWrite};
use crate::fleet::{Fleet, Intent, Rollback, Scope, Write};
use crate::gate::{Admitted, Note};
use crate::overrides::{Leave, OverrideWrite};
use crate::v1::admin_client::AdminClient;
use crate::v1::admin_server::{Admin, AdminServer};
use crate::{Failure, v1};

/// The largest message taken or sent, in bytes: a spec of the largest size and its escapes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 40 * 1024 * 1024;

/// A client of the administration API over `channel`, which takes and sends messages as large as the service does.
pub fn client(channel: Channel) -> AdminClient<Channel> {
    AdminClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// A service that answers only what a [`crate::Gate`] let through.
pub type Behind<S> = InterceptedService<S, OnlyAdmitted>;

pub(crate) type OnlyAdmitted = fn(Request<()>) -> Result<Request<()>, Status>;

pub(crate) fn only_admitted(request: Request<()>) -> Result<Request<()>, Status> {
    match request.extensions().get::<Admitted>() {
        Some(Admitted) => Ok(request),
        None => Err(Status::unauthenticated("nobody has checked who calls")),
    }
}

/// Serves the administration API over a fleet.
pub struct AdminService {
    fleet: Arc<dyn Fleet>,
}

impl AdminService {
    /// The service for a server's router.
    ///
    /// It answers nothing that has not come through a [`crate::Gate`].
    pub fn server(fleet: Arc<dyn Fleet>) -> Behind<AdminServer<Self>> {
        let server = AdminServer::new(Self { fleet })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        InterceptedService::new(server, only_admitted as OnlyAdmitted)
    }

    async fn write_override(
        &self,
        write: OverrideWrite,
        note: &Note,
    ) -> Result<Response<v1::WriteOverrideResponse>, Status> {
        let written = self.fleet.write_override(write).await?;
        note.made(written.revision.as_ref());
        Ok(Response::new(written))
    }

    async fn latest_or(&self, revision: Option<Revision>) -> Result<(Revision, String), Failure> {
        let (header, text) = self.fleet.spec(revision).await?;
        Ok((header.stamp.revision, text))
    }
}

/// gRPC server reflection of the administration API, for clients without its proto files.
///
/// # Errors
/// Never in practice: when the descriptors that were built in cannot be read.
pub fn reflection() -> Result<
    tonic_reflection::server::v1::ServerReflectionServer<
        impl tonic_reflection::server::v1::ServerReflection,
    >,
    tonic_reflection::server::Error,
> {
    descriptors().build_v1()
}

/// The same in the older form that grpcurl before 1.8.8 and grpcio's own client speak.
///
/// # Errors
/// As [`reflection`].
pub fn reflection_v1alpha() -> Result<
    tonic_reflection::server::v1alpha::ServerReflectionServer<
        impl tonic_reflection::server::v1alpha::ServerReflection,
    >,
    tonic_reflection::server::Error,
> {
    descriptors().build_v1alpha()
}

fn descriptors() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

fn caller<T>(request: &Request<T>) -> Result<&Caller, Status> {
    let caller = request.extensions().get::<Caller>();
    caller.ok_or_else(|| {
        Status::unauthenticated("no client certificate was shown; see `hafleet pki issue`")
    })
}

/// Who a write is by, and whether another agent has handed it on.
fn author<T>(request: &Request<T>) -> Result<(String, bool), Status> {
    let caller = caller(request)?;
    Ok((caller.identity.principal.to_string(), caller.via.is_some()))
}

/// What the audit log will say of a request.
fn note<T>(request: &Request<T>) -> Note {
    let note = request.extensions().get::<Note>();
    note.cloned().unwrap_or_default()
}

pub(crate) fn optional<T: std::str::FromStr<Err: std::fmt::Display>>(
    field: &'static str,
    text: &str,
) -> Result<Option<T>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|error: T::Err| Failure::InvalidArgument {
            field,
            problem: error.to_string(),
        })
}

pub(crate) fn required<T: std::str::FromStr<Err: std::fmt::Display>>(
    field: &'static str,
    text: &str,
) -> Result<T, Failure> {
    let absent = || Failure::InvalidArgument {
        field,
        problem: "it is missing".into(),
    };
    optional(field, text)?.ok_or_else(absent)
}

/// The node that calls for itself.
fn calling_node<T>(request: &Request<T>) -> Result<NodeId, Status> {
    match &caller(request)?.identity.principal {
        Principal::Node(node) => Ok(node.clone()),
        Principal::Person { .. } => Err(Status::permission_denied("only nodes call this")),
    }
}

/// Of something that is done without making a revision.
fn errand((author, is_forwarded): (String, bool)) -> Intent {
    Intent {
        author,
        comment: String::new(),
        expect: None,
        force: false,
        is_forwarded,
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn get_status(
        &self,
        _: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::FleetStatus>, Status> {
        Ok(Response::new(self.fleet.status().into()))
    }

    type WatchStatusStream = BoxStream<'static, Result<v1::FleetStatus, Status>>;

    async fn watch_status(
        &self,
        _: Request<v1::WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        Ok(Response::new(
            self.fleet.watch().map(|status| Ok(status.into())).boxed(),
        ))
    }

    async fn get_node(
        &self,
        request: Request<v1::GetNodeRequest>,
    ) -> Result<Response<v1::NodeDetail>, Status> {
        let node = optional("node_id", &request.get_ref().node_id)?;
        Ok(Response::new(self.fleet.node(node).await?))
    }

    async fn check_spec(
        &self,
        request: Request<v1::CheckSpecRequest>,
    ) -> Result<Response<v1::CheckSpecResponse>, Status> {
        let warnings = self.fleet.check(&request.get_ref().spec).await?;
        Ok(Response::new(v1::CheckSpecResponse {
            warnings: warnings.into_iter().map(Into::into).collect(),
        }))
    }

    async fn render_spec(
        &self,
        request: Request<v1::RenderSpecRequest>,
    ) -> Result<Response<v1::RenderSpecResponse>, Status> {
        let request = request.into_inner();
        let node: Option<NodeId> = optional("node_id", &request.node_id)?;
        let spec = (!request.spec.is_empty()).then_some(request.spec.as_str());
        let rendering = self.fleet.render(spec, node).await?;
        let node_id = rendering.node.to_string();
        Ok(Response::new(v1::RenderSpecResponse {
            node_id,
            haproxy_cfg: rendering.haproxy_cfg,
        }))
    }

    async fn plan_spec(
        &self,
        request: Request<v1::PlanSpecRequest>,
    ) -> Result<Response<v1::PlanSpecResponse>, Status> {
        let request = request.into_inner();
        let scope = if request.this_node_only {
            Scope::ThisNode
        } else {
            Scope::Fleet
        };
        Ok(Response::new(
            self.fleet.plan(&request.spec, scope).await?.into(),
        ))
    }

    async fn apply_spec(
        &self,
        request: Request<v1::ApplySpecRequest>,
    ) -> Result<Response<v1::WriteSpecResponse>, Status> {
        let (note, (author, is_forwarded)) = (note(&request), author(&request)?);
        let request = request.into_inner();
        let expect = optional("expected_revision", &request.expected_revision)?;
        let force = request.force_without_majority;
        let intent = Intent {
            author,
            comment: request.comment,
            expect,
            force,
            is_forwarded,
        };
        let write = Write {
            spec: request.spec,
            intent,
        };
        let written: v1::WriteSpecResponse = self.fleet.apply(write).await?.into();
        note.made(written.revision.as_ref());
        Ok(Response::new(written))
    }

    async fn rollback_spec(
        &self,
        request: Request<v1::RollbackSpecRequest>,
    ) -> Result<Response<v1::WriteSpecResponse>, Status> {
        let (note, (author, is_forwarded)) = (note(&request), author(&request)?);
        let request = request.into_inner();
        note.about(request.revision.as_str());
        let revision = required("revision", &request.revision)?;
        let expect = optional("expected_revision", &request.expected_revision)?;
        let force = request.force_without_majority;
        let intent = Intent {
            author,
            comment: request.comment,
            expect,
            force,
            is_forwarded,
        };
        let rollback = Rollback { revision, intent };
        let written: v1::WriteSpecResponse = self.fleet.rollback(rollback).await?.into();
        note.made(written.revision.as_ref());
        Ok(Response::new(written))
    }

    async fn get_spec(
        &self,
        request: Request<v1::GetSpecRequest>,
    ) -> Result<Response<v1::GetSpecResponse>, Status> {
        let revision = optional("revision", &request.get_ref().revision)?;
        let (header, spec) = self.fleet.spec(revision).await?;
        Ok(Response::new(v1::GetSpecResponse {
            revision: Some(header.into()),
            spec,
        }))
    }

    async fn list_spec_history(
        &self,
        request: Request<v1::ListSpecHistoryRequest>,
    ) -> Result<Response<v1::ListSpecHistoryResponse>, Status> {
        let limit = match request.get_ref().limit {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let history = self.fleet.history().await?;
        Ok(Response::new(v1::ListSpecHistoryResponse {
            revisions: history
                .revisions
                .into_iter()
                .take(limit)
                .map(Into::into)
                .collect(),
            conflicts: history
                .conflicts
                .into_iter()
                .take(limit)
                .map(Into::into)
                .collect(),
            dismissed: history
                .dismissed
                .into_iter()
                .take(limit)
                .map(Into::into)
                .collect(),
        }))
    }

    async fn diff_spec(
        &self,
        request: Request<v1::DiffSpecRequest>,
    ) -> Result<Response<v1::DiffSpecResponse>, Status> {
        let request = request.into_inner();
        let from = required("from_revision", &request.from_revision)?;
        let to = optional("to_revision", &request.to_revision)?;
        let (from, old) = self.latest_or(Some(from)).await?;
        let (to, new) = self.latest_or(to).await?;
        let (from_revision, to_revision) = (from.to_string(), to.to_string());
        let diff = diff::unified(&from_revision, &old, &to_revision, &new);
        Ok(Response::new(v1::DiffSpecResponse {
            from_revision,
            to_revision,
            diff,
        }))
    }

    async fn get_spec_schema(
        &self,
        _: Request<v1::GetSpecSchemaRequest>,
    ) -> Result<Response<v1::GetSpecSchemaResponse>, Status> {
        let json_schema = Spec::json_schema().to_string();
        Ok(Response::new(v1::GetSpecSchemaResponse { json_schema }))
    }

    async fn list_certificates(
        &self,
        _: Request<v1::ListCertificatesRequest>,
    ) -> Result<Response<v1::ListCertificatesResponse>, Status> {
        Ok(Response::new(self.fleet.certificates().await?.into()))
    }

    async fn get_certificate(
        &self,
        request: Request<v1::GetCertificateRequest>,
    ) -> Result<Response<v1::CertificateInfo>, Status> {
        let name = required("name", &request.get_ref().name)?;
        Ok(Response::new(self.fleet.certificate(&name).await?.into()))
    }

    async fn put_certificate(
        &self,
        request: Request<v1::PutCertificateRequest>,
    ) -> Result<Response<v1::WriteCertificateResponse>, Status> {
        let (note, (author, is_forwarded)) = (note(&request), author(&request)?);
        let request = request.into_inner();
        note.about(request.name.as_str());
        let write = CertificateWrite {
            change: CertificateChange::Put {
                pem: Confidential::new(request.pem),
                allow_expired: request.allow_expired,
            },
            name: required("name", &request.name)?,
            intent: Intent {
                author,
                comment: request.comment,
                expect: None,
                force: request.force_without_majority,
                is_forwarded,
            },
        };
        let written: v1::WriteCertificateResponse =
            self.fleet.write_certificate(write).await?.into();
        note.made(written.revision.as_ref());
        Ok(Response::new(written))
    }

    async fn rotate_secrets_key(
        &self,
        request: Request<v1::RotateSecretsKeyRequest>,
    ) -> Result<Response<v1::WriteCertificateResponse>, Status> {
        let (note, (author, is_forwarded)) = (note(&request), author(&request)?);
        let request = request.into_inner();
        let intent = Intent {
            author,
            comment: request.comment,
            expect: None,
            force: request.force_without_majority,
            is_forwarded,
        };
        let written: v1::WriteCertificateResponse =
            self.fleet.rotate_secrets_key(intent).await?.into();
        note.made(written.revision.as_ref());
        Ok(Response::new(written))
    }

    async fn remove_certificate(
        &self,
        request: Request<v1::RemoveCertificateRequest>,
    ) -> Result<Response<v1::WriteCertificateResponse>, Status> {
        let (note, (author, is_forwarded)) = (note(&request), author(&request)?);
        let request = request.into_inner();
        note.about(request.name.as_str());
        let write = CertificateWrite {
            change: CertificateChange::Remove {
                force: request.force,
            },
            name: required("name", &request.name)?,
            intent: Intent {
                author,
                comment: request.comment,
                expect: None,
                force: request.force_without_majority,
                is_forwarded,
            },
        };
        let written: v1::WriteCertificateResponse =
            self.fleet.write_certificate(write).await?.into();
        note.made(written.revision.as_ref());
        Ok(Response::new(written))
    }

    async fn list_sources(
        &self,
        request: Request<v1::ListSourcesRequest>,
    ) -> Result<Response<v1::ListSourcesResponse>, Status> {
        let (_, is_forwarded) = author(&request)?;
        Ok(Response::new(self.fleet.sources(is_forwarded).await?))
    }

    async fn confirm_endpoints(
        &self,
        request: Request<v1::ConfirmEndpointsRequest>,
    ) -> Result<Response<v1::ConfirmEndpointsResponse>, Status> {
        let (author, is_forwarded) = author(&request)?;
        note(&request).about(request.get_ref().backend.as_str());
        let backend = required("backend", &request.get_ref().backend)?;
        let intent = Intent {
            author,
            comment: String::new(),
            expect: None,
            force: false,
            is_forwarded,
        };
        let confirmed = self.fleet.confirm_endpoints(backend, intent).await?;
        Ok(Response::new(confirmed))
    }

    async fn list_overrides(
        &self,
        _: Request<v1::ListOverridesRequest>,
    ) -> Result<Response<v1::ListOverridesResponse>, Status> {
        Ok(Response::new(self.fleet.overrides().await?))
    }

    async fn drain_node(
        &self,
        request: Request<v1::DrainNodeRequest>,
    ) -> Result<Response<v1::WriteOverrideResponse>, Status> {
        let (note, author) = (note(&request), author(&request)?);
        let request = request.into_inner();
        note.about(request.node_id.as_str());
        let write = OverrideWrite::drain(author, request)?;
        self.write_override(write, &note).await
    }

    async fn undrain_node(
        &self,
        request: Request<v1::UndrainNodeRequest>,
    ) -> Result<Response<v1::WriteOverrideResponse>, Status> {
        let (note, author) = (note(&request), author(&request)?);
        let request = request.into_inner();
        note.about(request.node_id.as_str());
        let write = OverrideWrite::undrain(author, request)?;
        self.write_override(write, &note).await
    }

    async fn set_server_state(
        &self,
        request: Request<v1::SetServerStateRequest>,
    ) -> Result<Response<v1::WriteOverrideResponse>, Status> {
        let (note, author) = (note(&request), author(&request)?);
        let request = request.into_inner();
        note.about(format!("{}/{}", request.backend, request.server));
        let write = OverrideWrite::state(author, request)?;
        self.write_override(write, &note).await
    }

    async fn set_server_weight(
        &self,
        request: Request<v1::SetServerWeightRequest>,
    ) -> Result<Response<v1::WriteOverrideResponse>, Status> {
        let (note, author) = (note(&request), author(&request)?);
        let request = request.into_inner();
        note.about(format!("{}/{}", request.backend, request.server));
        let write = OverrideWrite::weight(author, request)?;
        self.write_override(write, &note).await
    }

    async fn list_dns(
        &self,
        request: Request<v1::ListDnsRequest>,
    ) -> Result<Response<v1::ListDnsResponse>, Status> {
        let (_, is_forwarded) = author(&request)?;
        Ok(Response::new(self.fleet.dns(is_forwarded).await?))
    }

    async fn plan_dns(
        &self,
        request: Request<v1::PlanDnsRequest>,
    ) -> Result<Response<v1::PlanDnsResponse>, Status> {
        let (_, is_forwarded) = author(&request)?;
        Ok(Response::new(self.fleet.plan_dns(is_forwarded).await?))
    }

    async fn adopt_dns(
        &self,
        request: Request<v1::AdoptDnsRequest>,
    ) -> Result<Response<v1::AdoptDnsResponse>, Status> {
        note(&request).about(request.get_ref().name.as_str());
        let intent = errand(author(&request)?);
        let name = required("name", &request.get_ref().name)?;
        self.fleet.adopt_dns(name, intent).await?;
        Ok(Response::new(v1::AdoptDnsResponse {}))
    }

    async fn release_dns(
        &self,
        request: Request<v1::ReleaseDnsRequest>,
    ) -> Result<Response<v1::ReleaseDnsResponse>, Status> {
        note(&request).about(request.get_ref().names.join(", "));
        let intent = errand(author(&request)?);
        let names = request.into_inner().names;
        let names = self.fleet.release_dns(names, intent).await?;
        Ok(Response::new(v1::ReleaseDnsResponse { names }))
    }

    async fn forget_node(
        &self,
        request: Request<v1::ForgetNodeRequest>,
    ) -> Result<Response<v1::WriteOverrideResponse>, Status> {
        let (note, author) = (note(&request), author(&request)?);
        let request = request.into_inner();
        note.about(request.node_id.as_str());
        let write = OverrideWrite::forget(author, request)?;
        self.write_override(write, &note).await
    }

    async fn leave_fleet(
        &self,
        request: Request<v1::LeaveFleetRequest>,
    ) -> Result<Response<v1::WriteOverrideResponse>, Status> {
        let (note, author) = (note(&request), author(&request)?);
        let request = request.into_inner();
        note.about(request.node_id.as_str());
        let left = self.fleet.leave(Leave::read(author, request)?).await?;
        note.made(left.revision.as_ref());
        Ok(Response::new(left))
    }

    async fn follow_fleet(
        &self,
        request: Request<v1::FollowFleetRequest>,
    ) -> Result<Response<v1::FollowFleetResponse>, Status> {
        let note = note(&request);
        let node = optional("node_id", &request.get_ref().node_id)?;
        let followed = self.fleet.follow_fleet(node).await?;
        note.about(followed.node_id.as_str());
        Ok(Response::new(followed))
    }

    async fn dismiss_conflict(
        &self,
        request: Request<v1::DismissConflictRequest>,
    ) -> Result<Response<v1::WriteOverrideResponse>, Status> {
        let (note, author) = (note(&request), author(&request)?);
        let request = request.into_inner();
        note.about(request.revision.as_str());
        let write = OverrideWrite::dismiss(author, request)?;
        self.write_override(write, &note).await
    }

    async fn accept_leave(
        &self,
        request: Request<v1::AcceptLeaveRequest>,
    ) -> Result<Response<v1::WriteOverrideResponse>, Status> {
        let node = caller(&request)?.via.clone();
        let node = node.ok_or_else(|| Failure::InvalidArgument {
            field: "generation",
            problem: "agents call this as their node leaves: call LeaveFleet".to_owned(),
        })?;
        let (note, author) = (note(&request), author(&request)?);
        note.about(node.as_str());
        let write = OverrideWrite::leave(author, node, request.into_inner());
        self.write_override(write, &note).await
    }

    async fn publish_found(
        &self,
        request: Request<v1::PublishFoundRequest>,
    ) -> Result<Response<v1::PublishFoundResponse>, Status> {
        let node = calling_node(&request)?;
        let said = request.into_inner().said.ok_or(Failure::InvalidArgument {
            field: "said",
            problem: "it is missing".into(),
        })?;
        self.fleet.publish_found(node, said).await?;
        Ok(Response::new(v1::PublishFoundResponse {}))
    }

    async fn list_audit(
        &self,
        request: Request<v1::ListAuditRequest>,
    ) -> Result<Response<v1::ListAuditResponse>, Status> {
        let request = request.into_inner();
        let limit = match request.limit {
            0 => 100,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let scope = scope(request.this_node_only);
        Ok(Response::new(self.fleet.audit(limit, scope).await))
    }

    async fn publish_revocations(
        &self,
        request: Request<v1::PublishRevocationsRequest>,
    ) -> Result<Response<v1::PublishRevocationsResponse>, Status> {
        let note = note(&request);
        let list = request.into_inner().list;
        let published = self.fleet.publish_revocations(list).await?;
        note.about(format!(
            "list {} of {}",
            published.number, published.authority
        ));
        Ok(Response::new(published))
    }

    async fn get_revocations(
        &self,
        request: Request<v1::GetRevocationsRequest>,
    ) -> Result<Response<v1::GetRevocationsResponse>, Status> {
        let list = self.fleet.revocations(&request.get_ref().authority).await?;
        Ok(Response::new(v1::GetRevocationsResponse { list }))
    }

    async fn create_join_token(
        &self,
        request: Request<v1::CreateJoinTokenRequest>,
    ) -> Result<Response<v1::CreateJoinTokenResponse>, Status> {
        let (note, (author, _)) = (note(&request), author(&request)?);
        let request = request.into_inner();
        let node = request.node_id.clone();
        note.about(node.as_str());
        let created = self.fleet.create_join_token(request, author).await?;
        if let Some(info) = &created.info {
            note.about(format!("{} for {}", info.id, named(&node)));
        }
        Ok(Response::new(created))
    }

    async fn list_join_tokens(
        &self,
        request: Request<v1::ListJoinTokensRequest>,
    ) -> Result<Response<v1::ListJoinTokensResponse>, Status> {
        let scope = scope(request.get_ref().this_node_only);
        Ok(Response::new(self.fleet.join_tokens(scope).await))
    }

    async fn remove_join_token(
        &self,
        request: Request<v1::RemoveJoinTokenRequest>,
    ) -> Result<Response<v1::RemoveJoinTokenResponse>, Status> {
        note(&request).about(request.get_ref().id.as_str());
        let request = request.into_inner();
        let scope = scope(request.this_node_only);
        let issuer = self.fleet.remove_join_token(request.id, scope).await?;
        Ok(Response::new(v1::RemoveJoinTokenResponse {
            issuer: issuer.to_string(),
        }))
    }

    async fn renew_certificate(
        &self,
        request: Request<v1::RenewCertificateRequest>,
    ) -> Result<Response<v1::RenewCertificateResponse>, Status> {
        let caller = caller(&request)?.clone();
        let request = request.into_inner().request;
        let certificate_pem = self.fleet.renew_certificate(&caller, request).await?;
        Ok(Response::new(v1::RenewCertificateResponse {
            certificate_pem,
        }))
    }
}

fn scope(this_node_only: bool) -> Scope {
    if this_node_only {
        Scope::ThisNode
    } else {
        Scope::Fleet
    }
}

fn named(node: &str) -> &str {
    if node.is_empty() {
        "any new node"
    } else {
        node
    }
}
