//! One run of a node: the real machines, and what they wait for. What they want done comes out as effects.

mod catching_up;
mod naming;
mod writing;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hafleet_cluster::machines::gather::{Gathering, Visit};
use hafleet_cluster::machines::repair::{Course, Fetch};
use hafleet_cluster::machines::write::{self, Push};
use hafleet_cluster::machines::{
    AskError, Clock, Documents, LinkStatus, Membership, MembershipConfig, OwnReport, ResolvedSeeds,
    Storage, Surroundings, answer, blank_report,
};
use hafleet_cluster::{
    HISTORY_LIMIT, LinkState, MEMBER_RETENTION, StoreError, Timing, View, WriteError, Written,
};
use hafleet_model::report::NodeReport;
use hafleet_model::{DocumentKind, FleetName, NodeId, Term};

use crate::flaw::Keeping;
use crate::gossip::Gossip;
use crate::packet::{Answer, Packet, Reply, Request, ZoneRequest, refused};
use crate::plan::Millis;
use crate::publication::Publication;
use writing::Writing;

/// The kinds of document that the simulation writes: one that needs a majority, and one that is observed.
pub(crate) const KINDS: [DocumentKind; 2] = [DocumentKind::Spec, DocumentKind::Endpoints];
/// How long a fetch may take: a connection that carries nothing breaks sooner than the deadline of the call.
const FETCH_DEADLINE: Millis = 5_000;

/// Something that a run wants done.
#[derive(Debug)]
pub(crate) enum Effect {
    Send {
        to: usize,
        packet: Packet,
    },
    /// The call ends without an answer after so long.
    Expire {
        call: u64,
        after: Millis,
    },
    Zone {
        call: u64,
        request: ZoneRequest,
    },
    /// Look around soon.
    Look,
    Written {
        id: u64,
        result: Result<Written, WriteError>,
    },
    /// A document has been changed here.
    Changed,
    Note(String),
}

/// What an answer that is waited for is for.
#[derive(Debug)]
enum Purpose {
    Heads(usize, NodeId),
    FetchForWrite(usize),
    Push(usize, NodeId, Push),
    Repair(usize),
    List,
    Gather,
    Zone(Term),
}

/// What a node is started with.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) index: usize,
    pub(crate) nodes: usize,
    pub(crate) fleet: FleetName,
    pub(crate) clock: Clock,
    pub(crate) detection: Millis,
    /// Grows with each run of any node.
    pub(crate) epoch: u64,
    pub(crate) keeping: Keeping,
    pub(crate) is_traced: bool,
}

/// One run of a node, from its start to its end.
#[derive(Debug)]
pub(crate) struct Run {
    setting: Setting,
    pub(crate) id: NodeId,
    pub(crate) generation: u64,
    pub(crate) documents: Arc<Documents>,
    membership: Membership,
    own: Arc<OwnReport>,
    pub(crate) view: Arc<View>,
    pub(crate) gossip: Gossip,
    pub(crate) links: HashMap<SocketAddr, LinkStatus>,
    ready: [Option<Term>; KINDS.len()],
    writes: [Option<Writing>; KINDS.len()],
    courses: Vec<Course>,
    fetches: [Option<Fetch>; KINDS.len()],
    gathering: Gathering,
    visit: Option<Visit>,
    publication: (Term, Publication),
    calls: BTreeMap<u64, Purpose>,
    next_call: u64,
    pub(crate) effects: Vec<Effect>,
    pub(crate) is_look_due: bool,
}

pub(crate) fn node_id(index: usize) -> Option<NodeId> {
    NodeId::new(format!("n{index}")).ok()
}

pub(crate) fn index_of(id: &NodeId) -> Option<usize> {
    id.as_str().strip_prefix('n')?.parse().ok()
}

pub(crate) fn address(index: usize) -> SocketAddr {
    let last = u8::try_from(index + 1).unwrap_or(u8::MAX);
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), 7400)
}

fn seconds(millis: Millis) -> Duration {
    Duration::from_millis(millis)
}
impl Run {
    /// Starts on what `storage` has.
    pub(crate) fn start(
        setting: Setting,
        storage: &Arc<dyn Storage>,
    ) -> Result<Option<Self>, StoreError> {
        let Some(id) = node_id(setting.index) else {
            return Ok(None);
        };
        let clock = setting.clock.clone();
        let generation = storage.begin_generation(&id, clock.now_ms())?;
        let documents = Documents::load(
            Arc::clone(storage),
            clock.clone(),
            HISTORY_LIMIT,
            Arc::default(),
        )?;
        let documents = Arc::new(documents);
        let report = NodeReport {
            is_settling: true,
            ..blank_report(id.clone(), generation, address(setting.index))
        };
        let own = OwnReport::new(report, Arc::default());
        let timing = Timing::default();
        let config = MembershipConfig {
            me: id.clone(),
            timing,
            retention: MEMBER_RETENTION,
            removed: |_| None,
        };
        let membership = Membership::new(
            config,
            Arc::clone(storage),
            Arc::clone(&documents),
            Arc::clone(&own),
            clock,
        )?;
        let view = Arc::new(membership.first_view()?);
        let interval = timing.gossip_interval;
        let courses = KINDS.map(|kind| Course::new(kind, interval / 4, interval * 2));
        let gossip = Gossip::new(setting.index, generation, own.read(), setting.detection);
        Ok(Some(Self {
            next_call: setting.epoch << 32,
            setting,
            id,
            generation,
            documents,
            membership,
            own,
            view,
            gossip,
            links: HashMap::new(),
            ready: [None; KINDS.len()],
            writes: [const { None }; KINDS.len()],
            courses: courses.into(),
            fetches: [const { None }; KINDS.len()],
            gathering: Gathering::new(interval * 2),
            visit: None,
            publication: (Term(0), Publication::default()),
            calls: BTreeMap::new(),
            effects: vec![Effect::Look],
            is_look_due: false,
        }))
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.setting.epoch
    }

    fn note(&mut self, words: impl FnOnce() -> String) {
        if self.setting.is_traced {
            self.effects.push(Effect::Note(words()));
        }
    }

    /// The claim that gossip has of it.
    pub(crate) fn claim(&self) -> Option<Term> {
        self.own.read().report.claim
    }

    /// Looks around, and publishes what is new.
    pub(crate) fn look(&mut self, now: Millis) {
        let seeds = (0..self.setting.nodes.min(3)).map(|index| {
            let address = address(index);
            (address.to_string(), vec![address])
        });
        let around = Surroundings {
            heard: self.gossip.heard(now, self.setting.keeping),
            links: self.links.clone(),
            own_addresses: HashSet::from([address(self.setting.index)]),
            seeds: ResolvedSeeds::new(seeds),
        };
        let looked = self.membership.look(&around);
        if *self.view != looked.view {
            let before = Arc::clone(&self.view);
            self.view = Arc::new(looked.view);
            let (was, is) = (&before.leadership.role, &self.view.leadership.role);
            if was != is {
                let words = format!("{is:?}");
                self.note(|| words);
            }
        }
        if self.gossip.publish(looked.facts) {
            self.gossip_to_live();
        }
        self.pump();
    }

    fn gossip_to_live(&mut self) {
        let entries = self.gossip.entries();
        let view = Arc::clone(&self.view);
        for id in write::live_peers(&view) {
            if let Some(to) = index_of(&id) {
                let packet = Packet::Gossip {
                    entries: entries.clone(),
                    is_answer: true,
                };
                self.effects.push(Effect::Send { to, packet });
            }
        }
    }

    /// Says goodbye.
    pub(crate) fn leave(&mut self) {
        self.own.change(|facts| {
            facts.has_left = true;
            Arc::make_mut(&mut facts.report).claim = None;
        });
        if self.gossip.publish(self.own.read()) {
            self.gossip_to_live();
        }
    }

    /// The index of whom it takes for the leader.
    pub(crate) fn leader(&self) -> Option<usize> {
        index_of(self.view.leadership.leader.as_ref()?)
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.view.leadership.is_leader()
    }

    /// The way to a peer, as the links have it.
    fn way(&self, id: &NodeId) -> Option<usize> {
        let index = index_of(id)?;
        let link = self.links.get(&address(index))?;
        let is_there = link.peer.is_some() && !matches!(link.state, LinkState::Refused { .. });
        is_there.then_some(index)
    }

    fn ask(&mut self, to: usize, request: Request, deadline: Millis, purpose: Purpose) {
        let call = self.next_call;
        self.next_call += 1;
        self.calls.insert(call, purpose);
        let packet = Packet::Request { call, request };
        self.effects.push(Effect::Send { to, packet });
        self.effects.push(Effect::Expire {
            call,
            after: deadline,
        });
    }

    /// A call that is still waited for gets no answer any more.
    pub(crate) fn expire(&mut self, call: u64) {
        if matches!(self.calls.get(&call), Some(Purpose::Zone(_))) {
            self.calls.remove(&call);
        } else {
            self.reply(call, Err(AskError::TimedOut(seconds(FETCH_DEADLINE))));
        }
    }

    /// The answer to a call, or what became of it.
    pub(crate) fn reply(&mut self, call: u64, reply: Reply) {
        let Some(purpose) = self.calls.remove(&call) else {
            return;
        };
        match purpose {
            Purpose::Heads(index, id) => {
                let heads = reply.and_then(|answer| match answer {
                    Answer::Heads(heads) => Ok(heads),
                    _ => Err(nonsense()),
                });
                if let Some(writing) = &mut self.writes[index] {
                    writing.answers.push((id, heads));
                    writing.waits_for -= 1;
                    if writing.waits_for == 0 {
                        self.heads_are_in(index);
                    }
                }
            }
            Purpose::FetchForWrite(index) => {
                let taken = self.take_in(reply);
                if let Some(writing) = &self.writes[index] {
                    let step = writing.write.fetched(taken);
                    self.go_on(index, step);
                }
            }
            Purpose::Push(index, id, push) => self.push_answered(index, id, push, reply),
            Purpose::Repair(index) => {
                let taken = self.take_in(reply);
                if let Some(mut fetch) = self.fetches[index].take() {
                    match taken {
                        Ok(()) => self.end_fetch(index, fetch, true),
                        Err(error) => {
                            fetch.failed(error);
                            self.fetches[index] = Some(fetch);
                            self.fetch_on(index);
                        }
                    }
                }
            }
            Purpose::List | Purpose::Gather => self.visit_answered(reply),
            Purpose::Zone(_) => {}
        }
    }

    /// What a peer asks.
    pub(crate) fn answer(&mut self, from: usize, call: u64, request: Request) {
        let Some(leader) = node_id(from) else {
            return;
        };
        let reply = match request {
            Request::Heads { term } => answer::heads(&self.documents, &leader, term)
                .map(Answer::Heads)
                .map_err(refused),
            Request::Store {
                term,
                document,
                ancestry,
            } => {
                let (kind, stamp) = (document.kind(), document.stamp());
                let document = (*document).clone();
                let stored = answer::store(&self.documents, (&leader, term), document, &ancestry);
                self.note(|| format!("was handed {kind} {stamp} by n{from}: {stored:?}"));
                self.effects.push(Effect::Changed);
                self.effects.push(Effect::Look);
                stored
                    .map(|outcome| Answer::Pushed(outcome.into()))
                    .map_err(refused)
            }
            Request::Fetch { kind, stamp } => answer::fetch(&self.documents, kind, stamp)
                .map(|(document, ancestry)| Answer::Document(document, ancestry))
                .map_err(refused),
            Request::Conflicts { kind } => {
                Ok(Answer::Conflicts(answer::conflicts(&self.documents, kind)))
            }
        };
        let packet = Packet::Reply { call, reply };
        self.effects.push(Effect::Send { to: from, packet });
    }
}

fn nonsense() -> AskError {
    AskError::Nonsense("another answer was waited for".to_owned())
}
