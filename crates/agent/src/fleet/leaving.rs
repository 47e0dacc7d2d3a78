//! This node's way out of the fleet: it yields, has the leader write down that it left, and lets the agent end.

use std::sync::Arc;
use std::time::Duration;

use hafleet_api::fleet::Intent;
use hafleet_api::overrides::{Leave, OverrideChange, OverrideWrite};
use hafleet_api::{Failure, v1};
use tokio::sync::{Mutex, watch};

use super::AgentFleet;
use crate::forward::Forward;

/// Why a node that is leaving does not lead.
const UNFIT: &str = "it is leaving the fleet";

/// How long a leader may take to notice that it is unfit.
const YIELDING: Duration = Duration::from_secs(3);

/// What the agent ends with once the fleet goes on without this node. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Leaving {
    left: watch::Sender<Option<Left>>,
    turn: Arc<Mutex<()>>,
}

/// The fleet goes on without this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// Whether HAProxy ends as well.
    pub(crate) stops_haproxy: bool,
}

impl Default for Leaving {
    fn default() -> Self {
        Self {
            left: watch::Sender::new(None),
            turn: Arc::default(),
        }
    }
}

impl Leaving {
    /// Ends when this node has left.
    pub(crate) async fn done(&self) -> Left {
        let mut left = self.left.subscribe();
        let found = left.wait_for(Option::is_some).await;
        match found.ok().and_then(|left| *left) {
            Some(left) => left,
            None => std::future::pending().await,
        }
    }
}

impl AgentFleet {
    pub(super) async fn leave_fleet(
        &self,
        leave: Leave,
    ) -> Result<v1::WriteOverrideResponse, Failure> {
        if let Some(node) = leave.node.as_ref().filter(|node| **node != self.node) {
            self.known(node)?;
            return Forward::to(&self.cluster, node)?.leave(&leave).await;
        }
        let _turn = self.leaving.turn.lock().await;
        if self.others().is_empty() {
            return Err(Failure::LastNode(self.node.clone()));
        }
        tracing::info!(by = leave.intent.author, "this node leaves the fleet");
        self.cluster.resign(Some(UNFIT));
        let written = self.have_it_written(&leave).await;
        match &written {
            Ok(_) => {
                let stops_haproxy = leave.stop_haproxy;
                self.leaving.left.send_replace(Some(Left { stops_haproxy }));
            }
            Err(failure) => {
                tracing::warn!(%failure, "this node stays in the fleet");
                self.cluster.resign(None);
            }
        }
        written
    }

    /// Has whoever leads, after this node has yielded, write down that it left.
    async fn have_it_written(&self, leave: &Leave) -> Result<v1::WriteOverrideResponse, Failure> {
        let mut view = self.cluster.view();
        let yielded = view.wait_for(|view| !view.leadership.is_leader());
        if tokio::time::timeout(YIELDING, yielded).await.is_err() {
            return Err(Failure::TimedOut(
                "this node leads and does not yield; try again".to_owned(),
            ));
        }
        let own = view.borrow().own().map(|own| own.report.generation);
        let write = OverrideWrite {
            change: OverrideChange::Leave {
                node: self.node.clone(),
                generation: own.unwrap_or_default(),
            },
            intent: Intent {
                is_forwarded: false,
                ..leave.intent.clone()
            },
        };
        let written = self.through_leader(&write).await?;
        if !written.committed && !leave.intent.force {
            return Err(Failure::TimedOut(format!(
                "only {} have stored that {} leaves, no majority; it stays, try again",
                written.stored_by.join(", "),
                self.node
            )));
        }
        Ok(written)
    }
}
