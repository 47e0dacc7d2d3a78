//! What other nodes are asked about certificates: lists of revoked ones, tokens, renewal.

use hafleet_api::{Failure, v1};
use tonic::Code;

use super::{Forward, QUESTION_TIMEOUT, within, words};

impl Forward {
    /// The other node's newest list of `authority`.
    pub(crate) async fn revocations(mut self, authority: &str) -> Result<Vec<u8>, String> {
        let authority = authority.to_owned();
        let message = v1::GetRevocationsRequest { authority };
        let answer = self
            .admin
            .get_revocations(within(message, QUESTION_TIMEOUT))
            .await;
        answer
            .map(|answer| answer.into_inner().list)
            .map_err(|status| words(&status))
    }

    /// Has the other node make a join token.
    pub(crate) async fn create_token(
        mut self,
        request: v1::CreateJoinTokenRequest,
    ) -> Result<v1::CreateJoinTokenResponse, Failure> {
        let answer = self
            .admin
            .create_join_token(within(request, QUESTION_TIMEOUT))
            .await;
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| Failure::Answered(Box::new(status)))
    }

    /// The join tokens of the other node.
    pub(crate) async fn tokens(mut self) -> Result<Vec<v1::JoinTokenInfo>, String> {
        let message = v1::ListJoinTokensRequest {
            this_node_only: true,
        };
        let answer = self
            .admin
            .list_join_tokens(within(message, QUESTION_TIMEOUT))
            .await;
        answer
            .map(|answer| answer.into_inner().tokens)
            .map_err(|status| format!("{}: {}", self.node, words(&status)))
    }

    /// Has the other node take a join token back. Whether it had it.
    pub(crate) async fn remove_token(mut self, id: &str) -> Result<bool, Failure> {
        let message = v1::RemoveJoinTokenRequest {
            id: id.to_owned(),
            this_node_only: true,
        };
        match self
            .admin
            .remove_join_token(within(message, QUESTION_TIMEOUT))
            .await
        {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(Failure::Answered(Box::new(status))),
        }
    }

    /// Has the other node's issuer certify a new key for this node.
    pub(crate) async fn renew(mut self, request: Vec<u8>) -> Result<String, String> {
        let message = v1::RenewCertificateRequest { request };
        let answer = self
            .admin
            .renew_certificate(within(message, QUESTION_TIMEOUT))
            .await;
        answer
            .map(|answer| answer.into_inner().certificate_pem)
            .map_err(|status| words(&status))
    }
}
