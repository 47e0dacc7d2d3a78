//! What nodes send each other, and who is connected to whom.

use std::time::Duration;

use hafleet_cluster::LinkState;
use hafleet_cluster::machines::LinkStatus;

use super::{Event, Step, TICK, World};
use crate::node::{Effect, address, node_id};
use crate::packet::Packet;
use crate::plan::Millis;

/// How many peers a node gossips with at a time.
const FAN_OUT: usize = 3;
/// How long a connection may carry nothing before it counts as broken.
const KEEP_ALIVE: Millis = 3_000;

impl World<'_> {
    pub(super) fn send(&mut self, from: usize, to: usize, packet: &Packet) {
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

    pub(super) fn arrive(&mut self, from: usize, to: usize, packet: Packet) -> Step {
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

    pub(super) fn gossip(&mut self, node: usize) -> Step {
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
    pub(super) fn keep_links(&mut self, node: usize) {
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
}
