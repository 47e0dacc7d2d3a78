//! Which of the nodes that are missed EC2 says are terminated.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hafleet_ec2::{Ec2, Ec2Settings};
use hafleet_model::{NodeId, with_causes};
use tokio::time::Instant;

use super::plan::Asked;

/// How often EC2 is asked while nodes are missed. AWS meters calls.
const INTERVAL: Duration = Duration::from_secs(30);
/// When it is asked again after it did not answer.
const RETRY: Duration = Duration::from_secs(5);
/// How long it may take in all.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What EC2 said of instances. Only an answer says that one is terminated: an error says nothing, and neither does it that
/// an instance is not in the answer.
pub(super) struct Instances {
    ec2: Ec2,
    /// Of whom it was asked last, and when it may be asked of them again.
    asked: Option<(Instant, BTreeMap<Asked, NodeId>)>,
    terminated: BTreeSet<NodeId>,
}

impl Instances {
    pub(super) fn new() -> Self {
        let settings = Ec2Settings {
            lifecycle: false,
            ..Ec2Settings::default()
        };
        Self {
            ec2: Ec2::new(settings),
            asked: None,
            terminated: BTreeSet::new(),
        }
    }

    /// Those of `missed` whose instance is terminated. EC2 is asked when somebody is missed, and not too often.
    pub(super) async fn terminated(
        &mut self,
        missed: BTreeMap<Asked, NodeId>,
    ) -> &BTreeSet<NodeId> {
        self.terminated
            .retain(|node| missed.values().any(|missed| missed == node));
        let is_recent = self
            .asked
            .as_ref()
            .is_some_and(|(until, asked)| Instant::now() < *until && *asked == missed);
        if missed.is_empty() || is_recent {
            return &self.terminated;
        }
        let pause = match tokio::time::timeout(TIMEOUT, self.ask(&missed)).await {
            Ok((found, is_whole)) => {
                self.terminated.extend(found);
                if is_whole { INTERVAL } else { RETRY }
            }
            Err(_) => {
                tracing::warn!("EC2 is slow to say whether instances are terminated");
                RETRY
            }
        };
        self.asked = Some((Instant::now() + pause, missed));
        &self.terminated
    }

    /// The terminated, and whether all regions have answered.
    async fn ask(&self, missed: &BTreeMap<Asked, NodeId>) -> (BTreeSet<NodeId>, bool) {
        let mut regions: BTreeMap<Option<String>, BTreeSet<String>> = BTreeMap::new();
        for asked in missed.keys() {
            let ids = regions.entry(asked.region.clone()).or_default();
            ids.insert(asked.id.clone());
        }
        let mut terminated = BTreeSet::new();
        let mut is_whole = true;
        for (region, ids) in regions {
            match self.ec2.terminated(region.as_deref(), &ids).await {
                Ok(found) => {
                    let of = |id: String| {
                        let region = region.clone();
                        missed.get(&Asked { region, id }).cloned()
                    };
                    terminated.extend(found.into_iter().filter_map(of));
                }
                Err(error) => {
                    is_whole = false;
                    let error = with_causes(&error);
                    tracing::warn!(error, "whether instances are terminated is not known");
                }
            }
        }
        (terminated, is_whole)
    }
}
