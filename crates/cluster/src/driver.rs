//! The one task that watches the fleet and acts on it: it looks, lets the pure parts decide, and carries that out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chitchat::ChitchatHandle;
use hafleet_model::report::NodeReport;
use hafleet_model::{NodeId, Term};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::clock::now_ms;
use crate::cluster::ClusterError;
use crate::documents::Documents;
use crate::facts::{self, Facts};
use crate::gossip::FrameRules;
use crate::leadership::{Decision, Leadership, Observation};
use crate::links::{LinkStatus, Links};
use crate::offload::offload;
use crate::removed::Removed;
use crate::roster::{Heard, Roster, highest_term};
use crate::seeds::Seeds;
use crate::store::{Store, StoreError};
use crate::view::{LinkState, Liveness, Member, Sighting, Standing, View};

/// How long a node that could not write its term down keeps from leading.
const STORE_PAUSE: Duration = Duration::from_secs(10);
/// Changes that come this close together are looked at once.
const COALESCE: Duration = Duration::from_millis(2);

/// What this node says of itself: changed by the agent and the driver, read by the driver.
#[derive(Debug)]
pub(crate) struct OwnReport {
    facts: Mutex<Facts>,
    wake: Arc<Notify>,
}

impl OwnReport {
    pub(crate) fn new(report: NodeReport, wake: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            facts: Mutex::new(Facts {
                report,
                has_left: false,
                lost: BTreeMap::new(),
            }),
            wake,
        })
    }

    /// Changes it and has it published at once.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_one();
    }

    fn read(&self) -> Facts {
        self.facts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What wakes the driver.
enum Event {
    /// Time has passed.
    Tick,
    /// Something changed: gossip, a link, a document, the own report.
    Changed,
    /// A peer has begun to gossip with us from this address.
    Opened(SocketAddr),
    /// The agent is stopping.
    Stop,
}

pub(crate) struct Driver {
    pub(crate) me: NodeId,
    pub(crate) gossip_interval: Duration,
    pub(crate) chitchat: Arc<ChitchatHandle>,
    pub(crate) rules: FrameRules,
    pub(crate) documents: Arc<Documents>,
    pub(crate) links: Arc<Links>,
    pub(crate) seeds: Arc<Seeds>,
    pub(crate) roster: Roster,
    pub(crate) removed: Removed,
    pub(crate) own: Arc<OwnReport>,
    pub(crate) leadership: Leadership,
    pub(crate) view: watch::Sender<Arc<View>>,
    pub(crate) openings: mpsc::Receiver<(NodeId, SocketAddr)>,
    pub(crate) wake: Arc<Notify>,
    pub(crate) stop: CancellationToken,
    /// The keys and values that gossip has of us.
    pub(crate) published: BTreeMap<String, String>,
    /// Since when, and why, the store refuses terms.
    pub(crate) store_trouble: Option<(Instant, String)>,
    pub(crate) store: Arc<Store>,
}

impl Driver {
    /// Runs until the agent stops, or must not go on.
    pub(crate) async fn run(mut self) -> Result<(), ClusterError> {
        let mut ticks = tokio::time::interval(self.gossip_interval / 4);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                () = self.stop.cancelled() => Event::Stop,
                _ = ticks.tick() => Event::Tick,
                () = self.wake.notified() => Event::Changed,
                Some((_, address)) = self.openings.recv() => Event::Opened(address),
            };
            match event {
                Event::Stop => return Ok(()),
                Event::Tick => self.introduce().await,
                Event::Changed => tokio::time::sleep(COALESCE).await,
                Event::Opened(address) => {
                    self.links.ensure(address);
                    self.links.hurry(address);
                }
            }
            if let Some(later) = self.rules.later_run() {
                return Err(self.overtaken_by(later).await);
            }
            self.look_and_act().await;
        }
    }

    /// The fleet listens to a later run of this node: one before the store was lost under a clock that has been set
    /// back since, or another agent under the same id. Nothing that this run says is heard, so it must not go on;
    /// the next is to be above that one.
    async fn overtaken_by(&self, found: u64) -> ClusterError {
        let store = Arc::clone(&self.store);
        let own = self
            .view
            .borrow()
            .own()
            .map_or(0, |own| own.report.generation);
        match offload(move || store.raise_generation(found)).await {
            Some(Err(error)) => ClusterError::Store(error),
            Some(Ok(())) | None => ClusterError::LaterRun { found, own },
        }
    }

    async fn look_and_act(&mut self) {
        let me = self.me.clone();
        let heard = self
            .chitchat
            .with_chitchat(|chitchat| Heard::read(chitchat, &me))
            .await;
        let links = self.links.statuses();
        let now = Instant::now();
        self.removed.look();
        let sightings = self.roster.sight(&heard, &links, self.removed.nodes(), now);
        self.rules.set_known(heard.ids);
        self.remember(&sightings).await;
        self.keep_links(&sightings);
        let unmet_seeds = self.count_seeds(&sightings, &links).await;
        let highest = self.settle_term(&sightings).await;
        let observation = self.observation(&sightings, &links, unmet_seeds.len(), highest);
        let decision = self.leadership.observe(Instant::now(), &observation);
        let highest = self.carry_out(decision, highest).await;
        // The view first: what others hear of us, we should know ourselves.
        let facts = self.own_facts();
        self.show(sightings, unmet_seeds, &facts, highest);
        self.publish(&facts).await;
    }

    async fn remember(&mut self, sightings: &BTreeMap<NodeId, Sighting>) {
        if let Err(error) = self.roster.remember(sightings, self.removed.nodes()).await {
            tracing::error!(%error, "members could not be written down");
        }
    }

    fn keep_links(&self, sightings: &BTreeMap<NodeId, Sighting>) {
        let mut addresses: HashSet<_> = sightings
            .values()
            .map(|sighting| sighting.report.address)
            .collect();
        addresses.extend(self.roster.addresses());
        addresses.extend(self.seeds.addresses());
        for address in &addresses {
            self.links.ensure(*address);
        }
        // A peer that has just opened its stream is not in gossip yet, and its link is needed to get it there.
        addresses.extend(
            self.links
                .statuses()
                .into_iter()
                .filter(is_connecting)
                .map(|(address, _)| address),
        );
        self.links.keep_only(&addresses);
    }

    /// The seeds that count as nodes, since nothing is known of them: none any more once this node has been part of a
    /// majority in which they counted.
    async fn count_seeds(
        &mut self,
        sightings: &BTreeMap<NodeId, Sighting>,
        links: &HashMap<SocketAddr, LinkStatus>,
    ) -> Vec<String> {
        if self.roster.is_established() {
            return Vec::new();
        }
        let is_met = |address: SocketAddr| {
            let peer = links.get(&address).and_then(|link| link.peer.as_ref());
            self.links.is_own(address)
                || peer.is_some_and(|peer| sightings.contains_key(peer))
                || sightings
                    .values()
                    .any(|sighting| sighting.report.address == address)
        };
        let unmet = self.seeds.none_of(is_met);
        let removed = self.removed.nodes();
        let counted = sightings.iter().filter(|(id, _)| !removed.contains(*id));
        let own = usize::from(!removed.contains(&self.me));
        let known = own + counted.clone().count() + unmet.len();
        let live = counted.filter(|(_, sighting)| sighting.liveness().is_live());
        if (own + live.count()) * 2 <= known {
            return unmet;
        }
        match self.roster.establish().await {
            Ok(()) => Vec::new(),
            Err(error) => {
                tracing::error!(%error, "that this node is of a fleet could not be written down");
                unmet
            }
        }
    }

    /// The highest term there is, made durable when it is new.
    async fn settle_term(&mut self, sightings: &BTreeMap<NodeId, Sighting>) -> Term {
        let heads = self
            .documents
            .heads()
            .into_iter()
            .map(|(_, stamp)| stamp.revision.term);
        let seen = heads
            .chain([highest_term(sightings)])
            .max()
            .unwrap_or_default();
        match self.documents.highest_term() {
            Ok(durable) if durable >= seen => durable,
            Ok(_) => self.raise_term(seen).await.unwrap_or(seen),
            Err(error) => {
                self.note_trouble(&error);
                seen
            }
        }
    }

    async fn raise_term(&mut self, term: Term) -> Option<Term> {
        let documents = Arc::clone(&self.documents);
        match offload(move || documents.raise_term(term)).await? {
            Ok(highest) => Some(highest),
            Err(error) => {
                self.note_trouble(&error);
                None
            }
        }
    }

    fn note_trouble(&mut self, error: &StoreError) {
        tracing::error!(%error, "the term could not be written down, so this node cannot lead");
        self.store_trouble = Some((Instant::now(), error.to_string()));
    }

    fn observation(
        &self,
        sightings: &BTreeMap<NodeId, Sighting>,
        links: &HashMap<SocketAddr, LinkStatus>,
        unmet_seeds: usize,
        highest: Term,
    ) -> Observation {
        let connected = sightings
            .values()
            .filter(|sighting| sighting.is_connected());
        let (connected, known) = (1 + connected.count(), 1 + sightings.len() + unmet_seeds);
        Observation {
            others: sightings.values().map(Sighting::candidate).collect(),
            unfit: self.unfit(),
            highest_term: highest,
            has_everyone_answered: self.has_everyone_answered(sightings, links),
            is_majority_connected: connected * 2 > known,
        }
    }

    fn unfit(&self) -> Option<String> {
        let trouble = self
            .store_trouble
            .as_ref()
            .filter(|(since, _)| since.elapsed() < STORE_PAUSE);
        trouble
            .map(|(_, reason)| reason.clone())
            .or_else(|| self.own.read().report.unfit)
    }

    /// Every member that is remembered or heard of, and every seed, is connected and has said what it claims.
    fn has_everyone_answered(
        &self,
        sightings: &BTreeMap<NodeId, Sighting>,
        links: &HashMap<SocketAddr, LinkStatus>,
    ) -> bool {
        let has_answered = |sighting: &Sighting| sighting.has_left || sighting.is_connected();
        let is_answered = |address: SocketAddr| {
            let peer = links
                .get(&address)
                .filter(|link| link.state == LinkState::Connected);
            let peer = peer.and_then(|link| link.peer.as_ref());
            self.links.is_own(address)
                || peer.is_some_and(|peer| sightings.get(peer).is_some_and(has_answered))
        };
        sightings.values().all(has_answered) && self.seeds.each_has(is_answered)
    }

    /// Does what was decided, and returns the highest term then.
    async fn carry_out(&mut self, decision: Decision, highest: Term) -> Term {
        match decision {
            Decision::Stay => highest,
            Decision::Yield => {
                tracing::info!("this node leads no longer");
                self.own.change(|facts| facts.report.claim = None);
                highest
            }
            Decision::Claim(term) => match self.raise_term(term).await {
                Some(durable) if durable == term => {
                    tracing::info!(%term, "this node claims to lead");
                    self.own.change(|facts| facts.report.claim = Some(term));
                    self.leadership.claimed(term);
                    term
                }
                // A higher one has come in the meantime; the next look takes it into account.
                Some(durable) => durable,
                None => highest,
            },
        }
    }

    fn own_facts(&self) -> Facts {
        let mut facts = self.own.read();
        facts.report.held = self.documents.heads().into_iter().collect();
        facts.report.unfit = self.unfit();
        facts.report.is_settling = self.leadership.is_settling(Instant::now());
        facts.lost = self.documents.lost();
        facts
    }

    fn show(
        &self,
        sightings: BTreeMap<NodeId, Sighting>,
        unmet_seeds: Vec<String>,
        facts: &Facts,
        highest: Term,
    ) {
        let removed = self.removed.nodes();
        let member = |(id, sighting): (NodeId, Sighting)| {
            let is_counted = !removed.contains(&id);
            sighting.into_member(is_counted)
        };
        let mut members: Vec<_> = sightings.into_iter().map(member).collect();
        let last_seen_ms = self
            .view
            .borrow()
            .own()
            .map_or_else(now_ms, |own| own.last_seen_ms);
        let own = Member {
            report: facts.report.clone(),
            liveness: Liveness::Live,
            last_seen_ms,
            is_self: true,
            link: None,
            lost: facts.lost.clone(),
            is_counted: !removed.contains(&self.me),
        };
        members.push(own);
        members.sort_by(|a, b| a.report.id.cmp(&b.report.id));
        let leadership = Standing::of(self.leadership.role(), &self.me, highest);
        let view = View {
            members,
            unmet_seeds,
            leadership,
        };
        self.view.send_if_modified(|shown| {
            let is_new = **shown != view;
            if is_new {
                *shown = Arc::new(view);
            }
            is_new
        });
    }

    /// Tells gossip what changed about us, and everyone live at once.
    async fn publish(&mut self, facts: &Facts) {
        let values = facts::to_gossip(facts);
        if values == self.published {
            return;
        }
        let rules = &self.rules;
        self.chitchat
            .with_chitchat(|chitchat| {
                let own = chitchat.self_node_state();
                for (key, value) in &values {
                    own.set(key, value);
                }
                // Nobody can hear of the change before gossip's lock is released.
                rules.set_own_version(own.max_version());
            })
            .await;
        self.published = values;
        let view = Arc::clone(&self.view.borrow());
        for peer in view.live_peers() {
            self.gossip_to(peer.report.address);
        }
    }

    /// Gossips with those who are connected and not known to chitchat, which has no other way to hear of them.
    async fn introduce(&self) {
        let live = self.chitchat.with_chitchat(|chitchat| {
            let addresses = chitchat.live_nodes().map(|id| id.gossip_advertise_addr);
            addresses.collect::<HashSet<_>>()
        });
        let live = live.await;
        for (address, link) in self.links.statuses() {
            if link.state == LinkState::Connected && !live.contains(&address) {
                self.gossip_to(address);
            }
        }
    }

    fn gossip_to(&self, address: SocketAddr) {
        if self.chitchat.gossip(address).is_err() {
            tracing::debug!(%address, "gossip has ended");
        }
    }
}

fn is_connecting((_, link): &(SocketAddr, LinkStatus)) -> bool {
    matches!(link.state, LinkState::Connecting | LinkState::Connected)
}
