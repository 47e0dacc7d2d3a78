//! Whether this node can do what only a leader does: publish in DNS, and ask EC2.
//!
//! A node without credentials for AWS, or without a way there, leads as well as any other until there is something to ask.
//! Then it yields, by saying that it is unfit, to one that may be able to. It does so only while there is such a one: a leader
//! that cannot publish is better than none.

mod rule;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use hafleet_cluster::{Cluster, Liveness, Role, View};
use tokio::sync::watch;

use crate::reconcile::{Activation, Outcome, Pace, Reconcile};
use rule::Rule;
pub(crate) use rule::{Inability, Job};

/// What the jobs say and what the view shows is seen as it comes.
pub(crate) const PACE: Pace = Pace {
    interval: std::time::Duration::from_secs(5),
    first_pause: std::time::Duration::from_secs(1),
    longest_pause: std::time::Duration::from_secs(5),
};

/// Where the leader's jobs say what they cannot do. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub(crate) struct Fitness {
    inabilities: Arc<watch::Sender<BTreeMap<Job, Inability>>>,
}

impl Fitness {
    /// `job` cannot be done here for this reason; none: it can, or need not be.
    pub(crate) fn tell(&self, job: Job, inability: Option<Inability>) {
        self.inabilities.send_if_modified(|known| {
            if known.get(&job) == inability.as_ref() {
                return false;
            }
            match inability {
                Some(inability) => drop(known.insert(job, inability)),
                None => drop(known.remove(&job)),
            }
            true
        });
    }
}

/// Has this node say that it is unfit to lead, and take it back.
pub(crate) struct FitnessLoop {
    cluster: Cluster,
    view: watch::Receiver<Arc<View>>,
    inabilities: watch::Receiver<BTreeMap<Job, Inability>>,
    rule: Rule,
    published: Option<String>,
}

impl FitnessLoop {
    pub(crate) fn new(cluster: Cluster, fitness: &Fitness) -> Self {
        Self {
            view: cluster.view(),
            inabilities: fitness.inabilities.subscribe(),
            cluster,
            rule: Rule::default(),
            published: None,
        }
    }
}

/// Whether this node leads, and whether another could.
fn standing(view: &View) -> rule::Standing {
    let others = view.members.iter().filter(|member| !member.is_self);
    let mut fit =
        others.filter(|member| member.liveness == Liveness::Live && member.report.unfit.is_none());
    rule::Standing {
        leads: matches!(view.leadership.role, Role::Leader(_)),
        is_another_fit: fit.next().is_some(),
    }
}

#[async_trait]
impl Reconcile for FitnessLoop {
    const NAME: &'static str = "fitness";

    async fn changed(&mut self) {
        tokio::select! {
            Ok(()) = self.view.changed() => {}
            Ok(()) = self.inabilities.changed() => {}
            else => std::future::pending().await,
        }
    }

    async fn reconcile(&mut self, _: Activation) -> Outcome {
        let standing = standing(&self.view.borrow_and_update());
        let inabilities = self.inabilities.borrow_and_update().clone();
        let now = tokio::time::Instant::now();
        let unfit = self.rule.decide(now, standing, &inabilities);
        if unfit != self.published {
            match &unfit {
                Some(reason) => tracing::warn!(reason, "this node is unfit to lead"),
                None => tracing::info!("this node may lead again"),
            }
            self.published.clone_from(&unfit);
            self.cluster.report(|report| report.unfit = unfit);
        }
        match self.rule.due() {
            Some(until) if until > now => Outcome::Deferred {
                until,
                reason: "this node has been unable to do a leader's work, or is about to be tried again",
            },
            _ => Outcome::Done,
        }
    }
}
