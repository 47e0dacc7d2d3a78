//! The `Admin` service: reads a request, asks the [`Fleet`], writes the answer. It decides nothing but access.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use hafleet_identity::{Caller, Principal};
use hafleet_model::secrets::Confidential;
use hafleet_model::{NodeId, Revision, Spec, diff};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::certificates::{CertificateChange, CertificateWrite};
use crate::fleet::{Fleet, Intent, Rollback, Scope, Write};
use crate::overrides::OverrideWrite;
use crate::v1::admin_client::AdminClient;
use crate::v1::admin_server::{Admin, AdminServer};
use crate::{Failure, access, v1};

/// Metadata in which an agent that forwards a write names who asked for it. Believed from nodes only.
pub const ON_BEHALF_OF: &str = "hafleet-on-behalf-of";

/// The largest message taken or sent, in bytes: a spec of the largest size and its escapes.
const MAX_MESSAGE_BYTES: usize = 40 * 1024 * 1024;

/// A client of the administration API over `channel`, which takes and sends messages as large as the service does.
pub fn client(channel: Channel) -> AdminClient<Channel> {
    AdminClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// Serves the administration API over a fleet.
pub struct AdminService {
    fleet: Arc<dyn Fleet>,
}

impl AdminService {
    /// The service for a server's router.
    pub fn server(fleet: Arc<dyn Fleet>) -> AdminServer<Self> {
        AdminServer::new(Self { fleet })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
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

fn admit<T>(request: &Request<T>, method: &'static str) -> Result<(), Status> {
    Ok(access::allow(caller(request)?, method)?)
}

/// Who a write is by: the caller, or the person for whom a node forwards it.
fn author<T>(request: &Request<T>) -> Result<(String, bool), Status> {
    let principal = &caller(request)?.identity.principal;
    let behalf = request
        .metadata()
        .get(ON_BEHALF_OF)
        .and_then(|value| value.to_str().ok());
    match (principal, behalf) {
        (Principal::Node(_), Some(person)) => Ok((person.to_owned(), true)),
        _ => Ok((principal.to_string(), false)),
    }
}

fn optional<T: std::str::FromStr<Err: std::fmt::Display>>(
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
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::FleetStatus>, Status> {
        admit(&request, "GetStatus")?;
        Ok(Response::new(self.fleet.status().into()))
    }

    type WatchStatusStream = BoxStream<'static, Result<v1::FleetStatus, Status>>;

    async fn watch_status(
        &self,
        request: Request<v1::WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        admit(&request, "WatchStatus")?;
        Ok(Response::new(
            self.fleet.watch().map(|status| Ok(status.into())).boxed(),
        ))
    }

    async fn get_node(
        &self,
        request: Request<v1::GetNodeRequest>,
    ) -> Result<Response<v1::NodeDetail>, Status> {
        admit(&request, "GetNode")?;
        let node = optional("node_id", &request.get_ref().node_id)?;
        Ok(Response::new(self.fleet.node(node).await?))
    }

    async fn check_spec(
        &self,
        request: Request<v1::CheckSpecRequest>,
    ) -> Result<Response<v1::CheckSpecResponse>, Status> {
        admit(&request, "CheckSpec")?;
        let warnings = self.fleet.check(&request.get_ref().spec).await?;
        Ok(Response::new(v1::CheckSpecResponse {
            warnings: warnings.into_iter().map(Into::into).collect(),
        }))
    }

    async fn render_spec(
        &self,
        request: Request<v1::RenderSpecRequest>,
    ) -> Result<Response<v1::RenderSpecResponse>, Status> {
        admit(&request, "RenderSpec")?;
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
        admit(&request, "PlanSpec")?;
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
        admit(&request, "ApplySpec")?;
        let (author, is_forwarded) = author(&request)?;
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
        Ok(Response::new(
            self.fleet
                .apply(Write {
                    spec: request.spec,
                    intent,
                })
                .await?
                .into(),
        ))
    }

    async fn rollback_spec(
        &self,
        request: Request<v1::RollbackSpecRequest>,
    ) -> Result<Response<v1::WriteSpecResponse>, Status> {
        admit(&request, "RollbackSpec")?;
        let (author, is_forwarded) = author(&request)?;
        let request = request.into_inner();
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
        Ok(Response::new(
            self.fleet
                .rollback(Rollback { revision, intent })
                .await?
                .into(),
        ))
    }

    async fn get_spec(
        &self,
        request: Request<v1::GetSpecRequest>,
    ) -> Result<Response<v1::GetSpecResponse>, Status> {
        admit(&request, "GetSpec")?;
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
        admit(&request, "ListSpecHistory")?;
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
        }))
    }

    async fn diff_spec(
        &self,
        request: Request<v1::DiffSpecRequest>,
    ) -> Result<Response<v1::DiffSpecResponse>, Status> {
        admit(&request, "DiffSpec")?;
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
        request: Request<v1::GetSpecSchemaRequest>,
    ) -> Result<Response<v1::GetSpecSchemaResponse>, Status> {
        admit(&request, "GetSpecSchema")?;
        let json_schema = Spec::json_schema().to_string();
        Ok(Response::new(v1::GetSpecSchemaResponse { json_schema }))
    }

    async fn list_certificates(
        &self,
        request: Request<v1::ListCertificatesRequest>,
    ) -> Result<Response<v1::ListCertificatesResponse>, Status> {
        admit(&request, "ListCertificates")?;
        Ok(Response::new(self.fleet.certificates().await?.into()))
    }

    async fn get_certificate(
        &self,
        request: Request<v1::GetCertificateRequest>,
    ) -> Result<Response<v1::CertificateInfo>, Status> {
        admit(&request, "GetCertificate")?;
        let name = required("name", &request.get_ref().name)?;
        Ok(Response::new(self.fleet.certificate(&name).await?.into()))
    }

    async fn put_certificate(
        &self,
        request: Request<v1::PutCertificateRequest>,
    ) -> Result<Response<v1::WriteCertificateResponse>, Status> {
        admit(&request, "PutCertificate")?;
        let (author, is_forwarded) = author(&request)?;
        let request = request.into_inner();
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
        Ok(Response::new(
            self.fleet.write_certificate(write).await?.into(),
        ))
    }

    async fn remove_certificate(
        &self,
        request: Request<v1::RemoveCertificateRequest>,
    ) -> Result<Response<v1::WriteCertificateResponse>, Status> {
        admit(&request, "RemoveCertificate")?;
        let (author, is_forwarded) = author(&request)?;
        let request = request.into_inner();
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
        Ok(Response::new(
            self.fleet.write_certificate(write).await?.into(),
        ))
    }

    async fn list_sources(
        &self,
        request: Request<v1::ListSourcesRequest>,
    ) -> Result<Response<v1::ListSourcesResponse>, Status> {
        admit(&request, "ListSources")?;
        let (_, is_forwarded) = author(&request)?;
        Ok(Response::new(self.fleet.sources(is_forwarded).await?))
    }

    async fn confirm_endpoints(
        &self,
        request: Request<v1::ConfirmEndpointsRequest>,
    ) -> Result<Response<v1::ConfirmEndpointsResponse>, Status> {
        admit(&request, "ConfirmEndpoints")?;
        let (author, is_forwarded) = author(&request)?;
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
        request: Request<v1::ListOverridesRequest>,
    ) -> Result<Response<v1::ListOverridesResponse>, Status> {
        admit(&request, "ListOverrides")?;
        Ok(Response::new(self.fleet.overrides().await?))
    }

    async fn drain_node(
        &self,
        request: Request<v1::DrainNodeRequest>,
    ) -> Result<Response<v1::WriteOverrideResponse>, Status> {
        admit(&request, "DrainNode")?;
        let write = OverrideWrite::drain(author(&request)?, request.into_inner())?;
        Ok(Response::new(self.fleet.write_override(write).await?))
    }

    async fn undrain_node(
        &self,
        request: Request<v1::UndrainNodeRequest>,
    ) -> Result<Response<v1::WriteOverrideResponse>, Status> {
        admit(&request, "UndrainNode")?;
        let write = OverrideWrite::undrain(author(&request)?, request.into_inner())?;
        Ok(Response::new(self.fleet.write_override(write).await?))
    }

    async fn set_server_state(
        &self,
        request: Request<v1::SetServerStateRequest>,
    ) -> Result<Response<v1::WriteOverrideResponse>, Status> {
        admit(&request, "SetServerState")?;
        let write = OverrideWrite::state(author(&request)?, request.into_inner())?;
        Ok(Response::new(self.fleet.write_override(write).await?))
    }

    async fn set_server_weight(
        &self,
        request: Request<v1::SetServerWeightRequest>,
    ) -> Result<Response<v1::WriteOverrideResponse>, Status> {
        admit(&request, "SetServerWeight")?;
        let write = OverrideWrite::weight(author(&request)?, request.into_inner())?;
        Ok(Response::new(self.fleet.write_override(write).await?))
    }

    async fn list_dns(
        &self,
        request: Request<v1::ListDnsRequest>,
    ) -> Result<Response<v1::ListDnsResponse>, Status> {
        admit(&request, "ListDns")?;
        let (_, is_forwarded) = author(&request)?;
        Ok(Response::new(self.fleet.dns(is_forwarded).await?))
    }

    async fn plan_dns(
        &self,
        request: Request<v1::PlanDnsRequest>,
    ) -> Result<Response<v1::PlanDnsResponse>, Status> {
        admit(&request, "PlanDns")?;
        let (_, is_forwarded) = author(&request)?;
        Ok(Response::new(self.fleet.plan_dns(is_forwarded).await?))
    }

    async fn adopt_dns(
        &self,
        request: Request<v1::AdoptDnsRequest>,
    ) -> Result<Response<v1::AdoptDnsResponse>, Status> {
        admit(&request, "AdoptDns")?;
        let intent = errand(author(&request)?);
        let name = required("name", &request.get_ref().name)?;
        self.fleet.adopt_dns(name, intent).await?;
        Ok(Response::new(v1::AdoptDnsResponse {}))
    }

    async fn release_dns(
        &self,
        request: Request<v1::ReleaseDnsRequest>,
    ) -> Result<Response<v1::ReleaseDnsResponse>, Status> {
        admit(&request, "ReleaseDns")?;
        let intent = errand(author(&request)?);
        let names = request.into_inner().names;
        let names = self.fleet.release_dns(names, intent).await?;
        Ok(Response::new(v1::ReleaseDnsResponse { names }))
    }

    async fn publish_found(
        &self,
        request: Request<v1::PublishFoundRequest>,
    ) -> Result<Response<v1::PublishFoundResponse>, Status> {
        admit(&request, "PublishFound")?;
        let Principal::Node(node) = caller(&request)?.identity.principal.clone() else {
            return Err(Status::permission_denied(
                "only nodes publish what they found",
            ));
        };
        let said = request.into_inner().said.ok_or(Failure::InvalidArgument {
            field: "said",
            problem: "it is missing".into(),
        })?;
        self.fleet.publish_found(node, said).await?;
        Ok(Response::new(v1::PublishFoundResponse {}))
    }
}
