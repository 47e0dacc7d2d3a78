//! What a node makes of its surroundings, without tasks: who is there, which term it is, who leads, and what it says
//! of itself.
//!
//! One look goes from what was seen to what is to be published, in one order that the invariants rest on: a term that is
//! new is durable before anything is decided upon it, and a claim is durable before it is published. Calls block for the
//! time of a sync.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hafleet_model::report::NodeReport;
use hafleet_model::{NodeId, Term};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::complaints::Complaints;
use crate::config::ReadRemoved;
use crate::documents::Documents;
use crate::facts::Facts;
use crate::forming::Forming;
use crate::leadership::{Decision, Leadership, Observation};
use crate::links::LinkStatus;
use crate::removed::Removed;
use crate::roster::{Heard, Roster, highest_term};
use crate::seeds::ResolvedSeeds;
use crate::storage::Storage;
use crate::store::StoreError;
use crate::timing::Timing;
use crate::view::{LinkState, Liveness, Member, Sighting, Standing, View};

/// How long a node that could not write its term down keeps from leading.
const STORE_PAUSE: Duration = Duration::from_secs(10);

/// What this node says of itself: changed by the agent and the rules of membership.
#[derive(Debug)]
pub struct OwnReport {
    facts: Mutex<Facts>,
    /// Why it leads no more, whatever else it says of its fitness.
    resigned: Mutex<Option<String>>,
    wake: Arc<Notify>,
}

impl OwnReport {
    /// Begins with `report`; `wake` is told of each change.
    pub fn new(report: NodeReport, wake: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            facts: Mutex::new(Facts {
                report: Arc::new(report),
                has_left: false,
                lost: BTreeMap::new(),
                gone: BTreeMap::new(),
            }),
            resigned: Mutex::default(),
            wake,
        })
    }

    /// Changes it and has it published at once.
    pub fn change(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_one();
    }

    /// Has it claim to lead in a term, or in none.
    pub fn claim(&self, term: Option<Term>) {
        self.change(|facts| Arc::make_mut(&mut facts.report).claim = term);
    }

    /// Has it lead no more for this reason, or takes that back.
    pub fn resign(&self, reason: Option<String>) {
        *self.resigned.lock().unwrap_or_else(PoisonError::into_inner) = reason;
        self.wake.notify_one();
    }

    fn resigned(&self) -> Option<String> {
        let resigned = self.resigned.lock();
        resigned.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it is now.
    pub fn read(&self) -> Facts {
        self.facts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What can be seen at one moment.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// What gossip knows of others.
    pub heard: Heard,
    /// What the connections say, by address.
    pub links: HashMap<SocketAddr, LinkStatus>,
    /// Where this very node answers.
    pub own_addresses: HashSet<SocketAddr>,
    /// Where to look for the fleet.
    pub seeds: ResolvedSeeds,
}

/// What came of a look.
#[derive(Debug)]
pub struct Looked {
    /// The fleet, as this node sees it now.
    pub view: View,
    /// What gossip has to say of this node.
    pub facts: Facts,
    /// To whom connections are wanted.
    pub addresses: HashSet<SocketAddr>,
}

/// What a membership is made for.
#[derive(Debug)]
pub struct MembershipConfig {
    /// This node.
    pub me: NodeId,
    /// How fast it moves.
    pub timing: Timing,
    /// See [`ClusterConfig::member_retention`](crate::ClusterConfig::member_retention).
    pub retention: Duration,
    /// See [`ClusterConfig::removed`](crate::ClusterConfig::removed).
    pub removed: ReadRemoved,
}

/// One node's part in its fleet.
#[derive(Debug)]
pub struct Membership {
    me: NodeId,
    clock: Clock,
    documents: Arc<Documents>,
    roster: Roster,
    removed: Removed,
    own: Arc<OwnReport>,
    leadership: Leadership,
    /// By the wall clock.
    started_at_ms: i64,
    /// Since when, and why, the store refuses terms.
    store_trouble: Option<(Instant, String)>,
    complaints: Complaints,
}

impl Membership {
    /// A node that starts now, with what `storage` remembers.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn new(
        config: MembershipConfig,
        storage: Arc<dyn Storage>,
        documents: Arc<Documents>,
        own: Arc<OwnReport>,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let interval = config.timing.gossip_interval;
        let roster = Roster::load(storage, clock.clone(), config.retention, interval)?;
        let leadership = Leadership::new(config.me.clone(), config.timing, clock.now());
        Ok(Self {
            me: config.me,
            started_at_ms: clock.now_ms(),
            clock,
            removed: Removed::new(Arc::clone(&documents), config.removed),
            documents,
            roster,
            own,
            leadership,
            store_trouble: None,
            complaints: Complaints::default(),
        })
    }

    /// The fleet before anything was seen: this node, which does not lead.
    ///
    /// # Errors
    /// When the term cannot be read.
    pub fn first_view(&self) -> Result<View, StoreError> {
        let highest = self.documents.highest_term()?;
        Ok(self.view(
            BTreeMap::new(),
            Forming::default(),
            &self.own.read(),
            highest,
        ))
    }

    /// This node runs, and has nothing to look at. A longer pause between calls of this and of [`Membership::look`] counts as
    /// a stall.
    pub fn notice_stall(&mut self) {
        self.leadership.notice_stall(self.clock.now());
    }

    /// Looks around and decides, and makes durable what has to be.
    pub fn look(&mut self, around: &Surroundings) -> Looked {
        self.removed.look();
        let removed = self.removed.nodes();
        let now = self.clock.now();
        let sightings = self
            .roster
            .sight(&around.heard, &around.links, removed, now);
        if let Err(error) = self.roster.remember(&sightings, removed) {
            let said = error.to_string();
            if self.complaints.is_due(now, "members", &said) {
                tracing::error!(%error, "members could not be written down");
            }
        }
        let mut addresses: HashSet<_> = sightings
            .values()
            .map(|sighting| sighting.report.address)
            .collect();
        addresses.extend(self.roster.addresses());
        addresses.extend(around.seeds.addresses());
        let forming = self.count_seeds(&sightings, around);
        let highest = self.settle_term(&sightings);
        let observation = self.observation(&sightings, around, forming.unmet_seeds.len(), highest);
        // What was waited for until here counts as a stall.
        let decision = self.leadership.observe(self.clock.now(), &observation);
        let highest = self.carry_out(decision, highest);
        let facts = self.own_facts();
        Looked {
            view: self.view(sightings, forming, &facts, highest),
            facts,
            addresses,
        }
    }

    /// What seeds have to do with majorities: nothing any more once this node has been part of one in which they counted.
    fn count_seeds(
        &mut self,
        sightings: &BTreeMap<NodeId, Sighting>,
        around: &Surroundings,
    ) -> Forming {
        if self.roster.is_established() {
            return Forming::default();
        }
        let forming = Forming::look(sightings, around);
        let removed = self.removed.nodes();
        let counted = sightings.iter().filter(|(id, _)| !removed.contains(*id));
        let own = usize::from(!removed.contains(&self.me));
        let known = own + counted.clone().count() + forming.unmet_seeds.len();
        let live = counted.filter(|(_, sighting)| sighting.liveness().is_live());
        if (own + live.count()) * 2 <= known || forming.seeds_short.is_some() {
            return forming;
        }
        match self.roster.establish() {
            Ok(()) => Forming::default(),
            Err(error) => {
                let (now, said) = (self.clock.now(), error.to_string());
                if self.complaints.is_due(now, "established", &said) {
                    tracing::error!(%error, "that this node is of a fleet could not be written down");
                }
                forming
            }
        }
    }

    /// The highest term there is, made durable when it is new.
    fn settle_term(&mut self, sightings: &BTreeMap<NodeId, Sighting>) -> Term {
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
            Ok(_) => self.raise_term(seen).unwrap_or(seen),
            Err(error) => {
                self.note_trouble(&error);
                seen
            }
        }
    }

    fn raise_term(&mut self, term: Term) -> Option<Term> {
        match self.documents.raise_term(term) {
            Ok(highest) => Some(highest),
            Err(error) => {
                self.note_trouble(&error);
                None
            }
        }
    }

    fn note_trouble(&mut self, error: &StoreError) {
        let (now, said) = (self.clock.now(), error.to_string());
        if self.complaints.is_due(now, "term", &said) {
            tracing::error!(%error, "the term could not be written down, so this node cannot lead");
        }
        self.store_trouble = Some((now, said));
    }

    fn observation(
        &self,
        sightings: &BTreeMap<NodeId, Sighting>,
        around: &Surroundings,
        unmet_seeds: usize,
        highest: Term,
    ) -> Observation {
        let removed = self.removed.nodes();
        let counted = sightings.iter().filter(|(id, _)| !removed.contains(*id));
        let own = usize::from(!removed.contains(&self.me));
        let known = own + counted.clone().count() + unmet_seeds;
        let connected = counted.filter(|(_, sighting)| sighting.is_connected());
        let connected = own + connected.count();
        Observation {
            others: sightings.values().map(Sighting::candidate).collect(),
            unfit: self.unfit(),
            highest_term: highest,
            has_everyone_answered: self.has_everyone_answered(sightings, around),
            is_majority_connected: connected * 2 > known,
        }
    }

    fn unfit(&self) -> Option<String> {
        let trouble = self
            .store_trouble
            .as_ref()
            .filter(|(since, _)| self.clock.now().saturating_duration_since(*since) < STORE_PAUSE);
        trouble
            .map(|(_, reason)| reason.clone())
            .or_else(|| self.own.resigned())
            .or_else(|| self.own.read().report.unfit.clone())
    }

    /// Every member that is remembered or heard of, and every seed, is connected and has said what it claims.
    fn has_everyone_answered(
        &self,
        sightings: &BTreeMap<NodeId, Sighting>,
        around: &Surroundings,
    ) -> bool {
        let has_answered = |sighting: &Sighting| sighting.has_left || sighting.is_connected();
        let is_answered = |address: SocketAddr| {
            let peer = around
                .links
                .get(&address)
                .filter(|link| link.state == LinkState::Connected);
            let peer = peer.and_then(|link| link.peer.as_ref());
            around.own_addresses.contains(&address)
                || peer.is_some_and(|peer| sightings.get(peer).is_some_and(has_answered))
        };
        sightings.values().all(has_answered) && around.seeds.each_has(is_answered)
    }

    /// Does what was decided, and returns the highest term then.
    fn carry_out(&mut self, decision: Decision, highest: Term) -> Term {
        match decision {
            Decision::Stay => highest,
            Decision::Yield => {
                tracing::info!("this node leads no longer");
                self.own.claim(None);
                highest
            }
            Decision::Claim(term) => match self.raise_term(term) {
                Some(durable) if durable == term => {
                    tracing::info!(%term, "this node claims to lead");
                    self.own.claim(Some(term));
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
        let report = Arc::make_mut(&mut facts.report);
        report.held = self.documents.heads().into_iter().collect();
        report.unfit = self.unfit();
        report.is_settling = self.leadership.is_settling(self.clock.now());
        facts.lost = self.documents.lost();
        facts
    }

    fn view(
        &self,
        sightings: BTreeMap<NodeId, Sighting>,
        forming: Forming,
        facts: &Facts,
        highest: Term,
    ) -> View {
        let removed = self.removed.nodes();
        let member = |(id, sighting): (NodeId, Sighting)| {
            let is_counted = !removed.contains(&id);
            sighting.into_member(is_counted)
        };
        let mut members: Vec<_> = sightings.into_iter().map(member).collect();
        let own = Member {
            report: Arc::clone(&facts.report),
            liveness: Liveness::Live,
            last_seen_ms: self.started_at_ms,
            is_self: true,
            link: None,
            lost: facts.lost.clone(),
            is_counted: !removed.contains(&self.me),
        };
        members.push(own);
        members.sort_by(|a, b| a.report.id.cmp(&b.report.id));
        let leadership = Standing::of(self.leadership.role(), &self.me, highest);
        View {
            members,
            unmet_seeds: forming.unmet_seeds,
            seeds_short: forming.seeds_short,
            leadership,
        }
    }
}
