//! What is to be done at each name of a zone. Pure but for the time, which comes in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hafleet_model::spec::{Drift, PublishedName};
use tokio::time::Instant;

use super::before::{checks_now, published_now};
use super::memory::NameMemory;
use super::scene::Scene;
use crate::checks::{CheckKey, WantedCheck, checks_of, wanted_checks};
use crate::fence::Ownership;
use crate::lease::{Lease, lease};
use crate::plan::{self, Present};
use crate::provider::Change;
use crate::record::{RecordData, RecordSet};
use crate::service::service;
use crate::wanted::{HealthChecks, wanted};

/// What the decisions about one zone rest on.
pub(super) struct Facts<'a> {
    pub(super) scene: &'a Scene,
    /// The names of the spec that are in this zone.
    pub(super) goals: &'a [PublishedName],
    /// Whether names that the spec has not may be given up: not while zones of it are not found.
    pub(super) are_goals_whole: bool,
    /// What the provider calls the zone.
    pub(super) zone: &'a str,
    pub(super) records: &'a [RecordSet],
    /// The fleet's ownership of the highest term in the zone.
    pub(super) highest: Option<&'a Ownership>,
    pub(super) names: &'a BTreeMap<String, NameMemory>,
    /// Names that were given up by hand.
    pub(super) given_up: &'a BTreeSet<String>,
    /// The health checks that are there; none if that could not be learned.
    pub(super) checks: Option<&'a BTreeMap<CheckKey, String>>,
    pub(super) now: Instant,
}

/// What is to be done at one name.
#[derive(Debug, Clone)]
pub(super) struct Decision {
    pub(super) name: String,
    pub(super) present: Present,
    pub(super) lease: Lease,
    pub(super) wanted: Vec<RecordSet>,
    pub(super) act: Act,
    pub(super) held_back: Vec<String>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Nothing.
    Rest,
    /// These changes, if any, behind a new ownership record.
    Write(Vec<Change>),
    /// The name's sets go, and its ownership record.
    Release,
}

/// All that is to be done in a zone.
#[derive(Debug, Clone, Default)]
pub(super) struct Decisions {
    pub(super) names: Vec<Decision>,
    /// The health checks of the names that this leader may write.
    pub(super) checks: Vec<WantedCheck>,
}

/// How long after the own last write the ownership record is written anew, so that who watches it sees that somebody lives.
pub(super) fn renewal(lease_ttl: Duration) -> Duration {
    lease_ttl * 2 / 3
}

impl Facts<'_> {
    pub(super) fn decide(&self) -> Decisions {
        let mut all = Decisions::default();
        let mut known = BTreeSet::new();
        for published in self.goals {
            self.goal(published, &mut all);
        }
        known.extend(all.names.iter().map(|decision| decision.name.clone()));
        if self.are_goals_whole {
            let owned = plan::owned(|found| self.scene.claimant.owns(found), self.records);
            let gone = owned.into_iter().filter(|name| !known.contains(name));
            all.names.extend(gone.map(|name| self.gone(name)));
        }
        all
    }

    fn goal(&self, published: &PublishedName, all: &mut Decisions) {
        let Scene {
            claimant, nodes, ..
        } = self.scene;
        let fleet = &claimant.fleet;
        let main = plan::present(&published.name, self.records);
        let mut before = published_now(&main.sets, fleet, nodes);
        if before.is_empty()
            && let Some(sets) = self.memory(&published.name).sets()
        {
            before = published_now(sets, fleet, nodes);
        }
        let service = service(nodes, &before, published.min_published);
        let checks = match (self.checks, &published.health_check) {
            (_, None) => HealthChecks::default(),
            (Some(ids), Some(_)) => checks_of(&published.name, ids),
            (None, Some(_)) => checks_now(&main.sets, fleet),
        };
        let main_name = crate::record::normal(&published.name);
        for (name, mut sets) in wanted(published, fleet, nodes, &service, &checks) {
            if self.given_up.contains(&name) {
                continue;
            }
            for set in &mut sets {
                if let RecordData::Alias { zone, .. } = &mut set.data {
                    self.zone.clone_into(zone);
                }
            }
            let mut decision = self.name(&name, sets);
            if name == main_name {
                decision.held_back.extend(service.held_back.clone());
                if decision.lease.may_write() {
                    all.checks.extend(wanted_checks(published, nodes, &service));
                }
            }
            all.names.push(decision);
        }
    }

    /// A name that the spec has.
    fn name(&self, name: &str, wanted: Vec<RecordSet>) -> Decision {
        let memory = self.memory(name);
        let present = plan::present(name, self.records);
        let lease = self.lease(&present, memory);
        let mut held_back: Vec<_> = why_not(&lease).into_iter().collect();
        let has_vanished = present.ownership_record.is_none() && memory.was_ours();
        let may_write = lease.may_write() && (self.scene.claimant.has_majority || !has_vanished);
        if lease.may_write() && !may_write {
            held_back.push(
                "its ownership record is gone, and only a leader with a majority makes another"
                    .to_owned(),
            );
        }
        let difference = plan::difference(name, &present, &wanted, &self.scene.claimant.fleet);
        let changes = match difference {
            Ok(changes) if !wanted.is_empty() => changes,
            Ok(_) => {
                held_back.push(match present.sets.is_empty() {
                    true => "no node in service has such an address yet".to_owned(),
                    false => {
                        "no node in service has such an address: what is published stays".to_owned()
                    }
                });
                Vec::new()
            }
            // The lease of what is ours is kept all the same.
            Err(refusal) => {
                held_back.push(refusal.to_string());
                Vec::new()
            }
        };
        let changes = self.unless_refused(memory, &wanted, changes, &mut held_back);
        let changes = self.unless_drift(memory, &present, &wanted, changes, &mut held_back);
        let is_due = match lease {
            Lease::Held => !changes.is_empty() || self.is_renewal_due(memory),
            Lease::Take => true,
            _ => !changes.is_empty(),
        };
        Decision {
            name: name.to_owned(),
            present,
            lease,
            wanted,
            act: match may_write && is_due && !memory.is_barred(self.now) {
                true => Act::Write(changes),
                false => Act::Rest,
            },
            held_back,
        }
    }

    /// A name that is ours, and that the spec has no more or that was given up.
    fn gone(&self, name: String) -> Decision {
        let present = plan::present(&name, self.records);
        let lease = self.lease(&present, self.memory(&name));
        let mut held_back: Vec<_> = why_not(&lease).into_iter().collect();
        let fleet = &self.scene.claimant.fleet;
        let is_clean = match plan::released(&name, &present, fleet) {
            Ok(_) => true,
            Err(refusal) => {
                held_back.push(refusal.to_string());
                false
            }
        };
        let refusal = self.memory(&name).refusal(&[], self.now);
        held_back.extend(refusal.map(not_taken));
        let act = match is_clean && refusal.is_none() && lease.may_write() {
            true => Act::Release,
            false => Act::Rest,
        };
        Decision {
            name,
            present,
            lease,
            wanted: Vec::new(),
            act,
            held_back,
        }
    }

    fn unless_refused(
        &self,
        memory: &NameMemory,
        wanted: &[RecordSet],
        changes: Vec<Change>,
        held_back: &mut Vec<String>,
    ) -> Vec<Change> {
        match memory.refusal(wanted, self.now) {
            Some(why) if !changes.is_empty() => {
                held_back.push(not_taken(why));
                Vec::new()
            }
            _ => changes,
        }
    }

    /// Where the spec wants drift to be shown only, it is left until something else is wanted.
    fn unless_drift(
        &self,
        memory: &NameMemory,
        present: &Present,
        wanted: &[RecordSet],
        changes: Vec<Change>,
        held_back: &mut Vec<String>,
    ) -> Vec<Change> {
        let is_as_written = |sets: &[RecordSet]| {
            let there: BTreeSet<_> = present.sets.iter().collect();
            sets.iter().collect::<BTreeSet<_>>() == there
        };
        let is_drift = !changes.is_empty()
            && memory.is_ours(present.ownership.as_ref())
            && memory
                .sets()
                .is_some_and(|sets| sets == wanted && !is_as_written(sets));
        if !is_drift {
            return changes;
        }
        let is_left = self.scene.publication.drift == Drift::Report;
        held_back.push(format!(
            "somebody else changed its records: {}",
            match is_left {
                true => "they are left so, since `drift` is report",
                false => "they are put right",
            }
        ));
        match is_left {
            true => Vec::new(),
            false => changes,
        }
    }

    fn is_renewal_due(&self, memory: &NameMemory) -> bool {
        let renewal = renewal(self.scene.publication.lease_ttl.duration());
        memory
            .written()
            .is_none_or(|written| self.now.saturating_duration_since(written) >= renewal)
    }

    /// A leader that was superseded at one name of a zone is so at all of them: also at those that its successor has not come to
    /// yet, or has given up.
    fn lease(&self, present: &Present, memory: &NameMemory) -> Lease {
        let claimant = &self.scene.claimant;
        let lease = lease(
            claimant,
            present.ownership.as_ref(),
            memory.unchanged(),
            self.scene.publication.lease_ttl.duration(),
        );
        match self.highest {
            Some(highest) if lease.may_write() && highest.term > claimant.term => {
                Lease::Superseded {
                    term: highest.term,
                    leader: highest.leader.clone(),
                }
            }
            _ => lease,
        }
    }

    fn memory(&self, name: &str) -> &NameMemory {
        static NOTHING: NameMemory = NameMemory::NOTHING;
        let name = crate::record::normal(name);
        self.names.get(&name).unwrap_or(&NOTHING)
    }
}

fn not_taken(why: &str) -> String {
    format!("the provider does not take it: {why}")
}

/// Why a leader with that lease writes nothing.
fn why_not(lease: &Lease) -> Option<String> {
    match lease {
        Lease::Held | Lease::Free | Lease::Take => None,
        Lease::Wait(wait) => Some(format!(
            "another leader wrote it last, and this one has no majority: it may take the name when nobody has written for {} s more",
            wait.as_secs()
        )),
        Lease::Tied { leader } => Some(format!(
            "{leader} writes it in the same term: one of the two has to claim a higher one"
        )),
        Lease::Superseded { term, leader } => Some(format!(
            "{leader} publishes in term {}, which is higher than the own",
            term.0
        )),
        Lease::Foreign { fleet } => Some(format!(
            "it belongs to the fleet {fleet}, which is another one: `hafleet dns release` there gives it up"
        )),
    }
}
