//! The loop by which the leader takes what is over out of the overrides document.
//!
//! Nobody acts upon what is over in any case, so there is no hurry: a while is waited, so that what ends together is
//! taken out together.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hafleet_cluster::{Cluster, Role, View, WriteError};
use hafleet_model::{Document, DocumentKind, NodeId, Overrides, Term, with_causes};
use tokio::sync::watch;

use super::write::{Rewrite, RewriteError};
use super::{OverridesKeeper, now_ms, wait_until};
use crate::reconcile::{Activation, Outcome, Pace, Reconcile};

/// The loop sleeps until something is over; the timer is for clocks that were set.
pub(crate) const PACE: Pace = Pace {
    interval: Duration::from_secs(30),
    first_pause: Duration::from_secs(5),
    longest_pause: Duration::from_secs(60),
};

/// How long what is over stays in the document.
const LINGER_MS: i64 = 3_000;

/// How many are named in the history.
const MAX_NAMED: usize = 10;

/// Expiry, as the leader's work.
pub(crate) struct ExpiryLoop {
    node: NodeId,
    keeper: OverridesKeeper,
    view: watch::Receiver<Arc<View>>,
    overrides: watch::Receiver<Option<Arc<Document>>>,
    /// The term that this node led in the last round.
    led: Option<Term>,
    /// When the next round is due, in milliseconds since 1970.
    due_ms: Option<i64>,
}

impl ExpiryLoop {
    pub(crate) fn new(node: NodeId, cluster: &Cluster, keeper: OverridesKeeper) -> Self {
        Self {
            node,
            keeper,
            view: cluster.view(),
            overrides: cluster.document(DocumentKind::Overrides),
            led: None,
            due_ms: None,
        }
    }
}

#[async_trait]
impl Reconcile for ExpiryLoop {
    const NAME: &'static str = "expiry";

    async fn changed(&mut self) {
        let (view, led) = (&mut self.view, self.led);
        let leads_otherwise = async {
            while view.changed().await.is_ok() {
                if term_of(&view.borrow_and_update()) != led {
                    return;
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = leads_otherwise => {}
            () = wait_until(self.due_ms) => {}
            Ok(()) = self.overrides.changed() => {}
            else => std::future::pending().await,
        }
    }

    async fn reconcile(&mut self, _: Activation) -> Outcome {
        self.overrides.mark_unchanged();
        self.led = term_of(&self.view.borrow_and_update());
        self.due_ms = None;
        if self.led.is_none() {
            return Outcome::Inert("another node leads, or none");
        }
        let due_ms = self.keeper.newest().overrides.next_expiry();
        let due_ms = due_ms.map(|expiry| expiry.saturating_add(LINGER_MS));
        if due_ms.is_none_or(|due| due > now_ms()) {
            self.due_ms = due_ms;
            return Outcome::Done;
        }
        let author = format!("{} (expiry)", self.node);
        let rewritten = self.keeper.rewrite(&author, false, without_what_is_over);
        match rewritten.await {
            Ok(_) => {
                let next = self.keeper.newest().overrides.next_expiry();
                self.due_ms = next.map(|expiry| expiry.saturating_add(LINGER_MS));
                Outcome::Done
            }
            Err(RewriteError::Write(WriteError::NotLeader { .. } | WriteError::Overtaken)) => {
                Outcome::Inert("another node has begun to lead")
            }
            Err(error) => Outcome::Failed(with_causes(&error)),
        }
    }
}

/// The term that this node leads.
fn term_of(view: &View) -> Option<Term> {
    match view.leadership.role {
        Role::Leader(term) => Some(term),
        Role::Follower(..) | Role::Settling { .. } | Role::Unfit { .. } => None,
    }
}

/// `stored` without what is over; none when nothing is.
fn without_what_is_over(stored: &Overrides) -> Result<Option<Rewrite>, RewriteError> {
    let now_ms = now_ms();
    let nodes = stored.nodes.iter();
    let nodes = nodes.filter(|(_, drain)| !drain.provenance.holds(now_ms));
    let servers = stored.servers.iter();
    let servers = servers.filter(|(_, server)| !server.provenance.holds(now_ms));
    let over = nodes
        .map(|(node, _)| node.to_string())
        .chain(servers.map(|(path, _)| path.to_string()));
    let over: Vec<_> = over.collect();
    let named = over.get(..MAX_NAMED).unwrap_or(&over).join(", ");
    let comment = match over.len().saturating_sub(MAX_NAMED) {
        _ if over.is_empty() => return Ok(None),
        0 => format!("over: {named}"),
        more => format!("over: {named} and {more} more"),
    };
    let overrides = stored.clone().holding(now_ms);
    Ok(Some(Rewrite { overrides, comment }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_over_is_taken_out_and_it_is_named() {
        let later = now_ms() + 3_600_000;
        let body = format!(
            r#"{{"version":1,"nodes":{{"n1":{{"author":"ada","since_ms":1,"until_ms":2}}}},"servers":{{
                "app/s1":{{"state":"maint","author":"ada","since_ms":1,"until_ms":2}},
                "app/s2":{{"state":"drain","author":"ada","since_ms":1,"until_ms":{later}}}}}}}"#
        );
        let stored = Overrides::parse(&body).unwrap();
        let rewrite = without_what_is_over(&stored).unwrap().unwrap();
        assert_eq!(rewrite.comment, "over: n1, app/s1");
        assert!(rewrite.overrides.nodes.is_empty());
        assert_eq!(rewrite.overrides.servers.len(), 1);
        assert!(without_what_is_over(&rewrite.overrides).unwrap().is_none());
    }
}
