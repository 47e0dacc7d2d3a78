//! What a node sees of its fleet: gossip and the evidence of connections, put together.
//!
//! Gossip is slow and steady: it says that a node is dead only after long silence. A connection knows more, sooner: a
//! port that refuses proves that the process is gone, and one that is open proves the opposite. Pure: values in,
//! values out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hafleet_model::report::NodeReport;
use hafleet_model::{Digest, DocumentKind, NodeId, Stamp, Term};

use crate::absent::Absent;
use crate::leadership::{Candidate, Presence, Role};

/// What the connection to a peer says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// The first attempt is under way.
    Connecting,
    /// Connected, and the peer has proved who it is.
    Connected,
    /// Its port refuses: nothing listens there.
    Refused {
        /// Since when.
        since: Instant,
    },
    /// It does not answer, or not as it should.
    Unreachable {
        /// Since when.
        since: Instant,
        /// What was seen, in words.
        reason: String,
    },
}

/// Whether a member can be counted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Liveness {
    /// It is connected, or heard of through others and not known to be gone.
    Live,
    /// It is heard of through others, but does not answer us.
    Suspect {
        /// Why.
        reason: String,
    },
    /// It is not to be counted on.
    Dead {
        /// Why.
        reason: String,
    },
}

impl Liveness {
    /// Whether it counts towards a majority.
    pub fn is_live(&self) -> bool {
        !matches!(self, Self::Dead { .. })
    }

    /// The word for it in status.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Suspect { .. } => "suspect",
            Self::Dead { .. } => "dead",
        }
    }
}

impl fmt::Display for Liveness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live => f.write_str("live"),
            Self::Suspect { reason } => write!(f, "suspect: {reason}"),
            Self::Dead { reason } => write!(f, "dead: {reason}"),
        }
    }
}

/// One node of the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it last said of itself.
    pub report: Arc<NodeReport>,
    /// Whether it can be counted on.
    pub liveness: Liveness,
    /// When it was last known to be alive, in milliseconds since 1970 by this node's clock.
    pub last_seen_ms: i64,
    /// Whether it is this node.
    pub is_self: bool,
    /// What our connection to it says; none of this node.
    pub link: Option<LinkState>,
    /// Of each kind of document of which it keeps conflicts: a digest over which they are.
    pub lost: BTreeMap<DocumentKind, Digest>,
    /// Whether it counts when a majority is asked for. One that the fleet has removed does not, until the fleet has taken
    /// it in again.
    pub is_counted: bool,
}

/// Who leads, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What this node is.
    pub role: Role,
    /// Who leads: this node or another; none while that is open.
    pub leader: Option<NodeId>,
    /// The leader's term, or else the highest that was seen.
    pub term: Term,
}

impl Standing {
    pub(crate) fn of(role: &Role, me: &NodeId, highest: Term) -> Self {
        let (leader, term) = match role {
            Role::Leader(term) => (Some(me.clone()), *term),
            Role::Follower(id, term) => (Some(id.clone()), *term),
            Role::Settling { .. } | Role::Unfit { .. } => (None, highest),
        };
        Self {
            role: role.clone(),
            leader,
            term,
        }
    }

    /// Whether this node leads.
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }
}

/// The fleet at one moment, as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// All known nodes, this one included, by id. The dead stay until the fleet removes them.
    pub members: Vec<Member>,
    /// Seeds of which nothing is known, while this node has yet to be part of a majority: each could be a node of a
    /// fleet that is there already, and counts as one.
    pub unmet_seeds: Vec<String>,
    /// When this node has never been part of a majority, and too few of its seeds are live for anything to be one.
    pub seeds_short: Option<SeedsShort>,
    /// Who leads.
    pub leadership: Standing,
}

/// Too few seeds. Two halves of a fleet that forms behind a cut cannot both have more than half of the seeds, while each may
/// have more than half of the nodes that it has ever met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedsShort {
    /// The seeds that are not live.
    pub silent: Vec<String>,
    /// How many seeds there are, this node counted as one.
    pub of: usize,
}

impl View {
    /// The member `id`.
    pub fn member(&self, id: &NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.report.id == *id)
    }

    /// This node.
    pub fn own(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.is_self)
    }

    fn counted(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.is_counted)
    }

    /// How many of the members that count are live.
    pub fn live_count(&self) -> usize {
        let live = self.counted().filter(|member| member.liveness.is_live());
        live.count()
    }

    /// How many nodes are counted when a majority is asked for: the members that count, and seeds that may be members.
    pub fn known_count(&self) -> usize {
        self.counted().count() + self.unmet_seeds.len()
    }

    /// Whether `nodes` are more than half of those that are counted. Others among them, and repetitions, add nothing.
    pub fn is_majority<'a>(&self, nodes: impl IntoIterator<Item = &'a NodeId>) -> bool {
        let nodes: BTreeSet<_> = nodes.into_iter().collect();
        let among = self
            .counted()
            .filter(|member| nodes.contains(&member.report.id));
        self.seeds_short.is_none() && among.count() * 2 > self.known_count()
    }

    /// Whether `nodes` has everyone who counts, and nobody else can be there.
    pub fn is_everyone(&self, nodes: &BTreeSet<NodeId>) -> bool {
        let mut counted = self.counted();
        self.unmet_seeds.is_empty()
            && self.seeds_short.is_none()
            && counted.all(|member| nodes.contains(&member.report.id))
    }

    /// Whether more than half of the nodes that are counted are live.
    pub fn has_majority(&self) -> bool {
        self.seeds_short.is_none() && self.live_count() * 2 > self.known_count()
    }

    /// Who is counted and not live, at `now_ms`, in milliseconds since 1970.
    pub fn absent(&self, now_ms: i64) -> Vec<Absent> {
        let dead = self.counted().filter_map(|member| {
            let Liveness::Dead { reason } = &member.liveness else {
                return None;
            };
            let unseen_ms = now_ms.saturating_sub(member.last_seen_ms);
            Some(Absent {
                name: member.report.id.to_string(),
                reason: reason.clone(),
                unseen_for: Some(Duration::from_millis(
                    u64::try_from(unseen_ms).unwrap_or_default(),
                )),
            })
        });
        let unmet = self.unmet_seeds.iter().map(|seed| Absent {
            name: seed.clone(),
            reason: "a seed that this node has never met".to_owned(),
            unseen_for: None,
        });
        let silent = self.seeds_short.iter().flat_map(|short| &short.silent);
        let silent = silent
            .filter(|seed| !self.unmet_seeds.contains(seed))
            .map(|seed| Absent {
                name: seed.clone(),
                reason: "a seed, of which a fleet that forms needs more than half".to_owned(),
                unseen_for: None,
            });
        dead.chain(unmet).chain(silent).collect()
    }

    /// The live members that say that `stamp` is their newest of `kind`.
    pub fn holders(&self, kind: DocumentKind, stamp: Stamp) -> impl Iterator<Item = &NodeId> {
        let live = self
            .members
            .iter()
            .filter(|member| member.liveness.is_live());
        live.filter(move |member| member.report.held.get(&kind) == Some(&stamp))
            .map(|member| &member.report.id)
    }

    /// The leader and where to reach it.
    pub fn leader(&self) -> Option<(&NodeId, SocketAddr)> {
        let member = self.member(self.leadership.leader.as_ref()?)?;
        Some((&member.report.id, member.report.address))
    }

    /// The members other than this node.
    pub(crate) fn others(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.is_self)
    }

    /// The live members other than this node.
    pub fn live_peers(&self) -> impl Iterator<Item = &Member> {
        self.members
            .iter()
            .filter(|member| !member.is_self && member.liveness.is_live())
    }
}

/// What is known of one other node, from all sources, before it is judged.
#[derive(Debug, Clone)]
pub(crate) struct Sighting {
    pub(crate) report: Arc<NodeReport>,
    /// Whether the report is of this run, rather than remembered from the last.
    pub(crate) is_current: bool,
    pub(crate) is_alive_in_gossip: bool,
    pub(crate) has_left: bool,
    /// Its port has refused us for so long that silence would have been noticed, and yet it is heard of: something
    /// between us refuses in its place.
    pub(crate) is_refusal_outweighed: bool,
    pub(crate) link: Option<LinkState>,
    pub(crate) lost: BTreeMap<DocumentKind, Digest>,
    pub(crate) last_seen_ms: i64,
}

impl Sighting {
    /// How sure we are of it.
    pub(crate) fn presence(&self) -> Presence {
        match &self.link {
            _ if self.has_left => Presence::Gone,
            Some(LinkState::Refused { .. })
                if !(self.is_refusal_outweighed && self.is_alive_in_gossip) =>
            {
                Presence::Gone
            }
            Some(LinkState::Connected) if self.is_current => Presence::Live,
            _ if self.is_alive_in_gossip => Presence::Live,
            _ => Presence::Silent,
        }
    }

    /// Whether it answers us at this moment, and has said what it claims.
    pub(crate) fn is_connected(&self) -> bool {
        self.is_current && self.link == Some(LinkState::Connected)
    }

    pub(crate) fn liveness(&self) -> Liveness {
        match (self.presence(), &self.link) {
            (Presence::Live, Some(LinkState::Unreachable { reason, .. })) => Liveness::Suspect {
                reason: reason.clone(),
            },
            (Presence::Live, Some(LinkState::Refused { .. })) => Liveness::Suspect {
                reason: "it is heard of, but its port refuses us".to_owned(),
            },
            (Presence::Live, _) => Liveness::Live,
            (Presence::Gone, _) if self.has_left => Liveness::Dead {
                reason: "it has left".to_owned(),
            },
            (_, Some(LinkState::Refused { .. })) => Liveness::Dead {
                reason: "nothing listens on its port".to_owned(),
            },
            (_, Some(LinkState::Unreachable { reason, .. })) => Liveness::Dead {
                reason: reason.clone(),
            },
            (_, _) if !self.is_current => Liveness::Dead {
                reason: "not heard of since this agent started".to_owned(),
            },
            (_, _) => Liveness::Dead {
                reason: "it has fallen silent".to_owned(),
            },
        }
    }

    pub(crate) fn candidate(&self) -> Candidate {
        Candidate {
            id: self.report.id.clone(),
            presence: self.presence(),
            is_fit: self.report.unfit.is_none(),
            is_settling: self.report.is_settling,
            // What a node claimed before this agent started proves nothing now.
            claim: self.report.claim.filter(|_| self.is_current),
            unanswered_since: match &self.link {
                Some(LinkState::Unreachable { since, .. }) if self.is_current => Some(*since),
                _ => None,
            },
        }
    }

    pub(crate) fn into_member(self, is_counted: bool) -> Member {
        let liveness = self.liveness();
        Member {
            report: self.report,
            liveness,
            last_seen_ms: self.last_seen_ms,
            is_self: false,
            link: self.link,
            lost: self.lost,
            is_counted,
        }
    }
}

/// The highest stamp of each document that live peers say they hold, and who holds it.
pub(crate) fn held_by_peers(view: &View) -> BTreeMap<DocumentKind, BTreeMap<Stamp, Vec<NodeId>>> {
    let mut held: BTreeMap<DocumentKind, BTreeMap<Stamp, Vec<NodeId>>> = BTreeMap::new();
    for member in view.live_peers() {
        for (kind, stamp) in &member.report.held {
            held.entry(*kind)
                .or_default()
                .entry(*stamp)
                .or_default()
                .push(member.report.id.clone());
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(link: LinkState) -> Sighting {
        Sighting {
            report: Arc::new(crate::facts::blank_report(
                NodeId::new("a").unwrap(),
                1,
                "127.0.0.1:1".parse().unwrap(),
            )),
            is_current: true,
            is_alive_in_gossip: true,
            has_left: false,
            is_refusal_outweighed: false,
            link: Some(link),
            lost: BTreeMap::new(),
            last_seen_ms: 0,
        }
    }

    #[test]
    fn a_port_that_refuses_outweighs_gossip() {
        let now = Instant::now();
        let gone = sighting(LinkState::Refused { since: now });
        assert_eq!(gone.presence(), Presence::Gone);
        assert!(!gone.liveness().is_live());
        // Unless gossip goes on for longer than it could without the process.
        let alive = Sighting {
            is_refusal_outweighed: true,
            ..gone
        };
        assert_eq!(alive.presence(), Presence::Live);
        assert!(matches!(alive.liveness(), Liveness::Suspect { .. }));
    }

    #[test]
    fn an_open_connection_outweighs_silence() {
        let connected = Sighting {
            is_alive_in_gossip: false,
            ..sighting(LinkState::Connected)
        };
        assert_eq!(connected.presence(), Presence::Live);
    }

    #[test]
    fn a_node_that_only_others_hear_is_suspect_and_still_counts() {
        let now = Instant::now();
        let suspect = sighting(LinkState::Unreachable {
            since: now,
            reason: "no answer".into(),
        });
        assert_eq!(suspect.liveness().to_string(), "suspect: no answer");
        assert!(suspect.liveness().is_live());
        let dead = Sighting {
            is_alive_in_gossip: false,
            ..suspect
        };
        assert!(!dead.liveness().is_live());
    }

    #[test]
    fn a_node_that_said_goodbye_is_gone_whatever_else_is_seen() {
        let left = Sighting {
            has_left: true,
            ..sighting(LinkState::Connected)
        };
        assert_eq!(left.presence(), Presence::Gone);
    }

    #[test]
    fn the_removed_count_neither_as_live_nor_as_known() {
        let member = |name: &str, is_counted| {
            let mut member = sighting(LinkState::Connected).into_member(is_counted);
            Arc::make_mut(&mut member.report).id = NodeId::new(name).unwrap();
            member
        };
        let id = |name: &str| NodeId::new(name).unwrap();
        let view = View {
            members: vec![member("a", true), member("b", true), member("c", false)],
            unmet_seeds: Vec::new(),
            seeds_short: None,
            leadership: Standing::of(&Role::Leader(Term(1)), &id("a"), Term(1)),
        };
        assert_eq!((view.known_count(), view.live_count()), (2, 2));
        assert!(view.is_majority(&[id("a"), id("b")]));
        assert!(!view.is_majority(&[id("a"), id("c"), id("a")]));
        assert!(view.has_majority());
    }

    #[test]
    fn a_remembered_claim_proves_nothing() {
        let mut remembered = sighting(LinkState::Connecting);
        Arc::make_mut(&mut remembered.report).claim = Some(Term(7));
        assert_eq!(remembered.candidate().claim, Some(Term(7)));
        remembered.is_current = false;
        assert_eq!(remembered.candidate().claim, None);
    }

    #[test]
    fn only_a_connection_that_broke_says_since_when_nobody_answers() {
        let since = Instant::now();
        let broken = sighting(LinkState::Unreachable {
            since,
            reason: "no answer".into(),
        });
        assert_eq!(broken.candidate().unanswered_since, Some(since));
        let remembered = Sighting {
            is_current: false,
            ..broken
        };
        assert_eq!(remembered.candidate().unanswered_since, None);
        let refused = sighting(LinkState::Refused { since });
        assert_eq!(refused.candidate().unanswered_since, None);
        let connected = sighting(LinkState::Connected);
        assert!(connected.is_connected());
        assert_eq!(connected.candidate().unanswered_since, None);
    }
}
