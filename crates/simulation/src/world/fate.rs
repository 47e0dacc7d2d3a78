//! What befalls machines: starts, losses of power, and all that a plan has for them.

use super::{Event, RESTART, Step, TICK, World};
use crate::disk::Trouble;
use crate::flaw::Keeping;
use crate::node::{Run, Setting};
use crate::plan::{Action, Weather};

impl World<'_> {
    pub(super) fn start(&mut self, node: usize) -> Step {
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

    pub(super) fn lose_power(&mut self, node: usize) {
        self.machines[node].lose_power();
    }

    pub(super) fn act(&mut self, index: usize) -> Step {
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
    pub(super) fn calm(&mut self) {
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
}
