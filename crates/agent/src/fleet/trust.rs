//! Whom the fleet trusts: lists of revoked certificates, and join tokens of the nodes that have an issuer.

use futures_util::future::join_all;
use hafleet_api::fleet::Scope;
use hafleet_api::{Failure, v1};
use hafleet_model::NodeId;

use super::AgentFleet;
use crate::forward::Forward;
use crate::trust::revocations::TakeError;

impl AgentFleet {
    pub(super) fn take_revocations(
        &self,
        list: &[u8],
    ) -> Result<v1::PublishRevocationsResponse, Failure> {
        let (list, is_newer) = self.revocations.take(list).map_err(|error| match error {
            TakeError::Bad(error) => Failure::InvalidArgument {
                field: "list",
                problem: error.to_string(),
            },
            error @ TakeError::Unkept { .. } => Failure::Internal(error.to_string()),
        })?;
        let numbers = self.revocations.numbers();
        self.cluster.report(|report| report.revocations = numbers);
        Ok(v1::PublishRevocationsResponse {
            authority: list.authority().to_string(),
            number: list.number(),
            revoked: u32::try_from(list.revoked().len()).unwrap_or(u32::MAX),
            unchanged: !is_newer,
        })
    }

    /// Makes a token here, or has a node do it that has an issuer.
    pub(super) async fn make_token(
        &self,
        request: v1::CreateJoinTokenRequest,
        author: String,
    ) -> Result<v1::CreateJoinTokenResponse, Failure> {
        let is_meant = request.issuer.is_empty() || request.issuer == self.node.as_str();
        if let Some(issuing) = self.issuing.as_ref().filter(|_| is_meant) {
            return issuing.create(&request, author);
        }
        let mut issuers = self.issuers();
        if !request.issuer.is_empty() {
            issuers.retain(|node| node.as_str() == request.issuer);
        }
        let Some(issuer) = issuers.first() else {
            return Err(Failure::NoIssuer(match request.issuer.as_str() {
                "" => "no live node has an issuer".to_owned(),
                named => format!("node {named} is not live or has no issuer"),
            }));
        };
        let request = v1::CreateJoinTokenRequest {
            issuer: issuer.to_string(),
            ..request
        };
        Forward::to(&self.cluster, issuer)?
            .create_token(request)
            .await
    }

    pub(super) async fn list_tokens(&self, scope: Scope) -> v1::ListJoinTokensResponse {
        let own = self.issuing.as_ref().map(|issuing| issuing.list());
        let mut listed = v1::ListJoinTokensResponse {
            tokens: own.unwrap_or_default(),
            missing: Vec::new(),
        };
        if scope == Scope::ThisNode {
            return listed;
        }
        let asked =
            self.issuers()
                .into_iter()
                .map(async |node| match Forward::to(&self.cluster, &node) {
                    Ok(forward) => forward.tokens().await,
                    Err(error) => Err(format!("{node}: {error}")),
                });
        for answer in join_all(asked).await {
            match answer {
                Ok(more) => listed.tokens.extend(more),
                Err(why) => listed.missing.push(why),
            }
        }
        listed
    }

    pub(super) async fn take_token_back(
        &self,
        id: String,
        scope: Scope,
    ) -> Result<NodeId, Failure> {
        if let Some(issuing) = &self.issuing
            && issuing.remove(&id)?
        {
            return Ok(self.node.clone());
        }
        if scope == Scope::Fleet {
            for issuer in self.issuers() {
                let removed = Forward::to(&self.cluster, &issuer)?
                    .remove_token(&id)
                    .await?;
                if removed {
                    return Ok(issuer);
                }
            }
        }
        Err(Failure::UnknownToken(id))
    }

    /// The other live nodes that have an issuer.
    fn issuers(&self) -> Vec<NodeId> {
        let view = self.cluster.view();
        let view = view.borrow();
        let live = view
            .members
            .iter()
            .filter(|member| member.liveness.is_live());
        let issuers = live.filter(|member| member.report.join_address.is_some() && !member.is_self);
        issuers.map(|member| member.report.id.clone()).collect()
    }
}
