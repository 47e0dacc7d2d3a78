//! The one task that watches the fleet and acts on it: it gathers what is to be seen, lets `membership` look at it, and
//! shows and publishes what came of that.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chitchat::ChitchatHandle;
use hafleet_model::NodeId;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::circle::{Circle, FULL_MESH, Known};
use crate::cluster::ClusterError;
use crate::facts::{self, Facts};
use crate::gossip::FrameRules;
use crate::heard::Listener;
use crate::links::Links;
use crate::membership::{Looked, Membership, Surroundings};
use crate::offload::offload;
use crate::seeds::Seeds;
use crate::store::Store;
use crate::view::{LinkState, Member, View};

/// Changes that come this close together are looked at once.
const COALESCE: Duration = Duration::from_millis(2);
/// And so much longer for each node, since a look costs more where there are more.
const COALESCE_PER_NODE: Duration = Duration::from_micros(100);
/// Before a look at what gossip says there is at least so much rest for each node: what everybody says at once, such as after a
/// write, is looked at together.
const REST_PER_NODE: Duration = Duration::from_millis(2);

/// For how long a node is named that has stopped answering: until everyone has had a look.
const NEWS_OF_DEATH: Duration = Duration::from_secs(20);
/// What wakes the driver.
enum Event {
    /// Time has passed.
    Tick,
    /// Something changed: a link, a document, the own report.
    Changed,
    /// Gossip has dealt with a message.
    Gossiped,
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
    pub(crate) links: Arc<Links>,
    pub(crate) seeds: Arc<Seeds>,
    pub(crate) membership: Arc<Mutex<Membership>>,
    pub(crate) view: watch::Sender<Arc<View>>,
    pub(crate) openings: mpsc::Receiver<(NodeId, SocketAddr)>,
    pub(crate) wake: Arc<Notify>,
    pub(crate) gossiped: Arc<Notify>,
    pub(crate) listener: Listener,
    /// When the last look began.
    pub(crate) looked_at: Instant,
    pub(crate) stop: CancellationToken,
    /// The keys and values that gossip has of us.
    pub(crate) published: BTreeMap<String, String>,
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
                () = self.gossiped.notified() => Event::Gossiped,
                Some((_, address)) = self.openings.recv() => Event::Opened(address),
            };
            match event {
                Event::Stop => return Ok(()),
                Event::Tick => {
                    self.introduce().await;
                    if !self.is_look_due() {
                        self.notice_stall();
                        continue;
                    }
                }
                Event::Gossiped if !self.has_news().await => continue,
                Event::Changed => self.coalesce(Duration::ZERO).await,
                Event::Gossiped => self.coalesce(REST_PER_NODE).await,
                Event::Opened(address) => {
                    self.links.ensure(address);
                    self.links.hurry(address);
                    // There is something to be seen once it is connected.
                    continue;
                }
            }
            if let Some(later) = self.rules.later_run() {
                return Err(self.overtaken_by(later).await);
            }
            if self.rules.is_spoken_for() {
                return Err(ClusterError::SpokenFor);
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

    /// Whether gossip has said more than that nodes are alive, or that a run of this node is over.
    async fn has_news(&self) -> bool {
        let listener = &self.listener;
        self.rules.later_run().is_some()
            || self.rules.is_spoken_for()
            || self
                .chitchat
                .with_chitchat(|chitchat| listener.has_news(chitchat))
                .await
    }

    /// That there is nothing to look at is no stall. Where a look is under way after all, it finds out by itself.
    fn notice_stall(&mut self) {
        self.listener.awake();
        if let Ok(mut membership) = self.membership.try_lock() {
            membership.notice_stall();
        }
    }

    /// Whether time alone is a reason to look. In a large fleet that costs more, and is done less often while somebody leads.
    fn is_look_due(&self) -> bool {
        let view = self.view.borrow();
        view.members.len() <= FULL_MESH
            || view.leadership.leader.is_none()
            || self.looked_at.elapsed() > self.gossip_interval * 5 / 8
    }

    /// Waits for the changes that come with the one that was noticed, and until the last look is as long ago as `rest` for
    /// each node.
    async fn coalesce(&self, rest: Duration) {
        let members = u32::try_from(self.view.borrow().members.len()).unwrap_or(u32::MAX);
        let rest = rest.saturating_mul(members).min(self.gossip_interval / 2);
        let rest = rest.saturating_sub(self.looked_at.elapsed());
        let coalesce = COALESCE + COALESCE_PER_NODE.saturating_mul(members);
        tokio::time::sleep(coalesce.max(rest)).await;
    }

    async fn look_and_act(&mut self) {
        self.looked_at = Instant::now();
        let me = self.me.clone();
        let unanswered = self.links.unanswered(Instant::now());
        let (rules, listener) = (&self.rules, &mut self.listener);
        let heard = self
            .chitchat
            .with_chitchat(|chitchat| {
                rules.set_known(chitchat.node_states().keys());
                listener.read(chitchat, &me, &unanswered)
            })
            .await;
        let around = Surroundings {
            heard,
            links: self.links.statuses(),
            own_addresses: self.links.own_addresses(),
            seeds: self.seeds.resolved(),
        };
        let membership = Arc::clone(&self.membership);
        // A panic in there poisons nothing that is read again: the driver ends with it.
        let look = move || {
            let mut membership = membership.lock().unwrap_or_else(PoisonError::into_inner);
            membership.look(&around)
        };
        let Some(looked) = offload(look).await else {
            return;
        };
        let mut looked = looked;
        let circle = self.keep_links(&looked);
        looked.facts.gone = self.gone(&looked.view, &circle);
        // The view first: what others hear of us, we should know ourselves.
        self.view.send_if_modified(|shown| {
            let is_new = **shown != looked.view;
            if is_new {
                *shown = Arc::new(looked.view);
            }
            is_new
        });
        self.publish(&looked.facts).await;
    }

    /// Keeps up the connections that this node should have, and returns to whom.
    fn keep_links(&self, looked: &Looked) -> Circle {
        let view = &looked.view;
        let known = |member: &Member| Known {
            id: member.report.id.clone(),
            address: member.report.address,
            is_able: member.liveness.is_live() && member.report.unfit.is_none(),
        };
        let others: Vec<_> = view.others().map(known).collect();
        let circle = view.own().map(known).map_or(Circle::All, |own| {
            Circle::of(&own, &others, view.leadership.leader.as_ref())
        });
        let is_large = others.len() >= FULL_MESH;
        let directory = others
            .iter()
            .filter(|_| is_large)
            .map(|known| (known.id.clone(), known.address));
        self.links.set_circle(circle.clone(), directory.collect());
        let found_gone = view.others().filter(|member| {
            let run = (member.report.id.clone(), member.report.generation);
            is_large && self.listener.gone().contains(&run)
        });
        let found_gone: HashSet<_> = found_gone.map(|member| member.report.address).collect();
        let members: HashSet<_> = others.iter().map(|known| known.address).collect();
        let wanted: HashSet<_> = looked
            .addresses
            .iter()
            .filter(|address| {
                // Who is no member is a seed that was not met yet.
                circle.has(**address)
                    || !members.contains(*address)
                    || found_gone.contains(*address)
            })
            .copied()
            .collect();
        for address in wanted.iter().chain(&self.links.take_callers()) {
            self.links.ensure(*address);
        }
        self.links.keep_only(&wanted);
        circle
    }

    /// Whom others should have a look at: in a large fleet most are not connected to a node that is gone, but whoever leads
    /// is, and says so; without a leader those do that are in line for it.
    fn gone(&self, view: &View, circle: &Circle) -> BTreeMap<NodeId, u64> {
        let has_other_leader = view.leadership.leader.is_some() && !view.leadership.is_leader();
        if view.members.len() <= FULL_MESH || !circle.is_all() || has_other_leader {
            return BTreeMap::new();
        }
        let just_gone = view.others().filter(|member| match &member.link {
            Some(LinkState::Refused { since } | LinkState::Unreachable { since, .. }) => {
                since.elapsed() < NEWS_OF_DEATH
            }
            _ => false,
        });
        just_gone
            .take(facts::MAX_GONE)
            .map(|member| (member.report.id.clone(), member.report.generation))
            .collect()
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
        let is_urgent = facts::is_urgent(&self.published, &values);
        self.published = values;
        self.push(is_urgent);
    }

    /// Gossips at once with everyone connected: or, of a change in a large fleet that can wait for gossip's own pace, with
    /// the leader alone, since everyone may have such a change at the same time.
    fn push(&self, is_urgent: bool) {
        let view = Arc::clone(&self.view.borrow());
        let live = view.live_peers().map(|peer| peer.report.address);
        let is_large = view.members.len() > FULL_MESH;
        let told: Vec<_> = if is_large && !is_urgent {
            let leader = view.leader().map(|(_, address)| address);
            leader.into_iter().collect()
        } else {
            live.collect()
        };
        for address in self.links.begin_pushes(told.into_iter()) {
            self.gossip_to(address);
        }
    }

    /// Gossips with those who are connected and not known to chitchat, which has no other way to hear of them.
    async fn introduce(&self) {
        let live = self.chitchat.with_chitchat(|chitchat| {
            let addresses = chitchat.live_nodes().map(|id| id.gossip_advertise_addr);
            addresses.collect::<HashSet<_>>()
        });
        let live = live.await;
        for address in self.links.begin_introductions(&live) {
            self.gossip_to(address);
        }
    }

    fn gossip_to(&self, address: SocketAddr) {
        if self.chitchat.gossip(address).is_err() {
            tracing::debug!(%address, "gossip has ended");
        }
    }
}
