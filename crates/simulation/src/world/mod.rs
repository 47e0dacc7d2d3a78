//! The world in which a plan takes place: time, machines, network and Route53, one event after the other.

mod fate;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hafleet_cluster::machines::AskError;
use hafleet_model::FleetName;

use crate::flaw::Keeping;
use crate::machine::Machine;
use crate::network::Network;
use crate::node::{Effect, Run};
use crate::packet::{Packet, ZoneReply, ZoneRequest};
use crate::plan::{Millis, Plan};
use crate::publication::NAME;
use crate::rng::Rng;
use crate::witness::{Violation, Witness};
use crate::zone::Zone;

/// How often a node looks without being woken. The agent does so four times in an interval of gossip; twice is enough
/// for the rules, and faster to simulate.
const TICK: Millis = 500;
const GOSSIP_INTERVAL: Millis = 1_000;
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
