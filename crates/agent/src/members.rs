//! The loop by which the leader keeps the fleet to those who are in it: nodes that come back are taken in again, and those
//! that will not return are removed.
//!
//! Nobody is removed without a majority, so that two halves of a fleet never both shrink to themselves.

mod instances;
pub(crate) mod plan;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hafleet_cluster::{Cluster, Role, View, WriteError};
use hafleet_model::overrides::{Provenance, Removal, RemovalReason};
use hafleet_model::{NodeId, Overrides, with_causes};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::overrides::write::{Rewrite, RewriteError};
use crate::overrides::{OverridesKeeper, now_ms};
use crate::reconcile::{Activation, Outcome, Pace, Reconcile};
use instances::Instances;
use plan::Step;

/// The view wakes it; the timer is for those who are dead for longer and longer, and for EC2.
pub(crate) const PACE: Pace = Pace {
    interval: Duration::from_secs(5),
    first_pause: Duration::from_secs(2),
    longest_pause: Duration::from_secs(30),
};

/// Until the last change is looked at again, where no majority is known to have it.
const UNSETTLED: Duration = Duration::from_secs(2);

/// Who is in the fleet, as the leader's work.
pub(crate) struct MembersLoop {
    node: NodeId,
    keeper: OverridesKeeper,
    view: watch::Receiver<Arc<View>>,
    instances: Instances,
    /// How long the dead are kept.
    retention: Duration,
}

impl MembersLoop {
    pub(crate) fn new(
        node: NodeId,
        cluster: &Cluster,
        keeper: OverridesKeeper,
        retention: Duration,
    ) -> Self {
        Self {
            node,
            keeper,
            view: cluster.view(),
            instances: Instances::new(),
            retention,
        }
    }

    /// The next step, after EC2 was asked of those who are missed.
    async fn next(&mut self) -> Option<Step> {
        let view = Arc::clone(&self.view.borrow_and_update());
        let missed = plan::missed_instances(&view);
        let terminated = self.instances.terminated(missed).await;
        let removed = &self.keeper.newest().overrides.removed;
        plan::next(&view, removed, terminated, self.retention, now_ms())
    }

    fn author(&self) -> String {
        format!("{} (members)", self.node)
    }

    async fn take(&self, step: &Step) -> Outcome {
        tracing::info!(?step, "who is in the fleet changes");
        let author = self.author();
        let rewrite = |stored: &Overrides| Ok(rewrite(stored, step, &author, now_ms()));
        match self.keeper.rewrite(&author, false, rewrite).await {
            // There may be another, which the next round finds.
            Ok(_) => Outcome::Deferred {
                until: Instant::now(),
                reason: "somebody else may have to be taken in or removed",
            },
            Err(RewriteError::Write(WriteError::NotLeader { .. } | WriteError::Overtaken)) => {
                Outcome::Inert("another node has begun to lead")
            }
            Err(RewriteError::Write(WriteError::NoMajority { .. })) => {
                Outcome::Inert("there is no majority, without which nobody is removed")
            }
            Err(error) => Outcome::Failed(with_causes(&error)),
        }
    }
}

#[async_trait]
impl Reconcile for MembersLoop {
    const NAME: &'static str = "members";

    async fn changed(&mut self) {
        if self.view.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn reconcile(&mut self, _: Activation) -> Outcome {
        let (leads, has_majority) = {
            let view = self.view.borrow_and_update();
            let leads = matches!(view.leadership.role, Role::Leader(_));
            (leads, view.has_majority())
        };
        if !leads {
            return Outcome::Inert("another node leads, or none");
        }
        if !has_majority {
            return Outcome::Inert("there is no majority, without which nobody is removed");
        }
        let Some(step) = self.next().await else {
            return Outcome::Done;
        };
        if !self.keeper.is_settled(&self.author()).await {
            return Outcome::Deferred {
                until: Instant::now() + UNSETTLED,
                reason: "no majority is known to have the last change",
            };
        }
        self.take(&step).await
    }
}

/// `stored` after `step`; none when it is so already.
fn rewrite(stored: &Overrides, step: &Step, author: &str, now_ms: i64) -> Option<Rewrite> {
    let mut overrides = stored.clone();
    let comment = match step {
        Step::TakeIn { node } => {
            let removal = overrides.removed.remove(node)?;
            format!("{node} is back, and was {}", removal.reason.as_str())
        }
        Step::Remove { node, .. } if stored.removed.contains_key(node) => return None,
        Step::Remove {
            node,
            generation,
            reason,
        } => {
            let comment = match reason {
                RemovalReason::Terminated => "its instance is terminated",
                RemovalReason::Expired => "it was dead for longer than the dead are kept",
                RemovalReason::Left | RemovalReason::Forgotten => reason.as_str(),
            };
            let provenance = Provenance {
                author: author.to_owned(),
                comment: comment.to_owned(),
                since_ms: now_ms,
                until_ms: None,
            };
            let removal = Removal {
                generation: *generation,
                reason: *reason,
                provenance,
            };
            overrides.remove(node.clone(), removal);
            format!("forget {node}: {comment}")
        }
    };
    Some(Rewrite { overrides, comment })
}
