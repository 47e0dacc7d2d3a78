//! Whether this node can do what only a leader does: publish in DNS, ask EC2, write what is new to its disk, and tell a
//! valid certificate from one that has expired.
//!
//! A node without credentials for AWS, or without a way there, leads as well as any other until there is something to ask.
//! Then it yields, by saying that it is unfit, to one that may be able to. It does so only while there is such a one: a leader
//! that cannot publish is better than none.

mod rule;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use hafleet_cluster::{Cluster, Liveness, Role, View};
use hafleet_identity::Credentials;
use jiff::Timestamp;
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

/// The room that a leader finds on its disk: for a configuration to check, and for what the store grows by.
const ROOM_BYTES: usize = 64 * 1024;

/// How many files a leader can open at once beside those that are open: a check of a configuration takes some.
const FREE_DESCRIPTORS: usize = 16;

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
    fitness: Fitness,
    machine: Machine,
    rule: Rule,
    published: Option<String>,
}

impl FitnessLoop {
    pub(crate) fn new(cluster: Cluster, fitness: &Fitness, machine: Machine) -> Self {
        Self {
            view: cluster.view(),
            inabilities: fitness.inabilities.subscribe(),
            fitness: fitness.clone(),
            machine,
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

/// What a leader needs of its machine.
pub(crate) struct Machine {
    /// Where the agent's files are.
    pub(crate) data: PathBuf,
    /// This node's own.
    pub(crate) credentials: Arc<Credentials>,
}

impl Machine {
    /// Why there is no room for its files, found out by taking some. A write that fails says it too late: somebody's
    /// write was refused then.
    fn no_room(&self) -> Option<Inability> {
        let taken =
            tempfile::tempfile_in(&self.data).and_then(|mut file| file.write_all(&[0; ROOM_BYTES]));
        let reason = taken.err()?;
        Some(Inability::Refused(format!(
            "nothing can be written in {}: {reason}; make room there, or mend it",
            self.data.display()
        )))
    }

    /// Why too few files can be opened, found out by opening some. With one or two that are left a leader would find room
    /// on its disk, and refuse every spec since HAProxy cannot be asked.
    fn no_descriptors(&self) -> Option<Inability> {
        let opened = File::open(&self.data).and_then(|one| {
            let more = (1..FREE_DESCRIPTORS).map(|_| one.try_clone());
            more.collect::<Result<Vec<_>, _>>()
        });
        let reason = opened.err()?;
        Some(Inability::Refused(format!(
            "fewer than {FREE_DESCRIPTORS} more files can be opened: {reason} (LimitNOFILE= of the agent's unit)"
        )))
    }

    /// Why others are refused by the time that it is here: by a clock that is wrong, for whoever's certificate is good.
    fn out_of_time(&self, now: Timestamp) -> Option<Inability> {
        let facts = self.credentials.facts();
        (now < facts.not_before || now > facts.not_after).then(|| {
            Inability::Refused(format!(
                "by the clock of this machine, which shows {now}, its own certificate is not valid: it is from {} to {}",
                facts.not_before, facts.not_after
            ))
        })
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

    async fn reconcile(&mut self, activation: Activation) -> Outcome {
        let standing = standing(&self.view.borrow_and_update());
        if activation == Activation::Timer || !standing.leads {
            let machine = standing.leads.then_some(&self.machine);
            let failed = self.cluster.storage_trouble().map(Inability::Refused);
            let failed = failed.or_else(|| machine.and_then(Machine::no_room));
            let failed = failed.or_else(|| machine.and_then(Machine::no_descriptors));
            self.fitness.tell(Job::Storage, failed);
            let out_of_time = machine.and_then(|machine| machine.out_of_time(Timestamp::now()));
            self.fitness.tell(Job::Identity, out_of_time);
        }
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

#[cfg(test)]
mod tests;
