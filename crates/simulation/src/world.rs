//! The world in which a plan takes place: time, machines, network and Route53, one event after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hafleet_cluster::LinkState;
use hafleet_cluster::machines::{AskError, LinkStatus};
use hafleet_model::FleetName;

use crate::disk::Trouble;
use crate::flaw::Keeping;
use crate::machine::Machine;
use crate::network::Network;
use crate::node::{Effect, Run, Setting, address, node_id};
use crate::packet::{Packet, ZoneReply, ZoneRequest};
use crate::plan::{Action, Millis, Plan, Weather};
use crate::publication::NAME;
use crate::rng::Rng;
use crate::witness::{Violation, Witness};
use crate::zone::Zone;

/// How often a node looks without being woken. The agent does so four times in an interval of gossip; twice is enough
/// for the rules, and faster to simulate.
const TICK: Millis = 500;
const GOSSIP_INTERVAL: Millis = 1_000;
/// How many peers a node gossips with at a time.
const FAN_OUT: usize = 3;
/// How long a connection may carry nothing before it counts as broken.
const KEEP_ALIVE: Millis = 3_000;
/// How long a node that is to start waits, at most, after something ended it.
const RESTART: Millis = 1_000;
/// How long a publisher rests between rounds.
const PUBLISH: Millis = 3_000;

#[derive(Debug)]
enum Event {
    Act(usize),
    Tick(usize, u64),
    Gossip(usize, u64),
    Publish(usize, u64),
    Look(usize, u64),
    Arrive {
        from: usize,
        to: usize,
        packet: Packet,
    },
    /// The peer's machine says that nothing listens there.
    Reset(usize, u64),
    Expire(usize, u64, u64),
    ZoneAsked {
        node: usize,
        epoch: u64,
        call: u64,
        request: ZoneRequest,
    },
    ZoneAnswered {
        node: usize,
        epoch: u64,
        call: u64,
        reply: ZoneReply,
    },
    Calm,
    Start(usize),
}

/// What a simulation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The first broken invariant.
    pub violation: Option<Violation>,
    /// How many events there were.
    pub events: u64,
    /// How many writes clients were told of, and how many of them as committed.
    pub acknowledged: (usize, usize),
    /// Of everything that happened, in order: two simulations with the same one were the same.
    pub digest: u64,
    /// What happened, in words, if that was asked for.
    pub trace: Vec<String>,
}

/// Lets `plan` take place. With `is_traced` the report tells what happened.
pub fn run(plan: &Plan, is_traced: bool) -> Report {
    let mut world = World::new(plan, is_traced);
    let violation = world.run().err();
    Report {
        violation,
        events: world.events,
        acknowledged: world.witness.acknowledged(),
        digest: world.digest,
        trace: world.trace,
    }
}

struct World<'p> {
    plan: &'p Plan,
    begun: Instant,
    now: Arc<AtomicU64>,
    queue: BTreeMap<(Millis, u64), Event>,
    sequence: u64,
    machines: Vec<Machine>,
    network: Network,
    zone: Zone,
    witness: Witness,
    rng: Rng,
    fleet: Option<FleetName>,
    epochs: u64,
    writes: u64,
    events: u64,
    digest: u64,
    is_traced: bool,
    trace: Vec<String>,
}

type Step = Result<(), Violation>;

impl<'p> World<'p> {
    fn new(plan: &'p Plan, is_traced: bool) -> Self {
        let mut rng = Rng::new(plan.seed ^ 0x5eed);
        Self {
            plan,
            begun: Instant::now(),
            now: Arc::default(),
            queue: BTreeMap::new(),
            sequence: 0,
            machines: (0..plan.nodes)
                .map(|_| Machine::new(plan.has_real_store, Keeping(plan.flaw).lie()))
                .collect(),
            network: Network::new(rng.split()),
            zone: Zone::default(),
            witness: Witness::new(plan.has_force()),
            rng,
            fleet: FleetName::new("shop").ok(),
            epochs: 0,
            writes: 0,
            events: 0,
            digest: 0xcbf2_9ce4_8422_2325,
            is_traced,
            trace: Vec::new(),
        }
    }

    fn now(&self) -> Millis {
        self.now.load(Ordering::Relaxed)
    }

    fn at(&mut self, at: Millis, event: Event) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), event);
    }

    fn after(&mut self, millis: Millis, event: Event) {
        self.at(self.now() + millis, event);
    }

    fn tell(&mut self, words: impl FnOnce() -> String) {
        if self.is_traced {
            let (now, words) = (self.now(), words());
            self.trace
                .push(format!("{:>3}.{:03} {words}", now / 1000, now % 1000));
        }
    }

    /// Takes something into the digest (FNV-1a).
    fn mix(&mut self, number: u64) {
        for byte in number.to_le_bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn broken(&self, (invariant, what): (&'static str, String)) -> Violation {
        Violation {
            invariant,
            at: self.now(),
            what,
        }
    }

    fn run(&mut self) -> Step {
        for node in 0..self.plan.nodes {
            let at = self.rng.between(0, 300);
            self.at(at, Event::Start(node));
        }
        for (index, (at, _)) in self.plan.actions.iter().enumerate() {
            self.at(*at, Event::Act(index));
        }
        self.at(self.plan.calm_from, Event::Calm);
        while let Some(((at, sequence), event)) = self.queue.pop_first() {
            if at > self.plan.ends {
                break;
            }
            self.now.store(at, Ordering::Relaxed);
            self.events += 1;
            self.mix(at);
            self.mix(sequence);
            self.take(event)?;
        }
        let runs: Vec<_> = self
            .machines
            .iter()
            .filter_map(|machine| machine.run.as_ref())
            .collect();
        if runs.len() != self.plan.nodes {
            let up = runs.len();
            return Err(self.broken(("I2", format!("{up} nodes are up at the end"))));
        }
        self.witness.ended(&runs).map_err(|seen| self.broken(seen))
    }

    fn take(&mut self, event: Event) -> Step {
        if let Some(node) = on_node(&event) {
            let until = self.machines[node].stalled_until;
            if until > self.now() {
                self.at(until, event);
                return Ok(());
            }
        }
        let now = self.now();
        match event {
            Event::Act(index) => return self.act(index),
            Event::Calm => self.calm(),
            Event::Start(node) => return self.start(node),
            Event::Tick(node, epoch) => {
                if self.is_run(node, epoch) {
                    self.keep_links(node);
                    self.after(TICK, Event::Tick(node, epoch));
                    return self.step(node, |run| run.look(now));
                }
            }
            Event::Look(node, epoch) => {
                if self.is_run(node, epoch) {
                    return self.step(node, |run| {
                        run.is_look_due = false;
                        run.look(now);
                    });
                }
            }
            Event::Gossip(node, epoch) => {
                if self.is_run(node, epoch) {
                    self.after(GOSSIP_INTERVAL, Event::Gossip(node, epoch));
                    return self.gossip(node);
                }
            }
            Event::Publish(node, epoch) => {
                if self.is_run(node, epoch) {
                    let rest = self.rng.between(PUBLISH / 2, PUBLISH);
                    self.after(rest, Event::Publish(node, epoch));
                    return self.step(node, Run::publish);
                }
            }
            Event::Expire(node, epoch, call) => {
                if self.is_run(node, epoch) {
                    return self.step(node, |run| run.expire(call));
                }
            }
            Event::Reset(node, call) => {
                let reset = || Err(AskError::Failed("connection refused".to_owned()));
                return self.step(node, |run| run.reply(call, reset()));
            }
            Event::Arrive { from, to, packet } => return self.arrive(from, to, packet),
            Event::ZoneAsked {
                node,
                epoch,
                call,
                request,
            } => return self.ask_zone(node, epoch, call, request),
            Event::ZoneAnswered {
                node,
                epoch,
                call,
                reply,
            } => {
                if self.is_run(node, epoch) {
                    let down = self.down();
                    let nonce = self.rng.draw();
                    return self.step(node, |run| {
                        run.zone_answered(call, &reply, &down, now, nonce);
                    });
                }
            }
        }
        Ok(())
    }

    fn is_run(&self, node: usize, epoch: u64) -> bool {
        let run = self.machines[node].run.as_ref();
        run.is_some_and(|run| run.epoch() == epoch)
    }

    /// The nodes whose listeners do not answer.
    fn down(&self) -> BTreeSet<usize> {
        let machines = self.machines.iter().enumerate();
        let down = machines.filter(|(_, machine)| machine.run.is_none());
        down.map(|(node, _)| node).collect()
    }

    /// Lets a node do something, and carries out what it wants. What it did in the moment in which its power failed is
    /// not heard of by anybody.
    fn step(&mut self, node: usize, action: impl FnOnce(&mut Run)) -> Step {
        let Some(mut run) = self.machines[node].run.take() else {
            return Ok(());
        };
        action(&mut run);
        let effects = std::mem::take(&mut run.effects);
        if self.machines[node].is_dead() {
            self.tell(|| format!("n{node} loses power while it writes"));
            self.lose_power(node);
            return Ok(());
        }
        self.witness
            .stepped(node, &run)
            .map_err(|seen| self.broken(seen))?;
        let result = self.carry_out(node, &mut run, effects);
        self.machines[node].run = Some(run);
        result
    }

    fn carry_out(&mut self, node: usize, run: &mut Run, effects: Vec<Effect>) -> Step {
        let epoch = run.epoch();
        for effect in effects {
            match effect {
                Effect::Send { to, packet } => self.send(node, to, &packet),
                Effect::Expire { call, after } => {
                    self.after(after, Event::Expire(node, epoch, call));
                }
                Effect::Zone { call, request } => {
                    if self.machines[node].reaches_route53 {
                        let after = self.rng.between(20, 400);
                        let asked = Event::ZoneAsked {
                            node,
                            epoch,
                            call,
                            request,
                        };
                        self.after(after, asked);
                    }
                }
                Effect::Look => {
                    if !run.is_look_due {
                        run.is_look_due = true;
                        self.after(2, Event::Look(node, epoch));
                    }
                }
                Effect::Changed => {
                    self.witness
                        .documents(node, run)
                        .map_err(|seen| self.broken(seen))?;
                }
                Effect::Written { id, result } => match result {
                    Ok(written) => {
                        self.tell(|| {
                            let stamp = written.header.stamp;
                            let committed = if written.committed {
                                "committed"
                            } else {
                                "stored"
                            };
                            let mut by = String::new();
                            for id in &written.stored_by {
                                let _ = write!(by, " {id}");
                            }
                            format!("write {id} is {committed} as {stamp} by{by}")
                        });
                        self.mix(written.header.stamp.revision.sequence);
                        self.witness
                            .written(id, node, run, &written)
                            .map_err(|seen| self.broken(seen))?;
                    }
                    Err(error) => self.tell(|| format!("write {id} is refused: {error}")),
                },
                Effect::Note(words) => self.tell(|| format!("n{node} {words}")),
            }
        }
        Ok(())
    }

    fn send(&mut self, from: usize, to: usize, packet: &Packet) {
        if to >= self.plan.nodes || from == to {
            return;
        }
        let is_up = self.machines[to].run.is_some();
        for delay in self.network.deliveries(from, to) {
            match packet {
                // A machine that is up answers for a port on which nothing listens.
                Packet::Request { call, .. } if !is_up && self.network.reaches(to, from) => {
                    self.after(delay * 2, Event::Reset(from, *call));
                }
                _ => {
                    let packet = packet.clone();
                    self.after(delay, Event::Arrive { from, to, packet });
                }
            }
        }
    }

    fn arrive(&mut self, from: usize, to: usize, packet: Packet) -> Step {
        let now = self.now();
        match packet {
            Packet::Gossip { entries, is_answer } => {
                let mut later_run = None;
                self.step(to, |run| {
                    let merged = run.gossip.merge(&entries, now);
                    later_run = merged.later_run;
                    if merged.is_news {
                        run.effects.push(Effect::Look);
                    }
                    if !is_answer {
                        let packet = Packet::Gossip {
                            entries: run.gossip.entries(),
                            is_answer: true,
                        };
                        run.effects.push(Effect::Send { to: from, packet });
                    }
                })?;
                match later_run {
                    Some(found) => {
                        let what = format!("n{to} hears of a later run {found} of itself");
                        Err(self.broken(("I5", what)))
                    }
                    None => Ok(()),
                }
            }
            Packet::Request { call, request } => {
                self.step(to, |run| run.answer(from, call, request))
            }
            Packet::Reply { call, reply } => self.step(to, |run| run.reply(call, reply)),
        }
    }

    fn gossip(&mut self, node: usize) -> Step {
        let Some(run) = self.machines[node].run.as_mut() else {
            return Ok(());
        };
        run.gossip.beat();
        let entries = run.gossip.entries();
        // Those that are connected and not heard of are introduced; seeds are connected from the start.
        let mut peers: Vec<_> = (0..self.plan.nodes.min(3))
            .chain(run.gossip.peers())
            .filter(|peer| *peer != node)
            .collect();
        peers.sort_unstable();
        peers.dedup();
        for _ in 0..FAN_OUT.min(peers.len()) {
            let index = self.rng.index(peers.len());
            let to = peers.swap_remove(index);
            let packet = Packet::Gossip {
                entries: entries.clone(),
                is_answer: false,
            };
            self.send(node, to, &packet);
        }
        Ok(())
    }

    /// What the connections of a node have come to.
    fn keep_links(&mut self, node: usize) {
        let now = self.now();
        let begun = self.begun;
        let instant = |at: Millis| begun + Duration::from_millis(at);
        let states: Vec<_> = (0..self.plan.nodes)
            .filter(|peer| *peer != node)
            .map(|peer| {
                let machine = &self.machines[peer];
                let carries = self.network.carries(node, peer);
                let answers = machine.stalled_until <= now;
                (peer, machine.run.is_some(), carries, answers)
            })
            .collect();
        let Some(run) = self.machines[node].run.as_mut() else {
            return;
        };
        for (peer, is_up, carries, answers) in states {
            let connecting = || LinkStatus::new(LinkState::Connecting, None);
            let link = run.links.entry(address(peer)).or_insert_with(connecting);
            link.state = match (&link.state, is_up, carries, answers) {
                (LinkState::Refused { since }, false, true, _) => {
                    LinkState::Refused { since: *since }
                }
                (_, false, true, _) => LinkState::Refused {
                    since: instant(now),
                },
                (_, true, true, true) => {
                    link.peer = node_id(peer);
                    LinkState::Connected
                }
                (LinkState::Unreachable { since, reason }, ..) => LinkState::Unreachable {
                    since: *since,
                    reason: reason.clone(),
                },
                // A connection that carries nothing breaks when its keep-alive is not answered.
                (LinkState::Connected, ..) if self.rng.happens(100 - 100 * TICK / KEEP_ALIVE) => {
                    LinkState::Connected
                }
                _ => LinkState::Unreachable {
                    since: instant(now),
                    reason: "no answer".to_owned(),
                },
            };
        }
    }

    fn start(&mut self, node: usize) -> Step {
        if self.machines[node].run.is_some() {
            return Ok(());
        }
        let Some(fleet) = self.fleet.clone() else {
            return Ok(());
        };
        let mut rng = self.rng.split();
        if self.machines[node].is_dead() {
            self.machines[node].revive(&mut rng);
        }
        self.epochs += 1;
        let setting = Setting {
            index: node,
            nodes: self.plan.nodes,
            fleet,
            clock: self.machines[node].clock(self.begun, &self.now),
            detection: rng.between(4_500, 7_000),
            epoch: self.epochs,
            keeping: Keeping(self.plan.flaw),
            is_traced: self.is_traced,
        };
        let opened = self.machines[node].open();
        let started = opened.and_then(|storage| Run::start(setting, &storage));
        match started {
            Ok(Some(run)) => {
                let generation = run.generation;
                self.tell(|| format!("n{node} is up, generation {generation}"));
                self.witness
                    .started(node, &run)
                    .map_err(|seen| self.broken(seen))?;
                let epoch = run.epoch();
                self.machines[node].run = Some(run);
                for event in [
                    Event::Tick(node, epoch),
                    Event::Gossip(node, epoch),
                    Event::Publish(node, epoch),
                ] {
                    let after = rng.between(1, TICK);
                    self.after(after, event);
                }
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) if self.machines[node].is_full || self.machines[node].is_dead() => {
                self.tell(|| format!("n{node} cannot start: {error}"));
                self.after(RESTART, Event::Start(node));
                Ok(())
            }
            Err(error) => {
                let what = format!("n{node} cannot start after a loss of power: {error}");
                Err(self.broken(("store", what)))
            }
        }
    }

    fn lose_power(&mut self, node: usize) {
        self.machines[node].lose_power();
    }

    fn act(&mut self, index: usize) -> Step {
        let Some((_, action)) = self.plan.actions.get(index) else {
            return Ok(());
        };
        self.tell(|| format!("-- {action}"));
        self.network.act(action);
        match action {
            Action::Cut { .. } | Action::Mend | Action::Weather(_) => {}
            Action::Write {
                node,
                kind,
                is_forced,
            } => {
                let taken = self.machines[*node].run.as_ref().and_then(Run::leader);
                let to = taken.unwrap_or(*node);
                if to != *node && !self.network.carries(*node, to) {
                    return Ok(());
                }
                self.writes += 1;
                let id = self.writes;
                self.tell(|| format!("write {id} goes to n{to}"));
                self.witness.begin(id);
                if self.machines[to].stalled_until > self.now() {
                    return Ok(());
                }
                let body = format!("body {id}");
                return self.step(to, |run| run.begin_write(id, *kind, body, *is_forced));
            }
            Action::PowerLoss { node, write: 0, .. } => self.lose_power(*node),
            Action::PowerLoss {
                node,
                write,
                is_kept,
            } => self.machines[*node].set_trouble(Trouble {
                power_fails_in: Some(*write),
                is_last_kept: *is_kept,
                is_full: false,
            }),
            Action::Start { node } => return self.start(*node),
            Action::Leave { node } => {
                self.step(*node, Run::leave)?;
                self.machines[*node].run = None;
            }
            Action::Stall { node, millis } => {
                let until = self.now() + millis;
                self.machines[*node].stalled_until = until;
            }
            Action::SetClock { node, by_ms } => self.machines[*node].set_clock(*by_ms),
            Action::FillDisk { node, is_full } => {
                self.machines[*node].is_full = *is_full;
                self.machines[*node].set_trouble(Trouble::default());
            }
            Action::CutRoute53 { node, is_cut } => {
                self.machines[*node].reaches_route53 = !is_cut;
            }
        }
        Ok(())
    }

    /// Nothing goes wrong from now on.
    fn calm(&mut self) {
        self.tell(|| "-- nothing goes wrong from now on".to_owned());
        self.network.act(&Action::Mend);
        self.network.act(&Action::Weather(Weather::FAIR));
        for node in 0..self.plan.nodes {
            let machine = &mut self.machines[node];
            machine.is_full = false;
            machine.reaches_route53 = true;
            machine.stalled_until = 0;
            if !machine.is_dead() {
                machine.set_trouble(Trouble::default());
            }
            self.after(1, Event::Start(node));
        }
    }

    fn ask_zone(&mut self, node: usize, epoch: u64, call: u64, request: ZoneRequest) -> Step {
        let reply = match request {
            ZoneRequest::Read => ZoneReply::Records(self.zone.records()),
            ZoneRequest::Change(batch) => {
                let is_applied = self.zone.apply(NAME, &batch, self.now());
                self.tell(|| {
                    let words = if is_applied { "takes" } else { "refuses" };
                    format!("Route53 {words} the batch of n{node}")
                });
                ZoneReply::Changed
            }
        };
        if let Some(wrong) = self.zone.take_wrong() {
            let invariant = if wrong.starts_with("I8") { "I8" } else { "I9" };
            return Err(self.broken((invariant, wrong)));
        }
        let is_heard = self.machines[node].reaches_route53 && !self.rng.happens(10);
        if is_heard {
            let after = self.rng.between(20, 400);
            let answered = Event::ZoneAnswered {
                node,
                epoch,
                call,
                reply,
            };
            self.after(after, answered);
        }
        Ok(())
    }
}

/// The node that has to be awake for an event.
fn on_node(event: &Event) -> Option<usize> {
    match event {
        Event::Tick(node, _)
        | Event::Gossip(node, _)
        | Event::Publish(node, _)
        | Event::Look(node, _)
        | Event::Reset(node, _)
        | Event::Expire(node, ..)
        | Event::ZoneAnswered { node, .. }
        | Event::Arrive { to: node, .. } => Some(*node),
        Event::Act(_) | Event::Calm | Event::Start(_) | Event::ZoneAsked { .. } => None,
    }
}
