//! Who leads: a function of who is live, who claims what, and how long that has been so.
//!
//! Among live and fit nodes the claim with the highest term holds, ties to the lowest id. When nobody live claims, the
//! lowest fit node does, after a delay that is long enough for a leader that is merely slow to be heard of. It is
//! sticky: a node with a lower id that joins does not take over.
//!
//! Two nodes may lead for a moment, and for the length of a partition; documents and the DNS fence are made for
//! that, and nothing may rest on there being one. What must hold is that terms only grow (invariant I1): a term is
//! durable before it is claimed, and every claim is above every term ever seen, the terms of the dead included.
//!
//! Pure: time comes in with each observation, decisions go out as values, and the driver carries them out.

use std::time::{Duration, Instant};

use hafleet_model::{NodeId, Term};

use crate::timing::Timing;

/// How sure we are of another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is heard of.
    Live,
    /// It has not been heard of for long.
    Silent,
    /// Its process is known to be gone: its port refuses, or it said goodbye.
    Gone,
}

/// What matters of another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which node.
    pub id: NodeId,
    /// How sure we are of it.
    pub presence: Presence,
    /// Whether it could lead.
    pub is_fit: bool,
    /// Whether it is looking around, and would not replace a leader that is gone.
    pub is_settling: bool,
    /// The term in which it claims to lead.
    pub claim: Option<Term>,
    /// Since when our own connection to it is broken, and each attempt to connect again without an answer; none while it
    /// answers, and where it was never connected.
    pub unanswered_since: Option<Instant>,
}

/// What a node sees at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// All others that are known.
    pub others: Vec<Candidate>,
    /// Why this node cannot lead; none when it can.
    pub unfit: Option<String>,
    /// The highest term seen anywhere, the durable one included.
    pub highest_term: Term,
    /// Whether every seed and every known member is connected and has said what it claims. Vacuously true of a
    /// node that has neither. With everyone's answer in hand there is nothing left to wait for.
    pub has_everyone_answered: bool,
    /// Whether more than half of the known nodes, this one included, are connected at this moment and have said what they
    /// claim. What they hear of a node, gossip would have told.
    pub is_majority_connected: bool,
}

/// What a node is in the election.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// It leads, in this term.
    Leader(Term),
    /// It follows that node, in that term.
    Follower(NodeId, Term),
    /// Nobody is known to lead yet.
    Settling {
        /// What is waited for.
        reason: &'static str,
    },
    /// Nobody is known to lead, and this node cannot.
    Unfit {
        /// Why.
        reason: String,
    },
}

/// What the driver has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Stay,
    /// Make this term durable, then publish it as claim, then say so with [`Leadership::claimed`].
    Claim(Term),
    /// Publish that there is no claim any more.
    Yield,
}

/// The state of one node in the election.
#[derive(Debug)]
pub struct Leadership {
    me: NodeId,
    timing: Timing,
    claim: Option<Term>,
    role: Role,
    last_leader: Option<NodeId>,
    /// Since when nobody live has claimed, as far as can be told.
    vacant_since: Option<Instant>,
    /// From when on this node has been up for long enough to replace a leader at once.
    settled_at: Instant,
    /// Until when what is known may date from before a stall.
    stale_until: Option<Instant>,
    last_observed: Instant,
}

impl Leadership {
    /// A node that starts at `now` and has claimed nothing.
    pub fn new(me: NodeId, timing: Timing, now: Instant) -> Self {
        Self {
            me,
            timing,
            claim: None,
            role: Role::Settling {
                reason: "the agent has just started",
            },
            last_leader: None,
            vacant_since: Some(now),
            settled_at: now + timing.settle_silent,
            stale_until: None,
            last_observed: now,
        }
    }

    /// What this node is.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// The term that it claims, whether or not it acts on it at the moment.
    pub fn claim(&self) -> Option<Term> {
        self.claim
    }

    /// Whether this node is looking around, since it has just started or was stalled, and would not replace a leader
    /// that is gone.
    pub fn is_settling(&self, now: Instant) -> bool {
        now < self.settled_at || self.stale_until.is_some()
    }

    /// Looks at the world and decides. To be called whenever something changed, and at least a few times per
    /// gossip interval: a longer pause counts as a stall of this node.
    pub fn observe(&mut self, now: Instant, seen: &Observation) -> Decision {
        self.notice_stall(now);
        let holder = holder_among(&seen.others);
        if let Some(reason) = &seen.unfit {
            return self.be_unfit(reason, holder);
        }
        match self.claim {
            Some(term) => self.hold(term, holder, seen),
            None => self.seek(now, holder, seen),
        }
    }

    /// The claim that [`Decision::Claim`] asked for is durable and published.
    pub fn claimed(&mut self, term: Term) {
        self.claim = Some(term);
        self.role = Role::Leader(term);
        self.last_leader = Some(self.me.clone());
        self.vacant_since = None;
    }

    /// This node runs at `now`, and takes in what comes. To be called at least every gossip interval, as often as nothing is
    /// observed: what counts as a stall is that it did not run, and not that there was nothing to look at.
    pub fn notice_stall(&mut self, now: Instant) {
        let gap = now.saturating_duration_since(self.last_observed);
        self.last_observed = now;
        if self.stale_until.is_some_and(|until| until <= now) {
            self.stale_until = None;
        }
        if gap <= self.timing.stall {
            return;
        }
        // Within three intervals nobody can have taken silence for death, so a short look around suffices.
        let is_short = gap < self.timing.gossip_interval * 3;
        let settle = if is_short {
            self.timing.settle_refused
        } else {
            self.timing.settle_silent
        };
        self.stale_until = self.stale_until.max(Some(now + settle));
        self.vacant_since = self.vacant_since.map(|_| now);
    }

    fn be_unfit(&mut self, reason: &str, holder: Option<(Term, NodeId)>) -> Decision {
        let had_claim = self.claim.take().is_some();
        match holder {
            Some((term, id)) => self.follow(term, id),
            None => {
                self.role = Role::Unfit {
                    reason: reason.to_owned(),
                }
            }
        }
        if had_claim {
            Decision::Yield
        } else {
            Decision::Stay
        }
    }

    fn hold(&mut self, term: Term, holder: Option<(Term, NodeId)>, seen: &Observation) -> Decision {
        if let Some((other, id)) = holder
            && (other > term || (other == term && id < self.me))
        {
            self.claim = None;
            self.follow(other, id);
            return Decision::Yield;
        }
        if self.stale_until.is_some() {
            self.role = Role::Settling {
                reason: "the agent was stalled, and looks around before it leads on",
            };
            return Decision::Stay;
        }
        if seen.highest_term > term {
            self.role = Role::Settling {
                reason: "a higher term was seen, and a new one is being claimed",
            };
            return Decision::Claim(seen.highest_term.next());
        }
        self.role = Role::Leader(term);
        Decision::Stay
    }

    fn seek(
        &mut self,
        now: Instant,
        holder: Option<(Term, NodeId)>,
        seen: &Observation,
    ) -> Decision {
        if let Some((term, id)) = holder {
            self.follow(term, id);
            return Decision::Stay;
        }
        let vacant_since = *self.vacant_since.get_or_insert(now);
        let (due, reason) = self.due(now, vacant_since, seen);
        if now < due {
            self.role = Role::Settling { reason };
            return Decision::Stay;
        }
        // The lowest claims first. The others wait a turn each, in case it does not see the vacancy. One that is still
        // looking around would let its turn pass, unless everyone has answered, which ends the looking around. In a fleet
        // that has just started all do so together, and each has its turn.
        let was_settled = !self.is_settling(now) && vacant_since >= self.settled_at;
        let passes = was_settled && !seen.has_everyone_answered;
        let able = seen.others.iter().filter(|other| {
            other.presence == Presence::Live && other.is_fit && !(passes && other.is_settling)
        });
        let turn =
            u32::try_from(able.filter(|other| other.id < self.me).count()).unwrap_or(u32::MAX);
        if now < due + self.timing.settle_refused.saturating_mul(turn) {
            self.role = Role::Settling {
                reason: "another node, earlier in order, is about to claim",
            };
            return Decision::Stay;
        }
        self.role = Role::Settling {
            reason: "a term is being claimed",
        };
        Decision::Claim(seen.highest_term.next())
    }

    /// When this node may claim, if nobody does before, and the words for what it waits for.
    fn due(
        &self,
        now: Instant,
        vacant_since: Instant,
        seen: &Observation,
    ) -> (Instant, &'static str) {
        let (delay, reason) = self.delay(now, seen);
        let due = vacant_since + delay;
        let Some(unanswered_since) = self.unanswered_since(now, seen) else {
            return (due, reason);
        };
        // A connection that broke long ago says nothing of this moment: the silence of others has to last as well.
        let settle = self.timing.settle_unanswered;
        let sooner = (unanswered_since + settle).max(vacant_since + settle / 2);
        match sooner < due {
            true => (
                sooner,
                "the leader answers nobody of the majority: a new one is being chosen",
            ),
            false => (due, reason),
        }
    }

    /// Since when the last leader has answered nobody, as far as this node and a majority with it can tell.
    fn unanswered_since(&self, now: Instant, seen: &Observation) -> Option<Instant> {
        if self.stale_until.is_some() || now < self.settled_at || !seen.is_majority_connected {
            return None;
        }
        let last = self.last_leader.as_ref()?;
        let last = seen.others.iter().find(|other| other.id == *last)?;
        last.unanswered_since
            .filter(|_| last.presence == Presence::Silent)
    }

    /// How long nobody must have claimed, whatever connections say, and the words for it.
    fn delay(&self, now: Instant, seen: &Observation) -> (Duration, &'static str) {
        let last = self.last_leader.as_ref();
        let last = last.and_then(|last| seen.others.iter().find(|other| other.id == *last));
        if self.stale_until.is_some() {
            return (
                self.timing.settle_silent,
                "the agent was stalled, and looks around before it claims",
            );
        }
        if seen.has_everyone_answered {
            return (
                self.timing.settle_refused,
                "everyone has answered and nobody leads: a leader is being chosen",
            );
        }
        if last.is_some_and(|last| last.presence != Presence::Live) && now < self.settled_at {
            return (
                self.timing.settle_silent,
                "this agent has not been up for long enough to replace the leader",
            );
        }
        if last
            .is_some_and(|last| last.presence == Presence::Gone || last.presence == Presence::Live)
        {
            // Gone for certain, or alive and yielding: there is nobody to be mistaken about.
            return (
                self.timing.settle_refused,
                "the leader is gone: a new one is being chosen",
            );
        }
        (
            self.timing.settle_silent,
            "no leader is heard of: one may yet be",
        )
    }

    fn follow(&mut self, term: Term, id: NodeId) {
        self.vacant_since = None;
        self.last_leader = Some(id.clone());
        self.role = Role::Follower(id, term);
    }
}

/// Whose claim holds among others that are live and fit: the highest term, then the lowest id.
fn holder_among(others: &[Candidate]) -> Option<(Term, NodeId)> {
    let able = others
        .iter()
        .filter(|other| other.presence == Presence::Live && other.is_fit);
    let claims = able.filter_map(|other| other.claim.map(|term| (term, &other.id)));
    let best = claims
        .max_by(|(term, id), (other_term, other_id)| term.cmp(other_term).then(other_id.cmp(id)));
    best.map(|(term, id)| (term, id.clone()))
}

#[cfg(test)]
#[path = "leadership_tests.rs"]
mod tests;
