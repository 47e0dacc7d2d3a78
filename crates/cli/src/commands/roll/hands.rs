//! What a roll asks of the fleet: what is seen, what is safe, and the states of servers. An agent that goes away in the
//! middle is no reason to stop: another endpoint is asked.

use std::time::Duration;

use hafleet_api::query::Terms;
use hafleet_api::v1::{self, ServerState};
use hafleet_query::{Answer, Check, Expression};
use tokio::time::Instant;

use super::sighting::{self, Sighting};
use crate::args::Target;
use crate::client::{Client, answer};
use crate::commands::questions::fleet::Asker;
use crate::failure::{Exit, Failure};

/// How long nobody may be there to write something down.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// The way to the fleet.
pub(super) struct Hands<'a> {
    target: &'a Target,
    backend: &'a str,
    terms: Terms,
    question: Expression,
    asker: Option<Asker>,
    comment: String,
}

impl<'a> Hands<'a> {
    pub(super) fn new(
        backend: &'a str,
        allow_missing: u32,
        target: &'a Target,
    ) -> Result<Self, Failure> {
        let terms = Terms {
            allow_missing,
            ..Terms::default()
        };
        Ok(Self {
            target,
            backend,
            terms,
            question: sighting::question(backend)?,
            asker: None,
            comment: String::new(),
        })
    }

    /// What the others are told of why a server is out of service.
    pub(super) fn explain(&mut self, comment: String) {
        self.comment = comment;
    }

    /// The fleet's name.
    pub(super) async fn fleet(&self) -> Result<String, Failure> {
        let mut client = Client::connect(self.target).await?;
        let request = client.request(v1::GetStatusRequest {});
        Ok(answer(client.admin.get_status(request).await)?.fleet)
    }

    async fn asker(&mut self) -> Result<Asker, Failure> {
        match self.asker.take() {
            Some(asker) => Ok(asker),
            None => Asker::of_fleet(self.terms, self.target).await,
        }
    }

    /// The backend's servers as all load balancers see them now.
    pub(super) async fn see(&mut self) -> Result<Sighting, Failure> {
        let mut asker = self.asker().await?;
        let evaluation = asker.evaluate(&self.question).await?;
        self.asker = Some(asker);
        let missing = evaluation.missing.iter();
        let missing = missing.map(|missing| format!("\n{}: {}", missing.lb, missing.reason));
        let missing: String = missing.collect();
        let value = evaluation
            .outcome
            .map_err(|words| Failure::new(Exit::Refused, format!("{words}{missing}")))?;
        Sighting::read(value).ok_or_else(|| {
            let words = "the agent answers in a form that this command does not know; is it of another version?";
            Failure::new(Exit::Failed, words)
        })
    }

    /// Whether `check` says yes.
    pub(super) async fn ask(&mut self, check: &Check) -> Result<Answer, Failure> {
        let mut asker = self.asker().await?;
        let answer = asker.check(check).await?;
        self.asker = Some(asker);
        Ok(answer)
    }

    /// What is asked of the backend's servers by hand: server, who, why.
    pub(super) async fn by_hand(&self) -> Result<Vec<v1::ServerOverride>, Failure> {
        let mut client = Client::connect(self.target).await?;
        let request = client.request(v1::ListOverridesRequest {});
        let mut servers = answer(client.admin.list_overrides(request).await)?.servers;
        servers.retain(|server| server.backend == self.backend);
        Ok(servers)
    }

    /// Asks for a state of a server, until a majority has stored that.
    pub(super) async fn set(&self, server: &str, state: ServerState) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.set_once(server, state).await {
                Err(failure) if failure.exit == Exit::Unreachable && Instant::now() < deadline => {
                    tokio::time::sleep(TRY_AGAIN).await;
                }
                done => return done,
            }
        }
    }

    async fn set_once(&self, server: &str, state: ServerState) -> Result<(), Failure> {
        let mut client = Client::connect(self.target).await?;
        let request = client.request(v1::SetServerStateRequest {
            backend: self.backend.to_owned(),
            server: server.to_owned(),
            state: state.into(),
            lasting: None,
            comment: self.comment.clone(),
            force_without_majority: false,
        });
        let written = answer(client.admin.set_server_state(request).await)?;
        if written.committed {
            return Ok(());
        }
        Failure::not_committed(written.stored_by.len(), written.known_nodes, false)
    }
}
