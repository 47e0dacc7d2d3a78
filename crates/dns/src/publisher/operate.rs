//! What operators ask for: what would change, names taken over, names given up.

use std::collections::BTreeSet;

use super::decide::Act;
use super::scene::Scene;
use super::status::NamePlan;
use super::{Publisher, ZoneKeeper};
use crate::plan::{self, Present, Refusal};
use crate::provider::{Change, ProviderError};
use crate::record::normal;

/// Why an operator's wish was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperateError {
    /// The spec has no such name, or its zone was not found.
    #[error("{name} is not among the names that the spec publishes, or its zone is not found")]
    NoSuchName {
        /// The name.
        name: String,
    },
    /// Its records are such that nobody but their owner may change them.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Another leader or another fleet has it, or it has been there already.
    #[error("{name}: {why}")]
    NotOurs {
        /// The name.
        name: String,
        /// Who has it.
        why: String,
    },
    /// The provider did not do it. After an answer that was lost it may have.
    #[error(transparent)]
    Provider(#[from] ProviderError),
}

impl Publisher {
    /// What a round would change now. All zones are read; nothing is written.
    ///
    /// # Errors
    /// When a zone cannot be read.
    pub async fn plan(&mut self, scene: &Scene) -> Result<Vec<NamePlan>, ProviderError> {
        let goals = self.prepare(scene).await;
        let is_whole = self.is_whole();
        let nothing = Vec::new();
        let mut plans = Vec::new();
        for (zone, keeper) in &mut self.keepers {
            keeper.read().await?;
            keeper.decide(scene, goals.get(zone).unwrap_or(&nothing), is_whole);
            for decision in &keeper.decisions.names {
                let changes = match &decision.act {
                    Act::Rest => Vec::new(),
                    Act::Write(changes) => changes.clone(),
                    Act::Release => {
                        let sets = decision.present.sets.iter();
                        sets.cloned().map(Change::Delete).collect()
                    }
                };
                plans.push(NamePlan {
                    zone: zone.clone(),
                    name: decision.name.clone(),
                    changes,
                    held_back: decision.held_back.clone(),
                });
            }
        }
        Ok(plans)
    }

    /// Takes over a name whose records somebody else made: they get an ownership record, and the next round makes them be as
    /// wanted. Done in each zone in which the spec has the name.
    ///
    /// # Errors
    /// When the name is not in the spec, belongs to another fleet, or has records that are never touched.
    pub async fn adopt(&mut self, scene: &Scene, name: &str) -> Result<(), OperateError> {
        let name = normal(name);
        let goals = self.prepare(scene).await;
        let mut is_found = false;
        for (zone, keeper) in &mut self.keepers {
            let mut records = goals.get(zone).into_iter().flatten();
            let is_here = records.any(|record| {
                let mut aliases = record.aliases.iter();
                normal(&record.name) == name || aliases.any(|alias| normal(&alias.name) == name)
            });
            if is_here {
                is_found = true;
                keeper.adopt(scene, &name).await?;
            }
        }
        match is_found {
            true => Ok(()),
            false => Err(OperateError::NoSuchName { name }),
        }
    }

    /// Gives names up: their records go, and those of ownership. None named: all that the fleet has in the spec's zones. This
    /// publisher does not publish them again until they are adopted; a later leader does, unless the spec has them no more.
    ///
    /// # Errors
    /// At the first name that could not be given up; those before it are.
    pub async fn release(
        &mut self,
        scene: &Scene,
        names: &[String],
    ) -> Result<Vec<String>, OperateError> {
        self.prepare(scene).await;
        let asked: BTreeSet<_> = names.iter().map(|name| normal(name)).collect();
        let mut released = BTreeSet::new();
        for keeper in self.keepers.values_mut() {
            released.extend(keeper.release(scene, &asked).await?);
        }
        match asked.difference(&released).next() {
            Some(name) => Err(OperateError::NoSuchName { name: name.clone() }),
            None => Ok(released.into_iter().collect()),
        }
    }
}

impl ZoneKeeper {
    async fn adopt(&mut self, scene: &Scene, name: &str) -> Result<(), OperateError> {
        self.given_up.remove(name);
        self.read().await?;
        let records = self.records.as_deref().unwrap_or_default();
        let present = plan::present(name, records);
        if let Some(ownership) = &present.ownership {
            if scene.claimant.owns(ownership) {
                return Ok(());
            }
            return Err(OperateError::NotOurs {
                name: name.to_owned(),
                why: format!(
                    "it belongs to the fleet {}: give it up there with `hafleet dns release`, or remove {}",
                    ownership.fleet,
                    crate::Ownership::record_name(name)
                ),
            });
        }
        let next = self.successor(None, &scene.claimant);
        let as_ours = Present {
            ownership: Some(next.clone()),
            ..present.clone()
        };
        if present.ownership_record.is_some() {
            plan::difference(name, &present, &[], &scene.claimant.fleet)?;
        }
        plan::difference(name, &as_ours, &[], &scene.claimant.fleet)?;
        self.records = None;
        let batch = plan::fenced(name, &present, Vec::new(), &next).changes;
        self.provider.change(&batch).await?;
        Ok(())
    }

    async fn release(
        &mut self,
        scene: &Scene,
        asked: &BTreeSet<String>,
    ) -> Result<Vec<String>, OperateError> {
        let fleet = &scene.claimant.fleet;
        self.read().await?;
        let records = self.records.clone().unwrap_or_default();
        let owned = plan::owned(|found| scene.claimant.owns(found), &records);
        let mut released = Vec::new();
        for name in owned
            .into_iter()
            .filter(|name| asked.is_empty() || asked.contains(name))
        {
            let present = plan::present(&name, &records);
            let holder = present.ownership.as_ref();
            if let Some(holder) = holder.filter(|holder| holder.term > scene.claimant.term) {
                return Err(OperateError::NotOurs {
                    name,
                    why: format!("{} has it in term {}", holder.leader, holder.term.0),
                });
            }
            let batch = plan::released(&name, &present, fleet)?.changes;
            self.records = None;
            self.given_up.insert(name.clone());
            self.provider.change(&batch).await?;
            released.push(name);
        }
        Ok(released)
    }
}
