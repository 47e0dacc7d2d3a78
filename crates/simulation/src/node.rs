//! One run of a node: the real machines, and what they wait for. What they want done comes out as effects.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hafleet_cluster::leadership::Role;
use hafleet_cluster::machines::gather::{self, Gathering, Visit};
use hafleet_cluster::machines::repair::{self, Course, Fetch};
use hafleet_cluster::machines::write::{self, Push, Pushed, Step, Write};
use hafleet_cluster::machines::{
    AskError, Clock, Documents, GatherError, LinkStatus, Membership, MembershipConfig, OwnReport,
    RepairError, ResolvedSeeds, Storage, Surroundings, answer, blank_report,
};
use hafleet_cluster::{
    Expect, HISTORY_LIMIT, LinkState, MEMBER_RETENTION, StoreError, Timing, View, WriteError,
    WriteRequest, Written,
};
use hafleet_model::report::NodeReport;
use hafleet_model::{Document, DocumentKind, FleetName, NodeId, Stamp, Term};

use crate::flaw::Keeping;
use crate::gossip::Gossip;
use crate::packet::{Answer, Batch, Packet, Reply, Request, ZoneReply, ZoneRequest, refused};
use crate::plan::Millis;
use crate::publication::{Leading, Publication, Verdict};

/// The kinds of document that the simulation writes: one that needs a majority, and one that is observed.
pub(crate) const KINDS: [DocumentKind; 2] = [DocumentKind::Spec, DocumentKind::Endpoints];
/// How long a fetch may take: a connection that carries nothing breaks sooner than the deadline of the call.
const FETCH_DEADLINE: Millis = 5_000;
/// How long a question to Route53 may take.
const ZONE_DEADLINE: Millis = 4_000;

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

/// A write under way.
#[derive(Debug)]
struct Writing {
    id: u64,
    write: Write,
    waits_for: usize,
    answers: Vec<(NodeId, write::Answer)>,
    stored: Vec<NodeId>,
    pushed: Option<(Arc<Document>, Arc<View>)>,
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

    /// Asks for what is due: repairs and conflicts.
    fn pump(&mut self) {
        for index in 0..KINDS.len() {
            if self.fetches[index].is_none() {
                let now = self.setting.clock.now();
                let view = Arc::clone(&self.view);
                let next = self.courses[index].next(&view, &self.documents, now);
                if let repair::Next::Fetch(fetch) = next
                    && !self.leaves_out(&fetch)
                {
                    self.fetches[index] = Some(fetch);
                    self.fetch_on(index);
                }
            }
        }
        self.gather_on();
    }

    /// Whether a fetch is one that a flaw leaves out.
    fn leaves_out(&self, fetch: &Fetch) -> bool {
        let keeping = self.setting.keeping;
        let missing = || self.documents.missing(fetch.kind()).unwrap_or_default();
        keeping.0.is_some() && keeping.leaves_out(missing().contains(&fetch.stamp()))
    }

    fn fetch_on(&mut self, index: usize) {
        let Some(mut fetch) = self.fetches[index].take() else {
            return;
        };
        match fetch.next_holder(|holder| self.way(holder)) {
            Some(to) => {
                let request = Request::Fetch {
                    kind: fetch.kind(),
                    stamp: Some(fetch.stamp()),
                };
                self.fetches[index] = Some(fetch);
                self.ask(to, request, FETCH_DEADLINE, Purpose::Repair(index));
            }
            None => self.end_fetch(index, fetch, false),
        }
    }

    fn end_fetch(&mut self, index: usize, fetch: Fetch, is_fetched: bool) {
        let now = self.setting.clock.now();
        self.courses[index].ended(fetch, is_fetched, now);
        if is_fetched {
            self.effects.push(Effect::Look);
        }
    }

    fn gather_on(&mut self) {
        let now = self.setting.clock.now();
        while self.visit.is_none() {
            let view = Arc::clone(&self.view);
            let gather::Next::Visit(visit) = self.gathering.next(&view, &self.documents, now)
            else {
                return;
            };
            match self.way(visit.from()) {
                Some(to) => {
                    let request = Request::Conflicts { kind: visit.kind() };
                    self.visit = Some(visit);
                    self.ask(to, request, FETCH_DEADLINE, Purpose::List);
                }
                None => self
                    .gathering
                    .ended(visit, Err(GatherError::NotConnected), now),
            }
        }
    }

    /// A client's write, by way of this node.
    pub(crate) fn begin_write(&mut self, id: u64, kind: DocumentKind, body: String, force: bool) {
        let Some(index) = KINDS.iter().position(|one| *one == kind) else {
            return;
        };
        if self.writes[index].is_some() {
            self.note(|| format!("write {id} has to wait for another, and is given up"));
            return;
        }
        let request = WriteRequest {
            kind,
            body: body.into(),
            expect: Expect::Any,
            author: "a client".to_owned(),
            comment: String::new(),
            force,
        };
        let now_ms = self.setting.clock.now_ms();
        let (keeping, term) = (self.setting.keeping, self.view.leadership.term);
        let view = keeping.fleet(&self.view);
        let ready = keeping.ready(self.ready[index], term);
        let begun = Write::begin(&self.id, request, &view, ready, now_ms);
        match begun {
            Err(error) => self.effects.push(Effect::Written {
                id,
                result: Err(error),
            }),
            Ok((write, step)) => {
                self.writes[index] = Some(Writing {
                    id,
                    write,
                    waits_for: 0,
                    answers: Vec::new(),
                    stored: Vec::new(),
                    pushed: None,
                });
                self.go_on(index, step);
            }
        }
    }

    fn go_on(&mut self, index: usize, step: Step) {
        let Some(mut writing) = self.writes[index].take() else {
            return;
        };
        let kind = writing.write.kind();
        match step {
            Step::AskHeads { peers } => {
                let term = writing.write.term();
                let ways = peers
                    .into_iter()
                    .filter_map(|id| Some((self.way(&id)?, id)));
                let ways: Vec<_> = ways.collect();
                writing.waits_for = ways.len();
                self.writes[index] = Some(writing);
                if ways.is_empty() {
                    self.heads_are_in(index);
                }
                for (to, id) in ways {
                    let request = Request::Heads { term };
                    self.ask(to, request, PUSH_DEADLINE, Purpose::Heads(index, id));
                }
            }
            Step::Fetch { from } => {
                let way = self.way(&from);
                let missed = writing.write.fetched(Err(RepairError::NoHolder));
                self.writes[index] = Some(writing);
                match way {
                    Some(to) => {
                        let request = Request::Fetch { kind, stamp: None };
                        let purpose = Purpose::FetchForWrite(index);
                        self.ask(to, request, PUSH_DEADLINE, purpose);
                    }
                    None => self.go_on(index, missed),
                }
            }
            Step::Refuse { error, learned } => {
                self.learn(learned);
                let id = writing.id;
                let result = Err(error);
                self.effects.push(Effect::Written { id, result });
            }
            Step::Append => self.append(index, writing),
        }
    }

    fn learn(&mut self, term: Option<Term>) {
        if let Some(term) = term {
            // A disk that refuses is noticed by whoever needs it.
            let _ = self.documents.raise_term(term);
        }
    }

    fn heads_are_in(&mut self, index: usize) {
        if let Some(writing) = &self.writes[index] {
            let own = self.documents.newest(writing.write.kind());
            let step = writing
                .write
                .heard(own.map(|own| own.stamp()), &writing.answers);
            self.go_on(index, step);
        }
    }

    fn append(&mut self, index: usize, mut writing: Writing) {
        self.ready[index] = Some(writing.write.term());
        let view = self.setting.keeping.fleet(&self.view);
        let still_leads = |term| view.leadership.role == Role::Leader(term);
        let document = match writing.write.append(&self.documents, still_leads) {
            Ok(document) => document,
            Err(error) => {
                let (id, result) = (writing.id, Err(error));
                self.effects.push(Effect::Written { id, result });
                return;
            }
        };
        let stamp = document.stamp();
        self.note(|| format!("stores {} {stamp}", document.kind()));
        self.effects.push(Effect::Changed);
        self.effects.push(Effect::Look);
        let ancestry: Arc<[Stamp]> = self.documents.ancestry(document.kind(), stamp).into();
        let term = writing.write.term();
        let peers = write::live_peers(&view);
        let ways = peers
            .into_iter()
            .filter_map(|id| Some((self.way(&id)?, id)));
        let ways: Vec<_> = ways.collect();
        writing.waits_for = ways.len();
        writing.pushed = Some((Arc::clone(&document), view));
        self.writes[index] = Some(writing);
        for (to, id) in ways {
            let push = Push::new(Arc::clone(&ancestry));
            self.push(index, to, id, term, &document, push);
        }
        self.finish_if_done(index);
    }

    fn push(
        &mut self,
        index: usize,
        to: usize,
        id: NodeId,
        term: Term,
        document: &Arc<Document>,
        push: Push,
    ) {
        let request = Request::Store {
            term,
            document: Arc::clone(document),
            ancestry: push.ancestry().to_vec(),
        };
        let purpose = Purpose::Push(index, id, push);
        self.ask(to, request, PUSH_DEADLINE, purpose);
    }

    fn finish_if_done(&mut self, index: usize) {
        let is_done = |writing: &Writing| writing.waits_for == 0 && writing.pushed.is_some();
        if !self.writes[index].as_ref().is_some_and(is_done) {
            return;
        }
        if let Some(writing) = self.writes[index].take()
            && let Some((document, view)) = writing.pushed
        {
            let written = writing.write.pushed(&document, &view, writing.stored);
            self.effects.push(Effect::Written {
                id: writing.id,
                result: Ok(written),
            });
        }
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

    fn take_in(&mut self, reply: Reply) -> Result<(), RepairError> {
        match reply? {
            Answer::Document(document, ancestry) => {
                let (kind, stamp) = (document.kind(), document.stamp());
                let ancestry = self.setting.keeping.ancestry(&ancestry);
                repair::take_in(&self.documents, document, ancestry)?;
                self.note(|| format!("has fetched {kind} {stamp}"));
                self.effects.push(Effect::Changed);
                self.effects.push(Effect::Look);
                Ok(())
            }
            _ => Err(nonsense().into()),
        }
    }

    fn push_answered(&mut self, index: usize, id: NodeId, mut push: Push, reply: Reply) {
        let answer = reply.and_then(|answer| match answer {
            Answer::Pushed(outcome) => Ok(outcome),
            _ => Err(nonsense()),
        });
        let pushed = push.answered(&answer);
        let way = self.way(&id);
        let Some(writing) = &mut self.writes[index] else {
            return;
        };
        let mut learned = None;
        match (pushed, way, &writing.pushed) {
            (Pushed::Stored, _, _) => writing.stored.push(id),
            (Pushed::Again, Some(to), Some((document, _))) => {
                let (term, document) = (writing.write.term(), Arc::clone(document));
                self.push(index, to, id, term, &document, push);
                return;
            }
            (Pushed::NotStored { learned: later }, _, _) => learned = later,
            (Pushed::Again, _, _) => {}
        }
        writing.waits_for -= 1;
        self.learn(learned);
        self.finish_if_done(index);
    }

    fn visit_answered(&mut self, reply: Reply) {
        let Some(mut visit) = self.visit.take() else {
            return;
        };
        let result = match reply {
            Ok(Answer::Conflicts(stamps)) => {
                visit.listed(stamps);
                Ok(())
            }
            Ok(Answer::Document(document, _)) => {
                self.effects.push(Effect::Changed);
                self.effects.push(Effect::Look);
                visit.fetched(&self.documents, Ok(document))
            }
            Ok(_) => Err(nonsense().into()),
            Err(error) => visit.fetched(&self.documents, Err(error)),
        };
        let next = result.map(|()| visit.next_stamp(&self.documents));
        let now = self.setting.clock.now();
        match (next, self.way(visit.from())) {
            (Ok(Some(stamp)), Some(to)) => {
                let request = Request::Fetch {
                    kind: visit.kind(),
                    stamp: Some(stamp),
                };
                self.visit = Some(visit);
                self.ask(to, request, FETCH_DEADLINE, Purpose::Gather);
            }
            (Ok(Some(_)), None) => {
                let lost = Err(GatherError::NotConnected);
                self.gathering.ended(visit, lost, now);
            }
            (Ok(None), _) => self.gathering.ended(visit, Ok(()), now),
            (Err(error), _) => self.gathering.ended(visit, Err(error), now),
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

    /// Begins a round of publication, where this node leads.
    pub(crate) fn publish(&mut self) {
        let Role::Leader(term) = self.view.leadership.role else {
            return;
        };
        let is_under_way = |purpose: &Purpose| matches!(purpose, Purpose::Zone(_));
        if self.calls.values().any(is_under_way) {
            return;
        }
        if self.publication.0 != term {
            self.publication = (term, Publication::default());
        }
        self.ask_zone(term, ZoneRequest::Read);
    }

    fn ask_zone(&mut self, term: Term, request: ZoneRequest) {
        let call = self.next_call;
        self.next_call += 1;
        self.calls.insert(call, Purpose::Zone(term));
        self.effects.push(Effect::Zone { call, request });
        self.effects.push(Effect::Expire {
            call,
            after: ZONE_DEADLINE,
        });
    }

    /// What Route53 answered; `down` are the nodes whose listeners do not answer.
    pub(crate) fn zone_answered(
        &mut self,
        call: u64,
        reply: &ZoneReply,
        down: &BTreeSet<usize>,
        now: Millis,
        nonce: u64,
    ) {
        let Some(Purpose::Zone(term)) = self.calls.remove(&call) else {
            return;
        };
        // The round of a leader that was replaced in the meantime goes on: the fence is for that.
        let ZoneReply::Records(records) = reply else {
            return;
        };
        let probe = |id: &NodeId| index_of(id).is_some_and(|index| !down.contains(&index));
        let (_, publication) = &mut self.publication;
        let has_majority = self.view.has_majority();
        let leader = Leading {
            fleet: &self.setting.fleet,
            view: &self.view,
            term,
            has_majority: self.setting.keeping.has_majority(has_majority),
        };
        match publication.decide(&leader, records, probe, now, nonce) {
            Verdict::Write(changes) => {
                self.note(|| format!("writes {changes:?}"));
                let batch = Batch {
                    changes: self.setting.keeping.batch(changes, records),
                    has_majority,
                };
                self.ask_zone(term, ZoneRequest::Change(batch));
            }
            Verdict::Superseded(later) => {
                self.note(|| format!("meets term {later} in DNS"));
                self.learn(Some(later));
                self.effects.push(Effect::Look);
            }
            Verdict::Nothing => {}
        }
    }
}

/// How long a push may take.
const PUSH_DEADLINE: Millis = 3_000;

fn nonsense() -> AskError {
    AskError::Nonsense("another answer was waited for".to_owned())
}
