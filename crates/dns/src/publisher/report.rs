//! What a round came to, in words for people and values for the loop.

use std::collections::BTreeMap;

use hafleet_model::spec::PublishedName;
use tokio::time::Instant;

use super::before::published_now;
use super::keeper::ZoneKeeper;
use super::memory::NameMemory;
use super::scene::{Place, Scene};
use super::status::{NameStatus, Rival, Round};
use super::{Publisher, decide};
use crate::lease::Lease;
use crate::plan::present;
use crate::record::normal;

impl Publisher {
    pub(super) fn report(
        &self,
        scene: &Scene,
        goals: &BTreeMap<String, Vec<PublishedName>>,
    ) -> Round {
        let now = Instant::now();
        let mut round = Round::default();
        let mut due = Vec::new();
        for (zone, keeper) in &self.keepers {
            let trouble = keeper.pause.until().map(|(_, error)| error.clone());
            let paused = trouble.as_ref().map(ToString::to_string);
            round
                .troubles
                .extend(trouble.map(|error| (zone.clone(), error)));
            let names = keeper.names_of(scene, zone);
            let unread = goals.get(zone).into_iter().flatten();
            let unread = unread
                .filter(|record| !names.iter().any(|name| name.name == normal(&record.name)))
                .map(|record| unknown(zone, record));
            let all = names.iter().cloned().chain(unread).collect::<Vec<_>>();
            for mut name in all {
                name.held_back.extend(paused.clone());
                round.names.push(name);
            }
            round.rival = round
                .rival
                .into_iter()
                .chain(keeper.rival())
                .max_by_key(|rival| rival.term);
            due.push(keeper.due(scene));
        }
        for known in self.places.iter().filter(|known| known.zone.is_none()) {
            let trouble = known.pause.until().map(|(_, error)| error.clone());
            let why = trouble.as_ref().map(ToString::to_string);
            let zone = &known.place.zone;
            round
                .troubles
                .extend(trouble.map(|error| (zone.clone(), error)));
            let records = scene.publication.records.iter();
            for record in records.filter(|record| Place::of(record) == known.place) {
                let mut name = unknown(&record.zone, record);
                name.held_back.extend(why.clone());
                round.names.push(name);
            }
            due.extend(known.pause.until().map(|(at, _)| at));
        }
        let idle = scene.publication.lease_ttl.duration();
        round.next = due
            .into_iter()
            .map(|at| at.saturating_duration_since(now))
            .min()
            .map_or(idle, |next| next.min(idle));
        round
    }
}

/// Of a name that was not looked at yet.
fn unknown(zone: &str, record: &PublishedName) -> NameStatus {
    NameStatus {
        zone: zone.to_owned(),
        name: normal(&record.name),
        wanted: Vec::new(),
        published: Vec::new(),
        nodes: Default::default(),
        last_change: None,
        holder: None,
        held_back: Vec::new(),
    }
}

impl ZoneKeeper {
    fn names_of(&self, scene: &Scene, zone: &str) -> Vec<NameStatus> {
        let status = |decision: &decide::Decision| {
            let present = match &self.records {
                Some(records) => present(&decision.name, records),
                None => decision.present.clone(),
            };
            let memory = self.names.get(&decision.name);
            NameStatus {
                zone: zone.to_owned(),
                name: decision.name.clone(),
                wanted: decision.wanted.clone(),
                nodes: published_now(&present.sets, &scene.claimant.fleet, &scene.nodes),
                published: present.sets,
                last_change: memory.and_then(NameMemory::last_change),
                holder: present.ownership,
                held_back: decision.held_back.clone(),
            }
        };
        self.decisions.names.iter().map(status).collect()
    }

    /// The leader of the highest term that stops this one.
    fn rival(&self) -> Option<Rival> {
        let rivals = self.decisions.names.iter().filter_map(|decision| {
            let (term, leader) = match (&decision.lease, &decision.present.ownership) {
                (Lease::Superseded { term, leader }, _) => (*term, leader),
                (Lease::Tied { leader }, Some(ownership)) => (ownership.term, leader),
                _ => return None,
            };
            Some(Rival {
                term,
                leader: leader.clone(),
            })
        });
        rivals.max_by_key(|rival| rival.term)
    }
}
