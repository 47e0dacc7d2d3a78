//! Names in DNS: what the API tells of them, and what people may do to them; all of it is the leader's.

use std::time::Duration;

use async_trait::async_trait;
use hafleet_api::fleet::Intent;
use hafleet_api::{Failure, v1};
use hafleet_dns::publisher::OperateError;
use hafleet_model::spec::Publication;

use super::{AgentFleet, Errand, WriteFailure};
use crate::forward::{Forward, Unanswered};
use crate::publication::{Listeners, Undone, plan_of};

/// How long providers may take. Less than what who forwards a call waits.
const PROVIDERS_TIMEOUT: Duration = Duration::from_secs(11);

/// Asks how names stand.
pub(super) struct ListDns {
    pub(super) is_forwarded: bool,
}

/// Asks what would change.
pub(super) struct PlanDns {
    pub(super) is_forwarded: bool,
}

/// Takes over a name.
pub(super) struct AdoptDns {
    pub(super) name: String,
    pub(super) intent: Intent,
}

/// Gives names up.
pub(super) struct ReleaseDns {
    pub(super) names: Vec<String>,
    pub(super) intent: Intent,
}

#[async_trait]
impl Errand for ListDns {
    type Done = v1::ListDnsResponse;

    fn is_forwarded(&self) -> bool {
        self.is_forwarded
    }

    async fn here(&self, fleet: &AgentFleet) -> Result<Self::Done, WriteFailure> {
        fleet.lead()?;
        fleet.dns.status().ok_or_else(has_just_begun)
    }

    async fn there(&self, leader: Forward) -> Result<Self::Done, Unanswered> {
        leader.dns().await
    }
}

#[async_trait]
impl Errand for PlanDns {
    type Done = v1::PlanDnsResponse;

    fn is_forwarded(&self) -> bool {
        self.is_forwarded
    }

    async fn here(&self, fleet: &AgentFleet) -> Result<Self::Done, WriteFailure> {
        fleet.lead()?;
        done(fleet.dns.plan()).await.map(plan_of)
    }

    async fn there(&self, leader: Forward) -> Result<Self::Done, Unanswered> {
        leader.plan_dns().await
    }
}

#[async_trait]
impl Errand for AdoptDns {
    type Done = ();

    fn is_forwarded(&self) -> bool {
        self.intent.is_forwarded
    }

    async fn here(&self, fleet: &AgentFleet) -> Result<(), WriteFailure> {
        fleet.lead()?;
        done(fleet.dns.adopt(self.name.clone())).await?;
        tracing::info!(name = self.name, author = self.intent.author, "adopted");
        Ok(())
    }

    async fn there(&self, leader: Forward) -> Result<(), Unanswered> {
        leader.adopt_dns(&self.name).await
    }
}

#[async_trait]
impl Errand for ReleaseDns {
    type Done = Vec<String>;

    fn is_forwarded(&self) -> bool {
        self.intent.is_forwarded
    }

    async fn here(&self, fleet: &AgentFleet) -> Result<Vec<String>, WriteFailure> {
        fleet.lead()?;
        let released = done(fleet.dns.release(self.names.clone())).await?;
        tracing::info!(names = ?released, author = self.intent.author, "released");
        Ok(released)
    }

    async fn there(&self, leader: Forward) -> Result<Vec<String>, Unanswered> {
        leader.release_dns(&self.names).await
    }
}

impl AgentFleet {
    /// Where nodes are probed under this spec: this node's HAProxy listens as all do.
    pub(crate) fn listeners(
        &self,
        spec: &str,
        publication: &Publication,
    ) -> Result<Listeners, String> {
        let candidate = self.candidate(spec).map_err(|error| error.to_string())?;
        let listeners = candidate.rendered().listeners();
        let own = self.inspector.node().address;
        Ok(Listeners::of(publication, listeners, own))
    }
}

/// What the loop that publishes did, in good time.
async fn done<T>(work: impl Future<Output = Result<T, Undone>>) -> Result<T, WriteFailure> {
    let late = |_| {
        let words = "DNS takes long to answer; `hafleet dns` tells what is done";
        WriteFailure::Final(Failure::TimedOut(words.to_owned()))
    };
    let done = tokio::time::timeout(PROVIDERS_TIMEOUT, work).await;
    done.map_err(late)?.map_err(|undone| match undone {
        Undone::NotLeading => has_just_begun(),
        Undone::NothingPublished => {
            WriteFailure::Final(invalid("the spec publishes nothing in DNS".to_owned()))
        }
        Undone::Refused(OperateError::Provider(error)) => {
            WriteFailure::Final(Failure::Internal(error.to_string()))
        }
        Undone::Refused(error) => WriteFailure::Final(invalid(error.to_string())),
    })
}

fn invalid(problem: String) -> Failure {
    Failure::InvalidArgument {
        field: "name",
        problem,
    }
}

fn has_just_begun() -> WriteFailure {
    WriteFailure::NotLeader {
        leader: None,
        reason: "the leader has just begun".to_owned(),
    }
}
