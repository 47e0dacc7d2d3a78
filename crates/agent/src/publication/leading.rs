//! The loop that keeps names in DNS equal to the nodes in service, while this node leads.
//!
//! Each round looks at all nodes' listeners itself, since no node leaves DNS by gossip alone, and has the publisher compare
//! and write. At rest that asks nobody but the nodes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hafleet_cluster::{Cluster, View};
use hafleet_dns::lease::Claimant;
use hafleet_dns::publisher::{Publisher, Rival, Round, Scene};
use hafleet_dns::service::Standing;
use hafleet_dns::{Budget, ProviderError, Zones};
use hafleet_identity::Credentials;
use hafleet_model::spec::Publication;
use hafleet_model::{Document, DocumentKind, NodeId, Stamp, Term, spec};
use tokio::sync::watch;
use tokio::time::Instant;

use super::board::{DnsBoard, Request, Undone};
use super::listeners::Listeners;
use super::message::list_of;
use super::sight::Sight;
use crate::discovery::is_behind;
use crate::fitness::{Inability, Job};
use crate::fleet::AgentFleet;
use crate::overrides::OverridesKeeper;
use crate::reconcile::{Activation, Outcome, Pace, Reconcile};

/// Changes of the fleet are seen as they come; the timer is for listeners that fall silent.
pub(crate) const PACE: Pace = Pace {
    interval: Duration::from_secs(2),
    first_pause: Duration::from_secs(1),
    longest_pause: Duration::from_secs(10),
};

/// How soon a node in doubt is looked at again.
const IN_DOUBT: Duration = Duration::from_millis(500);
/// How long a newer spec gets to come here before it is looked for again.
const CATCHING_UP: Duration = Duration::from_millis(200);

/// Publication, as the leader's work.
pub(crate) struct PublicationLoop {
    fleet: AgentFleet,
    credentials: Arc<Credentials>,
    cluster: Cluster,
    board: DnsBoard,
    overrides: OverridesKeeper,
    zones: Arc<dyn Zones>,
    budget: Budget,
    view: watch::Receiver<Arc<View>>,
    spec: watch::Receiver<Option<Arc<Document>>>,
    overridden: watch::Receiver<Option<Arc<Document>>>,
    /// What of the fleet was last acted upon.
    seen: Option<Sight>,
    lead: Option<Lead>,
}

/// What there is only while this node leads.
struct Lead {
    term: Term,
    publisher: Publisher,
    /// The spec that the rest is of; none before there was one.
    spec: Option<Stamp>,
    publication: Publication,
    listeners: Listeners,
    /// The highest term of others that the cluster was told of.
    told: Option<Term>,
}

impl PublicationLoop {
    /// `budget` is the one that the providers of `zones` spend.
    pub(crate) fn new(
        fleet: AgentFleet,
        credentials: Arc<Credentials>,
        zones: Arc<dyn Zones>,
        budget: Budget,
    ) -> Self {
        let cluster = fleet.cluster.clone();
        Self {
            board: fleet.dns.clone(),
            overrides: fleet.overrides.clone(),
            view: cluster.view(),
            spec: cluster.document(DocumentKind::Spec),
            overridden: cluster.document(DocumentKind::Overrides),
            seen: None,
            lead: None,
            fleet,
            credentials,
            cluster,
            zones,
            budget,
        }
    }

    /// Forgets all, and tells those who wait that this is not the node to ask.
    fn rest(&mut self, reason: &'static str) -> Outcome {
        self.lead = None;
        self.fleet.fitness.tell(Job::Publication, None);
        self.board.show(None);
        drop(self.board.take());
        Outcome::Inert(reason)
    }

    /// To whom no client is to be sent: who is drained, and who was, has left, and still has its HAProxy. Its drain is
    /// over with the write that it left; the view takes a moment longer.
    fn drained(&self) -> BTreeSet<NodeId> {
        let holding = self.overrides.holding();
        let removed = holding.removed.into_keys();
        holding.nodes.into_keys().chain(removed).collect()
    }

    /// Has a publisher for this term, and what this spec wants of it.
    fn prepare(&mut self, term: Term) -> Result<(), String> {
        if self.lead.as_ref().is_none_or(|lead| lead.term != term) {
            self.lead = Some(Lead {
                term,
                publisher: Publisher::new(Arc::clone(&self.zones), self.budget.clone()),
                spec: None,
                publication: Publication::default(),
                listeners: Listeners::default(),
                told: None,
            });
        }
        let document = self.spec.borrow_and_update().clone();
        let (Some(lead), Some(document)) = (&mut self.lead, document) else {
            return Ok(());
        };
        if lead.spec == Some(document.stamp()) {
            return Ok(());
        }
        let loaded = spec::load(document.body()).map_err(|error| error.to_string())?;
        let publication = loaded.spec.dns;
        let listeners = match publication.records.is_empty() {
            true => Listeners::default(),
            false => self.fleet.listeners(document.body(), &publication)?,
        };
        lead.spec = Some(document.stamp());
        lead.publication = publication;
        lead.listeners = listeners;
        Ok(())
    }

    /// All that the publisher has to know, as of now.
    async fn scene(&self, lead: &Lead, sight: &Sight) -> Scene {
        let probes = lead.listeners.probe(&sight.nodes).await;
        let nodes = sight.nodes.iter().map(|(id, seen)| {
            let probe = probes.get(id).copied();
            (id.clone(), seen.probed(probe))
        });
        Scene {
            claimant: Claimant {
                fleet: self.fleet.name.clone(),
                authorities: self.credentials.authority_marks(),
                node: self.fleet.node.clone(),
                term: lead.term,
                has_majority: sight.has_majority,
            },
            nodes: nodes.collect(),
            publication: lead.publication.clone(),
        }
    }

    /// One round of the publisher, and what it leads to.
    async fn publish(&mut self, sight: &Sight) -> Outcome {
        let Some(mut lead) = self.lead.take() else {
            return Outcome::Inert("another node leads, or none");
        };
        let scene = self.scene(&lead, sight).await;
        for request in self.board.take() {
            serve(&mut lead.publisher, &scene, request).await;
        }
        let round = lead.publisher.round(&scene).await;
        let (rival, next) = (round.rival.clone(), round.next);
        self.fleet.fitness.tell(Job::Publication, inability(&round));
        self.board
            .show(Some(list_of(&scene.claimant, &scene.nodes, round)));
        let is_told = self.tell(&mut lead, rival).await;
        let is_in_doubt = scene
            .nodes
            .values()
            .any(|node| matches!(node.standing(), Standing::Doubtful(_)));
        let is_idle = lead.publication.records.is_empty();
        self.lead = Some(lead);
        let (until, reason) = match is_in_doubt {
            true => (next.min(IN_DOUBT), "a node is in doubt"),
            false => (next, "DNS is looked at again soon"),
        };
        match is_told {
            Err(error) => Outcome::Failed(error),
            Ok(()) if is_idle => Outcome::Inert("the spec publishes nothing"),
            Ok(()) if until < PACE.interval => Outcome::Deferred {
                until: Instant::now() + until,
                reason,
            },
            Ok(()) => Outcome::Done,
        }
    }

    /// Tells the cluster, once each, of terms by which others stop this leader: it claims anew above them, or sees who
    /// leads.
    async fn tell(&self, lead: &mut Lead, rival: Option<Rival>) -> Result<(), String> {
        let Some(rival) = rival else {
            return Ok(());
        };
        // Of two leaders in one term both have to claim above it, and only one can be lowest.
        let term = match rival.term > lead.term {
            true => rival.term,
            false => rival.term.next(),
        };
        if lead.told.is_some_and(|told| told >= term) {
            return Ok(());
        }
        let Rival {
            term: found,
            leader,
        } = rival;
        tracing::warn!(term = %found, %leader, own = %lead.term, "another leader has written to DNS");
        let noted = self.cluster.note_term(term).await;
        noted.map_err(|error| hafleet_model::with_causes(&error))?;
        lead.told = Some(term);
        Ok(())
    }
}

/// Why the names cannot be kept from here, where another node may be able to: a refusal of any zone, or the silence of all.
fn inability(round: &Round) -> Option<Inability> {
    let refused = round
        .troubles
        .values()
        .find(|trouble| matches!(trouble, ProviderError::Refused { .. }));
    if let Some(refused) = refused {
        return Some(Inability::Refused(refused.to_string()));
    }
    let is_silent = |zone: &str| {
        let trouble = round.troubles.get(zone);
        trouble.filter(|trouble| matches!(trouble, ProviderError::Unknown { .. }))
    };
    let silent: Option<Vec<_>> = round
        .names
        .iter()
        .map(|name| is_silent(&name.zone))
        .collect();
    let first = silent?.into_iter().next()?;
    Some(Inability::Unreachable(first.to_string()))
}

/// Does what somebody asked for.
async fn serve(publisher: &mut Publisher, scene: &Scene, request: Request) {
    // Who does not wait any more does not hear of it.
    match request {
        _ if scene.publication.records.is_empty() => refuse(request),
        Request::Plan(reply) => {
            let plan = publisher.plan(scene).await;
            let plan = plan.map_err(|error| Undone::Refused(error.into()));
            drop(reply.send(plan));
        }
        Request::Adopt(name, reply) => {
            let adopted = publisher.adopt(scene, &name).await;
            drop(reply.send(adopted.map_err(Undone::Refused)));
        }
        Request::Release(names, reply) => {
            let released = publisher.release(scene, &names).await;
            drop(reply.send(released.map_err(Undone::Refused)));
        }
    }
}

/// Says that the spec publishes nothing.
fn refuse(request: Request) {
    match request {
        Request::Plan(reply) => drop(reply.send(Ok(Vec::new()))),
        Request::Adopt(_, reply) => drop(reply.send(Err(Undone::NothingPublished))),
        Request::Release(_, reply) => drop(reply.send(Err(Undone::NothingPublished))),
    }
}

#[async_trait]
impl Reconcile for PublicationLoop {
    const NAME: &'static str = "publication";

    async fn changed(&mut self) {
        let drained = self.drained();
        let (view, seen) = (&mut self.view, &self.seen);
        let looks_otherwise = async {
            while view.changed().await.is_ok() {
                if Some(Sight::of(&view.borrow_and_update(), &drained)) != *seen {
                    return;
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = looks_otherwise => {}
            () = self.board.pinned() => {}
            Ok(()) = self.spec.changed() => {}
            Ok(()) = self.overridden.changed() => {}
            else => std::future::pending().await,
        }
    }

    async fn reconcile(&mut self, _: Activation) -> Outcome {
        self.overridden.mark_unchanged();
        let view = Arc::clone(&self.view.borrow_and_update());
        let sight = Sight::of(&view, &self.drained());
        self.seen = Some(sight.clone());
        let Some(term) = sight.term else {
            return self.rest("another node leads, or none");
        };
        let own = self.spec.borrow().clone();
        if is_behind(&view, own.map(|document| document.stamp())) {
            // By an older spec, names would be given up that it does not have yet.
            return Outcome::Deferred {
                until: Instant::now() + CATCHING_UP,
                reason: "another node has a newer spec, which is on its way",
            };
        }
        if let Err(error) = self.prepare(term) {
            return Outcome::Failed(error);
        }
        self.publish(&sight).await
    }

    async fn end(&mut self) {
        self.rest("the agent stops");
    }
}
