//! Whoever answers: a fleet's agents, or plain HAProxies whose statistics are read here.

use hafleet_api::query::{self, Terms};
use hafleet_api::v1::query_client::QueryClient;
use hafleet_api::{convert::BadAnswer, v1};
use hafleet_query::{Answer, Check, Evaluation, Expression};
use tonic::transport::Channel;

use super::args::QuestionArgs;
use super::plain;
use crate::args::Target;
use crate::client::{Client, answer};
use crate::failure::{Exit, Failure};

/// Somebody to ask.
pub(crate) enum Asker {
    /// Any agent of a fleet.
    Fleet {
        client: Box<Client>,
        query: Box<QueryClient<Channel>>,
        terms: Terms,
    },
    /// Plain HAProxies.
    Plain(Box<QuestionArgs>),
}

impl Asker {
    /// Connects to the fleet, unless plain HAProxies are to be asked.
    pub(super) async fn new(question: &QuestionArgs, target: &Target) -> Result<Self, Failure> {
        if !question.stats.is_empty() {
            return Ok(Self::Plain(Box::new(question.clone())));
        }
        let terms = Terms {
            allow_missing: question.allow_missing,
            node_timeout: question.node_timeout,
            max_age: question.max_age,
        };
        Self::of_fleet(terms, target).await
    }

    /// Connects to the fleet.
    pub(crate) async fn of_fleet(terms: Terms, target: &Target) -> Result<Self, Failure> {
        let client = Client::connect(target).await?;
        let query = Box::new(query::client(client.channel.clone()));
        Ok(Self::Fleet {
            client: Box::new(client),
            query,
            terms,
        })
    }

    /// Has a check answered.
    pub(crate) async fn check(&mut self, check: &Check) -> Result<Answer, Failure> {
        match self {
            Self::Fleet {
                client,
                query,
                terms,
            } => {
                let request = client.request(v1::CheckRequest {
                    check: Some(check.clone().into()),
                    terms: Some((*terms).into()),
                });
                Ok(answer(query.check(request).await)?.into())
            }
            Self::Plain(question) => {
                plain::allow(check)?;
                let asked = plain::ask(&check.wanted(), question).await;
                Ok(check.answer(&asked, question.allow_missing))
            }
        }
    }

    /// Has an expression evaluated.
    pub(crate) async fn evaluate(
        &mut self,
        expression: &Expression,
    ) -> Result<Evaluation, Failure> {
        match self {
            Self::Fleet {
                client,
                query,
                terms,
            } => {
                let request = client.request(v1::EvaluateRequest {
                    expression: expression.source().to_owned(),
                    terms: Some((*terms).into()),
                });
                let evaluation = answer(query.evaluate(request).await)?;
                let evaluation = Evaluation::try_from(evaluation);
                evaluation.map_err(|error: BadAnswer| Failure::new(Exit::Failed, error))
            }
            Self::Plain(question) => {
                let asked = plain::ask(&expression.wanted(), question).await;
                Ok(expression.answer(&asked, question.allow_missing))
            }
        }
    }
}
