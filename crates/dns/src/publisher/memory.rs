//! What a leader remembers of one name between rounds: the fence as it saw it, and what it wrote itself.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::status::LastChange;
use crate::fence::Ownership;
use crate::provider::{ChangeId, ChangeStatus};
use crate::record::RecordSet;

/// One name.
#[derive(Debug, Clone, Default)]
pub(super) struct NameMemory {
    /// The ownership as last seen or written.
    seen: Option<Ownership>,
    /// When that was known first.
    since: Option<Instant>,
    /// When somebody last began to read it and found it so.
    confirmed: Option<Instant>,
    /// The own write that was last known to be applied, and when it was sent.
    ours: Option<(Ownership, Instant)>,
    /// Successors that were sent and whose fate is open, each with what it would replace.
    tried: Vec<(Option<Ownership>, Ownership)>,
    /// The record sets of the own last write.
    sets: Option<Vec<RecordSet>>,
    /// Record sets that the provider does not take, why, and until when they are not tried again.
    refused: Option<(Vec<RecordSet>, String, Instant)>,
    /// Until when not even the ownership is written, since that was not taken.
    barred: Option<Instant>,
    change: Option<(Option<ChangeId>, LastChange)>,
}

impl NameMemory {
    /// Of a name that was not seen yet.
    pub(super) const NOTHING: Self = Self {
        seen: None,
        since: None,
        confirmed: None,
        ours: None,
        tried: Vec::new(),
        sets: None,
        refused: None,
        barred: None,
        change: None,
    };

    /// `ownership` was there when a read began at `begun`, and the read is over now. Says whether a write of this leader whose
    /// answer was lost turns out to have been applied.
    pub(super) fn saw(&mut self, ownership: Option<&Ownership>, begun: Instant) -> bool {
        if self.seen.as_ref() != ownership || self.since.is_none() {
            self.seen = ownership.cloned();
            self.since = Some(Instant::now());
        }
        self.confirmed = Some(begun);
        let applied = self
            .tried
            .iter()
            .find(|(_, next)| Some(next) == ownership)
            .map(|(_, next)| next.clone());
        // What was to replace something that is not there any more can never be applied.
        self.tried.retain(|(base, _)| base.as_ref() == ownership);
        if let Some(next) = &applied {
            self.ours = Some((next.clone(), begun));
        }
        applied.is_some()
    }

    /// A successor is about to be sent.
    pub(super) fn tries(&mut self, base: Option<Ownership>, next: Ownership) {
        self.tried.push((base, next));
    }

    /// A write that was sent at `sent` is applied. No `next`: the name was given up. `sets` are what it made be there; none if
    /// it was about ownership alone.
    pub(super) fn wrote(
        &mut self,
        next: Option<Ownership>,
        sets: Option<Vec<RecordSet>>,
        sent: Instant,
    ) {
        self.tried.clear();
        self.seen.clone_from(&next);
        self.since = Some(Instant::now());
        self.confirmed = Some(sent);
        self.ours = next.map(|next| (next, sent));
        self.barred = None;
        if sets.is_some() {
            self.sets = sets;
            self.refused = None;
        }
    }

    /// Records of it changed with that write.
    pub(super) fn changed(&mut self, id: Option<ChangeId>) {
        let change = LastChange {
            at: SystemTime::now(),
            in_sync_at: None,
        };
        self.change = Some((id, change));
    }

    /// How far the change `id` is.
    pub(super) fn learned(&mut self, id: &ChangeId, status: ChangeStatus) {
        if let Some((known, change)) = &mut self.change
            && known.as_ref() == Some(id)
            && status == ChangeStatus::InSync
        {
            change.in_sync_at = Some(SystemTime::now());
            *known = None;
        }
    }

    /// Whether it waits to hear of the change `id`.
    pub(super) fn awaits(&self, id: &ChangeId) -> bool {
        matches!(&self.change, Some((Some(known), _)) if known == id)
    }

    /// The provider does not take `sets`; they are not tried again before `until`.
    pub(super) fn refuse(&mut self, sets: Vec<RecordSet>, why: String, until: Instant) {
        self.refused = Some((sets, why, until));
    }

    /// The provider does not take a new ownership record alone; none is tried before `until`.
    pub(super) fn bar(&mut self, until: Instant) {
        self.barred = Some(until);
    }

    /// Whether nothing at all is tried.
    pub(super) fn is_barred(&self, now: Instant) -> bool {
        self.barred.is_some_and(|until| now < until)
    }

    /// Why `sets` are not tried.
    pub(super) fn refusal(&self, sets: &[RecordSet], now: Instant) -> Option<&str> {
        let (refused, why, until) = self.refused.as_ref()?;
        (refused == sets && now < *until).then_some(why)
    }

    /// For how long the ownership is known not to have changed: up to when it was last read, not up to now.
    pub(super) fn unchanged(&self) -> Duration {
        match (self.since, self.confirmed) {
            (Some(since), Some(confirmed)) => confirmed.saturating_duration_since(since),
            _ => Duration::ZERO,
        }
    }

    /// When it will have been unchanged for `lease_ttl`, if it is read again then.
    pub(super) fn expires(&self, lease_ttl: Duration) -> Option<Instant> {
        self.since.map(|since| since + lease_ttl)
    }

    /// Whether `ownership` is what this leader wrote last.
    pub(super) fn is_ours(&self, ownership: Option<&Ownership>) -> bool {
        matches!((&self.ours, ownership), (Some((ours, _)), Some(found)) if ours == found)
    }

    /// Whether it had an owner when it was last looked at, and this leader was it.
    pub(super) fn was_ours(&self) -> bool {
        self.ours.is_some()
    }

    /// When the own last write was sent.
    pub(super) fn written(&self) -> Option<Instant> {
        self.ours.as_ref().map(|(_, sent)| *sent)
    }

    /// The record sets of the own last write.
    pub(super) fn sets(&self) -> Option<&[RecordSet]> {
        self.sets.as_deref()
    }

    /// The own last change.
    pub(super) fn last_change(&self) -> Option<LastChange> {
        self.change.as_ref().map(|(_, change)| *change)
    }
}

#[cfg(test)]
mod tests {
    use hafleet_model::{FleetName, NodeId, Term};

    use super::*;

    fn ownership(sequence: u64) -> Ownership {
        Ownership {
            fleet: FleetName::new("shop").unwrap(),
            term: Term(2),
            leader: NodeId::new("a").unwrap(),
            sequence,
            nonce: sequence,
            authority: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_counts_from_the_end_of_one_read_to_the_start_of_another() {
        let mut memory = NameMemory::default();
        let begun = Instant::now();
        tokio::time::advance(Duration::from_secs(5)).await;
        memory.saw(Some(&ownership(1)), begun);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(memory.unchanged(), Duration::ZERO, "nobody looked");
        memory.saw(Some(&ownership(1)), Instant::now());
        assert_eq!(memory.unchanged().as_secs(), 60);
        memory.saw(Some(&ownership(2)), Instant::now());
        assert_eq!(memory.unchanged(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_without_an_answer_is_known_by_any_of_its_tries() {
        let mut memory = NameMemory::default();
        memory.saw(Some(&ownership(1)), Instant::now());
        memory.tries(Some(ownership(1)), ownership(2));
        memory.tries(Some(ownership(1)), ownership(3));
        assert!(!memory.saw(Some(&ownership(1)), Instant::now()));
        assert!(memory.saw(Some(&ownership(2)), Instant::now()));
        assert!(memory.is_ours(Some(&ownership(2))));
        assert!(!memory.saw(Some(&ownership(3)), Instant::now()));
    }
}
