//! Who belongs to the fleet: gossip's nodes and the remembered ones, one entry each.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hafleet_model::report::NodeReport;
use hafleet_model::{NodeId, Term};

use crate::clock::Clock;
use crate::facts::Facts;
use crate::links::LinkStatus;
use crate::storage::Storage;
use crate::store::{KnownMember, StoreError};
use crate::view::{LinkState, Sighting};

/// How often the time at which a live node was seen is written down.
const REFRESH: Duration = Duration::from_secs(600);

/// What gossip knows at one moment.
#[derive(Debug, Default)]
pub struct Heard {
    /// The newest generation of each node.
    nodes: BTreeMap<NodeId, HeardNode>,
}

/// What gossip knows of one run of a node.
#[derive(Debug, Clone)]
pub struct HeardNode {
    /// What it says of itself.
    pub facts: Arc<Facts>,
    /// Gossip's failure detector takes it for alive.
    pub is_alive: bool,
    /// Gossip is about to forget it, and says no more of it to others.
    pub is_fading: bool,
}

impl Heard {
    /// Takes in a run of a node. Of several only the highest counts (invariant I5), unless it has been silent for so
    /// long that gossip is about to forget it.
    pub fn add(&mut self, node: HeardNode) {
        let other = self.nodes.get(&node.facts.report.id);
        if other.is_none_or(|other| other.rank() < node.rank()) {
            self.nodes.insert(node.facts.report.id.clone(), node);
        }
    }
}

impl HeardNode {
    /// Of two runs of a node the higher counts.
    fn rank(&self) -> (bool, u64) {
        (!self.is_fading, self.facts.report.generation)
    }
}

/// The members, remembered across restarts.
#[derive(Debug)]
pub(crate) struct Roster {
    storage: Arc<dyn Storage>,
    clock: Clock,
    retention: Duration,
    /// How long a refusal outweighs gossip.
    refusal_weight: Duration,
    known: BTreeMap<NodeId, KnownMember>,
    /// When each was last live, in milliseconds since 1970; more exact than what is written down.
    live_at_ms: BTreeMap<NodeId, i64>,
    is_established: bool,
}

impl Roster {
    pub(crate) fn load(
        storage: Arc<dyn Storage>,
        clock: Clock,
        retention: Duration,
        gossip_interval: Duration,
    ) -> Result<Self, StoreError> {
        let known: BTreeMap<_, _> = storage
            .members()?
            .into_iter()
            .map(|member| (member.report.id.clone(), member))
            .collect();
        // When all others are about to be forgotten, what was known of the fleet says nothing of it now.
        let now_ms = clock.now_ms();
        let is_outdated = !known.is_empty()
            && known
                .values()
                .all(|member| is_older(member.last_seen_ms, retention, now_ms));
        let is_established = storage.is_established()? && !is_outdated;
        Ok(Self {
            storage,
            clock,
            retention,
            refusal_weight: gossip_interval * 10,
            known,
            live_at_ms: BTreeMap::new(),
            is_established,
        })
    }

    /// Whether this node has been part of a majority of its fleet, seeds that it had not met counted in. From then on
    /// the members that it remembers are the fleet, and a seed that is not among them is only a place to look.
    pub(crate) fn is_established(&self) -> bool {
        self.is_established
    }

    /// This node is part of a majority.
    pub(crate) fn establish(&mut self) -> Result<(), StoreError> {
        self.storage.establish()?;
        self.is_established = true;
        Ok(())
    }

    fn last_seen_ms(&self, id: &NodeId) -> Option<i64> {
        let written = self.known.get(id).map(|member| member.last_seen_ms);
        self.live_at_ms.get(id).copied().max(written)
    }

    /// Where all members are.
    pub(crate) fn addresses(&self) -> HashSet<SocketAddr> {
        self.known
            .values()
            .map(|member| member.report.address)
            .collect()
    }

    /// Puts together what gossip, the links and memory know of each other node. Of those that the fleet has `removed`
    /// only the live are seen.
    pub(crate) fn sight(
        &self,
        heard: &Heard,
        links: &HashMap<SocketAddr, LinkStatus>,
        removed: &BTreeSet<NodeId>,
        now: Instant,
    ) -> BTreeMap<NodeId, Sighting> {
        let remembered = self
            .known
            .iter()
            .filter(|(id, _)| !heard.nodes.contains_key(*id));
        let remembered = remembered.map(move |(id, member)| {
            let link = link_to(id, links.get(&member.report.address), now);
            let sighting = Sighting {
                report: Arc::new(member.report.clone()),
                is_current: false,
                is_alive_in_gossip: false,
                has_left: false,
                is_refusal_outweighed: false,
                link,
                lost: BTreeMap::new(),
                last_seen_ms: self.last_seen_ms(id).unwrap_or(member.last_seen_ms),
            };
            (id.clone(), sighting)
        });
        let current = heard
            .nodes
            .iter()
            .map(|(id, node)| (id.clone(), self.sight_current(id, node, links, now)));
        let is_seen = |(id, sighting): &(NodeId, Sighting)| {
            !removed.contains(id) || sighting.liveness().is_live()
        };
        remembered.chain(current).filter(is_seen).collect()
    }

    fn sight_current(
        &self,
        id: &NodeId,
        node: &HeardNode,
        links: &HashMap<SocketAddr, LinkStatus>,
        now: Instant,
    ) -> Sighting {
        let link = link_to(id, links.get(&node.facts.report.address), now);
        let refused_for = match &link {
            Some(LinkState::Refused { since }) => now.saturating_duration_since(*since),
            _ => Duration::ZERO,
        };
        let sighting = Sighting {
            report: Arc::clone(&node.facts.report),
            is_current: true,
            is_alive_in_gossip: node.is_alive,
            has_left: node.facts.has_left,
            is_refusal_outweighed: refused_for > self.refusal_weight,
            link,
            lost: node.facts.lost.clone(),
            last_seen_ms: self
                .known
                .get(id)
                .map_or_else(|| self.clock.now_ms(), |member| member.last_seen_ms),
        };
        if sighting.liveness().is_live() {
            // Coarse, so that the view does not change with each moment that a live node is seen.
            return sighting;
        }
        let last_seen_ms = self.last_seen_ms(id).unwrap_or(sighting.last_seen_ms);
        Sighting {
            last_seen_ms,
            ..sighting
        }
    }

    /// Remembers who is seen. Writes only what changed in a way that matters after a restart.
    ///
    /// Time alone makes nobody forgotten: a node that forgot by itself would count fewer than the others do. Of those
    /// that the fleet has `removed` it is remembered for a while where they were, in case they come back.
    pub(crate) fn remember(
        &mut self,
        sightings: &BTreeMap<NodeId, Sighting>,
        removed: &BTreeSet<NodeId>,
    ) -> Result<(), StoreError> {
        let now_ms = self.clock.now_ms();
        let is_old = |last_seen_ms, limit| is_older(last_seen_ms, limit, now_ms);
        let mut seen = Vec::new();
        for (id, sighting) in sightings
            .iter()
            .filter(|(_, sighting)| sighting.liveness().is_live())
        {
            self.live_at_ms.insert(id.clone(), now_ms);
            let is_written = self.known.get(id).is_some_and(|known| {
                known.report.address == sighting.report.address
                    && known.report.generation == sighting.report.generation
                    && !is_old(known.last_seen_ms, REFRESH)
            });
            if !is_written {
                seen.push(KnownMember {
                    report: NodeReport::clone(&sighting.report),
                    last_seen_ms: now_ms,
                });
            }
        }
        let gone = self.known.iter().filter(|(id, known)| {
            removed.contains(*id) && is_old(known.last_seen_ms, self.retention)
        });
        let gone: Vec<_> = gone
            .into_iter()
            .map(|(id, _)| id.clone())
            .filter(|id| !is_among(&seen, id))
            .collect();
        if seen.is_empty() && gone.is_empty() {
            return Ok(());
        }
        let forgotten: Vec<_> = gone.iter().map(ToString::to_string).collect();
        self.storage.remember_members(&seen, &forgotten)?;
        self.known.extend(
            seen.into_iter()
                .map(|member| (member.report.id.clone(), member)),
        );
        self.known.retain(|id, _| !gone.contains(id));
        self.live_at_ms.retain(|id, _| !gone.contains(id));
        Ok(())
    }
}

fn is_older(last_seen_ms: i64, limit: Duration, now_ms: i64) -> bool {
    now_ms.saturating_sub(last_seen_ms) > i64::try_from(limit.as_millis()).unwrap_or(i64::MAX)
}

fn is_among(members: &[KnownMember], id: &NodeId) -> bool {
    members.iter().any(|member| member.report.id == *id)
}

/// What the link to a node's address says of that node. Another node at its address is as good as no answer.
fn link_to(id: &NodeId, status: Option<&LinkStatus>, now: Instant) -> Option<LinkState> {
    let status = status?;
    match (&status.state, &status.peer) {
        (LinkState::Connected, Some(peer)) if peer != id => Some(LinkState::Unreachable {
            since: now,
            reason: format!("{peer} answers at its address"),
        }),
        (state, _) => Some(state.clone()),
    }
}

/// The highest term that anyone claims or has written in.
pub(crate) fn highest_term(sightings: &BTreeMap<NodeId, Sighting>) -> Term {
    let claims = sightings
        .values()
        .filter_map(|sighting| sighting.report.claim);
    let held = sightings
        .values()
        .flat_map(|sighting| sighting.report.held.values());
    claims
        .chain(held.map(|stamp| stamp.revision.term))
        .max()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now_ms;
    use crate::facts;
    use crate::store::Store;

    const RETENTION: Duration = Duration::from_secs(3600);

    fn load(store: &Arc<Store>) -> Roster {
        Roster::load(
            Arc::clone(store) as _,
            Clock::of_machine(),
            RETENTION,
            Duration::from_secs(1),
        )
        .unwrap()
    }

    fn remember(store: &Store, ago: Duration) {
        let id = NodeId::new("a").unwrap();
        let member = KnownMember {
            report: facts::blank_report(id, 1, "10.0.0.1:1".parse().unwrap()),
            last_seen_ms: now_ms() - i64::try_from(ago.as_millis()).unwrap(),
        };
        store.remember_members(&[member], &[]).unwrap();
    }

    #[test]
    fn time_alone_makes_nobody_forgotten_and_the_removed_are_not_seen() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("state.redb")).unwrap();
        remember(&store, RETENTION * 2);
        let mut roster = load(&store);
        let a = NodeId::new("a").unwrap();
        let seen = |roster: &Roster, removed: &BTreeSet<NodeId>| {
            let sightings =
                roster.sight(&Heard::default(), &HashMap::new(), removed, Instant::now());
            sightings.contains_key(&a)
        };
        let nobody = BTreeSet::new();
        roster.remember(&BTreeMap::new(), &nobody).unwrap();
        assert!(seen(&roster, &nobody) && seen(&load(&store), &nobody));
        let removed = BTreeSet::from([a.clone()]);
        assert!(!seen(&roster, &removed), "removed, and not live");
        assert!(!roster.addresses().is_empty(), "it may come back there");
        roster.remember(&BTreeMap::new(), &removed).unwrap();
        assert!(roster.addresses().is_empty() && load(&store).addresses().is_empty());
    }

    #[test]
    fn a_node_stays_established_unless_all_that_it_knew_is_too_long_ago() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("state.redb")).unwrap();
        assert!(!load(&store).is_established());
        load(&store).establish().unwrap();
        assert!(load(&store).is_established(), "alone, it is the fleet");
        remember(&store, RETENTION / 2);
        assert!(load(&store).is_established());
        remember(&store, RETENTION * 2);
        assert!(!load(&store).is_established());
    }
}
