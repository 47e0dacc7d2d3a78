//! The loop that tells the leader what this node's own Docker engine has. It runs on every node that has one, and goes on
//! while nobody leads: whoever leads next is told at once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hafleet_cluster::{Cluster, View};
use hafleet_discovery::docker::{DockerEngine, DockerSource};
use hafleet_discovery::source::Said;
use hafleet_discovery::{Answers, Source as _, SourceSettings};
use hafleet_model::{NodeId, Term};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::board::{Board, Request};
use super::found::said_of;
use crate::forward::{Forward, Unanswered};
use crate::reconcile::{Activation, Outcome, Pace, Reconcile};

/// The engine's events tell of changes; a leader that did not take what it was told is told again soon.
pub(crate) const PACE: Pace = Pace {
    interval: Duration::from_secs(30),
    first_pause: Duration::from_millis(200),
    longest_pause: Duration::from_secs(5),
};

/// Containers of this node, on their way to the leader.
pub(crate) struct ContainersLoop {
    node: NodeId,
    cluster: Cluster,
    board: Board,
    view: watch::Receiver<Arc<View>>,
    said: watch::Receiver<Option<Said>>,
    /// Whom the last was told to, and which it was.
    told: Option<(Leader, u64)>,
    /// Ends the source when this goes.
    _stop: DropGuard,
}

/// A node and the term that it leads.
type Leader = (NodeId, Term);

impl ContainersLoop {
    /// Begins to watch `engine`. Needs a tokio runtime.
    pub(crate) fn new(node: NodeId, cluster: Cluster, board: Board, engine: DockerEngine) -> Self {
        let stop = CancellationToken::new();
        let (answers, said) = Answers::new(stop.clone());
        let source = DockerSource::new(engine, SourceSettings::default());
        tokio::spawn(Box::new(source).run(answers));
        Self {
            node,
            view: cluster.view(),
            cluster,
            board,
            said,
            told: None,
            _stop: stop.drop_guard(),
        }
    }
}

fn leader(view: &View) -> Option<Leader> {
    let leader = view.leadership.leader.clone()?;
    Some((leader, view.leadership.term))
}

#[async_trait]
impl Reconcile for ContainersLoop {
    const NAME: &'static str = "containers";

    async fn changed(&mut self) {
        let told = self.told.as_ref().map(|(leader, _)| leader);
        let view = &mut self.view;
        let other_leader = async {
            while view.changed().await.is_ok() {
                if leader(&view.borrow_and_update()).as_ref() != told {
                    return;
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = other_leader => {}
            Ok(()) = self.said.changed() => {}
            else => std::future::pending().await,
        }
    }

    async fn reconcile(&mut self, _: Activation) -> Outcome {
        let leader = leader(&self.view.borrow_and_update());
        let said = self.said.borrow_and_update().clone();
        let Some(leader) = leader else {
            return Outcome::Inert("nobody leads");
        };
        let Some(said) = said else {
            return Outcome::Inert("the engine has said nothing yet");
        };
        let news = (leader, said.count);
        if self.told.as_ref() == Some(&news) {
            return Outcome::Done;
        }
        let (leader, _) = &news.0;
        if *leader == self.node {
            let (node, result) = (self.node.clone(), said.result);
            self.board.pin(Request::Publish { node, result });
        } else {
            let told = match Forward::to(&self.cluster, leader) {
                Ok(forward) => forward.publish(said_of(said.result)).await,
                Err(failure) => Err(Unanswered::Final(failure)),
            };
            match told {
                Ok(()) => {}
                Err(Unanswered::NotSent(reason)) => return Outcome::Failed(reason),
                Err(Unanswered::Final(failure)) => return Outcome::Failed(failure.to_string()),
            }
        }
        self.told = Some(news);
        Outcome::Done
    }
}
