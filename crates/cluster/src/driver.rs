//! The one task that watches the fleet and acts on it: it gathers what is to be seen, lets `membership` look at it, and
//! shows and publishes what came of that.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chitchat::ChitchatHandle;
use hafleet_model::NodeId;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::cluster::ClusterError;
use crate::facts::{self, Facts};
use crate::gossip::FrameRules;
use crate::links::{LinkStatus, Links};
use crate::membership::{Membership, Surroundings};
use crate::offload::offload;
use crate::roster::Heard;
use crate::seeds::Seeds;
use crate::store::Store;
use crate::view::{LinkState, View};

/// Changes that come this close together are looked at once.
const COALESCE: Duration = Duration::from_millis(2);

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
    pub(crate) links: Arc<Links>,
    pub(crate) seeds: Arc<Seeds>,
    pub(crate) membership: Arc<Mutex<Membership>>,
    pub(crate) view: watch::Sender<Arc<View>>,
    pub(crate) openings: mpsc::Receiver<(NodeId, SocketAddr)>,
    pub(crate) wake: Arc<Notify>,
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
        let mut heard = self
            .chitchat
            .with_chitchat(|chitchat| Heard::read(chitchat, &me))
            .await;
        self.rules.set_known(std::mem::take(&mut heard.ids));
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
        self.keep_links(looked.addresses);
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

    fn keep_links(&self, mut addresses: HashSet<SocketAddr>) {
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
