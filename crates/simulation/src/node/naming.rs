//! The names that a run publishes while it leads.

use std::collections::BTreeSet;

use hafleet_cluster::leadership::Role;
use hafleet_model::{NodeId, Term};

use super::{Effect, Purpose, Run, index_of};
use crate::packet::{Batch, ZoneReply, ZoneRequest};
use crate::plan::Millis;
use crate::publication::{Leading, Publication, Verdict};

/// How long a question to Route53 may take.
const ZONE_DEADLINE: Millis = 4_000;

impl Run {
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
