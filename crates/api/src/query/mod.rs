//! The `Query` service: questions over all load balancers. It reads a question, has it answered through [`Questions`],
//! and writes the answer.

pub mod convert;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hafleet_query::{Answer, Check, Evaluation, Expression, Part, Wanted};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::service::{Behind, MAX_MESSAGE_BYTES, OnlyAdmitted, only_admitted};
use crate::v1::query_client::QueryClient;
use crate::v1::query_server::{Query, QueryServer};
use crate::{Failure, v1};

/// How strictly a question is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// So many nodes may be missing.
    pub allow_missing: u32,
    /// How long a node may take.
    pub node_timeout: Duration,
    /// How old a node's data may be.
    pub max_age: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            allow_missing: 0,
            node_timeout: Duration::from_secs(5),
            max_age: Duration::from_secs(10),
        }
    }
}

/// What an agent must be able to do for questions.
#[async_trait]
pub trait Questions: Send + Sync + 'static {
    /// Answers a check over all known nodes.
    async fn check(&self, check: Check, terms: Terms) -> Answer;

    /// Evaluates an expression over all known nodes.
    async fn evaluate(&self, expression: Expression, terms: Terms) -> Evaluation;

    /// What this node alone contributes.
    async fn part(&self, wanted: Wanted) -> Result<Part, Failure>;
}

/// A client of the `Query` service over `channel`.
pub fn client(channel: Channel) -> QueryClient<Channel> {
    QueryClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// Serves questions.
pub struct QueryService {
    questions: Arc<dyn Questions>,
}

impl QueryService {
    /// The service for a server's router. It answers nothing that has not come through a [`crate::Gate`].
    pub fn server(questions: Arc<dyn Questions>) -> Behind<QueryServer<Self>> {
        let server = QueryServer::new(Self { questions })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        InterceptedService::new(server, only_admitted as OnlyAdmitted)
    }
}

#[tonic::async_trait]
impl Query for QueryService {
    async fn check(
        &self,
        request: Request<v1::CheckRequest>,
    ) -> Result<Response<v1::CheckAnswer>, Status> {
        let request = request.into_inner();
        let terms = convert::terms(request.terms)?;
        let check = convert::check(request.check)?;
        let answer = self.questions.check(check, terms).await;
        Ok(Response::new(answer.into()))
    }

    async fn evaluate(
        &self,
        request: Request<v1::EvaluateRequest>,
    ) -> Result<Response<v1::EvaluateAnswer>, Status> {
        let request = request.into_inner();
        let terms = convert::terms(request.terms)?;
        let expression = Expression::compile(&request.expression);
        let expression = expression.map_err(|error| Failure::InvalidArgument {
            field: "expression",
            problem: error.to_string(),
        })?;
        let evaluation = self.questions.evaluate(expression, terms).await;
        Ok(Response::new(evaluation.into()))
    }

    async fn get_part(
        &self,
        request: Request<v1::GetPartRequest>,
    ) -> Result<Response<v1::NodePart>, Status> {
        let wanted = convert::wanted(request.into_inner())?;
        let part = self.questions.part(wanted).await?;
        Ok(Response::new(part.into()))
    }
}
