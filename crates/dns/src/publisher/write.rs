//! Writing behind the fence: batches, what becomes of them, and whose fault it is when one is not taken.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use hafleet_model::FleetName;
use tokio::time::Instant;

use super::decide::{Act, Decision};
use super::keeper::ZoneKeeper;
use super::scene::Scene;
use crate::fence::Ownership;
use crate::lease::Claimant;
use crate::plan::{self, NameChanges, Present};
use crate::provider::{Change, ChangeId, ProviderError};
use crate::record::RecordSet;

/// For how long a name whose records are not taken is left alone while it wants the same ones.
const REFUSED_FOR: Duration = Duration::from_secs(300);

/// What is to be written at one name.
#[derive(Debug, Clone)]
pub(super) struct Writing {
    pub(super) name: String,
    pub(super) present: Present,
    /// What should be there; none: the name is given up.
    pub(super) wanted: Option<Vec<RecordSet>>,
    pub(super) changes: Vec<Change>,
    /// Whether the records are as wanted after it. They are not where changes are held back.
    makes_wanted: bool,
    was_retried: bool,
}

/// One try: a writing with the successor that was drawn for it.
struct Try {
    changes: NameChanges,
    next: Option<Ownership>,
}

impl Writing {
    pub(super) fn of(decision: &Decision) -> Option<Self> {
        let (wanted, changes) = match &decision.act {
            Act::Rest => return None,
            Act::Write(changes) => (Some(decision.wanted.clone()), changes.clone()),
            Act::Release => (None, Vec::new()),
        };
        let there: BTreeSet<_> = decision.present.sets.iter().collect();
        let is_as_wanted = decision.wanted.iter().collect::<BTreeSet<_>>() == there;
        Some(Self {
            name: decision.name.clone(),
            present: decision.present.clone(),
            makes_wanted: !changes.is_empty() || is_as_wanted,
            wanted,
            changes,
            was_retried: false,
        })
    }

    /// The same after `present` was read anew.
    fn again(&mut self, present: Present, fleet: &FleetName) {
        if !self.changes.is_empty()
            && let Some(wanted) = &self.wanted
            && let Ok(changes) = plan::difference(&self.name, &present, wanted, fleet)
        {
            self.changes = changes;
        }
        self.present = present;
    }
}

impl ZoneKeeper {
    /// Writes in as few batches as the provider allows. A batch that is not taken is read after, since another writer may have
    /// come first; if none did, it is halved until the name is alone that is at fault, so that the others go on.
    pub(super) async fn write(
        &mut self,
        scene: &Scene,
        writings: Vec<Writing>,
    ) -> Result<(), ProviderError> {
        let claimant = &scene.claimant;
        let mut writings: BTreeMap<_, _> = writings
            .into_iter()
            .map(|writing| (writing.name.clone(), writing))
            .collect();
        let mut queue = self.packed(claimant, &mut writings);
        let mut has_looked = false;
        while let Some(mut names) = queue.pop_front() {
            let tries: Vec<_> = names
                .iter()
                .filter_map(|name| writings.get(name))
                .map(|writing| self.try_of(writing, claimant))
                .collect();
            let tries: Vec<_> = tries.into_iter().flatten().collect();
            let Some(why) = self.send(&tries, &writings).await? else {
                continue;
            };
            if has_looked && names.len() > 1 {
                halve(names, &mut queue);
                continue;
            }
            self.read().await?;
            has_looked = true;
            let count = names.len();
            names.retain(|name| self.is_as_before(name, &writings));
            let has_changed = self.look_again(&names, &mut writings, &claimant.fleet);
            if names.len() < count || has_changed {
                self.was_beaten |= names.len() < count;
                queue.push_front(names);
            } else if let [name] = names.as_slice() {
                self.refuse(name, why, &writings);
            } else {
                halve(names, &mut queue);
            }
        }
        Ok(())
    }

    /// Sends one batch. None: it is applied. Some: it is not taken, for that reason.
    async fn send(
        &mut self,
        tries: &[Try],
        writings: &BTreeMap<String, Writing>,
    ) -> Result<Option<String>, ProviderError> {
        let batch: Vec<_> = tries
            .iter()
            .flat_map(|one| one.changes.changes.clone())
            .collect();
        if batch.is_empty() {
            return Ok(None);
        }
        for one in tries {
            let base = writings
                .get(&one.changes.name)
                .and_then(|writing| writing.present.ownership.clone());
            let memory = self.names.entry(one.changes.name.clone()).or_default();
            if let Some(next) = &one.next {
                memory.tries(base, next.clone());
            }
        }
        let sent = Instant::now();
        // Until the answer is here nobody knows what is there, also when nobody waits for it any more.
        let records = self.records.take();
        let answer = self.provider.change(&batch).await;
        match answer {
            Ok(id) => {
                self.records = records.map(|records| after(records, &batch));
                self.accepted(tries, writings, &id, sent);
                Ok(None)
            }
            Err(ProviderError::Rejected { why, .. }) => {
                self.records = records;
                Ok(Some(why))
            }
            Err(error @ ProviderError::Unknown { .. }) => {
                self.read().await?;
                let are_applied = tries.iter().all(|one| self.is_applied(one));
                for one in tries {
                    if !self.is_applied(one) {
                        continue;
                    }
                    let writing = writings.get(&one.changes.name);
                    self.remember(one, writing, None, sent);
                }
                match are_applied {
                    true => Ok(None),
                    false => Err(error),
                }
            }
            Err(error) => {
                self.records = records;
                Err(error)
            }
        }
    }

    fn accepted(
        &mut self,
        tries: &[Try],
        writings: &BTreeMap<String, Writing>,
        id: &ChangeId,
        sent: Instant,
    ) {
        let mut are_records_changed = false;
        for one in tries {
            let writing = writings.get(&one.changes.name);
            are_records_changed |= self.remember(one, writing, Some(id), sent);
        }
        if are_records_changed {
            self.progress.began(id.clone());
        }
    }

    /// Says whether more than ownership changed.
    fn remember(
        &mut self,
        one: &Try,
        writing: Option<&Writing>,
        id: Option<&ChangeId>,
        sent: Instant,
    ) -> bool {
        let memory = self.names.entry(one.changes.name.clone()).or_default();
        let sets = writing
            .filter(|writing| writing.makes_wanted)
            .map(|writing| writing.wanted.clone().unwrap_or_default());
        memory.wrote(one.next.clone(), sets, sent);
        let is_change =
            writing.is_some_and(|writing| !writing.changes.is_empty() || writing.wanted.is_none());
        if is_change {
            memory.changed(id.cloned());
            tracing::info!(
                name = one.changes.name,
                zone = self.provider.zone(),
                "published"
            );
        }
        is_change
    }

    fn is_applied(&self, one: &Try) -> bool {
        let records = self.records.as_deref().unwrap_or_default();
        plan::present(&one.changes.name, records).ownership == one.next
    }

    /// Whether nobody has written the name since it was decided about.
    fn is_as_before(&self, name: &str, writings: &BTreeMap<String, Writing>) -> bool {
        let records = self.records.as_deref().unwrap_or_default();
        let now = plan::present(name, records).ownership_record;
        writings
            .get(name)
            .is_some_and(|writing| writing.present.ownership_record == now)
    }

    /// Takes what was read anew for what is there. Says whether that makes another try worth while.
    fn look_again(
        &self,
        names: &[String],
        writings: &mut BTreeMap<String, Writing>,
        fleet: &FleetName,
    ) -> bool {
        let records = self.records.as_deref().unwrap_or_default();
        let mut has_changed = false;
        for name in names {
            let Some(writing) = writings.get_mut(name) else {
                continue;
            };
            let present = plan::present(name, records);
            let is_other = present.sets != writing.present.sets;
            writing.again(present, fleet);
            has_changed |= is_other && !writing.was_retried;
            writing.was_retried |= is_other;
        }
        has_changed
    }

    fn refuse(&mut self, name: &str, why: String, writings: &BTreeMap<String, Writing>) {
        tracing::warn!(name, why, "not taken; other names go on");
        let until = Instant::now() + REFUSED_FOR;
        let Some(writing) = writings.get(name) else {
            return;
        };
        let wanted = writing.wanted.clone().unwrap_or_default();
        if wanted.iter().any(|set| set.health_check.is_some()) {
            self.doubt_checks();
        }
        let memory = self.names.entry(name.to_owned()).or_default();
        if writing.changes.is_empty() {
            memory.bar(until);
        }
        memory.refuse(wanted, why, until);
    }

    fn packed(
        &mut self,
        claimant: &Claimant,
        writings: &mut BTreeMap<String, Writing>,
    ) -> VecDeque<Vec<String>> {
        let tries: Vec<_> = writings
            .values()
            .map(|writing| self.try_of(writing, claimant))
            .collect();
        let changes = tries.into_iter().flatten().map(|one| one.changes).collect();
        let limits = (self.provider.max_changes(), self.provider.max_characters());
        let (batches, refused) = plan::batches(changes, limits.0, limits.1);
        for refusal in refused {
            if let plan::Refusal::TooMany { name } = &refusal {
                self.refuse(name, refusal.to_string(), writings);
            }
        }
        let names = |batch: Vec<NameChanges>| batch.into_iter().map(|one| one.name).collect();
        batches.into_iter().map(names).collect()
    }

    /// None where records of others came in between.
    fn try_of(&mut self, writing: &Writing, claimant: &Claimant) -> Option<Try> {
        let Some(_) = &writing.wanted else {
            let released = plan::released(&writing.name, &writing.present, &claimant.fleet);
            return released.ok().map(|changes| Try {
                changes,
                next: None,
            });
        };
        let next = self.successor(writing.present.ownership.as_ref(), claimant);
        let changes = writing.changes.clone();
        Some(Try {
            changes: plan::fenced(&writing.name, &writing.present, changes, &next),
            next: Some(next),
        })
    }

    /// What replaces `present`, drawn anew at each call.
    pub(super) fn successor(
        &mut self,
        present: Option<&Ownership>,
        claimant: &Claimant,
    ) -> Ownership {
        let nonce = self.nonce();
        let authority = claimant.authorities.first().cloned();
        match present {
            Some(present) => Ownership {
                authority,
                ..present.successor(claimant.term, &claimant.node, nonce)
            },
            None => Ownership {
                fleet: claimant.fleet.clone(),
                term: claimant.term,
                leader: claimant.node.clone(),
                sequence: 1,
                nonce,
                authority,
            },
        }
    }
}

fn halve(mut names: Vec<String>, queue: &mut VecDeque<Vec<String>>) {
    let second = names.split_off(names.len() / 2);
    queue.push_front(second);
    queue.push_front(names);
}

/// What a zone has after `changes` were made in it.
fn after(records: Vec<RecordSet>, changes: &[Change]) -> Vec<RecordSet> {
    let mut sets: BTreeMap<_, _> = records
        .into_iter()
        .map(|set| (set.key.clone(), set))
        .collect();
    for change in changes {
        let set = change.record();
        match change {
            Change::Delete(_) => sets.remove(&set.key),
            Change::Create(_) | Change::Upsert(_) => sets.insert(set.key.clone(), set.clone()),
        };
    }
    sets.into_values().collect()
}
