//! What gossip knows of the others, read from chitchat's state.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chitchat::{Chitchat, ChitchatId, NodeState};
use hafleet_model::NodeId;

use crate::facts::{self, Facts};
use crate::roster::{Heard, HeardNode};
use crate::silence::Silence;

/// Reads chitchat's state again and again. In a large fleet most messages of gossip carry heartbeats and nothing else, so
/// what a node says of itself is parsed once for each version of it.
#[derive(Debug)]
pub(crate) struct Listener {
    silence: Silence,
    /// What each node said at a version; none of what is no report.
    parsed: HashMap<ChitchatId, (u64, Option<Arc<Facts>>)>,
    /// Over all that was there at the last look.
    last: u64,
    /// The runs of nodes that live ones have just found gone.
    gone: BTreeSet<(NodeId, u64)>,
}

impl Listener {
    /// For a node that gossips each `interval`.
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            silence: Silence::new(interval),
            parsed: HashMap::new(),
            last: 0,
            gone: BTreeSet::new(),
        }
    }

    /// This node runs, and reads nothing: a longer pause between calls of this and of [`Listener::read`] is a pause of its own.
    pub(crate) fn awake(&mut self) {
        self.silence.awake(Instant::now());
    }

    /// Whether anything but heartbeats is new since the last [`Listener::read`].
    pub(crate) fn has_news(&self, chitchat: &Chitchat) -> bool {
        fingerprint(chitchat) != self.last
    }

    /// The runs of nodes of which live ones said, at the last look, that they are gone.
    pub(crate) fn gone(&self) -> &BTreeSet<(NodeId, u64)> {
        &self.gone
    }

    /// Reads chitchat's state, where `unanswered` are the addresses that do not answer us.
    pub(crate) fn read(
        &mut self,
        chitchat: &Chitchat,
        me: &NodeId,
        unanswered: &HashSet<SocketAddr>,
    ) -> Heard {
        let now = Instant::now();
        self.silence.look(chitchat, now);
        let live: HashSet<&ChitchatId> = chitchat.live_nodes().collect();
        let fading: HashSet<&ChitchatId> = chitchat.scheduled_for_deletion_nodes().collect();
        let mut heard = Heard::default();
        self.gone.clear();
        for (id, state) in chitchat.node_states() {
            if *id.node_id == *me.as_str() {
                continue;
            }
            let Some(facts) = self.facts(id, state) else {
                continue;
            };
            if live.contains(id) {
                let gone = facts.gone.iter().map(|(id, run)| (id.clone(), *run));
                self.gone.extend(gone);
            }
            heard.add(HeardNode {
                is_alive: live.contains(id) && !self.silence.is_total(id, unanswered, now),
                is_fading: fading.contains(id),
                facts,
            });
        }
        // Our own is among the states, and not among the parsed.
        if self.parsed.len() >= chitchat.node_states().len() {
            let states = chitchat.node_states();
            self.parsed.retain(|id, _| states.contains_key(id));
        }
        self.last = fingerprint(chitchat);
        heard
    }

    fn facts(&mut self, id: &ChitchatId, state: &NodeState) -> Option<Arc<Facts>> {
        let version = state.max_version();
        if let Some((parsed, facts)) = self.parsed.get(id)
            && *parsed == version
        {
            return facts.clone();
        }
        let facts = facts::from_gossip(
            &id.node_id,
            id.generation_id,
            id.gossip_advertise_addr,
            state.key_values(),
        );
        // Normal for a node of which only the heartbeat has come so far.
        let facts = facts.inspect_err(
            |error| tracing::trace!(node = ?id, %error, "gossip of a node is no report"),
        );
        let facts = facts.ok().map(Arc::new);
        self.parsed.insert(id.clone(), (version, facts.clone()));
        facts
    }
}

/// A number over which nodes there are, in which version, and whether each is alive: equal as long as nothing changes.
fn fingerprint(chitchat: &Chitchat) -> u64 {
    let mut all = DefaultHasher::new();
    for (id, state) in chitchat.node_states() {
        (id.generation_id, &id.node_id, state.max_version()).hash(&mut all);
    }
    // Sets have no order: what is of each is added up.
    let of = |id: &ChitchatId| {
        let mut one = DefaultHasher::new();
        (id.generation_id, &id.node_id).hash(&mut one);
        one.finish()
    };
    let live = chitchat.live_nodes().map(of);
    let fading = chitchat.scheduled_for_deletion_nodes().map(of);
    let (live, fading) = (
        live.fold(0, u64::wrapping_add),
        fading.fold(0, u64::wrapping_add),
    );
    (live, fading).hash(&mut all);
    all.finish()
}
